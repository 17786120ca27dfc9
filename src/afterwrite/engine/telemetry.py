"""What the engine says about itself: one structured log line for what an operator has to know."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from afterwrite.core.lag import Alarm, AlarmState

_LOG = logging.getLogger("afterwrite")


def _say(level: int, event: str, fields: Mapping[str, Any]) -> None:
    """Log an event. Handlers that know nothing of its fields, as those of a test, show them in the text."""
    text = " ".join(f"{name}={value!r}" for name, value in fields.items())
    _LOG.log(level, "%s: %s", event, text, extra={"event": event, "fields": fields})


class Telemetry:
    """Log lines with fields. Item contents never appear in them."""

    def lane_parked(self, consumer: str, lane: str, reason: str) -> None:
        """A change failed for good; its lane waits."""
        self._warn("lane parked", consumer=consumer, lane=lane, reason=reason)

    def lane_released(self, consumer: str, lane: str) -> None:
        """A parked lane's changes have all run; it goes on."""
        _say(logging.INFO, "lane released", {"consumer": consumer, "lane": lane})

    def route_runs_long(self, pipeline: str, route: str | None, lane: str, seconds: float) -> None:
        """A route has not returned yet; every lane of its table waits."""
        self._warn("route runs long", pipeline=pipeline, route=route, lane=lane, seconds=round(seconds))

    def invocation_failed(self, function: str, message_id: str, attempt: int, kind: str, reason: str) -> None:
        """An attempt failed and is tried again."""
        self._warn(
            "invocation failed", function=function, message_id=message_id, attempt=attempt, kind=kind, reason=reason
        )

    def invocation_given_up(self, function: str, message_id: str, attempt: int, condition: str, reason: str) -> None:
        """A message failed for good: it went to the dead letter queue, or is parked with its lane."""
        self._warn(
            "invocation given up",
            function=function,
            message_id=message_id,
            attempt=attempt,
            condition=condition,
            reason=reason,
        )

    def invocation_stuck(self, function: str, message_id: str, stuck: int) -> None:
        """An attempt runs past its timeout; `stuck` of the function's threads do."""
        self._warn("invocation past its timeout", function=function, message_id=message_id, stuck_threads=stuck)

    def lane_stuck(self, function: str, lane: str, message_id: str) -> None:
        """Threads that hang on a lane's messages hold up the lane: it waits until one of them returns."""
        fields = {"function": function, "lane": lane, "message_id": message_id}
        _say(logging.ERROR, "lane waits for attempts that hang", fields)

    def function_stuck(self, function: str, stuck: int, *, waits: bool) -> None:
        """Many threads of a function hang: it runs one attempt at a time, or `waits` until one of them returns."""
        event = "function waits for attempts that hang" if waits else "function is slowed by attempts that hang"
        _say(logging.ERROR, event, {"function": function, "stuck": stuck})

    def target_left_alone(self, function: str, kind: str, reason: str) -> None:
        """Attempts of several lanes in a row found a function's target down: it is left alone, and probed."""
        self._warn("target left alone", function=function, kind=kind, reason=reason)

    def target_is_back(self, function: str) -> None:
        """A function's target that was left alone is there again."""
        _say(logging.INFO, "target is back", {"function": function})

    def alarm(self, state: AlarmState, alarm: Alarm) -> None:
        """A consumer is too far behind, or is so no longer."""
        fields = {"alarm": alarm.name, "consumer": alarm.consumer, "why": alarm.why, "what_to_do": alarm.what_to_do}
        _say(logging.ERROR if state == "raised" else logging.INFO, f"alarm {state}", fields)

    def batch_failed(self, function: str, shard_id: str, first: str | None, records: int, reason: str) -> None:
        """An invocation of an event source mapping has failed; `first` is its first sequence number."""
        self._warn(
            "batch failed", function=function, shard_id=shard_id, sequence_number=first, records=records, reason=reason
        )

    def records_given_up(self, function: str, message: Mapping[str, Any], *, is_kept: bool) -> None:
        """An event source mapping delivers records no more; `is_kept` says whether a destination has been told."""
        self._warn("records given up", function=function, destination=is_kept, failure=dict(message))

    def records_handled(self, function: str, shard_id: str, records: int) -> None:
        """Records that an event source mapping had given up on were handled after all."""
        fields = {"function": function, "shard_id": shard_id, "records": records}
        _say(logging.INFO, "records handled after all", fields)

    def records_trimmed(self, function: str, shard_id: str) -> None:
        """Records were past their retention before an event source mapping had read them: they are lost to it."""
        _say(logging.ERROR, "records trimmed unread", {"function": function, "shard_id": shard_id})

    def arrival_unreadable(self, table: str, sequence_number: str) -> None:
        """A record of the Kinesis stream of a table's changes is none: it leads to nothing, and stays in the stream."""
        fields = {"table": table, "sequence_number": sequence_number}
        _say(logging.ERROR, "record of a Kinesis stream is no change", fields)

    def loop_failed(self, loop: str, failure: BaseException, retry_s: float) -> None:
        """A loop of the engine failed and is tried again."""
        self._warn("loop failed", loop=loop, error=f"{type(failure).__name__}: {failure}", retry_s=retry_s)

    def loop_recovered(self, loop: str) -> None:
        """A loop of the engine works again."""
        _say(logging.INFO, "loop recovered", {"loop": loop})

    def loop_left_running(self, loop: str, waited_s: float) -> None:
        """A loop of the engine is in a call that does not return; the engine stops without it."""
        self._warn("loop left running", loop=loop, waited_s=round(waited_s, 1))

    def retention_held_back(self, table: str) -> None:
        """Changes are older than the retention and unread: they are kept, and the disk grows."""
        self._warn("retention held back by an unread position", table=table)

    def _warn(self, event: str, **fields: Any) -> None:
        _say(logging.WARNING, event, fields)
