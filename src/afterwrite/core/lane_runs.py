"""Which effects of a batch may be sent now, and what becomes of its changes: a pure state machine.

The changes of one lane are taken strictly in order: the effects of a change are offered once those of the lane's
change before it have all been performed. A failed effect holds back its own lane and no other (S28): it is offered
again after a wait, or, where that would not help, its lane stops with it.

A target that keeps the order of what it gets is offered one effect of a lane at a time, so that of one request no
later effect is performed whose earlier one failed. One that keeps none is offered all of a change's at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple

from afterwrite.core.batching import Entry
from afterwrite.core.outcomes import Retry, RetryPolicy, after_failure
from afterwrite.core.target_failures import TargetFailure

POLICY: Final = RetryPolicy(attempts_max=4, backoff_ms_first=100, backoff_ms_max=5_000)


class PlannedChange(NamedTuple):
    """A change with what it leads to: the entries by target, in the order of its routes."""

    position: int
    lane: str
    entries: Sequence[tuple[str, Entry]]


@dataclass(frozen=True, slots=True)
class Performed:
    """Every effect of the change has been performed."""


PERFORMED: Final = Performed()


@dataclass(frozen=True, slots=True)
class Failed:
    """An effect of the change failed; `performed` are the ids of those that had not."""

    failure: TargetFailure
    performed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Not all of the change's effects were tried: its lane stopped before, or the time was up."""

    performed: tuple[str, ...] = ()


@dataclass(slots=True)
class _LaneRun:
    """A lane's changes, which of them is its head, and where that stands. A batch has many: they are made cheaply."""

    changes: list[PlannedChange]
    head: int = 0
    pending: Sequence[tuple[str, Entry]] = ()
    performed: tuple[str, ...] = ()
    attempts: dict[str, int] | None = None
    not_before_ms: int = 0
    failure: TargetFailure | None = None


class LaneRuns:
    """The lanes of a batch. Every entry that `ready` gives is settled before `ready` is asked again."""

    def __init__(
        self, changes: Sequence[PlannedChange], *, in_order: AbstractSet[str], policy: RetryPolicy = POLICY
    ) -> None:
        self._in_order = in_order
        self._policy = policy
        self._verdicts: dict[int, Performed | Failed | Unfinished] = {}
        self._runs: dict[str, _LaneRun] = {}
        for change in changes:
            run = self._runs.get(change.lane)
            if run is None:
                self._runs[change.lane] = _LaneRun([change])
            else:
                run.changes.append(change)
        self._active = dict(self._runs)
        for lane, run in self._runs.items():
            self._begin_next(lane, run)

    def ready(self, now_ms: int) -> Mapping[str, list[Entry]]:
        """What may be sent now, by target, in the order of the batch."""
        offered: dict[str, list[Entry]] = {}
        for run in self._active.values():
            if run.not_before_ms > now_ms:
                continue
            if len(run.pending) == 1:
                target, entry = run.pending[0]
                offered.setdefault(target, []).append(entry)
                continue
            taken: set[str] = set()
            for target, entry in run.pending:
                if target not in taken:
                    offered.setdefault(target, []).append(entry)
                if target in self._in_order:
                    taken.add(target)
        return offered

    def next_ready_ms(self) -> int | None:
        """When more may be sent, None where nothing is left to send."""
        return min((run.not_before_ms for run in self._active.values()), default=None)

    def performed(self, entry: Entry) -> None:
        """The entry's effect has been performed."""
        run = self._runs[entry.lane]
        run.pending = [each for each in run.pending if each[1].id != entry.id]
        run.performed += (entry.id,)
        if not run.pending and run.failure is None:
            self._verdicts[run.changes[run.head].position] = PERFORMED
            run.head += 1
            self._begin_next(entry.lane, run)

    def failed(self, entry: Entry, failure: TargetFailure, *, now_ms: int, jitter: float) -> None:
        """The entry's effect failed; `jitter` is drawn from [0, 1)."""
        run = self._runs[entry.lane]
        run.attempts = run.attempts or {}
        attempt = run.attempts[entry.id] = run.attempts.get(entry.id, 0) + 1
        if failure.directive.again:
            outcome = after_failure(self._policy, attempt=attempt, reason=failure.reason, jitter=jitter)
            if isinstance(outcome, Retry):
                run.not_before_ms = max(run.not_before_ms, now_ms + outcome.after_ms)
                return
        run.failure = failure
        self._active.pop(entry.lane, None)

    def verdicts(self) -> Mapping[int, Performed | Failed | Unfinished]:
        """What became of each change, by its position, as things stand."""
        verdicts = dict(self._verdicts)
        for run in self._runs.values():
            for number in range(run.head, len(run.changes)):
                performed = run.performed if number == run.head else ()
                stopped = run.failure if number == run.head else None
                verdicts[run.changes[number].position] = (
                    Unfinished(performed) if stopped is None else Failed(stopped, performed)
                )
        return verdicts

    def _begin_next(self, lane: str, run: _LaneRun) -> None:
        """Go on to the lane's next change that has effects."""
        while run.head < len(run.changes) and not run.changes[run.head].entries:
            self._verdicts[run.changes[run.head].position] = PERFORMED
            run.head += 1
        run.performed, run.attempts, run.not_before_ms = (), None, 0
        if run.head < len(run.changes):
            run.pending = run.changes[run.head].entries
        else:
            self._active.pop(lane, None)
