"""The cache: products and their stock in Redis, never older than what was there, filled again when it is empty.

    product:ID     the item as JSON
    stock:ID       its quantity alone
    version:ID     the version of the change that made them; after a removal alone, for a week
    inventory:view what says that the view is whole

One script compares the version and writes all three (S37). A change that comes twice or late changes nothing, and a
product that was removed does not come back with a late change.

Whoever finds `inventory:view` missing fills the view from the table, beside the changes that go on: an item that is
there already came from a change and stays, and what the table was read too early for is a change yet to come.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from afterwrite import Change, Unavailable

TOMBSTONE_MS: Final = 7 * 86_400_000
"""Longer than any change can wait: the table's changes are kept for a day."""

VIEW: Final = "inventory:view"
_FILLING: Final = "inventory:view:filling"
_ANSWER_S_MAX: Final = 2.0
_RETRY_AFTER_S: Final = 1.0
_BATCH: Final = 500

# Sequence numbers have more digits than a double holds: the longer one is the greater, then the text decides.
_REFRESH: Final = """
local held, given = redis.call('GET', KEYS[3]), ARGV[1]
if not held or #given > #held or (#given == #held and given > held) then
  if ARGV[2] == '' then
    redis.call('DEL', KEYS[1], KEYS[2])
    redis.call('SET', KEYS[3], given, 'PX', ARGV[4])
  else
    redis.call('SET', KEYS[1], ARGV[2])
    redis.call('SET', KEYS[2], ARGV[3])
    redis.call('SET', KEYS[3], given)
  end
end
return redis.call('EXISTS', KEYS[4])
"""

# Only what is missing, and only in the view that is being filled: if that was lost again, this filling is void.
_FILL: Final = """
if redis.call('GET', KEYS[4]) ~= ARGV[1] and redis.call('GET', KEYS[5]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('SET', KEYS[2], ARGV[3])
  redis.call('SET', KEYS[3], '0')
end
return 1
"""

_FINISH: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('RENAME', KEYS[2], KEYS[1]) end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return 0
"""


@dataclass(frozen=True, slots=True)
class Refresh:
    """A product as a change left it: `product` is the item as JSON, None where it was removed."""

    product_id: str
    version: str
    product: str | None
    quantity: int

    @classmethod
    def of(cls, change: Change) -> Refresh:
        """What the cache is to show after the change."""
        version = change.version
        if change.new is None:
            return cls(change.keys["productId"], version, None, 0)
        return cls(change.keys["productId"], version, as_json(change.new), int(change.new["quantity"]))

    def to_request(self) -> dict[str, Any]:
        """The request that a function is given."""
        return asdict(self)

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Refresh:
        """The same, as the function gets it."""
        return cls(request["product_id"], request["version"], request["product"], request["quantity"])


def as_json(product: Mapping[str, Any]) -> str:
    """The item as it stands in the cache: numbers as numbers, its attributes in the order of their names."""
    return json.dumps(product, default=_number, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _number(value: Any) -> int | float:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"expected text, numbers, lists and maps in a product, got {value!r}: keep it out of the item")


class Cache:
    """The view in the Redis at `url`. Safe for use by several threads. No connection is made before it is used.

    Every method raises Unavailable where Redis does not answer.
    """

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_ANSWER_S_MAX,
            socket_connect_timeout=_ANSWER_S_MAX,
            retry=Retry(NoBackoff(), 1),  # a pooled connection may be to a server that is gone; the queue waits longer
        )
        self._refresh = self._redis.register_script(_REFRESH)
        self._fill = self._redis.register_script(_FILL)
        self._finish = self._redis.register_script(_FINISH)
        self._filling = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def stock(self, product_id: str) -> int | None:
        """The product's stock as far as the cache knows; None where it has no such product."""
        with _answered():
            text: Any = self._redis.get(f"stock:{product_id}")
        return None if text is None else int(text)

    def refresh(self, refresh: Refresh, items: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Show what the change left, unless the cache shows later; fill the view with `items()` if it is not whole."""
        with _answered():
            whole = self._refresh(
                keys=[*_keys(refresh.product_id), VIEW],
                args=[refresh.version, refresh.product or "", refresh.quantity, TOMBSTONE_MS],
            )
            if not whole:
                self._fill_view(items)

    def _fill_view(self, items: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        with self._filling:  # one of this process's threads does it for all
            while not self._redis.exists(VIEW):
                self._redis.set(_FILLING, uuid.uuid4().hex, nx=True)
                filling: Any = self._redis.get(_FILLING)
                # The table is read after the view was found lost, so it holds every change that was lost with it.
                if filling and self._fill_with(filling, items()):
                    self._finish(keys=[VIEW, _FILLING], args=[filling])

    def _fill_with(self, filling: str, items: Iterable[Mapping[str, Any]]) -> bool:
        for batch in _batches(items):
            with self._redis.pipeline(transaction=False) as pipeline:
                for item in batch:
                    self._fill(
                        keys=[*_keys(item["productId"]), _FILLING, VIEW],
                        args=[filling, as_json(item), int(item["quantity"])],
                        client=pipeline,
                    )
                if not all(pipeline.execute()):
                    return False
        return True


def _keys(product_id: str) -> list[str]:
    return [f"product:{product_id}", f"stock:{product_id}", f"version:{product_id}"]


def _batches(items: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(items)
    while batch := list(islice(left, _BATCH)):
        yield batch


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unavailable(f"the cache does not answer: {error}", retry_after_s=_RETRY_AFTER_S) from error
