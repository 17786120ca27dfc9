"""Plain puts: whole items and no condition, read in one pass by the library in C from a body, or from Python's values.

What it reads is certainly valid, and comes out as the store keeps it: no part of the item becomes a value of Python's.
Whatever it does not know for certain (a condition, a set, an error) it leaves to `table/`, which says the same
of every body that it does read.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import orjson

from afterwrite.accelerators import library, quick_library
from afterwrite.core.json_text import text_as_it_is
from afterwrite.core.values import Item
from afterwrite.store import items, long_keys, plain_batches, tables
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.operations.items import batch_write
from afterwrite.store.plain_batches import PlainBatch, PlainPut, batch_of, put_at
from afterwrite.store.plain_tables import KnownTables
from afterwrite.store.prepared import Write
from afterwrite.table.writes import unconditional_put

# Of a larger item the copying costs more than the parsing.
_PUT_ROOM_BYTES: Final = 128 << 10
_ROOM_BYTES: Final = 2 << 20
_REQUEST_PUTS_MAX: Final = 25


class PlainPuts:
    """Reads plain puts into the tables of an environment. For any thread."""

    def __init__(self, environment: Environment) -> None:
        self._library = quick_library()
        self._lock = threading.Lock()
        self._room = ctypes.create_string_buffer(_ROOM_BYTES)
        self._found = memoryview(self._room).cast("B")
        self._known = KnownTables(environment)

    def prepare(self, operation: str, body: bytes) -> Write | None:
        """The write of a PutItem or BatchWriteItem with this body; None where it has to be read by other means."""
        if operation == "PutItem":
            put = self.put(body)
            return None if put is None else write_of(put)
        if operation == "BatchWriteItem":
            batch = self.puts(body)
            return None if batch is None else Write(partial(_put_all, batch, body))
        return None

    def put_of(self, table_name: str, item: Item) -> PlainPut | None:
        """The put of an item in the wire form; None where it is not plain."""
        text = text_as_it_is(item)
        if text is None:
            return None
        return self.put(b'{"TableName":"%b","Item":%b}' % (table_name.encode(), text))

    def put(self, body: bytes) -> PlainPut | None:
        """The put that a PutItem with this body asks for; None where it is not plain."""
        if self._library is None:
            return None
        with self._lock:
            known = self._known.all
            names = known.names
            if not self._library.plain_put(names, len(names), body, len(body), self._room, _PUT_ROOM_BYTES):
                return None
            return put_at(self._found, 0, known.tables)[0]

    def puts(self, body: bytes) -> PlainBatch | None:
        """The puts that a BatchWriteItem with this body asks for, each of another item; None where it is not plain."""
        batch = self._puts(body, _PUT_ROOM_BYTES, _REQUEST_PUTS_MAX)
        return batch if batch is not None and len(set(batch.places)) == len(batch.places) else None

    def puts_of(self, table_name: str, items: Sequence[Item]) -> PlainBatch | None:
        """The puts of items in the wire form, in order; None where any is not plain, or they are too many for here."""
        puts = [{"PutRequest": {"Item": item}} for item in items]
        body = text_as_it_is({"RequestItems": {table_name: puts}})
        return None if body is None else self._puts(body, _ROOM_BYTES, len(items))

    def puts_of_values(self, table_name: str, items: Sequence[Mapping[str, Any]]) -> PlainBatch | None:
        """The puts of items of Python's values, in order; None as of `puts_of`. Others may run meanwhile."""
        found = library()
        if found is None or self._library is None:
            return None
        body = text_as_it_is(items)
        if body is None:
            return None
        name = orjson.dumps(table_name)[1:-1]
        with self._lock:
            known = self._known.all
            names = known.names
            at = ctypes.addressof(self._room)
            count = found.plain_items(names, len(names), name, len(name), body, len(body), at, _ROOM_BYTES, len(items))
            return batch_of(self._library, self._room, count, known) if count else None

    def _puts(self, body: bytes, room_bytes: int, puts_max: int) -> PlainBatch | None:
        if self._library is None:
            return None
        with self._lock:
            known = self._known.all
            names = known.names
            count = self._library.plain_puts(names, len(names), body, len(body), self._room, room_bytes, puts_max)
            return batch_of(self._library, self._room, count, known) if count else None


def write_of(put: PlainPut) -> Write:
    """The write of a PutItem that asks for this put."""
    return Write(partial(_put, put))


def _put(put: PlainPut, transaction: WriteTransaction) -> Mapping[str, Any]:
    write(transaction, put)
    return {}


def _put_all(batch: PlainBatch, body: bytes, transaction: WriteTransaction) -> Mapping[str, Any] | None:
    if any(tables.catalog(transaction).get(table.name) is not table for table in batch.tables.values()):
        return batch_write(orjson.loads(body)).run(transaction)
    write_all(transaction, batch)
    return {"UnprocessedItems": {}}


def write_all(transaction: WriteTransaction, batch: PlainBatch) -> None:
    """Put the items of the batch, with their change records. Raises ServiceError."""
    if plain_batches.write(transaction, batch) is None:
        for put in batch.each():
            write(transaction, put)


def write(transaction: WriteTransaction, put: PlainPut) -> None:
    """Put the item, with its change record. Raises ServiceError."""
    table = put.table
    if tables.catalog(transaction).get(table.name) is not table:
        # It has changed since the item was read.
        items.write(transaction, unconditional_put(table.name, orjson.loads(items.text_of(put.value))))
        return
    stored = long_keys.get(transaction, "items", put.place)
    items.replace_value(transaction, table, put.place, stored, put.value, put.key)
