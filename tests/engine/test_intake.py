"""The intake on the real store: changes that come by Kinesis, in disorder, are taken in order and once (S26)."""

from __future__ import annotations

import json
import logging
import random
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from afterwrite import Change
from afterwrite.core import shards
from afterwrite.core.ports import ArrivalPage
from afterwrite.engine.intake import Intake
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageError
from afterwrite.local.kinesis_arrivals import KinesisArrivals
from afterwrite.local.lags import table_lag
from afterwrite.store import kinesis, kinesis_intake, tables, upkeep
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.kinesis import KinesisRecord, KinesisStream
from embedded import Clock, Dynamo

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/things-changes"
WINDOW_MS = 200
HOUR_S = 3_600


@pytest.fixture
def fed(environment: Environment, dynamo: Dynamo) -> Environment:
    """A store with a table `things` whose changes come by Kinesis."""
    dynamo.create()

    def feed(transaction: WriteTransaction) -> None:
        kinesis_intake.feed(transaction, tables.catalog(transaction)["things"], ARN, "us-east-1", retention_hours=24)

    environment.write(feed)
    return environment


def arrivals(environment: Environment) -> KinesisArrivals:
    return KinesisArrivals(environment, environment.state["catalog"]["things"])


def intake(environment: Environment, clock: Clock, source: Any = None) -> Intake:
    source = source or arrivals(environment)
    return Intake("things", source, Telemetry(), window_ms=WINDOW_MS, now_ms=lambda: clock.now_ms)


def take_all(work: Intake, clock: Clock) -> None:
    clock.advance(ms=WINDOW_MS)
    while work.run_once() is not None:
        clock.advance(ms=1)


def stream_of(transaction: Any) -> KinesisStream:
    stream = kinesis.find(transaction, "things-changes")
    assert stream is not None
    return stream


def records(environment: Environment) -> Sequence[KinesisRecord]:
    with environment.read() as transaction:
        return kinesis.read_all(transaction, stream_of(transaction), 0, limit=10_000, bytes_max=1 << 30).records


def scramble(environment: Environment, dice: random.Random) -> None:
    """Have what is in the stream arrive anew: in any order, some of it twice or three times."""
    arrived = {each.data: each for each in records(environment)}.values()
    again = [each for each in arrived for _ in range(dice.choice((1, 1, 2, 3)))]
    dice.shuffle(again)

    def operation(transaction: WriteTransaction) -> None:
        for key in [key for key, _ in transaction.scan("kinesis_records", b"")]:
            transaction.delete("kinesis_records", key)
        for each in again:
            kinesis.put(transaction, stream_of(transaction), each.partition_key, each.data)

    environment.write(operation)


def put_data(environment: Environment, data: bytes) -> None:
    environment.write(lambda transaction: kinesis.put(transaction, stream_of(transaction), "x", b64encode(data)))


def numbers(changes: Sequence[Change]) -> dict[str, list[tuple[Any, Any]]]:
    found: dict[str, list[tuple[Any, Any]]] = {}
    for each in changes:
        found.setdefault(each.keys["pk"], []).append(((each.old or {}).get("n"), (each.new or {}).get("n")))
    return found


class Counting:
    """Items that count up, several writes at one time; `made` is what happened to each."""

    def __init__(self, dynamo: Dynamo, clock: Clock, dice: random.Random) -> None:
        self.made: dict[str, list[tuple[Any, Any]]] = {}
        self._dynamo, self._clock, self._dice = dynamo, clock, dice
        self._number = 0

    def write(self, writes: int) -> None:
        for _ in range(writes):
            self._number += 1
            pk = self._dice.choice("abc")
            history = self.made.setdefault(pk, [])
            self._dynamo.put(pk=pk, sk="x", n=self._number)
            history.append((history[-1][1] if history else None, self._number))
            if self._number % 4 == 0:
                self._clock.advance(ms=3)


def test_a_write_leads_to_a_change_once_it_has_come_by_kinesis(fed: Environment, dynamo: Dynamo, clock: Clock) -> None:
    dynamo.put(pk="a", sk="x", n=1)
    assert dynamo.changes() == []
    written_us = clock.now_us
    work = intake(fed, clock)
    assert work.run_once() == pytest.approx(WINDOW_MS / 1000)
    assert dynamo.changes() == []
    take_all(work, clock)
    (change,) = dynamo.changes()
    assert (change.event_name, change.created_at_us) == ("INSERT", written_us)
    assert change.new == {"pk": "a", "sk": "x", "n": 1}


@pytest.mark.parametrize("seed", range(4))
def test_disorder_and_repetitions_are_undone(fed: Environment, dynamo: Dynamo, clock: Clock, seed: int) -> None:
    dice = random.Random(seed)
    counting = Counting(dynamo, clock, dice)
    counting.write(60)
    scramble(fed, dice)
    take_all(intake(fed, clock), clock)
    assert numbers(dynamo.changes()) == counting.made


class LosingAnswers(KinesisArrivals):
    """Every other `take` is done and not answered, or not done."""

    calls = 0

    def read(self, after: int, *, limit: int, bytes_max: int) -> ArrivalPage:
        return super().read(after, limit=7, bytes_max=bytes_max)

    def take(self, changes: Sequence[Change], before: int, after: int) -> None:
        self.calls += 1
        if self.calls % 3 == 1:
            raise StorageError("not done")
        super().take(changes, before, after)
        if self.calls % 3 == 2:
            raise StorageError("done, and the answer was lost")


def test_nothing_is_lost_or_taken_twice_where_the_store_fails_in_between(
    fed: Environment, dynamo: Dynamo, clock: Clock
) -> None:
    dice = random.Random(7)
    counting, failures = Counting(dynamo, clock, dice), 0
    source = LosingAnswers(fed, fed.state["catalog"]["things"])
    work = intake(fed, clock, source)
    for _ in range(12):
        counting.write(8)
        scramble(fed, dice)
        clock.advance(ms=WINDOW_MS)
        due: float | None = 0.0
        while due is not None:
            try:
                due = work.run_once()
            except StorageError:
                failures += 1
                if failures % 2:
                    work = intake(fed, clock, source)  # the process died
            clock.advance(ms=1)
    assert failures > 10
    assert numbers(dynamo.changes()) == counting.made
    assert source.taken_through() >= records(fed)[-1].position


def test_a_record_that_comes_again_later_is_known(fed: Environment, dynamo: Dynamo, clock: Clock) -> None:
    dynamo.put(pk="a", sk="x", n=1)
    take_all(intake(fed, clock), clock)
    (record,) = records(fed)
    clock.advance(s=HOUR_S)
    fed.write(lambda transaction: kinesis.put(transaction, stream_of(transaction), record.partition_key, record.data))
    take_all(intake(fed, clock), clock)
    assert len(dynamo.changes()) == 1


def test_order_is_kept_over_splits_and_merges(fed: Environment, dynamo: Dynamo, clock: Clock) -> None:
    # S19: a parent's records come before its children's.
    counting = Counting(dynamo, clock, random.Random(3))
    for count in (2, 5, 1, 8, 3):
        counting.write(16)

        def rescale(transaction: WriteTransaction, count: int = count) -> None:
            stream = stream_of(transaction)
            positions = iter(lambda: kinesis.next_position(transaction), -1)
            lineage = shards.rescale(
                stream.lineage, count, hash_keys=kinesis.HASH_KEYS, positions=positions, now_ms=transaction.now_ms
            )
            kinesis.save(transaction, replace(stream, lineage=lineage))

        fed.write(rescale)
        if count == 1:
            take_all(intake(fed, clock), clock)
    with fed.read() as transaction:
        assert len(stream_of(transaction).lineage) > 8
    take_all(intake(fed, clock), clock)
    assert numbers(dynamo.changes()) == counting.made


def test_what_was_not_taken_is_kept_beyond_its_retention(fed: Environment, dynamo: Dynamo, clock: Clock) -> None:
    dynamo.put(pk="a", sk="x", n=1)
    clock.advance(s=30 * HOUR_S)
    upkeep.run(fed, {"things": "things"})
    assert len(records(fed)) == 1
    table = fed.state["catalog"]["things"]
    with fed.read() as transaction:
        lag = table_lag(transaction, table, clock.now_ms)
    assert (lag.records_behind, lag.age_ms, lag.time_to_loss_ms) == (1, 30 * HOUR_S * 1000, 0)
    take_all(intake(fed, clock), clock)
    clock.advance(s=25 * HOUR_S)
    upkeep.run(fed, {"things": "things"})
    assert list(records(fed)) == []
    assert len(dynamo.changes()) == 1


def test_records_that_are_no_changes_of_the_table_are_passed(
    fed: Environment, dynamo: Dynamo, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put_data(fed, b"no JSON")
    put_data(fed, b'{"eventName": "INSERT"}')
    other = {"eventID": "1", "eventName": "INSERT", "tableName": "others", "dynamodb": {"Keys": {"id": {"S": "1"}}}}
    put_data(fed, json.dumps(other).encode())
    put_data(fed, json.dumps({**other, "tableName": "things"}).encode())
    dynamo.put(pk="a", sk="x", n=1)
    with caplog.at_level(logging.ERROR, "afterwrite"):
        take_all(intake(fed, clock), clock)
    assert numbers(dynamo.changes()) == {"a": [(None, 1)]}
    assert [each.__dict__["event"] for each in caplog.records] == ["record of a Kinesis stream is no change"] * 3


def test_a_deleted_table_stops_its_intake(fed: Environment, dynamo: Dynamo, clock: Clock) -> None:
    dynamo.put(pk="a", sk="x", n=1)
    work = intake(fed, clock)
    work.run_once()
    dynamo("DeleteTable", TableName="things")
    clock.advance(ms=WINDOW_MS)
    with pytest.raises(StorageError, match="was deleted"):
        work.run_once()
    assert work.run_once() is None


def test_a_stream_that_was_there_before_is_taken_from_its_end(
    environment: Environment, dynamo: Dynamo, clock: Clock
) -> None:
    dynamo.create()
    environment.write(lambda transaction: kinesis.create(transaction, "things-changes", 2, mode="PROVISIONED", tags={}))
    dynamo("EnableKinesisStreamingDestination", TableName="things", StreamArn=ARN)
    dynamo.put(pk="a", sk="x", n=1)
    environment.write(
        lambda transaction: kinesis_intake.feed(
            transaction, tables.catalog(transaction)["things"], ARN, "us-east-1", retention_hours=24
        )
    )
    dynamo.put(pk="a", sk="x", n=2)
    take_all(intake(environment, clock), clock)
    assert numbers(dynamo.changes()) == {"a": [(None, 1), (1, 2)]}
