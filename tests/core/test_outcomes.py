"""Outcomes: what becomes of an attempt that failed, and the words that are kept of it."""

from __future__ import annotations

import pytest

from afterwrite.core.changes import Change
from afterwrite.core.lanes import digest, lane_of
from afterwrite.core.outcomes import Park, Retry, RetryPolicy, after_failure, reason_of

POLICY = RetryPolicy(attempts_max=4, backoff_ms_first=100, backoff_ms_max=300)


@pytest.mark.parametrize(
    ("attempt", "jitter", "outcome"),
    [
        (1, 0.0, Retry(0, "why")),
        (1, 0.5, Retry(50, "why")),
        (2, 0.5, Retry(100, "why")),
        (3, 0.5, Retry(150, "why")),
        (4, 0.5, Park("why")),
        (5, 0.5, Park("why")),
    ],
)
def test_waits_grow_to_the_bound_and_the_last_attempt_parks(attempt: int, jitter: float, outcome: Retry | Park) -> None:
    assert after_failure(POLICY, attempt=attempt, reason="why", jitter=jitter) == outcome


def test_one_attempt_means_no_retry() -> None:
    assert after_failure(RetryPolicy(attempts_max=1), attempt=1, reason="x", jitter=0.9) == Park("x")


def test_a_huge_attempt_number_still_waits_within_the_bound() -> None:
    policy = RetryPolicy(attempts_max=10**9, backoff_ms_first=1, backoff_ms_max=60_000)
    assert after_failure(policy, attempt=10**6, reason="x", jitter=0.5) == Retry(30_000, "x")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (SystemExit(2), "SystemExit: 2"),
        (ValueError("half \ud800 pair"), "ValueError: half \\ud800 pair"),
        (Mute(), "Mute: (without words: its __str__ fails)"),
    ],
)
def test_a_reason_can_be_stored_whatever_was_raised(failure: BaseException, reason: str) -> None:
    assert reason_of(failure) == reason


def test_a_reason_is_bounded() -> None:
    reason = reason_of(ValueError("x" * 1_000_000))
    assert len(reason) < 2_100
    assert reason.endswith("(1000012 characters)")


def test_a_lane_is_the_table_and_the_partition_key() -> None:
    def lane(table: str, pk: dict[str, str]) -> str:
        change = Change(id="c", table=table, event_name="INSERT", keys={"sk": {"S": "1"}, "pk": pk})
        return lane_of(change, "pk")

    assert lane("t", {"S": "p"}) == "t/p"
    lanes = {lane("t", {"S": "p"}), lane("t", {"S": "q"}), lane("u", {"S": "p"}), lane("t", {"N": "1"})}
    assert len({digest(each) for each in lanes}) == 4
    assert all(len(digest(each)) == 8 for each in lanes)
