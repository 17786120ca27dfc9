"""Batches: changes that a service hands over together, their effects performed by remote targets.

The routes run as in the pipeline. Effects are sent in rounds: in each, what the lanes allow (`core/lane_runs`), in as
few requests as the targets' limits allow, side by side. What is performed, parked or to be delivered again is decided
for each lane alone.

With a ledger, what was performed behind a failure is not performed again when the batch comes back; a lane that
has failed for good is parked with its later changes, so that the shard moves on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from afterwrite.core.batching import Entry, requests
from afterwrite.core.effects import StampedEffect
from afterwrite.core.failures import Failure, failure_of_target
from afterwrite.core.lambda_events import DeliveredChange
from afterwrite.core.lane_runs import Failed, LaneRuns, Performed, PlannedChange, Unfinished
from afterwrite.core.outcomes import Park
from afterwrite.core.ports import Begun, Ledger, ParkedChange, ParkedLanes, Record, Targets
from afterwrite.core.routes import Router
from afterwrite.core.target_failures import TargetFailure, is_final
from afterwrite.engine.planning import plan

# As long as a stream can keep a change for another delivery, or a lane stays parked.
_KEPT_MS = 30 * 86_400_000
# A redrive that did not end with its process is over by then.
_LEASE_GRACE_MS = 2_000
# Of a parked lane at a time.
_REDRIVEN_CHANGES = 100
_REDRIVEN_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Journal:
    """What outlives an invocation: what was done, and which lanes are parked."""

    ledger: Ledger
    parked_lanes: ParkedLanes

    @contextmanager
    def redriving(self, consumer: str, lane: str, *, lease_ms: int) -> Iterator[bool]:
        """Keep others from redriving a parked lane meanwhile; False where another is at it. Raises StorageError."""
        held = self.ledger.begin(f"redrive/{consumer}", lane, lease_ms=max(0, lease_ms) + _LEASE_GRACE_MS)
        try:
            yield isinstance(held, Begun)
        finally:
            if isinstance(held, Begun):
                self.ledger.fail(f"redrive/{consumer}", lane, held, keep_ms=_KEPT_MS)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a batch may use besides its targets. `time_left_ms` is until no more is sent."""

    now_ms: Callable[[], int]
    time_left_ms: Callable[[], int]
    jitter: Callable[[], float]
    executor: Executor
    sleep: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class BatchResult:
    """What became of a batch: the checkpoints of the changes that have to be delivered again, and counts.

    `stopped_by` is why a parked lane that was run again stopped, None where it did not, or the time was up.
    """

    again: list[int] = field(default_factory=list)
    performed: int = 0
    skipped: int = 0
    parked_changes: int = 0
    parked_lanes: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    stopped_by: Failure | None = None


class _HeadFailed(NamedTuple):
    """Why the first change of a lane failed, and whether for good: it is not delivered again."""

    failure: Failure
    for_good: bool


class BatchTelemetry(Protocol):
    """What a batch says about itself. Reasons may quote items, and lanes are named by them."""

    def lane_parked(self, consumer: str, lane: str, reason: str) -> None:
        """A change failed for good; its lane waits."""
        ...

    def effect_failed(self, consumer: str, lane: str, failure: TargetFailure) -> None:
        """A target did not perform an effect, after every attempt of this delivery."""
        ...


class Batch:
    """One batch of a table's changes, in the order in which they happened per lane. It is run once.

    `remember` keeps what was performed even where the whole batch succeeds, for a source that may deliver a change
    again on its own (S26), or because of a record that holds none.
    """

    def __init__(
        self,
        consumer: str,
        router: Router,
        targets: Targets,
        journal: Journal | None,
        telemetry: BatchTelemetry,
        surroundings: Surroundings,
        *,
        remember: bool = False,
    ) -> None:
        self._remember = remember
        self._consumer = consumer
        self._router = router
        self._targets = targets
        self._journal = journal
        self._telemetry = telemetry
        self._at = surroundings
        self._result = BatchResult()
        self._refused: dict[int, Failure] = {}
        self._followed: list[DeliveredChange] = []

    def run(self, changes: Sequence[DeliveredChange]) -> BatchResult:
        """Perform what the changes lead to. Raises StorageError where the journal does not answer."""
        records: Mapping[str, Record] = {}
        following: frozenset[str] = frozenset()
        if self._journal is not None:
            records = self._journal.ledger.look(self._consumer, [each.change.id for each in changes])
            following = self._journal.parked_lanes.parked_lanes(self._consumer, {each.lane for each in changes})
        fresh = [each for each in changes if not (record := records.get(each.change.id)) or not record.done]
        self._result.skipped = len(changes) - len(fresh)
        behind = self._follow([each for each in fresh if each.lane in following])
        runnable = [each for each in fresh if each.lane not in following]
        verdicts = self._perform(runnable, records)
        self._settle(runnable, verdicts, behind)
        return self._result

    def redrive(self, lane: str) -> BatchResult:
        """Run a parked lane's changes, in order, until none is left, one fails, or the time is up.

        Raises StorageError, and ValueError without a journal.
        """
        if self._journal is None:
            raise ValueError("expected a journal, whose parked lanes can be redriven")
        lanes = self._journal.parked_lanes
        while self._at.time_left_ms() > 0:
            page = lanes.parked(self._consumer, lane, after=-1, limit=_REDRIVEN_CHANGES, bytes_max=_REDRIVEN_BYTES)
            if not page:
                break
            changes = [DeliveredChange(each.position, lane, each.change, each.position) for each in page]
            # A lane is done with its changes by their records, whatever a delivery left behind when it was parked.
            records = self._journal.ledger.look(self._consumer, [each.change.id for each in changes])
            verdicts = self._perform(changes, records)
            for each in changes:
                verdict = verdicts.get(each.position)
                if not isinstance(verdict, Performed):
                    if (failed := self._failed(each, verdict)) is not None:
                        self._result.stopped_by = failed.failure
                        lanes.note_failure(self._consumer, lane, each.position, failed.failure)
                    self._result.again.append(each.position)
                    return self._result
                lanes.release(self._consumer, lane, each.position)
                self._result.performed += 1
        return self._result

    def _perform(
        self, changes: Sequence[DeliveredChange], records: Mapping[str, Record]
    ) -> Mapping[int, Performed | Failed | Unfinished]:
        """Plan and send until everything is settled, or the time is up."""

        def place(effect: StampedEffect) -> tuple[tuple[str, Entry]]:
            return (targets.place(effect),)

        targets = self._targets
        planned: list[PlannedChange] = []
        stopped: set[str] = set()
        for each in changes:
            if each.lane in stopped:
                continue
            placed = plan(self._router, each.change, each.lane, place)
            if isinstance(placed, Park):
                self._refused[each.position] = placed.failure
                stopped.add(each.lane)
                continue
            if (record := records.get(each.change.id)) is not None:
                placed = [(target, entry) for target, entry in placed if entry.id not in record.parts]
            planned.append(PlannedChange(each.position, each.lane, placed))
        runs = LaneRuns(planned, in_order=self._targets.in_order)
        while (ready_ms := runs.next_ready_ms()) is not None:
            time_left_ms, wait_ms = self._at.time_left_ms(), ready_ms - self._at.now_ms()
            if time_left_ms <= max(0, wait_ms):
                break
            if wait_ms > 0:
                self._at.sleep(wait_ms / 1000)
            self._send(runs)
        return runs.verdicts()

    def _send(self, runs: LaneRuns) -> None:
        """One round: all that may be sent now."""
        calls = [
            (target, request)
            for target, entries in runs.ready(self._at.now_ms()).items()
            for request in requests(entries, self._targets.limits(target))
        ]
        futures = [self._at.executor.submit(self._targets.send, *call) for call in calls]
        for (_, request), future in zip(calls, futures, strict=True):
            try:
                failures = future.result(timeout=max(0.0, self._at.time_left_ms() / 1000))
            except TimeoutError:
                # It may be performed yet; its lanes come again, and their effects under the same ids.
                future.cancel()
                continue
            for entry, failure in zip(request, failures, strict=True):
                if failure is None:
                    runs.performed(entry)
                else:
                    runs.failed(entry, failure, now_ms=self._at.now_ms(), jitter=self._at.jitter())

    def _settle(
        self,
        changes: Sequence[DeliveredChange],
        verdicts: Mapping[int, Performed | Failed | Unfinished],
        behind: Sequence[DeliveredChange],
    ) -> None:
        """Park what failed for good, and see to what has to be delivered again."""
        performed: list[DeliveredChange] = []
        lanes: dict[str, list[DeliveredChange]] = {}
        for each in changes:
            if isinstance(verdicts.get(each.position), Performed):
                performed.append(each)
            else:
                lanes.setdefault(each.lane, []).append(each)
        self._result.performed = len(performed)
        again, parked = list(behind), list(self._followed)
        for lane, waiting in lanes.items():
            head = waiting[0]
            self._keep_parts(waiting[1:], verdicts)
            failed = self._failed(head, verdicts.get(head.position))
            if failed is None or not failed.for_good or self._journal is None:
                again.extend(waiting)
                continue
            self._journal.parked_lanes.park(self._consumer, _parked(waiting, failed.failure))
            self._telemetry.lane_parked(self._consumer, lane, failed.failure.reason)
            self._result.parked_lanes += 1
            parked.extend(waiting)
        self._result.parked_changes = len(parked)
        self._result.again = sorted(each.checkpoint for each in again)
        self._keep([*performed, *parked])

    def _keep(self, settled: Sequence[DeliveredChange]) -> None:
        """Keep what is settled and will come again: everything from the first that is not on (S1)."""
        if self._journal is None or not (self._remember or self._result.again):
            return
        first = 0 if self._remember else self._result.again[0]
        ids = [each.change.id for each in settled if each.checkpoint >= first]
        self._journal.ledger.complete_all(self._consumer, ids, keep_ms=_KEPT_MS)

    def _failed(self, head: DeliveredChange, verdict: Performed | Failed | Unfinished | None) -> _HeadFailed | None:
        """Why the lane of `head` stopped with it, None where nothing of it failed."""
        if (refused := self._refused.get(head.position)) is not None:
            self._count("route")
            return _HeadFailed(refused, for_good=True)
        if isinstance(verdict, Failed):
            self._count(verdict.failure.kind)
            self._telemetry.effect_failed(self._consumer, head.lane, verdict.failure)
            deliveries = self._note(head, 1, verdict.performed)
            return _HeadFailed(failure_of_target(verdict.failure), is_final(verdict.failure, deliveries))
        if isinstance(verdict, Unfinished) and verdict.performed:
            self._note(head, 0, verdict.performed)
        return None

    def _keep_parts(
        self, changes: Sequence[DeliveredChange], verdicts: Mapping[int, Performed | Failed | Unfinished]
    ) -> None:
        """Keep which effects of changes that wait behind another were performed, by targets that keep no order."""
        done = [(each, verdicts.get(each.position)) for each in changes]
        parts = [(each, 0, verdict.performed) for each, verdict in done if isinstance(verdict, Unfinished | Failed)]
        list(self._at.executor.map(lambda noted: self._note(*noted), [each for each in parts if each[2]]))

    def _note(self, each: DeliveredChange, failures: int, parts: Sequence[str]) -> int:
        if self._journal is None:
            return failures
        return self._journal.ledger.note(
            self._consumer, each.change.id, failures=failures, parts=parts, keep_ms=_KEPT_MS
        )

    def _follow(self, changes: Sequence[DeliveredChange]) -> Sequence[DeliveredChange]:
        """Park the changes of parked lanes behind what waits there; those whose lane is not parked any more."""
        lanes: dict[str, list[DeliveredChange]] = {}
        for each in changes:
            lanes.setdefault(each.lane, []).append(each)
        left: list[DeliveredChange] = []
        for following in lanes.values():
            if self._journal is not None and self._journal.parked_lanes.follow(
                self._consumer, _parked(following, None)
            ):
                self._followed.extend(following)
            else:
                # The lane was released a moment ago: these run when they are delivered again.
                left.extend(following)
        return left

    def _count(self, kind: str) -> None:
        self._result.failures[kind] = self._result.failures.get(kind, 0) + 1


def _parked(changes: Sequence[DeliveredChange], failure: Failure | None) -> list[ParkedChange]:
    """The changes of a lane as they are parked: the first failed, if there is a failure, the others follow it."""
    return [
        ParkedChange(each.position, each.lane, each.change, failure if number == 0 else None)
        for number, each in enumerate(changes)
    ]
