"""Replays as the store keeps them: the time range of an archive to deliver again, and how far that has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from afterwrite.errors import ServiceError
from afterwrite.store import ledger
from afterwrite.store.environment import ReadTransaction, WriteTransaction

SIGNAL: Final = "replays"
STARTING: Final = "STARTING"
RUNNING: Final = "RUNNING"
CANCELLING: Final = "CANCELLING"
COMPLETED: Final = "COMPLETED"
CANCELLED: Final = "CANCELLED"
FAILED: Final = "FAILED"
_ENDED: Final = (COMPLETED, CANCELLED, FAILED)


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay of the events put on `bus` in [from_ms, to_ms); `place` is where in the archive it has come to.

    `events` counts those of the archive so far, `unmatched` those of them that no rule matched, `deliveries` what went
    to the targets of rules. `reason` says why one has failed. Only the rules named in `rules` take part, where it names
    any.
    """

    name: str
    bus: str
    from_ms: int
    to_ms: int
    started_at_ms: int
    state: str = STARTING
    place: str = ""
    events: int = 0
    unmatched: int = 0
    deliveries: int = 0
    ended_at_ms: int | None = None
    reason: str | None = None
    description: str | None = None
    rules: Sequence[str] = ()


def find(transaction: ReadTransaction, name: str) -> Replay | None:
    """The replay `name`."""
    kept: dict[str, Any] | None = ledger.note(transaction, f"replay/{name}")
    return None if kept is None else Replay(**kept)


def described(transaction: ReadTransaction, name: str) -> Replay:
    """The replay `name`. Raises ResourceNotFoundException."""
    replay = find(transaction, name)
    if replay is None:
        raise ServiceError("ResourceNotFoundException", f"Replay {name} does not exist.")
    return replay


def keep(transaction: WriteTransaction, replay: Replay) -> None:
    """Record how far a replay has come."""
    ledger.keep_note(transaction, f"replay/{replay.name}", asdict(replay))


def start(transaction: WriteTransaction, replay: Replay) -> None:
    """Record a replay that is to run. Raises ServiceError as StartReplay does."""
    if replay.from_ms >= replay.to_ms:
        reason = "EventStartTime must be before EventEndTime."
        raise ServiceError("ValidationException", f"Parameter EventEndTime is not valid. Reason: {reason}")
    if find(transaction, replay.name) is not None:
        raise ServiceError("ResourceAlreadyExistsException", f"Replay {replay.name} already exists.")
    keep(transaction, replay)
    ledger.keep_note(transaction, "replays", [*_names(transaction), replay.name])
    transaction.touch(SIGNAL)


def cancel(transaction: WriteTransaction, name: str) -> Replay:
    """Have a replay end before its next portion. Raises ServiceError as CancelReplay does."""
    replay = described(transaction, name)
    if replay.state not in (STARTING, RUNNING):
        raise ServiceError("IllegalStatusException", f"Replay {name} is not in a valid state for this operation.")
    cancelled = replace(replay, state=CANCELLING)
    keep(transaction, cancelled)
    transaction.touch(SIGNAL)
    return cancelled


def started(transaction: ReadTransaction) -> list[Replay]:
    """Every replay that was ever started, in order."""
    found = (find(transaction, name) for name in _names(transaction))
    return [replay for replay in found if replay is not None]


def _names(transaction: ReadTransaction) -> list[str]:
    return list(ledger.note(transaction, "replays") or [])


def unfinished(transaction: ReadTransaction) -> Replay | None:
    """The replay to go on with: one that is being cancelled, else the first that has not ended."""
    found = [replay for replay in started(transaction) if replay.state not in _ENDED]
    return min(found, key=lambda replay: replay.state != CANCELLING, default=None)
