"""Loops: a thread that runs a unit of work whenever it is due or may be, and survives its failures."""

from __future__ import annotations

import threading
from typing import Protocol

from afterwrite.engine.telemetry import Telemetry

_RETRY_S_FIRST = 0.1
_RETRY_S_MAX = 10.0
# Nothing waits longer than this for an event that was missed.
_IDLE_S_MAX = 5.0


class Work(Protocol):
    """A unit of work that a loop runs again and again."""

    @property
    def name(self) -> str:
        """What the loop's thread is called."""
        ...

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        ...

    def run_once(self) -> float | None:
        """Do what is due; how long (s) until more is due, None where only an event can tell."""
        ...


class Loop:
    """A thread around a unit of work. A failure is logged and tried again after a growing wait."""

    def __init__(self, work: Work, telemetry: Telemetry) -> None:
        self._work = work
        self._telemetry = telemetry
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=work.name, daemon=True)
        work.watch(self._wake)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Ask the thread to end after what it is doing."""
        self._stopping = True
        self._wake.set()

    def stop(self, *, wait_s: float) -> bool:
        """Ask the thread to end, and wait for it; whether it has ended within `wait_s`."""
        self.ask_to_stop()
        if self._thread.ident is not None:
            self._thread.join(wait_s)
        if self._thread.is_alive():
            self._telemetry.loop_left_running(self._work.name, wait_s)
            return False
        return True

    def _run(self) -> None:
        retry_s = 0.0
        while not self._stopping:
            self._wake.clear()
            try:
                due_s = self._work.run_once()
            except Exception as error:  # noqa: BLE001 - the loop must outlive whatever its work raises
                retry_s = min(_RETRY_S_MAX, retry_s * 2 or _RETRY_S_FIRST)
                self._telemetry.loop_failed(self._work.name, error, retry_s)
                if not self._stopping:
                    self._wake.wait(retry_s)
                continue
            if retry_s:
                retry_s = 0.0
                self._telemetry.loop_recovered(self._work.name)
            if due_s != 0.0 and not self._stopping:
                self._wake.wait(_IDLE_S_MAX if due_s is None else min(due_s, _IDLE_S_MAX))
