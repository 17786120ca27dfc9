"""Threads of functions: the more there are, the more seldom each asks for the interpreter."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from afterwrite.engine.threads import start_thread
from bounds import BOUND_S

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
