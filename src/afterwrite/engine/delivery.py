"""Delivery: handing messages to a function, and settling each with one outcome.

One dispatcher a function: it settles what is finished and receives as many messages as the function has idle
threads, in one transaction, so an attempt is durable before it runs. A thread that runs past the timeout cannot
be stopped; its attempt is settled as failed, what it returns later is ignored, and another thread takes its
place, as long as no more than `STUCK_THREADS_MAX` are stuck.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from afterwrite.core import json_text
from afterwrite.core.invocations import Context
from afterwrite.core.outcomes import Done, Outcome, Park, Retry, RetryPolicy, after_failure, reason_of
from afterwrite.core.ports import Delivery, Services, Settled, WorkQueue
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageError

STUCK_THREADS_MAX = 32


@dataclass(frozen=True, slots=True)
class Invocable:
    """A function as the dispatcher runs it."""

    name: str
    handler: Callable[[Any, Context], Any]
    policy: RetryPolicy
    timeout_s: float
    concurrency: int


class _Attempt:
    __slots__ = ("deadline_ms", "delivery", "overtaken")

    def __init__(self, delivery: Delivery, deadline_ms: int) -> None:
        self.delivery = delivery
        self.deadline_ms = deadline_ms
        self.overtaken = False


class Dispatcher:
    """The unit of work that feeds one function."""

    def __init__(
        self,
        function: Invocable,
        work_queue: WorkQueue,
        services: Services,
        telemetry: Telemetry,
        *,
        now_ms: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self.name = f"function-{function.name}"
        self._function = function
        self._queue = work_queue
        self._services = services
        self._telemetry = telemetry
        self._now_ms = now_ms
        self._jitter = jitter
        self._wake: threading.Event = threading.Event()
        self._to_run: queue.SimpleQueue[_Attempt | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[_Attempt, Settled]] = queue.SimpleQueue()
        self._running: list[_Attempt] = []
        self._unsettled: list[Settled] = []
        self._threads = 0
        self._stuck = 0

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._wake = event
        self._queue.watch(event)

    def run_once(self) -> float | None:
        """Settle what is finished, receive what is ready; how long (s) until more is due."""
        self._unsettled.extend(self._collect())
        settled, free = self._unsettled, self._free()
        if settled or (free > 0 and self._is_ready()):
            deadline_ms = self._now_ms() + int(self._function.timeout_s * 1000)
            deliveries = self._queue.exchange(settled, limit=free)
            # Not before: what the queue could not take is offered again.
            self._unsettled = []
            for delivery in deliveries:
                self._start(_Attempt(delivery, deadline_ms))
            if settled:
                return 0.0
        return self._next_due_s()

    def _free(self) -> int:
        if self._stuck >= STUCK_THREADS_MAX:
            return 0
        return self._function.concurrency - len(self._running)

    def stop(self, *, wait_s: float) -> None:
        """Settle what ends within `wait_s`, after the last `run_once`; what runs longer ends with the process."""
        deadline_s = time.monotonic() + wait_s
        while self._running and (left_s := deadline_s - time.monotonic()) > 0:
            self._wake.clear()
            self._unsettled.extend(self._collect())
            if not self._unsettled:
                self._wake.wait(left_s)
                continue
            with suppress(StorageError):  # it is received again when its lease is over
                self._queue.exchange(self._unsettled, limit=0)
            self._unsettled = []
        for _ in range(self._threads):
            self._to_run.put(None)

    def _is_ready(self) -> bool:
        at_ms = self._queue.next_ready_ms()
        return at_ms is not None and at_ms <= self._now_ms()

    def _next_due_s(self) -> float | None:
        due_ms = [attempt.deadline_ms for attempt in self._running]
        if self._free() > 0 and (ready := self._queue.next_ready_ms()) is not None:
            due_ms.append(ready)
        return max(0.001, (min(due_ms) - self._now_ms()) / 1000) if due_ms else None

    def _start(self, attempt: _Attempt) -> None:
        self._running.append(attempt)
        if self._threads < len(self._running) + self._stuck:
            self._threads += 1
            thread = threading.Thread(target=self._run, name=f"{self.name}-{self._threads}", daemon=True)
            thread.start()
        self._to_run.put(attempt)

    def _collect(self) -> list[Settled]:
        settled: list[Settled] = []
        while not self._finished.empty():
            attempt, result = self._finished.get()
            if attempt.overtaken:
                self._stuck -= 1
                continue
            self._running.remove(attempt)
            settled.append(result)
        now_ms = self._now_ms()
        for attempt in [each for each in self._running if each.deadline_ms <= now_ms]:
            attempt.overtaken = True
            self._running.remove(attempt)
            self._stuck += 1
            self._telemetry.invocation_stuck(self._function.name, attempt.delivery.message_id, self._stuck)
            reason = f"timed out after {self._function.timeout_s:g} s"
            settled.append(Settled(attempt.delivery, self._after_failure(attempt.delivery, reason)))
        return settled

    def _run(self) -> None:
        while (attempt := self._to_run.get()) is not None:
            result = self._invoke(attempt)
            self._finished.put((attempt, result))
            self._wake.set()

    def _invoke(self, attempt: _Attempt) -> Settled:
        delivery = attempt.delivery
        context = Context(
            self._services,
            invocation_id=delivery.message_id,
            attempt=delivery.attempt,
            deadline_ms=attempt.deadline_ms,
            now_ms=self._now_ms,
        )
        try:
            result = self._function.handler(delivery.payload, context)
            json_text.dumps(result)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a failed attempt
            return Settled(delivery, self._after_failure(delivery, reason_of(error)))
        return Settled(delivery, Done(), result)

    def _after_failure(self, delivery: Delivery, reason: str) -> Outcome:
        outcome = after_failure(self._function.policy, attempt=delivery.attempt, reason=reason, jitter=self._jitter())
        if isinstance(outcome, Retry):
            self._telemetry.invocation_failed(self._function.name, delivery.message_id, delivery.attempt, reason)
        elif isinstance(outcome, Park):
            self._telemetry.dead_lettered(self._function.name, delivery.message_id, delivery.attempt, reason)
        return outcome
