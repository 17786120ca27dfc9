"""What was given up and waits for an operator: one entry a failure, and the selection of entries.

A *change* is parked where a route failed on it, a *message* where a function did that parks its lane, or where it
cannot be read: both hold up their lane, so redriving them keeps the order. A *dead letter* has left its lane, which
went on: redriven, it comes after what was delivered meanwhile. So do *records* of a stream that an event source mapping
gave up on, a batch an entry: they run again only while their stream keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from afterwrite.core.failures import Failure

ParkedKind: TypeAlias = Literal["change", "message", "dead letter", "records"]


@dataclass(frozen=True, slots=True)
class ParkedEntry:
    """One failure that waits.

    `place` is where it is; entries come in the order of their places. `held_in` names the table, the queue or the
    stream. `id` is the change's or the message's, None where it cannot be read. `behind` counts what waits behind it in
    its lane, which of a stream's records is the shard. `failure` is None for a change whose failed predecessor was
    dropped. The payload is a stream's record, or the message as it was sent; of one that cannot be read it is its
    bytes, of records the message for a failure destination.
    """

    place: str
    kind: ParkedKind
    held_in: str
    lane: str
    id: str | None
    failure: Failure | None
    condition: str
    attempts: int
    created_at_ms: int | None
    parked_at_ms: int
    behind: int
    payload: Any


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are meant: those for which everything that is given holds.

    `raised_by` is a route's or a function's name, `fingerprint` a failure's. Times are those of the parking, in ms
    since the epoch, `until_ms` not included.
    """

    lane: str | None = None
    held_in: str | None = None
    raised_by: str | None = None
    fingerprint: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is given, so that every entry is meant."""
        return self == EVERYTHING

    def admits(self, entry: ParkedEntry) -> bool:
        """Whether the entry is meant."""
        failure = entry.failure
        return (
            self.lane in (None, entry.lane)
            and self.held_in in (None, entry.held_in)
            and (self.raised_by is None or (failure is not None and failure.raised_by == self.raised_by))
            and (self.fingerprint is None or (failure is not None and failure.fingerprint == self.fingerprint))
            and (self.since_ms is None or entry.parked_at_ms >= self.since_ms)
            and (self.until_ms is None or entry.parked_at_ms < self.until_ms)
        )

    def to_fields(self) -> Mapping[str, Any]:
        """What is given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


EVERYTHING: Final = Selection()


@dataclass(frozen=True, slots=True)
class Portion:
    """What a request over a selection has done: for how many entries, and the place after which it goes on, if so."""

    entries: int
    next: str | None
