"""The durable queue that feeds a function: leases, idempotency records, dead letters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from afterwrite.app import Function
from afterwrite.core.invocations import Message
from afterwrite.core.outcomes import Done, Park, Retry
from afterwrite.core.ports import Delivery, Settled
from afterwrite.store import ledger, queues
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.queues import Received

# A lease outlasts its attempt's timeout, so that the timeout is settled before anybody else can receive.
_LEASE_GRACE_MS: Final = 2_000
_COMPLETIONS_KEPT_MS: Final = 86_400_000


class FunctionQueue:
    """The WorkQueue of a function on the embedded store."""

    def __init__(self, environment: Environment, function: Function) -> None:
        self._environment = environment
        self._function = function
        self._queue = function.queue_name
        self._lease_ms = int(function.timeout_s * 1000) + _LEASE_GRACE_MS
        environment.write(self._take_over)

    def _take_over(self, transaction: WriteTransaction) -> None:
        """End the leases of an engine that is gone; its attempts stay counted."""
        for message_id in queues.release_all(transaction, self._queue):
            ledger.abandon(transaction, self._function.name, message_id)

    def exchange(self, settled: Iterable[Settled], *, limit: int) -> Sequence[Delivery]:
        """Settle what is finished and receive at most `limit` messages, in one transaction."""
        finished = list(settled)

        def operation(transaction: WriteTransaction) -> Sequence[Delivery]:
            for each in finished:
                self._settle(transaction, each)
            return self._receive(transaction, limit)

        return self._environment.write(operation)

    def next_ready_ms(self) -> int | None:
        """When the next message may be received (ms since the epoch), None where nothing waits."""
        with self._environment.read() as transaction:
            return queues.next_ready_ms(transaction, self._queue)

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to receive."""
        self._environment.signals.watch([queues.signal(self._queue)], event)

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
        elif isinstance(outcome, Retry):
            at_ms = transaction.now_ms + outcome.after_ms
            if queues.release(transaction, self._queue, received, at_ms=at_ms):
                ledger.abandon(transaction, name, received.message.id)
        elif isinstance(outcome, Park):
            self._bury(transaction, received, outcome.reason)
        # Halt: the lease stays until it ends; the consumer has stopped.

    def _bury(self, transaction: WriteTransaction, received: Received, reason: str) -> None:
        if not queues.remove(transaction, self._queue, received):
            return
        ledger.abandon(transaction, self._function.name, received.message.id)
        message = received.message
        dead = replace(
            message,
            attributes={
                **(message.attributes or {}),
                "dead_letter_source": self._queue,
                "dead_letter_function": self._function.name,
                "dead_letter_reason": reason,
                "dead_letter_receive_count": received.receive_count,
                "dead_letter_at_ms": transaction.now_ms,
            },
        )
        queues.send(transaction, self._function.dead_letter_queue, message.lane, queues.encode(dead))

    def _receive(self, transaction: WriteTransaction, limit: int) -> Sequence[Delivery]:
        deliveries: list[Delivery] = []
        now_ms = transaction.now_ms
        name = self._function.name
        while len(deliveries) < limit:
            batch = queues.receive(
                transaction,
                self._queue,
                limit=limit - len(deliveries),
                visibility_ms=self._lease_ms,
                now_ms=now_ms,
            )
            if not batch:
                break
            for received in batch:
                message_id = received.message.id
                record = ledger.completion(transaction, name, message_id)
                if record is not None and record.done:
                    queues.remove(transaction, self._queue, received)
                elif record is not None and record.lease_until_ms > now_ms:
                    # The same message, sent twice, is in progress elsewhere.
                    queues.release(transaction, self._queue, received, at_ms=record.lease_until_ms, counted=False)
                elif received.receive_count > self._function.policy.attempts_max:
                    self._bury(transaction, received, "every attempt ended without an outcome")
                else:
                    ledger.begin(
                        transaction,
                        name,
                        message_id,
                        lease_until_ms=received.visible_until_ms,
                        attempts=received.receive_count,
                    )
                    deliveries.append(self._delivery(received))
        return deliveries

    def _delivery(self, received: Received) -> Delivery:
        return Delivery(
            message_id=received.message.id,
            attempt=received.receive_count,
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
        body=message.body,
        sent_at_ms=message.sent_at_ms,
        subject=message.subject,
        attributes=message.attributes or {},
        receive_count=received.receive_count,
    )


def _as_request(received: Received) -> Any:
    return received.message.body
