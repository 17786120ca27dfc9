"""Archives of buses: every event, by the time that it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from afterwrite.store import timeline
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, ensure_number, number_of, span


def add(transaction: WriteTransaction, bus: str, at_ms: int, event: bytes, *, keep_until_ms: int | None) -> None:
    """Keep an event, until a time where one is given."""
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
        size_bytes += len(value)
    return count, size_bytes


def read(
    transaction: ReadTransaction, bus: str, from_ms: int = 0, to_ms: int | None = None, *, after: bytes = b""
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The events of [from_ms, to_ms), oldest first, each with its place; only those after the place `after`."""
    number = number_of(transaction, "archive", bus)
    if number is None:
        return
    low, high = span(number)
    end = high if to_ms is None else low + U64.pack(to_ms)
    start = after + b"\x00" if after else low + U64.pack(from_ms)
    for key, value in transaction.scan("archive", start, end):
        yield key, orjson.loads(value)
