"""Replays as the store keeps them: the time range of an archive to deliver again, and how far that has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from afterwrite.errors import ServiceError
from afterwrite.store import ledger
from afterwrite.store.environment import ReadTransaction, WriteTransaction

SIGNAL: Final = "replays"
STARTING: Final = "STARTING"
RUNNING: Final = "RUNNING"
COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay of the events put on `bus` in [from_ms, to_ms); `place` is where in the archive it has come to.

    `events` counts those of the archive so far, `unmatched` those of them that no rule matched, `deliveries` what went
    to the targets of rules. `reason` says why one has failed.
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


def start(transaction: WriteTransaction, name: str, bus: str, from_ms: int, to_ms: int) -> Replay:
    """Record a replay that is to run. Raises ServiceError as StartReplay does."""
    if from_ms >= to_ms:
        reason = "EventStartTime must be before EventEndTime."
        raise ServiceError("ValidationException", f"Parameter EventEndTime is not valid. Reason: {reason}")
    if find(transaction, name) is not None:
        raise ServiceError("ResourceAlreadyExistsException", f"Replay {name} already exists.")
    replay = Replay(name, bus, from_ms, to_ms, transaction.now_ms)
    keep(transaction, replay)
    ledger.keep_note(transaction, "replays", [*replay_names(transaction), name])
    transaction.touch(SIGNAL)
    return replay


def replay_names(transaction: ReadTransaction) -> list[str]:
    """Every replay ever started, in order."""
    return list(ledger.note(transaction, "replays") or [])


def unfinished(transaction: ReadTransaction) -> Replay | None:
    """The first replay that has not ended."""
    for name in replay_names(transaction):
        replay = find(transaction, name)
        if replay is not None and replay.state not in (COMPLETED, FAILED):
            return replay
    return None
