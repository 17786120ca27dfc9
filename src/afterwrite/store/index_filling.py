"""Indexes that come and go while their table is in use: made, filled round by round, deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from afterwrite.core.values import Item
from afterwrite.errors import ServiceError
from afterwrite.store import indexes, items, tables
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.indexes import Index
from afterwrite.store.tables import Table
from afterwrite.table.schema import IndexSchema

# What one round of filling an index reads: other writes wait for it some ten milliseconds.
_FILLED_ITEMS_MAX: Final = 500
_FILLED_BYTES_MAX: Final = 4 * 1024 * 1024


def create_index(transaction: WriteTransaction, table: Table, schema: IndexSchema) -> Table:
    """Add an index, and fill it from the first of the items that are there; `fill_index` goes on from them."""
    index = Index(transaction.advance("names"), schema, filled_to=b"")
    return fill_index(transaction, replace(table, indexes=(*table.indexes, index)), index)


def fill_index(transaction: WriteTransaction, table: Table, index: Index) -> Table:
    """Take the next items, a bounded number, into an index that is being filled; the table as it is then."""
    taken: list[tuple[bytes, Item]] = []
    read_bytes = 0
    filled_to: bytes | None = None
    for stored_at, text in items.scan_stored(transaction, table, after=index.filled_to):
        if len(taken) == _FILLED_ITEMS_MAX or read_bytes >= _FILLED_BYTES_MAX:
            filled_to = taken[-1][0]
            break
        taken.append((stored_at, orjson.loads(text)))
        read_bytes += len(text)
    indexes.take_in(transaction, table.schema, index, taken)
    moved = replace(index, filled_to=filled_to)
    return tables.save(
        transaction, replace(table, indexes=tuple(moved if each is index else each for each in table.indexes))
    )


def delete_index(transaction: WriteTransaction, table: Table, name: str) -> Table:
    """Delete an index with its entries. Raises ResourceNotFoundException."""
    index = table.index_named(name)
    if index is None:
        raise ServiceError("ResourceNotFoundException", "Requested resource not found")
    indexes.drop(transaction, index)
    return tables.save(transaction, replace(table, indexes=tuple(each for each in table.indexes if each is not index)))
