"""Watching routes: a route that runs long holds up its whole table, which must not happen silently."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from afterwrite.engine.pipeline import InHand, Pipeline
from afterwrite.engine.telemetry import Telemetry

_EVERY_S = 1.0
_LONG_S = 5.0


class RouteWatch:
    """The unit of work that logs which route is at which key's change, after 5 s and then whenever that doubles.

    `now_s` is a monotonic clock.
    """

    name = "route-watch"

    def __init__(self, pipelines: Sequence[Pipeline], telemetry: Telemetry, *, now_s: Callable[[], float]) -> None:
        self._pipelines = pipelines
        self._telemetry = telemetry
        self._now_s = now_s
        # A pipeline's change in hand, since when it is seen, and after how long to say so.
        self._seen: dict[str, tuple[InHand, float, float]] = {}

    def watch(self, event: threading.Event) -> None:
        """Nothing but the time tells."""

    def run_once(self) -> float | None:
        """Look at every pipeline; how long (s) until the next look."""
        now_s = self._now_s()
        for pipeline in self._pipelines:
            in_hand, route = pipeline.in_hand, pipeline.route
            if in_hand is None:
                self._seen.pop(pipeline.name, None)
                continue
            seen, since_s, long_s = self._seen.get(pipeline.name, (None, now_s, _LONG_S))
            if seen is not in_hand:
                since_s, long_s = now_s, _LONG_S
            elif now_s - since_s >= long_s:
                self._telemetry.route_runs_long(pipeline.name, route, in_hand.lane, now_s - since_s)
                long_s *= 2
            self._seen[pipeline.name] = (in_hand, since_s, long_s)
        return _EVERY_S
