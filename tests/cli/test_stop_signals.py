from __future__ import annotations

import signal
import threading

import pytest

from afterwrite.cli.stop_signals import StopSignals
from bounds import BOUND_S


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_whichever_thread_the_system_gives_it_to(number: signal.Signals) -> None:
    """The main thread sleeps in its wait, and no signal wakes it there."""

    def take_it() -> None:
        signal.pthread_kill(threading.get_ident(), number)

    with StopSignals() as stop:
        taker = threading.Timer(0.05, take_it)
        taker.start()
        assert stop.wait(BOUND_S)
        taker.join()


def test_a_signal_that_came_before_the_wait_is_heard_and_none_is_made_up() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as stop:
        assert not stop.wait(0)
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(0)
        assert not stop.wait(0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_signals_are_no_reason_to_stop() -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGUSR1)
            assert not stop.wait(0)
    finally:
        signal.signal(signal.SIGUSR1, before)
