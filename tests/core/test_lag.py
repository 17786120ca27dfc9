"""Lag: how long until something is lost, which measures are alarms, and when those end."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core.lag import Alarm, Lag, Thresholds, alarms, duration, transitions

HOUR_MS = 3_600_000
TABLE = Lag("orders", "table", 0, 0, retention_ms=24 * HOUR_MS)
QUEUE = Lag("mail", "queue", 0, 0)


def names(*lags: Lag, raised: list[Alarm] | None = None) -> list[str]:
    before = {alarm.key: alarm for alarm in raised or []}
    return [alarm.name for alarm in alarms(lags, Thresholds(), before)]


def test_time_to_loss_is_what_is_left_of_the_retention() -> None:
    assert TABLE.time_to_loss_ms == 24 * HOUR_MS
    assert replace(TABLE, age_ms=20 * HOUR_MS).time_to_loss_ms == 4 * HOUR_MS
    assert replace(TABLE, age_ms=30 * HOUR_MS).time_to_loss_ms == 0
    assert QUEUE.time_to_loss_ms is None


@pytest.mark.parametrize(
    ("lag", "expected"),
    [
        (TABLE, []),
        (replace(TABLE, age_ms=60_000), []),
        (replace(TABLE, age_ms=60_001), ["iterator age"]),
        (replace(TABLE, age_ms=12 * HOUR_MS), ["iterator age"]),
        (replace(TABLE, age_ms=12 * HOUR_MS + 1), ["iterator age", "retention"]),
        (replace(TABLE, parked_lanes=1, parked_age_ms=5), ["parked"]),
        (replace(QUEUE, age_ms=900_000), []),
        (replace(QUEUE, age_ms=900_001), ["queue age"]),
        (replace(QUEUE, age_ms=900_001, parked_lanes=2), ["queue age", "parked"]),
        (replace(QUEUE, dead_letters=1), ["dead letters"]),
    ],
)
def test_what_is_above_its_threshold_is_an_alarm(lag: Lag, expected: list[str]) -> None:
    assert names(lag) == expected


def test_an_alarm_says_why_and_what_to_do() -> None:
    late = replace(TABLE, records_behind=1, age_ms=20 * HOUR_MS, parked_lanes=2, parked_age_ms=180_000)
    why = [alarm.why for alarm in alarms([late, replace(QUEUE, age_ms=HOUR_MS, dead_letters=3)], Thresholds())]
    assert why == [
        "1 change of the table orders have waited for the routes for up to 20 h",
        "changes of the table orders have waited for 20 h of their retention of 24 h: 4 h left",
        "2 lanes of the table orders parked, for up to 3 min",
        "messages of the queue mail have waited for up to 60 min",
        "3 dead letters of the queue mail",
    ]


def test_what_an_alarm_says_to_do_are_commands_that_say_of_what() -> None:
    of_function = Lag("score on orders", "mapping", 0, 0, parked_lanes=1)
    found = alarms([replace(TABLE, parked_lanes=1), replace(QUEUE, dead_letters=3), of_function], Thresholds())
    assert [re.findall(r"--\w+ \w+", alarm.what_to_do) for alarm in found] == [
        ["--in orders", "--in orders"],
        ["--in mail", "--in mail"],
        ["--by score", "--by score"],
    ]


def test_an_alarm_that_is_raised_holds_until_its_measure_is_well_below() -> None:
    (raised,) = alarms([replace(TABLE, age_ms=61_000)], Thresholds())
    assert names(replace(TABLE, age_ms=50_000), raised=[raised]) == ["iterator age"]
    assert names(replace(TABLE, age_ms=48_000), raised=[raised]) == []
    # Another table's alarm says nothing of this one.
    assert names(replace(TABLE, consumer="other", age_ms=50_000), raised=[raised]) == []


@given(
    before=st.sets(st.sampled_from(["a", "b", "c"])),
    after=st.sets(st.sampled_from(["a", "b", "c"])),
)
def test_each_alarm_is_raised_and_cleared_once(before: set[str], after: set[str]) -> None:
    raised = {("iterator age", name): Alarm("iterator age", name, "", "") for name in before}
    holding = [Alarm("iterator age", name, "changed", "") for name in after]
    told = {(state, alarm.consumer) for state, alarm in transitions(raised, holding)}
    assert told == {("cleared", name) for name in before - after} | {("raised", name) for name in after - before}


@pytest.mark.parametrize(
    ("duration_ms", "shown"),
    [(0, "0 s"), (1_250, "1.2 s"), (119_900, "119.9 s"), (180_000, "3 min"), (36_000_000, "10 h")],
)
def test_durations(duration_ms: int, shown: str) -> None:
    assert duration(duration_ms) == shown


def test_a_function_that_is_mapped_to_a_stream_is_late_as_a_table_s_routes_are() -> None:
    mapping = Lag("copy on clicks", "mapping", 7, 13 * HOUR_MS, retention_ms=24 * HOUR_MS)
    late, near_loss = alarms([mapping], Thresholds())
    assert late.why == "7 records of a stream have waited for the function copy on clicks for up to 13 h"
    assert near_loss.why == (
        "records of a stream have waited for the function copy on clicks for 13 h of their retention of 24 h: 11 h left"
    )
    assert "gone" in near_loss.what_to_do
