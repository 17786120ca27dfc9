"""Messages that are received before a thread is free for them: which, how many, and what becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from afterwrite import App, Context
from afterwrite.core.backpressure import AHEAD_MAX
from afterwrite.store.environment import Environment
from bounds import BOUND_S
from embedded import Clock
from engine.dispatching import Dispatching

LANES = [f"lane{number}" for number in range(12)]
THREADS = 2


class Target:
    """A handler that is quick, or waits to be let through, or fails; and the clock by which attempts are timed."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()
        self.is_up = True
        self.takes_s = 0.001
        self.ran: list[tuple[Any, int]] = []
        self.now_s = 0.0
        self._together = threading.Lock()
        self._running = self.running_most = 0

    def __call__(self, request: Any, context: Context) -> None:
        with self._together:
            self._running += 1
            self.running_most = max(self.running_most, self._running)
        self.ran.append((request, context.attempt))
        self.entered.release()
        assert self.open.wait(BOUND_S)
        with self._together:
            self._running -= 1
            self.now_s += self.takes_s
        if not self.is_up:
            raise ConnectionRefusedError("down")

    __name__ = "target"

    def wait_entered(self, count: int) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=BOUND_S)

    def shut(self) -> None:
        """Let nobody through from now on, and forget who has entered."""
        self.open.clear()
        self.entered = threading.Semaphore(0)
        self.ran.clear()


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    yield target
    target.open.set()


@pytest.fixture
def start(environment: Environment, clock: Clock, target: Target) -> Iterator[Callable[[], Dispatching]]:
    """Start the dispatcher of the target, or start it again."""
    function = App("a").function(concurrency=THREADS, retries=2, backoff_s=0.01, timeout_s=60)(target)
    started: list[Dispatching] = []

    def start() -> Dispatching:
        started.append(Dispatching(environment, clock, function, monotonic_s=lambda: target.now_s))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def known(start: Callable[[], Dispatching], target: Target) -> Dispatching:
    """A dispatcher whose target is known to be quick, and is shut now, with a message in each lane."""
    return waiting_for(start(), target)


def waiting_for(dispatching: Dispatching, target: Target) -> Dispatching:
    for number in range(4):
        dispatching.send(f"known{number}", lane=f"known{number}")
    dispatching.settle()
    target.shut()
    for lane in LANES:
        dispatching.send(lane, lane=lane)
    dispatching.step()
    target.wait_entered(THREADS)
    return dispatching


def end(dispatching: Dispatching, target: Target) -> None:
    """Let time go on until nothing waits."""
    while (due_s := dispatching.settle()) is not None:
        dispatching.clock.advance(s=due_s)
        target.now_s += due_s
    assert dispatching.depth() == 0
    assert dispatching.dead_letters() == []


def test_where_attempts_are_short_more_messages_are_received_than_there_are_threads(
    known: Dispatching, target: Target
) -> None:
    assert known.in_flight() == len(LANES)
    assert not target.entered.acquire(blocking=False)
    target.open.set()
    known.settle()
    assert sorted(target.ran) == sorted((lane, 1) for lane in LANES)
    assert target.running_most == THREADS
    assert known.depth() == 0


def test_there_is_a_bound_to_what_is_received_ahead(known: Dispatching) -> None:
    for number in range(2 * AHEAD_MAX):
        known.send(number, lane=str(number))
    known.step()
    assert THREADS < known.in_flight() <= THREADS + AHEAD_MAX


def test_where_attempts_take_long_no_more_are_received_than_there_are_threads(
    start: Callable[[], Dispatching], target: Target
) -> None:
    target.takes_s = 0.5
    assert waiting_for(start(), target).in_flight() == THREADS


def test_what_waits_goes_back_uncounted_when_the_target_does_not_answer(known: Dispatching, target: Target) -> None:
    target.is_up = False
    target.open.set()
    known.settle()
    # Those that ran found it down, and then the breaker is what lets attempts through.
    assert len(target.ran) < len(LANES)
    begun = {lane for lane, _ in target.ran}
    target.is_up = True
    end(known, target)
    assert {lane for lane, _ in target.ran} == set(LANES)
    assert all((lane, 1) in target.ran for lane in set(LANES) - begun)


def test_what_waits_goes_back_when_an_attempt_hangs_and_runs_on_other_threads(
    known: Dispatching, target: Target
) -> None:
    target.now_s += 61
    known.step()
    assert known.in_flight() == 1  # a target that does not answer in time is given less
    target.wait_entered(1)
    assert len({lane for lane, _ in target.ran}) == THREADS + 1
    target.open.set()
    end(known, target)
    assert {lane for lane, _ in target.ran} == set(LANES)


def test_no_more_run_together_than_declared_after_threads_that_hung_have_returned(
    known: Dispatching, target: Target
) -> None:
    target.now_s += 61
    known.step()
    target.wait_entered(1)
    target.open.set()
    end(known, target)
    target.shut()
    for number in range(len(LANES)):
        known.send(number, lane=str(number))
    known.step()
    target.wait_entered(THREADS)
    assert known.in_flight() > THREADS
    assert not target.entered.acquire(timeout=0.2)
    target.open.set()
    known.settle()
    assert known.depth() == 0


def test_what_waits_goes_back_uncounted_at_a_stop(
    known: Dispatching, target: Target, start: Callable[[], Dispatching]
) -> None:
    known.dispatcher.stop(wait_s=0)
    assert known.in_flight() == 0
    target.open.set()
    again = start()
    again.settle()
    assert {(lane, 1) for lane in LANES} <= set(target.ran)
    assert again.depth() == 0
