"""Durable buffers: records that are taken out in ranges, each range exactly once.

A buffer feeds files (the lake, the audit log). Before a range is written to a file it is recorded as the
buffer's *plan*; after a crash the same range is written again, under the same name and with the same content.
Unlike a queue a buffer has one reader, one order, and no message of its own to wait for; so the records that are
added together are stored together, in *blocks*, under the sequence of their first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from afterwrite.core.placements import ToBuffer
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, ensure_number, names, number_of, span

_RECORD: Final = struct.Struct(">QHI")
_BLOCK_BYTES_MAX: Final = 256 << 10
_MIB: Final = 1 << 20
_PLAN: Final = struct.Struct(">QQ")


class Buffered(NamedTuple):
    """A record that waits: its place in the buffer, the time of its change, its effect's id, its JSON text."""

    sequence: int
    at_ms: int
    id: str
    text: bytes


# The same without the call of a function in Python for each of many records.
_AS_BUFFERED: Final = partial(tuple.__new__, Buffered)


class NewRecord(NamedTuple):
    """A record to add: its effect's id, the time (ms) of its change, its JSON text."""

    id: str
    at_ms: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a buffer is: records, bytes of text, and when the oldest was put (ms)."""

    records: int
    bytes: int
    oldest_ms: int | None


def signal(buffer: str) -> str:
    """What is notified after a commit that made the buffer no longer empty, or a mebibyte fuller."""
    return f"buffer:{buffer}"


class NewBlock(NamedTuple):
    """Records to add as they are stored together: how many they are, the bytes of their texts, and the block."""

    records: int
    text_bytes: int
    content: bytes


def blocks_of(records: Sequence[NewRecord | ToBuffer]) -> list[NewBlock]:
    """The blocks that records are stored in. Nothing of it needs the transaction, which others wait for."""
    blocks: list[NewBlock] = []
    first = text_bytes = 0
    for place, size in enumerate([len(record.text) for record in records]):
        if text_bytes + size > _BLOCK_BYTES_MAX and place > first:
            blocks.append(NewBlock(place - first, text_bytes, encoded_records(records[first:place])))
            first, text_bytes = place, 0
        text_bytes += size
    if first < len(records):
        blocks.append(NewBlock(len(records) - first, text_bytes, encoded_records(records[first:])))
    return blocks


def add(transaction: WriteTransaction, buffer: str, records: Sequence[NewRecord]) -> None:
    """Add records at the end of the buffer."""
    add_blocks(transaction, buffer, blocks_of(records))


def add_blocks(transaction: WriteTransaction, buffer: str, blocks: Sequence[NewBlock]) -> None:
    """Add blocks of records at the end of the buffer."""
    number = ensure_number(transaction, "buffer", buffer)
    records = sum(block.records for block in blocks)
    added_bytes = sum(block.text_bytes for block in blocks)
    first = transaction.advance(f"sequence:{number}", records) - records + 1
    for block in blocks:
        transaction.put("buffers", U32.pack(number) + U64.pack(first), block.content)
        first += block.records
    transaction.advance(f"records:{number}", records)
    size = transaction.advance(f"bytes:{number}", added_bytes)
    if transaction.counter(f"oldest:{number}") == 0:
        transaction.advance(f"oldest:{number}", transaction.now_ms)
        transaction.touch(signal(buffer))
    elif size // _MIB != (size - added_bytes) // _MIB:
        transaction.touch(signal(buffer))


def encoded_records(records: Sequence[NewRecord | ToBuffer]) -> bytes:
    """A block of records."""
    ids = [record.id.encode() for record in records]
    texts = [record.text for record in records]
    headers = map(_RECORD.pack, [record.at_ms for record in records], map(len, ids), map(len, texts))
    return b"".join(chain.from_iterable(zip(headers, ids, texts, strict=True)))


def records_of(first: int, block: bytes) -> list[Buffered]:
    """The records of a block that begins with the sequence `first`."""
    unpack, header_size, end = _RECORD.unpack_from, _RECORD.size, len(block)
    records = []
    place = 0
    while place < end:
        at_ms, id_size, text_size = unpack(block, place)
        id_place = place + header_size
        text_place = id_place + id_size
        place = text_place + text_size
        records.append((first, at_ms, block[id_place:text_place].decode(), block[text_place:place]))
        first += 1
    return list(map(_AS_BUFFERED, records))


def _text_sizes(block: bytes) -> list[int]:
    """The bytes of each of a block's texts, which are not looked at."""
    unpack, header_size, end = _RECORD.unpack_from, _RECORD.size, len(block)
    sizes = []
    place = 0
    while place < end:
        _, id_size, text_size = unpack(block, place)
        place += header_size + id_size + text_size
        sizes.append(text_size)
    return sizes


def buffer_names(transaction: ReadTransaction) -> list[str]:
    """Every buffer that was ever added to."""
    return sorted(names(transaction, "buffer"))


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
    taken = taken_bytes = 0
    for key, block in transaction.scan("buffers", *span(number)):
        for record in records_of(U64.unpack_from(key, 4)[0], block):
            taken_bytes += len(record.text)
            if taken == records_max or (bytes_max is not None and taken and taken_bytes > bytes_max):
                return
            taken += 1
            yield record


def first_waiting(transaction: ReadTransaction, buffer: str) -> int:
    """The sequence of the first record that waits, or that the next one will have."""
    number = number_of(transaction, "buffer", buffer)
    if number is None:
        return 1
    found = transaction.first("buffers", *span(number))
    return transaction.counter(f"sequence:{number}") + 1 if found is None else U64.unpack_from(found[0], 4)[0]


def next_range(transaction: ReadTransaction, buffer: str, *, bytes_max: int) -> tuple[int, int] | None:
    """The sequences of the first and the last of what `read` would give, None where the buffer is empty."""
    number = number_of(transaction, "buffer", buffer)
    if number is None:
        return None
    first = last = 0
    for key, block in transaction.scan("buffers", *span(number)):
        sequence = U64.unpack_from(key, 4)[0]
        first = first or sequence
        for text_size in _text_sizes(block):
            bytes_max -= text_size
            if last and bytes_max < 0:
                return first, last
            last = sequence
            sequence += 1
    return (first, last) if last else None


def read_range(transaction: ReadTransaction, buffer: str, first: int, last: int) -> list[Buffered]:
    """The records of a planned range."""
    number = number_of(transaction, "buffer", buffer)
    if number is None:
        return []
    low, _ = span(number)
    records: list[Buffered] = []
    for key, block in transaction.scan("buffers", low, low + U64.pack(last + 1)):
        records += records_of(U64.unpack_from(key, 4)[0], block)
    return [each for each in records if first <= each.sequence <= last]


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
    count = size = 0
    for key, block in list(transaction.scan("buffers", low, low + U64.pack(last + 1))):
        transaction.delete("buffers", key)
        first = U64.unpack_from(key, 4)[0]
        text_sizes = _text_sizes(block)
        taken = text_sizes[: last - first + 1]
        count += len(taken)
        size += sum(taken)
        if len(taken) < len(text_sizes):
            kept = [NewRecord(each.id, each.at_ms, each.text) for each in records_of(first, block)][len(taken) :]
            transaction.put("buffers", low + U64.pack(last + 1), encoded_records(kept))
    transaction.advance(f"records:{number}", -count)
    transaction.advance(f"bytes:{number}", -size)
    oldest = transaction.counter(f"oldest:{number}")
    remaining = transaction.counter(f"records:{number}") > 0
    transaction.advance(f"oldest:{number}", (transaction.now_ms if remaining else 0) - oldest)
    transaction.delete("ledger", f"plan\0{buffer}".encode())
    return count
