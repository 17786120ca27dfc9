"""The ledger: what has been done. Positions of consumers, completed invocations, parked lanes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from afterwrite.core import json_text
from afterwrite.core.lanes import DIGEST_BYTES, digest
from afterwrite.errors import StorageError
from afterwrite.store import timeline
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, ensure_number, number_of, span


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


def notes(transaction: ReadTransaction, prefix: str) -> Iterator[tuple[str, Any]]:
    """The notes whose names start with `prefix`, by the rest of their names."""
    low = b"note\0" + prefix.encode()
    for key, text in transaction.scan("ledger", low, low + b"\xff"):
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
    return U32.pack(number) + hashlib.blake2b(message_id.encode(), digest_size=16).digest()


def completion(transaction: ReadTransaction, consumer: str, message_id: str) -> Completion | None:
    """The idempotency record of a message, if any."""
    number = number_of(transaction, "consumer", consumer)
    raw = None if number is None else transaction.get("completions", _completion_key(number, message_id))
    return None if raw is None else Completion(**orjson.loads(raw))


def begin(transaction: WriteTransaction, consumer: str, message_id: str, *, lease_until_ms: int, attempts: int) -> None:
    """Record that a message is in progress until the end of the lease."""
    _put_completion(transaction, consumer, Completion(message_id, False, lease_until_ms, transaction.now_ms, attempts))


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
    done = Completion(message_id, True, 0, transaction.now_ms, attempts, orjson.Fragment(result))
    key = _put_completion(transaction, consumer, done)
    timeline.schedule_deletion(transaction, "completions", key, transaction.now_ms + keep_ms)


def abandon(transaction: WriteTransaction, consumer: str, message_id: str) -> None:
    """Take back an in-progress record, so that the message may be tried again at once; what is done stays done."""
    record = completion(transaction, consumer, message_id)
    if record is not None and not record.done:
        number = ensure_number(transaction, "consumer", consumer)
        transaction.delete("completions", _completion_key(number, message_id))


def _put_completion(transaction: WriteTransaction, consumer: str, record: Completion) -> bytes:
    key = _completion_key(ensure_number(transaction, "consumer", consumer), record.message_id)
    fields = {name: getattr(record, name) for name in Completion.__slots__}
    transaction.put("completions", key, json_text.dumps(fields))
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
    """A change that waits with its lane: the error is the first one's, later ones follow it."""

    lane: str
    position: int
    change: Mapping[str, Any]
    error: str | None
    at_ms: int


def park(
    transaction: WriteTransaction,
    consumer: str,
    lane: str,
    position: int,
    change: Mapping[str, Any],
    error: str | None,
) -> None:
    """Keep a change, whole, that its lane cannot get past."""
    number = ensure_number(transaction, "parked", consumer)
    key = U32.pack(number) + digest(lane) + U64.pack(position)
    fields = {
        "lane": lane,
        "position": position,
        "change": change,
        "error": error,
        "at_ms": transaction.now_ms,
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
        yield Parked(**orjson.loads(value))


def parked_lanes(transaction: ReadTransaction, consumer: str) -> Iterator[str]:
    """The lanes with parked changes. Costs a step a lane."""
    number = number_of(transaction, "parked", consumer)
    if number is None:
        return
    low, high = span(number)
    while (found := transaction.first("parked", low, high)) is not None:
        key, value = found
        yield Parked(**orjson.loads(value)).lane
        low = key[: U32.size + DIGEST_BYTES] + b"\xff" * 9


def unpark(transaction: WriteTransaction, consumer: str, lane: str, position: int) -> None:
    """Forget a parked change, because it has run. Raises StorageError where it is not parked."""
    number = ensure_number(transaction, "parked", consumer)
    if not transaction.delete("parked", U32.pack(number) + digest(lane) + U64.pack(position)):
        raise StorageError(f"expected a parked change of the lane {lane} at position {position}, found none")
