"""Operations that ask for what tables here do not have: bulk operations, replicas; copies, where none are kept.

They answer as DynamoDB does where there are none. What would make one is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import orjson

from afterwrite.errors import ServiceError
from afterwrite.store import tables
from afterwrite.store.environment import ReadTransaction
from afterwrite.store.operations import recovery
from afterwrite.store.prepared import Body, Prepared, Read, unknown_operation
from afterwrite.store.tables import Catalog
from afterwrite.table import fields, wording

# What they list, and the field that bounds it with the most that it may ask for.
_EMPTY_LISTS: Final[Mapping[str, tuple[str, str, int]]] = {
    "ListBackups": ("BackupSummaries", "Limit", 100),
    "ListExports": ("ExportSummaries", "MaxResults", 25),
    "ListImports": ("ImportSummaryList", "PageSize", 25),
    "ListGlobalTables": ("GlobalTables", "Limit", 100),
    "ListBulkOperations": ("BulkOperationsSummaryList", "MaxResults", 25),
}
_BACKUP_TYPES: Final = ("USER", "SYSTEM", "AWS_BACKUP", "ALL")
# What names of tables and of what they might have are at least and at most long.
_LENGTHS: Final[Mapping[str, tuple[int, int]]] = {
    "TableName": (1, 1024),
    "TableArn": (1, 1024),
    "ExclusiveStartBackupArn": (37, 1024),
    "BackupArn": (37, 1024),
    "ExportArn": (37, 1024),
    "ImportArn": (37, 1024),
    "BulkOperationArn": (37, 1024),
}
_GLOBAL_TABLES: Final = ("GlobalTableName", "ExclusiveStartGlobalTableName")
_KINDS: Final = {
    "DescribeBackup": "Backup",
    "DeleteBackup": "Backup",
    "RestoreTableFromBackup": "Backup",
    "DescribeExport": "Export",
    "DescribeImport": "Import",
}
_OF_BULK_OPERATIONS: Final = ("DescribeBulkOperation", "CancelBulkOperation")
# The operations that copy a table, and the field that names it.
_COPIED: Final[Mapping[str, str]] = {
    "CreateBackup": "TableName",
    "RestoreTableToPointInTime": "SourceTableName",
    "ExportTableToPointInTime": "TableArn",
}
_SCALE_REPLICAS: Final = "UpdateTableReplicaAutoScaling"
_OF_GLOBAL_TABLES: Final = (
    "DescribeGlobalTable",
    "DescribeGlobalTableSettings",
    "UpdateGlobalTable",
    "UpdateGlobalTableSettings",
)


def by_name() -> Mapping[str, Callable[[Body], Prepared]]:
    """The operations that are answered, by their names."""
    return {
        **{name: partial(_empty_list, *listed) for name, listed in _EMPTY_LISTS.items()},
        "DescribeTableReplicaAutoScaling": _describe_replicas,
    }


def refusal(operation: str, body: Body) -> ServiceError:
    """The error of an operation that is not offered, or of one that finds nothing whatever it asks for."""
    kind = _KINDS.get(operation)
    if kind is not None or operation in (*_OF_GLOBAL_TABLES, *_OF_BULK_OPERATIONS):
        check_names(body)
    if kind is not None:
        return not_found(kind, body)
    if operation in _OF_GLOBAL_TABLES:
        message = f"Global table with name '{required(body, 'GlobalTableName')}' does not exist."
        return ServiceError("GlobalTableNotFoundException", message)
    if operation in _OF_BULK_OPERATIONS:
        arn = required(body, "BulkOperationArn")
        return ServiceError("ResourceNotFoundException", f"Bulk operation not found: {arn}")
    if operation == "CreateGlobalTable":
        return wording.invalid(
            "DynamoDB global tables version 2017.11.29 is not supported. We recommend using DynamoDB global tables "
            "version 2019.11.21, instead of version 2017.11.29 (Legacy)."
        )
    return unknown_operation(operation)


def refused_of_a_table(operation: str, body: Body) -> Read | None:
    """An operation on a table that is not offered: a read that refuses it; None for any other.

    What is wrong with the table comes first, in the service's words. Raises ServiceError.
    """
    return _scaling_replicas(operation, body) if operation == _SCALE_REPLICAS else _copying(operation, body)


def _scaling_replicas(operation: str, body: Body) -> Read:
    name = fields.table_name_of_table_request(body)

    def run(_transaction: ReadTransaction, catalog: Catalog) -> bytes:
        tables.described_table(catalog, name)
        raise unknown_operation(operation)

    return Read(run)


def _copying(operation: str, body: Body) -> Read | None:
    field = _COPIED.get(operation)
    if field is None:
        return None
    source = fields.text(body, "SourceTableArn") if operation == "RestoreTableToPointInTime" else None
    if source is None:
        source = required(body, field)
    if operation == "CreateBackup":
        violations = fields.Violations()
        violations.resource_name(body, "BackupName", "backupName")
        violations.check()
    name = fields.checked_table_name(source)

    def run(_transaction: ReadTransaction, catalog: Catalog) -> bytes:
        table = recovery.table_asked_for(catalog, name, source)
        if operation != "CreateBackup":
            recovery.check_enabled(table)
        raise unknown_operation(operation)

    return Read(run)


def required(body: Body, field: str) -> str:
    """A text that a request has to have. Raises ServiceError."""
    value = fields.text(body, field)
    if value is None:
        raise fields.missing(field)
    return value


def check_names(body: Body) -> None:
    """Refuse names and ARNs, of tables and of what they might have, that are too short or too long."""
    for field, (least, most) in _LENGTHS.items():
        value = fields.text(body, field)
        if value is not None:
            fields.check_length(len(value), field, least, most, value)
    violations = fields.Violations()
    for field in _GLOBAL_TABLES:
        if body.get(field) is not None:
            violations.resource_name(body, field, f"{field[0].lower()}{field[1:]}")
    violations.check()


def _empty_list(field: str, bound: str, most: int, body: Body) -> Read:
    check_names(body)
    fields.choice(body, "BackupType", _BACKUP_TYPES, "")
    limit = fields.integer(body, bound)
    if limit is not None:
        fields.check_value(limit, bound, 1, most)
    if fields.text(body, "NextToken"):
        raise wording.invalid("Invalid NextToken: no list here has a second page")
    return Read(lambda _transaction, _catalog: orjson.dumps({field: []}))


def not_found(kind: str, body: Body) -> ServiceError:
    """The error of a request for what is not there; `kind` names it. Raises ServiceError where no ARN is given."""
    arn = required(body, f"{kind}Arn")
    if not re.fullmatch(rf"arn:[^:]+:dynamodb:[^:]*:[^:]*:table/[a-zA-Z0-9_.-]{{3,}}/{kind.lower()}/.+", arn):
        return wording.invalid(f"Invalid {kind} ARN: {arn}")
    return ServiceError(f"{kind}NotFoundException", f"{kind} not found: {arn}")


def _describe_replicas(body: Body) -> Read:
    name = fields.table_name_of_table_request(body)

    def run(_transaction: ReadTransaction, catalog: Catalog) -> bytes:
        table = tables.described_table(catalog, name)
        described = {"TableName": table.name, "TableStatus": "ACTIVE", "Replicas": []}
        return orjson.dumps({"TableAutoScalingDescription": described})

    return Read(run)
