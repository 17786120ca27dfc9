"""Tables that are made from a backup: put block by block, and out of reach until they have every item.

A table that is being restored stands in the catalog under a name that no request can give, so nothing reads it or
writes to it. With its last item it gets its own name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson

from afterwrite.errors import CorruptData, ServiceError
from afterwrite.store import indexes, items, tables
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.table_backups import TableBackups, read_block
from afterwrite.store.tables import Catalog, Restoration, Table
from afterwrite.table.table_options import PAY_PER_REQUEST
from afterwrite.table.table_requests import CreateTablePlan
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


def is_taken(catalog: Catalog, name: str) -> bool:
    """Whether there is a table `name`, which may be being restored."""
    return name in catalog or hidden_name(name) in catalog


def create_table(
    transaction: WriteTransaction, backups: TableBackups, plan: CreateTablePlan, restoration: Restoration, path: Path
) -> Table:
    """Make a table that is out of reach, to be filled with the items in the file `path`."""
    backups.hold(restoration.copy, path)
    table = tables.create_table(
        transaction,
        hidden_name(plan.table_name),
        plan.schema,
        view_type=None,
        index_schemas=plan.indexes,
        vector_indexes=plan.vector_indexes,
        options=plan.options,
    )
    since_ms = transaction.now_ms if plan.options.billing_mode == PAY_PER_REQUEST else None
    return tables.save(transaction, replace(table, restoration=restoration, on_demand_since_ms=since_ms))


def put_block(transaction: WriteTransaction, table: Table, restoration: Restoration, path: Path) -> Table:
    """Put the next block of a table's items, from the file `path`; the table, which with the last block is whole."""
    block, following = read_block(path, restoration.offset or 0)
    unsuited: list[Put] = []
    for size, text in block:
        put = Put(table.name, orjson.loads(text), item_bytes=size)
        try:
            items.write(transaction, put)
        except ServiceError:
            unsuited.append(put)
    if unsuited:
        _put_unsuited(transaction, table, unsuited)
    moved = replace(tables.catalog(transaction)[table.name], restoration=replace(restoration, offset=following))
    if following is not None:
        return tables.save(transaction, moved)
    return tables.rename(transaction, moved, own_name(table.name))


def _put_unsuited(transaction: WriteTransaction, table: Table, puts: Sequence[Put]) -> None:
    """Put items that are older than an index of theirs, which cannot take them: the other indexes do."""
    tables.save(transaction, replace(table, indexes=(), vector_indexes=()))
    for put in puts:
        items.write(transaction, put)
    tables.save(transaction, table)
    taken = [(items.place_of(table, put.key(table.schema)), put.item) for put in puts]
    for index in table.indexes:
        indexes.take_in(transaction, table.schema, index, taken)


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
