"""Durable buffers: records that are taken out in ranges, each range exactly once.

A buffer feeds files (the lake, the audit log). Before a range is written to a file it is recorded as the
buffer's *plan*; after a crash the same range is written again, under the same name and with the same content.
Unlike a queue a buffer has one reader, one order, and no message of its own to wait for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, ensure_number, number_of, span

_RECORD: Final = struct.Struct(">QH")
_PLAN: Final = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Buffered:
    """A record that waits: its place in the buffer, the time of its change, its effect's id, its JSON text."""

    sequence: int
    at_ms: int
    id: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a buffer is: records, bytes of text, and when the oldest was put (ms)."""

    records: int
    bytes: int
    oldest_ms: int | None


def signal(buffer: str) -> str:
    """What is notified after a commit that added to the buffer."""
    return f"buffer:{buffer}"


def add(transaction: WriteTransaction, buffer: str, *, id: str, at_ms: int, text: bytes) -> None:
    """Add a record at the end of the buffer."""
    number = ensure_number(transaction, "buffer", buffer)
    sequence = transaction.advance(f"sequence:{number}")
    encoded_id = id.encode()
    value = b"".join((_RECORD.pack(at_ms, len(encoded_id)), encoded_id, text))
    transaction.put("buffers", U32.pack(number) + U64.pack(sequence), value)
    transaction.advance(f"records:{number}")
    transaction.advance(f"bytes:{number}", len(text))
    if transaction.counter(f"oldest:{number}") == 0:
        transaction.advance(f"oldest:{number}", transaction.now_ms)
    transaction.touch(signal(buffer))


def fill(transaction: ReadTransaction, buffer: str) -> Fill:
    """How full the buffer is."""
    number = number_of(transaction, "buffer", buffer)
    if number is None:
        return Fill(0, 0, None)
    return Fill(
        transaction.counter(f"records:{number}"),
        transaction.counter(f"bytes:{number}"),
        transaction.counter(f"oldest:{number}") or None,
    )


def read(
    transaction: ReadTransaction, buffer: str, *, records_max: int | None = None, bytes_max: int | None = None
) -> Iterator[Buffered]:
    """The buffer's first records in order, bounded in number and in bytes of text (at least one is given)."""
    number = number_of(transaction, "buffer", buffer)
    if number is None:
        return
    taken_bytes = 0
    for taken, (key, value) in enumerate(transaction.scan("buffers", *span(number))):
        at_ms, id_size = _RECORD.unpack_from(value)
        text = value[_RECORD.size + id_size :]
        taken_bytes += len(text)
        if taken == records_max or (bytes_max is not None and taken and taken_bytes > bytes_max):
            return
        record_id = value[_RECORD.size : _RECORD.size + id_size].decode()
        yield Buffered(U64.unpack_from(key, 4)[0], at_ms, record_id, text)


def read_range(transaction: ReadTransaction, buffer: str, first: int, last: int) -> list[Buffered]:
    """The records of a planned range."""
    return [each for each in read(transaction, buffer, records_max=last - first + 1) if first <= each.sequence <= last]


def set_plan(transaction: WriteTransaction, buffer: str, first: int, last: int) -> None:
    """Record that the range is about to be written."""
    transaction.put("ledger", f"plan\0{buffer}".encode(), _PLAN.pack(first, last))


def plan(transaction: ReadTransaction, buffer: str) -> tuple[int, int] | None:
    """The range that is about to be written, if any."""
    raw = transaction.get("ledger", f"plan\0{buffer}".encode())
    return None if raw is None else _PLAN.unpack(raw)


def remove_through(transaction: WriteTransaction, buffer: str, last: int) -> int:
    """Delete the records up to `last` and the plan with them; how many there were."""
    number = number_of(transaction, "buffer", buffer)
    if number is None:
        return 0
    low, _ = span(number)
    doomed = list(transaction.scan("buffers", low, low + U64.pack(last + 1)))
    size = 0
    for key, value in doomed:
        size += len(value) - _RECORD.size - _RECORD.unpack_from(value)[1]
        transaction.delete("buffers", key)
    transaction.advance(f"records:{number}", -len(doomed))
    transaction.advance(f"bytes:{number}", -size)
    oldest = transaction.counter(f"oldest:{number}")
    remaining = transaction.counter(f"records:{number}") > 0
    transaction.advance(f"oldest:{number}", (transaction.now_ms if remaining else 0) - oldest)
    transaction.delete("ledger", f"plan\0{buffer}".encode())
    return len(doomed)
