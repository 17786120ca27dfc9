"""SIGINT and SIGTERM, which ask a command that goes on for ever to stop."""

from __future__ import annotations

import os
import select
import signal
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Hears both signals within a `with` block. To be made, asked and left on the main thread.

    The system may hand a signal to any thread of the process, and Python runs a handler on the main thread alone, once
    that one wakes: a wait for a lock or an Event could sleep on. So the signal's number goes through a pipe, which
    Python fills wherever the signal arrives, and the main thread waits for that. No handler takes a lock, which the
    wait that it interrupts may hold.
    """

    def __init__(self) -> None:
        self._heard, self._told = os.pipe()
        os.set_blocking(self._told, False)
        self._before: dict[signal.Signals, Any] = {}
        self._fd_before = -1

    def wait(self, timeout_s: float | None) -> bool:
        """Whether one of them has come, or comes within `timeout_s` (None: however long that takes)."""
        readable, _, _ = select.select([self._heard], [], [], timeout_s)
        return bool(readable) and any(number in _SIGNALS for number in os.read(self._heard, 64))

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _told_through_the_pipe) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._told)
        os.close(self._heard)


def _told_through_the_pipe(*_: object) -> None:
    """A signal has to have a handler to be told, and must not end the process."""
