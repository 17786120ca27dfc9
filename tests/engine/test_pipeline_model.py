"""The pipeline on the real store beside a model: each change's effect comes once, in its lane's order."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite import App, Change
from afterwrite.app import lanes_of
from afterwrite.core.effects import StampedEffect
from afterwrite.core.placements import Placement, ToQueue
from afterwrite.core.ports import ReadChange, Step
from afterwrite.engine import pipeline as pipeline_module
from afterwrite.engine.pipeline import Pipeline
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageError, StorageFull
from afterwrite.sources.embedded import EmbeddedSource
from afterwrite.store import items, ledger
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.ledger import Parked
from embedded import Clock, Parts, open_store

LANES: Final = "abc"
TOO_LONG_MS: Final = 1 << 70

T = TypeVar("T")
NUMBERS: Final = count(1)
# What a lane's route raises while it is broken.
BREAKS: Final = {"a": ValueError("broken"), "b": SystemExit(1), "c": MemoryError()}


class Killed(BaseException):
    """The process ends here."""


class Act(NamedTuple):
    """What somebody does: to a lane, or with its items whose text is `say`."""

    what: str
    lane: str
    say: str = ""


class Fault(NamedTuple):
    """What goes wrong: `error` is raised, by a commit at its end, where it is `late`, after the next step's draft."""

    error: type[BaseException]
    late: bool = False


Moment: TypeAlias = Act | Fault | None
# The pipeline runs once; what happens at its moments, the reads and the commits with what is done meanwhile, in turn.
Run: TypeAlias = list[Moment]


class World:
    """An app with a table and a queue, and what has to come of each lane. It is its pipeline's source and sink."""

    def __init__(self, environment: Environment) -> None:
        app = App("shop")
        self.number = next(NUMBERS)
        self.things = app.table(f"things-{self.number}", partition_key="pk", sort_key="sk")
        self.out = app.queue(f"out-{self.number}")
        self.broken: set[str] = set()
        self.is_poisonous = True
        self.moments: deque[Moment] = deque()
        self._items: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._expected: dict[str, list[str]] = defaultdict(list)
        self._dropped: set[str] = set()

        @self.things.on()
        def route(change: Change) -> Any:
            lane = change.keys["pk"]
            if lane in self.broken:
                raise BREAKS[lane]
            image = change.new or change.old or {}
            event = "EXPIRED" if change.by_ttl else change.event_name
            yield self.out.send(f"{event}:{lane}:{change.keys['sk']}:{image['say']}")

        self._parts = Parts(app, environment)
        environment.write(lambda transaction: items.set_ttl(transaction, self.things.name, "ttl"))
        self._environment = environment
        steps = self._steps = self._parts.steps
        self.position, self.parked_lanes, self.parked = steps.position, steps.parked_lanes, steps.parked
        self.take_redrives, self.watch_redrives = steps.take_redrives, steps.watch_redrives
        table = environment.state["catalog"][self.things.name]
        self._source = EmbeddedSource(environment, table, lanes_of(self.things))
        self.watch = self._source.watch
        self._pipeline = self._started()

    def _started(self) -> Pipeline:
        pipeline = Pipeline(self.things.name, self, self.things.router(), self, Telemetry())
        pipeline.watch(threading.Event())
        return pipeline

    def read(self, after: int, *, limit: int, bytes_max: int) -> Sequence[ReadChange]:
        self._happen()
        return self._source.read(after, limit=limit, bytes_max=bytes_max)

    def place(self, effect: StampedEffect) -> Sequence[Placement]:
        return [
            each._replace(delay_ms=TOO_LONG_MS)
            if isinstance(each, ToQueue) and self.is_poisonous and b"poison" in each.text
            else each
            for each in self._steps.place(effect)
        ]

    def commit(self, step: Step, meanwhile: Callable[[], None] | None = None) -> None:
        fault = self._happen(at_commit=True)

        def ahead() -> None:
            if meanwhile is not None:
                meanwhile()
            self._happen(only_acts=True)

        if fault is not None:
            ahead()
            raise fault.error
        self._steps.commit(step, ahead)
        self._happen(only_storage=True)

    def _happen(self, *, at_commit: bool = False, only_acts: bool = False, only_storage: bool = False) -> Fault | None:
        """What is due at this moment, where it may be; a fault that comes later."""
        moment = self.moments.popleft() if self.moments else None
        if isinstance(moment, Act):
            self.do(moment)
        elif moment is not None and not only_acts:
            if at_commit and moment.late:
                return moment
            if not only_storage or moment.error is not RuntimeError:
                raise moment.error
        return None

    def do(self, act: Act) -> None:
        """Do what somebody does."""
        if act.what == "put":
            for lane in act.lane:
                self._put(lane, act.say)
        elif act.what in ("delete", "expire") and self._items[act.lane]:
            self._remove(act.lane, by_ttl=act.what == "expire")
        elif act.what == "break":
            self.broken.add(act.lane)
        elif act.what == "mend":
            self.broken.discard(act.lane)
        elif act.what == "redrive":
            name, lane = self._lane(act.lane)
            self._write(lambda transaction: ledger.ask_to_redrive(transaction, name, lane))
        elif act.what.startswith("drop"):
            self._dropped |= self._drop(act.lane, whole_lane=act.what == "drop all")

    def _lane(self, lane: str) -> tuple[str, str]:
        return self.things.name, f"{self.things.name}/{lane}"

    def _put(self, lane: str, say: str) -> None:
        sort = f"{len(self._expected[lane]):04}"
        self._parts.dynamo.put(self.things.name, pk=lane, sk=sort, say=say)
        self._items[lane].append((sort, say))
        self._expected[lane].append(f"INSERT:{lane}:{sort}:{say}")

    def _remove(self, lane: str, *, by_ttl: bool) -> None:
        sort, say = self._items[lane].pop()
        if by_ttl:
            self._parts.dynamo.put(self.things.name, pk=lane, sk=sort, say=say, ttl=self._environment.now_ms() // 1000)
            self._expected[lane].append(f"MODIFY:{lane}:{sort}:{say}")
            table = self._environment.state["catalog"][self.things.name]
            assert self._environment.write(lambda transaction: items.expire(transaction, table, limit=10)) == 1
        else:
            self._parts.dynamo.delete(self.things.name, pk=lane, sk=sort)
        self._expected[lane].append(f"{'EXPIRED' if by_ttl else 'REMOVE'}:{lane}:{sort}:{say}")

    def _drop(self, key: str, *, whole_lane: bool) -> set[str]:
        name, lane = self._lane(key)

        def drop(transaction: WriteTransaction) -> set[str]:
            found = list(ledger.parked(transaction, name, lane))
            if not found:
                return set()
            ledger.drop_parked(transaction, name, lane, found[0].position, whole_lane=whole_lane)
            ledger.ask_to_redrive(transaction, name, lane)
            return {told(each) for each in (found if whole_lane else found[:1])}

        return self._write(drop)

    def _write(self, operation: Callable[[WriteTransaction], T]) -> T:
        """Write what the pipeline is told of, and wait until it is: before the next commit."""
        answer = self._environment.write(operation)
        self._environment.write(lambda transaction: None)
        return answer

    def run(self, moments: Sequence[Moment] = ()) -> bool:
        """Run the pipeline once, or start it again where it was killed; whether there may be more to do."""
        self.moments = deque(moments)
        try:
            return self._pipeline.run_once() is not None
        except Killed:
            self._environment.write(lambda transaction: None)  # what was asked for before the end is done by now
            self._pipeline = self._started()
        except (StorageError, RuntimeError):
            pass
        return True

    def settle(self) -> None:
        """Run until nothing is left to do, and look at what has come of it."""
        for _ in range(200):
            if not self.run():
                break
        else:
            raise AssertionError("it does not come to rest")
        sent = self._parts.queue(self.out.name)
        for lane in LANES:
            parked = self.parked_in(lane)
            done = [each for each in sent if each.split(":")[1] == lane] + [told(each) for each in parked]
            assert done == [each for each in self._expected[lane] if each not in self._dropped]
            assert not parked or parked[0].failure is not None, "the lane waits for nothing"

    def parked_in(self, lane: str) -> list[Parked]:
        """The lane's parked changes."""
        with self._environment.read() as transaction:
            return list(ledger.parked(transaction, *self._lane(lane)))


def told(parked: Parked) -> str:
    """What the route says of a parked change."""
    change = parked.change["dynamodb"]
    image = {name: value.get("S") for name, value in (change.get("NewImage") or change["OldImage"]).items()}
    event = "EXPIRED" if "userIdentity" in parked.change else parked.change["eventName"]
    return f"{event}:{image['pk']}:{image['sk']}:{image['say']}"


acts = st.one_of(
    st.builds(Act, st.just("put"), st.text(LANES, min_size=1, max_size=8), st.sampled_from(["", "", "x" * 400])),
    st.builds(Act, st.just("put"), st.sampled_from(LANES), st.just("poison")),
    # A step that is exactly full, and nothing after it.
    st.builds(Act, st.just("put"), st.sampled_from([LANES, LANES * 2])),
    st.builds(
        Act,
        st.sampled_from(["break", "mend", "redrive", "delete", "expire", "drop", "drop all"]),
        st.sampled_from(LANES),
    ),
)
faults = st.builds(Fault, st.sampled_from([StorageFull, RuntimeError, Killed]), st.booleans())
runs: st.SearchStrategy[Run] = st.lists(st.one_of(st.none(), st.none(), acts, acts, faults), max_size=6)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    opened = open_store(tmp_path_factory.mktemp("pipeline") / "store", Clock(), sync_interval_s=60)
    yield opened
    opened.close()


@settings(max_examples=250)
@given(program=st.lists(st.one_of(acts, acts, runs, runs), min_size=6, max_size=30), step_bytes=st.integers(100, 5000))
def test_each_effect_comes_once_and_in_its_lane_s_order(
    environment: Environment, program: list[Act | Run], step_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline_module, "BATCH_CHANGES_MAX", 3)
        patch.setattr(pipeline_module, "PAGE_CHANGES_MAX", 2)
        patch.setattr(pipeline_module, "BATCH_BYTES_MAX", step_bytes)
        world = World(environment)
        for each in program:
            if isinstance(each, Act):
                world.do(each)
            else:
                world.run(each)
        world.settle()
        world.broken.clear()
        world.is_poisonous = False
        for lane in LANES:
            was_parked = bool(world.parked_in(lane))
            world.do(Act("put", lane))
            world.settle()
            assert was_parked or not world.parked_in(lane)
            world.do(Act("redrive", lane))
        world.settle()
        assert not any(map(world.parked_in, LANES))
