"""Invocations: messages for one function that a service hands over together.

Messages of one lane run in order, and a failed one stops its lane. With a ledger a message that was done is not done
again when it is delivered again, and of two deliveries at one time one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from afterwrite.core.invocations import Context
from afterwrite.core.lambda_events import Invocation
from afterwrite.core.ports import Begun, Completed, InProgress, Ledger, Services
from afterwrite.engine.attempts import kept_text

KEPT_MS = 14 * 86_400_000
"""How long a record stays: as long as a queue can keep a message."""
# An attempt that did not end with its process is over by then.
_LEASE_GRACE_MS = 2_000


@dataclass(frozen=True, slots=True)
class NotDone:
    """A message whose attempt failed, the `attempt`-th, is left for another, or was not made: then without an error."""

    invocation: Invocation
    error: BaseException | None
    attempt: int = 0


class InvocationTelemetry(Protocol):
    """What invocations say about themselves. What an error says may quote items."""

    def invocation_failed(self, function: str, message_id: str, attempt: int, error: BaseException) -> None:
        """An attempt failed."""
        ...


@dataclass(frozen=True, slots=True)
class Invocations:
    """The attempts of one function. `time_left_ms` is how long the process may still take."""

    name: str
    handler: Callable[[Any, Context], Any]
    services: Services
    ledger: Ledger | None
    telemetry: InvocationTelemetry
    now_ms: Callable[[], int]
    time_left_ms: Callable[[], int]

    def run(self, invocations: Sequence[Invocation]) -> tuple[list[bytes | None], list[NotDone]]:
        """The results (JSON text), None for a message that has none, and the failures, in the messages' order.

        Raises StorageError where the ledger does not answer.
        """
        results: list[bytes | None] = []
        failures: list[NotDone] = []
        stopped: set[str] = set()
        for each in invocations:
            if each.lane in stopped or self.time_left_ms() <= 0:
                failures.append(NotDone(each, None))
                results.append(None)
                continue
            outcome = self._attempt(each)
            if isinstance(outcome, NotDone):
                failures.append(outcome)
                results.append(None)
                if each.lane is not None:
                    stopped.add(each.lane)
            else:
                results.append(outcome)
        return results, failures

    def _attempt(self, each: Invocation) -> bytes | NotDone:
        begun: Begun | None = None
        if self.ledger is not None:
            lease_ms = self.time_left_ms() + _LEASE_GRACE_MS
            state = self.ledger.begin(self.name, each.message_id, lease_ms=lease_ms)
            if isinstance(state, Completed):
                return state.result
            if isinstance(state, InProgress):
                return NotDone(each, None)
            begun = state
        number = each.attempt if begun is None else begun.attempt
        context = Context(
            self.services,
            invocation_id=each.message_id,
            attempt=number,
            remaining_ms=self.time_left_ms,
            now_ms=self.now_ms,
        )
        try:
            result = kept_text(self.handler(each.payload, context))
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is a failed attempt
            self.telemetry.invocation_failed(self.name, each.message_id, number, error)
            self._end(each, begun)
            return NotDone(each, error, number)
        if self.ledger is not None:
            self.ledger.complete(self.name, each.message_id, keep_ms=KEPT_MS, result=result)
        return result

    def _end(self, each: Invocation, begun: Begun | None) -> None:
        if self.ledger is not None and begun is not None:
            self.ledger.fail(self.name, each.message_id, begun, keep_ms=KEPT_MS)
