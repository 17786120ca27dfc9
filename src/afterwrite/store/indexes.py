"""Secondary indexes: entries that lead to items, written in the transaction of their items.

An entry holds no copy of its item, only where that is stored; what the index projects is chosen on reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from afterwrite.core.values import Item
from afterwrite.store import long_keys
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, span
from afterwrite.table.index_keys import entry_key
from afterwrite.table.schema import IndexSchema, KeyAttribute, KeySchema
from afterwrite.table.sizes import item_size


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index of a table, and its number in the store.

    An index that is added to a table is filled in rounds: `filled_to` is where the last item is stored that it has
    taken in, empty before the first and None once all are. An item behind that is taken in as it is then, so that
    writes leave it alone until its turn comes.
    """

    number: int
    schema: IndexSchema
    filled_to: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """The index as the catalog keeps it."""
        filled_to = None if self.filled_to is None else self.filled_to.hex()
        return {"number": self.number, "schema": asdict(self.schema), "filled_to": filled_to}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Index:
        """Read an index of the catalog; one of a version that filled them at once has no `filled_to`."""
        schema = dict(fields["schema"])
        for name in ("partition_attributes", "sort_attributes"):
            schema[name] = tuple(KeyAttribute(**each) for each in schema[name])
        filled_to = fields.get("filled_to")
        return cls(
            fields["number"],
            IndexSchema(**{**schema, "included": tuple(schema["included"])}),
            None if filled_to is None else bytes.fromhex(filled_to),
        )

    def awaits(self, stored_at: bytes) -> bool:
        """Whether the index is being filled and has not come to the item that is stored there."""
        return self.filled_to is not None and stored_at > self.filled_to


def entry_at(table: KeySchema, index: Index, item: Item) -> bytes | None:
    """Where the item's entry is stored; None where it has none."""
    key = entry_key(table, index.schema, item)
    return None if key is None else U32.pack(index.number) + key


def move(
    transaction: WriteTransaction, table: KeySchema, index: Index, stored_at: bytes, old: Item | None, new: Item | None
) -> None:
    """Let the index follow an item from `old` to `new`; `stored_at` is where the item is stored."""
    if not index.awaits(stored_at):
        _move(transaction, table, index, stored_at, old, new)


def _move(
    transaction: WriteTransaction, table: KeySchema, index: Index, stored_at: bytes, old: Item | None, new: Item | None
) -> None:
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


def take_in(transaction: WriteTransaction, table: KeySchema, index: Index, items: Iterable[tuple[bytes, Item]]) -> None:
    """Take in items that were there before the index, with where they are stored."""
    for stored_at, item in items:
        _move(transaction, table, index, stored_at, None, item)


def drop(transaction: WriteTransaction, index: Index) -> None:
    """Delete every entry of an index."""
    long_keys.delete_range(transaction, "indexes", *span(index.number))


def statistics(transaction: ReadTransaction, number: int) -> tuple[int, int]:
    """How many items the table or index `number` has, and their size in bytes."""
    items_counter, bytes_counter = _counters(number)
    return transaction.counter(items_counter), transaction.counter(bytes_counter)


def count(transaction: WriteTransaction, number: int, items: int, size: int) -> None:
    """Add to the statistics of the table or index `number`."""
    items_counter, bytes_counter = _counters(number)
    if items:
        transaction.advance(items_counter, items)
    if size:
        transaction.advance(bytes_counter, size)


@lru_cache(maxsize=1024)
def _counters(number: int) -> tuple[str, str]:
    return f"items:{number}", f"item-bytes:{number}"
