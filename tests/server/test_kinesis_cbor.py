"""Kinesis in CBOR, as SDKs for Java speak it unless they are told not to."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.server import cbor
from afterwrite.server.cbor import Members
from afterwrite.server.http_messages import Response
from afterwrite.testing import At, FaultyEngine, PartialBatch, Throttled
from afterwrite.wiring import Engine
from server.aws_clients import client, post

# What an SDK knows of its requests by the service's model.
REQUESTS = Members(frozenset({"Data"}), frozenset({"Timestamp"}))
DATA = base64.b64encode(b"\x00\xff").decode()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(App("kinesis-cbor"), Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        client(engine, "kinesis").create_stream(StreamName="events", ShardCount=1)
        yield engine


def send(engine: Engine, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    answer = post(engine, body, headers)
    assert answer.content_type == "application/x-amz-cbor-1.1"
    return answer.status, cbor.parsed(answer.body) if answer.body else None


def ask(engine: Engine, operation: str, **body: Any) -> tuple[int, Any]:
    """The status of the answer, and what it says in JSON's form."""
    encoded = cbor.in_cbor(Response(200, orjson.dumps(body)), REQUESTS).body
    return send(engine, encoded, headers(operation))


def headers(operation: str) -> dict[str, str]:
    return {"Content-Type": "application/x-amz-cbor-1.1", "X-Amz-Target": f"Kinesis_20131202.{operation}"}


def test_records_are_put_and_read_in_either_form(engine: Engine) -> None:
    before = time.time()
    status, put = ask(engine, "PutRecord", StreamName="events", PartitionKey="p", Data=DATA)
    assert (status, put["ShardId"]) == (200, "shardId-000000000000")
    kinesis = client(engine, "kinesis")
    kinesis.put_record(StreamName="events", PartitionKey="é", Data=b"from JSON")

    _, given = ask(
        engine,
        "GetShardIterator",
        StreamName="events",
        ShardId="shardId-000000000000",
        ShardIteratorType="AT_TIMESTAMP",
        Timestamp=before - 1,
    )
    status, page = ask(engine, "GetRecords", ShardIterator=given["ShardIterator"], Limit=10)

    assert status == 200
    records = page["Records"]
    assert [record["Data"] for record in records] == [DATA, base64.b64encode(b"from JSON").decode()]
    assert [record["PartitionKey"] for record in records] == ["p", "é"]
    assert before - 1 < records[0]["ApproximateArrivalTimestamp"] < time.time() + 1
    iterator = kinesis.get_shard_iterator(StreamName="events", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    in_json = kinesis.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [record["Data"] for record in in_json] == [b"\x00\xff", b"from JSON"]
    assert [record["ApproximateArrivalTimestamp"].timestamp() for record in in_json] == [
        record["ApproximateArrivalTimestamp"] for record in records
    ]


def test_streams_are_made_and_described(engine: Engine) -> None:
    assert ask(engine, "CreateStream", StreamName="made", ShardCount=2) == (200, None)
    status, found = ask(engine, "DescribeStreamSummary", StreamName="made")
    summary = client(engine, "kinesis").describe_stream_summary(StreamName="made")["StreamDescriptionSummary"]
    created = summary.pop("StreamCreationTimestamp").timestamp()
    assert status == 200
    assert found["StreamDescriptionSummary"] == {**summary, "StreamCreationTimestamp": created}
    assert ask(engine, "DeleteStream", StreamName="made") == (200, None)


def test_refusals_are_in_cbor_too(engine: Engine) -> None:
    assert ask(engine, "PutRecord", StreamName="nowhere", PartitionKey="p", Data=DATA) == (
        400,
        {
            "__type": "ResourceNotFoundException",
            "message": "Stream nowhere under account 000000000000 not found.",
        },
    )
    status, refusal = ask(engine, "SubscribeToShard")
    assert (status, refusal["__type"].rpartition("#")[2]) == (400, "UnknownOperationException")
    for body in (b"{}", b"\x80"):
        status, refusal = send(engine, body, headers("ListStreams"))
        assert (status, refusal["__type"].rpartition("#")[2]) == (400, "SerializationException")


def test_what_is_signed_is_the_request_in_cbor(tmp_path: Path) -> None:
    with Engine(App("kinesis-signed"), Settings(tmp_path / "data", credentials={"AKID": "secret"})) as engine:
        status, refusal = ask(engine, "ListStreams")
        assert (status, refusal["__type"].rpartition("#")[2]) == (400, "MissingAuthenticationTokenException")
        host, port = engine.address
        request = AWSRequest("POST", f"http://{host}:{port}/", headers("ListStreams"), b"\xbf\xff")
        SigV4Auth(Credentials("AKID", "secret"), "kinesis", "us-east-1").add_auth(request)
        status, found = send(engine, b"\xbf\xff", dict(request.headers))
        assert (status, found["StreamNames"]) == (200, [])


def test_faults_happen_in_either_form_s28(tmp_path: Path) -> None:
    put_records = "request:Kinesis_20131202.PutRecords"
    rules = [At(put_records, Throttled(), times=1), At(put_records, PartialBatch((0,)), times=1)]
    with FaultyEngine(tmp_path / "data", App("kinesis-faulty"), rules, listen="127.0.0.1:0") as engine:
        ask(engine, "CreateStream", StreamName="events", ShardCount=1)
        records = [{"PartitionKey": "p", "Data": DATA}, {"PartitionKey": "q", "Data": DATA}]
        status, refusal = ask(engine, "PutRecords", StreamName="events", Records=records)
        assert (status, refusal["__type"].rpartition("#")[2]) == (400, "ThrottlingException")
        status, put = ask(engine, "PutRecords", StreamName="events", Records=records)
        assert (status, put["FailedRecordCount"]) == (200, 1)
        assert ["ErrorCode" in each for each in put["Records"]] == [True, False]
