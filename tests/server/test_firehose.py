"""Firehose as boto3 sees it: what it refuses and in which words, and how it lists delivery streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from server.aws_clients import client, post

NAMES = [f"stream-{number:02}" for number in range(12)]
TOO_LONG = "failed to satisfy constraint: Member must have length less than or equal to 1024000"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    app = App("firehose")
    for name in reversed(NAMES):
        app.delivery_stream(name)
    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        yield engine


@pytest.fixture(scope="module")
def firehose(engine: Engine) -> Any:
    return client(engine, "firehose")


def shown(size: int) -> str:
    return f"java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]"


@pytest.mark.parametrize(
    ("operation", "fields", "message"),
    [
        (
            "put_record",
            {"DeliveryStreamName": "facts", "Record": {"Data": b"x" * 1_024_001}},
            f"1 validation error detected: Value '{shown(1_024_001)}' at 'record.data' {TOO_LONG}",
        ),
        (
            "put_record_batch",
            {
                "DeliveryStreamName": "facts",
                "Records": [{"Data": b"x" * 1_045_710}, {"Data": b"x"}, {"Data": b"x" * 1_045_662}],
            },
            f"2 validation errors detected: Value '{shown(1_045_710)}' at 'records.1.member.data' {TOO_LONG}; "
            f"Value '{shown(1_045_662)}' at 'records.3.member.data' {TOO_LONG}",
        ),
        (
            "put_record",
            {"Record": {}},
            "2 validation errors detected: Value null at 'deliveryStreamName' failed to satisfy constraint: "
            "Member must not be null; "
            "Value null at 'record.data' failed to satisfy constraint: Member must not be null",
        ),
        (
            "put_record_batch",
            {"DeliveryStreamName": "a b", "Records": []},
            "2 validation errors detected: Value 'a b' at 'deliveryStreamName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; "
            "Value '[]' at 'records' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1",
        ),
        (
            "list_delivery_streams",
            {"Limit": 0},
            "1 validation error detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value "
            "greater than or equal to 1",
        ),
    ],
)
def test_all_that_a_request_breaks_is_told_with_its_place(
    firehose: Any, operation: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError) as failure:
        getattr(firehose, operation)(**fields)
    assert failure.value.response["Error"] == {"Code": "ValidationException", "Message": message}


@pytest.mark.parametrize("data", ["a", "!", "YQ=", 1])
def test_data_are_base64_text(engine: Engine, data: object) -> None:
    # The client makes base64 text of any bytes.
    body = json.dumps({"DeliveryStreamName": "stream-00", "Record": {"Data": data}})
    answer = post(engine, body, {"X-Amz-Target": "Firehose_20150804.PutRecord"})
    assert (answer.status, json.loads(answer.body)["__type"].rpartition("#")[2]) == (400, "SerializationException")


def test_delivery_streams_are_listed_in_pages_of_ten(firehose: Any) -> None:
    first = firehose.list_delivery_streams()
    assert (first["DeliveryStreamNames"], first["HasMoreDeliveryStreams"]) == (NAMES[:10], True)
    rest = firehose.list_delivery_streams(ExclusiveStartDeliveryStreamName=NAMES[9])
    assert (rest["DeliveryStreamNames"], rest["HasMoreDeliveryStreams"]) == (NAMES[10:], False)
    whole = firehose.list_delivery_streams(Limit=12, DeliveryStreamType="DirectPut")
    assert (whole["DeliveryStreamNames"], whole["HasMoreDeliveryStreams"]) == (NAMES, False)
    other = firehose.list_delivery_streams(DeliveryStreamType="KinesisStreamAsSource")
    assert (other["DeliveryStreamNames"], other["HasMoreDeliveryStreams"]) == ([], False)
