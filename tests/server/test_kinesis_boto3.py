"""Kinesis as boto3 sees it: streams, records, resharding, and a table that writes its changes there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import md5
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from server.aws_clients import client


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(App("tables-only"), Settings(tmp_path_factory.mktemp("kinesis") / "data")) as engine:
        yield engine


@pytest.fixture
def kinesis(engine: Engine) -> Iterator[Any]:
    found = client(engine, "kinesis")
    yield found
    for name in found.list_streams()["StreamNames"]:
        found.delete_stream(StreamName=name)


def hash_key(partition_key: str) -> int:
    return int(md5(partition_key.encode()).hexdigest(), 16)


def shards_of(kinesis: Any, stream: str = "events") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"StreamName": stream}
    while True:
        page = kinesis.list_shards(**asked, MaxResults=2)
        found += page["Shards"]
        if "NextToken" not in page:
            return found
        asked = {"NextToken": page["NextToken"]}


def iterator_of(kinesis: Any, shard: str, kind: str = "TRIM_HORIZON", stream: str = "events", **options: Any) -> str:
    answer = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind, **options)
    return str(answer["ShardIterator"])


def read(kinesis: Any, iterator: str | None, limit: int = 100) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    while iterator is not None:
        page = kinesis.get_records(ShardIterator=iterator, Limit=limit)
        records += page["Records"]
        iterator = page.get("NextShardIterator") if page["Records"] else None
    return records


def drain(kinesis: Any, stream: str = "events") -> list[dict[str, Any]]:
    """Every record, shard by shard in the order of their opening, so each shard after its parents."""
    return [
        record
        for shard in shards_of(kinesis, stream)
        for record in read(kinesis, iterator_of(kinesis, shard["ShardId"], stream=stream))
    ]


def test_a_stream_is_made_described_and_deleted(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=3, Tags={"team": "a"})
    kinesis.get_waiter("stream_exists").wait(StreamName="events", WaiterConfig={"Delay": 1, "MaxAttempts": 2})
    description = kinesis.describe_stream(StreamName="events")["StreamDescription"]
    assert (description["StreamStatus"], description["RetentionPeriodHours"]) == ("ACTIVE", 24)
    assert description["StreamARN"] == "arn:aws:kinesis:us-east-1:000000000000:stream/events"
    ranges = [shard["HashKeyRange"] for shard in description["Shards"]]
    bounds = [(int(each["StartingHashKey"]), int(each["EndingHashKey"])) for each in ranges]
    assert (bounds[0][0], bounds[-1][1]) == (0, (1 << 128) - 1)
    assert all(first[1] + 1 == second[0] for first, second in pairwise(bounds))
    summary = kinesis.describe_stream_summary(StreamARN=description["StreamARN"])["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 3
    with pytest.raises(kinesis.exceptions.ResourceInUseException):
        kinesis.create_stream(StreamName="events", ShardCount=1)
    kinesis.delete_stream(StreamName="events")
    with pytest.raises(kinesis.exceptions.ResourceNotFoundException):
        kinesis.describe_stream(StreamName="events")


def test_streams_are_listed_in_pages(kinesis: Any) -> None:
    for name in ("b", "a", "c"):
        kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    page = kinesis.list_streams(Limit=2)
    assert (page["StreamNames"], page["HasMoreStreams"]) == (["a", "b"], True)
    page = kinesis.list_streams(ExclusiveStartStreamName="b")
    assert (page["StreamNames"], page["HasMoreStreams"]) == (["c"], False)
    assert len(shards_of(kinesis, "a")) == 4


def test_records_go_to_the_shard_of_their_hash_key_in_order(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=3)
    answers = [
        kinesis.put_record(StreamName="events", PartitionKey=f"k{number % 5}", Data=str(number).encode())
        for number in range(12)
    ]
    batch = [{"PartitionKey": f"k{number % 5}", "Data": str(number).encode()} for number in range(12, 30)]
    batched = kinesis.put_records(StreamName="events", Records=batch)
    assert batched["FailedRecordCount"] == 0
    answers += batched["Records"]
    assert len({answer["SequenceNumber"] for answer in answers}) == 30
    seen: dict[str, list[int]] = {}
    for shard in shards_of(kinesis):
        low, high = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
        for record in read(kinesis, iterator_of(kinesis, shard["ShardId"]), limit=4):
            assert low <= hash_key(record["PartitionKey"]) <= high
            number = int(record["Data"])
            assert answers[number]["SequenceNumber"] == record["SequenceNumber"]
            assert answers[number]["ShardId"] == shard["ShardId"]
            seen.setdefault(record["PartitionKey"], []).append(number)
    assert seen == {f"k{key}": list(range(key, 30, 5)) for key in range(5)}
    explicit = kinesis.put_record(StreamName="events", PartitionKey="x", ExplicitHashKey="0", Data=b"")
    assert explicit["ShardId"] == shards_of(kinesis)[0]["ShardId"]


def test_each_iterator_type_begins_where_it_says(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=1)
    (shard,) = (each["ShardId"] for each in shards_of(kinesis))
    latest = iterator_of(kinesis, shard, "LATEST")
    for number in range(5):
        kinesis.put_record(StreamName="events", PartitionKey="k", Data=str(number).encode())
    records = read(kinesis, latest)
    assert [record["Data"] for record in records] == [b"0", b"1", b"2", b"3", b"4"]

    def data(kind: str, **options: Any) -> bytes:
        return b"".join(record["Data"] for record in read(kinesis, iterator_of(kinesis, shard, kind, **options)))

    third = records[2]["SequenceNumber"]
    assert data("AT_SEQUENCE_NUMBER", StartingSequenceNumber=third) == b"234"
    assert data("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=third) == b"34"
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    assert data("AT_TIMESTAMP", Timestamp=long_ago) == b"01234"
    at_third = data("AT_TIMESTAMP", Timestamp=records[2]["ApproximateArrivalTimestamp"])
    assert at_third.endswith(b"234")
    assert data("AT_TIMESTAMP", Timestamp=records[4]["ApproximateArrivalTimestamp"] + timedelta(milliseconds=1)) == b""
    with pytest.raises(kinesis.exceptions.InvalidArgumentException):
        iterator_of(kinesis, shard, "AT_TIMESTAMP", Timestamp=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(kinesis.exceptions.InvalidArgumentException):
        iterator_of(kinesis, shard, "AT_SEQUENCE_NUMBER", StartingSequenceNumber="12")
    page = kinesis.get_records(ShardIterator=iterator_of(kinesis, shard), Limit=2)
    assert page["MillisBehindLatest"] >= 0
    assert kinesis.get_records(ShardIterator=iterator_of(kinesis, shard))["MillisBehindLatest"] == 0


def test_a_split_and_a_merge_keep_lineage_and_records(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=1)

    def put(first: int) -> None:
        batch = [
            {"PartitionKey": f"k{number % 6}", "Data": str(number).encode()} for number in range(first, first + 12)
        ]
        kinesis.put_records(StreamName="events", Records=batch)

    put(0)
    (parent,) = shards_of(kinesis)
    kinesis.split_shard(StreamName="events", ShardToSplit=parent["ShardId"], NewStartingHashKey=str(1 << 127))
    put(12)
    closed, left, right = shards_of(kinesis)
    assert left["ParentShardId"] == right["ParentShardId"] == parent["ShardId"]
    page = kinesis.get_records(ShardIterator=iterator_of(kinesis, closed["ShardId"]))
    assert len(page["Records"]) == 12
    assert "NextShardIterator" not in page
    assert [child["ShardId"] for child in page["ChildShards"]] == [left["ShardId"], right["ShardId"]]
    kinesis.merge_shards(StreamName="events", ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"])
    put(24)
    merged = shards_of(kinesis)[-1]
    assert (merged["ParentShardId"], merged["AdjacentParentShardId"]) == (left["ShardId"], right["ShardId"])
    seen: dict[str, list[int]] = {}
    for record in drain(kinesis):
        seen.setdefault(record["PartitionKey"], []).append(int(record["Data"]))
    assert seen == {f"k{key}": list(range(key, 36, 6)) for key in range(6)}
    for wrong in (
        {"ShardToMerge": left["ShardId"], "AdjacentShardToMerge": right["ShardId"]},
        {"ShardToMerge": merged["ShardId"], "AdjacentShardToMerge": merged["ShardId"]},
    ):
        with pytest.raises(kinesis.exceptions.InvalidArgumentException):
            kinesis.merge_shards(StreamName="events", **wrong)
    with pytest.raises(kinesis.exceptions.InvalidArgumentException):
        kinesis.split_shard(StreamName="events", ShardToSplit=merged["ShardId"], NewStartingHashKey="0")
    open_now = kinesis.list_shards(StreamName="events", ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert [shard["ShardId"] for shard in open_now] == [merged["ShardId"]]


def test_shards_are_scaled_evenly(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=2)
    for count in (3, 4, 2):
        answer = kinesis.update_shard_count(StreamName="events", TargetShardCount=count, ScalingType="UNIFORM_SCALING")
        assert answer["TargetShardCount"] == count
        open_now = kinesis.list_shards(StreamName="events", ShardFilter={"Type": "AT_LATEST"})["Shards"]
        starts = [int(shard["HashKeyRange"]["StartingHashKey"]) for shard in open_now]
        assert starts == [(1 << 128) * index // count for index in range(count)]
    with pytest.raises(kinesis.exceptions.LimitExceededException):
        kinesis.update_shard_count(StreamName="events", TargetShardCount=5, ScalingType="UNIFORM_SCALING")


def test_retention_is_from_a_day_to_a_year(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=1)

    def hours() -> int:
        return int(
            kinesis.describe_stream_summary(StreamName="events")["StreamDescriptionSummary"]["RetentionPeriodHours"]
        )

    kinesis.increase_stream_retention_period(StreamName="events", RetentionPeriodHours=8760)
    assert hours() == 8760
    kinesis.decrease_stream_retention_period(StreamName="events", RetentionPeriodHours=48)
    assert hours() == 48
    for operation, wrong in (("increase", 8761), ("increase", 24), ("decrease", 23), ("decrease", 49)):
        with pytest.raises(kinesis.exceptions.InvalidArgumentException):
            getattr(kinesis, f"{operation}_stream_retention_period")(StreamName="events", RetentionPeriodHours=wrong)


def test_tags_come_and_go(kinesis: Any) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=1, Tags={"a": "1"})
    kinesis.add_tags_to_stream(StreamName="events", Tags={"b": "2"})
    kinesis.remove_tags_from_stream(StreamName="events", TagKeys=["a"])
    assert kinesis.list_tags_for_stream(StreamName="events")["Tags"] == [{"Key": "b", "Value": "2"}]
    arn = kinesis.describe_stream_summary(StreamName="events")["StreamDescriptionSummary"]["StreamARN"]
    kinesis.tag_resource(ResourceARN=arn, Tags={"c": "3"})
    assert len(kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"]) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"PartitionKey": "", "Data": b"x"},
        {"PartitionKey": "k" * 257, "Data": b"x"},
        {"PartitionKey": "k", "Data": b"x" * ((1 << 20) + 1)},
        {"PartitionKey": "k", "Data": b"x", "ExplicitHashKey": str(1 << 128)},
        {"PartitionKey": "k", "Data": b"x", "ExplicitHashKey": "01"},
    ],
)
def test_records_beyond_the_limits_are_refused(kinesis: Any, fields: dict[str, Any]) -> None:
    kinesis.create_stream(StreamName="events", ShardCount=1)
    with pytest.raises(ClientError, match=r"ValidationException|InvalidArgumentException"):
        kinesis.put_record(StreamName="events", **fields)


def create_table(dynamodb: Any, name: str, **options: Any) -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "p", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "p", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        **options,
    )


def test_a_tables_changes_become_records_in_both_precisions_s26(engine: Engine, kinesis: Any) -> None:
    dynamodb = client(engine, "dynamodb")
    create_table(dynamodb, "captured")
    kinesis.create_stream(StreamName="changes", ShardCount=2)
    arn = kinesis.describe_stream_summary(StreamName="changes")["StreamDescriptionSummary"]["StreamARN"]
    place = {"TableName": "captured", "StreamArn": arn}
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.enable_kinesis_streaming_destination(TableName="captured", StreamArn=arn + "-other")
    assert dynamodb.enable_kinesis_streaming_destination(**place)["DestinationStatus"] == "ENABLING"
    with pytest.raises(ClientError, match="ValidationException"):
        dynamodb.enable_kinesis_streaming_destination(**place)

    def described() -> tuple[str, str]:
        answer = dynamodb.describe_kinesis_streaming_destination(TableName="captured")
        (found,) = answer["KinesisDataStreamDestinations"]
        return found["DestinationStatus"], found["ApproximateCreationDateTimePrecision"]

    assert described() == ("ACTIVE", "MILLISECOND")
    dynamodb.put_item(TableName="captured", Item={"p": {"S": "a"}, "n": {"N": "1"}})
    dynamodb.put_item(TableName="captured", Item={"p": {"S": "a"}, "n": {"N": "1"}})
    dynamodb.update_kinesis_streaming_destination(
        **place, UpdateKinesisStreamingConfiguration={"ApproximateCreationDateTimePrecision": "MICROSECOND"}
    )
    assert described() == ("ACTIVE", "MICROSECOND")
    dynamodb.put_item(TableName="captured", Item={"p": {"S": "a"}, "n": {"N": "2"}})
    dynamodb.delete_item(TableName="captured", Key={"p": {"S": "a"}})
    dynamodb.disable_kinesis_streaming_destination(**place)
    assert described() == ("DISABLED", "MICROSECOND")
    dynamodb.put_item(TableName="captured", Item={"p": {"S": "a"}})

    records = drain(kinesis, "changes")
    assert len({record["PartitionKey"] for record in records}) == 1
    data = [json.loads(record["Data"]) for record in records]
    assert [each["eventName"] for each in data] == ["INSERT", "MODIFY", "REMOVE"]
    assert len({each["eventID"] for each in data}) == 3
    for each, precision, digits in zip(data, ["MILLISECOND", "MICROSECOND", "MICROSECOND"], [13, 16, 16], strict=True):
        assert {
            name: each[name] for name in ("awsRegion", "userIdentity", "recordFormat", "tableName", "eventSource")
        } == {
            "awsRegion": "us-east-1",
            "userIdentity": None,
            "recordFormat": "application/json",
            "tableName": "captured",
            "eventSource": "aws:dynamodb",
        }
        change = each["dynamodb"]
        assert change["Keys"] == {"p": {"S": "a"}}
        assert not {"SequenceNumber", "StreamViewType"} & set(change)
        assert change["ApproximateCreationDateTimePrecision"] == precision
        assert len(str(change["ApproximateCreationDateTime"])) == digits
        assert change["SizeBytes"] > 0
    first, second = ({"p": {"S": "a"}, "n": {"N": number}} for number in "12")
    assert [(each["dynamodb"].get("OldImage"), each["dynamodb"].get("NewImage")) for each in data] == [
        (None, first),
        (first, second),
        (second, None),
    ]
    dynamodb.delete_table(TableName="captured")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_kinesis_streaming_destination(TableName="captured")


def test_a_destination_ends_with_its_stream(engine: Engine, kinesis: Any) -> None:
    dynamodb = client(engine, "dynamodb")
    create_table(dynamodb, "orphaned")
    kinesis.create_stream(StreamName="changes", ShardCount=1)
    arn = kinesis.describe_stream_summary(StreamName="changes")["StreamDescriptionSummary"]["StreamARN"]
    dynamodb.enable_kinesis_streaming_destination(TableName="orphaned", StreamArn=arn)
    kinesis.delete_stream(StreamName="changes")
    dynamodb.put_item(TableName="orphaned", Item={"p": {"S": "a"}})
    answer = dynamodb.describe_kinesis_streaming_destination(TableName="orphaned")
    assert answer["KinesisDataStreamDestinations"][0]["DestinationStatus"] == "DISABLED"
    dynamodb.delete_table(TableName="orphaned")
