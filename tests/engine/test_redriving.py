"""Parked lanes on AWS that are run again: which of them, and when one speaks for others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from afterwrite.core.changes import Change
from afterwrite.core.failure_kinds import Kind
from afterwrite.core.failures import Failure, failure
from afterwrite.core.ports import Begun, InProgress, ParkedChange
from afterwrite.engine.batches import BatchResult, Journal
from afterwrite.engine.redriving import Redriven, redrive

CHANGE = Change(
    id="1", table="orders", event_name="INSERT", keys={}, sequence_number="1", created_at_us=0, size_bytes=1
)


class Lanes:
    """Parked lanes with what their first changes failed on, and a ledger in which some lanes are somebody else's."""

    def __init__(self, failures: dict[str, Failure | None], held: Sequence[str] = ()) -> None:
        self.failures = failures
        self._held = held
        self.journal = Journal(cast("Any", self), cast("Any", self))

    def parked(self, _consumer: str, lane: str, **_bounds: int) -> list[ParkedChange]:
        """The lane's first change; none for a lane that is parked no more."""
        return [ParkedChange(1, lane, CHANGE, self.failures[lane])] if lane in self.failures else []

    def begin(self, _consumer: str, lane: str, *, lease_ms: int) -> Begun | InProgress:
        """The right to redrive the lane."""
        assert lease_ms > 0
        return InProgress(1_000) if lane in self._held else Begun(1, 1_000)

    def fail(self, *_: Any, **__: Any) -> None:
        """The right is given back."""


def by(target: str, kind: Kind = "unavailable") -> Failure:
    return failure(kind, "why", raised_by=target)


class Runs:
    """Runs lanes: those whose target is down stop again, the others are done."""

    def __init__(self, lanes: Lanes, *down: str) -> None:
        self._lanes = lanes
        self._down = down
        self.lanes: list[str] = []

    def __call__(self, lane: str) -> BatchResult:
        self.lanes.append(lane)
        failed = self._lanes.failures.get(lane)
        if failed is not None and failed.raised_by in self._down:
            return BatchResult(again=[1], stopped_by=failed)
        return BatchResult(performed=1)


def test_lanes_that_would_fail_again_stay_and_the_others_run() -> None:
    lanes = Lanes(
        {
            "bug": by("route", "bug"),
            "rejected": by("topic/a", "rejected"),
            "throttled": by("topic/a", "throttled"),
            "unavailable": by("topic/a"),
            "permission": by("topic/a", "permission"),
            "missing": by("topic/a", "missing"),
            "not tried": None,
        }
    )
    runs = Runs(lanes)
    done = redrive(lanes.journal, "orders", [*lanes.failures], runs, lambda: 1_000, only_what_may_pass=True)
    assert runs.lanes == ["throttled", "unavailable", "permission", "missing", "not tried"]
    assert done == Redriven(performed=5, still_parked=2)
    assert redrive(lanes.journal, "orders", [*lanes.failures], Runs(lanes), lambda: 1_000) == Redriven(7, 0)


def test_of_the_lanes_that_wait_for_a_target_that_still_fails_one_is_tried() -> None:
    lanes = Lanes({f"{target}{number}": by(target) for number in range(3) for target in ("down", "back")})
    runs = Runs(lanes, "down")
    done = redrive(lanes.journal, "orders", [*lanes.failures], runs, lambda: 1_000, only_what_may_pass=True)
    assert runs.lanes == ["down0", "back0", "back1", "back2"]
    assert done == Redriven(performed=3, still_parked=3)


def test_who_names_lanes_has_each_of_them_tried() -> None:
    lanes = Lanes({"a": by("down"), "b": by("down")})
    runs = Runs(lanes, "down")
    assert redrive(lanes.journal, "orders", ["a", "b"], runs, lambda: 1_000) == Redriven(0, 2)
    assert runs.lanes == ["a", "b"]


@pytest.mark.parametrize("only_what_may_pass", [False, True])
def test_a_lane_that_another_redrives_and_what_the_time_does_not_suffice_for_stay_parked(
    *, only_what_may_pass: bool
) -> None:
    lanes = Lanes({"a": by("back"), "held": by("back"), "late": by("back")}, held=["held"])
    runs = Runs(lanes)
    done = redrive(
        lanes.journal,
        "orders",
        [*lanes.failures],
        runs,
        lambda: 1_000 if not runs.lanes else 0,
        only_what_may_pass=only_what_may_pass,
    )
    assert runs.lanes == ["a"]
    assert done == Redriven(performed=1, still_parked=3), "a may have more changes than there was time for"
