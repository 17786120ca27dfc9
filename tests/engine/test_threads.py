"""Threads of functions: how often each asks for the interpreter, when they end, and what is done without more."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator

import pytest

from afterwrite.engine.handler_threads import Ended, HandlerThreads
from afterwrite.engine.threads import Threads, start_thread
from bounds import BOUND_S
from engine_process import wait_until

ASKED_A_SECOND_MAX = 100_000


@pytest.fixture(autouse=True)
def turn_s() -> Iterator[float]:
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(0.002)
    yield 0.002
    sys.setswitchinterval(before_s)


def started(monkeypatch: pytest.MonkeyPatch, threads: int) -> float:
    """How long a turn is once there are so many threads."""
    ran = threading.Event()
    monkeypatch.setattr(threading, "active_count", lambda: threads)
    start_thread(ran.set, "function-1")
    assert ran.wait(BOUND_S)
    return sys.getswitchinterval()


def test_few_threads_have_the_turns_that_the_engine_set(monkeypatch: pytest.MonkeyPatch, turn_s: float) -> None:
    assert started(monkeypatch, 150) == pytest.approx(turn_s)


@pytest.mark.parametrize("threads", [500, 5_000, 10_000])
def test_thousands_together_ask_no_more_often(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    assert threads / started(monkeypatch, threads) <= ASKED_A_SECOND_MAX * 1.01


class Pool:
    """Threads that wait until they are told to end, a clock that the test moves, and a system that may refuse."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.running = 0
        self._ends: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.threads = Threads("f", self._run, lambda: self._ends.put(None), lambda: self.now_s)

    def _run(self) -> None:
        self.running += 1
        self._ends.get()
        self.running -= 1

    def are(self, count: int) -> None:
        wait_until(lambda: self.running == count, what=f"{count} threads")


def test_threads_that_nobody_needed_for_a_while_end_but_for_one() -> None:
    pool = Pool()
    pool.threads.need(5)
    pool.are(5)
    pool.now_s = 61
    pool.threads.need(3)
    pool.are(5)
    pool.now_s = 122
    pool.threads.need(0)
    pool.are(3)
    pool.now_s = 183
    pool.threads.need(0)
    pool.are(1)
    pool.threads.need(2)
    pool.are(2)
    pool.threads.end_all()
    pool.are(0)


class Refusing:
    """A system that gives so many threads more, and then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        real = threading.Thread.start

        def start(thread: threading.Thread) -> None:
            if self.left < 1:
                raise RuntimeError("can't start new thread")
            self.left -= 1
            real(thread)

        monkeypatch.setattr(threading.Thread, "start", start)


def test_where_the_system_gives_no_more_threads_those_that_there_are_go_on_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool, system = Pool(), Refusing(monkeypatch, left=2)
    for _ in range(3):
        pool.threads.need(5)
    pool.are(2)
    assert [record.getMessage() for record in caplog.records] == [
        "the system gives no more threads: those that there are go on"
    ]
    system.left = 3
    pool.threads.need(5)
    pool.are(5)
    pool.threads.end_all()
    pool.are(0)


def test_a_mapping_s_calls_wait_for_threads_that_the_system_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers, system = HandlerThreads("mapping", BOUND_S, lambda: 0.0), Refusing(monkeypatch, left=0)
    ended: list[Ended] = []
    for key in range(3):
        handlers.run(key, lambda: "done")
    assert handlers.ended() == []
    system.left = 1

    def all_have_ended() -> bool:
        ended.extend(handlers.ended())
        return len(ended) == 3

    wait_until(all_have_ended, what="the calls")
    assert {each.value for each in ended} == {"done"}
    handlers.stop()
