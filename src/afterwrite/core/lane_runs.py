"""Which effects of a batch may be sent now, and what becomes of its changes: a pure state machine.

The changes of one lane are taken in order: effects for targets that keep the order of what they get are offered once
those of the lane's change before have all been performed, and one of a lane at a time, so that of one request no later
effect is performed whose earlier one failed. Targets that keep no order are offered a lane's effects at once.

A failed effect holds back its own lane and no other (S28): it is offered again after a wait, or, where that would not
help, its lane stops with its change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from afterwrite.core.batching import Entry
from afterwrite.core.failures import failure_of_target
from afterwrite.core.outcomes import Retry, RetryPolicy, after_failure
from afterwrite.core.target_failures import TargetFailure

POLICY: Final = RetryPolicy(attempts_max=4, backoff_ms_first=100, backoff_ms_max=5_000, age_ms_max=20_000)


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
    """A lane's changes, and where they stand. A batch has many lanes: they are made cheaply."""

    changes: list[PlannedChange]
    # Of the first change that is not performed, and of the first that has failed for good.
    head: int = 0
    stop: int = 1 << 62
    done: set[str] = field(default_factory=set)
    # What may be sent at any time, by the number of its change.
    free: list[tuple[int, str, Entry]] = field(default_factory=list)
    # How often the effects that failed did, and since when (ms).
    attempts: dict[str, tuple[int, int]] | None = None
    not_before_ms: int = 0
    failure: TargetFailure | None = None


class LaneRuns:
    """The lanes of a batch. Every entry that `ready` gives is settled before `ready` is asked again, or never."""

    def __init__(
        self, changes: Sequence[PlannedChange], *, in_order: AbstractSet[str], policy: RetryPolicy = POLICY
    ) -> None:
        self._in_order = in_order
        self._policy = policy
        self._runs: dict[str, _LaneRun] = {}
        for change in changes:
            run = self._runs.get(change.lane)
            if run is None:
                run = self._runs[change.lane] = _LaneRun([])
            for target, entry in change.entries:
                if target not in in_order:
                    run.free.append((len(run.changes), target, entry))
            run.changes.append(change)
        self._active: dict[str, _LaneRun] = {}
        for lane, run in self._runs.items():
            _advance(run)
            if run.head < len(run.changes):
                self._active[lane] = run

    def ready(self, now_ms: int) -> Mapping[str, list[Entry]]:
        """What may be sent now, by target, in the order of the batch."""
        offered: dict[str, list[Entry]] = {}
        for run in self._active.values():
            if run.not_before_ms > now_ms:
                continue
            if run.free:
                run.free = [each for each in run.free if each[2].id not in run.done]
            for _, target, entry in run.free:
                offered.setdefault(target, []).append(entry)
            taken: set[str] = set()
            for target, entry in run.changes[run.head].entries:
                if target in self._in_order and target not in taken and entry.id not in run.done:
                    taken.add(target)
                    offered.setdefault(target, []).append(entry)
        return offered

    def next_ready_ms(self) -> int | None:
        """When more may be sent, None where nothing is left to send."""
        return min((run.not_before_ms for run in self._active.values()), default=None)

    def performed(self, entry: Entry) -> None:
        """The entry's effect has been performed."""
        run = self._runs[entry.lane]
        run.done.add(entry.id)
        _advance(run)
        self._drop_if_over(entry.lane, run)

    def failed(self, entry: Entry, failure: TargetFailure, *, now_ms: int, jitter: float) -> None:
        """The entry's effect failed; `jitter` is drawn from [0, 1)."""
        run = self._runs[entry.lane]
        run.attempts = run.attempts or {}
        failures, since_ms = run.attempts.get(entry.id, (0, now_ms))
        attempt, _ = run.attempts[entry.id] = failures + 1, since_ms
        if failure.directive.retried:
            failed, age_ms = failure_of_target(failure), now_ms - since_ms
            outcome = after_failure(
                self._policy, failed, attempt=attempt, age_ms=age_ms, failing_ms=age_ms, jitter=jitter
            )
            if isinstance(outcome, Retry):
                run.not_before_ms = max(run.not_before_ms, now_ms + outcome.after_ms)
                return
        number = next((number for number, _, each in run.free if each.id == entry.id), run.head)
        if number < run.stop:
            run.stop, run.failure = number, failure
            run.free = [each for each in run.free if each[0] < number]
        self._drop_if_over(entry.lane, run)

    def verdicts(self) -> Mapping[int, Performed | Failed | Unfinished]:
        """What became of each change, by its position, as things stand."""
        verdicts: dict[int, Performed | Failed | Unfinished] = {}
        for run in self._runs.values():
            for number, change in enumerate(run.changes):
                if number < run.head:
                    verdicts[change.position] = PERFORMED
                    continue
                performed = tuple(entry.id for _, entry in change.entries if entry.id in run.done)
                failure = run.failure if number == run.stop else None
                verdicts[change.position] = Unfinished(performed) if failure is None else Failed(failure, performed)
        return verdicts

    def _drop_if_over(self, lane: str, run: _LaneRun) -> None:
        if run.head >= min(run.stop, len(run.changes)):
            self._active.pop(lane, None)


def _advance(run: _LaneRun) -> None:
    """Move on to the lane's first change that is not performed."""
    while run.head < min(run.stop, len(run.changes)) and all(
        entry.id in run.done for _, entry in run.changes[run.head].entries
    ):
        run.head += 1
