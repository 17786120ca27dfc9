"""Tables that are made from a backup: put block by block, and out of reach until they have every item.

A table that is being restored stands in the catalog under a name that no request can give, so nothing reads it or
writes to it. With its last item it gets its own name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson

from afterwrite.errors import CorruptData
from afterwrite.store import items, tables
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.table_backups import TableBackups, read_block
from afterwrite.store.tables import Catalog, Restoration, Table
from afterwrite.table.writes import Put

_LOG: Final = logging.getLogger("afterwrite")
_SUFFIX: Final = "/restoring"


def hidden_name(name: str) -> str:
    """What the table `name` is called in the catalog while it is being restored."""
    return f"{name}{_SUFFIX}"


def own_name(name: str) -> str:
    """The name of a table of the catalog, which may be one that is being restored."""
    return name.removesuffix(_SUFFIX)


def restoring_named(catalog: Catalog, name: str) -> Table | None:
    """The table `name` if it is being restored, by its own name."""
    table = catalog.get(hidden_name(name))
    return None if table is None else replace(table, name=name)


def copies(catalog: Catalog) -> Iterator[str]:
    """The names of the copies that tables are being restored from."""
    for table in catalog.values():
        if table.restoration is not None and table.restoration.offset is not None:
            yield table.restoration.copy


def put_block(transaction: WriteTransaction, table: Table, restoration: Restoration, path: Path) -> Table:
    """Put the next block of a table's items, from the file `path`; the table, which with the last block is whole."""
    block, following = read_block(path, restoration.offset or 0)
    for size, text in block:
        items.write(transaction, Put(table.name, orjson.loads(text), item_bytes=size))
    moved = replace(tables.catalog(transaction)[table.name], restoration=replace(restoration, offset=following))
    if following is not None:
        return tables.save(transaction, moved)
    return tables.rename(transaction, moved, own_name(table.name))


def go_on(transaction: WriteTransaction, backups: TableBackups) -> bool:
    """Put one block of each table that is being restored; whether any of them has more.

    A table whose copy is damaged or gone is removed: it would never be whole.
    """
    more = False
    for table in [*tables.catalog(transaction).values()]:
        restoration = table.restoration
        if restoration is None or restoration.offset is None:
            continue
        try:
            path = backups.restored_from(restoration.copy)
            more |= put_block(transaction, table, restoration, path).name == table.name
        except (CorruptData, FileNotFoundError) as error:
            _LOG.error("the table %s cannot be restored and is removed: %s", own_name(table.name), error)
            tables.delete_table(transaction, table.name)
    return more
