"""Plain puts: a whole item and no condition, read from a request's body in one pass by the library in C.

What it reads is certainly valid, and comes out as the store keeps it: no part of the item becomes a value of Python's.
Whatever it does not know for certain (a condition, binary, a set, an error) it leaves to `table/`, which says the same
of every body that it does read.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

import orjson

from afterwrite.accelerators import plain_put_reader
from afterwrite.core.values import Item
from afterwrite.store import long_keys, tables
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
        self._reader = plain_put_reader()
        self._lock = threading.Lock()
        self._room = ctypes.create_string_buffer(_ROOM_BYTES)
        self._found = memoryview(self._room).cast("B")
        self._catalog: Catalog = {}
        self._tables: list[Table] = []
        self._known = b""

    def prepare(self, body: bytes) -> Write | None:
        """The write of a PutItem with this body; None where it has to be read by other means."""
        put = self.read(body)
        return None if put is None else Write(partial(_put, put))

    def of_item(self, table_name: str, item: Item) -> PlainPut | None:
        """The put of an item in the wire form; None where it is not plain."""
        try:
            text = orjson.dumps(item)
        except orjson.JSONEncodeError:
            return None
        return self.read(b'{"TableName":"%b","Item":%b}' % (table_name.encode(), text))

    def read(self, body: bytes) -> PlainPut | None:
        """The put that a PutItem with this body asks for; None where it is not plain."""
        if self._reader is None:
            return None
        with self._lock:
            self._follow(self._environment.state.get("catalog", self._catalog))
            if not self._reader(self._known, len(self._known), body, len(body), self._room, _ROOM_BYTES):
                return None
            number, value_bytes, key_bytes, place_bytes, item_bytes, key_size = _PUT.unpack_from(self._found)
            key_at = _PUT.size + value_bytes
            place_at = key_at + key_bytes
            value = bytes(self._found[_PUT.size : key_at])
            key = KeyText(bytes(self._found[key_at:place_at]), key_size)
            place = bytes(self._found[place_at : place_at + place_bytes])
            return PlainPut(self._tables[number], item_bytes, value, key, place)

    def _follow(self, catalog: Catalog) -> None:
        """Know the tables of `catalog` whose keys are texts, and that have no indexes."""
        if catalog is self._catalog:
            return
        self._tables = [
            table
            for table in catalog.values()
            if not table.indexes and table.schema.partition_type == "S" and table.schema.sort_type in ("S", None)
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
