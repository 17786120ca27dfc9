"""Plain puts: whole items and no condition, read from a request's body in one pass by the library in C.

What it reads is certainly valid, and comes out as the store keeps it: no part of the item becomes a value of Python's.
Whatever it does not know for certain (a condition, binary, a set, an error) it leaves to `table/`, which says the same
of every body that it does read.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from afterwrite.accelerators import quick_library
from afterwrite.core.values import Item
from afterwrite.store import item_operations, long_keys, tables
from afterwrite.store.change_capture import KeyText
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.names import U32
from afterwrite.store.prepared import Write
from afterwrite.store.tables import Catalog, Table
from afterwrite.table.writes import unconditional_put

# `struct plain_table` and `struct plain_put` of plain_put.h.
_TABLE: Final = struct.Struct("@HHHH")
_PUT: Final = struct.Struct("@IIIIII")
# Of a larger item the copying costs more than the parsing.
_ROOM_BYTES: Final = 128 << 10


class PlainPut(NamedTuple):
    """An item to put: its size, its value and its key as the store keeps them, and its place in its table."""

    table: Table
    item_bytes: int
    value: bytes
    key: KeyText
    place: bytes


class PlainPuts:
    """Reads plain puts into the tables of an environment. For any thread."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._library = quick_library()
        self._lock = threading.Lock()
        self._room = ctypes.create_string_buffer(_ROOM_BYTES)
        self._found = memoryview(self._room).cast("B")
        self._catalog: Catalog = {}
        self._tables: list[Table] = []
        self._known = b""

    def prepare(self, operation: str, body: bytes) -> Write | None:
        """The write of a PutItem or BatchWriteItem with this body; None where it has to be read by other means."""
        if operation == "PutItem":
            put = self.put(body)
            return None if put is None else Write(partial(_put, put))
        if operation == "BatchWriteItem":
            puts = self.puts(body)
            return None if puts is None else Write(partial(_put_all, puts, body))
        return None

    def put_of(self, table_name: str, item: Item) -> PlainPut | None:
        """The put of an item in the wire form; None where it is not plain."""
        try:
            text = orjson.dumps(item)
        except orjson.JSONEncodeError:
            return None
        return self.put(b'{"TableName":"%b","Item":%b}' % (table_name.encode(), text))

    def put(self, body: bytes) -> PlainPut | None:
        """The put that a PutItem with this body asks for; None where it is not plain."""
        if self._library is None:
            return None
        with self._lock:
            self._follow(self._environment.state.get("catalog", self._catalog))
            if not self._library.plain_put(self._known, len(self._known), body, len(body), self._room, _ROOM_BYTES):
                return None
            return self._found_at(0)[0]

    def puts(self, body: bytes) -> list[PlainPut] | None:
        """The puts that a BatchWriteItem with this body asks for, each of another item; None where it is not plain."""
        if self._library is None:
            return None
        puts: list[PlainPut] = []
        at = 0
        with self._lock:
            self._follow(self._environment.state.get("catalog", self._catalog))
            count = self._library.plain_puts(self._known, len(self._known), body, len(body), self._room, _ROOM_BYTES)
            for _ in range(count):
                put, at = self._found_at(at)
                puts.append(put)
        return puts if puts and len({put.place for put in puts}) == len(puts) else None

    def _found_at(self, at: int) -> tuple[PlainPut, int]:
        """The put that the library has found, and where the next one is."""
        found = self._found
        number, value_bytes, key_bytes, place_bytes, item_bytes, key_size = _PUT.unpack_from(found, at)
        value_at = at + _PUT.size
        key_at = value_at + value_bytes
        place_at = key_at + key_bytes
        end = place_at + place_bytes
        key = KeyText(bytes(found[key_at:place_at]), key_size)
        value, place = bytes(found[value_at:key_at]), bytes(found[place_at:end])
        return PlainPut(self._tables[number], item_bytes, value, key, place), end

    def _follow(self, catalog: Catalog) -> None:
        """Know the tables of `catalog` whose keys are texts, and that have no indexes of either kind."""
        if catalog is self._catalog:
            return
        self._tables = [
            table
            for table in catalog.values()
            if not table.indexes
            and not table.vector_indexes
            and table.schema.partition_type == "S"
            and table.schema.sort_type in ("S", None)
        ]
        self._known = b"".join(map(_described, self._tables))
        self._catalog = catalog


def _described(table: Table) -> bytes:
    names = [table.name, table.schema.partition_key, table.schema.sort_key, table.ttl_attribute]
    written = [orjson.dumps(name or "")[1:-1] for name in names]
    return _TABLE.pack(*map(len, written)) + b"".join(written)


def _put(put: PlainPut, transaction: WriteTransaction) -> Mapping[str, Any]:
    write(transaction, put)
    return {}


def _put_all(puts: Sequence[PlainPut], body: bytes, transaction: WriteTransaction) -> Mapping[str, Any] | None:
    table = puts[0].table
    if tables.catalog(transaction).get(table.name) is not table:
        return item_operations.batch_write(orjson.loads(body)).run(transaction)
    for put in puts:
        write(transaction, put)
    return {"UnprocessedItems": {}}


def write(transaction: WriteTransaction, put: PlainPut) -> None:
    """Put the item, with its change record. Raises ServiceError."""
    table = put.table
    if tables.catalog(transaction).get(table.name) is not table:
        # It has changed since the item was read.
        tables.write_item(transaction, unconditional_put(table.name, orjson.loads(tables.item_text(put.value))))
        return
    stored_at = U32.pack(table.number) + put.place
    stored = long_keys.get(transaction, "items", stored_at)
    tables.replace_value(transaction, table, stored_at, stored, put.value, put.key)
