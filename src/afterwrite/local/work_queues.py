"""The durable queue that feeds a function: attempts, idempotency records, dead letters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from afterwrite.app import Function
from afterwrite.core import json_text
from afterwrite.core.failures import failure
from afterwrite.core.invocations import Message
from afterwrite.core.outcomes import Done, Halt, Park, Retry
from afterwrite.core.ports import Delivery, Settled
from afterwrite.local.steps import put_all
from afterwrite.store import ledger, queues
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.queues import Received

# One engine holds its directory, and what it held is taken over at the next start: a message stays received until it
# is settled, and no step of the clock can end that.
_HELD_MS: Final = 100 * 365 * 86_400_000
# A message whose twin is in progress looks again when that has had its time.
_TWIN_GRACE_MS: Final = 2_000
# Longer than any message may be told to wait, by its sender or by the backoff of its retries.
_WAIT_MS_MAX: Final = 31 * 86_400_000
_COMPLETIONS_KEPT_MS: Final = 86_400_000


def stuck_note(function: str) -> str:
    """The name of the ledger's note of how many of a function's threads are stuck."""
    return f"stuck/{function}"


class Trials:
    """The turn to run a message that an earlier process died with: one at a time in the whole engine."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._watching: list[threading.Event] = []

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever the turn is free again."""
        self._watching.append(event)

    def taken(self) -> bool:
        """Whether it is somebody's turn."""
        return self._turn.locked()

    def begin(self) -> bool:
        """Take the turn if it is free."""
        return self._turn.acquire(blocking=False)

    def end(self) -> None:
        """Give the turn back."""
        self._turn.release()
        for event in self._watching:
            event.set()


class FunctionQueue:
    """The WorkQueue of a function on the embedded store. The functions of an engine share their `trials`."""

    def __init__(self, environment: Environment, function: Function, trials: Trials | None = None) -> None:
        self._environment = environment
        self._function = function
        self._queue = function.queue_name
        self._twin_wait_ms = int(function.timeout_s * 1000) + _TWIN_GRACE_MS
        self._trials = trials or Trials()
        self._on_trial: str | None = None
        # Whether there are messages that an earlier process died with, and that have not been tried since.
        self._interrupted = bool(environment.write(self._take_over))
        self._receiving = threading.Lock()  # for what follows, which the writer's thread changes too
        self._room = 0  # how many more messages may be received
        self._received: list[Delivery] = []  # and not handed out yet
        self._failure: BaseException | None = None
        self._take: Callable[[Sequence[Delivery]], None] = lambda _: None
        self._asked = f"receive:{self._queue}"
        environment.follow([queues.signal(self._queue), self._asked], self._receive, self._on_received)

    def _take_over(self, transaction: WriteTransaction) -> Sequence[str]:
        """Mark what the last engine died with; its attempts stay counted."""
        interrupted = queues.take_over(transaction, self._queue, wait_ms_max=_WAIT_MS_MAX)
        for message_id in interrupted:
            ledger.abandon(transaction, self._function.name, message_id)
        if ledger.note(transaction, stuck_note(self._function.name)):
            ledger.keep_note(transaction, stuck_note(self._function.name), 0)
        return interrupted

    def exchange(self, settled: Iterable[Settled], *, limit: int) -> Sequence[Delivery]:
        """Settle what is finished and receive at most `limit` messages, in one transaction."""
        finished = list(settled)
        if self._interrupted:
            return self._exchange_one(finished, limit)
        with self._receiving:
            self._room = limit - len(self._received)
        try:
            self._write(finished, self._ask)
        except BaseException:
            self._room = 0
            raise
        with self._receiving:
            return self._take_received()

    def expect(self, limit: int) -> Sequence[Delivery]:
        """What was received since the last call; then at most `limit` less those are, as they are sent."""
        with self._receiving:
            received = self._take_received()
            self._room = 0 if self._interrupted else limit - len(received)
        return received

    def tell_received(self, take: Callable[[Sequence[Delivery]], None]) -> None:
        """Call `take` with what was received as soon as that is durable, on any thread."""
        self._take = take

    def _ask(self, transaction: WriteTransaction) -> Sequence[Delivery]:
        """Have what is ready received at the end of the transaction."""
        transaction.touch(self._asked)
        return ()

    def _on_received(self, received: Sequence[Delivery] | None, error: BaseException | None) -> None:
        with self._receiving:
            if received is None:
                self._failure, self._room = error, 0
            elif received:
                self._room -= len(received)
                self._received += received
                self._take(received)

    def _take_received(self) -> Sequence[Delivery]:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        received, self._received = self._received, []
        return received

    def _exchange_one(self, finished: Sequence[Settled], limit: int) -> Sequence[Delivery]:
        """The same where messages were interrupted: one of them at a time, and nothing else."""
        if any(each.delivery.message_id == self._on_trial for each in finished):
            self._write(finished, lambda _: [])
            finished, self._on_trial = [], None
            self._trials.end()
        if limit < 1 or not self._trials.begin():
            return self._write(finished, lambda _: [])
        try:
            deliveries = self._write(finished, self._receive_interrupted)
        except BaseException:
            self._trials.end()
            raise
        if deliveries:
            self._on_trial = deliveries[0].message_id
        else:
            self._interrupted = False
            self._trials.end()
        return deliveries

    def _write(
        self, finished: Sequence[Settled], receive: Callable[[WriteTransaction], Sequence[Delivery]]
    ) -> Sequence[Delivery]:
        def operation(transaction: WriteTransaction) -> Sequence[Delivery]:
            for each in finished:
                self._settle(transaction, each)
            return receive(transaction)

        return self._environment.write(operation)

    def next_ready_ms(self) -> int | None:
        """When the next message may be received (ms since the epoch), None where nothing waits."""
        if self._interrupted and self._trials.taken():
            return None
        with self._environment.read() as transaction:
            return queues.next_ready_ms(transaction, self._queue)

    def report_stuck(self, threads: int) -> None:
        """Keep how many of the function's threads are stuck, for those who look at it from outside."""
        note = stuck_note(self._function.name)
        self._environment.write(lambda transaction: ledger.keep_note(transaction, note, threads))

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to receive."""
        self._environment.signals.watch([queues.signal(self._queue)], event)
        if self._interrupted:
            self._trials.watch(event)

    def _settle(self, transaction: WriteTransaction, settled: Settled) -> None:
        received: Received = settled.delivery.receipt
        name, outcome = self._function.name, settled.outcome
        if isinstance(outcome, Done):
            if queues.remove(transaction, self._queue, received):
                ledger.complete(
                    transaction,
                    name,
                    received.message.id,
                    attempts=received.receive_count,
                    result=settled.result,
                    keep_ms=_COMPLETIONS_KEPT_MS,
                )
                put_all(transaction, settled.placements)
        elif isinstance(outcome, Retry):
            self._give_back(transaction, received, after_ms=outcome.after_ms, counted=outcome.counted)
        elif isinstance(outcome, Park):
            self._give_up(transaction, received, outcome)
        elif isinstance(outcome, Halt):
            self._give_back(transaction, received, after_ms=0, counted=False)

    def _give_back(
        self, transaction: WriteTransaction, received: Received, *, after_ms: int, counted: bool = True
    ) -> None:
        at_ms = transaction.now_ms + after_ms
        if queues.release(transaction, self._queue, received, at_ms=at_ms, counted=counted):
            ledger.abandon(transaction, self._function.name, received.message.id)

    def _give_up(self, transaction: WriteTransaction, received: Received, park: Park) -> None:
        """Park the message with its lane, or move it to the dead letter queue, as the function is declared."""
        if self._function.exhausted == "park":
            if queues.park(transaction, self._queue, received, park.failure, park.condition):
                ledger.abandon(transaction, self._function.name, received.message.id)
            return
        if not queues.remove(transaction, self._queue, received):
            return
        ledger.abandon(transaction, self._function.name, received.message.id)
        message = received.message
        dead = queues.dead_letter(
            message,
            source=self._queue,
            failed=park.failure,
            condition=park.condition,
            receive_count=received.receive_count,
            at_ms=transaction.now_ms,
            function=self._function.name,
        )
        queues.send(transaction, self._function.dead_letter_queue, message.lane, queues.encode(dead))

    def _receive(self, transaction: WriteTransaction) -> Sequence[Delivery]:
        limit = self._room
        deliveries: list[Delivery] = []
        while len(deliveries) < limit:
            batch = queues.receive(
                transaction,
                self._queue,
                limit=limit - len(deliveries),
                visibility_ms=_HELD_MS,
                now_ms=transaction.now_ms,
            )
            if not batch:
                break
            begun = (self._begin(transaction, received) for received in batch)
            deliveries.extend(delivery for delivery in begun if delivery is not None)
        return deliveries

    def _receive_interrupted(self, transaction: WriteTransaction) -> Sequence[Delivery]:
        while received := queues.receive_interrupted(
            transaction, self._queue, visibility_ms=_HELD_MS, now_ms=transaction.now_ms
        ):
            delivery = self._begin(transaction, received)
            if delivery is not None:
                return [delivery]
        return []

    def _begin(self, transaction: WriteTransaction, received: Received) -> Delivery | None:
        """The delivery of a received message; None where it is not to be run now."""
        name, message_id, now_ms = self._function.name, received.message.id, transaction.now_ms
        record = ledger.completion(transaction, name, message_id)
        if record is not None:
            if record.done:
                queues.remove(transaction, self._queue, received)
            else:
                # The same message, sent twice, is in progress.
                at_ms = now_ms + self._twin_wait_ms
                queues.release(transaction, self._queue, received, at_ms=at_ms, counted=False)
            return None
        if received.receive_count > self._function.policy.attempts_max:
            died = failure("bug", "every attempt ended without an outcome", raised_by=name)
            self._give_up(transaction, received, Park(died, "no outcome"))
            return None
        lease_until_ms = now_ms + self._twin_wait_ms
        ledger.begin(transaction, name, message_id, lease_until_ms=lease_until_ms, attempts=received.receive_count)
        return self._delivery(received)

    def _delivery(self, received: Received) -> Delivery:
        return Delivery(
            message_id=received.message.id,
            lane=received.message.lane,
            attempt=received.receive_count,
            sent_at_ms=received.message.sent_at_ms,
            payload=self._payload(received),
            receipt=received,
        )

    @property
    def _payload(self) -> Callable[[Received], Any]:
        return _as_message if self._function.queue is not None else _as_request


def _as_message(received: Received) -> Message:
    message = received.message
    return Message(
        id=message.id,
        body=message.body if message.wire is None else _parsed(message.body),
        sent_at_ms=message.sent_at_ms,
        subject=message.subject,
        attributes=message.attributes or {},
        receive_count=received.receive_count,
    )


def _parsed(text: str) -> Any:
    """What a text from outside stands for: an object or a list where it is the JSON of one, else itself."""
    try:
        found = json_text.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, dict | list) else text


def _as_request(received: Received) -> Any:
    return received.message.body
