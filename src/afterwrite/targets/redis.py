"""Redis: a cache that never shows older values than it did, on one server or a cluster, filled again when it is lost.

    KEY                    what a view shows, as the app names it
    version:ID             the version that it shows of an item; after a removal alone, for as long as changes can wait
    view:CACHE             what says that the cache is whole
    view:CACHE:filling     what says that it is being filled

One script compares the version and writes everything of an item (S37). On a cluster all keys of an item must be in one
slot: they have the same hash tag, `product:{CD-1}`, and the version has it too.

Whoever finds the cache lost fills it, beside the changes that go on. What is filled in has the time at which the
filling began as its version: older than any sequence number, so that changes win, and newer than an earlier filling.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, ClassVar, Final, NamedTuple

from afterwrite.core.batching import Entry, Limits, requests
from afterwrite.core.effects import Show, StampedEffect
from afterwrite.core.failure_kinds import Kind
from afterwrite.core.target_failures import TargetFailure
from afterwrite.core.versions import TOMBSTONE_MS, check_version
from afterwrite.errors import InvalidValue
from afterwrite.targets.remote_target import RemoteTarget

"""Longer than a change can wait: a stream keeps it for a day, and what is parked is compared when it is redriven."""

_ANSWER_S_MAX: Final = 2.0
_FILLED_AT_ONCE: Final = 500

# Sequence numbers have more digits than a double holds: the longer one is the later, then the text decides.
# KEYS: the version, the keys to set, those to remove, and where a filling must still go on: its fence and the view.
# ARGV: version, tombstone (ms), how many keys to set, how many to remove, the filling or '', the values.
_SHOW: Final = """
local sets, removes, filling = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local fences = 1 + sets + removes
if filling ~= '' and #KEYS > fences and redis.call('GET', KEYS[fences + 1]) ~= filling
   and redis.call('GET', KEYS[fences + 2]) ~= filling then
  return -1
end
local held, given = redis.call('GET', KEYS[1]), ARGV[1]
if held and (#given < #held or (#given == #held and given <= held)) then return 0 end
for i = 1, removes do redis.call('DEL', KEYS[1 + sets + i]) end
if sets == 0 then
  redis.call('SET', KEYS[1], given, 'PX', ARGV[2])
else
  for i = 1, sets do redis.call('SET', KEYS[1 + i], ARGV[5 + i]) end
  redis.call('SET', KEYS[1], given)
end
return 1
"""
_SHOW_SHA: Final = hashlib.sha1(_SHOW.encode(), usedforsecurity=False).hexdigest()
_FINISH: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('RENAME', KEYS[2], KEYS[1]) end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end
return 0
"""
# Redis's names for what a command or a script is refused for; a script's error has them in the middle of its text.
_KINDS: Final[dict[str, Kind]] = {
    "BUSY": "unavailable",
    "CLUSTERDOWN": "unavailable",
    "MISCONF": "unavailable",
    "MASTERDOWN": "unavailable",
    "NOREPLICAS": "unavailable",
    "READONLY": "unavailable",
    "TRYAGAIN": "unavailable",
    "OOM": "throttled",
    "NOPERM": "permission",
    "WRONGTYPE": "rejected",
}
_NAMED_BY_CLIENT: Final = {
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}
_WORD: Final = re.compile(r"\b[A-Z]{3,}\b")


class _Item(NamedTuple):
    """An item as a request sends it: what is set and removed, under which version."""

    version_key: str
    version: str
    values: dict[str, str]
    removed: tuple[str, ...]


class RedisCache(RemoteTarget):
    """A cache in the Redis at `url`: `redis://`, `rediss://` or `unix://`; with `?cluster=true`, a node of a cluster.

    No connection is made before it is used. Of several effects on one item, in whatever order and however often they
    come, the latest stays. Of a cluster the marks of the view are on one node: if another loses its data alone, its
    keys come back with their items' next changes.
    """

    service: ClassVar[str] = "redis"
    limits: ClassVar[Limits] = Limits(entries=500, request_bytes=4 << 20, entry_bytes=64 << 20)
    actions: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, url: str, *, now_ms: Callable[[], int]) -> None:
        super().__init__(name, self._connected)
        self._url, self._is_cluster = _parsed(url)
        self._now_ms = now_ms
        self._redis: Any = None
        # A name of braces alone is one slot for both marks.
        self._view = f"view:{{{name.partition('/')[2]}}}"
        self._filling = self._view + ":filling"
        self.is_whole = True
        """Whether the cache said so when it was last written to."""

    def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            self._redis.close()

    def entry(self, stamped: StampedEffect) -> Entry:
        """What is set and removed. Raises InvalidValue for keys that a cluster holds apart, and for a wrong version."""
        effect: Any = stamped.effect
        return self._entry(stamped.id, stamped.lane, effect)

    def _entry(self, id: str, lane: str, effect: Show) -> Entry:
        check_version(effect.version, f"{effect.id} in {self.name}")
        keys = [*effect.values, *effect.removed]
        if not keys:
            raise InvalidValue(f"expected keys to show or remove of {effect.id} in {self.name}, got none: name some")
        tags = {_hash_tag(key) for key in keys}
        if self._is_cluster and (len(tags) > 1 or None in tags):
            raise InvalidValue(
                f"expected keys with one hash tag, such as product:{{1}} and stock:{{1}}, as {self.name} is a cluster, "
                f"got {', '.join(sorted(keys))}: put what the item is known by in braces"
            )
        tag = _hash_tag(keys[0])
        version_key = f"version:{effect.id}" if tag is None else f"version:{{{tag}}}:{effect.id}"
        values = dict(effect.values)
        size = sum(len(key.encode()) for key in keys) + sum(len(value.encode()) for value in values.values())
        return Entry(id, lane, _Item(version_key, effect.version, values, tuple(effect.removed)), size)

    def send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        """Perform the entries of one request, in one go of the network; why each failed, None for one that did not."""
        failures, _ = self._perform(entries)
        return failures

    def fill(self, shows: Callable[[], Iterable[Show]]) -> Sequence[TargetFailure]:
        """Fill the cache, if it is lost, with what `shows()` reads of the tables; the failure if there is one.

        Tables are read after the cache was found lost, so they hold every change that was lost with it. Several may
        fill at a time: what they do is the same.
        """
        import redis

        try:
            client = self._client()
            while not client.exists(self._view):
                began_ms = self._now_ms()
                client.set(self._filling, f"{began_ms}-{uuid.uuid4().hex}", nx=True)
                filling = client.get(self._filling)
                if filling is None:
                    continue
                failure = self._fill(filling.decode(), str(began_ms), shows())
                if failure is not None and failure.code != _VOID:
                    return [failure]
                if failure is None:
                    client.eval(_FINISH, 2, self._view, self._filling, filling)
        except redis.RedisError as error:
            return [self._failure(error)]
        self.is_whole = True
        return []

    def _fill(self, filling: str, version: str, shows: Iterable[Show]) -> TargetFailure | None:
        left = iter(shows)
        while batch := list(islice(left, _FILLED_AT_ONCE)):
            entries = [self._entry(each.id, "", Show(each.cache, each.id, version, each.values)) for each in batch]
            for request in requests(entries, self.limits):
                failures, void = self._perform(request, filling)
                if void:
                    return TargetFailure(self.name, "unavailable", _VOID, "the cache was lost again")
                if failure := next((each for each in failures if each is not None), None):
                    return failure
        return None

    def _perform(self, entries: Sequence[Entry], filling: str = "") -> tuple[Sequence[TargetFailure | None], bool]:
        """What became of each, and whether the filling that they belong to is void."""
        import redis

        try:
            client = self._client()
            results, whole = self._pipelined(client, entries, filling)
            unknown = [
                number for number, result in enumerate(results) if isinstance(result, redis.exceptions.NoScriptError)
            ]
            if unknown:
                client.script_load(_SHOW)
                again, whole = self._pipelined(client, [entries[number] for number in unknown], filling)
                for number, result in zip(unknown, again, strict=True):
                    results[number] = result
        except redis.RedisError as error:
            return [self._failure(error)] * len(entries), False
        if not filling:
            self.is_whole = bool(whole)
        failures = [self._failure(result) if isinstance(result, Exception) else None for result in results]
        return failures, -1 in results

    def _pipelined(self, client: Any, entries: Sequence[Entry], filling: str) -> tuple[list[Any], Any]:
        fences = () if self._is_cluster or not filling else (self._filling, self._view)
        with client.pipeline(transaction=False) if not self._is_cluster else client.pipeline() as pipeline:
            for entry in entries:
                item: _Item = entry.body
                keys = (item.version_key, *item.values, *item.removed, *fences)
                counts = (len(item.values), len(item.removed))
                arguments = (item.version, TOMBSTONE_MS, *counts, filling, *item.values.values())
                # By its own method a cluster's pipeline refuses it, as not every caller names its keys.
                pipeline.execute_command("EVALSHA", _SHOW_SHA, len(keys), *keys, *arguments)
            # After the writes: a cache that is lost before they are made is seen as lost.
            pipeline.exists(self._view)
            *results, whole = pipeline.execute(raise_on_error=False)
        if isinstance(whole, Exception):
            raise whole
        return results, whole

    def _connected(self) -> Any:
        if self._redis is None:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            waits = {"socket_timeout": _ANSWER_S_MAX, "socket_connect_timeout": _ANSWER_S_MAX}
            if self._is_cluster:
                self._redis = redis.RedisCluster.from_url(self._url, **waits)
            else:
                # A pooled connection may be to a server that is gone; what is sent here waits longer for it.
                self._redis = redis.Redis.from_url(self._url, retry=Retry(NoBackoff(), 1), **waits)
        return self._redis

    def _failure(self, error: Exception) -> TargetFailure:
        import redis

        code = type(error).__name__
        if isinstance(error, redis.AuthenticationError):
            return TargetFailure(self.name, "permission", code, str(error))
        if isinstance(error, redis.ConnectionError | redis.TimeoutError):
            return TargetFailure(self.name, "unavailable", code, str(error))
        if "can't run this command" in str(error):  # what a script says where its user may not
            return TargetFailure(self.name, "permission", "NOPERM", str(error))
        words = [_NAMED_BY_CLIENT.get(code, ""), *_WORD.findall(str(error))]
        code = next((word for word in words if word in _KINDS), code)
        return TargetFailure(self.name, _KINDS.get(code, "rejected"), code, str(error))


_VOID: Final = "FillingVoid"


def _parsed(url: str) -> tuple[str, bool]:
    """The URL without what is not the client's, and whether it is a cluster's."""
    start, _, query = url.partition("?")
    options = query.split("&") if query else []
    rest = [option for option in options if option != "cluster=true"]
    return (f"{start}?{'&'.join(rest)}" if rest else start), len(rest) < len(options)


def _hash_tag(key: str) -> str | None:
    """What Redis places the key by where it names that itself: what is in its first braces, if anything is."""
    _, opened, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    return tag if opened and closed and tag else None
