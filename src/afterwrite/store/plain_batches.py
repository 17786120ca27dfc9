"""Batches of plain puts, written by the library in C: one operation, with little of Python's a put.

What is left in the store and in the journal is byte for byte what `plain_puts.write` leaves, put after put.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from afterwrite.accelerators import quick_library
from afterwrite.core.changes import NEW_AND_OLD_IMAGES, NEW_IMAGE, OLD_IMAGE
from afterwrite.store import change_log, expirations, indexes, items, kinesis_destinations, tables
from afterwrite.store.change_capture import KeyText
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.tables import Table

# The structures of plain_put.h and plain_batch.h.
_PUT: Final = struct.Struct("@IIIIII")
_TABLE: Final = struct.Struct("@IIII")
_DATABASES: Final = struct.Struct("@IIII")
_COMMIT: Final = struct.Struct("@QQ")
_PLACE: Final = struct.Struct("@III")
_WRITTEN: Final = struct.Struct("@IIIIIIIIIII")
_COUNT: Final = struct.Struct("@IIqq")
_MOVE: Final = struct.Struct("@QQQ")
_QUESTION: Final = struct.Struct("@IIII")
_ENTRY: Final = struct.Struct("@III")
_SAME: Final = 1
_DIFFERENT: Final = 2
# What an item and its change need beside their texts, and the parts that are there for each put.
_PUT_ROOM_BYTES: Final = 256


class PlainPut(NamedTuple):
    """An item to put: its size, its value and its key as the store keeps them, and its place in the store."""

    table: Table
    item_bytes: int
    value: bytes
    key: KeyText
    place: bytes


class PlainBatch(NamedTuple):
    """Puts, as the library has read them, with their places.

    `tables` are those that are put into, by the numbers that `puts` has for them, which are those of `streams`.
    """

    tables: Mapping[int, Table]
    streams: bytes
    places: Sequence[bytes]
    puts: bytes

    def each(self) -> Iterator[PlainPut]:
        """The puts in their order."""
        at = 0
        for _ in self.places:
            put, at = put_at(self.puts, at, self.tables)
            yield put


def put_at(found: bytes | memoryview, at: int, known: Mapping[int, Table] | Sequence[Table]) -> tuple[PlainPut, int]:
    """The put that the library has written there, and where the next one is."""
    number, value_bytes, key_bytes, place_bytes, item_bytes, key_size = _PUT.unpack_from(found, at)
    value_at = at + _PUT.size
    key_at = value_at + value_bytes
    place_at = key_at + key_bytes
    end = place_at + place_bytes
    key = KeyText(bytes(found[key_at:place_at]), key_size)
    value, place = bytes(found[value_at:key_at]), bytes(found[place_at:end])
    return PlainPut(known[number], item_bytes, value, key, place), end


def batch_of(
    library: ctypes.PyDLL, found: ctypes.Array[ctypes.c_char], count: int, known: Sequence[Table], streams: bytes
) -> PlainBatch:
    """The batch of the `count` puts that `library` has written to `found`; `streams` tells of the `known` tables."""
    room = ctypes.create_string_buffer(count * _PLACE.size)
    library.plain_batch_places(found, count, room)
    places = list(_PLACE.iter_unpack(room))
    puts = ctypes.string_at(found, places[-1][2])
    into = {number: known[number] for number in {number for number, _, _ in places}}
    return PlainBatch(into, streams, [puts[at:end] for _, at, end in places], puts)


def streams_of(known: Sequence[Table]) -> bytes:
    """What the library has to know of where the changes of tables go."""
    return b"".join(map(_described, known))


def _described(table: Table) -> bytes:
    stream = table.stream
    if stream is None or stream.fed_by is not None:
        return bytes(_TABLE.size)
    view = stream.view_type
    return _TABLE.pack(
        stream.number, True, view in (NEW_IMAGE, NEW_AND_OLD_IMAGES), view in (OLD_IMAGE, NEW_AND_OLD_IMAGES)
    )


def write(transaction: WriteTransaction, batch: PlainBatch) -> bool:
    """Put all of the batch; False where nothing was written, and each is to be put on its own."""
    names = {table.name for table in batch.tables.values()}
    catalog = tables.catalog(transaction)
    if any(catalog.get(table.name) != table for table in batch.tables.values()):
        return False  # a table has changed since the puts were read
    if not kinesis_destinations.active_destinations(transaction).keys().isdisjoint(names):
        return False
    written = _write(transaction, batch, transaction.sealed("items", batch.places))
    if written is None:
        return False
    for number, changes, added, size in written.counts:
        table = batch.tables[number]
        indexes.count(transaction, table.number, added, size)
        if table.stream is not None and table.stream.fed_by is None:
            transaction.advance(change_log.COUNTER, changes)
            transaction.touch(table.stream.signal)
    for was, becomes, put in written.moves:
        place = batch.places[put]
        expirations.move(transaction, items.number_at(place), place, was, becomes)
    if written.items:
        transaction.put_sealed({"items": written.items, "changes": written.changes}, written.journal)
    return True


class _Written(NamedTuple):
    counts: Sequence[tuple[int, int, int, int]]
    moves: Sequence[tuple[int, int, int]]
    items: Sequence[tuple[bytes, bytes]]
    changes: Sequence[tuple[bytes, bytes]]
    journal: bytes


class _Rooms(threading.local):
    """Where the library writes to, as large as was needed."""

    def __init__(self) -> None:
        self.room = ctypes.create_string_buffer(0)

    def of(self, size: int) -> ctypes.Array[ctypes.c_char]:
        if len(self.room) < size:
            self.room = ctypes.create_string_buffer(size)
        return self.room


_rooms: Final = _Rooms()


def _write(transaction: WriteTransaction, batch: PlainBatch, olds: Sequence[bytes]) -> _Written | None:
    """What the library makes of the batch; None where it leaves it to others."""
    library = quick_library()
    if library is None:
        return None
    old, old_bytes = b"".join(olds), array("I", map(len, olds)).tobytes()
    count = len(batch.places)
    databases = transaction.databases("items", "changes")
    described_databases = _DATABASES.pack(*(each.seed for each in databases), *(each.number for each in databases))
    commit = _COMMIT.pack(transaction.now_us, transaction.counter(change_log.COUNTER) + 1)
    size = len(old) + 4 * len(batch.puts) + 2 * len(batch.streams) + (count + 1) * _PUT_ROOM_BYTES
    room = _rooms.of(size)
    view = memoryview(room).cast("B")
    verdicts = bytearray(count)
    while True:
        if not library.plain_batch_write(
            batch.puts,
            count,
            old,
            old_bytes,
            bytes(verdicts),
            batch.streams,
            len(batch.streams) // _TABLE.size,
            described_databases,
            commit,
            room,
            size,
        ):
            return None
        stored, changes, counts, moves, questions, entries_at, *ats, bytes_at, bytes_count = _WRITTEN.unpack_from(view)
        written = bytes(view[bytes_at : bytes_at + bytes_count])
        counts_at, moves_at, questions_at = ats
        if not questions:
            break
        for put, old_at, new_at, end in _parts(view, _QUESTION, questions_at, questions):
            is_same = orjson.loads(written[old_at:new_at]) == orjson.loads(written[new_at:end])
            verdicts[put] = _SAME if is_same else _DIFFERENT
    entries = [
        (written[key_at:stored_at], written[stored_at:end])
        for key_at, stored_at, end in _parts(view, _ENTRY, entries_at, stored + changes)
    ]
    return _Written(
        list(_parts(view, _COUNT, counts_at, counts)),
        list(_parts(view, _MOVE, moves_at, moves)),
        entries[:stored],
        entries[stored:],
        written,
    )


def _parts(view: memoryview, part: struct.Struct, at: int, count: int) -> Iterator[tuple[Any, ...]]:
    return part.iter_unpack(view[at : at + count * part.size])
