"""Delivery: handing messages to a function, and settling each with one outcome.

One dispatcher a function: it settles what is finished and receives as many messages as the function has idle
threads, in one transaction, so an attempt is durable before it runs. While threads are idle, a message is received in
the transaction that sends it, and begun on the thread that committed that; the dispatcher follows. Where attempts are
short a few more messages are received than there are threads: these take them without waiting for a transaction.
What waits so goes back to the queue, as if it had not been received, when an attempt fails by its target, when one
hangs, and at a stop.

A thread that runs past the timeout cannot be stopped: it is *stuck*. Its attempt is settled as failed, what it
returns later is ignored, and another thread takes its place. So that the messages of a few keys cannot take every
thread, a lane may have two stuck ones: a message that hangs beside a stuck thread of its lane is given up, and the
lane's next message waits until one of the two returns. While `STUCK_MAX` are stuck the function runs one
attempt at a time, and none while `STUCK_LIMIT` are.

How many attempts run at once, and whether any, follows what becomes of them (`core/backpressure`): a target that
throttles, does not answer or becomes slow is given less, and what is bound for it waits in its queue, on disk.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from afterwrite.core.backpressure import STUCK_LIMIT, STUCK_MAX, Breaker, Concurrency, free_slots, lane_is_stuck
from afterwrite.core.failures import Failure, failure, failure_of
from afterwrite.core.invocations import Context
from afterwrite.core.outcomes import Done, Halt, Outcome, Park, RetryPolicy, after_failure
from afterwrite.core.placements import Placement
from afterwrite.core.ports import Delivery, Services, Settled, WorkQueue
from afterwrite.engine.attempts import FailingSince, kept_text
from afterwrite.engine.telemetry import Telemetry
from afterwrite.engine.threads import Threads
from afterwrite.errors import StorageError
from afterwrite.forks import ending_forks


@dataclass(frozen=True, slots=True)
class Invocable:
    """A function as the dispatcher runs it.

    `leads_to` is where what it returns goes, together with the record that it is done; then it is not kept there.
    """

    name: str
    handler: Callable[[Any, Context], Any]
    policy: RetryPolicy
    timeout_s: float
    concurrency: int
    leads_to: Callable[[Delivery, Any], Sequence[Placement]] | None = None


@dataclass(frozen=True, slots=True)
class _Returned:
    """A result as JSON text, and where it goes."""

    kept: bytes
    placements: Sequence[Placement]


class _Attempt:
    """An attempt that is to run. `began_s` is None until a thread has taken it."""

    __slots__ = ("began_s", "delivery", "overtaken", "probe", "timeout_s")

    def __init__(self, delivery: Delivery, timeout_s: float, *, probe: bool) -> None:
        self.delivery = delivery
        self.timeout_s = timeout_s
        self.probe = probe
        self.began_s: float | None = None
        self.overtaken = False

    def left_s(self, now_s: float) -> float:
        """How much of its time is left: all of it before it has begun."""
        return self.timeout_s if self.began_s is None else self.began_s + self.timeout_s - now_s


class Dispatcher:
    """The unit of work that feeds one function. `now_ms` is the queue's clock, `monotonic_s` that of the attempts."""

    def __init__(
        self,
        function: Invocable,
        work_queue: WorkQueue,
        services: Services,
        telemetry: Telemetry,
        *,
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float],
    ) -> None:
        self.name = f"function-{function.name}"
        self._function = function
        self._queue = work_queue
        self._services = services
        self._telemetry = telemetry
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._jitter = jitter
        self._wake: threading.Event = threading.Event()
        self._to_run: queue.SimpleQueue[_Attempt | None] = queue.SimpleQueue()
        self._finished: deque[tuple[_Attempt, _Returned | Failure]] = deque()
        self._recalled: deque[_Attempt] = deque()
        self._running: list[_Attempt] = []
        self._starting = threading.Lock()  # for what is running and what was begun, by message, before it is
        self._begun: dict[str, _Attempt] = {}
        self._held_back: list[Delivery] = []
        self._unsettled: list[Settled] = []
        self._threads = Threads(self.name, self._run, lambda: self._to_run.put(None), monotonic_s)
        self._stuck = self._stuck_reported = 0
        self._stuck_of: Counter[str] = Counter()
        self._concurrency = Concurrency.full(function.concurrency)
        self._breaker = Breaker()
        self._failing = FailingSince()

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._wake = event
        self._queue.watch(event)
        self._queue.tell_received(self._begin)

    def run_once(self) -> float | None:
        """Settle what is finished, run what is received; how long (s) until more is due."""
        self._start_all(self._queue.expect(self._room()))
        self._unsettled.extend(self._collect())
        self._resume()
        self._threads.need(self._threads_needed())
        settled, room = self._unsettled, self._room()
        if settled or (room > 0 and self._is_ready()):
            deliveries = self._queue.exchange(settled, limit=room)
            # Not before: what the queue could not take is offered again.
            self._unsettled = []
            self._start_all(deliveries)
            if settled:
                return 0.0
        if self._stuck != self._stuck_reported:
            self._queue.report_stuck(self._stuck)
            self._stuck_reported = self._stuck
        return self._next_due_s()

    def _room(self) -> int:
        """How many more messages may be received."""
        free = max(0, self._free())
        if self._stuck or not self._breaker.is_closed:
            return free
        taken = len(self._running) + len(self._begun)
        return max(free, self._concurrency.slots + self._concurrency.ahead - taken)

    def _free(self) -> int:
        """How many more attempts may begin, beside those that run or wait for a thread."""
        running = len(self._running) + len(self._begun)
        free = free_slots(
            allowed=self._concurrency.slots,
            running=running,
            stuck=self._stuck,
        )
        admitted = self._breaker.admits(running=running, now_ms=self._monotonic_s() * 1000)
        return free if admitted is None else min(free, admitted)

    def stop(self, *, wait_s: float) -> None:
        """Settle what ends within `wait_s`, after the last `run_once`.

        What runs longer ends with the process; it is given back as if it had not been received.
        """
        with suppress(StorageError):
            late = self._queue.exchange([], limit=0)  # after that none is received
            self._start_all(each for each in late if each.message_id in self._begun)
            self._held_back.extend(each for each in late if each.message_id not in self._begun)
        self._recall()
        deadline_s = time.monotonic() + wait_s
        while self._running and (left_s := deadline_s - time.monotonic()) > 0:
            self._wake.clear()
            self._unsettled.extend(self._collect())
            if not self._unsettled:
                self._wake.wait(left_s)
                continue
            self._settle_last(self._unsettled)
            self._unsettled = []
        self._unsettled.extend(self._collect())
        halt = Halt("the engine stopped")
        given_back = [*(attempt.delivery for attempt in self._running), *self._held_back]
        if self._unsettled or given_back:
            self._settle_last([*self._unsettled, *(Settled(delivery, halt) for delivery in given_back)])
        self._threads.end_all()

    def _settle_last(self, settled: list[Settled]) -> None:
        with suppress(StorageError):  # the next start takes it over
            self._queue.exchange(settled, limit=0)

    def _is_ready(self) -> bool:
        at_ms = self._queue.next_ready_ms()
        return at_ms is not None and at_ms <= self._now_ms()

    def _next_due_s(self) -> float | None:
        now_s = self._monotonic_s()
        due_s = [attempt.left_s(now_s) for attempt in self._running]
        if self._room() > 0 and (ready_ms := self._queue.next_ready_ms()) is not None:
            due_s.append((ready_ms - self._now_ms()) / 1000)
        elif not self._breaker.is_closed and not self._running and self._queue.next_ready_ms() is not None:
            due_s.append(self._breaker.open_until_ms / 1000 - now_s)
        return max(0.001, min(due_s)) if due_s else None

    def _begin(self, deliveries: Sequence[Delivery]) -> None:
        """Let idle threads run what was just received, unless something speaks against it. Called on any thread."""
        if self._stuck or not self._breaker.is_closed:
            return
        with self._starting:
            for delivery in deliveries[: max(0, self._free())]:
                self._begun[delivery.message_id] = attempt = self._attempt(delivery)
                self._to_run.put(attempt)

    def _start_all(self, deliveries: Iterable[Delivery]) -> None:
        """Run each of `deliveries`, or hold it back."""
        for delivery in deliveries:
            with self._starting:
                attempt = self._begun.pop(delivery.message_id, None)
                if attempt is None and self._room() > 0 and not self._is_stuck(delivery.lane):
                    attempt = self._attempt(delivery)
                    self._to_run.put(attempt)
                if attempt is not None:
                    self._running.append(attempt)
            if attempt is None:
                self._hold_back(delivery)
            else:
                self._threads.need(self._threads_needed())

    def _threads_needed(self) -> int:
        return min(len(self._running), self._concurrency.slots) + self._stuck

    def _attempt(self, delivery: Delivery) -> _Attempt:
        return _Attempt(delivery, self._function.timeout_s, probe=not self._breaker.is_closed)

    def _hold_back(self, delivery: Delivery) -> None:
        self._held_back.append(delivery)
        if self._is_stuck(delivery.lane):
            self._telemetry.lane_stuck(self._function.name, delivery.lane, delivery.message_id)

    def _collect(self) -> list[Settled]:
        settled: list[Settled] = []
        while self._finished:
            attempt, result = self._finished[0]
            if attempt.delivery.message_id in self._begun:
                break  # the queue has told of it, and will hand it out
            self._finished.popleft()
            if attempt.overtaken:
                self._returned(attempt.delivery.lane)
                continue
            self._running.remove(attempt)
            settled.append(self._settled(attempt, result))
        now_s = self._monotonic_s()
        for attempt in [each for each in self._running if each.left_s(now_s) <= 0]:
            self._running.remove(attempt)
            settled.append(self._overtake(attempt))
        for _ in range(len(self._recalled)):
            attempt = self._recalled.popleft()
            if attempt.delivery.message_id in self._begun:
                self._recalled.append(attempt)  # as above
                continue
            self._running.remove(attempt)
            settled.append(Settled(attempt.delivery, Halt("not begun")))
        return settled

    def _settled(self, attempt: _Attempt, result: _Returned | Failure) -> Settled:
        self._learn(attempt, result)
        if isinstance(result, Failure):
            return Settled(attempt.delivery, self._after_failure(attempt, result))
        self._failing.ended(attempt.delivery.message_id)
        return Settled(attempt.delivery, Done(), result.kept, result.placements)

    def _learn(self, attempt: _Attempt, result: _Returned | Failure) -> None:
        """Take what became of an attempt as a sign of how its target is."""
        now_ms = self._monotonic_s() * 1000
        began_ms = now_ms if attempt.began_s is None else attempt.began_s * 1000
        was_closed = self._breaker.is_closed
        if isinstance(result, Failure) and result.directive.of_target:
            self._concurrency = self._concurrency.after_trouble(began_ms=began_ms, now_ms=now_ms)
            self._breaker = self._breaker.after_trouble(attempt.delivery.lane, began_ms=began_ms, now_ms=now_ms)
            if not self._breaker.is_closed and was_closed:
                self._telemetry.target_left_alone(self._function.name, result.kind, result.reason)
        else:
            limit = self._concurrency.limit
            self._concurrency = self._concurrency.after_success(began_ms=began_ms, now_ms=now_ms)
            if self._concurrency.limit < limit:
                self._recall()
            self._breaker = self._breaker.after_success()
            if not was_closed:
                self._telemetry.target_is_back(self._function.name)

    def _overtake(self, attempt: _Attempt) -> Settled:
        """Fail an attempt whose time is over; its thread is stuck until it returns."""
        delivery, name = attempt.delivery, self._function.name
        attempt.overtaken = True
        self._recall()
        self._stuck += 1
        self._stuck_of[delivery.lane] += 1
        self._telemetry.invocation_stuck(name, delivery.message_id, self._stuck)
        if self._stuck in (STUCK_MAX, STUCK_LIMIT):
            self._telemetry.function_stuck(name, self._stuck, waits=self._stuck == STUCK_LIMIT)
        reason = f"timed out after {self._function.timeout_s:g} s"
        timed_out = failure("unavailable", reason, raised_by=name)
        if not self._is_stuck(delivery.lane):
            return self._settled(attempt, timed_out)
        self._learn(attempt, timed_out)
        reason += ", beside another attempt of its lane that hangs"
        hangs = Park(failure("unavailable", reason, raised_by=name), "hangs")
        return Settled(delivery, self._given_up(delivery, hangs))

    def _returned(self, lane: str) -> None:
        """A stuck thread is free again: one ends, as another took its place; and its lane may go on."""
        self._threads.end(1)
        self._stuck -= 1
        self._stuck_of[lane] -= 1
        if not self._stuck_of[lane]:
            del self._stuck_of[lane]

    def _resume(self) -> None:
        """Start what was held back and need not be any more."""
        resumed = [each for each in self._held_back if not self._is_stuck(each.lane)][: self._room()]
        for delivery in resumed:
            self._held_back.remove(delivery)
        self._start_all(resumed)

    def _is_stuck(self, lane: str) -> bool:
        return lane_is_stuck(self._stuck_of[lane])

    def _run(self) -> None:
        while (attempt := self._to_run.get()) is not None:
            attempt.began_s = self._monotonic_s()
            result = self._invoke(attempt)
            self._finished.append((attempt, result))
            if isinstance(result, Failure) and result.directive.of_target:
                self._recall()
            self._wake.set()

    def _recall(self) -> None:
        """Have what no thread has taken yet go back to the queue. Called on any thread."""
        ends = 0
        with suppress(queue.Empty):
            while True:
                if (attempt := self._to_run.get_nowait()) is None:
                    ends += 1
                else:
                    self._recalled.append(attempt)
        for _ in range(ends):
            self._to_run.put(None)

    def _invoke(self, attempt: _Attempt) -> _Returned | Failure:
        """What the attempt has returned, or how it failed."""
        delivery = attempt.delivery
        context = Context(
            self._services,
            invocation_id=delivery.message_id,
            attempt=delivery.attempt,
            remaining_ms=lambda: int(attempt.left_s(self._monotonic_s()) * 1000),
            now_ms=self._now_ms,
        )
        try:
            with ending_forks():
                result = self._function.handler(delivery.payload, context)
            placements: Sequence[Placement] = ()
            if self._function.leads_to is not None:
                placements, result = self._function.leads_to(delivery, result), None
            kept = kept_text(result)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a failed attempt
            return failure_of(error, raised_by=self._function.name)
        return _Returned(kept, placements)

    def _after_failure(self, attempt: _Attempt, failed: Failure) -> Outcome:
        delivery = attempt.delivery
        outcome = after_failure(
            self._function.policy,
            failed,
            attempt=delivery.attempt,
            age_ms=max(0, self._now_ms() - delivery.sent_at_ms),
            failing_ms=self._failing.failing_ms(delivery.message_id, int(self._monotonic_s() * 1000)),
            jitter=self._jitter(),
            probe=attempt.probe,
        )
        if isinstance(outcome, Park):
            return self._given_up(delivery, outcome)
        self._telemetry.invocation_failed(
            self._function.name, delivery.message_id, delivery.attempt, failed.kind, failed.reason
        )
        return outcome

    def _given_up(self, delivery: Delivery, park: Park) -> Park:
        self._failing.ended(delivery.message_id)
        self._telemetry.invocation_given_up(
            self._function.name, delivery.message_id, delivery.attempt, park.condition, park.reason
        )
        return park
