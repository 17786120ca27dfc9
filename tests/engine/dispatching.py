"""A function's dispatcher over the store, stepped by the test: real threads, a clock that stands still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from afterwrite.app import Function
from afterwrite.config import Identity
from afterwrite.core.ports import WorkQueue
from afterwrite.engine.delivery import Dispatcher, Invocable
from afterwrite.engine.telemetry import Telemetry
from afterwrite.local.native import NativeServices
from afterwrite.local.work_queues import FunctionQueue, Trials
from afterwrite.store import ledger, queues, waiting_messages
from afterwrite.store.environment import Environment
from afterwrite.store.ledger import Completion
from afterwrite.store.operations import Operations
from afterwrite.store.queues import Message
from bounds import BOUND_S
from embedded import Clock

# On a busy machine a thread waits long for its turn.


class Dispatching:
    """One function with its queue and its dispatcher. Making another one is what a restart does."""

    def __init__(
        self,
        environment: Environment,
        clock: Clock,
        function: Function,
        *,
        wrap: Callable[[WorkQueue], WorkQueue] = lambda queue: queue,
        trials: Trials | None = None,
        monotonic_s: Callable[[], float] | None = None,
    ) -> None:
        self.environment = environment
        self.clock = clock
        self.function = function
        self.wake = threading.Event()
        self.dispatcher = Dispatcher(
            Invocable(function.name, function.handler, function.policy, function.timeout_s, function.concurrency),
            wrap(FunctionQueue(environment, function, trials)),
            NativeServices(environment, Operations(Identity()), Path("/nonexistent")),
            Telemetry(),
            now_ms=lambda: clock.now_ms,
            monotonic_s=monotonic_s or (lambda: clock.now_us / 1e6),
            jitter=lambda: 0.5,
        )
        self.dispatcher.watch(self.wake)

    def send(self, body: Any, *, id: str | None = None, lane: str = "lane", **fields: Any) -> None:
        """Send a message, its body also its id unless one is given."""
        message = Message(id=id or str(body), body=body, lane=lane, sent_at_ms=self.clock.now_ms, **fields)
        encoded = queues.encode(message)
        self.environment.write(lambda transaction: queues.send(transaction, self.function.queue_name, lane, encoded))

    def step(self) -> float | None:
        """Run the dispatcher until it has nothing to do at once; when (s) it will."""
        while (due_s := self.dispatcher.run_once()) == 0.0:
            pass
        return due_s

    def settle(self) -> float | None:
        """Step until nothing is in flight; when (s) more is due."""
        deadline_s = time.monotonic() + BOUND_S
        while True:
            self.wake.clear()
            due_s = self.step()
            if self.in_flight() == 0:
                return due_s
            assert self.wake.wait(deadline_s - time.monotonic()), "an attempt did not end"

    def in_flight(self) -> int:
        with self.environment.read() as transaction:
            return queues.in_flight(transaction, self.function.queue_name, self.clock.now_ms)

    def depth(self) -> int:
        with self.environment.read() as transaction:
            return queues.depth(transaction, self.function.queue_name)

    def dead_letters(self) -> list[Message]:
        with self.environment.read() as transaction:
            return list(waiting_messages.messages(transaction, self.function.dead_letter_queue))

    def completion(self, message_id: str) -> Completion | None:
        with self.environment.read() as transaction:
            return ledger.completion(transaction, self.function.name, message_id)

    def close(self) -> None:
        """End the idle threads."""
        self.dispatcher.stop(wait_s=0)
