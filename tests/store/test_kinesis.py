"""Kinesis streams in the store: retention, deletion, times, and table changes that become records exactly once."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterwrite.core.values import encode_item
from afterwrite.store import kinesis, kinesis_destinations, upkeep
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.kinesis import KinesisRecord, KinesisStream
from afterwrite.store.kinesis_destinations import Destination
from bounds import BOUND_S
from embedded import Clock, Dynamo, open_store

HOUR_S = 3_600


def create(environment: Environment, name: str = "events", shards: int = 1) -> KinesisStream:
    return environment.write(lambda transaction: kinesis.create(transaction, name, shards, mode="PROVISIONED", tags={}))


def put(environment: Environment, data: str, name: str = "events") -> int:
    def operation(transaction: WriteTransaction) -> int:
        stream = kinesis.find(transaction, name)
        assert stream is not None
        return kinesis.put(transaction, stream, "key", data.encode())[1]

    return environment.write(operation)


def records(environment: Environment, name: str = "events") -> list[KinesisRecord]:
    with environment.read() as transaction:
        stream = kinesis.find(transaction, name)
        assert stream is not None
        return [
            record
            for shard in stream.lineage
            for record in kinesis.read(transaction, stream, shard, 0, limit=10_000, bytes_max=1 << 30).records
        ]


def counted(environment: Environment) -> int:
    with environment.read() as transaction:
        return sum(1 for _ in transaction.scan("kinesis_records", b""))


def test_records_go_after_their_retention(environment: Environment, clock: Clock) -> None:
    create(environment)
    put(environment, "one")
    clock.advance(s=HOUR_S)
    put(environment, "two")
    upkeep.run(environment, {})
    clock.advance(s=23 * HOUR_S)
    upkeep.run(environment, {})
    assert len(records(environment)) == 2
    clock.advance(ms=1)
    upkeep.run(environment, {})
    assert [record.data for record in records(environment)] == [b"two"]


@pytest.mark.parametrize("ahead_s", [3 * HOUR_S, 87_600 * HOUR_S])
def test_records_of_a_clock_that_was_ahead_go_with_the_first_one_that_came_after(
    tmp_path: Path, clock: Clock, ahead_s: int
) -> None:
    clock.advance(s=ahead_s)
    environment = open_store(tmp_path, clock)
    create(environment)
    for _ in range(30):
        put(environment, "ahead")
    upkeep.run(environment, {})
    environment.close()
    clock.advance(s=-ahead_s)
    environment = open_store(tmp_path, clock)
    put(environment, "after")
    upkeep.run(environment, {})
    clock.advance(s=24 * HOUR_S)
    put(environment, "last")
    upkeep.run(environment, {})
    assert len(records(environment)) == 32
    clock.advance(s=min(ahead_s + 1, 24 * HOUR_S))
    upkeep.run(environment, {})
    assert [record.data for record in records(environment)] == [b"last"]
    environment.close()


def test_a_longer_retention_keeps_records_longer_and_a_shorter_one_less(environment: Environment, clock: Clock) -> None:
    stream = create(environment)
    put(environment, "one")
    stream = environment.write(lambda transaction: kinesis.keep_for(transaction, stream, 48))
    clock.advance(s=47 * HOUR_S)
    upkeep.run(environment, {})
    assert len(records(environment)) == 1
    environment.write(lambda transaction: kinesis.keep_for(transaction, stream, 24))
    upkeep.run(environment, {})
    assert records(environment) == []


def test_a_deleted_streams_records_go_in_bounded_rounds(environment: Environment) -> None:
    stream = create(environment)

    def fill(transaction: WriteTransaction) -> None:
        for number in range(4_500):
            kinesis.put(transaction, stream, str(number), b"")

    environment.write(fill)
    environment.write(lambda transaction: kinesis.delete(transaction, stream))
    create(environment)
    put(environment, "new")
    rounds = 0
    while upkeep.run(environment, {}).more:
        rounds += 1
        assert rounds < 10
    assert rounds >= 2
    assert counted(environment) == 1
    assert [record.data for record in records(environment)] == [b"new"]


def test_a_stream_that_has_not_changed_is_not_parsed_again(environment: Environment) -> None:
    create(environment, shards=2)
    with environment.read() as transaction:
        stream = kinesis.find(transaction, "events")
        assert stream is not None
        assert kinesis.find(transaction, "events") is stream


def test_the_cache_follows_what_commits_only(environment: Environment) -> None:
    """An operation that fails after it has written leaves no stream behind, not even in memory."""

    def failing(transaction: WriteTransaction) -> None:
        kinesis.create(transaction, "events", 1, mode="PROVISIONED", tags={})
        raise ValueError("after the write")

    outcomes: list[Any] = []
    done = threading.Event()

    def on_found(found: KinesisStream | None, error: BaseException | None) -> None:
        outcomes.append(found)
        done.set()

    environment.submit(failing, lambda result, error: outcomes.append(error))
    environment.submit(lambda transaction: kinesis.find(transaction, "events"), on_found)
    assert done.wait(BOUND_S)
    assert isinstance(outcomes[0], ValueError)
    assert outcomes[1] is None
    assert create(environment).name == "events"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.integers(0, 3), min_size=1, max_size=25), at=st.integers(-2, 60))
def test_at_a_time_begins_with_the_first_record_that_is_not_older(
    environment: Environment, clock: Clock, steps: list[int], at: int
) -> None:
    name = f"stream-{clock.now_us}"
    clock.advance(s=1)
    stream = create(environment, name)
    start_us = clock.now_us
    for step in steps:
        clock.now_us += step
        put(environment, "", name)
    arrivals = [record.arrived_at_us - start_us for record in records(environment, name)]
    with environment.read() as transaction:
        after = kinesis.position_before(transaction, stream, stream.lineage[0], start_us + at)
        page = kinesis.read(transaction, stream, stream.lineage[0], after, limit=100, bytes_max=1 << 30)
    assert [record.arrived_at_us - start_us for record in page.records] == [each for each in arrivals if each >= at]


def test_each_change_is_one_record_whatever_shares_its_commit(dynamo: Dynamo, environment: Environment) -> None:
    """A commit that is run again, because another request spoiled it, writes each record once (S26)."""
    dynamo.create(view_type=None)
    create(environment)
    destination = Destination("arn:aws:kinesis:us-east-1:000000000000:stream/events", "us-east-1")
    environment.write(lambda transaction: kinesis_destinations.keep(transaction, "things", destination))

    def spoil(transaction: WriteTransaction) -> None:
        transaction.put("meta", b"spoiled", b"")
        raise ValueError("after the write")

    waiting = threading.Barrier(3)

    def write(first: int) -> None:
        waiting.wait(BOUND_S)
        for number in range(first, first + 20):
            environment.submit(spoil, lambda result, error: None)
            dynamo("PutItem", TableName="things", Item=encode_item({"pk": "p", "sk": str(number)}))

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 20, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    data = [json.loads(base64.b64decode(record.data)) for record in records(environment)]
    assert sorted(int(each["dynamodb"]["Keys"]["sk"]["S"]) for each in data) == list(range(60))
    assert len({each["eventID"] for each in data}) == 60


def test_ttl_deletes_name_the_service_s25(dynamo: Dynamo, environment: Environment, clock: Clock) -> None:
    dynamo.create(view_type="KEYS_ONLY")
    create(environment)
    destination = Destination("arn:aws:kinesis:us-east-1:000000000000:stream/events", "us-east-1")
    environment.write(lambda transaction: kinesis_destinations.keep(transaction, "things", destination))
    dynamo("UpdateTimeToLive", TableName="things", TimeToLiveSpecification={"AttributeName": "ttl", "Enabled": True})
    dynamo.put(pk="p", sk="1", ttl=clock.now_ms // 1000)
    clock.advance(s=1)
    upkeep.run(environment, {})
    inserted, removed = (json.loads(base64.b64decode(record.data)) for record in records(environment))
    assert inserted["userIdentity"] is None
    assert removed["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    # The stream's view type is not the destination's.
    assert "OldImage" in removed["dynamodb"]
    assert [change.new for change in dynamo.changes()] == [None, None]
