"""Every schedule of the pipeline with four changes in two lanes and up to two faults, over a store in memory.

After each commit: of each lane the changes up to the position are done or parked, each once, in order, and none is done
behind a parked one. In the end, whatever was parked is redriven, and every change is done, once, in its lane's order.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from afterwrite import App, Change
from afterwrite.core.effects import StampedEffect
from afterwrite.core.placements import Placement, ToQueue
from afterwrite.core.ports import ParkedChange, ReadChange, Step
from afterwrite.engine import pipeline as pipeline_module
from afterwrite.engine.pipeline import Pipeline
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageError, StorageFull

CHANGES: Final = 4
FAULTS: Final = 2
COMMIT_FAULTS: Final = ("full", "killed before", "killed after", "refused")
TELEMETRY: Final = Telemetry()
# The first change's lane has the name a; b first would be the same once more.
LANES: Final = [("a", *rest) for rest in itertools.product("ab", repeat=CHANGES - 1)]
# How many changes are written before each of the pipeline's runs.
ARRIVALS: Final = [(4,), (1, 3), (2, 2), (3, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1), (1, 1, 1, 1)]


class Killed(BaseException):
    """The process ends here."""


class Choices:
    """The decisions of one schedule: those of `begun`, and behind them the first option each time."""

    def __init__(self, begun: Sequence[int]) -> None:
        self.taken = list(begun)
        self._options: list[int] = []

    def choose(self, options: int) -> int:
        """One of the `options`, by its number."""
        if len(self._options) == len(self.taken):
            self.taken.append(0)
        self._options.append(options)
        return self.taken[len(self._options) - 1]

    def next(self) -> list[int] | None:
        """How the schedule after this one begins, None behind the last."""
        taken = self.taken[: len(self._options)]
        while taken and taken[-1] == self._options[len(taken) - 1] - 1:
            taken.pop()
        return [*taken[:-1], taken[-1] + 1] if taken else None


class World:
    """A table's changes, and a store in memory; the pipeline's source and sink. Faults come as `choices` say."""

    def __init__(self, lanes: Sequence[str], choices: Choices) -> None:
        self._lanes = lanes
        self._choices = choices
        self._faults_left = FAULTS
        self._written: list[ReadChange] = []
        self._position = 0
        self._done: list[tuple[str, int]] = []
        self._parked: dict[str, dict[int, ParkedChange]] = {"a": {}, "b": {}}
        self._asked: set[str] = set()
        self._redrive_asked = threading.Event()
        app = App("shop")
        things, out = app.table("things", partition_key="pk"), app.queue("out")

        @things.on()
        def route(change: Change) -> Any:
            if self._fault("broken") is not None:
                raise ValueError("broken")
            return out.send(change.keys["pk"])

        self._router = things.router()
        self._pipeline = self._started()

    def _started(self) -> Pipeline:
        pipeline = Pipeline("things", self, self._router, self, TELEMETRY)
        pipeline.watch(threading.Event())
        return pipeline

    def _fault(self, *kinds: str) -> str | None:
        if not self._faults_left:
            return None
        chosen = self._choices.choose(1 + len(kinds))
        self._faults_left -= chosen > 0
        return kinds[chosen - 1] if chosen else None

    def write(self, count: int) -> None:
        """Write the next changes."""
        for _ in range(count):
            number = len(self._written) + 1
            lane = self._lanes[number - 1]
            keys = {"pk": {"S": lane}}
            change = Change(id=f"c{number}", table="things", event_name="INSERT", keys=keys, size_bytes=10)
            self._written.append(ReadChange(number, lane, change))

    def read(self, after: int, *, limit: int, bytes_max: int) -> Sequence[ReadChange]:
        assert bytes_max > 0
        return [replaced(each) for each in self._written[after : after + limit]]

    def watch(self, event: threading.Event) -> None:
        event.set()

    def place(self, effect: StampedEffect) -> Sequence[Placement]:
        return [ToQueue("out", effect.lane, effect.id.partition("/")[0].encode(), 0)]

    def position(self, _consumer: str) -> int:
        return self._position

    def parked_lanes(self, _consumer: str) -> frozenset[str]:
        return frozenset(lane for lane, parked in self._parked.items() if parked)

    def parked(self, _consumer: str, lane: str, *, after: int, limit: int, bytes_max: int) -> Sequence[ParkedChange]:
        assert bytes_max > 0
        return [each for position, each in sorted(self._parked[lane].items()) if position > after][:limit]

    def take_redrives(self, _consumer: str) -> Sequence[str]:
        asked, self._asked = sorted(self._asked), set()
        return asked

    def watch_redrives(self, _consumer: str, event: threading.Event) -> None:
        self._redrive_asked = event

    def commit(self, step: Step, meanwhile: Callable[[], None] | None = None) -> None:
        fault = self._fault(*COMMIT_FAULTS)
        if meanwhile is not None:
            meanwhile()
        if fault == "full":
            raise StorageFull("the disk is full")
        if fault == "refused":
            raise RuntimeError("the step cannot be committed")
        if fault == "killed before":
            raise Killed
        self._take(step)
        if fault == "killed after":
            raise Killed

    def _take(self, step: Step) -> None:
        assert step.before == self._position
        self._position = step.after
        for each in step.released:
            del self._parked[each.lane][each.position]
        for placement in step.placements:
            assert isinstance(placement, ToQueue)
            self._done.append((placement.lane, int(placement.text[1:])))
        for parked in step.parked:
            self._parked[parked.lane][parked.position] = replace(parked, at_ms=1)
        for lane in "ab":
            settled = [number for done_in, number in self._done if done_in == lane] + sorted(self._parked[lane])
            assert settled == [each.position for each in self._written[: step.after] if each.lane == lane]

    def run(self) -> bool:
        """Run the pipeline once, or start it again where it is killed; whether there may be more to do."""
        try:
            return self._pipeline.run_once() is not None
        except Killed:
            self._pipeline = self._started()
        except (StorageError, RuntimeError):
            pass  # whoever runs it logs that, and runs it again
        return True

    def settle(self) -> None:
        """Run until nothing is left to do."""
        for _ in range(50):
            if not self.run():
                return
        raise AssertionError("it does not come to rest")

    def end(self) -> None:
        """Redrive what is parked until nothing is; then everything has to be done."""
        self.settle()
        for _ in range(FAULTS + 1):
            self._asked |= self.parked_lanes("things")
            self._redrive_asked.set()
            self.settle()
        assert not self.parked_lanes("things")
        assert self._position == CHANGES
        assert sorted(number for _, number in self._done) == list(range(1, CHANGES + 1))


def replaced(each: ReadChange) -> ReadChange:
    """The change as it is read anew, with images that nobody has decoded."""
    change = each.change
    keys = {"pk": {"S": each.lane}}
    anew = Change(id=change.id, table=change.table, event_name=change.event_name, keys=keys, size_bytes=10)
    return each._replace(change=anew)


def explore(lanes: Sequence[str], arrivals: Sequence[int]) -> tuple[int, int]:
    """Go through every schedule; how many there are, and how many states they come through."""
    schedules = states = 0
    begun: list[int] | None = []
    while begun is not None:
        choices = Choices(begun)
        world = World(lanes, choices)
        for count in arrivals:
            world.write(count)
            world.run()
        world.end()
        schedules += 1
        states += len(choices.taken) - len(begun) + 1
        begun = choices.next()
    return schedules, states


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("step_changes", [1, 2, 3])
@pytest.mark.parametrize("arrivals", ARRIVALS, ids=str)
def test_every_schedule_of_four_changes_in_two_lanes_with_two_faults(
    arrivals: Sequence[int], step_changes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "BATCH_CHANGES_MAX", step_changes)
    monkeypatch.setattr(pipeline_module, "PAGE_CHANGES_MAX", 2)
    found = [explore(lanes, arrivals) for lanes in LANES]
    schedules, states = (sum(each) for each in zip(*found, strict=True))
    print(f"{schedules} schedules, {states} states")
    assert states > 1_000
