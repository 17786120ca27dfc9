"""Loops and the units of work in them: run when due, woken by events, never ended by a failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from afterwrite.engine import loops
from afterwrite.engine.flushing import Flushing
from afterwrite.engine.loops import Loop
from afterwrite.engine.telemetry import Telemetry
from afterwrite.engine.upkeep import Upkeep
from bounds import BOUND_S


class Work:
    """A unit of work that does as its script says, one entry a run: a wait, or a fault."""

    name = "work"

    def __init__(self, *script: float | BaseException | None) -> None:
        self.script = list(script)
        self.runs = 0
        self.ran = threading.Semaphore(0)
        self.wake = threading.Event()

    def watch(self, event: threading.Event) -> None:
        self.wake = event

    def run_once(self) -> float | None:
        self.runs += 1
        self.ran.release()
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        return step

    def wait_for_runs(self, count: int) -> None:
        for _ in range(count):
            assert self.ran.acquire(timeout=BOUND_S)


@pytest.fixture
def run() -> Any:
    """Start loops that are stopped with the test."""
    started: list[Loop] = []

    def start(work: Work) -> Loop:
        loop = Loop(work, Telemetry())
        loop.start()
        started.append(loop)
        return loop

    yield start
    for loop in started:
        loop.stop(wait_s=BOUND_S)


Run = Callable[[Work], Loop]


def test_work_is_run_again_as_long_as_more_is_due(run: Run) -> None:
    work = Work(0.0, 0.0, 0.0, None)
    run(work)
    work.wait_for_runs(4)
    assert not work.ran.acquire(blocking=False)


def test_work_is_run_when_it_is_due_and_when_it_is_woken(run: Run) -> None:
    work = Work(0.01, None)
    run(work)
    work.wait_for_runs(2)
    work.wake.set()
    work.wait_for_runs(1)


def test_a_failure_is_logged_and_the_work_goes_on(
    run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "_RETRY_S_FIRST", 0.001)
    caplog.set_level(logging.INFO, "afterwrite")
    work = Work(ValueError("once"), ValueError("twice"), 0.0)
    run(work)
    work.wait_for_runs(4)
    fields = [getattr(record, "fields", {}) for record in caplog.records]
    assert [each.get("error") for each in fields] == ["ValueError: once", "ValueError: twice", None]
    assert [each.get("retry_s") for each in fields[:2]] == [0.001, 0.002]
    assert caplog.records[2].__dict__["event"] == "loop recovered"


def test_stopping_ends_a_loop_that_waits(run: Run) -> None:
    work = Work(None)
    loop = run(work)
    work.wait_for_runs(1)
    assert loop.stop(wait_s=BOUND_S)
    work.wake.set()
    assert work.runs == 1


def test_a_loop_whose_work_does_not_return_is_left_running(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    let_go = threading.Event()

    class Hanging(Work):
        def run_once(self) -> float | None:
            self.ran.release()
            assert let_go.wait(BOUND_S)
            return None

    work = Hanging()
    loop = run(work)
    work.wait_for_runs(1)
    assert not loop.stop(wait_s=0.01)
    assert [record.__dict__["event"] for record in caplog.records] == ["loop left running"]
    let_go.set()
    assert loop.stop(wait_s=BOUND_S)


@dataclass
class Done:
    more: bool = False
    held_back: Sequence[str] = ()


def test_upkeep_names_a_table_once_as_long_as_it_is_held_back(caplog: pytest.LogCaptureFixture) -> None:
    rounds = [Done(held_back=["a"]), Done(more=True, held_back=["a", "b"]), Done(), Done(held_back=["a"])]
    upkeep = Upkeep(lambda: rounds.pop(0), Telemetry())
    assert [upkeep.run_once() for _ in range(4)] == [0.5, 0.0, 0.5, 0.5]
    named = [getattr(record, "fields", {})["table"] for record in caplog.records]
    assert named == ["a", "b", "a"]


@dataclass
class FakeSink:
    at_ms: int | None = None
    flushes: list[int] = field(default_factory=list)

    def next_flush_ms(self, now_ms: int) -> int | None:
        return self.at_ms

    def flush(self) -> int:
        self.flushes.append(1)
        return 1

    def watch(self, event: threading.Event) -> None: ...


@pytest.mark.parametrize(
    ("at_ms", "due_s", "flushed"), [(None, None, 0), (1_500, 0.5, 0), (1_000, 0.0, 1), (1, 0.0, 1)]
)
def test_flushing_waits_until_it_is_due(at_ms: int | None, due_s: float | None, flushed: int) -> None:
    sink = FakeSink(at_ms)
    assert Flushing("x", sink, lambda: 1_000).run_once() == due_s
    assert len(sink.flushes) == flushed
