"""Messages that wait in a queue, for operators: all of them, parked lanes, how old what waits is.

And messages taken out by their places.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

import orjson

from afterwrite.core.failures import Failure
from afterwrite.core.lanes import DIGEST_BYTES, digest
from afterwrite.core.outcomes import Condition
from afterwrite.errors import CorruptData
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, number_of, span
from afterwrite.store.queues import (
    PARKED_AT,
    PARKED_HEADS,
    RETRIES,
    WAITING,
    WAITS,
    Message,
    decode,
    delete_head,
    make_ready,
    scan_keys,
)

_LOOKED_AT_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class ParkedHead:
    """The message that its lane cannot get past, by its place in the queue.

    `lane` and `message_id` are None where it cannot be read. `stored` are its bytes, None where they are damaged.
    """

    lane_digest: bytes
    arrival: int
    lane: str | None
    message_id: str | None
    failure: Failure
    condition: Condition
    attempts: int
    at_ms: int
    stored: bytes | None = None


def parked_heads(transaction: ReadTransaction, queue: str, *, after: bytes = b"") -> Iterator[ParkedHead]:
    """The parked lanes' first messages, in the order of their lanes' digests, after a place in it."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return
    low, high = (PARKED_HEADS + bound for bound in span(number))
    for key, value in transaction.scan("parked", low + after + (b"\0" if after else b""), high):
        place = key[len(low) :]
        fields = orjson.loads(value)
        try:
            stored = transaction.get("messages", U32.pack(number) + place)
        except CorruptData:
            stored = None
        else:
            if stored is None:  # the queue was purged since
                continue
        yield ParkedHead(
            lane_digest=place[:DIGEST_BYTES],
            arrival=U64.unpack_from(place, DIGEST_BYTES)[0],
            stored=None if stored is None else stored[U64.size :],
            failure=Failure(**fields.pop("failure")),
            **fields,
        )


def unpark(transaction: WriteTransaction, queue: str, lane_digest: bytes, arrival: int) -> bool:
    """Let a parked lane go on; its first message has all its attempts again. False where it is not parked."""
    number = _take_parked(transaction, queue, lane_digest, arrival)
    if number is None:
        return False
    make_ready(transaction, queue, number, lane_digest, arrival, 0)
    return True


def drop_parked(
    transaction: WriteTransaction, queue: str, lane_digest: bytes, arrival: int, *, whole_lane: bool = False
) -> int:
    """Delete a parked lane's first message, or all of them, and let the lane go on; how many there were."""
    number = _take_parked(transaction, queue, lane_digest, arrival)
    if number is None:
        return 0
    if not whole_lane:
        delete_head(transaction, queue, number, lane_digest, arrival)
        return 1
    prefix = U32.pack(number) + lane_digest
    keys = [key for key, _ in scan_keys(transaction, prefix, prefix + b"\xff" * 9)]
    for key in keys:
        transaction.delete("messages", key)
    transaction.advance(f"depth:{number}", -len(keys))
    return len(keys)


def _take_parked(transaction: WriteTransaction, queue: str, lane_digest: bytes, arrival: int) -> int | None:
    """Take a lane's entries as a parked one away; the queue's number, None where it is not parked."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return None
    number_key, arrival_key = U32.pack(number), U64.pack(arrival)
    key = PARKED_HEADS + number_key + lane_digest + arrival_key
    if transaction.get("parked", key) is None:
        return None
    transaction.delete("parked", key)
    transaction.delete("ready", number_key + PARKED_AT + arrival_key)
    return number


def messages(transaction: ReadTransaction, queue: str, lane: str | None = None) -> Iterator[Message]:
    """Every message of the queue that can be read, or of one lane of it; lane by lane, each lane in order."""
    return (message for _, message in placed_messages(transaction, queue, lane))


def placed_messages(
    transaction: ReadTransaction, queue: str, lane: str | None = None, *, after: bytes = b""
) -> Iterator[tuple[bytes, Message]]:
    """The same, each with its place in the queue, those after a place."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return
    low, high = span(number)
    if lane is not None:
        low, high = low + digest(lane), low + digest(lane) + b"\xff" * 9
    if after:
        low = max(low, U32.pack(number) + after + b"\0")
    for key, stored in transaction.scan("messages", low, high):
        try:
            message = decode(stored)
        except (ValueError, TypeError):
            continue
        yield key[4:], message


def lane_depth(transaction: ReadTransaction, queue: str, lane_digest: bytes) -> int:
    """How many messages a lane of the queue holds. Costs a step a message."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return 0
    prefix = U32.pack(number) + lane_digest
    return sum(1 for _ in scan_keys(transaction, prefix, prefix + b"\xff" * 9))


def withdraw(
    transaction: WriteTransaction, queue: str, places: Collection[tuple[bytes, int]]
) -> set[tuple[bytes, int]]:
    """Delete messages by their places (lane's digest, arrival), but for those that are held; which ones it were.

    Costs a step a lane of the queue.
    """
    number = number_of(transaction, "queue", queue)
    if number is None:
        return set()
    number_key = U32.pack(number)
    heads = {key[12:]: (key, value[-1]) for key, value in transaction.scan("ready", *span(number))}
    withdrawn: set[tuple[bytes, int]] = set()
    for lane_digest, arrival in sorted(places):
        arrival_key = U64.pack(arrival)
        key, state = heads.pop(arrival_key, (b"", WAITS))
        if state not in WAITING or transaction.get("messages", number_key + lane_digest + arrival_key) is None:
            continue
        withdrawn.add((lane_digest, arrival))
        if not key:
            transaction.delete("messages", number_key + lane_digest + arrival_key)
            transaction.advance(f"depth:{number}", -1)
            continue
        transaction.delete("ready", key)
        head = delete_head(transaction, queue, number, lane_digest, arrival)
        if head is not None:
            following = U64.pack(head[0])
            heads[following] = (number_key + U64.pack(head[1]) + following, WAITS)
    return withdrawn


def oldest_waiting_ms(transaction: ReadTransaction, queue: str, now_ms: int) -> int | None:
    """When the oldest message was sent that is not held and whose sender's delay is over, None where there is none.

    One that waits for its next attempt is among them. Of those that wait for their first attempt that is exact; of
    others that are due, and of all that are not, the first hundred are looked at.
    """
    number = number_of(transaction, "queue", queue)
    if number is None:
        return None
    low, high = span(number)
    due = low + U64.pack(now_ms + 1)
    waiting = (each for each in transaction.scan("ready", low, due) if each[1][-1] in WAITING)
    later = islice(transaction.scan("ready", due, high), _LOOKED_AT_MAX)
    sent_ms: list[int] = []
    for key, value in chain(islice(waiting, _LOOKED_AT_MAX), (each for each in later if each[1][-1] == RETRIES)):
        with suppress(ValueError, TypeError, CorruptData):
            stored = transaction.get("messages", low + value[:DIGEST_BYTES] + key[12:])
            if stored is not None:
                sent_ms.append(decode(stored).sent_at_ms)
    return min(sent_ms, default=None)
