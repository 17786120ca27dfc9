"""The pipeline: read changes, run routes, commit what they lead to together with the position."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from afterwrite.core.outcomes import Park, reason_of
from afterwrite.core.placements import Placement
from afterwrite.core.ports import ChangeSource, ParkedChange, ReadChange, Step, StepSink
from afterwrite.core.routes import Router
from afterwrite.engine.telemetry import Telemetry

BATCH_CHANGES_MAX = 500


class Pipeline:
    """One consumer of one table's changes.

    A change whose route fails is parked with its lane; the lane's later changes are parked behind it, in order,
    and every other lane goes on.
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

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._source.watch(event)

    def run_once(self) -> float | None:
        """Take one step; how long (s) until the next is due, None where only an event can tell."""
        if self._position is None:
            self._position = self._sink.position(self._consumer)
            self._parked_lanes = self._sink.parked_lanes(self._consumer)
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

    def _plan(self, before: int, batch: Sequence[ReadChange]) -> tuple[Step, frozenset[str]]:
        placements: list[Placement] = []
        parked: list[ParkedChange] = []
        parked_lanes = self._parked_lanes
        for each in batch:
            if each.lane in parked_lanes:
                parked.append(ParkedChange(each.position, each.lane, each.change, None))
                continue
            placed = self._place(each)
            if isinstance(placed, Park):
                parked.append(ParkedChange(each.position, each.lane, each.change, placed.reason))
                parked_lanes |= {each.lane}
                self._telemetry.lane_parked(self._consumer, each.lane, placed.reason)
            else:
                placements.extend(placed)
        return Step(self._consumer, before, batch[-1].position, placements, parked), parked_lanes

    def _place(self, each: ReadChange) -> list[Placement] | Park:
        try:
            effects = self._router.plan(each.change, each.lane)
            return [placement for effect in effects for placement in self._sink.place(effect)]
        except BaseException as error:  # noqa: BLE001 - a fault of the app's code parks its lane, whatever it is
            return Park(reason_of(error))
