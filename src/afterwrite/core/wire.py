"""The JSON forms of a change, both ways: DynamoDB Streams records (S24) and Kinesis data (S26)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from afterwrite.core.changes import EVENT_NAMES, NEW_AND_OLD_IMAGES, Change
from afterwrite.core.uuids import uuid_text
from afterwrite.errors import InvalidValue


class StoredChange(NamedTuple):
    """A change as it is stored: images as JSON texts in the wire form, None where there is none to show."""

    event_name: str
    keys: bytes
    new_image: bytes | None
    old_image: bytes | None
    created_at_us: int
    size_bytes: int
    by_ttl: bool = False


def to_streams_record(change: Change, *, region: str, stream_arn: str | None = None) -> dict[str, Any]:
    """The record as DynamoDB Streams gives it; with `stream_arn`, as Lambda delivers it (S24)."""
    dynamodb: dict[str, Any] = {
        "ApproximateCreationDateTime": change.created_at_us // 1_000_000,
        **_images(change),
        "SequenceNumber": change.sequence_number,
        "SizeBytes": change.size_bytes,
        "StreamViewType": change.view_type,
    }
    record: dict[str, Any] = {
        "eventID": change.id,
        "eventName": change.event_name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": dynamodb,
    }
    if stream_arn is not None:
        record["eventSourceARN"] = stream_arn
    if change.user_identity is not None:
        record["userIdentity"] = dict(change.user_identity)
    return record


def from_streams_record(record: Mapping[str, Any], *, table: str | None = None) -> Change:
    """The change in a Streams record; `table` defaults to the one that the record's stream ARN names.

    Raises InvalidValue where the record is not one of DynamoDB Streams.
    """
    dynamodb = _dynamodb_part(record)
    if table is None:
        table = _table_of_arn(str(record.get("eventSourceARN", "")))
    return Change(
        id=str(record["eventID"]),
        table=table,
        event_name=str(record["eventName"]),
        keys=dynamodb["Keys"],
        new_image=dynamodb.get("NewImage"),
        old_image=dynamodb.get("OldImage"),
        sequence_number=str(dynamodb["SequenceNumber"]) if "SequenceNumber" in dynamodb else None,
        created_at_us=round(float(dynamodb.get("ApproximateCreationDateTime", 0)) * 1_000_000),
        size_bytes=int(dynamodb.get("SizeBytes", 0)),
        user_identity=_user_identity(record["userIdentity"]) if record.get("userIdentity") else None,
        view_type=str(dynamodb.get("StreamViewType", NEW_AND_OLD_IMAGES)),
    )


def from_kinesis_data(data: Mapping[str, Any]) -> Change:
    """The change in a Kinesis record's data (S26). Raises InvalidValue where it is not one of DynamoDB's."""
    dynamodb = _dynamodb_part(data)
    if "tableName" not in data:
        raise _no_change(data, "eventID, tableName")
    created = int(dynamodb.get("ApproximateCreationDateTime", 0))
    microseconds = dynamodb.get("ApproximateCreationDateTimePrecision") == "MICROSECOND"
    return Change(
        id=str(data["eventID"]),
        table=str(data["tableName"]),
        event_name=str(data["eventName"]),
        keys=dynamodb["Keys"],
        new_image=dynamodb.get("NewImage"),
        old_image=dynamodb.get("OldImage"),
        created_at_us=created if microseconds else created * 1000,
        size_bytes=int(dynamodb.get("SizeBytes", 0)),
        user_identity=_user_identity(data["userIdentity"]) if data.get("userIdentity") else None,
    )


def streams_record_text(
    stored: StoredChange,
    *,
    id: str,
    sequence_number: str,
    region: str,
    view_type: str,
    stream_arn: str | None = None,
) -> bytes:
    """The JSON text of a record as the Streams API gives it (S24, S25), its images spliced in without being decoded.

    With `stream_arn` it is as Lambda delivers it.
    """
    identity = b',"userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}' if stored.by_ttl else b""
    source = b""
    if stream_arn is not None:
        identity = identity.replace(b"PrincipalId", b"principalId").replace(b"Type", b"type")
        source = b',"eventSourceARN":"%s"' % stream_arn.encode()
    parts = [
        b'{"eventID":"%s","eventName":"%s","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"%s",'
        b'"dynamodb":{"ApproximateCreationDateTime":%d,"Keys":'
        % (id.encode(), stored.event_name.encode(), region.encode(), stored.created_at_us // 1_000_000),
        *_spliced(stored),
        b',"SequenceNumber":"%s","SizeBytes":%d,"StreamViewType":"%s"}'
        % (sequence_number.encode(), stored.size_bytes, view_type.encode()),
        identity,
        source,
        b"}",
    ]
    return b"".join(parts)


def kinesis_data_text(stored: StoredChange, *, id: str, table: str, region: str, microseconds: bool) -> bytes:
    """The JSON text of a Kinesis record's data for the change, its images spliced in.

    It has no sequence number and no view type (S26).
    """
    created, precision = stored.created_at_us, b"MICROSECOND"
    if not microseconds:
        created, precision = created // 1000, b"MILLISECOND"
    parts = [
        b'{"awsRegion":"%s","eventID":"%s","eventName":"%s","userIdentity":%s,"recordFormat":"application/json",'
        b'"tableName":"%s","dynamodb":{"ApproximateCreationDateTime":%d,"Keys":'
        % (
            region.encode(),
            _as_uuid(id).encode(),
            stored.event_name.encode(),
            b'{"type":"Service","principalId":"dynamodb.amazonaws.com"}' if stored.by_ttl else b"null",
            table.encode(),
            created,
        ),
        *_spliced(stored),
        b',"SizeBytes":%d,"ApproximateCreationDateTimePrecision":"%s"},"eventSource":"aws:dynamodb"}'
        % (stored.size_bytes, precision),
    ]
    return b"".join(parts)


def _spliced(stored: StoredChange) -> list[bytes]:
    parts = [stored.keys]
    if stored.new_image is not None:
        parts += (b',"NewImage":', stored.new_image)
    if stored.old_image is not None:
        parts += (b',"OldImage":', stored.old_image)
    return parts


def _images(change: Change) -> dict[str, Any]:
    images: dict[str, Any] = {"Keys": change.keys_image}
    if (new_image := change.new_image) is not None:
        images["NewImage"] = new_image
    if (old_image := change.old_image) is not None:
        images["OldImage"] = old_image
    return images


def _dynamodb_part(record: Mapping[str, Any]) -> Mapping[str, Any]:
    dynamodb = record.get("dynamodb")
    is_change = record.get("eventName") in EVENT_NAMES and "eventID" in record
    # An ABC is slow to ask, and nearly every record is parsed JSON.
    if is_change and isinstance(dynamodb, (dict, Mapping)) and "Keys" in dynamodb:
        return dynamodb
    raise _no_change(record, "eventID")


def _no_change(record: Mapping[str, Any], needed: str) -> InvalidValue:
    return InvalidValue(
        f"expected a record of a DynamoDB change ({needed}, eventName INSERT, MODIFY or REMOVE, and "
        f"dynamodb.Keys), got eventName {record.get('eventName')!r} and the fields {sorted(record)}: "
        "check that the stream belongs to a DynamoDB table"
    )


def _user_identity(identity: Mapping[str, Any]) -> Mapping[str, str]:
    # The Streams API names the two fields with capitals, Lambda's events and Kinesis without (S25).
    return {
        "type": str(identity.get("type", identity.get("Type"))),
        "principalId": str(identity.get("principalId", identity.get("PrincipalId"))),
    }


@lru_cache(maxsize=64)
def _table_of_arn(stream_arn: str) -> str:
    parts = stream_arn.split("/")
    if len(parts) < 2:
        raise InvalidValue(
            f"expected a stream ARN (arn:aws:dynamodb:…:table/NAME/stream/…), got {stream_arn!r}: pass the table's name"
        )
    return parts[1]


def _as_uuid(change_id: str) -> str:
    if len(change_id) != 32:
        return change_id
    return uuid_text(change_id)
