"""EventBridge: puts events on a bus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
from afterwrite.core.lambda_events import EFFECT_RESOURCE
from afterwrite.targets.remote_target import EntryError, RemoteTarget, entry_errors

_TIME_BYTES: Final = 14


class EventBus(RemoteTarget):
    """A bus, by its name or ARN."""

    service: ClassVar[str] = "events"
    limits: ClassVar[Limits] = Limits(entries=10, request_bytes=262_144, entry_bytes=262_144)
    actions: ClassVar[tuple[str, ...]] = ("events:PutEvents",)

    def __init__(self, name: str, client: Callable[[], Any], bus: str) -> None:
        super().__init__(name, client)
        self._bus = bus

    def entry(self, stamped: StampedEffect) -> Entry:
        """The event, at the time of the change behind it."""
        effect: Any = stamped.effect
        detail, resource = json_text.dumps(effect.detail).decode(), EFFECT_RESOURCE + stamped.id
        body = {
            "Source": effect.source,
            "DetailType": effect.detail_type,
            "Detail": detail,
            "EventBusName": self._bus,
            "Time": datetime.fromtimestamp(stamped.at_ms / 1000, UTC),
            "Resources": [resource],
        }
        counted = (effect.source, effect.detail_type, detail, resource)
        return Entry(stamped.id, stamped.lane, body, _TIME_BYTES + sum(len(part.encode()) for part in counted))

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        answer = client.put_events(Entries=[entry.body for entry in entries])
        return entry_errors(answer["Entries"])
