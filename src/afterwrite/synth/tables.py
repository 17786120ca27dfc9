"""Tables: the app's own with their streams, the ledger's, and that of parked lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from afterwrite.app import KINESIS_STREAM, GlobalIndex, Key, Table, change_stream_hours, key_types
from afterwrite.synth.document import Resource, logical_id
from afterwrite.synth.stack import Stack, physical_name, where

STREAM_HOURS: Final = 24
"""How long DynamoDB Streams keep a change (S18)."""
STREAM_READERS_MAX: Final = 2
"""How many may read a shard side by side (S23)."""
# A change has two images, in JSON; more than that in base64 is more than the 6 MB that Lambda invokes a function with.
_CHANGE_KIB_MAX: Final = 4_096

LEDGER: Final = "ledger"
PARKED: Final = "parked"
EXPIRES_AT: Final = "expires_at"


def add(stack: Stack) -> None:
    """The app's tables and afterwrite's two."""
    for table in stack.app.tables:
        stack.tables[table.name] = _table(stack, table)
    _own(stack, LEDGER, Key("pk"), None, expires_at=EXPIRES_AT)
    _own(stack, PARKED, Key("pk"), Key("sk"), expires_at=None)


def has_routes(table: Table) -> bool:
    """Whether a function runs routes of the table on AWS, pipes that are routes there among them."""
    return bool(table.routes or table.routed_pipes)


def _table(stack: Stack, table: Table) -> Resource:
    properties = _properties(table.name, table.partition_key, table.sort_key, table.ttl, table.indexes)
    direct = [*(pipe.name for pipe in table.pipes), *(each.function_name for each in table.event_source_mappings)]
    direct = [name for name in direct if name not in {pipe.name for pipe in table.routed_pipes}]
    by_kinesis = table.stream == "kinesis" or (has_routes(table) and table.retention_hours > STREAM_HOURS)
    if by_kinesis:
        stream = stack.add(
            logical_id(table.name, "Changes"),
            "AWS::Kinesis::Stream",
            {
                "Name": physical_name(table.name + KINESIS_STREAM, limit=128),
                "RetentionPeriodHours": change_stream_hours(stack.app, table),
                "MaxRecordSizeInKiB": _CHANGE_KIB_MAX,
                "StreamModeDetails": {"StreamMode": "ON_DEMAND"},
                "StreamEncryption": {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"},
            },
            retain=True,
        )
        stack.streams[table.name] = stream
        properties["KinesisStreamSpecification"] = {
            "StreamArn": stream.arn,
            "ApproximateCreationDateTimePrecision": "MICROSECOND",
        }
        if table.stream != "kinesis":
            stack.notes.append(
                f"{table.name}: a table's own stream keeps changes for {STREAM_HOURS} hours; for the "
                f"{table.retention_hours} that are declared they go through a Kinesis stream"
            )
    if direct or (has_routes(table) and not by_kinesis):
        readers = len(direct) + (has_routes(table) and not by_kinesis)
        if readers > STREAM_READERS_MAX:
            stack.notes.append(
                f"{table.name}: {readers} read its stream, routes, pipes and functions together; for more than "
                f'{STREAM_READERS_MAX} DynamoDB slows them down: declare stream="kinesis", which takes the routes off '
                "it, or fewer"
            )
        properties["StreamSpecification"] = {"StreamViewType": table.view_type}
    return stack.add(logical_id(table.name, "Table"), "AWS::DynamoDB::Table", properties, retain=True)


def _own(stack: Stack, what: str, partition_key: Key, sort_key: Key | None, *, expires_at: str | None) -> None:
    name = f"{stack.app.name}-{what}"
    properties = _properties(name, partition_key, sort_key, expires_at)
    stack.own_tables[what] = stack.add(
        logical_id("Afterwrite", what, "Table"), "AWS::DynamoDB::Table", properties, retain=True
    )


def _properties(
    name: str, partition_key: Key, sort_key: Key | None, ttl: str | None, indexes: Sequence[GlobalIndex] = ()
) -> dict[str, Any]:
    types = key_types((partition_key, sort_key), indexes)
    properties: dict[str, Any] = {
        "TableName": physical_name(name),
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": each, "AttributeType": kind} for each, kind in types.items()],
        "KeySchema": _key_schema(partition_key, sort_key),
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "SSESpecification": {"SSEEnabled": True},
        "DeletionProtectionEnabled": where("ProtectsTables", True, False),
    }
    if indexes:
        properties["GlobalSecondaryIndexes"] = [_index(each) for each in indexes]
    if ttl is not None:
        properties["TimeToLiveSpecification"] = {"AttributeName": ttl, "Enabled": True}
    return properties


def _key_schema(partition_key: Key, sort_key: Key | None) -> list[dict[str, Any]]:
    sort = [] if sort_key is None else [{"AttributeName": sort_key.name, "KeyType": "RANGE"}]
    return [{"AttributeName": partition_key.name, "KeyType": "HASH"}, *sort]


def _index(index: GlobalIndex) -> dict[str, Any]:
    included = {"NonKeyAttributes": list(index.included)} if index.included else {}
    return {
        "IndexName": index.name,
        "KeySchema": _key_schema(index.partition_key, index.sort_key),
        "Projection": {"ProjectionType": index.projection, **included},
    }
