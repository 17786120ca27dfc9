"""The pipeline: read changes, run routes, commit what they lead to together with the position."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from afterwrite.core.failures import failure_of, reason_of
from afterwrite.core.outcomes import Park
from afterwrite.core.placements import Placement
from afterwrite.core.ports import ChangeSource, ParkedChange, ReadChange, Step, StepSink
from afterwrite.core.routes import Router
from afterwrite.engine.planning import plan
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageError

BATCH_CHANGES_MAX = 1000
# Of a step's effects and parked changes, and of a page of changes: what a step holds in memory is a small multiple.
BATCH_BYTES_MAX = 8 << 20
# Changes are read in pages that stay in a core's cache until their routes have run.
PAGE_CHANGES_MAX = 100
# A lane is read in small pages, as its first change may fail again.
_PARKED_CHANGES_READ = 100
_PARKED_BYTES_READ = 1 << 20

InHand: TypeAlias = ReadChange | ParkedChange


@dataclass(slots=True)
class _Draft:
    """A step in the making; `last` is the change that was added last."""

    position: int
    changes_max: int
    last: InHand = field(init=False)
    changes: int = 0
    bytes: int = 0
    placements: list[Placement] = field(default_factory=list)
    parked: list[ParkedChange] = field(default_factory=list)
    parked_lanes: set[str] = field(default_factory=set)
    released: list[ParkedChange] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return self.changes < self.changes_max and self.bytes < BATCH_BYTES_MAX

    def add(self, each: InHand, placed: list[Placement] | Park | None) -> None:
        """Add a change with what its routes led to, None for one whose lane is parked."""
        self.changes += 1
        self.last = each
        if isinstance(placed, list):
            self.placements += placed
            for placement in placed:
                self.bytes += len(placement.text)
        else:
            self._park(each, placed)
            self.bytes += each.change.size_bytes

    def step(self, consumer: str, before: int) -> Step:
        """The draft as a step."""
        return Step(consumer, before, self.position, self.placements, self.parked, self.released)

    def refuse_only(self, refused: Park) -> None:
        """Park the only change, instead of what it led to."""
        self.placements, self.parked, self.released = [], [], []
        self._park(self.last, refused)

    def _park(self, each: InHand, refused: Park | None) -> None:
        attempts, at_ms = (each.attempts, each.at_ms) if isinstance(each, ParkedChange) else (0, None)
        if refused is None:
            self.parked.append(ParkedChange(each.position, each.lane, each.change, None))
        else:
            self.parked.append(
                ParkedChange(each.position, each.lane, each.change, refused.failure, attempts + 1, at_ms)
            )
        self.parked_lanes.add(each.lane)


class Pipeline:
    """One consumer of one table's changes.

    A change whose route fails is parked with its lane; the lane's later changes are parked behind it, in order,
    and every other lane goes on. At the start every parked lane is tried once more, in order, as the route may have
    been mended; that happens in portions, each as large as a batch of new changes, and in turn with them.
    `in_hand` is the change whose routes run at the moment, for other threads to look at.
    """

    def __init__(
        self, consumer: str, source: ChangeSource, router: Router, sink: StepSink, telemetry: Telemetry
    ) -> None:
        self.name = f"pipeline-{consumer}"
        self._consumer = consumer
        self._source = source
        self._router = router
        self._sink = sink
        self._telemetry = telemetry
        self._position: int | None = None
        self._parked_lanes: set[str] = set()
        self._to_redrive: deque[str] | None = None
        self._redrive_asked = threading.Event()
        # What comes after the last step, where it was drafted while that one was committed.
        self._next: _Draft | None = None
        # How many of the next changes are steps of their own, to find the one whose step cannot be committed.
        self._alone = 0
        self.in_hand: InHand | None = None

    @property
    def route(self) -> str | None:
        """The route that was called last."""
        return self._router.running

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._source.watch(event)
        self._sink.watch_redrives(self._consumer, event)
        self._sink.watch_redrives(self._consumer, self._redrive_asked)

    def run_once(self) -> float | None:
        """Take a step with parked changes and one with new ones; 0 as long as there are any, None else."""
        if self._position is None:
            self._parked_lanes = set(self._sink.parked_lanes(self._consumer))
            self._position = self._sink.position(self._consumer)
            self._next = None
        if self._to_redrive is None:
            self._to_redrive = deque(sorted(self._parked_lanes))
        if self._redrive_asked.is_set():
            self._take_redrives(self._to_redrive)
        if self._to_redrive:
            self._next = None  # it holds back the changes of lanes that may be released now
        redriven = self._redrive(self._position, self._to_redrive)
        advanced = self._advance(self._position)
        return 0.0 if redriven or advanced else None

    def _take_redrives(self, lanes: deque[str]) -> None:
        """Add the lanes that an operator wants to be tried again to those that are about to be."""
        self._redrive_asked.clear()
        try:
            asked = self._sink.take_redrives(self._consumer)
        except Exception:
            self._redrive_asked.set()
            raise
        lanes.extend(sorted(self._parked_lanes.intersection(asked).difference(lanes)))

    def _advance(self, position: int) -> bool:
        """Take a step with new changes; False where there are none."""
        draft, self._next = self._next or self._drafted(position), None
        if not draft.changes:
            return False
        self._commit(position, draft, partial(self._look_ahead, draft))
        return True

    def _look_ahead(self, draft: _Draft) -> None:
        """Draft the next step while `draft` is committed, where that has as many changes as it may: more will wait.

        Not beside one that is full of large effects, as both are held in memory; nor while lanes are redriven, some of
        which may be released before that step's turn.
        """
        if draft.changes < draft.changes_max or self._alone or self._to_redrive:
            return
        with suppress(Exception):  # it is drafted again in its turn
            following = self._drafted(draft.position, draft.parked_lanes)
            if following.changes:
                self._next = following

    def _drafted(self, position: int, parked_before: Set[str] = frozenset()) -> _Draft:
        """The step after a position; `parked_before` are lanes that are about to be parked."""
        draft = self._empty_draft(position)
        is_last = False
        while draft.has_room and not is_last:
            limit = min(PAGE_CHANGES_MAX, draft.changes_max - draft.changes)
            waiting: deque[ReadChange] = deque(
                self._source.read(draft.position, limit=limit, bytes_max=BATCH_BYTES_MAX)
            )
            is_last = len(waiting) < limit
            while waiting and draft.has_room:
                each = waiting.popleft()  # and forget it, with the images that were decoded for its routes
                lane = each.lane
                follows = lane in self._parked_lanes or lane in parked_before or lane in draft.parked_lanes
                placed = None if follows else self._place(each)
                draft.position = each.position
                draft.add(each, placed)
        return draft

    def _redrive(self, position: int, lanes: deque[str]) -> bool:
        """Take a step with parked changes of some of `lanes`, each as far as it goes; False where there are none."""
        if not lanes:
            return False
        draft = self._empty_draft(position)
        tried = 0
        for lane in lanes:
            if not draft.has_room or not self._redrive_lane(draft, lane):
                break
            tried += 1
        if draft.changes and not self._commit(position, draft):
            return True
        while lanes and (tried > 0 or lanes[0] in draft.parked_lanes):
            lane = lanes.popleft()
            tried -= 1
            if lane not in draft.parked_lanes:
                self._parked_lanes.discard(lane)
                self._telemetry.lane_released(self._consumer, lane)
        return True

    def _redrive_lane(self, draft: _Draft, lane: str) -> bool:
        """Run a parked lane's changes until none is left or one fails; False where the draft is full before."""
        after = 0
        while draft.has_room:
            page = self._sink.parked(
                self._consumer, lane, after=after, limit=_PARKED_CHANGES_READ, bytes_max=_PARKED_BYTES_READ
            )
            if not page:
                return True
            for each in page:
                if not draft.has_room:
                    return False
                placed = self._place(each)
                draft.add(each, placed)
                if isinstance(placed, Park):
                    return True
                draft.released.append(each)
                draft.bytes += each.change.size_bytes
                after = each.position
        return False

    def _empty_draft(self, position: int) -> _Draft:
        return _Draft(position, 1 if self._alone else BATCH_CHANGES_MAX)

    def _commit(self, before: int, draft: _Draft, meanwhile: Callable[[], None] | None = None) -> bool:
        """Make the draft happen; False where its changes are to be taken again, one by one."""
        self._position = None  # should this fail, it is for the sink to say what became durable
        try:
            self._sink.commit(draft.step(self._consumer, before), meanwhile)
        except (StorageError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - the fault of one change, behind which its lane alone must wait
            self._next = None
            if draft.changes > 1:
                self._alone, self._position = draft.changes, before
                return False
            reason = f"its effects cannot be committed: {reason_of(error)}"
            draft.refuse_only(Park(failure_of(error, reason=reason)))
            self._sink.commit(draft.step(self._consumer, before))
        self._alone = max(0, self._alone - draft.changes)
        self._position = draft.position
        self._parked_lanes |= draft.parked_lanes
        for each in draft.parked:
            if each.failure is not None:
                self._telemetry.lane_parked(self._consumer, each.lane, each.failure.reason)
        return True

    def _place(self, each: InHand) -> list[Placement] | Park:
        self.in_hand = each
        try:
            return plan(self._router, each.change, each.lane, self._sink.place)
        finally:
            self.in_hand = None
