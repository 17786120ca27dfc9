"""What Kinesis refuses by what there is: streams, shards, sequence numbers, tags. In the service's words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson
import pytest

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.server.kinesis import KinesisService
from afterwrite.store.environment import Environment
from afterwrite.store.prepared import Poll, Read
from embedded import Clock, Dynamo

Kinesis: TypeAlias = Callable[..., dict[str, Any] | None]

OWNED = "events under account 000000000000"
SIGNS = "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @."
SIGNS_LATER = (
    "because some tags contained illegal characters. The allowed characters are "
    "Unicode letters, white-spaces, '_',',','/','=','+','-','@'."
)
START = (
    "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
    "(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified "
)
THIRD = ((1 << 128) // 3, 2 * ((1 << 128) // 3))


@pytest.fixture
def kinesis(environment: Environment, dynamo: Dynamo, clock: Clock) -> Kinesis:
    """Asks Kinesis, which has the stream `events` of three shards, for an operation."""
    service = KinesisService(Identity(), lambda: clock.now_ms)

    def ask(operation: str, **body: Any) -> dict[str, Any] | None:
        prepared = service.prepare(operation, body)
        assert not isinstance(prepared, Poll)
        if isinstance(prepared, Read):
            with environment.read() as transaction:
                found = prepared.run(transaction, environment.state["catalog"])
                return dict(orjson.loads(found) if isinstance(found, bytes) else found)
        answer = environment.write(prepared.run)
        return None if answer is None else dict(answer)

    ask("CreateStream", StreamName="events", ShardCount=3)
    return ask


def refused(kinesis: Kinesis, operation: str, **body: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as refusal:
        kinesis(operation, **{"StreamName": "events", **body})
    return refusal.value.code, refusal.value.message


def test_a_shard_is_named_by_what_follows_the_last_hyphen(kinesis: Kinesis) -> None:
    for name in ("shardId-000000000002", "shardId-2", "any-2", "-2", "2"):
        assert kinesis("GetShardIterator", StreamName="events", ShardId=name, ShardIteratorType="LATEST") is not None
    for name in ("shardId-x", "2147483648", "shardId-002147483648", "1.0", "2-"):
        unknown = f"Could not find shard {name} in stream {OWNED}."
        for operation, body in (
            ("GetShardIterator", {"ShardId": name, "ShardIteratorType": "LATEST"}),
            ("SplitShard", {"ShardToSplit": name, "NewStartingHashKey": "5"}),
            ("MergeShards", {"ShardToMerge": name, "AdjacentShardToMerge": "shardId-1"}),
            ("MergeShards", {"ShardToMerge": "shardId-1", "AdjacentShardToMerge": name}),
        ):
            assert refused(kinesis, operation, **body) == ("ResourceNotFoundException", unknown)


def test_a_shard_that_is_not_there_is_not_found_whether_its_stream_is_there_or_not(kinesis: Kinesis) -> None:
    body = {"ShardIteratorType": "TRIM_HORIZON"}
    missing = "Shard shardId-000000000007 in stream {} under account 000000000000 does not exist"
    for stream in ("events", "others"):
        found = refused(kinesis, "GetShardIterator", StreamName=stream, ShardId="shardId-7", **body)
        assert found == ("ResourceNotFoundException", missing.format(stream))
    assert refused(kinesis, "SplitShard", ShardToSplit="shardId-7", NewStartingHashKey="0") == (
        "ResourceNotFoundException",
        f"Could not find shard shardId-000000000007 in stream {OWNED}.",
    )
    no_stream = ("ResourceNotFoundException", "Stream others under account 000000000000 not found.")
    split = {"ShardToSplit": "shardId-7", "NewStartingHashKey": "0"}
    assert refused(kinesis, "SplitShard", StreamName="others", **split) == no_stream


def test_an_iterator_of_a_deleted_stream_names_the_shard(kinesis: Kinesis) -> None:
    answer = kinesis("GetShardIterator", StreamName="events", ShardId="shardId-1", ShardIteratorType="LATEST")
    assert answer is not None
    assert kinesis("DeleteStream", StreamName="events") is None
    with pytest.raises(ServiceError, match=f"Shard shardId-000000000001 in stream {OWNED} does not exist$"):
        kinesis("GetRecords", ShardIterator=answer["ShardIterator"])


def test_an_iterator_may_stand_between_quotes_as_command_lines_print_it(kinesis: Kinesis) -> None:
    kinesis("PutRecord", StreamName="events", PartitionKey="p", Data="aGVsbG8=", ExplicitHashKey="0")
    given = kinesis("GetShardIterator", StreamName="events", ShardId="0", ShardIteratorType="TRIM_HORIZON")
    assert given is not None

    found = kinesis("GetRecords", ShardIterator=f'"{given["ShardIterator"]}"')

    assert found is not None
    assert [record["Data"] for record in found["Records"]] == ["aGVsbG8="]
    for text in ('"', '""', f'"{given["ShardIterator"]}'):
        assert refused(kinesis, "GetRecords", ShardIterator=text) == (
            "InvalidArgumentException",
            "Invalid ShardIterator.",
        )


def test_an_expired_iterator_tells_both_times(kinesis: Kinesis, clock: Clock) -> None:
    answer = kinesis("GetShardIterator", StreamName="events", ShardId="shardId-1", ShardIteratorType="LATEST")
    assert answer is not None
    clock.advance(ms=300_001)
    date = r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d{2} \d{2}:\d{2}:\d{2} UTC \d{4}"
    with pytest.raises(ServiceError, match=f"created at time {date} while right now it is {date} which is") as refusal:
        kinesis("GetRecords", ShardIterator=answer["ShardIterator"])
    assert refusal.value.code == "ExpiredIteratorException"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"ShardIteratorType": "AT_SEQUENCE_NUMBER"}, f"{START}AT_SEQUENCE_NUMBER and no StartingSequenceNumber."),
        (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER"},
            f"{START}AFTER_SEQUENCE_NUMBER and no StartingSequenceNumber.",
        ),
        (
            {"ShardIteratorType": "LATEST", "StartingSequenceNumber": "7"},
            f"{START}LATEST and also a StartingSequenceNumber.",
        ),
        (
            {"ShardIteratorType": "TRIM_HORIZON", "StartingSequenceNumber": "7"},
            f"{START}TRIM_HORIZON and also a StartingSequenceNumber.",
        ),
        (
            {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"},
            f"StartingSequenceNumber 7 used in GetShardIterator on shard shardId-000000000000 in stream {OWNED} is "
            "invalid because it did not come from this stream.",
        ),
        (
            {"ShardIteratorType": "AT_TIMESTAMP"},
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
            "Current request has no timestamp parameter.",
        ),
    ],
)
def test_where_an_iterator_cannot_begin(kinesis: Kinesis, body: dict[str, Any], message: str) -> None:
    found = refused(kinesis, "GetShardIterator", ShardId="shardId-000000000000", **body)
    assert found == ("InvalidArgumentException", message)


def test_an_iterator_may_begin_before_the_epoch(kinesis: Kinesis) -> None:
    body = {"ShardId": "shardId-0", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": -0.5}
    assert kinesis("GetShardIterator", StreamName="events", **body) is not None


def test_an_iterator_cannot_begin_in_the_future(kinesis: Kinesis, clock: Clock) -> None:
    at_ms = clock.now_ms + 60_000
    body = {"ShardId": "shardId-0", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": at_ms / 1000}
    assert refused(kinesis, "GetShardIterator", **body) == (
        "InvalidArgumentException",
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
        f"timestampInMillis: {at_ms}, currentTimestampInMillis: {clock.now_ms}",
    )


@pytest.mark.parametrize(
    ("shard", "start"), [(0, 1), (0, THIRD[0]), (1, THIRD[0] + 1), (2, int("9" * 39))], ids=["1", "end", "next", "big"]
)
def test_a_shard_is_split_between_its_ends_only(kinesis: Kinesis, shard: int, start: int) -> None:
    low = (0, *THIRD)[shard]
    high = (*THIRD, 1 << 128)[shard] - 1
    found = refused(kinesis, "SplitShard", ShardToSplit=f"shardId-{shard}", NewStartingHashKey=str(start))
    assert found == (
        "InvalidArgumentException",
        f"NewStartingHashKey {start} used in SplitShard() on shard shardId-{shard:012} in stream {OWNED} is not both "
        f"greater than one plus the shard's StartingHashKey {low} and less than the shard's EndingHashKey {high}.",
    )


def test_shards_are_merged_from_low_to_high_and_once(kinesis: Kinesis) -> None:
    for first, second in ((0, 2), (1, 0)):
        body = {"ShardToMerge": f"shardId-{first}", "AdjacentShardToMerge": f"shardId-{second}"}
        assert refused(kinesis, "MergeShards", **body) == (
            "InvalidArgumentException",
            f"Shards shardId-{first:012} and shardId-{second:012} in stream {OWNED} are not an adjacent pair of shards "
            "eligible for merging",
        )
    merge = {"ShardToMerge": "shardId-0", "AdjacentShardToMerge": "shardId-1"}
    assert kinesis("MergeShards", StreamName="events", **merge) is None
    again = (
        "InvalidArgumentException",
        f"Shard shardId-000000000000 in stream {OWNED} has already been merged or split, and thus is not eligible for "
        "merging or splitting.",
    )
    assert refused(kinesis, "MergeShards", **merge) == again
    assert refused(kinesis, "SplitShard", ShardToSplit="shardId-0", NewStartingHashKey="5") == again


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (7, "UpdateShardCount cannot scale up over double your current open shard count."),
        (1, "UpdateShardCount cannot scale down below half your current open shard count."),
        (10_001, "Target shard count or number of open shards cannot be greater than 10000."),
    ],
)
def test_shards_are_scaled_by_two_at_most(kinesis: Kinesis, count: int, message: str) -> None:
    found = refused(kinesis, "UpdateShardCount", TargetShardCount=count, ScalingType="UNIFORM_SCALING")
    tail = f"Current open shard count: 3, Target shard count: {count}"
    assert found == ("LimitExceededException", f"{message} {tail}")


def test_tags_have_signs_that_they_may_have(kinesis: Kinesis) -> None:
    good = {"ä1 _.:": "/=+-@", "empty": ""}
    assert kinesis("AddTagsToStream", StreamName="events", Tags=good) is None
    for text in ("a;b", "a\tb", "a\nb", "a,b", "a*b"):
        for operation, body in (
            ("AddTagsToStream", {"Tags": {text: "x"}}),
            ("AddTagsToStream", {"Tags": {"x": text}}),
            ("RemoveTagsFromStream", {"TagKeys": [text]}),
        ):
            assert refused(kinesis, operation, **body) == ("InvalidArgumentException", SIGNS)
    added, removed = f"Failed to add tags to stream {OWNED}", f"Failed to remove tags from stream {OWNED}"
    percent = ("InvalidArgumentException", f"{added} {SIGNS_LATER}")
    assert refused(kinesis, "AddTagsToStream", Tags={"a%": "b"}) == percent
    assert refused(kinesis, "AddTagsToStream", Tags={"a": "%b"}) == percent
    assert refused(kinesis, "RemoveTagsFromStream", TagKeys=["%"]) == (percent[0], f"{removed} {SIGNS_LATER}")
    assert refused(kinesis, "RemoveTagsFromStream", StreamName="others", TagKeys=[";"])[0] == (
        "ResourceNotFoundException"
    )
    too_many = f"{added} because a given stream cannot have more than 50 tags associated with it."
    found = refused(kinesis, "AddTagsToStream", Tags={f"t{number}": "" for number in range(49)})
    assert found == ("InvalidArgumentException", too_many)
    listed = kinesis("ListTagsForStream", StreamName="events")
    assert listed is not None
    assert {tag["Key"]: tag["Value"] for tag in listed["Tags"]} == good


def test_a_record_follows_one_that_there_is_or_none(kinesis: Kinesis) -> None:
    first = kinesis("PutRecord", StreamName="events", PartitionKey="a", Data="", SequenceNumberForOrdering="0")
    assert first is not None
    body = {"PartitionKey": "a", "Data": ""}
    assert kinesis("PutRecord", StreamName="events", **body, SequenceNumberForOrdering=first["SequenceNumber"])
    for number in ("7", str(int(first["SequenceNumber"]) + 1000)):
        assert refused(kinesis, "PutRecord", **body, SequenceNumberForOrdering=number) == (
            "InvalidArgumentException",
            f"ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {OWNED} is invalid.",
        )


@pytest.mark.parametrize("verb", ["Increase", "Decrease"])
def test_retention_has_bounds_whichever_way_it_goes(kinesis: Kinesis, verb: str) -> None:
    operation = f"{verb}StreamRetentionPeriod"
    for hours, message in (
        (23, "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short."),
        (8761, "Maximum allowed retention period is 8760 hours. Requested retention period (8761 hours) is too long."),
    ):
        found = refused(kinesis, operation, RetentionPeriodHours=hours)
        assert found == ("InvalidArgumentException", message)


def test_a_stream_is_made_once_and_on_demand_unless_it_says_how_many_shards(kinesis: Kinesis) -> None:
    assert refused(kinesis, "CreateStream", ShardCount=1) == (
        "ResourceInUseException",
        f"Stream {OWNED} already exists.",
    )
    assert refused(kinesis, "CreateStream", StreamName="many", ShardCount=10_001)[0] == "LimitExceededException"
    assert kinesis("CreateStream", StreamName="simple") is None
    answer = kinesis("DescribeStream", StreamName="simple")
    assert answer is not None
    description = answer["StreamDescription"]
    assert (description["StreamModeDetails"], len(description["Shards"])) == ({"StreamMode": "ON_DEMAND"}, 4)


def test_who_leaves_the_shards_to_the_service_asks_for_no_number_of_them(kinesis: Kinesis) -> None:
    asked = {"StreamName": "simple", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}
    assert refused(kinesis, "CreateStream", **asked, ShardCount=4) == (
        "InvalidArgumentException",
        "ShardCount is not expected when StreamMode=ON_DEMAND",
    )
    assert kinesis("CreateStream", **asked) is None


def test_the_service_itself_reshards_what_is_on_demand(kinesis: Kinesis) -> None:
    kinesis("CreateStream", StreamName="simple")
    for operation, body in (
        ("SplitShard", {"ShardToSplit": "shardId-9", "NewStartingHashKey": "5"}),
        ("MergeShards", {"ShardToMerge": "shardId-0", "AdjacentShardToMerge": "shardId-1"}),
        ("UpdateShardCount", {"TargetShardCount": 99, "ScalingType": "UNIFORM_SCALING"}),
    ):
        code, message = refused(kinesis, operation, StreamName="simple", **body)
        assert code == "ValidationException"
        assert "provisioned capacity mode" in message
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/simple"
    kinesis("UpdateStreamMode", StreamARN=arn, StreamModeDetails={"StreamMode": "PROVISIONED"})
    assert kinesis("UpdateShardCount", StreamARN=arn, TargetShardCount=8, ScalingType="UNIFORM_SCALING") is not None


def test_tags_of_the_service_itself_are_given_by_nobody(kinesis: Kinesis) -> None:
    for operation, name in (("AddTagsToStream", "events"), ("CreateStream", "other")):
        code, message = refused(kinesis, operation, StreamName=name, Tags={"team": "a", "aws:team": "b"})
        assert code == "InvalidArgumentException"
        assert "aws:" in message
    assert kinesis("AddTagsToStream", StreamName="events", Tags={"awsome": "aws:"}) is None


def test_a_stream_that_is_named_twice_is_one_stream(kinesis: Kinesis) -> None:
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/events"
    assert kinesis("DescribeStreamSummary", StreamName="events", StreamARN=arn) is not None
    assert refused(kinesis, "DescribeStreamSummary", StreamARN=f"{arn}-2")[0] == "InvalidArgumentException"


def test_all_that_a_record_breaks_is_told_and_no_more_than_ten(kinesis: Kinesis) -> None:
    code, message = refused(
        kinesis, "PutRecords", StreamName="a b", Records=[{}, {"PartitionKey": "", "Data": "", "ExplicitHashKey": "01"}]
    )
    assert (code, re.findall(r"at '([^']*)'", message)) == (
        "ValidationException",
        [
            "records.1.member.partitionKey",
            "records.1.member.data",
            "records.2.member.partitionKey",
            "records.2.member.explicitHashKey",
            "streamName",
        ],
    )
    _, message = refused(kinesis, "PutRecords", Records=[{"PartitionKey": "", "Data": ""}] * 30)
    assert message.startswith("10 validation errors detected: ")
    assert message.count("at 'records.") == 10
