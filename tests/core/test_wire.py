"""The JSON forms of a change: Streams records and Kinesis data, both ways."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from afterwrite.core.changes import INSERT, REMOVE, TTL_IDENTITY, Change
from afterwrite.core.wire import (
    StoredChange,
    from_kinesis_data,
    from_streams_record,
    kinesis_data_text,
    to_streams_record,
)
from afterwrite.errors import InvalidValue

ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/things/stream/2026-01-01T00:00:00.000"
KEYS = {"pk": {"S": "p"}, "sk": {"N": "1"}}
NEW = {**KEYS, "b": {"B": "AP8="}}
ID = "0123456789abcdef0123456789abcdef"
CREATED_AT_US = 1_700_000_000_123_456


def a_change(**fields: Any) -> Change:
    defaults: dict[str, Any] = {
        "id": ID,
        "table": "things",
        "event_name": INSERT,
        "keys": KEYS,
        "new_image": NEW,
        "sequence_number": "100000000000000000001",
        "created_at_us": CREATED_AT_US,
        "size_bytes": 42,
    }
    return Change(**{**defaults, **fields})


def parts(change: Change) -> dict[str, Any]:
    names = [
        "id", "table", "event_name", "keys_image", "new_image", "old_image", "sequence_number", "size_bytes",
        "user_identity", "view_type",
    ]  # fmt: skip
    return {name: getattr(change, name) for name in names}


def test_a_streams_record_s24() -> None:
    assert to_streams_record(a_change(), region="eu-central-1", stream_arn=ARN) == {
        "eventID": "0123456789abcdef0123456789abcdef",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "eventSourceARN": ARN,
        "dynamodb": {
            # Floored to the second.
            "ApproximateCreationDateTime": 1_700_000_000,
            "Keys": KEYS,
            "NewImage": NEW,
            "SequenceNumber": "100000000000000000001",
            "SizeBytes": 42,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def test_a_streams_record_outside_lambda_names_no_stream_s24() -> None:
    assert "eventSourceARN" not in to_streams_record(a_change(), region="eu-central-1")


@pytest.mark.parametrize(
    "change",
    [a_change(), a_change(event_name=REMOVE, new_image=None, old_image=NEW, user_identity=TTL_IDENTITY)],
    ids=["insert", "by-ttl"],
)
def test_a_streams_record_becomes_the_change_again(change: Change) -> None:
    again = from_streams_record(to_streams_record(change, region="eu-central-1", stream_arn=ARN))
    assert parts(again) == parts(change)
    assert again.created_at_us == CREATED_AT_US // 1_000_000 * 1_000_000
    assert again.by_ttl == change.by_ttl


def test_identities_are_read_in_either_spelling_s25() -> None:
    record = to_streams_record(a_change(event_name=REMOVE, new_image=None), region="r", stream_arn=ARN)
    record["userIdentity"] = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    assert from_streams_record(record).by_ttl


def kinesis_data(*, microseconds: bool = False) -> dict[str, Any]:
    stored = StoredChange(INSERT, orjson.dumps(KEYS), orjson.dumps(NEW), None, CREATED_AT_US, 42)
    text = kinesis_data_text(stored, id=ID, table="things", region="eu-central-1", microseconds=microseconds)
    data: dict[str, Any] = orjson.loads(text)
    return data


@pytest.mark.parametrize("microseconds", [False, True])
def test_kinesis_data_s26(microseconds: bool) -> None:
    data = kinesis_data(microseconds=microseconds)
    assert data == {
        "awsRegion": "eu-central-1",
        "eventID": "01234567-89ab-cdef-0123-456789abcdef",
        "eventName": "INSERT",
        "userIdentity": None,
        "recordFormat": "application/json",
        "tableName": "things",
        "dynamodb": {
            "ApproximateCreationDateTime": CREATED_AT_US if microseconds else CREATED_AT_US // 1000,
            "ApproximateCreationDateTimePrecision": "MICROSECOND" if microseconds else "MILLISECOND",
            "Keys": KEYS,
            "NewImage": NEW,
            "SizeBytes": 42,
        },
        "eventSource": "aws:dynamodb",
    }
    again = from_kinesis_data(data)
    assert again.sequence_number is None
    assert again.created_at_us == (CREATED_AT_US if microseconds else CREATED_AT_US // 1000 * 1000)
    assert (again.table, again.keys_image, again.new_image) == ("things", KEYS, NEW)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"eventName": "INSERT", "eventSourceARN": ARN},
        {"eventName": "INSERT", "dynamodb": {"Keys": KEYS}, "eventSourceARN": ARN},
        {"eventID": "1", "eventName": "UPSERT", "dynamodb": {"Keys": KEYS}, "eventSourceARN": ARN},
        {"eventID": "1", "eventName": "INSERT", "dynamodb": {}, "eventSourceARN": ARN},
        {"eventID": "1", "eventName": "INSERT", "dynamodb": {"Keys": KEYS}},
        {"kinesis": {"data": "e30="}},
    ],
)
def test_what_is_no_record_of_dynamodb_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        from_streams_record(record)


@pytest.mark.parametrize("missing", ["eventID", "tableName", "eventName", "dynamodb"])
def test_kinesis_data_that_lacks_a_field_is_refused(missing: str) -> None:
    data = kinesis_data()
    del data[missing]
    with pytest.raises(InvalidValue):
        from_kinesis_data(data)
