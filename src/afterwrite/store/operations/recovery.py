"""DynamoDB's point-in-time recovery: its setting, its window, and a table's items as they were at a time within."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from afterwrite.errors import ServiceError
from afterwrite.store import earlier_states, items, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.tables import Catalog, Table
from afterwrite.table import fields, wording

_DAYS_MAX: Final = 35
_DAY_MS: Final = 86_400_000
# DynamoDB tells the time five minutes ago as the latest; here any until now will do.
_DELAY_MS: Final = 300_000


def by_name() -> Mapping[str, Callable[[Body], Prepared]]:
    """The operations by their names."""
    return {"DescribeContinuousBackups": _describe, "UpdateContinuousBackups": _update}


def table_asked_for(catalog: Catalog, name: str, asked: str) -> Table:
    """The table `name` that a request to copy or recover asks for, by its name or its ARN. Raises ServiceError."""
    table = catalog.get(name)
    if table is None:
        raise ServiceError("TableNotFoundException", f"Table not found: {asked}")
    return table


def check_enabled(table: Table) -> None:
    """Refuse a table without recovery. Raises ServiceError."""
    if not table.options.point_in_time_recovery:
        message = f"Point in time recovery is not enabled for table '{table.name}'"
        raise ServiceError("PointInTimeRecoveryUnavailableException", message)


def checked_time(transaction: ReadTransaction, table: Table, at_us: int | None, now_ms: int, code: str) -> int | None:
    """The time (µs) that a request asks for, None for the latest.

    Refuses a table without recovery, and with the error `code` a time outside of its window. SDKs send whole seconds:
    the second in which the window begins stands for its beginning.
    """
    check_enabled(table)
    if at_us is None:
        return None
    earliest_ms = _earliest_ms(transaction, table, now_ms)
    if earliest_ms is None:
        message = (
            f"Earlier states of table '{table.name}' are not kept, as it has no stream of its own with old images: "
            "give no time but the latest, or enable a stream with NEW_AND_OLD_IMAGES for the times to come"
        )
        raise ServiceError(code, message)
    if not earliest_ms // 1000 * 1_000_000 <= at_us <= now_ms * 1000:
        message = (
            "An invalid time was specified: it must be between EarliestRestorableDateTime and "
            f"LatestRestorableDateTime, which are {earliest_ms / 1000:.3f} and {now_ms / 1000:.3f}"
        )
        raise ServiceError(code, message)
    return max(at_us, earliest_ms * 1000)


def items_at(transaction: ReadTransaction, table: Table, at_us: int | None) -> Iterator[tuple[int, bytes]]:
    """The table's items at a `checked_time`: sizes in bytes and JSON texts."""
    states = None if at_us is None else earlier_states.of(transaction, table)
    if at_us is None or states is None:
        return items.scan(transaction, table)
    return states.scan(transaction, at_us)


def _earliest_ms(transaction: ReadTransaction, table: Table, now_ms: int) -> int | None:
    """From when on a table with recovery can be told as it was, None where it cannot."""
    states = earlier_states.of(transaction, table)
    if states is None:
        return None
    options = table.options
    in_period_ms = now_ms - options.recovery_days * _DAY_MS
    return min(now_ms, max(states.first_ms, options.recoverable_since_ms, in_period_ms))


def _describe(body: Body) -> Read:
    name = fields.table_name_of_table_request(body)

    def run(transaction: ReadTransaction, catalog: Catalog) -> bytes:
        return orjson.dumps(_described(transaction, table_asked_for(catalog, name, name), time.time_ns() // 1_000_000))

    return Read(run)


def _update(body: Body) -> Write:
    name = fields.table_name_of_table_request(body)
    specification = fields.structure(body, "PointInTimeRecoverySpecification", "PointInTimeRecoverySpecification")
    if specification is None:
        raise fields.missing("PointInTimeRecoverySpecification")
    if specification.get("PointInTimeRecoveryEnabled") is None:
        raise fields.missing("pointInTimeRecoverySpecification.pointInTimeRecoveryEnabled")
    enabled = fields.flag(specification, "PointInTimeRecoveryEnabled", default=False)
    days = fields.integer(specification, "RecoveryPeriodInDays")
    if days is not None and not enabled:
        raise wording.invalid(
            "Invalid Request: Cannot specify RecoveryPeriodInDays when disabling point-in-time recovery."
        )
    if days is not None:
        place = "pointInTimeRecoverySpecification.recoveryPeriodInDays"
        fields.check_value(days, place, 1, _DAYS_MAX)
    return Write(partial(_switched, name=name, enabled=enabled, days=days))


def _switched(transaction: WriteTransaction, *, name: str, enabled: bool, days: int | None) -> Mapping[str, Any]:
    table = table_asked_for(tables.catalog(transaction), name, name)
    options = table.options.recoverable(enabled=enabled, days=days, now_ms=transaction.now_ms)
    return _described(transaction, tables.save(transaction, replace(table, options=options)), transaction.now_ms)


def _described(transaction: ReadTransaction, table: Table, now_ms: int) -> dict[str, Any]:
    options = table.options
    status = "ENABLED" if options.point_in_time_recovery else "DISABLED"
    recovery: dict[str, Any] = {"PointInTimeRecoveryStatus": status}
    if options.point_in_time_recovery:
        earliest_ms = _earliest_ms(transaction, table, now_ms) or now_ms
        recovery["RecoveryPeriodInDays"] = options.recovery_days
        recovery["EarliestRestorableDateTime"] = earliest_ms / 1000
        recovery["LatestRestorableDateTime"] = max(earliest_ms, now_ms - _DELAY_MS) / 1000
    return {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",  # of every table from its creation on, with recovery or without
            "PointInTimeRecoveryDescription": recovery,
        }
    }
