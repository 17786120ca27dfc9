"""Threads that run a mapping's function: one invocation a lane, each with a deadline.

A thread that runs past its deadline cannot be stopped: it is *stuck*, its invocation has timed out, and what it
returns is ignored. A lane with two stuck threads, or any lane beside `STUCK_MAX` of them, may start no other.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from afterwrite.core.backpressure import STUCK_MAX, lane_is_stuck
from afterwrite.core.failures import reason_of
from afterwrite.engine.threads import Threads
from afterwrite.errors import AfterwriteError
from afterwrite.forks import ending_forks


class InvocationThrottled(AfterwriteError):
    """The function was not invoked, as too many of its invocations run."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An invocation's end: what it returned, or why it failed; one that was throttled did not run at all."""

    key: Any
    value: Any = None
    failure: str | None = None
    is_throttled: bool = False


class _Run:
    __slots__ = ("call", "deadline_s", "is_overtaken", "key")

    def __init__(self, key: Hashable, call: Callable[[], Any], deadline_s: float) -> None:
        self.key = key
        self.call = call
        self.deadline_s = deadline_s
        self.is_overtaken = False


class HandlerThreads:
    """Runs calls by their key, one at a time for each. For one thread to use; `timeout_s` bounds a call."""

    def __init__(self, name: str, timeout_s: float, monotonic_s: Callable[[], float]) -> None:
        self._timeout_s = timeout_s
        self._monotonic_s = monotonic_s
        self._wake: threading.Event = threading.Event()
        self._to_run: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[_Run, Ended]] = queue.SimpleQueue()
        self._running: dict[Hashable, _Run] = {}
        self._stuck: Counter[Hashable] = Counter()
        self._threads = Threads(name, self._work, lambda: self._to_run.put(None), monotonic_s)

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever a call has ended."""
        self._wake = event

    @property
    def running(self) -> tuple[Any, ...]:
        """The keys of the calls that run."""
        return tuple(self._running)

    def may_run(self, key: Hashable) -> bool:
        """Whether stuck threads leave room for a call."""
        return not lane_is_stuck(self._stuck[key]) and self._stuck.total() < STUCK_MAX

    def run(self, key: Hashable, call: Callable[[], Any]) -> None:
        """Run a call in a thread."""
        run = _Run(key, call, self._monotonic_s() + self._timeout_s)
        self._running[key] = run
        self._to_run.put(run)
        self._need_threads()

    def ended(self) -> list[Ended]:
        """The calls that have ended or timed out since the last time."""
        found: list[Ended] = []
        while not self._finished.empty():
            run, ended = self._finished.get()
            if run.is_overtaken:
                self._stuck[run.key] -= 1
                continue
            del self._running[run.key]
            found.append(ended)
        now_s = self._monotonic_s()
        for key, run in [each for each in self._running.items() if each[1].deadline_s <= now_s]:
            del self._running[key]
            run.is_overtaken = True
            self._stuck[key] += 1
            found.append(Ended(key, failure=f"timed out after {self._timeout_s:g} s"))
        self._need_threads()
        return found

    def due_s(self) -> float | None:
        """How long until the next call times out, None where none runs."""
        if not self._running:
            return None
        return max(0.001, min(run.deadline_s for run in self._running.values()) - self._monotonic_s())

    def stop(self) -> None:
        """End the threads that are idle; the others end with what they run."""
        self._threads.end_all()

    def _need_threads(self) -> None:
        self._threads.need(len(self._running) + self._stuck.total())

    def _work(self) -> None:
        while (run := self._to_run.get()) is not None:
            try:
                with ending_forks():
                    ended = Ended(run.key, run.call())
            except InvocationThrottled:
                ended = Ended(run.key, is_throttled=True)
            except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a failed invocation
                ended = Ended(run.key, failure=reason_of(error))
            self._finished.put((run, ended))
            self._wake.set()
