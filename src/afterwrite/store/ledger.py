"""The ledger: what has been done. Positions of consumers, completed invocations, parked lanes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import orjson

from afterwrite.core import json_text
from afterwrite.core.failures import Failure
from afterwrite.core.lanes import DIGEST_BYTES, digest
from afterwrite.errors import StorageError
from afterwrite.store import timeline
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, ensure_number, number_of, span

_REDRIVE: Final = b"redrive\0"
_ID_BYTES_MAX: Final = 128  # of what is a part of a key as it is


def position(transaction: ReadTransaction, consumer: str) -> int:
    """The position of the last change that the consumer is done with, 0 at the start."""
    raw = transaction.get("ledger", f"position\0{consumer}".encode())
    return U64.unpack(raw)[0] if raw else 0


def advance_position(transaction: WriteTransaction, consumer: str, before: int, after: int) -> None:
    """Move a consumer's position from `before` to `after`."""
    found = position(transaction, consumer)
    if found != before:
        raise StorageError(f"expected the consumer {consumer} at position {before}, found it at {found}")
    transaction.put("ledger", f"position\0{consumer}".encode(), U64.pack(after))


def note(transaction: ReadTransaction, name: str) -> Any:
    """What the ledger keeps under `name` (an audit log's head, a request token), None where nothing."""
    raw = transaction.get("ledger", b"note\0" + name.encode())
    return None if raw is None else orjson.loads(raw)


def keep_note(transaction: WriteTransaction, name: str, value: Any, *, until_ms: int | None = None) -> None:
    """Keep a JSON value under `name`, until a time where one is given."""
    key = b"note\0" + name.encode()
    transaction.put("ledger", key, json_text.dumps(value))
    if until_ms is not None:
        timeline.schedule_deletion(transaction, "ledger", key, until_ms)


def notes(transaction: ReadTransaction, prefix: str, *, first: str = "") -> Iterator[tuple[str, Any]]:
    """The notes whose names start with `prefix`, by the rest of their names, in order from `first` on."""
    low = b"note\0" + prefix.encode()
    for key, text in transaction.scan("ledger", low + first.encode(), low + b"\xff"):
        yield key[len(low) :].decode(), orjson.loads(text)


def forget_note(transaction: WriteTransaction, name: str) -> None:
    """Keep nothing under `name` any more."""
    transaction.delete("ledger", b"note\0" + name.encode())


@dataclass(frozen=True, slots=True)
class Completion:
    """What a consumer has done, or is doing until the end of its lease: the idempotency record."""

    message_id: str
    done: bool
    lease_until_ms: int
    at_ms: int
    attempts: int
    result: Any = None


def _completion_key(number: int, message_id: str) -> bytes:
    # Ids of changes and of what they lead to are in the changes' order. In that order their records stand beside each
    # other; by a hash each would change a page of its own.
    name = message_id.encode()
    if len(name) > _ID_BYTES_MAX:
        name = b"\0" + hashlib.blake2b(name, digest_size=16).digest()
    return U32.pack(number) + name


def completion(transaction: ReadTransaction, consumer: str, message_id: str) -> Completion | None:
    """The idempotency record of a message, if any."""
    number = number_of(transaction, "consumer", consumer)
    raw = None if number is None else transaction.get("completions", _completion_key(number, message_id))
    return None if raw is None else Completion(**orjson.loads(raw))


def begin(transaction: WriteTransaction, consumer: str, message_id: str, *, lease_until_ms: int, attempts: int) -> None:
    """Record that a message is in progress until the end of the lease."""
    _put_completion(transaction, consumer, message_id, lease_until_ms, attempts)


def complete(
    transaction: WriteTransaction,
    consumer: str,
    message_id: str,
    *,
    attempts: int,
    result: bytes,
    keep_ms: int,
) -> None:
    """Record that a message is done, with its result (JSON text, kept as it is), for `keep_ms`."""
    key = _put_completion(transaction, consumer, message_id, 0, attempts, result)
    timeline.schedule_deletion(transaction, "completions", key, transaction.now_ms + keep_ms)


def abandon(transaction: WriteTransaction, consumer: str, message_id: str) -> None:
    """Take back an in-progress record, so that the message may be tried again at once; what is done stays done."""
    record = completion(transaction, consumer, message_id)
    if record is not None and not record.done:
        number = ensure_number(transaction, "consumer", consumer)
        transaction.delete("completions", _completion_key(number, message_id))


def _put_completion(
    transaction: WriteTransaction,
    consumer: str,
    message_id: str,
    lease_until_ms: int,
    attempts: int,
    result: bytes | None = None,
) -> bytes:
    """Write a record, done where there is a result. Its JSON is put together here, as each message has two."""
    key = _completion_key(ensure_number(transaction, "consumer", consumer), message_id)
    record = b'{"message_id":%b,"done":%b,"lease_until_ms":%d,"at_ms":%d,"attempts":%d,"result":%b}' % (
        orjson.dumps(message_id),
        b"false" if result is None else b"true",
        lease_until_ms,
        transaction.now_ms,
        attempts,
        result or b"null",
    )
    transaction.put("completions", key, record)
    return key


def completions(transaction: ReadTransaction, consumer: str) -> Iterator[Completion]:
    """Every kept record of what the consumer has done."""
    number = number_of(transaction, "consumer", consumer)
    if number is None:
        return
    for _, value in transaction.scan("completions", *span(number)):
        record = Completion(**orjson.loads(value))
        if record.done:
            yield record


@dataclass(frozen=True, slots=True)
class Parked:
    """A change that waits with its lane: the failure is the first one's, later ones follow it.

    It was tried `attempts` times and waits since `at_ms`.
    """

    lane: str
    position: int
    change: Mapping[str, Any]
    failure: Failure | None
    attempts: int
    at_ms: int

    @property
    def error(self) -> str | None:
        """The failure in words."""
        return None if self.failure is None else self.failure.reason


def park(
    transaction: WriteTransaction,
    consumer: str,
    lane: str,
    position: int,
    change: Mapping[str, Any],
    failure: Failure | None,
    attempts: int = 0,
    at_ms: int | None = None,
) -> None:
    """Keep a change, whole, that its lane cannot get past, parked now or since `at_ms`."""
    number = ensure_number(transaction, "parked", consumer)
    key = U32.pack(number) + digest(lane) + U64.pack(position)
    fields = {
        "lane": lane,
        "position": position,
        "change": change,
        "failure": None if failure is None else asdict(failure),
        "attempts": attempts,
        "at_ms": transaction.now_ms if at_ms is None else at_ms,
    }
    transaction.put("parked", key, json_text.dumps(fields))


def parked(transaction: ReadTransaction, consumer: str, lane: str | None = None, *, after: int = 0) -> Iterator[Parked]:
    """The parked changes of a consumer, lane by lane, each lane in order; of one `lane`, those after a position."""
    number = number_of(transaction, "parked", consumer)
    if number is None:
        return
    low, high = span(number)
    if lane is not None:
        lane_start = low + digest(lane)
        low, high = lane_start + U64.pack(after + 1), lane_start + b"\xff" * 9
    for _, value in transaction.scan("parked", low, high):
        yield decode_parked(value)


def decode_parked(value: bytes) -> Parked:
    """The parked change in its stored form."""
    fields = orjson.loads(value)
    failure = fields.pop("failure")
    return Parked(**fields, failure=None if failure is None else Failure(**failure))


def parked_heads(transaction: ReadTransaction, consumer: str, *, after: bytes = b"") -> Iterator[Parked]:
    """The first parked change of each lane, by the lanes' digests, after a digest. Costs a step a lane."""
    number = number_of(transaction, "parked", consumer)
    if number is None:
        return
    low, high = span(number)
    if after:
        low += after + b"\xff" * 9
    while (found := transaction.first("parked", low, high)) is not None:
        key, value = found
        yield decode_parked(value)
        low = key[: U32.size + DIGEST_BYTES] + b"\xff" * 9


def parked_lanes(transaction: ReadTransaction, consumer: str) -> Iterator[str]:
    """The lanes with parked changes. Costs a step a lane."""
    return (each.lane for each in parked_heads(transaction, consumer))


def parked_count(transaction: ReadTransaction, consumer: str, lane: str | None = None) -> int:
    """How many changes are parked, of one lane or of all. Costs a step a change."""
    number = number_of(transaction, "parked", consumer)
    if number is None:
        return 0
    low, high = span(number)
    if lane is not None:
        low, high = low + digest(lane), low + digest(lane) + b"\xff" * 9
    return sum(1 for _ in transaction.scan_wanted("parked", low, high, lambda _: False))


def is_parked(transaction: ReadTransaction, consumer: str, lane: str, position: int) -> bool:
    """Whether the change at `position` is parked."""
    number = number_of(transaction, "parked", consumer)
    if number is None:
        return False
    return transaction.get("parked", U32.pack(number) + digest(lane) + U64.pack(position)) is not None


def unpark(transaction: WriteTransaction, consumer: str, lane: str, position: int) -> None:
    """Forget a parked change, because it has run. Raises StorageError where it is not parked."""
    number = ensure_number(transaction, "parked", consumer)
    if not transaction.delete("parked", U32.pack(number) + digest(lane) + U64.pack(position)):
        raise StorageError(f"expected a parked change of the lane {lane} at position {position}, found none")


def drop_parked(
    transaction: WriteTransaction, consumer: str, lane: str, position: int, *, whole_lane: bool = False
) -> int:
    """Forget a parked change for good, or all of its lane; how many there were."""
    number = ensure_number(transaction, "parked", consumer)
    low = U32.pack(number) + digest(lane)
    if not whole_lane:
        return int(transaction.delete("parked", low + U64.pack(position)))
    keys = [key for key, _ in transaction.scan_wanted("parked", low, low + b"\xff" * 9, lambda _: False)]
    return sum(transaction.delete("parked", key) for key in keys)


def redrive_signal(consumer: str) -> str:
    """What is notified after a commit that asked for lanes of the consumer to be redriven."""
    return f"redrive:{consumer}"


def ask_to_redrive(transaction: WriteTransaction, consumer: str, lane: str) -> None:
    """Have the consumer try a parked lane again, at once or when it runs next."""
    number = ensure_number(transaction, "parked", consumer)
    transaction.put("ledger", _REDRIVE + U32.pack(number) + digest(lane), lane.encode())
    transaction.touch(redrive_signal(consumer))


def take_redrives(transaction: WriteTransaction, consumer: str) -> Sequence[str]:
    """The lanes that are asked to be redriven; the requests are gone with it."""
    number = number_of(transaction, "parked", consumer)
    if number is None:
        return []
    low, high = (_REDRIVE + bound for bound in span(number))
    asked = list(transaction.scan("ledger", low, high))
    for key, _ in asked:
        transaction.delete("ledger", key)
    return [lane.decode() for _, lane in asked]
