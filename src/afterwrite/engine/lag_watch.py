"""Watching the lag and the disk: alarms are raised and cleared as consumers fall behind and catch up, or space ends."""

from __future__ import annotations

import threading

from afterwrite.core.lag import Alarm, AlarmState, Thresholds, alarms, disk_alarms, transitions
from afterwrite.core.ports import AlarmSink, LagSource
from afterwrite.engine.telemetry import Telemetry

_EVERY_S = 5.0


class LagWatch:
    """The unit of work that tells the log, and the sink where there is one, which alarms begin and end to hold.

    An alarm that holds when the engine starts is raised then, also where it was before.
    """

    name = "lag-watch"

    def __init__(self, source: LagSource, thresholds: Thresholds, sink: AlarmSink | None, telemetry: Telemetry) -> None:
        self._source = source
        self._thresholds = thresholds
        self._sink = sink
        self._telemetry = telemetry
        self._raised: dict[tuple[str, str], Alarm] = {}
        # What is in the log, and could not be told to the sink yet.
        self._logged: set[tuple[AlarmState, tuple[str, str]]] = set()

    def watch(self, event: threading.Event) -> None:
        """Nothing but the time tells."""

    def run_once(self) -> float | None:
        """Look at every consumer and the disk; how long (s) until the next look."""
        holding = [
            *alarms(self._source.lags(), self._thresholds, self._raised),
            *disk_alarms(self._source.free_bytes(), self._thresholds, self._raised),
        ]
        found = transitions(self._raised, holding)
        for state, alarm in found:
            # Whatever becomes of the sink: where the disk is full, nothing can be published.
            if (state, alarm.key) not in self._logged:
                self._telemetry.alarm(state, alarm)
        self._logged = {(state, alarm.key) for state, alarm in found}
        for state, alarm in found:
            if self._sink is not None:
                self._sink.tell(state, alarm)
            # Not before: what could not be told is told at the next look.
            self._logged.discard((state, alarm.key))
            if state == "raised":
                self._raised[alarm.key] = alarm
            else:
                del self._raised[alarm.key]
        return _EVERY_S
