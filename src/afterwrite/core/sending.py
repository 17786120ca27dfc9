"""Sending: what code that sends to a system outside AWS's streams and queues has in common."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

from afterwrite.core.invocations import Context, Message
from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import Rejected, Throttled, Unavailable


class Sender(Protocol):
    """A target that a function sends to, or that is a function's whole work.

    Order: one thing is sent at a time, so a lane's order is the caller's. Duplicates: what is sent carries the
    caller's id, the same over all attempts, by which its receiver can tell a repetition. Concurrency: any number of
    threads may send. Raises Throttled, Unavailable and Rejected for the failures of its system.
    """

    def __call__(self, request: Any, context: Context, /) -> Any:
        """Send what a function's request, or a queue's message, asks for, under the invocation's id."""


def asked_for(request: Any) -> Any:
    """What is to be sent: a function's request, or the body of a queue's message."""
    return request.body if isinstance(request, Message) else request


def fail(failure: TargetFailure, *, retry_after_s: float | None = None) -> NoReturn:
    """Raise what tells the engine of a target's failure: Throttled, Unavailable or Rejected, by its kind."""
    if failure.kind == "throttled":
        raise Throttled(failure.reason, retry_after_s=retry_after_s)
    if failure.kind == "unavailable":
        raise Unavailable(failure.reason, retry_after_s=retry_after_s)
    raise Rejected(failure.reason)
