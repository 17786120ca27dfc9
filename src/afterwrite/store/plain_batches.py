"""Batches of plain writes, written by the library in C: one operation, with little of Python's a write.

What is left in the store and in the journal is byte for byte what `items.write` and `items.transact` leave, request
after request.
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
from afterwrite.store import change_log, expirations, indexes, items, kinesis_destinations, tables
from afterwrite.store.change_capture import KeyText
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.operations.items import is_known, keep_token
from afterwrite.store.plain_tables import PlainTables
from afterwrite.store.tables import Table

# `struct taken` of taken_writes.c: operation, the body's place and size, writes, the token's size, the token and its
# fingerprint.
TAKEN: Final = struct.Struct("@IIIII36s16s")
OPERATIONS: Final = ("PutItem", "UpdateItem", "TransactWriteItems")
"""What plain writes may come in, by their numbers in C."""
# The structures of plain_put.h and plain_batch.h.
_PUT: Final = struct.Struct("@IIIIIIIIII")
_COMMIT: Final = struct.Struct("@QQ")
_PLACE: Final = struct.Struct("@III")
_WRITTEN: Final = struct.Struct("@IIIIIIIIIIIII")
_COUNT: Final = struct.Struct("@IIqq")
_MOVE: Final = struct.Struct("@QQQ")
_QUESTION: Final = struct.Struct("@IIII")
_ENTRY: Final = struct.Struct("@III")
_NUMBER: Final = struct.Struct("@I")
_SAME: Final = 1
_DIFFERENT: Final = 2
_NOT_HERE: Final = 3
# What an item and its change need beside their texts, and the parts that are there for each put.
_PUT_ROOM_BYTES: Final = 256
_KEPT_ROOM_BYTES_MAX: Final = 16 << 20
# An answer can lead to another question, and each call reads all items once more.
_CALLS_MAX: Final = 8
# Each write has its own copy of the item before it, however many are of the same large one.
_OLD_BYTES_MAX: Final = 128 << 20


class PlainPut(NamedTuple):
    """An item to put: its size, its value and its key as the store keeps them, and its place in the store."""

    table: Table
    item_bytes: int
    value: bytes
    key: KeyText
    place: bytes


class _Given(ctypes.Structure):
    """`struct batch_given` of plain_batch.h."""

    _fields_ = (
        ("streams", ctypes.c_char_p),
        ("names", ctypes.c_char_p),
        ("forms", ctypes.c_char_p),
        ("table_count", ctypes.c_uint32),
        ("items_seed", ctypes.c_uint32),
        ("changes_seed", ctypes.c_uint32),
        ("items_number", ctypes.c_uint32),
        ("changes_number", ctypes.c_uint32),
    )


class Token(NamedTuple):
    """A request's ClientRequestToken, and what tells whether another request with it asks for the same.

    The request is the one with this `number`; its writes are `writes` of the batch's, from `first` on.
    """

    number: int
    first: int
    writes: int
    text: str
    fingerprint: bytes


class PlainRequests:
    """The requests whose writes are in a batch, as the library has taken them; some are looked at, and most are not."""

    def __init__(self, taken: bytes = b"", bodies: bytes = b"", tokens: int = 0) -> None:
        self._taken = taken
        self._bodies = bodies
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._taken) // TAKEN.size

    def at(self, number: int) -> tuple[str, bytes]:
        """The operation and the body of a request."""
        operation, body_at, body_bytes, *_ = TAKEN.unpack_from(self._taken, number * TAKEN.size)
        return OPERATIONS[operation], self._bodies[body_at : body_at + body_bytes]

    @property
    def tokens(self) -> Sequence[Token]:
        """The tokens of those that have one."""
        tokens: list[Token] = []
        first = 0
        if self._tokens:
            for number, (_, _, _, writes, size, token, fingerprint) in enumerate(TAKEN.iter_unpack(self._taken)):
                if size:
                    tokens.append(Token(number, first, writes, token[:size].decode(), fingerprint))
                first += writes
        return tokens


class PlainBatch(NamedTuple):
    """Writes, as the library has read them, with their places.

    `tables` are those that are written into, by the numbers that `puts` has for them, which are those of `known`;
    `forms` are those of the writes' expressions. `requests` are those that the writes came in, where they are to
    happen together or not at all; puts that came otherwise are each for itself.
    """

    tables: Mapping[int, Table]
    known: PlainTables
    places: Sequence[bytes]
    puts: bytes
    forms: bytes = b""
    requests: PlainRequests = PlainRequests()

    def each(self) -> Iterator[PlainPut]:
        """The puts in their order, of a batch of puts alone."""
        at = 0
        for _ in self.places:
            put, at = put_at(self.puts, at, self.tables)
            yield put


def put_at(found: bytes | memoryview, at: int, known: Mapping[int, Table] | Sequence[Table]) -> tuple[PlainPut, int]:
    """The put that the library has written there, and where the next one is."""
    number, value_bytes, key_bytes, place_bytes, item_bytes, key_size, *_ = _PUT.unpack_from(found, at)
    value_at = at + _PUT.size
    key_at = value_at + value_bytes
    place_at = key_at + key_bytes
    end = place_at + place_bytes
    key = KeyText(bytes(found[key_at:place_at]), key_size)
    value, place = bytes(found[value_at:key_at]), bytes(found[place_at:end])
    return PlainPut(known[number], item_bytes, value, key, place), end


def batch_of(
    library: ctypes.PyDLL, found: ctypes.Array[ctypes.c_char], count: int, known: PlainTables, forms: bytes = b""
) -> PlainBatch:
    """The batch of the `count` writes into `known` tables that `library` has written to `found`."""
    room = ctypes.create_string_buffer((count + 1) * _PLACE.size)
    library.plain_batch_places(found, count, room)
    *places, (_, end, _) = _PLACE.iter_unpack(room)
    puts = ctypes.string_at(found, end)
    into = {number: known.tables[number] for number in {number for number, _, _ in places}}
    return PlainBatch(into, known, [puts[at:end] for _, at, end in places], puts, forms)


def write(transaction: WriteTransaction, batch: PlainBatch) -> Sequence[int] | None:
    """Carry out the batch; the numbers of the requests that are left to be carried out by other means.

    None where nothing was written, and all are left.
    """
    names = {table.name for table in batch.tables.values()}
    catalog = tables.catalog(transaction)
    if any(catalog.get(table.name) != table for table in batch.tables.values()):
        return None  # a table has changed since the puts were read
    if not kinesis_destinations.active_destinations(transaction).keys().isdisjoint(names):
        return None
    olds = transaction.sealed("items", batch.places)
    if sum(map(len, olds)) > _OLD_BYTES_MAX:
        return None
    tokens = batch.requests.tokens
    verdicts = _verdicts(transaction, len(batch.places), tokens)
    written = _write(transaction, batch, olds, verdicts)
    if written is None:
        return None
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
    left = frozenset(written.left)
    for token in tokens:
        if token.number not in left:
            keep_token(transaction, token.text, token.fingerprint)
    return written.left


def _verdicts(transaction: WriteTransaction, writes: int, tokens: Sequence[Token]) -> bytearray:
    """What is known of each write before: those of requests whose tokens are known are not carried out here."""
    verdicts = bytearray(writes)
    seen: set[str] = set()
    for token in tokens:
        if token.text in seen or is_known(transaction, token.text):
            verdicts[token.first : token.first + token.writes] = bytes((_NOT_HERE,)) * token.writes
        seen.add(token.text)
    return verdicts


class _Written(NamedTuple):
    counts: Sequence[tuple[int, int, int, int]]
    moves: Sequence[tuple[int, int, int]]
    items: Sequence[tuple[bytes, bytes]]
    changes: Sequence[tuple[bytes, bytes]]
    journal: bytes
    left: Sequence[int]


class _Rooms(threading.local):
    """Where the library writes to, as large as was needed; what is needed seldom is given back."""

    def __init__(self) -> None:
        self.room = ctypes.create_string_buffer(0)

    def of(self, size: int) -> ctypes.Array[ctypes.c_char]:
        if size > _KEPT_ROOM_BYTES_MAX:
            return ctypes.create_string_buffer(size)
        if len(self.room) < size:
            self.room = ctypes.create_string_buffer(size)
        return self.room


_rooms: Final = _Rooms()


def _write(
    transaction: WriteTransaction, batch: PlainBatch, olds: Sequence[bytes], verdicts: bytearray
) -> _Written | None:
    """What the library makes of the batch; None where it leaves it to others."""
    library = quick_library()
    if library is None:
        return None
    old, old_bytes = b"".join(olds), array("I", map(len, olds)).tobytes()
    count = len(batch.places)
    known, databases = batch.known, transaction.databases("items", "changes")
    given = _Given(known.streams, known.names, batch.forms, len(known.tables))
    given.items_seed, given.changes_seed = (each.seed for each in databases)
    given.items_number, given.changes_number = (each.number for each in databases)
    commit = _COMMIT.pack(transaction.now_us, transaction.counter(change_log.COUNTER) + 1)
    size = len(old) + 4 * len(batch.puts) + 2 * len(known.streams) + (count + 1) * _PUT_ROOM_BYTES
    left_when_asked: list[int] | None = None
    for _ in range(_CALLS_MAX):
        room = _rooms.of(size)
        needed = library.plain_batch_write(
            batch.puts, count, old, old_bytes, bytes(verdicts), ctypes.byref(given), commit, room, len(room)
        )
        if not needed:
            return None
        if needed > len(room):
            size = needed
            continue
        view = memoryview(room).cast("B")
        stored, changes, counts, moves, questions, left, entries_at, *ats, bytes_count = _WRITTEN.unpack_from(view)
        counts_at, moves_at, questions_at, left_at, bytes_at = ats
        written = bytes(view[bytes_at : bytes_at + bytes_count])
        left_requests = [number for (number,) in _parts(view, _NUMBER, left_at, left)]
        if left_when_asked not in (None, left_requests):
            return None  # what was asked was asked of items as others would have left them
        if not questions:
            break
        left_when_asked = left_requests
        for put, old_at, new_at, end in _parts(view, _QUESTION, questions_at, questions):
            is_same = orjson.loads(written[old_at:new_at]) == orjson.loads(written[new_at:end])
            verdicts[put] = _SAME if is_same else _DIFFERENT
    else:
        return None
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
        left_requests,
    )


def _parts(view: memoryview, part: struct.Struct, at: int, count: int) -> Iterator[tuple[Any, ...]]:
    return part.iter_unpack(view[at : at + count * part.size])
