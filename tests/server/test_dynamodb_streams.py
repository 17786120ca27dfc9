"""DynamoDB Streams: shards and their lineage, iterators, records, and how long they stay."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.changes import VIEW_TYPES
from afterwrite.errors import ServiceError
from afterwrite.store import streams as store_streams
from afterwrite.store import tables, upkeep
from afterwrite.store.environment import Environment
from afterwrite.store.streams import StreamSettings
from embedded import Clock, Dynamo
from stream_reading import Streams

DAY_S = 86_400


@pytest.fixture
def streams(environment: Environment, clock: Clock) -> Streams:
    return Streams(environment, clock)


def shards_of_new_streams(environment: Environment, count: int, rollover_s: int = 14_400) -> None:
    store_streams.configure(environment.state, StreamSettings(count, rollover_s))


def set_stream(environment: Environment, table: str, view_type: str | None) -> None:
    def operation(transaction: Any) -> None:
        found = tables.catalog(transaction)[table]
        if view_type is None:
            tables.disable_stream(transaction, found)
        else:
            tables.enable_stream(transaction, found, view_type)

    environment.write(operation)


def code_of(streams: Streams, operation: str, /, **body: Any) -> str:
    with pytest.raises(ServiceError) as raised:
        streams(operation, **body)
    return raised.value.code


def numbers(records: list[dict[str, Any]]) -> list[int]:
    return [int(record["dynamodb"]["SequenceNumber"]) for record in records]


def test_a_new_stream_is_listed_and_described(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create("other", view_type=None)
    dynamo.create(view_type="KEYS_ONLY")
    assert streams("ListStreams", TableName="other") == {"Streams": []}
    (listed,) = streams("ListStreams")["Streams"]
    assert listed == {
        "StreamArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/things/stream/{listed['StreamLabel']}",
        "TableName": "things",
        "StreamLabel": "2023-11-14T22:13:20.000",
    }
    described = streams.describe(listed["StreamArn"])
    (shard,) = described.pop("Shards")
    assert described == {
        "StreamArn": listed["StreamArn"],
        "StreamLabel": listed["StreamLabel"],
        "StreamStatus": "ENABLED",
        "StreamViewType": "KEYS_ONLY",
        "CreationRequestDateTime": clock.now_ms / 1000,
        "TableName": "things",
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    }
    assert 28 <= len(shard["ShardId"]) <= 65
    assert 21 <= len(shard["SequenceNumberRange"]["StartingSequenceNumber"]) <= 40
    assert "EndingSequenceNumber" not in shard["SequenceNumberRange"]
    assert "ParentShardId" not in shard


def test_streams_are_listed_in_pages(dynamo: Dynamo, streams: Streams) -> None:
    for number in range(7):
        dynamo.create(f"table-{number}")
    found: list[str] = []
    page = streams("ListStreams", Limit=3)
    while True:
        found += [stream["TableName"] for stream in page["Streams"]]
        if "LastEvaluatedStreamArn" not in page:
            break
        page = streams("ListStreams", Limit=3, ExclusiveStartStreamArn=page["LastEvaluatedStreamArn"])
    assert found == [f"table-{number}" for number in range(7)]
    assert code_of(streams, "ListStreams", Limit=0) == "ValidationException"
    assert code_of(streams, "ListStreams", Limit=101) == "ValidationException"
    assert code_of(streams, "ListStreams", ExclusiveStartStreamArn="x" * 40) == "ValidationException"


def test_a_tables_streams_are_its_own_even_where_names_begin_alike(dynamo: Dynamo, streams: Streams) -> None:
    for name in ("abc", "abcd", "abc.d"):
        dynamo.create(name)
    assert [each["TableName"] for each in streams("ListStreams", TableName="abc")["Streams"]] == ["abc"]


@pytest.mark.parametrize("view_type", VIEW_TYPES)
def test_records_show_what_the_view_type_says_s24(
    dynamo: Dynamo, streams: Streams, view_type: str, clock: Clock
) -> None:
    dynamo.create(view_type=view_type)
    dynamo.put(pk="p", sk="1", n=1)
    clock.advance(ms=1_500)
    dynamo.put(pk="p", sk="1", n=2)
    dynamo.put(pk="p", sk="1", n=2)
    dynamo.delete(pk="p", sk="1")
    records = streams.drain(streams.arn())
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    shows_new, shows_old = "NEW" in view_type, "OLD" in view_type
    first, second = ({"pk": {"S": "p"}, "sk": {"S": "1"}, "n": {"N": number}} for number in "12")
    images = [(None, first), (first, second), (second, None)]
    for record, (old, new) in zip(records, images, strict=True):
        assert {name: record[name] for name in ("eventVersion", "eventSource", "awsRegion")} == {
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
        }
        assert record["dynamodb"]["Keys"] == {"pk": {"S": "p"}, "sk": {"S": "1"}}
        assert record["dynamodb"].get("NewImage") == (new if shows_new else None)
        assert record["dynamodb"].get("OldImage") == (old if shows_old else None)
        assert record["dynamodb"]["StreamViewType"] == view_type
        assert isinstance(record["dynamodb"]["ApproximateCreationDateTime"], int)
        assert "userIdentity" not in record
    assert records[1]["dynamodb"]["ApproximateCreationDateTime"] == clock.now_ms // 1000
    assert len({record["eventID"] for record in records}) == 3


@pytest.mark.parametrize("view_type", VIEW_TYPES)
def test_a_records_size_is_that_of_what_it_shows_s24(dynamo: Dynamo, streams: Streams, view_type: str) -> None:
    dynamo.create(view_type=view_type)
    dynamo.put(pk="p", sk="1", n="four")
    dynamo.put(pk="p", sk="1", n="sixsix")
    dynamo.delete(pk="p", sk="1")
    keys, old, new = 6, 11, 13
    shows_new, shows_old = "NEW" in view_type, "OLD" in view_type
    assert [record["dynamodb"]["SizeBytes"] for record in streams.drain(streams.arn())] == [
        keys + old * shows_new,
        keys + new * shows_new + old * shows_old,
        keys + new * shows_old,
    ]


def test_records_are_those_that_the_routes_see(dynamo: Dynamo, streams: Streams) -> None:
    dynamo.create()
    dynamo.put(pk="ü", sk="1", deep={"list": [1, None, {"x": b"\x00"}]})
    (record,) = streams.drain(streams.arn())
    (change,) = dynamo.changes()
    assert (record["eventID"], record["dynamodb"]["SequenceNumber"]) == (change.id, change.sequence_number)
    assert record["dynamodb"]["SizeBytes"] == change.size_bytes
    assert record["dynamodb"]["NewImage"] == change.new_image


def test_ttl_deletes_name_the_service_with_capitals_s25(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create()
    dynamo("UpdateTimeToLive", TableName="things", TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
    dynamo.put(pk="p", sk="1", ttl=clock.now_ms // 1000)
    clock.advance(s=1)
    upkeep.run(dynamo.environment, {})
    _, removed = streams.drain(streams.arn())
    assert removed["eventName"] == "REMOVE"
    assert removed["userIdentity"] == {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}


def test_every_change_is_in_the_shard_of_its_partition_key(dynamo: Dynamo, streams: Streams) -> None:
    shards_of_new_streams(dynamo.environment, 5)
    dynamo.create()
    for number in range(60):
        dynamo.put(pk=f"p{number % 20}", sk=str(number))
    arn = streams.arn()
    shards = streams.shards(arn)
    assert len(shards) == 5
    assert [shard["ShardId"] for shard in shards] == sorted(shard["ShardId"] for shard in shards)
    seen: dict[str, set[str]] = {}
    total = 0
    for shard in shards:
        records = streams.read(streams.iterator(arn, shard["ShardId"]), Limit=4)
        total += len(records)
        assert numbers(records) == sorted(set(numbers(records)))
        for record in records:
            seen.setdefault(record["dynamodb"]["Keys"]["pk"]["S"], set()).add(shard["ShardId"])
    assert total == 60
    assert all(len(holders) == 1 for holders in seen.values())
    assert len(set().union(*seen.values())) > 1


def test_a_page_is_1000_records_or_1_mib_s23(dynamo: Dynamo, streams: Streams) -> None:
    dynamo.create()
    for number in range(1_002):
        dynamo.put(pk="p", sk=f"{number:05}")
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    page = streams("GetRecords", ShardIterator=streams.iterator(arn, shard["ShardId"]))
    assert len(page["Records"]) == 1_000
    rest = streams("GetRecords", ShardIterator=page["NextShardIterator"])
    assert len(rest["Records"]) == 2
    for number in range(4):
        dynamo.put(pk="p", sk=f"large-{number}", text="x" * 390_000)
    sizes = []
    iterator = rest["NextShardIterator"]
    while len(page["Records"]):
        page = streams("GetRecords", ShardIterator=iterator)
        sizes.append(len(page["Records"]))
        iterator = page["NextShardIterator"]
    assert sizes == [2, 2, 0]


def test_a_record_above_1_mib_is_given_alone(dynamo: Dynamo, streams: Streams) -> None:
    dynamo.create()
    dynamo.put(pk="p", sk="1", text="x" * 399_000)
    dynamo.put(pk="p", sk="1", text="é" * 190_000, more="y" * 19_000)
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    assert [
        len(streams("GetRecords", ShardIterator=streams.iterator(arn, shard["ShardId"]), Limit=n)["Records"])
        for n in (1, 2)
    ] == [1, 1]


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_limits_beyond_the_service_s_are_refused(dynamo: Dynamo, streams: Streams, limit: int) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    with pytest.raises(ServiceError, match=r"ValidationException.*limit"):
        streams("GetRecords", ShardIterator=streams.iterator(arn, shard["ShardId"]), Limit=limit)


def test_each_iterator_type_begins_where_it_says(dynamo: Dynamo, streams: Streams) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    name = shard["ShardId"]
    latest_before = streams.iterator(arn, name, "LATEST")
    for number in range(5):
        dynamo.put(pk="p", sk=str(number))
    everything = numbers(streams.read(streams.iterator(arn, name)))
    assert len(everything) == 5
    third = str(everything[2])
    assert numbers(streams.read(streams.iterator(arn, name, "AT_SEQUENCE_NUMBER", third))) == everything[2:]
    assert numbers(streams.read(streams.iterator(arn, name, "AFTER_SEQUENCE_NUMBER", third))) == everything[3:]
    assert numbers(streams.read(latest_before)) == everything
    assert streams.read(streams.iterator(arn, name, "LATEST")) == []
    first = shard["SequenceNumberRange"]["StartingSequenceNumber"]
    assert numbers(streams.read(streams.iterator(arn, name, "AT_SEQUENCE_NUMBER", first))) == everything


def test_an_iterator_at_a_time_begins_with_the_first_change_made_then_or_later(
    dynamo: Dynamo, streams: Streams, clock: Clock
) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    made_ms = []
    for number in range(4):
        clock.advance(ms=700)
        made_ms.append(clock.now_ms)
        dynamo.put(pk="p", sk=str(number))

    def from_time(at_ms: float) -> list[str]:
        iterator = streams.iterator(arn, shard["ShardId"], "AT_TIMESTAMP", at_s=at_ms / 1000)
        return [record["dynamodb"]["Keys"]["sk"]["S"] for record in streams.read(iterator)]

    everything = ["0", "1", "2", "3"]
    assert from_time(0) == everything
    for number, at_ms in enumerate(made_ms):
        assert from_time(at_ms) == everything[number:]
        assert from_time(at_ms + 1) == everything[number + 1 :]
    clock.advance(s=60)
    assert from_time(clock.now_ms) == []


def test_an_iterator_at_a_time_reads_what_is_written_after_it_was_made(
    dynamo: Dynamo, streams: Streams, clock: Clock
) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    dynamo.put(pk="p", sk="before")
    clock.advance(s=5)
    iterator = streams.iterator(arn, shard["ShardId"], "AT_TIMESTAMP", at_s=clock.now_ms / 1000)
    dynamo.put(pk="p", sk="after")
    assert [record["dynamodb"]["Keys"]["sk"]["S"] for record in streams.read(iterator)] == ["after"]


def test_iterators_at_a_time_find_the_same_changes_in_whatever_shards_they_are(
    dynamo: Dynamo, streams: Streams, clock: Clock
) -> None:
    shards_of_new_streams(dynamo.environment, 4, rollover_s=60)
    dynamo.create()
    arn = streams.arn()
    for number in range(60):
        clock.advance(s=3)
        upkeep.run(dynamo.environment, {})
        dynamo.put(pk=f"p{number % 7}", sk=f"{number:02}")
    middle_ms = clock.now_ms - 29 * 3_000
    found: list[str] = []
    for shard in streams.shards(arn):
        iterator = streams.iterator(arn, shard["ShardId"], "AT_TIMESTAMP", at_s=middle_ms / 1000)
        found += [record["dynamodb"]["Keys"]["sk"]["S"] for record in streams.read(iterator)]
    assert len(streams.shards(arn)) > 4
    assert sorted(found) == [f"{number:02}" for number in range(30, 60)]


def test_a_time_before_what_was_trimmed_is_the_oldest_there_is(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    dynamo.put(pk="p", sk="trimmed")
    clock.advance(s=DAY_S - 60)
    dynamo.put(pk="p", sk="kept")
    made_before = streams.iterator(arn, shard["ShardId"], "AT_TIMESTAMP", at_s=-1)
    clock.advance(s=61)
    assert upkeep.run(dynamo.environment, {}).trimmed == 1
    made_after = streams.iterator(arn, shard["ShardId"], "AT_TIMESTAMP", at_s=1)
    for iterator in (made_before, made_after):
        assert [record["dynamodb"]["Keys"]["sk"]["S"] for record in streams.read(iterator)] == ["kept"]


def test_iterator_requests_are_validated(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    number = shard["SequenceNumberRange"]["StartingSequenceNumber"]
    good = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"StreamArn": "x" * 50}, "ValidationException"),
        ({"StreamArn": arn[:-1] + "9"}, "ResourceNotFoundException"),
        ({"StreamArn": None}, "ValidationException"),
        ({"ShardId": "x" * 40}, "ResourceNotFoundException"),
        ({"ShardId": "short"}, "ValidationException"),
        ({"ShardId": None}, "ValidationException"),
        ({"ShardIteratorType": "NEWEST"}, "ValidationException"),
        ({"ShardIteratorType": None}, "ValidationException"),
        ({"SequenceNumber": number}, "ValidationException"),
        ({"ShardIteratorType": "AT_SEQUENCE_NUMBER"}, "ValidationException"),
        ({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "x" * 30}, "ValidationException"),
        ({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "9" * 30}, "ValidationException"),
        ({"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": "1"}, "ValidationException"),
        ({"Timestamp": 1_600_000_000}, "ValidationException"),
        ({"ShardIteratorType": "AT_TIMESTAMP"}, "ValidationException"),
        ({"ShardIteratorType": "AT_TIMESTAMP", "SequenceNumber": number, "Timestamp": 1}, "ValidationException"),
        ({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": clock.now_ms / 1000 + 60}, "ValidationException"),
        ({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": "1"}, "SerializationException"),
        ({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": True}, "SerializationException"),
        ({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1 << 50}, "ValidationException"),
    ]
    for fields, code in cases:
        assert code_of(streams, "GetShardIterator", **{**good, **fields}) == code, fields
    for text in ("x" * 50, "", "a|1|b", streams("GetShardIterator", **good)["ShardIterator"][:-6] + "AAAAA="):
        assert code_of(streams, "GetRecords", ShardIterator=text) == "ValidationException", text


def test_an_iterator_lives_for_15_minutes_s22(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create()
    dynamo.put(pk="p", sk="1")
    arn = streams.arn()
    iterator = streams.iterator(arn, streams.shards(arn)[0]["ShardId"])
    clock.advance(s=900)
    page = streams("GetRecords", ShardIterator=iterator)
    assert len(page["Records"]) == 1
    clock.advance(ms=1)
    assert code_of(streams, "GetRecords", ShardIterator=iterator) == "ExpiredIteratorException"
    assert streams("GetRecords", ShardIterator=page["NextShardIterator"])["Records"] == []


def test_shards_close_after_their_time_and_have_children_s21(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    shards_of_new_streams(dynamo.environment, 2, rollover_s=3_600)
    dynamo.create()
    arn = streams.arn()
    first = streams.shards(arn)
    dynamo.put(pk="p", sk="1")
    clock.advance(s=3_599)
    upkeep.run(dynamo.environment, {})
    assert streams.shards(arn) == first
    clock.advance(s=1)
    upkeep.run(dynamo.environment, {})
    upkeep.run(dynamo.environment, {})
    shards = streams.shards(arn)
    assert [shard.get("ParentShardId") for shard in shards] == [None, None, *(shard["ShardId"] for shard in first)]
    for shard in shards[:2]:
        bounds = shard["SequenceNumberRange"]
        assert int(bounds["StartingSequenceNumber"]) <= int(bounds["EndingSequenceNumber"])
        (child,) = streams.describe(arn, ShardFilter={"Type": "CHILD_SHARDS", "ShardId": shard["ShardId"]})["Shards"]
        assert child["ParentShardId"] == shard["ShardId"]
        assert int(child["SequenceNumberRange"]["StartingSequenceNumber"]) > int(bounds["EndingSequenceNumber"])
        assert "EndingSequenceNumber" not in child["SequenceNumberRange"]


def test_a_closed_shards_last_page_has_records_and_no_iterator_s20(dynamo: Dynamo, streams: Streams) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    latest = streams.iterator(arn, shard["ShardId"], "LATEST")
    for number in range(3):
        dynamo.put(pk="p", sk=str(number))
    streams("RollOverShards", StreamArn=arn)
    dynamo.put(pk="p", sk="after")
    page = streams("GetRecords", ShardIterator=latest, Limit=2)
    assert (len(page["Records"]), "NextShardIterator" in page) == (2, True)
    page = streams("GetRecords", ShardIterator=page["NextShardIterator"], Limit=2)
    assert (len(page["Records"]), "NextShardIterator" in page) == (1, False)
    ended = streams.shards(arn)[0]
    number = ended["SequenceNumberRange"]["EndingSequenceNumber"]
    for kind, at in (("LATEST", None), ("AFTER_SEQUENCE_NUMBER", number)):
        page = streams("GetRecords", ShardIterator=streams.iterator(arn, ended["ShardId"], kind, at))
        assert page == {"Records": []}
    assert [record["dynamodb"]["Keys"]["sk"]["S"] for record in streams.drain(arn)] == ["0", "1", "2", "after"]


def test_a_shard_is_split_in_two_when_asked(dynamo: Dynamo, streams: Streams) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    answer = streams("SplitShard", StreamArn=arn, ShardId=shard["ShardId"])
    children = streams.shards(arn)[1:]
    assert [child["ShardId"] for child in children] == answer["OpenShardIds"]
    assert [child["ParentShardId"] for child in children] == [shard["ShardId"]] * 2
    assert code_of(streams, "SplitShard", StreamArn=arn, ShardId=shard["ShardId"]) == "ValidationException"
    for number in range(40):
        dynamo.put(pk=str(number), sk="1")
    counts = [len(streams.read(streams.iterator(arn, child["ShardId"]))) for child in children]
    assert sum(counts) == 40
    assert all(counts)


def test_trimmed_records_are_a_loss_that_is_said_s22(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create()
    arn = streams.arn()
    (shard,) = streams.shards(arn)
    dynamo.put(pk="p", sk="old")
    (old,) = streams.drain(arn)
    clock.advance(s=10)
    dynamo.put(pk="p", sk="new")
    clock.advance(s=DAY_S - 9)
    number = old["dynamodb"]["SequenceNumber"]
    before = streams.iterator(arn, shard["ShardId"], "AT_SEQUENCE_NUMBER", number)
    from_the_oldest = streams.iterator(arn, shard["ShardId"])
    shards_of_new_streams(dynamo.environment, 1, rollover_s=0)
    assert upkeep.run(dynamo.environment, {}).trimmed == 1
    assert code_of(streams, "GetRecords", ShardIterator=before) == "TrimmedDataAccessException"
    at = {"StreamArn": arn, "ShardId": shard["ShardId"], "SequenceNumber": number}
    assert (
        code_of(streams, "GetShardIterator", **at, ShardIteratorType="AT_SEQUENCE_NUMBER")
        == "TrimmedDataAccessException"
    )
    after = streams.iterator(arn, shard["ShardId"], "AFTER_SEQUENCE_NUMBER", number)
    for iterator in (after, from_the_oldest, streams.iterator(arn, shard["ShardId"])):
        assert [record["dynamodb"]["Keys"]["sk"]["S"] for record in streams.read(iterator)] == ["new"]


def test_closed_shards_are_forgotten_with_their_records(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create()
    arn = streams.arn()
    (first,) = streams.shards(arn)
    for _ in range(12):
        dynamo.put(pk="p", sk=str(clock.now_ms))
        clock.advance(s=14_400)
        upkeep.run(dynamo.environment, {})
    shards = streams.shards(arn)
    assert first["ShardId"] not in {shard["ShardId"] for shard in shards}
    # Open for 4 h, readable for 24: six closed ones, one on the edge, the open one.
    assert 7 <= len(shards) <= 8
    assert "ParentShardId" not in shards[0]
    assert len(streams.drain(arn)) == 6


def test_a_disabled_stream_is_closed_and_readable_for_24_hours_s18(
    dynamo: Dynamo, streams: Streams, clock: Clock
) -> None:
    dynamo.create(view_type="NEW_IMAGE")
    dynamo.put(pk="p", sk="1")
    arn = streams.arn()
    latest = streams.iterator(arn, streams.shards(arn)[0]["ShardId"], "LATEST")
    set_stream(dynamo.environment, "things", None)
    dynamo.put(pk="p", sk="unseen")
    assert streams.describe(arn)["StreamStatus"] == "DISABLED"
    assert all("EndingSequenceNumber" in shard["SequenceNumberRange"] for shard in streams.shards(arn))
    assert streams("GetRecords", ShardIterator=latest) == {"Records": []}
    assert len(streams.drain(arn)) == 1
    set_stream(dynamo.environment, "things", "NEW_IMAGE")
    other = streams.arn()
    assert other != arn
    dynamo.put(pk="p", sk="2")
    assert [record["dynamodb"]["Keys"]["sk"]["S"] for record in streams.drain(other)] == ["2"]
    assert [each["StreamArn"] for each in streams("ListStreams", TableName="things")["Streams"]] == [arn, other]
    clock.advance(s=DAY_S)
    upkeep.run(dynamo.environment, {})
    assert len(streams.drain(arn)) == 1
    clock.advance(ms=1)
    upkeep.run(dynamo.environment, {})
    assert code_of(streams, "DescribeStream", StreamArn=arn) == "ResourceNotFoundException"
    assert [each["StreamArn"] for each in streams("ListStreams", TableName="things")["Streams"]] == [other]
    assert streams.describe(other)["StreamStatus"] == "ENABLED"


def test_a_deleted_tables_stream_is_readable_for_24_hours_s18(dynamo: Dynamo, streams: Streams, clock: Clock) -> None:
    dynamo.create()
    arn = streams.arn()
    clock.advance(s=10)
    dynamo.put(pk="p", sk="1")
    dynamo("DeleteTable", TableName="things")
    assert streams.describe(arn)["StreamStatus"] == "DISABLED"
    dynamo.create()
    assert streams.arn() != arn
    assert len(streams.drain(arn)) == 1
    clock.advance(s=DAY_S + 1)
    upkeep.run(dynamo.environment, {})
    assert code_of(streams, "DescribeStream", StreamArn=arn) == "ResourceNotFoundException"


def test_a_child_filter_names_a_shard_of_the_stream(dynamo: Dynamo, streams: Streams) -> None:
    dynamo.create()
    arn = streams.arn()
    for asked in ({"Type": "CHILD_SHARDS"}, {"ShardId": "x" * 30}, {"Type": "ALL", "ShardId": "x" * 30}):
        assert code_of(streams, "DescribeStream", StreamArn=arn, ShardFilter=asked) == "ValidationException"
    asked = {"Type": "CHILD_SHARDS", "ShardId": "x" * 30}
    with pytest.raises(ServiceError, match="Requested resource not found: Shard does not exist"):
        streams("DescribeStream", StreamArn=arn, ShardFilter=asked)
    assert streams.describe(arn, ExclusiveStartShardId="z" * 30)["Shards"] == []


@pytest.mark.parametrize(
    ("operation", "body", "broken"),
    [
        (
            "ListStreams",
            {"TableName": "a!", "Limit": 101, "ExclusiveStartStreamArn": "arn"},
            [
                ("'a!' at 'tableName'", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"),
                ("'a!' at 'tableName'", "Member must have length greater than or equal to 3"),
                ("'101' at 'limit'", "Member must have value less than or equal to 100"),
                ("'arn' at 'exclusiveStartStreamArn'", "Member must have length greater than or equal to 37"),
            ],
        ),
        (
            "DescribeStream",
            {"Limit": 0, "ExclusiveStartShardId": "a", "ShardFilter": {"Type": "ALL", "ShardId": "b"}},
            [
                ("null at 'streamArn'", "Member must not be null"),
                ("'0' at 'limit'", "Member must have value greater than or equal to 1"),
                ("'a' at 'exclusiveStartShardId'", "Member must have length greater than or equal to 28"),
                ("'ALL' at 'shardFilter.type'", "Member must satisfy enum value set: [CHILD_SHARDS]"),
                ("'b' at 'shardFilter.shardId'", "Member must have length greater than or equal to 28"),
            ],
        ),
        (
            "GetShardIterator",
            {"ShardId": "s" * 66, "SequenceNumber": "1"},
            [
                ("null at 'streamArn'", "Member must not be null"),
                (f"'{'s' * 66}' at 'shardId'", "Member must have length less than or equal to 65"),
                ("null at 'shardIteratorType'", "Member must not be null"),
                ("'1' at 'sequenceNumber'", "Member must have length greater than or equal to 21"),
            ],
        ),
        (
            "GetRecords",
            {"ShardIterator": "", "Limit": 1001},
            [
                ("'' at 'shardIterator'", "Member must have length greater than or equal to 1"),
                ("'1001' at 'limit'", "Member must have value less than or equal to 1000"),
            ],
        ),
    ],
)
def test_all_that_is_wrong_with_a_request_is_told(
    streams: Streams, operation: str, body: dict[str, Any], broken: list[tuple[str, str]]
) -> None:
    with pytest.raises(ServiceError) as refused:
        streams(operation, **body)
    told = "; ".join(f"Value {place} failed to satisfy constraint: {constraint}" for place, constraint in broken)
    assert refused.value.message == f"{len(broken)} validation errors detected: {told}"
