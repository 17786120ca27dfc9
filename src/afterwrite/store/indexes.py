"""Secondary indexes: entries that lead to items, written in the transaction of their items.

An entry holds no copy of its item, only where that is stored; what the index projects is chosen on reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from afterwrite.core.values import Item
from afterwrite.errors import ServiceError
from afterwrite.store import long_keys
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, span
from afterwrite.table.index_keys import check_index_keys, entry_key
from afterwrite.table.schema import IndexSchema, KeySchema
from afterwrite.table.sizes import item_size


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index of a table, and its number in the store."""

    number: int
    schema: IndexSchema


def move(
    transaction: WriteTransaction, table: KeySchema, index: Index, stored_at: bytes, old: Item | None, new: Item | None
) -> None:
    """Let the index follow an item from `old` to `new`; `stored_at` is where the item is stored."""
    was = None if old is None else entry_key(table, index.schema, old)
    becomes = None if new is None else entry_key(table, index.schema, new)
    if was is None and becomes is None:
        return
    prefix = U32.pack(index.number)
    if was != becomes:
        if was is not None:
            long_keys.delete(transaction, "indexes", prefix + was)
        if becomes is not None:
            long_keys.put(transaction, "indexes", prefix + becomes, stored_at)
    old_size = 0 if was is None or old is None else item_size(index.schema.project(table, old))
    new_size = 0 if becomes is None or new is None else item_size(index.schema.project(table, new))
    count(transaction, index.number, (becomes is not None) - (was is not None), new_size - old_size)


def scan(
    transaction: ReadTransaction, index: Index, low: bytes, high: bytes, *, reverse: bool = False
) -> Iterator[bytes]:
    """Where the items are stored whose entries are in [low, high), in the entries' order."""
    prefix = U32.pack(index.number)
    for _, stored_at in long_keys.scan(transaction, "indexes", prefix + low, prefix + high, reverse=reverse):
        yield stored_at


def fill(transaction: WriteTransaction, table: KeySchema, index: Index, items: Iterable[tuple[bytes, Item]]) -> None:
    """Take in the items that were there before the index; those that cannot be in it are left out."""
    for stored_at, item in items:
        try:
            check_index_keys(index.schema, item)
        except ServiceError:
            continue
        move(transaction, table, index, stored_at, None, item)


def drop(transaction: WriteTransaction, index: Index) -> None:
    """Delete every entry of an index."""
    long_keys.delete_range(transaction, "indexes", *span(index.number))


def statistics(transaction: ReadTransaction, number: int) -> tuple[int, int]:
    """How many items the table or index `number` has, and their size in bytes."""
    return transaction.counter(f"items:{number}"), transaction.counter(f"item-bytes:{number}")


def count(transaction: WriteTransaction, number: int, items: int, size: int) -> None:
    """Add to the statistics of the table or index `number`."""
    if items:
        transaction.advance(f"items:{number}", items)
    if size:
        transaction.advance(f"item-bytes:{number}", size)
