"""Upkeep of the store: expired items deleted, new indexes filled, tables restored, old changes trimmed, and records
that are due deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from afterwrite.store import (
    index_filling,
    items,
    kinesis,
    kinesis_intake,
    ledger,
    streams,
    table_restoring,
    tables,
    timeline,
)
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.table_backups import TableBackups

_EXPIRED_A_COMMIT = 200
_DELETED_A_COMMIT = 2_000


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What one round did; `more` where a bound cut it short; `held_back` names tables with unread old changes."""

    expired: int
    trimmed: int
    deleted: int
    held_back: Sequence[str]
    more: bool


def run(environment: Environment, consumers: Mapping[str, str], backups: TableBackups | None = None) -> UpkeepReport:
    """One bounded round. `consumers` names the consumer of each table that has one.

    Where `backups` are given, tables are restored from them.
    """

    def operation(transaction: WriteTransaction) -> tuple[UpkeepReport, list[str]]:
        def consumed_through(table: str) -> int | None:
            consumer = consumers.get(table)
            return None if consumer is None else ledger.position(transaction, consumer)

        restoring = backups is not None and table_restoring.go_on(transaction, backups)
        expired = 0
        filling = False
        for table in tables.catalog(transaction).values():
            if table.ttl_attribute is not None:
                expired += items.expire(transaction, table, _EXPIRED_A_COMMIT)
            if (index := table.filling) is not None:
                filling |= index_filling.fill_index(transaction, table, index).filling is not None
        done = streams.run_due(transaction, consumed_through, _DELETED_A_COMMIT)
        fed = kinesis_intake.fed_tables(tables.catalog(transaction))

        def taken_through(stream: str) -> int | None:
            table = fed.get(stream)
            return None if table is None else kinesis_intake.taken_through(transaction, table)

        records, more_records = kinesis.run_due(transaction, taken_through, _DELETED_A_COMMIT)
        deleted = timeline.delete_due(transaction, _DELETED_A_COMMIT)
        bounds = (expired >= _EXPIRED_A_COMMIT, filling, done.more, more_records, deleted >= _DELETED_A_COMMIT)
        more = restoring or any(bounds)
        needed = set(table_restoring.copies(tables.catalog(transaction)))
        report = UpkeepReport(expired, done.trimmed + records, deleted, done.held_back, more)
        return report, [name for name in held if name not in needed]

    environment.release_dead_readers()
    held = [] if backups is None else backups.held()
    report, read = environment.write(operation)
    for name in read:
        if backups is not None:
            backups.let_go(name)
    return report
