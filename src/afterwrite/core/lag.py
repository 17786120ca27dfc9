"""Lag: how far consumers are behind, how long until that loses something, and when it is an alarm. Pure.

What is left of the disk is an alarm beside it, since a full one stops everything.

The age is that of the oldest change or message that the consumer has not had; a stream's metric (S16) is the same
where nothing waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

AlarmName: TypeAlias = Literal["iterator age", "retention", "queue age", "parked", "dead letters", "free disk"]
AlarmState: TypeAlias = Literal["raised", "cleared"]
LagKind: TypeAlias = Literal["table", "queue", "mapping"]

# An alarm that is raised is cleared below this part of its threshold, so that it does not come and go.
_CLEARED_FRACTION: Final = 0.8
_DISK: Final = "the data directory's disk"


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a consumer is behind: a table's routes, a queue's function, or a function that is mapped to a stream.

    `consumer` names the table, the queue, or the mapping. `parked_age_ms` is how long its oldest parked lane has
    waited, None where none does; a mapping has no parked lanes but batches that it gave up on. `retention_ms` is None
    where nothing is ever lost by waiting. `dead_letters` are the messages that the queue's function gave up.
    """

    consumer: str
    kind: LagKind
    records_behind: int
    age_ms: int
    retention_ms: int | None = None
    parked_lanes: int = 0
    parked_age_ms: int | None = None
    dead_letters: int = 0

    @property
    def time_to_loss_ms(self) -> int | None:
        """How long until the oldest change that waits is past its retention, None where that does not matter."""
        return None if self.retention_ms is None else max(0, self.retention_ms - self.age_ms)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Above what lag is an alarm: ages in ms, and the part of the retention that an age has used up.

    And below what a disk's free space is. Under full load the store grows by its default between two checkpoints.
    """

    iterator_age_ms_max: int = 60_000
    retention_fraction_max: float = 0.5
    queue_age_ms_max: int = 900_000
    free_bytes_min: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that an operator should hear of: which kind, of which table, queue or disk, why, and what to do."""

    name: AlarmName
    consumer: str
    why: str
    what_to_do: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same alarm when it is looked at again."""
        return self.name, self.consumer


def alarms(
    lags: Iterable[Lag], thresholds: Thresholds, raised: Mapping[tuple[str, str], Alarm] | None = None
) -> Sequence[Alarm]:
    """The alarms that hold. One of `raised` holds until its measure is well below the threshold."""
    found: list[Alarm] = []
    before = raised or {}
    for lag in lags:
        for name, measure, threshold in _measures(lag, thresholds):
            bound = threshold * _CLEARED_FRACTION if (name, lag.consumer) in before else threshold
            if measure > bound:
                found.append(Alarm(name, lag.consumer, _why(name, lag), _what_to_do(name, lag)))
    return found


def disk_alarms(
    free_bytes: int, thresholds: Thresholds, raised: Mapping[tuple[str, str], Alarm] | None = None
) -> Sequence[Alarm]:
    """The alarm that too little is left of the disk, if it holds. One of `raised` holds until well more is."""
    is_raised = ("free disk", _DISK) in (raised or {})
    least = thresholds.free_bytes_min / (_CLEARED_FRACTION if is_raised else 1)
    if free_bytes >= least:
        return []
    what_to_do = (
        f"free some outside of the data directory: below {_mebibytes(thresholds.free_bytes_min)} a burst of writes may "
        "fill it, and then they are refused"
    )
    return [Alarm("free disk", _DISK, f"{_mebibytes(free_bytes)} are left on {_DISK}", what_to_do)]


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"


def _measures(lag: Lag, thresholds: Thresholds) -> Iterable[tuple[AlarmName, float, float]]:
    if lag.kind == "queue":
        yield "queue age", lag.age_ms, thresholds.queue_age_ms_max
    else:
        yield "iterator age", lag.age_ms, thresholds.iterator_age_ms_max
        if lag.retention_ms:
            yield "retention", lag.age_ms / lag.retention_ms, thresholds.retention_fraction_max
    yield "parked", lag.parked_lanes, 0
    yield "dead letters", lag.dead_letters, 0


_WHAT_TO_DO: Final[Mapping[AlarmName, str]] = {
    "iterator age": "look into the engine's log for a loop that fails; if there is none, the routes are too slow",
    "retention": "let the routes catch up: what is past its retention is kept until it is read, and fills the disk",
    "queue age": "see in the engine's log how the function fails, and whether its target is there",
    "parked": "read why and mend it: afterwrite parked show --in {held_in}; then afterwrite parked redrive --in "
    "{held_in}",
    "dead letters": "read why and mend it: afterwrite parked show --in {held_in}; then afterwrite parked redrive, or "
    "drop, --in {held_in}",
}


_MAPPING_WHAT_TO_DO: Final[Mapping[AlarmName, str]] = {
    "iterator age": "see in the engine's log how the function fails; if it does not, it is too slow for its shards",
    "retention": "let the function catch up before the records are past their retention: then they are gone",
    "parked": "read why and mend it: afterwrite parked show --by {function}; then, while the stream keeps them, "
    "afterwrite parked redrive --by {function}",
}


def _what_to_do(name: AlarmName, lag: Lag) -> str:
    if lag.kind == "mapping":
        return _MAPPING_WHAT_TO_DO[name].format(function=lag.consumer.partition(" ")[0])
    return _WHAT_TO_DO[name].format(held_in=lag.consumer)


def _why(name: AlarmName, lag: Lag) -> str:
    if lag.kind == "mapping" and name == "iterator age":
        waiting, age = _count(lag.records_behind, "record"), duration(lag.age_ms)
        return f"{waiting} of a stream have waited for the function {lag.consumer} for up to {age}"
    if lag.kind == "mapping" and name == "parked":
        batches = f"{lag.parked_lanes} batch{'' if lag.parked_lanes == 1 else 'es'}"
        since = duration(lag.parked_age_ms or 0)
        return f"the function {lag.consumer} was not able to handle {batches} of records, the first {since} ago"
    if lag.kind == "mapping":
        left, kept = duration(lag.time_to_loss_ms or 0), duration(lag.retention_ms or 0)
        waits = f"records of a stream have waited for the function {lag.consumer} for {duration(lag.age_ms)}"
        return f"{waits} of their retention of {kept}: {left} left"
    if name == "iterator age":
        return (
            f"{_count(lag.records_behind, 'change')} of the table {lag.consumer} have waited for the routes for up to "
            f"{duration(lag.age_ms)}"
        )
    if name == "retention":
        left = duration(lag.time_to_loss_ms or 0)
        return (
            f"changes of the table {lag.consumer} have waited for {duration(lag.age_ms)} of their retention of "
            f"{duration(lag.retention_ms or 0)}: {left} left"
        )
    if name == "queue age":
        return f"messages of the queue {lag.consumer} have waited for up to {duration(lag.age_ms)}"
    if name == "dead letters":
        return f"{_count(lag.dead_letters, 'dead letter')} of the queue {lag.consumer}"
    waits = "" if lag.parked_age_ms is None else f", for up to {duration(lag.parked_age_ms)}"
    return f"{_count(lag.parked_lanes, 'lane')} of the {lag.kind} {lag.consumer} parked{waits}"


def _count(count: int, one: str) -> str:
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def duration(duration_ms: int) -> str:
    """A duration in the unit that fits it."""
    seconds = duration_ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s" if duration_ms else "0 s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def transitions(
    raised: Mapping[tuple[str, str], Alarm], holding: Iterable[Alarm]
) -> Sequence[tuple[AlarmState, Alarm]]:
    """Which alarms are new, and which do not hold any more."""
    now = {alarm.key: alarm for alarm in holding}
    return [
        *(("cleared", alarm) for key, alarm in raised.items() if key not in now),
        *(("raised", alarm) for key, alarm in now.items() if key not in raised),
    ]
