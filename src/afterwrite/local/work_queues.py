"""The durable queue that feeds a function: attempts, idempotency records, dead letters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from afterwrite.app import Function
from afterwrite.core import json_text
from afterwrite.core.failures import failure
from afterwrite.core.invocations import Message
from afterwrite.core.outcomes import Done, Halt, Outcome, Park, Retry
from afterwrite.core.ports import Delivery, Settled
from afterwrite.local.steps import Prepared, prepared, put_prepared
from afterwrite.store import held_messages, ledger, queues
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.queues import Received

# A message whose twin is in progress looks again when that has had its time.
_TWIN_GRACE_MS: Final = 2_000
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


class _Settlement(NamedTuple):
    """What became of a received message, and what happens with it."""

    received: Received
    outcome: Outcome
    result: bytes
    placed: Prepared


def _settlement(settled: Settled) -> _Settlement:
    received: Received = settled.delivery.receipt
    if isinstance(settled.outcome, Done):  # nobody looks into it any more
        received = received._replace(message=received.message._replace(body=None, attributes=None, wire=None))
    return _Settlement(received, settled.outcome, settled.result, prepared(settled.placements))


class _Messages(NamedTuple):
    """The messages of a function, in a transaction."""

    function: str
    queue: str
    dead_letter_queue: str
    attempts_max: int
    twin_wait_ms: int
    parks: bool

    def take_over(self, transaction: WriteTransaction) -> Sequence[str]:
        """Mark what the last engine died with; its attempts stay counted."""
        interrupted = queues.take_over(transaction, self.queue, wait_ms_max=queues.WAIT_MS_MAX)
        for message_id in interrupted:
            ledger.abandon(transaction, self.function, message_id)
        if ledger.note(transaction, stuck_note(self.function)):
            ledger.keep_note(transaction, stuck_note(self.function), 0)
        return interrupted

    def exchange(self, transaction: WriteTransaction, finished: Sequence[_Settlement], limit: int) -> list[Received]:
        """Settle what is finished, and receive."""
        self._settle(transaction, finished)
        return self._receive(transaction, limit)

    def exchange_interrupted(
        self, transaction: WriteTransaction, finished: Sequence[_Settlement], limit: int
    ) -> list[Received]:
        """Settle what is finished, and receive one message that an earlier process died with, if `limit` allows it."""
        self._settle(transaction, finished)
        while limit and (
            received := queues.receive_interrupted(
                transaction, self.queue, visibility_ms=held_messages.ENGINES_MS, now_ms=transaction.now_ms
            )
        ):
            if self._begin(transaction, received):
                return [received]
        return []

    def _settle(self, transaction: WriteTransaction, finished: Sequence[_Settlement]) -> None:
        for received, outcome, result, placed in finished:
            if isinstance(outcome, Done):
                if queues.remove(transaction, self.queue, received):
                    ledger.complete(
                        transaction,
                        self.function,
                        received.message.id,
                        attempts=received.receive_count,
                        result=result,
                        keep_ms=_COMPLETIONS_KEPT_MS,
                    )
                    put_prepared(transaction, placed)
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
        if queues.release(transaction, self.queue, received, at_ms=at_ms, counted=counted):
            ledger.abandon(transaction, self.function, received.message.id)

    def _give_up(self, transaction: WriteTransaction, received: Received, park: Park) -> None:
        """Park the message with its lane, or move it to the dead letter queue, as the function is declared."""
        if self.parks:
            if queues.park(transaction, self.queue, received, park.failure, park.condition):
                ledger.abandon(transaction, self.function, received.message.id)
            return
        if not queues.remove(transaction, self.queue, received):
            return
        ledger.abandon(transaction, self.function, received.message.id)
        message = received.message
        dead = queues.dead_letter(
            message,
            source=self.queue,
            failed=park.failure,
            condition=park.condition,
            receive_count=received.receive_count,
            at_ms=transaction.now_ms,
            function=self.function,
        )
        queues.send(transaction, self.dead_letter_queue, message.lane, queues.encode(dead))

    def _receive(self, transaction: WriteTransaction, limit: int) -> list[Received]:
        begun: list[Received] = []
        while len(begun) < limit:
            batch = queues.receive(
                transaction,
                self.queue,
                limit=limit - len(begun),
                visibility_ms=held_messages.ENGINES_MS,
                now_ms=transaction.now_ms,
            )
            if not batch:
                break
            begun.extend(received for received in batch if self._begin(transaction, received))
        return begun

    def _begin(self, transaction: WriteTransaction, received: Received) -> bool:
        """Record that a received message is in progress; False where it is not to be run now."""
        message_id, now_ms = received.message.id, transaction.now_ms
        record = ledger.completion(transaction, self.function, message_id)
        if record is not None:
            if record.done:
                queues.remove(transaction, self.queue, received)
            else:
                # The same message, sent twice, is in progress.
                at_ms = now_ms + self.twin_wait_ms
                queues.release(transaction, self.queue, received, at_ms=at_ms, counted=False)
            return False
        if received.receive_count > self.attempts_max:
            died = failure("bug", "every attempt ended without an outcome", raised_by=self.function)
            self._give_up(transaction, received, Park(died, "no outcome"))
            return False
        lease_until_ms = now_ms + self.twin_wait_ms
        ledger.begin(
            transaction, self.function, message_id, lease_until_ms=lease_until_ms, attempts=received.receive_count
        )
        return True


class _Inbox:
    """What a function's idle threads receive, in the transactions that send it, and in those that ask."""

    def __init__(
        self, environment: Environment, messages: _Messages, delivery_of: Callable[[Received], Delivery]
    ) -> None:
        self._environment = environment
        self._messages = messages
        self._delivery_of = delivery_of
        self._asked = f"receive:{messages.queue}"
        self._lock = threading.Lock()  # for what follows, which the writer's thread changes too
        self._room = 0  # how many more messages may be received
        self._received: list[Delivery] = []  # and not handed out yet
        self._failure: BaseException | None = None
        self.told: Callable[[Sequence[Delivery]], None] = lambda _: None
        followed = [queues.signal(messages.queue), self._asked]
        self.follows = environment.follow(followed, self._receive, self._on_received)

    def exchange(self, finished: Sequence[_Settlement], limit: int) -> Sequence[Delivery]:
        """Settle what is finished, and receive what is ready at the end of the transaction."""

        def ask(transaction: WriteTransaction) -> None:
            self._messages.exchange(transaction, finished, 0)
            transaction.touch(self._asked)

        with self._lock:
            self._room = limit - len(self._received)
        try:
            self._environment.write(ask)
        except BaseException:
            self._room = 0
            raise
        with self._lock:
            return self._hand_out()

    def expect(self, limit: int) -> Sequence[Delivery]:
        """What was received since the last call; then at most `limit` less those are, as they are sent."""
        with self._lock:
            received = self._hand_out()
            self._room = limit - len(received)
        return received

    def _receive(self, transaction: WriteTransaction) -> list[Received]:
        return self._messages.exchange(transaction, (), self._room)

    def _on_received(self, received: list[Received] | None, error: BaseException | None) -> None:
        with self._lock:
            if received is None:
                self._failure, self._room = error, 0
            elif received:
                self._room -= len(received)
                deliveries = [self._delivery_of(each) for each in received]
                self._received += deliveries
                self.told(deliveries)

    def _hand_out(self) -> Sequence[Delivery]:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        received, self._received = self._received, []
        return received


class FunctionQueue:
    """The WorkQueue of a function on the embedded store. The functions of an engine share their `trials`."""

    def __init__(self, environment: Environment, function: Function, trials: Trials | None = None) -> None:
        self._environment = environment
        self._payload: Callable[[Received], Any] = _as_request if function.queue is None else _as_message
        self._messages = _Messages(
            function.name,
            function.queue_name,
            function.dead_letter_queue,
            attempts_max=function.policy.attempts_max,
            twin_wait_ms=int(function.timeout_s * 1000) + _TWIN_GRACE_MS,
            parks=function.exhausted == "park",
        )
        self._trials = trials or Trials()
        self._on_trial: str | None = None
        # Whether there are messages that an earlier process died with, and that have not been tried since.
        self._interrupted = bool(environment.write(self._messages.take_over))
        self._inbox = _Inbox(environment, self._messages, self._delivery)

    def exchange(self, settled: Iterable[Settled], *, limit: int) -> Sequence[Delivery]:
        """Settle what is finished and receive at most `limit` messages, in one transaction."""
        finished = [_settlement(each) for each in settled]
        if self._interrupted:
            received = self._exchange_one(finished, limit)
        elif self._inbox.follows:
            return self._inbox.exchange(finished, limit)
        else:
            received = self._environment.write(partial(self._messages.exchange, finished=finished, limit=limit))
        return [self._delivery(each) for each in received]

    def expect(self, limit: int) -> Sequence[Delivery]:
        """What was received since the last call; then at most `limit` less those are, as they are sent."""
        return self._inbox.expect(0 if self._interrupted else limit)

    def tell_received(self, take: Callable[[Sequence[Delivery]], None]) -> None:
        """Call `take` with what was received once that is durable, on any thread; it is handed out afterwards."""
        self._inbox.told = take

    def _exchange_one(self, finished: Sequence[_Settlement], limit: int) -> Sequence[Received]:
        """The same where messages were interrupted: one of them at a time, and nothing else."""
        if any(each.received.message.id == self._on_trial for each in finished):
            self._exchange_interrupted(finished, 0)
            finished, self._on_trial = [], None
            self._trials.end()
        if limit < 1 or not self._trials.begin():
            return self._exchange_interrupted(finished, 0)
        try:
            received = self._exchange_interrupted(finished, limit)
        except BaseException:
            self._trials.end()
            raise
        if received:
            self._on_trial = received[0].message.id
        else:
            self._interrupted = False
            self._trials.end()
        return received

    def _exchange_interrupted(self, finished: Sequence[_Settlement], limit: int) -> Sequence[Received]:
        return self._environment.write(partial(self._messages.exchange_interrupted, finished=finished, limit=limit))

    def next_ready_ms(self) -> int | None:
        """When the next message may be received (ms since the epoch), None where nothing waits."""
        if self._interrupted and self._trials.taken():
            return None
        with self._environment.read() as transaction:
            return queues.next_ready_ms(transaction, self._messages.queue)

    def report_stuck(self, threads: int) -> None:
        """Keep how many of the function's threads are stuck, for those who look at it from outside."""
        note = stuck_note(self._messages.function)
        self._environment.write(partial(ledger.keep_note, name=note, value=threads))

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to receive."""
        self._environment.signals.watch([queues.signal(self._messages.queue)], event)
        if self._interrupted:
            self._trials.watch(event)

    def _delivery(self, received: Received) -> Delivery:
        return Delivery(
            message_id=received.message.id,
            lane=received.message.lane,
            attempt=received.receive_count,
            sent_at_ms=received.message.sent_at_ms,
            payload=self._payload(received),
            receipt=received,
        )


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
