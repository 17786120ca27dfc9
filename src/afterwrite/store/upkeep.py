"""Upkeep of the store: expired items deleted, old changes trimmed, records that are due deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from afterwrite.store import change_log, ledger, tables, timeline
from afterwrite.store.change_log import Stream
from afterwrite.store.environment import Environment, WriteTransaction

_EXPIRED_A_COMMIT = 200
_DELETED_A_COMMIT = 2_000
_EVERYTHING = 1 << 62


@dataclass(frozen=True, slots=True)
class UpkeepReport:
    """What one round did; `more` where a bound cut it short; `held_back` names tables with unread old changes."""

    expired: int
    trimmed: int
    deleted: int
    held_back: Sequence[str]
    more: bool


def run(environment: Environment, consumers: Mapping[str, str]) -> UpkeepReport:
    """One bounded round. `consumers` names the consumer of each table that has one."""

    def operation(transaction: WriteTransaction) -> UpkeepReport:
        expired = trimmed = 0
        held_back: list[str] = []
        for table in tables.catalog(transaction).values():
            if table.ttl_attribute is not None:
                expired += tables.expire_items(transaction, table, _EXPIRED_A_COMMIT)
            if table.stream is None:
                continue
            consumer = consumers.get(table.name)
            through = _EVERYTHING if consumer is None else ledger.position(transaction, consumer)
            count, unread = _trim(transaction, table.stream, table.retention_s, through)
            trimmed += count
            if unread:
                held_back.append(table.name)
        for stream, retention_s in change_log.retired(transaction):
            trimmed += _trim(transaction, stream, retention_s, _EVERYTHING)[0]
            if change_log.last_position(transaction, stream) == 0:
                change_log.forget(transaction, stream)
        deleted = timeline.delete_due(transaction, _DELETED_A_COMMIT)
        more = expired >= _EXPIRED_A_COMMIT or trimmed >= _DELETED_A_COMMIT or deleted >= _DELETED_A_COMMIT
        return UpkeepReport(expired, trimmed, deleted, held_back, more)

    environment.release_dead_readers()
    return environment.write(operation)


def _trim(transaction: WriteTransaction, stream: Stream, retention_s: int, through: int) -> tuple[int, int]:
    before_us = transaction.now_us - retention_s * 1_000_000
    return change_log.trim(transaction, stream, before_us=before_us, through=through, limit=_DELETED_A_COMMIT)
