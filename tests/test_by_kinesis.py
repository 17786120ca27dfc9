"""An app whose changes come by Kinesis, on a real engine: from one stream to the other and back, and crashes."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from afterwrite import App, Engine, open_data, open_engine
from afterwrite.app import StreamKind, Table
from afterwrite.errors import DeclarationError
from afterwrite.testing import At, Crash, Duplicate, EngineProcess, FaultyEngine, Reorder
from bounds import BOUND_S
from server.clients import dynamodb_client

STREAM = "things-changes"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def counting(stream: StreamKind, **table: Any) -> tuple[App, Table, dict[str, list[int]]]:
    """An app that hands each item's number on."""
    app, had = App("counting"), dict[str, list[int]]()
    things = app.table("things", partition_key="pk", stream=stream, **table)
    out = app.queue("out")

    @things.on()
    def hand_on(change: Any) -> Any:
        return out.send({"pk": change.keys["pk"], "n": change.new["n"]})

    @out.consumer()
    def take(message: Any, _context: Any) -> None:
        had.setdefault(message.body["pk"], []).append(message.body["n"])

    return app, things, had


def count(engine: Engine, things: Table, numbers: range) -> None:
    for number in numbers:
        engine.table(things).put({"pk": "ab"[number % 2], "n": Decimal(number)})


def test_from_one_stream_to_the_other_and_back(tmp_path: Path) -> None:
    had: dict[str, list[int]] = {}
    kinds: tuple[StreamKind, ...] = ("dynamodb", "kinesis", "kinesis", "dynamodb", "kinesis")
    for number, kind in enumerate(kinds):
        app, things, taken = counting(kind)
        with open_engine(tmp_path / "data", app) as engine:
            # Stopped at once: what is under way is had at the next start, whichever stream that has.
            count(engine, things, range(10 * number, 10 * number + 10))
            if number == len(kinds) - 1:
                wait_until(engine.reader().idle)
        for pk, each in taken.items():
            had.setdefault(pk, []).extend(each)
    assert had == {"a": list(range(0, 50, 2)), "b": list(range(1, 50, 2))}


@pytest.mark.parametrize("then", ["kinesis", "dynamodb"])
def test_what_is_under_way_comes_first_also_when_the_clock_is_set_back(
    tmp_path: Path, then: StreamKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        an_hour_ahead = time.time_ns() + 3_600 * 10**9
        patched.setattr(time, "time_ns", lambda: an_hour_ahead)
        app, things, _ = counting("kinesis")
        with open_engine(tmp_path / "data", app) as engine:
            count(engine, things, range(10))
    app, things, had = counting(then)
    with open_engine(tmp_path / "data", app) as engine:
        count(engine, things, range(10, 20))
        wait_until(lambda: sum(map(len, had.values())) == 20)
    assert had == {"a": list(range(0, 20, 2)), "b": list(range(1, 20, 2))}


def test_idle_is_not_before_what_is_in_the_stream_was_had(tmp_path: Path) -> None:
    app, things, had = counting("kinesis")
    with open_engine(tmp_path / "data", app) as engine:
        reader = engine.reader()
        count(engine, things, range(1))
        (consumer,) = reader.status().consumers
        assert (consumer.lag_records, reader.idle()) == (1, False)
        wait_until(reader.idle)
        assert had == {"a": [0]}
        (consumer,) = reader.status().consumers
        assert (consumer.lag_records, consumer.iterator_age_ms) == (0, 0)


def test_the_stream_is_served_and_cannot_be_deleted(tmp_path: Path) -> None:
    app, things, _ = counting("kinesis", retention_hours=72)
    with open_engine(tmp_path / "data", app) as engine:
        session = engine.boto3_session()
        kinesis, dynamodb = session.client("kinesis"), session.client("dynamodb")
        summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
        assert (summary["RetentionPeriodHours"], summary["StreamModeDetails"]["StreamMode"]) == (72, "ON_DEMAND")
        (destination,) = dynamodb.describe_kinesis_streaming_destination(TableName=things.name)[
            "KinesisDataStreamDestinations"
        ]
        assert destination["DestinationStatus"] == "ACTIVE"
        assert destination["ApproximateCreationDateTimePrecision"] == "MICROSECOND"
        with pytest.raises(ClientError, match="declare the table without stream='kinesis' first"):
            kinesis.delete_stream(StreamName=STREAM)
        with pytest.raises(ClientError, match="declare the table without stream='kinesis' first"):
            dynamodb.disable_kinesis_streaming_destination(TableName=things.name, StreamArn=destination["StreamArn"])
    app, things, _ = counting("dynamodb")
    with open_engine(tmp_path / "data", app) as engine:
        engine.boto3_session().client("kinesis").delete_stream(StreamName=STREAM)


def test_the_stream_of_changes_can_be_declared_and_have_functions(tmp_path: Path) -> None:
    app, things, had = counting("kinesis")
    seen: list[str] = []

    def look(event: Any, _context: Any) -> None:
        seen.extend(record["kinesis"]["sequenceNumber"] for record in event["Records"])

    stream = app.kinesis_stream(STREAM, shard_count=2, retention_hours=48)
    stream.event_source_mapping(look, StartingPosition="TRIM_HORIZON")
    with open_engine(tmp_path / "data", app) as engine:
        count(engine, things, range(10))
        reader = engine.reader()
        wait_until(reader.idle)
        kinesis = engine.boto3_session().client("kinesis")
        summary = kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]
        assert (summary["RetentionPeriodHours"], summary["OpenShardCount"]) == (48, 2)
    assert sum(map(len, had.values())) == len(set(seen)) == 10


def test_a_destination_of_one_s_own_is_in_the_way(tmp_path: Path) -> None:
    app, things, _ = counting("dynamodb")
    with open_engine(tmp_path / "data", app) as engine:
        session = engine.boto3_session()
        kinesis = session.client("kinesis")
        kinesis.create_stream(StreamName="own", ShardCount=1)
        arn = kinesis.describe_stream_summary(StreamName="own")["StreamDescriptionSummary"]["StreamARN"]
        session.client("dynamodb").enable_kinesis_streaming_destination(TableName=things.name, StreamArn=arn)
    app, things, _ = counting("kinesis")
    with pytest.raises(DeclarationError, match="disable that Kinesis destination first"):
        open_engine(tmp_path / "data", app)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"stream": "firehose"}, "expected a stream of dynamodb, kinesis for things, got 'firehose'"),
        ({"stream": "kinesis", "view_type": "KEYS_ONLY"}, "carry both images"),
        ({"stream": "kinesis", "name": "t" * 121}, "at most 120 characters"),
    ],
)
def test_what_cannot_be_declared(table: dict[str, Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        App("shop").table(table.pop("name", "things"), partition_key="pk", **table)


def test_what_arrives_twice_and_in_disorder_by_named_faults_is_had_once(tmp_path: Path) -> None:
    app, things, had = counting("kinesis")
    rules = [
        At("arrivals:things", Duplicate(), times=None, chance=0.5),
        At("arrivals:things", Reorder(), times=None, chance=0.8),
    ]
    with FaultyEngine(tmp_path / "data", app, rules) as engine:
        for number in range(10):
            count(engine, things, range(10 * number, 10 * number + 10))
            wait_until(lambda number=number: sum(map(len, had.values())) > 5 * number)  # type: ignore[misc]
        wait_until(engine.reader().idle)
        assert {type(each.fault) for each in engine.happened} == {Duplicate, Reorder}
    assert had == {"a": list(range(0, 100, 2)), "b": list(range(1, 100, 2))}


APP = """
from afterwrite import App

app = App("counting")
things = app.table("things", partition_key="pk", stream="kinesis")
facts = app.audit_log("facts")


@things.on()
def keep(change):
    return facts.append(pk=change.keys["pk"], n=change.new["n"])
"""


def test_a_killed_engine_has_each_change_once_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    numbers = range(30)
    rules = [At("commit", Crash("after"), nth=9), At("commit", Crash("before"), nth=14)]
    with EngineProcess(tmp_path / "app.py", tmp_path / "data", rules) as engine:
        client = dynamodb_client(engine.url)

        def put(number: int) -> bool:
            item = {"pk": {"S": "ab"[number % 2]}, "n": {"N": str(number)}}
            try:
                client.put_item(TableName="things", Item=item)  # the same once more is no change (S18)
            except BotoCoreError:
                return False
            return True

        for number in numbers:
            engine.check()
            wait_until(lambda number=number: put(number))  # type: ignore[misc]
        with open_data(tmp_path / "data") as data:
            wait_until(data.idle)
            entries = [(each["entry"]["pk"], int(each["entry"]["n"])) for each in data.audit_entries("facts")]
        engine.stop()
        assert engine.happened["Crash"] == len(rules)
    assert [n for pk, n in entries if pk == "a"] == list(numbers[::2])
    assert [n for pk, n in entries if pk == "b"] == list(numbers[1::2])
