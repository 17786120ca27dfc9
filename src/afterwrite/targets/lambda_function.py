"""Lambda: invokes functions later, asynchronously."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import Enqueue, StampedEffect
from afterwrite.targets.remote_target import EntryError, RemoteTarget
from afterwrite.targets.sqs import SqsQueue


def invocation(stamped: StampedEffect) -> dict[str, Any]:
    """What a function's invocation carries: the request, and the id that stays the same over all attempts."""
    effect: Any = stamped.effect
    return {
        "afterwrite": {"function": effect.function, "id": stamped.id, "at_ms": stamped.at_ms},
        "request": effect.request,
    }


class LambdaFunction(RemoteTarget):
    """A function, by its name or ARN. Asynchronous invocations of one lane may overtake each other (S35)."""

    service: ClassVar[str] = "lambda"
    limits: ClassVar[Limits] = Limits(entries=1, request_bytes=1 << 20, entry_bytes=1 << 20)
    actions: ClassVar[tuple[str, ...]] = ("lambda:InvokeFunction",)

    def __init__(self, name: str, client: Callable[[], Any], function: str) -> None:
        super().__init__(name, client)
        self._function = function

    def entry(self, stamped: StampedEffect) -> Entry:
        """The invocation's payload."""
        payload = json_text.dumps(invocation(stamped))
        return Entry(stamped.id, stamped.lane, payload, len(payload))

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        for entry in entries:
            client.invoke(FunctionName=self._function, InvocationType="Event", Payload=entry.body)
        return [None] * len(entries)


class FunctionQueue(SqsQueue):
    """A function that is fed by a queue: with a FIFO queue its invocations are in order per lane."""

    def entry(self, stamped: StampedEffect) -> Entry:
        """The invocation as a message."""
        effect: Any = stamped.effect
        return super().entry(stamped._replace(effect=Enqueue(effect.function, invocation(stamped))))
