"""What the embedded engine alone has: on AWS its effects lead to nothing, and fail nobody's change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
from afterwrite.core.target_failures import TargetFailure
from afterwrite.targets.remote_target import RemoteTarget


class Nowhere(RemoteTarget):
    """The target of effects on what is declared for the embedded engine's data directory."""

    service: ClassVar[str] = "none"
    limits: ClassVar[Limits] = Limits(entries=10_000, request_bytes=1 << 40, entry_bytes=1 << 40)
    actions: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, lambda: None)

    def entry(self, stamped: StampedEffect) -> Entry:
        """Nothing to send."""
        return Entry(stamped.id, stamped.lane, None, 0)

    def send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        """Nothing is done."""
        return [None] * len(entries)
