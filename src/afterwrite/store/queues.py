"""Durable queues with lanes, attempts, visibility, delay and dead letters.

Everything that waits for a function waits here: invocations, topic subscriptions, rule targets, plain queues.
A message is stored by (queue, lane, arrival). `ready` holds one entry a lane, its head, by the time at which it
may next be received; so a lane is received strictly in order and one message at a time, and lanes do not wait
for each other. Receiving moves the head's entry to the end of its visibility and marks it as held; that time is the
receipt: settling with a receipt that has been overtaken (the visibility ended, and another received it) does nothing.

What was held when its process died is *interrupted*: it may be what ended the process. It stays so until it is
received by `receive_interrupted`, one at a time; `receive` passes it over.

A lane whose head cannot be done or read is *parked*: its entry stands behind all times, the messages stay where they
are, and `parked` says why, until the lane is released or its head is dropped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from afterwrite.core import json_text
from afterwrite.core.failures import Failure, failure_of
from afterwrite.core.lanes import DIGEST_BYTES, digest
from afterwrite.core.outcomes import Condition
from afterwrite.errors import CorruptData
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, ensure_number, names, number_of, span

_READY: Final = struct.Struct(f">{DIGEST_BYTES}sIB")
WAITS: Final = 0
_HELD: Final = 1
_INTERRUPTED: Final = 2
_PARKED: Final = 3
# Of a head that was received before, and waits for its next attempt.
RETRIES: Final = 4
WAITING: Final = (WAITS, RETRIES)
# Longer than any message may be told to wait, by its sender or by the backoff of its retries.
WAIT_MS_MAX: Final = 31 * 86_400_000
# Behind every time at which a message may be received.
PARKED_AT: Final = U64.pack((1 << 64) - 1)
PARKED_HEADS: Final = b"queue\0"
_STARTED: Final = "queues-started-ms"
COUNTER: Final = "arrival"
"""What counts the arrivals in all queues."""
DEAD_LETTER: Final = "dead_letter_"
"""What the names of the attributes begin with that tell of a dead letter."""


class Message(NamedTuple):
    """A message as it was sent; `attributes` are what subscriptions filter on and dead letters explain by.

    `wire` is what only those outside need of a message that came from outside: then its body is the text that came.
    """

    id: str
    body: Any
    lane: str
    sent_at_ms: int
    subject: str | None = None
    attributes: Mapping[str, Any] | None = None
    receive_count: int = 0
    wire: Mapping[str, Any] | None = None


class Received(NamedTuple):
    """A received message with its receipt: its place, and the time (ms) at which its visibility ends."""

    message: Message
    lane_digest: bytes
    arrival: int
    visible_until_ms: int
    receive_count: int


NO_MESSAGE: Final = Message("", None, "", 0)
"""In place of the message, in a receipt that only says where it is."""


def signal(queue: str) -> str:
    """What is notified after a commit that made a message of the queue receivable."""
    return f"queue:{queue}"


def encode(message: Message) -> bytes:
    """A message's stored form, also for sending it to several queues."""
    fields: dict[str, Any] = {
        "id": message.id,
        "body": message.body,
        "lane": message.lane,
        "sent_at_ms": message.sent_at_ms,
    }
    if message.subject is not None:
        fields["subject"] = message.subject
    if message.attributes:
        fields["attributes"] = message.attributes
    if message.wire is not None:
        fields["wire"] = message.wire
    return json_text.dumps(fields)


def dead_letter(
    message: Message,
    *,
    source: str,
    failed: Failure,
    condition: Condition,
    receive_count: int,
    at_ms: int,
    function: str | None = None,
) -> Message:
    """The message as it goes to the dead letters, with what has become of it in its attributes."""
    died = {
        "source": source,
        "function": function,
        "reason": failed.reason,
        "kind": failed.kind,
        "condition": condition,
        "fingerprint": failed.fingerprint,
        "traceback": failed.traceback or None,
        "receive_count": receive_count,
        "at_ms": at_ms,
    }
    told = {f"{DEAD_LETTER}{name}": value for name, value in died.items() if value is not None}
    return message._replace(attributes={**(message.attributes or {}), **told})


def revived(message: Message) -> Message:
    """The message as it was before it became a dead letter."""
    attributes = {name: value for name, value in (message.attributes or {}).items() if not name.startswith(DEAD_LETTER)}
    return message._replace(attributes=attributes or None, receive_count=0)


def decode(stored: bytes, receive_count: int = 0) -> Message:
    """The message in its stored form."""
    return Message(**orjson.loads(stored[U64.size :]), receive_count=receive_count)


def send(transaction: WriteTransaction, queue: str, lane: str, encoded: bytes, *, not_before_ms: int = 0) -> int:
    """Add a message at the end of its lane; its arrival, a number that grows over all queues."""
    number = ensure_number(transaction, "queue", queue)
    lane_digest = digest(lane)
    arrival = transaction.advance(COUNTER)
    first_of_lane = U32.pack(number) + lane_digest
    is_head = _head(transaction, first_of_lane) is None
    transaction.put("messages", first_of_lane + U64.pack(arrival), U64.pack(not_before_ms) + encoded)
    transaction.advance(f"depth:{number}")
    if is_head:
        make_ready(transaction, queue, number, lane_digest, arrival, not_before_ms)
    return arrival


def _head(transaction: ReadTransaction, lane_prefix: bytes) -> tuple[bytes, bytes] | None:
    high = lane_prefix + b"\xff" * 9
    try:
        return transaction.first("messages", lane_prefix, high)
    except CorruptData:  # its key tells where it is; who receives it parks it
        key, _ = next(scan_keys(transaction, lane_prefix, high))
        return key, U64.pack(0)


def scan_keys(transaction: ReadTransaction, low: bytes, high: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """The entries of messages in a range, by their keys alone: one that is damaged is there, too."""
    return transaction.scan_wanted("messages", low, high, lambda _: False)


def make_ready(
    transaction: WriteTransaction, queue: str, number: int, lane_digest: bytes, arrival: int, at_ms: int
) -> None:
    """Let a lane's first message be received from `at_ms` on; it has no entry in `ready` yet."""
    key = U32.pack(number) + U64.pack(at_ms) + U64.pack(arrival)
    transaction.put("ready", key, _READY.pack(lane_digest, 0, WAITS))
    transaction.touch(signal(queue))


def receive(
    transaction: WriteTransaction, queue: str, *, limit: int, visibility_ms: int, now_ms: int
) -> list[Received]:
    """Receive at most `limit` messages, of different lanes, oldest first; each is counted as received."""
    number = number_of(transaction, "queue", queue)
    if number is None or limit < 1:
        return []
    low = U32.pack(number)
    due: list[tuple[bytes, bytes]] = []
    for key, value in transaction.scan("ready", low, low + U64.pack(now_ms + 1)):
        if value[-1] != _INTERRUPTED:
            due.append((key, value))
            if len(due) == limit:
                break
    received = (_receive(transaction, low, key, value, now_ms + visibility_ms) for key, value in due)
    return [each for each in received if each is not None]


def receive_interrupted(
    transaction: WriteTransaction, queue: str, *, visibility_ms: int, now_ms: int
) -> Received | None:
    """Receive the first interrupted message, None where there is none. Costs a step for each that may be received."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return None
    low = U32.pack(number)
    # No visibility has to end before it: whoever held it is gone.
    scanned = transaction.scan("ready", *span(number))
    found = [(key, value) for key, value in scanned if value[-1] == _INTERRUPTED]
    for key, value in found:
        received = _receive(transaction, low, key, value, now_ms + visibility_ms)
        if received is not None:
            return received
    return None


def _receive(transaction: WriteTransaction, low: bytes, key: bytes, value: bytes, until_ms: int) -> Received | None:
    lane_digest, count, _ = _READY.unpack(value)
    arrival_key = key[12:]
    place = low + lane_digest + arrival_key
    try:
        stored = transaction.get("messages", place)
        message = None if stored is None else decode(stored, count + 1)
    except (ValueError, TypeError, CorruptData) as error:
        # Whatever cannot be read must not keep the other lanes' messages from being read.
        transaction.delete("ready", key)
        failed = failure_of(error, reason=f"the stored message cannot be read: {type(error).__name__}: {error}")
        _park(transaction, place, failed, "unreadable", lane=None, message_id=None, attempts=count)
        return None
    transaction.delete("ready", key)
    if message is None:
        return None
    transaction.put("ready", low + U64.pack(until_ms) + arrival_key, _READY.pack(lane_digest, count + 1, _HELD))
    return Received(message, lane_digest, U64.unpack(arrival_key)[0], until_ms, count + 1)


def remove(transaction: WriteTransaction, queue: str, received: Received) -> bool:
    """Delete a received message and let its lane go on; False where the receipt was overtaken."""
    number = number_of(transaction, "queue", queue)
    if number is None or not _take_receipt(transaction, number, received):
        return False
    delete_head(transaction, queue, number, received.lane_digest, received.arrival)
    return True


def delete_head(
    transaction: WriteTransaction, queue: str, number: int, lane_digest: bytes, arrival: int
) -> tuple[int, int] | None:
    """Delete a lane's first message, which has no entry in `ready`, and let its lane go on.

    The arrival of the next one and the time before which it is not to be received, None where there is none.
    """
    prefix = U32.pack(number) + lane_digest
    transaction.delete("messages", prefix + U64.pack(arrival))
    transaction.advance(f"depth:{number}", -1)
    head = _head(transaction, prefix)
    if head is None:
        return None
    not_before_ms = U64.unpack_from(head[1])[0]
    place = U64.unpack_from(head[0], len(prefix))[0], _waits_until(transaction, not_before_ms, head[1])
    make_ready(transaction, queue, number, lane_digest, *place)
    return place


def release(transaction: WriteTransaction, queue: str, received: Received, *, at_ms: int, counted: bool = True) -> bool:
    """Make a received message receivable again from `at_ms` on; False where the receipt was overtaken.

    Not `counted`, the receive is taken back: nobody has tried the message.
    """
    number = number_of(transaction, "queue", queue)
    if number is None or not _take_receipt(transaction, number, received):
        return False
    key = U32.pack(number) + U64.pack(at_ms) + U64.pack(received.arrival)
    count = received.receive_count - (not counted)
    transaction.put("ready", key, _READY.pack(received.lane_digest, count, RETRIES))
    transaction.touch(signal(queue))
    return True


def park(transaction: WriteTransaction, queue: str, received: Received, failed: Failure, condition: Condition) -> bool:
    """Park a received message with its lane; False where the receipt was overtaken."""
    number = number_of(transaction, "queue", queue)
    if number is None or not _take_receipt(transaction, number, received):
        return False
    place = U32.pack(number) + received.lane_digest + U64.pack(received.arrival)
    message = received.message
    attempts = received.receive_count
    _park(transaction, place, failed, condition, lane=message.lane, message_id=message.id, attempts=attempts)
    return True


def _park(
    transaction: WriteTransaction,
    place: bytes,
    failed: Failure,
    condition: Condition,
    *,
    lane: str | None,
    message_id: str | None,
    attempts: int,
) -> None:
    number_key, lane_digest, arrival_key = place[:4], place[4 : 4 + DIGEST_BYTES], place[4 + DIGEST_BYTES :]
    transaction.put("ready", number_key + PARKED_AT + arrival_key, _READY.pack(lane_digest, attempts, _PARKED))
    fields = {
        "lane": lane,
        "message_id": message_id,
        "failure": asdict(failed),
        "condition": condition,
        "attempts": attempts,
        "at_ms": transaction.now_ms,
    }
    transaction.put("parked", PARKED_HEADS + place, json_text.dumps(fields))


def hold(transaction: WriteTransaction, queue: str, received: Received, *, until_ms: int) -> bool:
    """Move the end of a received message's visibility; False where the receipt was overtaken."""
    number = number_of(transaction, "queue", queue)
    if number is None or not _take_receipt(transaction, number, received):
        return False
    key = U32.pack(number) + U64.pack(until_ms) + U64.pack(received.arrival)
    transaction.put("ready", key, _READY.pack(received.lane_digest, received.receive_count, _HELD))
    return True


def held(transaction: ReadTransaction, queue: str, now_ms: int) -> list[Received]:
    """The receipts of all messages that are hidden as they are held, without the messages."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return []
    low, high = U32.pack(number) + U64.pack(now_ms + 1), U32.pack(number) + PARKED_AT
    scanned = ((key, *_READY.unpack(value)) for key, value in transaction.scan("ready", low, high))
    return [
        Received(NO_MESSAGE, lane_digest, U64.unpack_from(key, 12)[0], U64.unpack_from(key, 4)[0], count)
        for key, lane_digest, count, state in scanned
        if state == _HELD
    ]


def is_held(transaction: ReadTransaction, queue: str, received: Received) -> bool:
    """Whether the receipt is the last one of a message that is still there."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return False
    key = U32.pack(number) + U64.pack(received.visible_until_ms) + U64.pack(received.arrival)
    return transaction.get("ready", key) == _READY.pack(received.lane_digest, received.receive_count, _HELD)


def is_there(transaction: ReadTransaction, queue: str, received: Received) -> bool:
    """Whether the receipt's message is still in the queue, whoever has it."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return False
    return transaction.get("messages", U32.pack(number) + received.lane_digest + U64.pack(received.arrival)) is not None


def purge(transaction: WriteTransaction, queue: str, *, through: int, limit: int) -> bool:
    """Delete messages that arrived up to `through`, received ones too, about `limit`; False where none is left."""
    number = number_of(transaction, "queue", queue)
    if number is None:
        return False
    scanned = transaction.scan("ready", *span(number))
    heads = islice((each for each in scanned if U64.unpack_from(each[0], 12)[0] <= through), limit)
    deleted = 0
    for key, value in list(heads):
        if deleted >= limit:
            return True
        lane_digest, _, state = _READY.unpack(value)
        lane = U32.pack(number) + lane_digest
        transaction.delete("ready", key)
        if state == _PARKED:
            transaction.delete("parked", PARKED_HEADS + lane + key[12:])
        for place in [place for place, _ in islice(scan_keys(transaction, lane, lane + b"\xff" * 9), limit)]:
            if U64.unpack_from(place, len(lane))[0] <= through:
                transaction.delete("messages", place)
                transaction.advance(f"depth:{number}", -1)
                deleted += 1
        head = _head(transaction, lane)
        if head is not None:
            arrival, not_before_ms = U64.unpack_from(head[0], len(lane))[0], U64.unpack_from(head[1])[0]
            at_ms = _waits_until(transaction, not_before_ms, head[1])
            make_ready(transaction, queue, number, lane_digest, arrival, at_ms)
    return deleted >= limit


def _take_receipt(transaction: WriteTransaction, number: int, received: Received) -> bool:
    key = U32.pack(number) + U64.pack(received.visible_until_ms) + U64.pack(received.arrival)
    held = _READY.pack(received.lane_digest, received.receive_count, _HELD)
    return transaction.get("ready", key) == held and transaction.delete("ready", key)


def take_over(transaction: WriteTransaction, queue: str, *, wait_ms_max: int) -> list[str]:
    """Make every received message an interrupted one, and return the ids of all that are interrupted.

    For the start, when nobody can hold a receipt any more. The receives stay counted. What waits for its time is as
    `cut_waits` leaves it.
    """
    cut_waits(transaction, queue, wait_ms_max=wait_ms_max)
    number = number_of(transaction, "queue", queue)
    if number is None:
        return []
    ids: list[str] = []
    for key, value in list(transaction.scan("ready", *span(number))):
        lane_digest, count, state = _READY.unpack(value)
        if state in (_PARKED, *WAITING):
            continue
        place, arrival_key = key[:4], key[12:]
        with suppress(ValueError, TypeError, CorruptData):  # what cannot be read is parked when it is received
            stored = transaction.get("messages", place + lane_digest + arrival_key)
            if stored is not None:
                ids.append(decode(stored).id)
        transaction.delete("ready", key)
        ready = place + U64.pack(transaction.now_ms) + arrival_key
        transaction.put("ready", ready, _READY.pack(lane_digest, count, _INTERRUPTED))
    return ids


def cut_waits(transaction: WriteTransaction, queue: str, *, wait_ms_max: int) -> None:
    """Let no lane of the queue wait longer because the clock has been set back since its wait was begun.

    For the start. A message that was sent later than it is now waits as long from now as its wait was to end after it
    was sent, and none longer than `wait_ms_max`.
    """
    number = number_of(transaction, "queue", queue)
    if number is None:
        return
    transaction.state.setdefault(_STARTED, transaction.now_ms)
    low, high = U32.pack(number) + U64.pack(transaction.now_ms + 1), U32.pack(number) + PARKED_AT
    for key, value in list(transaction.scan("ready", low, high)):
        lane_digest, count, state = _READY.unpack(value)
        at_ms = U64.unpack_from(key, 4)[0]
        place, arrival_key = key[:4], key[12:]
        if state not in WAITING:
            continue
        with suppress(CorruptData):  # it is parked when it is received
            stored = transaction.get("messages", place + lane_digest + arrival_key)
            cut_ms = min(transaction.now_ms + wait_ms_max, _waits_until(transaction, at_ms, stored))
            if cut_ms < at_ms:
                transaction.delete("ready", key)
                transaction.put("ready", place + U64.pack(cut_ms) + arrival_key, _READY.pack(lane_digest, count, state))


def _waits_until(transaction: WriteTransaction, at_ms: int, stored: bytes | None) -> int:
    """When the wait of a message ends that was to end at `at_ms`: earlier where the clock has been set back since."""
    if stored is None or at_ms <= transaction.now_ms:
        return at_ms
    try:
        sent_at_ms = decode(stored).sent_at_ms
    except (ValueError, TypeError):  # it is parked when it is received
        return at_ms
    # It was sent before the start, after which time does not run back, and waits since then, whatever it waits behind.
    since_ms = transaction.state.get(_STARTED, transaction.now_ms)
    return min(at_ms, since_ms + max(0, at_ms - sent_at_ms)) if sent_at_ms > transaction.now_ms else at_ms


def next_ready_ms(transaction: ReadTransaction, queue: str) -> int | None:
    """When the next message of the queue may be received, None where nothing waits."""
    number = number_of(transaction, "queue", queue)
    found = None if number is None else transaction.first("ready", *span(number))
    return None if found is None or found[1][-1] == _PARKED else U64.unpack_from(found[0], 4)[0]


def depth(transaction: ReadTransaction, queue: str) -> int:
    """How many messages the queue holds, received ones included."""
    number = number_of(transaction, "queue", queue)
    return 0 if number is None else transaction.counter(f"depth:{number}")


def in_flight(transaction: ReadTransaction, queue: str, now_ms: int) -> int:
    """How many messages are received and not yet settled."""
    return _count_after(transaction, queue, now_ms, (_HELD,))


def delayed(transaction: ReadTransaction, queue: str, now_ms: int) -> int:
    """How many lanes wait for their first message's time."""
    return _count_after(transaction, queue, now_ms, WAITING)


def _count_after(transaction: ReadTransaction, queue: str, now_ms: int, states: tuple[int, ...]) -> int:
    number = number_of(transaction, "queue", queue)
    if number is None:
        return 0
    low, high = span(number)
    scanned = transaction.scan("ready", low + U64.pack(now_ms + 1), high)
    return sum(1 for _, value in scanned if value[-1] in states)


def last_arrival(transaction: ReadTransaction) -> int:
    """The arrival of the message that was sent last, to whichever queue."""
    return transaction.counter(COUNTER)


def queue_names(transaction: ReadTransaction) -> list[str]:
    """Every queue that was ever sent to."""
    return sorted(names(transaction, "queue"))
