"""DynamoDB's operations on a table's Kinesis destination: a request's body becomes what is to be read or written."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

import orjson

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store import kinesis, kinesis_destinations, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.kinesis_destinations import ACTIVE, DISABLED, MICROSECOND, MILLISECOND, Destination
from afterwrite.store.tables import Catalog
from afterwrite.table import fields, wording
from afterwrite.table.fields import Body

Writing: TypeAlias = Callable[[WriteTransaction], Mapping[str, Any]]

_PRECISION: Final = "ApproximateCreationDateTimePrecision"
_PRECISIONS: Final = (MILLISECOND, MICROSECOND)
_STREAM_ARN: Final = re.compile(r"arn:aws[a-z-]*:kinesis:[^:/]*:[^:/]*:stream/[a-zA-Z0-9_.-]{1,128}")
_ARN_CHARACTERS: Final = (37, 1024)


def enable(body: Body, identity: Identity) -> Writing:
    """EnableKinesisStreamingDestination: from the next commit on, changes become records of the stream."""
    table, arn = _place(body)
    precision = _asked_precision(body, "EnableKinesisStreamingConfiguration") or MILLISECOND

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        tables.described_table(tables.catalog(transaction), table)
        destination = Destination(arn, identity.region, precision)
        if kinesis.find(transaction, destination.stream_name) is None:
            raise ServiceError("ResourceNotFoundException", f"Requested resource not found: Kinesis stream: {arn}")
        if kinesis_destinations.active_destination(transaction, table) is not None:
            raise wording.invalid(
                "Table is not in a valid state to enable Kinesis Streaming Destination: "
                "KinesisStreamingDestination must be DISABLED or ENABLE_FAILED to perform ENABLE operation."
            )
        kinesis_destinations.keep(transaction, table, destination)
        return {
            **_answer(table, destination, "ENABLING"),
            "EnableKinesisStreamingConfiguration": {_PRECISION: precision},
        }

    return run


def disable(body: Body) -> Writing:
    """DisableKinesisStreamingDestination."""
    table, arn = _place(body)

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        destination = _active(transaction, table, arn, "disable", "DISABLE")
        stream = tables.catalog(transaction)[table].stream
        if stream is not None and stream.fed_by == destination.stream_name:
            # The changes would go nowhere at all.
            raise ServiceError(
                "ResourceInUseException",
                f"The routes of the table {table} get its changes by the stream {stream.fed_by}: declare the table "
                "without stream='kinesis' first",
            )
        kinesis_destinations.keep(transaction, table, replace(destination, status=DISABLED))
        return _answer(table, destination, "DISABLING")

    return run


def update(body: Body) -> Writing:
    """UpdateKinesisStreamingDestination: records have another precision from the next commit on."""
    table, arn = _place(body)
    precision = _asked_precision(body, "UpdateKinesisStreamingConfiguration")
    if not precision:
        raise wording.invalid(
            "Streaming destination cannot be updated with given parameters: "
            "UpdateKinesisStreamingConfiguration cannot be null or contain only null values"
        )

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        destination = _active(transaction, table, arn, "update", "UPDATE")
        if destination.precision == precision:
            raise wording.invalid(
                f"Invalid Request: Precision is already set to the desired value of {precision} for tableId: {table}, "
                f"kdsArn: {arn}"
            )
        kinesis_destinations.keep(transaction, table, replace(destination, precision=precision))
        return {
            **_answer(table, destination, "UPDATING"),
            "UpdateKinesisStreamingConfiguration": {_PRECISION: precision},
        }

    return run


def describe(body: Body) -> Callable[[ReadTransaction, Catalog], bytes]:
    """DescribeKinesisStreamingDestination: the active one, and those that were."""
    table = fields.table_name(body)

    def run(transaction: ReadTransaction, catalog: Catalog) -> bytes:
        tables.described_table(catalog, table)
        found = [
            {"StreamArn": each.stream_arn, "DestinationStatus": each.status, _PRECISION: each.precision}
            for each in kinesis_destinations.destinations(transaction, table)
        ]
        return orjson.dumps({"TableName": table, "KinesisDataStreamDestinations": found})

    return run


def _place(body: Body) -> tuple[str, str]:
    table = fields.table_name(body)
    arn = fields.text(body, "StreamArn")
    if arn is None:
        raise fields.missing("StreamArn")
    fields.check_length(len(arn), "StreamArn", *_ARN_CHARACTERS, arn)
    if not _STREAM_ARN.fullmatch(arn):
        raise wording.invalid(f"Invalid StreamArn: {arn}")
    return table, arn


def _asked_precision(body: Body, field: str) -> str:
    """The precision that the configuration in `field` asks for, "" where it asks for none."""
    configuration = fields.structure(body, field, field) or {}
    return fields.choice(configuration, _PRECISION, _PRECISIONS, "", f"{field[0].lower()}{field[1:]}.")


def _active(transaction: WriteTransaction, table: str, arn: str, verb: str, operation: str) -> Destination:
    tables.described_table(tables.catalog(transaction), table)
    destination = kinesis_destinations.active_destination(transaction, table)
    if destination is None or destination.stream_arn != arn:
        raise wording.invalid(
            f"Table is not in a valid state to {verb} Kinesis Streaming Destination: "
            f"KinesisStreamingDestination must be {ACTIVE} to perform {operation} operation."
        )
    return destination


def _answer(table: str, destination: Destination, status: str) -> dict[str, Any]:
    return {"TableName": table, "StreamArn": destination.stream_arn, "DestinationStatus": status}
