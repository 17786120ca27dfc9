"""The pipeline: read changes, run routes, commit what they lead to together with the position."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from afterwrite.core.changes import Change
from afterwrite.core.outcomes import Park, reason_of
from afterwrite.core.placements import Placement
from afterwrite.core.ports import ChangeSource, ParkedChange, ReadChange, Step, StepSink
from afterwrite.core.routes import RouteFailed, Router
from afterwrite.engine.telemetry import Telemetry

BATCH_CHANGES_MAX = 500


class Pipeline:
    """One consumer of one table's changes.

    A change whose route fails is parked with its lane; the lane's later changes are parked behind it, in order,
    and every other lane goes on. At the start every parked lane is tried once more, in order, as the route may have
    been mended.
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
        self._parked_lanes: frozenset[str] = frozenset()
        self._to_redrive: list[str] | None = None

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._source.watch(event)

    def run_once(self) -> float | None:
        """Take one step; how long (s) until the next is due, None where only an event can tell."""
        if self._position is None:
            self._position = self._sink.position(self._consumer)
            self._parked_lanes = self._sink.parked_lanes(self._consumer)
        if self._to_redrive is None:
            self._to_redrive = sorted(self._parked_lanes)
        if self._to_redrive:
            self._redrive(self._to_redrive.pop(), self._position)
            return 0.0
        batch = self._source.read(self._position, BATCH_CHANGES_MAX)
        if not batch:
            return None
        step, parked_lanes = self._plan(self._position, batch)
        try:
            self._sink.commit(step)
        except BaseException:
            # Whether it became durable is for the sink to say.
            self._position = None
            raise
        self._position, self._parked_lanes = step.after, parked_lanes
        return 0.0

    def _redrive(self, lane: str, position: int) -> None:
        """Run a parked lane's changes in order, as far as they go."""
        while parked := self._sink.parked(self._consumer, lane, BATCH_CHANGES_MAX):
            placements: list[Placement] = []
            released: list[ParkedChange] = []
            failed: ParkedChange | None = None
            for each in parked:
                placed = self._place(lane, each.change)
                if isinstance(placed, Park):
                    failed = replace(each, error=placed.reason)
                    break
                placements.extend(placed)
                released.append(each)
            again = [] if failed is None else [failed]
            self._sink.commit(Step(self._consumer, position, position, placements, again, released))
            if failed is not None:
                self._telemetry.lane_parked(self._consumer, lane, str(failed.error))
                return
        self._parked_lanes -= {lane}
        self._telemetry.lane_released(self._consumer, lane)

    def _plan(self, before: int, batch: Sequence[ReadChange]) -> tuple[Step, frozenset[str]]:
        placements: list[Placement] = []
        parked: list[ParkedChange] = []
        parked_lanes = self._parked_lanes
        for each in batch:
            if each.lane in parked_lanes:
                parked.append(ParkedChange(each.position, each.lane, each.change, None))
                continue
            placed = self._place(each.lane, each.change)
            if isinstance(placed, Park):
                parked.append(ParkedChange(each.position, each.lane, each.change, placed.reason))
                parked_lanes |= {each.lane}
                self._telemetry.lane_parked(self._consumer, each.lane, placed.reason)
            else:
                placements.extend(placed)
        return Step(self._consumer, before, batch[-1].position, placements, parked), parked_lanes

    def _place(self, lane: str, change: Change) -> list[Placement] | Park:
        try:
            effects = self._router.plan(change, lane)
        except RouteFailed as failed:
            return Park(f"RouteFailed: {failed}")
        placements: list[Placement] = []
        for effect in effects:
            try:
                placements.extend(self._sink.place(effect))
            except BaseException as error:  # noqa: BLE001 - an effect that cannot be placed parks its change's lane
                _, route, ordinal = effect.id.rsplit("/", 2)
                return Park(f"RouteFailed: route {route}, effect {ordinal}: {reason_of(error)}")
        return placements
