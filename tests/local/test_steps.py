"""Steps: what a batch of changes leads to, in one transaction with the position; failing lanes parked whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Change
from afterwrite.app import Table
from afterwrite.core.effects import Deliver, Enqueue
from afterwrite.core.ports import Step
from afterwrite.local.file_buffers import lake_buffer
from afterwrite.local.steps import EmbeddedSteps
from afterwrite.store import archive, buffers, ledger, queues
from afterwrite.store.environment import Environment
from afterwrite.store.ledger import Parked
from embedded import Clock, Parts, open_store


class Shop:
    """An app whose route does as the item says."""

    def __init__(self) -> None:
        self.app = App("shop")
        self.things: Table = self.app.table("things", partition_key="pk", sort_key="sk")
        self.out = self.app.queue("out")
        self.bus = self.app.bus("events", archive_days=1)
        self.facts = self.app.delivery_stream("facts")
        self.routed: list[str] = []
        self.mended: set[str] = set()

        @self.things.on()
        def route(change: Change) -> Any:
            item = change.new or {}
            self.routed.append(f"{change.keys['pk']}{change.keys['sk']}")
            match None if change.keys["sk"] in self.mended else item.get("do"):
                case "raise":
                    raise ValueError("as told")
                case "exit":
                    raise SystemExit(1)
                case "unknown":
                    return Enqueue("nowhere", 1)
                case "no-json":
                    return [self.out.send("first"), self.out.send(object())]
                case "no-utf8":
                    raise ValueError("half \ud800 pair")
                case "nothing":
                    return None
            name = change.keys["sk"]
            return [self.out.send(name), self.bus.put("Written", sk=name), self.facts.put(sk=name)]


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def parts(shop: Shop, environment: Environment) -> Iterator[Parts]:
    yield Parts(shop.app, environment)


def parked(parts: Parts) -> list[Parked]:
    with parts.environment.read() as transaction:
        return list(ledger.parked(transaction, "things"))


def position(parts: Parts) -> int:
    with parts.environment.read() as transaction:
        return ledger.position(transaction, "things")


def effects(parts: Parts) -> tuple[list[Any], list[Any], list[str]]:
    """What the three services hold: bodies in the queue, archived events, buffered records' ids."""
    with parts.environment.read() as transaction:
        events = [event["detail"]["sk"] for _, event, _ in archive.read(transaction, "events")]
        records = [each.text.decode() for each in buffers.read(transaction, lake_buffer("facts"))]
    return parts.queue("out"), events, records


def test_a_step_is_its_effects_and_its_position_together(shop: Shop, parts: Parts) -> None:
    for sk in ("1", "2", "3"):
        parts.dynamo.put(pk="p", sk=sk)
    pipeline = parts.pipeline(shop.things)
    assert pipeline.run_once() == 0.0
    assert pipeline.run_once() is None
    assert effects(parts) == (["1", "2", "3"], ["1", "2", "3"], ['{"sk":"1"}', '{"sk":"2"}', '{"sk":"3"}'])
    assert position(parts) == 3
    assert parts.messages("out")[0].lane == "things/p"


def test_a_pipeline_goes_on_where_the_last_one_was(shop: Shop, parts: Parts) -> None:
    parts.dynamo.put(pk="p", sk="1")
    parts.run(shop.things)
    parts.dynamo.put(pk="p", sk="2")
    parts.run(shop.things)
    assert shop.routed == ["p1", "p2"]
    assert parts.queue("out") == ["1", "2"]


class Crash(BaseException):
    """The process died here."""


class Crashing:
    """A sink that dies before or after the commit, once."""

    def __init__(self, steps: EmbeddedSteps, *, after_commit: bool) -> None:
        self._steps = steps
        self._after_commit = after_commit
        self._crashed = False
        self.place, self.position = steps.place, steps.position
        self.parked_lanes, self.parked = steps.parked_lanes, steps.parked

    def commit(self, step: Step, meanwhile: Callable[[], None] | None = None) -> None:
        if self._crashed:
            return self._steps.commit(step, meanwhile)
        self._crashed = True
        if self._after_commit:
            self._steps.commit(step, meanwhile)
        raise Crash


@pytest.mark.parametrize("after_commit", [False, True], ids=["before-the-commit", "after-the-commit"])
@pytest.mark.parametrize("restart", [False, True], ids=["goes-on", "starts-again"])
def test_effects_happen_once_through_a_crash(shop: Shop, parts: Parts, after_commit: bool, restart: bool) -> None:
    for sk in ("1", "2"):
        parts.dynamo.put(pk="p", sk=sk)
    sink = Crashing(parts.steps, after_commit=after_commit)
    pipeline = parts.pipeline(shop.things, sink=sink)
    with pytest.raises(Crash):
        pipeline.run_once()
    if restart:
        pipeline = parts.pipeline(shop.things, sink=sink)
    while pipeline.run_once() is not None:
        pass
    assert effects(parts) == (["1", "2"], ["1", "2"], ['{"sk":"1"}', '{"sk":"2"}'])
    assert position(parts) == 2


def test_two_pipelines_of_one_consumer_do_nothing_twice(shop: Shop, parts: Parts) -> None:
    parts.dynamo.put(pk="p", sk="1")
    first, second = parts.pipeline(shop.things), parts.pipeline(shop.things)
    parts_before = parts.pipeline(shop.things)
    for pipeline in (first, second, parts_before):
        pipeline.run_once()
    assert parts.queue("out") == ["1"]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("raise", "RouteFailed: route route: ValueError: as told"),
        ("exit", "RouteFailed: route route: SystemExit: 1"),
        ("unknown", "DeclarationError: expected a queue that this app declares, got 'nowhere'"),
        ("no-json", "expected JSON values"),
        ("no-utf8", "half \\ud800 pair"),
    ],
)
def test_a_change_that_fails_parks_its_lane_whole_and_the_others_go_on(
    shop: Shop, parts: Parts, what: str, error: str
) -> None:
    parts.dynamo.put(pk="a", sk="1")
    parts.dynamo.put(pk="a", sk="2", do=what)
    parts.dynamo.put(pk="b", sk="3")
    parts.dynamo.put(pk="a", sk="4")
    parts.run(shop.things)
    assert parts.queue("out") in (["1", "3"], ["3", "1"])
    failed, later = parked(parts)
    assert (failed.lane, failed.position, later.lane, later.position) == ("things/a", 2, "things/a", 4)
    assert error in (failed.error or "")
    assert later.error is None
    # The change is kept whole, as a record of the stream.
    assert failed.change["dynamodb"]["NewImage"] == {"pk": {"S": "a"}, "sk": {"S": "2"}, "do": {"S": what}}
    assert later.change["dynamodb"]["Keys"] == {"pk": {"S": "a"}, "sk": {"S": "4"}}
    assert position(parts) == 4
    # Nothing of the failed change happened, not even what stood before the fault.
    assert effects(parts)[1] in (["1", "3"], ["3", "1"])
    assert "a4" not in shop.routed


def test_a_parked_lane_stays_parked_over_a_restart(shop: Shop, parts: Parts) -> None:
    parts.dynamo.put(pk="a", sk="1", do="raise")
    parts.run(shop.things)
    parts.dynamo.put(pk="a", sk="2")
    parts.dynamo.put(pk="b", sk="3")
    parts.run(shop.things)
    assert parts.queue("out") == ["3"]
    assert [(each.position, each.error is None) for each in parked(parts)] == [(1, False), (2, True)]


def test_a_mended_route_lets_its_lane_go_on_in_order_at_the_start(shop: Shop, parts: Parts) -> None:
    parts.dynamo.put(pk="a", sk="1", do="raise")
    parts.dynamo.put(pk="a", sk="2")
    parts.dynamo.put(pk="a", sk="3")
    parts.run(shop.things)
    assert parts.queue("out") == []
    parts.dynamo.put(pk="a", sk="4")
    shop.mended = {"1"}
    parts.run(shop.things)
    assert effects(parts)[:2] == (["1", "2", "3", "4"], ["1", "2", "3", "4"])
    assert parked(parts) == []
    parts.run(shop.things)
    assert parts.queue("out") == ["1", "2", "3", "4"]


def test_what_was_parked_has_the_time_of_its_change_to_the_microsecond(shop: Shop, parts: Parts, clock: Clock) -> None:
    times = []
    for number in range(1, 50):
        clock.now_us += 777_777
        times.append(clock.now_us)
        parts.dynamo.put(pk="a", sk=str(number), **({"do": "raise"} if number == 1 else {}))
    parts.run(shop.things)
    page = parts.steps.parked("things", "things/a", after=0, limit=100, bytes_max=1 << 20)
    assert [each.change.created_at_us for each in page] == times


def test_a_lane_that_fails_again_stays_parked_from_there(shop: Shop, parts: Parts) -> None:
    parts.dynamo.put(pk="a", sk="1", do="raise")
    parts.dynamo.put(pk="a", sk="2")
    parts.dynamo.put(pk="a", sk="3", do="unknown")
    parts.dynamo.put(pk="a", sk="4")
    parts.run(shop.things)
    shop.mended = {"1"}
    parts.dynamo.put(pk="a", sk="5")
    parts.run(shop.things)
    assert parts.queue("out") == ["1", "2"]
    assert [(each.position, each.error is None) for each in parked(parts)] == [(3, False), (4, True), (5, True)]
    assert "nowhere" in (parked(parts)[0].error or "")


@pytest.mark.parametrize("after_commit", [False, True], ids=["before-the-commit", "after-the-commit"])
def test_a_lane_runs_again_once_through_a_crash(shop: Shop, parts: Parts, after_commit: bool) -> None:
    parts.dynamo.put(pk="a", sk="1", do="raise")
    parts.dynamo.put(pk="a", sk="2")
    parts.run(shop.things)
    shop.mended = {"1"}
    sink = Crashing(parts.steps, after_commit=after_commit)
    with pytest.raises(Crash):
        parts.pipeline(shop.things, sink=sink).run_once()
    parts.run(shop.things)
    assert parts.queue("out") == ["1", "2"]
    assert parked(parts) == []


def test_changes_without_effects_move_the_position(shop: Shop, parts: Parts) -> None:
    parts.dynamo.put(pk="a", sk="1", do="nothing")
    parts.run(shop.things)
    assert effects(parts) == ([], [], [])
    assert position(parts) == 1


def test_many_changes_are_taken_in_several_steps(shop: Shop, parts: Parts) -> None:
    for start in range(0, 4025, 25):
        requests = [
            {"PutRequest": {"Item": {"pk": {"S": "p"}, "sk": {"S": f"{number:05}"}}}}
            for number in range(start, start + 25)
        ]
        parts.dynamo("BatchWriteItem", RequestItems={"things": requests})
    pipeline = parts.pipeline(shop.things)
    steps = 0
    while pipeline.run_once() is not None:
        steps += 1
    assert steps >= 3
    assert parts.queue("out") == [f"{number:05}" for number in range(4025)]


def test_a_delayed_message_counts_from_the_step(tmp_path: Path, clock: Clock, environment: Environment) -> None:
    app = App("delays")
    things = app.table("things", partition_key="pk")
    later = app.queue("later")
    things.on()(lambda_route(later.send("x", delay_s=2)))
    parts = Parts(app, environment)
    parts.dynamo.put(pk="p")
    clock.advance(s=10)
    parts.run(things)
    with environment.read() as transaction:
        assert queues.next_ready_ms(transaction, "later") == clock.now_ms + 2000


def lambda_route(effect: Any) -> Any:
    def route(_: Change) -> Any:
        return effect

    return route


def test_a_record_keeps_its_id_over_a_restart(tmp_path: Path, shop: Shop, clock: Clock) -> None:
    """The id comes from the change alone: another process that runs the route again asks for the same thing."""
    ids: list[list[str]] = []
    for _ in range(2):
        environment = open_store(tmp_path / "one", clock)
        parts = Parts(shop.app, environment)
        if not ids:
            parts.dynamo.put(pk="p", sk="1")
        (change,) = parts.dynamo.changes()
        ids.append([each.id for each in shop.things.router().plan(change, "lane")])
        environment.close()
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3
    assert Deliver("facts", {"sk": "1"}) == shop.facts.put(sk="1")
