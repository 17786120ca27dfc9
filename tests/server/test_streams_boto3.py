"""DynamoDB Streams as boto3 sees them: a running engine, its restart, readers that follow the lineage."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from bounds import BOUND_S
from server.aws_clients import client

SHARDS = 4


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(App("tables-only"), Settings(tmp_path / "data", stream_shards=SHARDS)) as engine:
        yield engine


def create(engine: Engine, name: str = "things") -> str:
    """Create a table with a stream, whose ARN it returns."""
    answer = client(engine, "dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}, {"AttributeName": "c", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in "pc"],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return str(answer["TableDescription"]["LatestStreamArn"])


def put(engine: Engine, partition: str, sort: str, **attributes: Any) -> None:
    item = {"p": {"S": partition}, "c": {"S": sort}, **attributes}
    client(engine, "dynamodb").put_item(TableName="things", Item=item)


def shards_of(streams: Any, arn: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start: dict[str, str] = {}
    while True:
        page = streams.describe_stream(StreamArn=arn, Limit=3, **start)["StreamDescription"]
        found += page["Shards"]
        if "LastEvaluatedShardId" not in page:
            return found
        start = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}


def iterator_of(streams: Any, arn: str, shard: str, kind: str, **options: Any) -> str:
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **options)
    return str(answer["ShardIterator"])


def administer(engine: Engine, operation: str, **body: Any) -> dict[str, Any]:
    host, port = engine.address
    request = urllib.request.Request(
        f"http://{host}:{port}/", json.dumps(body).encode(), {"X-Amz-Target": f"Afterwrite.{operation}"}
    )
    with urllib.request.urlopen(request, timeout=BOUND_S) as answer:
        parsed: dict[str, Any] = json.load(answer)
    return parsed


def test_a_stream_as_boto3_sees_it(engine: Engine) -> None:
    arn = create(engine)
    streams = client(engine, "dynamodbstreams")
    (listed,) = streams.list_streams(TableName="things")["Streams"]
    assert listed["StreamArn"] == arn
    description = streams.describe_stream(StreamArn=arn)["StreamDescription"]
    assert description["CreationRequestDateTime"].year >= 2024
    assert len(description["Shards"]) == SHARDS
    latest = {
        shard["ShardId"]: iterator_of(streams, arn, shard["ShardId"], "LATEST") for shard in shards_of(streams, arn)
    }
    put(engine, "p", "1", n={"N": "1"}, b={"B": b"\x00\xff"}, s={"SS": ["a", "b"]})
    pages = [streams.get_records(ShardIterator=iterator) for iterator in latest.values()]
    ((record,),) = [page["Records"] for page in pages if page["Records"]]
    assert record["dynamodb"]["NewImage"]["b"] == {"B": b"\x00\xff"}
    assert record["dynamodb"]["ApproximateCreationDateTime"].microsecond == 0
    assert all("NextShardIterator" in page for page in pages)


def test_errors_have_the_service_s_names(engine: Engine) -> None:
    arn = create(engine)
    streams = client(engine, "dynamodbstreams")
    with pytest.raises(streams.exceptions.ResourceNotFoundException):
        streams.describe_stream(StreamArn=arn[:-1])
    with pytest.raises(ClientError, match="ValidationException"):
        streams.get_records(ShardIterator="nonsense")


def test_iterators_and_shards_outlive_a_restart(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "data", stream_shards=2)
    with Engine(App("tables-only"), settings) as engine:
        arn = create(engine)
        streams = client(engine, "dynamodbstreams")
        before = shards_of(streams, arn)
        iterators = [iterator_of(streams, arn, shard["ShardId"], "TRIM_HORIZON") for shard in before]
        for number in range(20):
            put(engine, str(number), "1")
    with Engine(App("tables-only"), settings) as engine:
        streams = client(engine, "dynamodbstreams")
        assert shards_of(streams, arn) == before
        pages = [streams.get_records(ShardIterator=iterator)["Records"] for iterator in iterators]
        assert sum(len(page) for page in pages) == 20
        administer(engine, "RollOverShards", StreamArn=arn)
    with Engine(App("tables-only"), settings) as engine:
        after = shards_of(client(engine, "dynamodbstreams"), arn)
        assert [shard.get("ParentShardId") for shard in after[2:]] == [shard["ShardId"] for shard in before]


def test_a_reader_that_drains_parents_first_sees_each_item_in_order_s19(engine: Engine) -> None:
    """Shards close and split while items change; the reader knows shards only from DescribeStream."""
    arn = create(engine)
    streams = client(engine, "dynamodbstreams")
    for step in range(60):
        put(engine, f"item-{step % 7}", "1", n={"N": str(step)})
        if step % 15 == 7:
            administer(engine, "RollOverShards", StreamArn=arn)
        if step % 20 == 11:
            open_ids = [
                shard["ShardId"]
                for shard in shards_of(streams, arn)
                if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
            ]
            administer(engine, "SplitShard", StreamArn=arn, ShardId=open_ids[step % len(open_ids)])
    seen: dict[str, list[int]] = {}
    drained: set[str] = set()
    known = {shard["ShardId"]: shard for shard in shards_of(streams, arn)}
    while drained != set(known):
        name = next(
            name
            for name, shard in known.items()
            if name not in drained and (shard.get("ParentShardId") in drained or "ParentShardId" not in shard)
        )
        iterator: str | None = iterator_of(streams, arn, name, "TRIM_HORIZON")
        while iterator is not None:
            page = streams.get_records(ShardIterator=iterator, Limit=5)
            for record in page["Records"]:
                new = record["dynamodb"]["NewImage"]
                seen.setdefault(new["p"]["S"], []).append(int(new["n"]["N"]))
            iterator = page.get("NextShardIterator") if page["Records"] else None
        drained.add(name)
    assert seen == {f"item-{item}": list(range(item, 60, 7)) for item in range(7)}


def test_a_stream_is_switched_off_and_on_again_s18(engine: Engine) -> None:
    first = create(engine)
    dynamodb, streams = client(engine, "dynamodb"), client(engine, "dynamodbstreams")
    latest = [iterator_of(streams, first, shard["ShardId"], "LATEST") for shard in shards_of(streams, first)]
    put(engine, "p", "1")
    specification = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    with pytest.raises(ClientError, match=r"ValidationException.*already.*enabled"):
        dynamodb.update_table(TableName="things", StreamSpecification=specification)
    dynamodb.update_table(TableName="things", StreamSpecification={"StreamEnabled": False})
    put(engine, "p", "unseen")
    description = streams.describe_stream(StreamArn=first)["StreamDescription"]
    assert description["StreamStatus"] == "DISABLED"
    assert all("EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in description["Shards"])
    pages = [streams.get_records(ShardIterator=iterator) for iterator in latest]
    assert sum(len(page["Records"]) for page in pages) == 1
    assert not any("NextShardIterator" in page for page in pages)
    dynamodb.update_table(TableName="things", StreamSpecification=specification)
    listed = [each["StreamArn"] for each in streams.list_streams(TableName="things")["Streams"]]
    assert (len(listed), listed[0]) == (2, first)
    put(engine, "p", "2")
    read = [
        record["dynamodb"]["Keys"]["c"]["S"]
        for shard in shards_of(streams, listed[1])
        for record in streams.get_records(
            ShardIterator=iterator_of(streams, listed[1], shard["ShardId"], "TRIM_HORIZON")
        )["Records"]
    ]
    assert read == ["2"]
