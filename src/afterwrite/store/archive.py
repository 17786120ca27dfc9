"""Archives of buses: every event, by the time that it says, with the lane that orders it.

That time is in whole seconds, so within a second events are in the order they were archived in, which is that of each
lane.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from afterwrite.core.lanes import lane_and_text
from afterwrite.store import timeline
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, ensure_number, number_of, span


class Archived(NamedTuple):
    """An event, its place in the archive, and its lane; empty for a lane of its own, and where none was kept."""

    place: bytes
    event: dict[str, Any]
    lane: str


def add(transaction: WriteTransaction, bus: str, at_ms: int, event: bytes, *, keep_until_ms: int | None) -> None:
    """Keep an event, which may have its lane with it, until a time where one is given."""
    number = ensure_number(transaction, "archive", bus)
    key = U32.pack(number) + U64.pack(at_ms) + U64.pack(transaction.advance("archived"))
    transaction.put("archive", key, event)
    if keep_until_ms is not None:
        timeline.schedule_deletion(transaction, "archive", key, keep_until_ms)


def time_ms(place: bytes) -> int:
    """The time of the event at a place."""
    at_ms: int = U64.unpack_from(place, U32.size)[0]
    return at_ms


def size(transaction: ReadTransaction, bus: str) -> tuple[int, int]:
    """How many events there are, and their bytes. Costs a step an event."""
    number = number_of(transaction, "archive", bus)
    if number is None:
        return 0, 0
    count = size_bytes = 0
    for _, value in transaction.scan("archive", *span(number)):
        count += 1
        size_bytes += len(lane_and_text(value)[1])
    return count, size_bytes


def read(
    transaction: ReadTransaction, bus: str, from_ms: int = 0, to_ms: int | None = None, *, after: bytes = b""
) -> Iterator[Archived]:
    """The events of [from_ms, to_ms), by the second, oldest first; only those after the place `after`."""
    number = number_of(transaction, "archive", bus)
    if number is None:
        return
    low, high = span(number)
    end = high if to_ms is None else low + U64.pack(to_ms)
    begun_ms, last = (_second_ms(after), _ordinal(after)) if after else (0, 0)
    begin = low + U64.pack(max(from_ms, begun_ms))
    while (first := transaction.first("archive", begin, end)) is not None:
        second_ms = _second_ms(first[0])
        next_second = min(end, low + U64.pack(second_ms + 1000))
        for place in _as_archived(transaction, first[0], next_second, last if second_ms == begun_ms else 0):
            value = transaction.get("archive", place)
            if value is not None:
                lane, text = lane_and_text(value)
                yield Archived(place, orjson.loads(text), lane)
        begin = next_second


def _as_archived(transaction: ReadTransaction, low: bytes, high: bytes, last: int) -> Iterator[bytes]:
    """The places of one second behind the `last` that was read, in the order in which their events were archived.

    Of whole seconds there may be any number, which are in that order; of the times in milliseconds that older versions
    kept there are few.
    """
    second = low[: U32.size] + U64.pack(_second_ms(low))
    after_second = second[: U32.size] + U64.pack(_second_ms(low) + 1)
    whole = _places(transaction, max(low, second + U64.pack(last + 1)), after_second)
    others = (place for place in _places(transaction, max(low, after_second), high) if _ordinal(place) > last)
    return heapq.merge(whole, sorted(others, key=_ordinal), key=_ordinal)


def _places(transaction: ReadTransaction, low: bytes, high: bytes) -> Iterator[bytes]:
    return (place for place, _ in transaction.scan_wanted("archive", low, high, lambda _: False))


def _second_ms(place: bytes) -> int:
    return time_ms(place) // 1000 * 1000


def _ordinal(place: bytes) -> int:
    """Which of all archived events the one at a place is."""
    number: int = U64.unpack_from(place, U32.size + U64.size)[0]
    return number
