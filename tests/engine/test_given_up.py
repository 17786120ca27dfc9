"""What a mapping gave up on is told and counted, and runs again when an operator asks, while the stream keeps it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import afterwrite
from afterwrite import App
from afterwrite.cli.status import concerns
from afterwrite.core.event_source_mapping.given_up import GivenUp
from afterwrite.core.parked import EVERYTHING, ParkedEntry
from afterwrite.local.mapping_ledger import EmbeddedGivenUp
from afterwrite.store import given_up, parked, upkeep
from afterwrite.wiring.engine import Engine
from bounds import BOUND_S
from engine_process import wait_until
from mapped import Mapped


class Function:
    """A Lambda function that fails on the keys it is told to, and keeps those of each batch that it handled."""

    def __init__(self, *failing: str) -> None:
        self.failing = set(failing)
        self.handled: list[list[str]] = []
        self.reports = False
        self.name = "router"

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        keys = [_key(record) for record in event["Records"]]
        failed = [index for index, key in enumerate(keys) if key in self.failing]
        if failed and not self.reports:
            raise ValueError(f"no {keys[failed[0]]}")
        self.handled.append([key for key in keys if key not in self.failing])
        numbers = [record["dynamodb"]["SequenceNumber"] for record in event["Records"]]
        return {"batchItemFailures": [{"itemIdentifier": numbers[index]} for index in failed]}


def _key(record: dict[str, Any]) -> str:
    return str(record["dynamodb"]["Keys"]["pk"]["S"] if "dynamodb" in record else record["kinesis"]["partitionKey"])


@contextmanager
def running(path: Path, function: Function, **parameters: Any) -> Iterator[Engine]:
    app = App("shop")
    things = app.table("things", partition_key="pk", sort_key="sk")
    failed = app.queue("failed")
    destination = {"OnFailure": {"Destination": failed}}
    parameters = {"MaximumRetryAttempts": 0, "BatchSize": 1, "DestinationConfig": destination, **parameters}
    things.event_source_mapping(function, **parameters)
    with afterwrite.open_engine(path / "data", app) as engine:
        yield engine


def entries(engine: Engine) -> list[ParkedEntry]:
    return list(engine.parked().entries())


def put(engine: Engine, *keys: str) -> None:
    for key in keys:
        engine.table("things").put({"pk": key, "sk": "1"})


def redrive(engine: Engine) -> None:
    portion = engine.parked().redrive(limit=100)
    while portion.next is not None:
        portion = engine.parked().redrive(after=portion.next, limit=100)


def test_what_a_function_was_not_able_to_handle_needs_an_operator_and_runs_again_in_order(tmp_path: Path) -> None:
    function = Function("b", "d")
    with running(tmp_path, function) as engine:
        put(engine, "a", "b", "c", "d", "e")
        wait_until(engine.reader().idle)
        (told,) = engine.reader().status().given_up
        assert (told.function, told.source, told.batches, told.records, told.lost) == ("router", "things", 2, 2, 0)
        (concern,) = concerns(engine.reader().status(), {})
        assert concern.why == "2 records of things that the function router was not able to handle"
        first, _ = entries(engine)
        assert (first.kind, first.held_in, first.condition) == ("records", "things", "RetryAttemptsExhausted")
        assert first.failure is not None and first.failure.reason.startswith("ValueError: no b")
        assert first.payload["failure_message"] == next(engine.reader().messages("failed")).body
        function.failing.clear()
        redrive(engine)
        wait_until(lambda: not entries(engine))
        assert function.handled == [["a"], ["c"], ["e"], ["b"], ["d"]]
        assert concerns(engine.reader().status(), {}) == []


def test_what_fails_again_stays_and_what_is_dropped_is_gone(tmp_path: Path) -> None:
    function = Function("a")
    with running(tmp_path, function) as engine:
        put(engine, "a")
        wait_until(lambda: len(entries(engine)) == 1)
        redrive(engine)
        wait_until(lambda: entries(engine)[0].attempts == 2)
        engine.parked().drop(EVERYTHING, limit=10)
        assert entries(engine) == []
        assert function.handled == []


def test_a_request_to_a_stopped_engine_is_carried_out_at_its_next_start(tmp_path: Path) -> None:
    function = Function("a")
    with running(tmp_path, function) as engine:
        put(engine, "a")
        wait_until(lambda: len(entries(engine)) == 1)
    app = App("shop")
    app.table("things", partition_key="pk", sort_key="sk")
    with afterwrite.open_engine(tmp_path / "data", app) as engine:
        (told,) = engine.reader().status().given_up
        assert told.records == 1
        redrive(engine)
    function.failing.clear()
    with running(tmp_path, function) as engine:
        wait_until(lambda: function.handled == [["a"]])
        wait_until(lambda: not entries(engine))


def test_each_lane_s_records_run_again_without_those_of_the_others(tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(16)]
    function = Function(*keys)
    filters = {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}
    with running(tmp_path, function, ParallelizationFactor=3, BatchSize=5, FilterCriteria=filters) as engine:
        put(engine, *keys)
        engine.table("things").put({"pk": "k1", "sk": "1", "n": 1})
        wait_until(lambda: sum(each.payload["records"] for each in entries(engine)) == len(keys))
        function.failing.clear()
        redrive(engine)
        wait_until(lambda: not entries(engine))
        assert sorted(key for batch in function.handled for key in batch) == sorted(keys)


def test_records_of_a_kinesis_stream_run_again(tmp_path: Path) -> None:
    function = Function("a")
    handled: list[str] = []

    def handler(event: dict[str, Any], context: Any) -> None:
        if function.failing:
            raise ValueError("no")
        handled.extend(_key(record) for record in event["Records"])

    app = App("shop")
    clicks = app.kinesis_stream("clicks", shard_count=2)
    clicks.event_source_mapping(
        handler, FunctionName="clicked", MaximumRetryAttempts=0, StartingPosition="TRIM_HORIZON"
    )
    with afterwrite.open_engine(tmp_path / "data", app) as engine:
        client = engine.boto3_session().client("kinesis")
        for key in ("a", "b", "c", "d"):
            client.put_record(StreamName="clicks", PartitionKey=key, Data=b"{}")
        wait_until(lambda: sum(each.payload["records"] for each in entries(engine)) == 4)
        function.failing.clear()
        redrive(engine)
        wait_until(lambda: not entries(engine))
    assert sorted(handled) == ["a", "b", "c", "d"]


class Stepped:
    """A mapping on a table whose clock stands still, and what it gave up on."""

    def __init__(self, path: Path, function: Any, **parameters: Any) -> None:
        app = App("shop")
        self.things = app.table("things", partition_key="pk", sort_key="sk")
        self.things.event_source_mapping(function, MaximumRetryAttempts=0, **parameters)
        self.mapped = Mapped(app, path)
        (self.mapping,) = self.things.event_source_mappings

    def put(self, *keys: str) -> None:
        for key in keys:
            self.mapped.dynamo.services.table("things").put({"pk": key, "sk": "1"})

    def entries(self) -> list[ParkedEntry]:
        with self.mapped.environment.read() as transaction:
            return list(parked.entries(transaction, EVERYTHING))

    def redrive(self) -> None:
        self.mapped.environment.write(lambda transaction: parked.redrive(transaction, EVERYTHING, after="", limit=100))
        work = self.mapped.given_up_work(self.things)
        batches = EmbeddedGivenUp(self.mapped.environment, self.mapping.uuid)
        wait_until(lambda: work.run_once() is None and batches.next_asked() is None)


Stepping: TypeAlias = Callable[..., Stepped]


@pytest.fixture
def stepping(tmp_path: Path) -> Iterator[Stepping]:
    with ExitStack() as closing:

        def made(function: Any, **parameters: Any) -> Stepped:
            stepped = Stepped(tmp_path, function, **parameters)
            closing.callback(stepped.mapped.environment.close)
            return stepped

        yield made


def test_of_a_batch_that_fails_in_part_what_is_left_stays(stepping: Stepping) -> None:
    function = Function("b", "d")
    function.reports = True
    stepped = stepping(function, BatchSize=4, FunctionResponseTypes=["ReportBatchItemFailures"])
    stepped.put("a", "b", "c", "d")
    stepped.mapped.deliver(stepped.mapped.work(stepped.things))
    assert [each.payload["records"] for each in stepped.entries()] == [3]
    function.failing.remove("b")
    stepped.redrive()
    assert [each.payload["records"] for each in stepped.entries()] == [1]
    assert function.handled[-1] == ["b", "c"]
    function.failing.clear()
    stepped.redrive()
    assert stepped.entries() == []
    assert function.handled[-1] == ["d"]


def test_what_is_malformed_in_the_response_to_records_that_run_again_is_told(stepping: Stepping) -> None:
    answers: list[Any] = [{"batchItemFailures": [{"itemIdentifier": ""}]}, "fine"]
    stepped = stepping(
        lambda event, context: answers.pop(0), FunctionName="router", FunctionResponseTypes=["ReportBatchItemFailures"]
    )
    stepped.put("a")
    stepped.mapped.deliver(stepped.mapped.work(stepped.things))
    stepped.redrive()
    ((failed, attempts),) = [(each.failure, each.attempts) for each in stepped.entries()]
    assert failed is not None
    said = "expected of the function's response an object, got 'fine': the whole batch has failed"
    assert (failed.reason, attempts) == (said, 2)


def test_the_first_that_is_asked_for_is_found_without_a_look_at_those_that_are_not(
    stepping: Stepping, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepped = stepping(Function("a", "b", "c"), BatchSize=1)
    stepped.put("a", "b", "c")
    stepped.mapped.deliver(stepped.mapped.work(stepped.things))
    last = stepped.entries()[-1]
    read: list[str] = []
    from_json = GivenUp.from_json
    with stepped.mapped.environment.read() as transaction:
        *_, kept = given_up.batches(transaction, stepped.mapping.uuid)
    stepped.mapped.environment.write(lambda transaction: given_up.ask(transaction, kept.uuid, kept.key))

    def counted(form: Any) -> GivenUp:
        read.append(form)
        return from_json(form)

    monkeypatch.setattr(GivenUp, "from_json", staticmethod(counted))
    with stepped.mapped.environment.read() as transaction:
        asked = given_up.first_asked(transaction, stepped.mapping.uuid)
    assert asked is not None and asked.batch.message == last.payload["failure_message"]
    assert len(read) == 1


def test_what_the_stream_keeps_no_longer_is_said_to_be_lost(stepping: Stepping) -> None:
    function = Function("a", "b")
    stepped = stepping(function)
    mapped = stepped.mapped
    stepped.put("a")
    mapped.clock.advance(ms=3_600_000)
    stepped.put("b")
    mapped.deliver(mapped.work(stepped.things))
    assert [each.payload["records"] for each in stepped.entries()] == [2]
    mapped.clock.advance(ms=86_400_000 - 1_800_000)
    upkeep.run(mapped.environment, {})
    function.failing.clear()
    stepped.redrive()
    assert function.handled == [["b"]]
    (left,) = stepped.entries()
    assert left.condition == "past its retention"
    assert (left.payload["records"], left.payload["past_retention"]) == (0, 1)
    stepped.redrive()
    assert [each.condition for each in stepped.entries()] == ["past its retention"]
    assert function.handled == [["b"]]


def test_records_of_shards_that_are_finished_run_again(stepping: Stepping) -> None:
    function = Function("a")
    stepped = stepping(function)
    mapped = stepped.mapped
    stepped.put("a")
    work = mapped.work(stepped.things)
    mapped.deliver(work)
    mapped.roll_over(stepped.things)
    stepped.put("b")
    mapped.deliver(work)
    function.failing.clear()
    stepped.redrive()
    assert stepped.entries() == []
    assert function.handled == [["b"], ["a"]]


@pytest.mark.parametrize(
    ("parameters", "then", "reason"),
    [
        ({"TumblingWindowInSeconds": 60}, {"TumblingWindowInSeconds": 60}, "tumbling window"),
        ({}, {"ParallelizationFactor": 2}, "ParallelizationFactor was 1"),
    ],
)
def test_what_cannot_run_again_says_why(
    parameters: dict[str, Any], then: dict[str, Any], reason: str, stepping: Stepping
) -> None:
    function = Function("a")
    stepped = stepping(function, **parameters)
    stepped.put("a")
    stepped.mapped.deliver(stepped.mapped.work(stepped.things), until=lambda: bool(stepped.entries()))
    stepped.things.event_source_mappings.clear()
    stepped.things.event_source_mapping(function, MaximumRetryAttempts=0, **then)
    function.failing.clear()
    stepped.redrive()
    (left,) = stepped.entries()
    assert left.failure is not None and reason in left.failure.reason
    assert function.handled == []


def test_a_batch_that_ends_the_process_does_not_run_at_the_next_start(stepping: Stepping) -> None:
    """That it has begun is kept before it runs: nothing asks for it any more, and its attempt is counted."""
    leave = threading.Event()
    function = Function("a")

    def handler(event: dict[str, Any], context: Any) -> Any:
        if function.failing:
            return function(event, context)
        leave.wait(BOUND_S)
        return None

    stepped = stepping(handler)
    stepped.put("a")
    stepped.mapped.deliver(stepped.mapped.work(stepped.things))
    function.failing.clear()
    environment = stepped.mapped.environment
    environment.write(lambda transaction: parked.redrive(transaction, EVERYTHING, after="", limit=100))
    stepped.mapped.given_up_work(stepped.things).run_once()
    with environment.read() as transaction:
        assert given_up.first_asked(transaction, stepped.mapping.uuid) is None
    assert [each.attempts for each in stepped.entries()] == [2]
    leave.set()
