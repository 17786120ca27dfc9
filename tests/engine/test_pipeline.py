"""The pipeline on the real store: bounded steps, a change that cannot be committed, parked lanes taken up again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from afterwrite import App, Change
from afterwrite.core.effects import StampedEffect
from afterwrite.core.placements import Placement, ToQueue
from afterwrite.core.ports import ParkedChange, Step
from afterwrite.engine import pipeline as pipeline_module
from afterwrite.engine.pipeline import BATCH_BYTES_MAX, BATCH_CHANGES_MAX, Pipeline
from afterwrite.engine.route_watch import RouteWatch
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageFull
from afterwrite.local.steps import EmbeddedSteps
from afterwrite.store import ledger
from afterwrite.store.environment import Environment
from bounds import BOUND_S
from embedded import Parts
from engine_process import wait_until

TOO_LONG_MS = 1 << 70


class Killed(BaseException):
    """The process ends here."""


class Sink:
    """The store's sink, with the steps that were asked for, faults, and effects that no transaction can hold."""

    def __init__(self, steps: EmbeddedSteps) -> None:
        self._steps = steps
        self.asked: list[Step] = []
        self.placed = 0
        self.before_commit: Callable[[Step], None] = lambda step: None
        self.after_commit: Callable[[Step], None] = lambda step: None
        self.position, self.parked_lanes, self.parked = steps.position, steps.parked_lanes, steps.parked
        self.take_redrives, self.watch_redrives = steps.take_redrives, steps.watch_redrives

    def place(self, effect: StampedEffect) -> Sequence[Placement]:
        self.placed += 1
        return [
            each._replace(delay_ms=TOO_LONG_MS) if isinstance(each, ToQueue) and b"poison" in each.text else each
            for each in self._steps.place(effect)
        ]

    def commit(self, step: Step, meanwhile: Callable[[], None] | None = None) -> None:
        self.asked.append(step)
        self.before_commit(step)
        self._steps.commit(step, meanwhile)
        self.after_commit(step)


class Shop:
    """An app whose route sends `pk:sk`; while `broken` it fails for every key but `free`."""

    def __init__(self, environment: Environment) -> None:
        self.app = App("shop")
        self.things = self.app.table("things", partition_key="pk", sort_key="sk")
        self.out = self.app.queue("out")
        self.facts = self.app.delivery_stream("facts")
        self.broken = False

        @self.things.on()
        def route(change: Change) -> Any:
            pk, sk = change.keys["pk"], change.keys["sk"]
            if self.broken and pk != "free":
                raise ValueError("broken")
            new = change.new or {}
            sent = self.out.send(f"{pk}:{sk}{new.get('say', '')}")
            return [sent, *(self.facts.put(text=new["text"]) for _ in range(2) if "text" in new)]

        self.parts = Parts(self.app, environment)
        self.sink = Sink(self.parts.steps)

    def write(self, *keys: str) -> None:
        """Put an item a key, `pk:sk` or `pk:sk:say`, in order."""
        for start in range(0, len(keys), 25):
            items = []
            for key in keys[start : start + 25]:
                pk, sk, *say = key.split(":")
                items.append({"pk": {"S": pk}, "sk": {"S": sk}, **({"say": {"S": say[0]}} if say else {})})
            self.parts.dynamo(
                "BatchWriteItem", RequestItems={"things": [{"PutRequest": {"Item": item}} for item in items]}
            )

    def pipeline(self) -> Pipeline:
        return self.parts.pipeline(self.things, sink=self.sink)

    def park(self, *keys: str) -> None:
        """Write items whose changes are parked."""
        self.write(*keys)
        self.broken = True
        run(self.pipeline())
        self.broken = False

    def sent(self) -> list[str]:
        return self.parts.queue("out")

    def parked(self) -> list[tuple[str, str | None]]:
        with self.parts.environment.read() as transaction:
            return [
                (
                    each.change["dynamodb"]["Keys"]["pk"]["S"] + ":" + each.change["dynamodb"]["Keys"]["sk"]["S"],
                    each.error,
                )
                for each in ledger.parked(transaction, "things")
            ]


@pytest.fixture
def shop(environment: Environment) -> Shop:
    return Shop(environment)


def run(pipeline: Pipeline) -> int:
    """Take steps until there is nothing to do; how many runs that took."""
    runs = 0
    while pipeline.run_once() is not None:
        runs += 1
        assert runs < 5_000
    return runs


def test_a_change_that_cannot_be_committed_is_parked_and_the_others_go_on(shop: Shop) -> None:
    shop.write("a:1", "bad:1", "bad:2:poison", "bad:3", "b:1")
    pipeline = shop.pipeline()
    run(pipeline)
    assert sorted(shop.sent()) == ["a:1", "b:1", "bad:1"]
    (failed, error), later = shop.parked()
    assert failed == "bad:2" and "its effects cannot be committed: error: " in str(error)
    assert later == ("bad:3", None)
    # Alone only as long as it takes to find the change.
    asked = len(shop.sink.asked)
    shop.write("a:2", "b:2")
    run(pipeline)
    assert len(shop.sink.asked) == asked + 1


def test_a_lone_change_that_cannot_be_committed_is_parked(shop: Shop) -> None:
    shop.write("bad:1:poison")
    run(shop.pipeline())
    assert [key for key, _ in shop.parked()] == ["bad:1"]


def test_a_parked_change_that_cannot_be_committed_stays_parked_with_the_new_error(shop: Shop) -> None:
    shop.park("a:1", "bad:1", "bad:2:poison", "bad:3", "c:1", "only:1:poison")
    shop.write("free:1")
    run(shop.pipeline())
    assert sorted(shop.sent()) == ["a:1", "bad:1", "c:1", "free:1"]
    left = dict(shop.parked())
    assert list(left) in (["bad:2", "bad:3", "only:1"], ["only:1", "bad:2", "bad:3"])
    assert "cannot be committed" in str(left["bad:2"]) and "cannot be committed" in str(left["only:1"])
    shop.write("bad:4", "only:2", "a:2")
    run(shop.pipeline())
    assert sorted(shop.sent()) == ["a:1", "a:2", "bad:1", "c:1", "free:1"]


def test_a_lone_parked_lane_that_cannot_be_committed_stays_parked(shop: Shop) -> None:
    shop.park("only:1:poison")
    pipeline = shop.pipeline()
    run(pipeline)
    shop.write("only:2")
    run(pipeline)
    assert shop.sent() == []
    assert [key for key, _ in shop.parked()] == ["only:1", "only:2"]


def test_a_store_that_does_not_serve_parks_nothing(shop: Shop) -> None:
    shop.write("a:1", "b:1")
    full = iter([True, True, False])

    def maybe_fail(step: Step) -> None:
        if next(full, False):
            raise StorageFull("no space left")

    shop.sink.before_commit = maybe_fail
    pipeline = shop.pipeline()
    for _ in range(2):
        with pytest.raises(StorageFull):
            pipeline.run_once()
    run(pipeline)
    assert sorted(shop.sent()) == ["a:1", "b:1"]
    assert shop.parked() == []


def size(step: Step) -> int:
    return sum(len(placement.text) for placement in step.placements)


def test_a_steps_changes_and_effects_are_bounded_in_bytes(shop: Shop) -> None:
    text = "x" * 380_000
    for number in range(40):
        shop.parts.dynamo.put(pk="p", sk=f"{number:02}", text=text)
    shop.broken = True
    run(shop.pipeline())
    assert 2 <= len(shop.sink.asked) < 10
    for step in shop.sink.asked:
        images = sum(each.change.size_bytes for each in step.parked)
        assert images <= BATCH_BYTES_MAX
    shop.sink.asked.clear()
    shop.broken = False
    run(shop.pipeline())
    assert len(shop.sent()) == 40
    assert len(shop.sink.asked) > 3
    one = 2 * len(text) + 1_000
    assert max(map(size, shop.sink.asked)) < BATCH_BYTES_MAX + one
    shop.sink.asked.clear()
    for number in range(40):
        shop.parts.dynamo.put(pk="p", sk=f"{number:02}", text=text, again=1)
    run(shop.pipeline())
    assert len(shop.sent()) == 80
    assert max(map(size, shop.sink.asked)) < BATCH_BYTES_MAX + one


def test_changes_that_are_parked_page_after_page_are_bounded_in_bytes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "PAGE_CHANGES_MAX", 2)
    monkeypatch.setattr(pipeline_module, "BATCH_BYTES_MAX", 10_000)
    for number in range(40):
        shop.parts.dynamo.put(pk="p", sk=f"{number:02}", text="x" * 1_000)
    shop.broken = True
    run(shop.pipeline())
    for step in shop.sink.asked:
        assert sum(each.change.size_bytes for each in step.parked) <= 10_000 + 2_000
    shop.broken = False
    run(shop.pipeline())
    assert shop.sent() == [f"p:{number:02}" for number in range(40)]


def test_a_healthy_key_does_not_wait_for_parked_lanes(shop: Shop) -> None:
    lanes = [f"lane{number:04}" for number in range(3 * BATCH_CHANGES_MAX)]
    shop.park(*(f"{lane}:1" for lane in lanes))
    shop.write("free:1", f"{lanes[-1]}:2", f"{lanes[0]}:2")
    shop.sink.asked.clear()
    pipeline = shop.pipeline()
    assert pipeline.run_once() == 0.0
    assert "free:1" in shop.sent()
    assert len(shop.sink.asked) == 2
    run(pipeline)
    assert sorted(shop.sent()) == sorted(
        ["free:1", f"{lanes[-1]}:2", f"{lanes[0]}:2", *(f"{lane}:1" for lane in lanes)]
    )
    assert shop.parked() == []
    # Many lanes a step.
    assert len(shop.sink.asked) < 12


def test_lanes_that_still_fail_hold_nobody_up(shop: Shop) -> None:
    shop.park(*(f"lane{number:04}:1" for number in range(2 * BATCH_CHANGES_MAX)))
    shop.write("free:1")
    shop.broken = True
    pipeline = shop.pipeline()
    pipeline.run_once()
    assert shop.sent() == ["free:1"]
    runs = run(pipeline)
    assert runs < 5
    assert len(shop.parked()) == 2 * BATCH_CHANGES_MAX


def test_a_lanes_new_changes_come_after_its_parked_ones(shop: Shop) -> None:
    numbers = [f"{number:04}" for number in range(2 * BATCH_CHANGES_MAX + 100)]
    shop.park(*(f"long:{number}" for number in numbers[:-100]))
    pipeline = shop.pipeline()
    for number in numbers[-100:]:
        shop.write(f"long:{number}")
        pipeline.run_once()
    run(pipeline)
    assert shop.sent() == [f"long:{number}" for number in numbers]
    assert shop.parked() == []


@pytest.mark.parametrize("after_commit", [False, True], ids=["before-the-commit", "after-the-commit"])
def test_kills_between_the_steps_repeat_nothing_and_lose_nothing(
    shop: Shop, after_commit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "BATCH_CHANGES_MAX", 500)
    keys = [f"lane{lane}:{number:03}" for number in range(130) for lane in range(9)]
    shop.park(*keys)
    later = [f"lane{lane}:9{number:02}" for number in range(40) for lane in range(9)]
    commits = kills = 0

    def maybe_die(step: Step) -> None:
        nonlocal commits, kills
        commits += 1
        if commits % 2:
            kills += 1
            raise Killed

    if after_commit:
        shop.sink.after_commit = maybe_die
    else:
        shop.sink.before_commit = maybe_die
    for start in range(0, len(later), 30):
        shop.write(*later[start : start + 30])
        with suppress(Killed):
            run(shop.pipeline())
    assert kills > 3
    shop.sink.before_commit = shop.sink.after_commit = lambda step: None
    run(shop.pipeline())
    sent = shop.sent()
    assert sorted(sent) == sorted(keys + later)
    for lane in range(9):
        of_lane = [key for key in sent if key.startswith(f"lane{lane}:")]
        assert of_lane == sorted(of_lane)
    assert shop.parked() == []


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "BATCH_CHANGES_MAX", 10)


@pytest.mark.usefixtures("small_steps")
def test_routes_run_for_the_next_step_while_a_full_one_is_committed(shop: Shop) -> None:
    keys = [f"lane{number}:1" for number in range(25)]
    shop.write(*keys)
    placed: list[int] = []
    shop.sink.after_commit = lambda step: placed.append(shop.sink.placed)
    run(shop.pipeline())
    assert placed == [20, 25, 25]
    assert [step.after - step.before for step in shop.sink.asked] == [10, 10, 5]
    assert sorted(shop.sent()) == sorted(keys)


@pytest.mark.usefixtures("small_steps")
def test_what_is_written_while_nothing_more_was_found_is_taken_too(shop: Shop) -> None:
    keys = [f"lane{number}:1" for number in range(11)]
    shop.write(*keys[:10])

    def write_one_more(step: Step) -> None:
        shop.sink.after_commit = lambda step: None
        shop.write(keys[10])

    shop.sink.after_commit = write_one_more
    run(shop.pipeline())
    assert sorted(shop.sent()) == sorted(keys)


@pytest.mark.usefixtures("small_steps")
def test_the_step_after_one_that_cannot_be_committed_is_drafted_anew(shop: Shop) -> None:
    shop.write(*(f"a:{number}" for number in range(8)), "bad:1:poison", "bad:2", "b:1", "bad:3", "c:1")
    run(shop.pipeline())
    assert sorted(shop.sent()) == [*(f"a:{number}" for number in range(8)), "b:1", "c:1"]
    assert [key for key, _ in shop.parked()] == ["bad:1", "bad:2", "bad:3"]


@pytest.mark.usefixtures("small_steps")
def test_the_step_after_one_that_the_store_refuses_is_drafted_anew(shop: Shop) -> None:
    keys = [f"lane{number % 3}:{number:02}" for number in range(35)]
    shop.write(*keys)

    def refuse(step: Step) -> None:
        if len(shop.sink.asked) in (2, 3):
            raise StorageFull("no space left")

    shop.sink.before_commit = refuse
    pipeline = shop.pipeline()
    for _ in range(10):
        with suppress(StorageFull):
            run(pipeline)
    for lane in range(3):
        assert [key for key in shop.sent() if key.startswith(f"lane{lane}")] == keys[lane::3]


@pytest.mark.usefixtures("small_steps")
def test_a_lane_that_a_step_parks_is_parked_in_the_step_drafted_meanwhile(shop: Shop) -> None:
    shop.write(*(f"a:{number}" for number in range(10)), "a:9x", "free:1")
    shop.broken = True
    run(shop.pipeline())
    assert [each.failure is None for each in shop.sink.asked[0].parked] == [False, *[True] * 9]
    assert [each.failure for each in shop.sink.asked[1].parked] == [None]
    assert shop.sent() == ["free:1"]


@pytest.mark.usefixtures("small_steps")
def test_routes_run_once_for_each_change_while_parked_lanes_are_redriven(shop: Shop) -> None:
    parked = [f"lane{number:02}:1" for number in range(35)]
    free = [f"free:{number:02}" for number in range(35)]
    shop.park(*parked)
    shop.write(*free)
    shop.sink.placed = 0
    run(shop.pipeline())
    assert sorted(shop.sent()) == sorted(parked + free)
    assert shop.sink.placed == len(parked + free)


@pytest.mark.usefixtures("small_steps")
def test_a_lane_released_after_the_next_step_was_drafted_goes_on(shop: Shop) -> None:
    shop.park("a:1")
    shop.broken = True
    pipeline = shop.pipeline()
    pipeline.watch(threading.Event())
    run(pipeline)
    shop.broken = False
    shop.write(*(f"free:{number}" for number in range(10)), "a:2", "a:3")
    pipeline.run_once()  # and a:2 and a:3 are about to be parked
    (lane,) = shop.parts.steps.parked_lanes("things")
    shop.parts.environment.write(lambda transaction: ledger.ask_to_redrive(transaction, "things", lane))
    run(pipeline)
    assert [key for key in shop.sent() if key.startswith("a")] == ["a:1", "a:2", "a:3"]
    assert shop.parked() == []


def test_a_failure_while_lanes_are_taken_up_forgets_no_lane(shop: Shop) -> None:
    shop.park("a:1", "b:1", "b:2")

    def fail_once(step: Step) -> None:
        shop.sink.before_commit = lambda step: None
        raise StorageFull("no space left")

    shop.sink.before_commit = fail_once
    pipeline = shop.pipeline()
    with pytest.raises(StorageFull):
        pipeline.run_once()
    run(pipeline)
    assert sorted(shop.sent()) == ["a:1", "b:1", "b:2"]
    assert shop.parked() == []


def test_a_parked_change_runs_once_though_two_pipelines_try(shop: Shop) -> None:
    shop.park("a:1")
    with shop.parts.environment.read() as transaction:
        (kept,) = ledger.parked(transaction, "things")
    (change,) = shop.parts.steps.parked("things", kept.lane, after=0, limit=1, bytes_max=1)
    released = Step("things", 1, 1, shop.parts.steps.place(stamped(shop)), (), [change])
    shop.parts.steps.commit(released)
    with pytest.raises(Exception, match="expected a parked change of the lane"):
        shop.parts.steps.commit(released)
    assert shop.sent() == ["x"]


def stamped(shop: Shop) -> StampedEffect:
    return StampedEffect("id/route/0", "things/a", 0, shop.out.send("x"))


class Gate:
    """Routes that wait until they are let through."""

    def __init__(self, shop: Shop) -> None:
        self.entered, self.open = threading.Event(), threading.Event()

        @shop.things.on(new={"say": "wait"})
        def slow(change: Change) -> Any:
            self.entered.set()
            assert self.open.wait(BOUND_S)


def test_a_route_that_runs_long_is_named_with_its_lane(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    gate, now_s = Gate(shop), [100.0]
    shop.write("a:1", "k:1:wait", "b:1")
    pipeline = shop.pipeline()
    watch = RouteWatch([pipeline], Telemetry(), now_s=lambda: now_s[0])
    assert watch.run_once() == 1.0
    thread = threading.Thread(target=run, args=(pipeline,))
    thread.start()
    try:
        assert gate.entered.wait(BOUND_S)
        for now_s[0] in (101.0, 105.5, 106.0, 107.0, 110.0, 111.0, 112.0):
            watch.run_once()
    finally:
        gate.open.set()
        thread.join(BOUND_S)
    now_s[0] = 200.0
    watch.run_once()
    said = [record.__dict__["fields"] for record in caplog.records if record.__dict__["event"] == "route runs long"]
    assert said == [
        {"pipeline": "pipeline-things", "route": "slow", "lane": "things/k", "seconds": seconds} for seconds in (5, 10)
    ]
    assert sorted(shop.sent()) == ["a:1", "b:1", "k:1wait"]


@pytest.mark.usefixtures("small_steps")
def test_a_route_that_hangs_while_the_next_step_is_drafted_holds_up_no_step_before(shop: Shop) -> None:
    gate = Gate(shop)
    keys = [f"lane{number}:1" for number in range(10)]
    shop.write(*keys, "k:1:wait")
    pipeline = shop.pipeline()
    thread = threading.Thread(target=run, args=(pipeline,))
    thread.start()
    try:
        assert gate.entered.wait(BOUND_S)
        wait_until(lambda: sorted(shop.sent()) == sorted(keys), what="the step before")
        assert pipeline.in_hand is not None
        assert pipeline.in_hand.lane == "things/k"
    finally:
        gate.open.set()
        thread.join(BOUND_S)
    assert sorted(shop.sent()) == sorted(["k:1wait", *keys])


def test_a_lanes_parked_changes_are_read_in_pages(shop: Shop) -> None:
    shop.park(*(f"a:{number}" for number in range(5)), "b:1")
    steps = shop.parts.steps

    def positions(**bounds: int) -> list[int]:
        page: Sequence[ParkedChange] = steps.parked(
            "things", "things/a", **{"after": 0, "limit": 9, "bytes_max": 9_999} | bounds
        )
        return [each.position for each in page]

    assert positions() == [1, 2, 3, 4, 5]
    assert positions(after=3) == [4, 5]
    assert positions(limit=2) == [1, 2]
    assert positions(bytes_max=1) == [1]
    assert positions(after=5) == []
    assert steps.parked_lanes("things") == {"things/a", "things/b"}
