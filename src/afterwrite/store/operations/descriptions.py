"""What DynamoDB tells of a table: the `Table` of DescribeTable, the `TableDescription` of the other answers."""

from __future__ import annotations

import time
from typing import Any, Final

from afterwrite.config import Identity
from afterwrite.core.uuids import uuid_of
from afterwrite.store import indexes, items
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.indexes import Index
from afterwrite.store.tables import Restoration, Table
from afterwrite.table.schema import GLOBAL, IndexedAttributes, KeyAttribute, definitions_to_wire
from afterwrite.table.table_options import PAY_PER_REQUEST, PROVISIONED, TableOptions

_GLOBAL_INDEXES: Final = "GlobalSecondaryIndexes"
_VECTOR_INDEXES: Final = "VectorIndexes"
# What DeleteTable's answer does not tell of the table.
_NOT_OF_DELETED: Final = (
    "AttributeDefinitions",
    "KeySchema",
    "CreationDateTime",
    _GLOBAL_INDEXES,
    "LocalSecondaryIndexes",
    _VECTOR_INDEXES,
)


class Descriptions:
    """Tables of the account and region of `identity` in DynamoDB's words; those in `protected` belong to the app."""

    def __init__(self, identity: Identity, protected: frozenset[str]) -> None:
        self._identity = identity
        self.region = identity.region
        self._protected = protected

    def arn(self, table: Table) -> str:
        """The table's ARN."""
        return self.arn_of(table.name)

    def arn_of(self, name: str) -> str:
        """The ARN of a table of that name."""
        return f"arn:aws:dynamodb:{self._identity.region}:{self._identity.account_id}:table/{name}"

    def active(self, transaction: ReadTransaction, table: Table) -> dict[str, Any]:
        """A table as it is."""
        return self._description(transaction, table, "ACTIVE")

    def restoring(self, transaction: ReadTransaction, table: Table) -> dict[str, Any]:
        """A table that is being restored, as it is."""
        return self._description(transaction, table, "CREATING")

    def created(self, transaction: ReadTransaction, table: Table) -> dict[str, Any]:
        """A table as CreateTable answers it: DynamoDB makes it later, with its indexes."""
        description = self._description(transaction, table, "CREATING")
        for index in (*description.get(_GLOBAL_INDEXES, ()), *description.get(_VECTOR_INDEXES, ())):
            index["IndexStatus"] = "CREATING"
        _tell_warming(description, table.options, TableOptions())
        return description

    def updated(self, transaction: ReadTransaction, table: Table, before: Table) -> dict[str, Any]:
        """A table as UpdateTable answers it: what is new is being made, what is gone being deleted."""
        description = self._description(transaction, table, "UPDATING")
        if before.options.billing_mode == table.options.billing_mode == PROVISIONED:
            _tell_units_before(description, before.options, _now_ms(transaction))
        _tell_warming(description, table.options, before.options)
        for index in description.get(_GLOBAL_INDEXES, ()):
            if before.index_named(index["IndexName"]) is None:
                index["IndexStatus"] = "CREATING"
        for index in description.get(_VECTOR_INDEXES, ()):
            if before.vector_index_named(index["IndexName"]) is None:
                index["IndexStatus"] = "CREATING"
        key = before.options.encryption_key
        if key is not None and table.options.encryption_key is None:
            description["SSEDescription"] = self._encryption(key, "UPDATING")
        for gone in before.indexes:
            if table.index_named(gone.schema.name) is None:
                described = self._index_description(transaction, before, gone)
                description.setdefault(_GLOBAL_INDEXES, []).append({**described, "IndexStatus": "DELETING"})
        return description

    def deleted(self, transaction: ReadTransaction, table: Table) -> dict[str, Any]:
        """A table as DeleteTable answers it."""
        description = self._description(transaction, table, "DELETING")
        for field in _NOT_OF_DELETED:
            description.pop(field, None)
        return description

    def _description(self, transaction: ReadTransaction, table: Table, status: str) -> dict[str, Any]:
        arn = self.arn(table)
        count, size = items.statistics(transaction, table)
        options = table.options
        description: dict[str, Any] = {
            "AttributeDefinitions": definitions_to_wire(table.schema, _indexed_attributes(table)),
            "TableName": table.name,
            "KeySchema": table.schema.to_wire(),
            "TableStatus": status,
            "CreationDateTime": table.created_at_ms / 1000,
            "ProvisionedThroughput": _throughput(options, None, _now_ms(transaction)),
            "TableSizeBytes": size,
            "ItemCount": count,
            "TableArn": arn,
            "TableId": uuid_of(f"{table.name}/{table.number}"),
            "WarmThroughput": _warm_throughput(*options.warm_throughput),
            "DeletionProtectionEnabled": options.deletion_protection or table.name in self._protected,
        }
        description |= self._settings(table)
        if table.stream is not None:
            description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream.view_type}
        if table.stream_label is not None:
            description["LatestStreamLabel"] = table.stream_label
            description["LatestStreamArn"] = f"{arn}/stream/{table.stream_label}"
        for index in table.indexes:
            field = _GLOBAL_INDEXES if index.schema.scope == GLOBAL else "LocalSecondaryIndexes"
            description.setdefault(field, []).append(self._index_description(transaction, table, index))
        if table.vector_indexes:
            description[_VECTOR_INDEXES] = [
                {
                    **each.to_wire(),
                    "IndexStatus": "ACTIVE",
                    "IndexArn": f"{arn}/index/{each.name}",
                    # A search reads the table: the index has nothing of its own that could be counted.
                    "ItemCount": count,
                    "IndexSizeBytes": size,
                }
                for each in table.vector_indexes
            ]
        return description

    def _settings(self, table: Table) -> dict[str, Any]:
        options = table.options
        settings: dict[str, Any] = {}
        on_demand_since_ms = table.on_demand_since_ms
        if on_demand_since_ms is None and options.billing_mode == PAY_PER_REQUEST:
            on_demand_since_ms = table.created_at_ms
        if on_demand_since_ms is not None:
            since = {"LastUpdateToPayPerRequestDateTime": on_demand_since_ms / 1000}
            settings["BillingModeSummary"] = {"BillingMode": options.billing_mode, **since}
            settings["TableThroughputModeSummary"] = {"TableThroughputMode": options.billing_mode, **since}
        if options.on_demand_units:
            settings["OnDemandThroughput"] = dict(options.on_demand_units)
        if options.encryption_key is not None:
            settings["SSEDescription"] = self._encryption(options.encryption_key, "ENABLED")
        if options.table_class is not None:
            settings["TableClassSummary"] = {"TableClass": options.table_class}
            if table.class_changed_at_ms is not None:
                settings["TableClassSummary"]["LastUpdateDateTime"] = table.class_changed_at_ms / 1000
        if table.restoration is not None and table.restoration.source_arn is not None:
            settings["RestoreSummary"] = _restore_summary(table.restoration)
        return settings

    def _encryption(self, key: str, status: str) -> dict[str, str]:
        return {"Status": status, "SSEType": "KMS", "KMSMasterKeyArn": self._key_arn(key)}

    def _key_arn(self, key: str) -> str:
        if key.startswith("arn:"):
            return key
        # DynamoDB tells of an alias's key, never of the alias.
        number = uuid_of(key) if key.startswith("alias/") else key
        return f"arn:aws:kms:{self._identity.region}:{self._identity.account_id}:key/{number}"

    def _index_description(self, transaction: ReadTransaction, table: Table, index: Index) -> dict[str, Any]:
        count, size = indexes.statistics(transaction, index.number)
        name = index.schema.name
        description: dict[str, Any] = {
            "IndexName": name,
            "KeySchema": index.schema.to_wire(),
            "Projection": index.schema.projection_to_wire(),
            "IndexSizeBytes": size,
            "ItemCount": count,
            "IndexArn": f"{self.arn(table)}/index/{name}",
        }
        if index.schema.scope == GLOBAL:
            description["IndexStatus"] = "ACTIVE" if index.filled_to is None else "CREATING"
            if index.filled_to is not None:
                description["Backfilling"] = True
            description["ProvisionedThroughput"] = _throughput(table.options, name, _now_ms(transaction))
            description["WarmThroughput"] = _warm_throughput(*table.options.index_warm_throughput(name))
            bound = table.options.index_on_demand_units.get(name)
            if bound:
                description["OnDemandThroughput"] = dict(bound)
        return description


def _restore_summary(restoration: Restoration) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "SourceTableArn": restoration.source_arn,
        "RestoreDateTime": restoration.at_ms / 1000,
        "RestoreInProgress": restoration.offset is not None,
    }
    if restoration.backup_arn is not None:
        summary["SourceBackupArn"] = restoration.backup_arn
    return summary


def _indexed_attributes(table: Table) -> list[KeyAttribute]:
    indexes: list[IndexedAttributes] = [*(index.schema for index in table.indexes), *table.vector_indexes]
    return [attribute for index in indexes for attribute in index.attributes]


def _now_ms(transaction: ReadTransaction) -> int:
    return transaction.now_ms if isinstance(transaction, WriteTransaction) else time.time_ns() // 1_000_000


def _tell_units_before(description: dict[str, Any], before: TableOptions, now_ms: int) -> None:
    """Put units as they were into the description of an update, until whose end they hold."""
    described = [("", description), *((index["IndexName"], index) for index in description.get(_GLOBAL_INDEXES, ()))]
    for name, each in described:
        units = before.index_units.get(name) if name else before.units
        throughput = each["ProvisionedThroughput"]
        if units is None or (throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"]) == units:
            continue
        throughput["ReadCapacityUnits"], throughput["WriteCapacityUnits"] = units
        throughput["NumberOfDecreasesToday"] = before.lowered_on_day(name, now_ms)
        if name:
            each["IndexStatus"] = "UPDATING"


def _tell_warming(description: dict[str, Any], options: TableOptions, before: TableOptions) -> None:
    """Tell of units to be held ready, of the table and of its indexes, that they are not yet what was asked for."""
    if options.warm_units != before.warm_units:
        description["WarmThroughput"]["Status"] = "UPDATING"
    for index in description.get(_GLOBAL_INDEXES, ()):
        name = index["IndexName"]
        if options.index_warm_units.get(name) != before.index_warm_units.get(name):
            index["WarmThroughput"]["Status"] = "UPDATING"


def _throughput(options: TableOptions, index: str | None, now_ms: int) -> dict[str, Any]:
    read_units, write_units = options.units if index is None else options.index_units.get(index, (0, 0))
    described: dict[str, Any] = {
        "NumberOfDecreasesToday": options.lowered_on_day(index or "", now_ms),
        "ReadCapacityUnits": read_units,
        "WriteCapacityUnits": write_units,
    }
    raised_at_ms, lowered_at_ms = options.units_changed_at_ms.get(index or "", (None, None))
    if raised_at_ms is not None:
        described["LastIncreaseDateTime"] = raised_at_ms / 1000
    if lowered_at_ms is not None:
        described["LastDecreaseDateTime"] = lowered_at_ms / 1000
    return described


def _warm_throughput(read_units: int, write_units: int) -> dict[str, Any]:
    return {"ReadUnitsPerSecond": read_units, "WriteUnitsPerSecond": write_units, "Status": "ACTIVE"}
