"""DynamoDB's operations on backups of tables: made at once, kept beside the store, restored into new tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite.errors import ServiceError
from afterwrite.store import items, table_restoring, tables
from afterwrite.store.copy_ids import new_id
from afterwrite.store.environment import Environment, ReadTransaction, WriteTransaction
from afterwrite.store.operations import absences, recovery
from afterwrite.store.operations.descriptions import Descriptions
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.table_backups import TableBackup, TableBackups
from afterwrite.store.tables import Catalog, Restoration, Table
from afterwrite.table import fields, restoring_requests, table_requests, wording
from afterwrite.table.fields import Violations
from afterwrite.table.table_requests import CreateTablePlan

_LISTED_MAX: Final = 100
_TYPES: Final = ("USER", "SYSTEM", "AWS_BACKUP", "ALL")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A restore: the table to make, and from what."""

    plan: CreateTablePlan
    source_arn: str
    backup_arn: str | None
    at_ms: int
    copy: str


class BackupOperations:
    """The operations on backups."""

    def __init__(self, descriptions: Descriptions, backups: TableBackups, environment: Environment) -> None:
        self._descriptions = descriptions
        self._backups = backups
        self._environment = environment

    def by_name(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations by their names."""
        return {
            "CreateBackup": self._create,
            "DescribeBackup": self._describe,
            "ListBackups": self._list,
            "DeleteBackup": self._delete,
            "RestoreTableFromBackup": self._restore,
            "RestoreTableToPointInTime": self._restore_to_time,
        }

    def _create(self, body: Body) -> Read:
        violations = Violations()
        violations.resource_name(body, "BackupName", "backupName")
        violations.check()
        source = absences.required(body, "TableName")
        name, backup_name = fields.checked_table_name(source), str(body["BackupName"])

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            catalog = tables.load_catalog(transaction)
            table = recovery.table_asked_for(catalog, name, source)
            backup = self._backup_of(transaction, table, backup_name)
            self._backups.keep(backup, items.scan(transaction, table))
            return orjson.dumps({"BackupDetails": {**self._details(backup), "BackupStatus": "CREATING"}})

        return Read(run, is_long=True)

    def _backup_of(self, transaction: ReadTransaction, table: Table, name: str) -> TableBackup:
        described = self._descriptions.active(transaction, table)
        now_ms = self._environment.now_ms()
        return TableBackup(
            id=new_id(now_ms),
            name=name,
            created_at_ms=now_ms,
            size=described["TableSizeBytes"],
            items=described["ItemCount"],
            table=restoring_requests.source_details(described),
            features=restoring_requests.source_features(described, table.ttl_attribute),
            creation=restoring_requests.creation(described),
        )

    def _arn(self, backup: TableBackup) -> str:
        return f"{backup.table['TableArn']}/backup/{backup.id}"

    def _details(self, backup: TableBackup) -> dict[str, Any]:
        return {
            "BackupArn": self._arn(backup),
            "BackupName": backup.name,
            "BackupSizeBytes": backup.size,
            "BackupStatus": "AVAILABLE",
            "BackupType": "USER",
            "BackupCreationDateTime": backup.created_at_ms / 1000,
        }

    def _description(self, backup: TableBackup, status: str) -> bytes:
        described = {
            "BackupDetails": {**self._details(backup), "BackupStatus": status},
            "SourceTableDetails": backup.table,
            "SourceTableFeatureDetails": backup.features,
        }
        return orjson.dumps({"BackupDescription": described})

    def _named(self, body: Body) -> TableBackup:
        """The backup that a request names. Raises BackupNotFoundException."""
        absences.check_names(body)
        missing = absences.not_found("Backup", body)
        arn = str(body["BackupArn"])
        backup = self._backups.named(arn.rpartition("/")[2])
        if backup is None or self._arn(backup) != arn:
            raise missing
        return backup

    def _describe(self, body: Body) -> Read:
        backup = self._named(body)
        return Read(lambda _transaction, _catalog: self._description(backup, "AVAILABLE"))

    def _delete(self, body: Body) -> Read:
        self._named(body)

        def run(_transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            backup = self._named(body)
            self._backups.delete(backup.id)
            return self._description(backup, "DELETED")

        return Read(run, is_long=True)

    def _list(self, body: Body) -> Read:
        absences.check_names(body)
        table = fields.text(body, "TableName")
        name = None if table is None else fields.checked_table_name(table)
        kind = fields.choice(body, "BackupType", _TYPES, "USER")
        limit = fields.integer(body, "Limit")
        if limit is not None:
            fields.check_value(limit, "Limit", 1, _LISTED_MAX)
        most = _LISTED_MAX if limit is None else limit
        low_us, high_us = (fields.timestamp_us(body, f"TimeRange{end}Bound") for end in ("Lower", "Upper"))
        start = (fields.text(body, "ExclusiveStartBackupArn") or "").rpartition("/")[2]

        def run(_transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            found = [
                backup
                for backup in self._backups.all()
                if kind in ("USER", "ALL")
                and backup.id > start
                and name in (None, backup.table["TableName"])
                and (low_us is None or backup.created_at_ms * 1000 >= low_us)
                and (high_us is None or backup.created_at_ms * 1000 < high_us)
            ]
            answer: dict[str, Any] = {"BackupSummaries": [self._summary(backup) for backup in found[:most]]}
            if len(found) > most:
                answer["LastEvaluatedBackupArn"] = self._arn(found[most - 1])
            return orjson.dumps(answer)

        return Read(run)

    def _summary(self, backup: TableBackup) -> dict[str, Any]:
        source = {name: backup.table[name] for name in ("TableName", "TableId", "TableArn")}
        return source | self._details(backup)

    def _restore(self, body: Body) -> Write:
        target = restoring_requests.target_name(body)
        backup = self._named(body)
        plan = table_requests.parse_create_table(restoring_requests.restored(backup.creation, target, body))
        arn = self._arn(backup)
        asked = _Asked(plan, backup.table["TableArn"], arn, backup.created_at_ms, f"{backup.id}-{os.urandom(4).hex()}")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            if self._backups.named(backup.id) is None:
                raise absences.not_found("Backup", body)
            return self._make(transaction, asked, self._backups.items_of(backup.id))

        return Write(run)

    def _restore_to_time(self, body: Body) -> Read:
        target = restoring_requests.target_name(body)
        by_arn = fields.text(body, "SourceTableArn")
        source = absences.required(body, "SourceTableName") if by_arn is None else by_arn
        name = fields.checked_table_name(source)
        asked_us = fields.timestamp_us(body, "RestoreDateTime")
        latest = fields.flag(body, "UseLatestRestorableTime", default=False)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            catalog = tables.load_catalog(transaction)
            table = recovery.table_asked_for(catalog, name, source)
            now_ms = self._environment.now_ms()
            _check_target(catalog, target)
            at_us = recovery.checked_time(transaction, table, asked_us, now_ms, "InvalidRestoreTimeException")
            if latest == (at_us is not None):
                raise wording.invalid("Exactly one of UseLatestRestorableTime and RestoreDateTime must be specified")
            described = self._descriptions.active(transaction, table)
            creation = restoring_requests.restored(restoring_requests.creation(described), target, body)
            plan = table_requests.parse_create_table(creation)
            copy = f"{now_ms:014d}-{os.urandom(8).hex()}"
            asked = _Asked(plan, described["TableArn"], None, now_ms if at_us is None else at_us // 1000, copy)
            with self._backups.copied(recovery.items_at(transaction, table, at_us)) as path:
                return orjson.dumps(self._environment.write(partial(self._make, asked=asked, path=path)))

        return Read(run, is_long=True)

    def _make(self, transaction: WriteTransaction, asked: _Asked, path: Path) -> Mapping[str, Any]:
        plan = asked.plan
        _check_target(tables.catalog(transaction), plan.table_name)
        restoration = Restoration(asked.source_arn, asked.backup_arn, asked.at_ms, asked.copy, 0)
        table = table_restoring.create_table(transaction, self._backups, plan, restoration, path)
        answer = self._descriptions.created(transaction, replace(table, name=plan.table_name))
        table_restoring.put_block(transaction, table, restoration, self._backups.restored_from(asked.copy))
        return {"TableDescription": answer}


def _check_target(catalog: Catalog, name: str) -> None:
    if table_restoring.is_taken(catalog, name):
        raise ServiceError("TableAlreadyExistsException", f"Table already exists: {name}")
