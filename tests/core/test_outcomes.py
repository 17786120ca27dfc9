"""Outcomes: what becomes of an attempt that failed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core.changes import Change
from afterwrite.core.failure_kinds import DIRECTIVES, Kind
from afterwrite.core.failures import Failure, failure
from afterwrite.core.lanes import digest, lane_of, lanes_by, table_of
from afterwrite.core.outcomes import Park, Retry, RetryPolicy, after_failure

POLICY = RetryPolicy(attempts_max=4, backoff_ms_first=100, backoff_ms_max=300, age_ms_max=10_000)
WHY = failure("bug", "why")


@pytest.mark.parametrize(
    ("attempt", "jitter", "outcome"),
    [
        (1, 0.0, Retry(0, WHY)),
        (1, 0.5, Retry(50, WHY)),
        (2, 0.5, Retry(100, WHY)),
        (3, 0.5, Retry(150, WHY)),
        (4, 0.5, Park(WHY, "attempts exhausted")),
        (5, 0.5, Park(WHY, "attempts exhausted")),
    ],
)
def test_waits_grow_to_the_bound_and_the_last_attempt_parks(attempt: int, jitter: float, outcome: Retry | Park) -> None:
    assert after_failure(POLICY, WHY, attempt=attempt, age_ms=0, failing_ms=0, jitter=jitter) == outcome


def test_one_attempt_means_no_retry() -> None:
    assert after_failure(RetryPolicy(attempts_max=1), WHY, attempt=1, age_ms=0, failing_ms=0, jitter=0.9) == Park(WHY)


def test_a_huge_attempt_number_still_waits_within_the_bound() -> None:
    policy = RetryPolicy(attempts_max=10**9, backoff_ms_first=1, backoff_ms_max=60_000)
    assert after_failure(policy, WHY, attempt=10**6, age_ms=0, failing_ms=0, jitter=0.5) == Retry(30_000, WHY)


def test_what_is_too_old_is_given_up_after_a_failure_whatever_its_attempts() -> None:
    assert isinstance(after_failure(POLICY, WHY, attempt=1, age_ms=9_999, failing_ms=9_999, jitter=0.5), Retry)
    assert after_failure(POLICY, WHY, attempt=1, age_ms=10_000, failing_ms=10_000, jitter=0.5) == Park(WHY, "too old")


def test_what_is_rejected_is_given_up_at_once() -> None:
    rejected = failure("rejected", "no")
    assert after_failure(POLICY, rejected, attempt=1, age_ms=0, failing_ms=0, jitter=0.5) == Park(rejected, "rejected")


def test_throttling_uses_up_no_attempt_and_ends_with_the_age_s7() -> None:
    throttled = failure("throttled", "slow down")
    # The time since the first failure, which each wait adds to, makes the waits grow.
    for failing_ms, wait_ms in ((0, 50), (150, 75), (250, 125), (9_000, 150)):
        again = after_failure(POLICY, throttled, attempt=99, age_ms=9_000, failing_ms=failing_ms, jitter=0.5)
        assert again == Retry(wait_ms, throttled, counted=False)
    assert after_failure(POLICY, throttled, attempt=1, age_ms=10_000, failing_ms=10_000, jitter=0.5) == Park(
        throttled, "too old"
    )


def test_a_probe_of_a_target_that_is_still_down_costs_no_attempt() -> None:
    down = failure("unavailable", "down")
    assert isinstance(after_failure(POLICY, down, attempt=4, age_ms=0, failing_ms=0, jitter=0.5), Park)
    assert after_failure(POLICY, down, attempt=4, age_ms=0, failing_ms=0, jitter=0.5, probe=True) == Retry(
        50, down, counted=False
    )
    # A bug is the message's own, probe or not.
    assert isinstance(after_failure(POLICY, WHY, attempt=4, age_ms=0, failing_ms=0, jitter=0.5, probe=True), Park)


def test_a_wait_that_the_target_asks_for_is_kept_within_the_bound() -> None:
    for after_ms, wait_ms in ((200, 200), (20, 50), (9_000, 300)):
        asked = Failure("throttled", "later", "f", after_ms=after_ms)
        assert after_failure(POLICY, asked, attempt=1, age_ms=0, failing_ms=0, jitter=0.5) == Retry(
            wait_ms, asked, counted=False
        )


@given(
    kind=st.sampled_from(list(DIRECTIVES)),
    attempts_max=st.integers(1, 50),
    age_ms_max=st.none() | st.integers(1, 10**9),
    backoff=st.tuples(st.integers(0, 10**5), st.integers(0, 10**6)),
    jitters=st.lists(st.floats(0, 1, exclude_max=True), min_size=60, max_size=60),
)
def test_waits_are_bounded_and_attempts_end(
    kind: Kind, attempts_max: int, age_ms_max: int | None, backoff: tuple[int, int], jitters: list[float]
) -> None:
    policy = RetryPolicy(attempts_max, *backoff, age_ms_max)
    failed, attempt, age_ms = failure(kind, "x"), 1, 0
    for tried, jitter in enumerate(jitters, start=1):
        outcome = after_failure(policy, failed, attempt=attempt, age_ms=age_ms, failing_ms=age_ms, jitter=jitter)
        if isinstance(outcome, Park):
            assert outcome.failure == failed
            return
        assert 0 <= outcome.after_ms <= policy.backoff_ms_max
        attempt += outcome.counted
        age_ms += outcome.after_ms
        assert tried < attempts_max or not outcome.counted
        assert age_ms_max is None or age_ms - outcome.after_ms < age_ms_max
    assert kind == "throttled"


def change(table: str, pk: dict[str, str], sequence_number: str = "1") -> Change:
    keys = {"sk": {"S": "1"}, "pk": pk}
    return Change(id="c", table=table, event_name="INSERT", keys=keys, sequence_number=sequence_number)


def test_a_lane_is_the_table_and_the_partition_key() -> None:
    assert lane_of(change("t", {"S": "p"}), "pk") == "t/p"
    keys = (("t", {"S": "p"}), ("t", {"S": "q"}), ("u", {"S": "p"}), ("t", {"N": "1"}))
    lanes = {lane_of(change(*key), "pk") for key in keys}
    assert len({digest(each) for each in lanes}) == 4
    assert all(len(digest(each)) == 8 for each in lanes)


def test_a_lane_is_as_narrow_as_the_order_that_is_declared() -> None:
    first, second = change("t", {"S": "p"}, "7"), change("t", {"S": "p"}, "8")
    assert lanes_by("partition_key", "pk", "sk")(first) == "t/p"
    assert lanes_by("item", "pk", "sk")(first) == lanes_by("item", "pk", "sk")(second) == "t/p/1"
    assert lanes_by("item", "pk", None)(first) == "t/p"
    assert [lanes_by("none", "pk", "sk")(each) for each in (first, second)] == ["t/p/7", "t/p/8"]
    assert table_of("t/p/1") == "t"
