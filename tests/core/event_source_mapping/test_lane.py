"""What a mapping does, as transcripts: this arrives, that is delivered, this comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.event_source_mapping.mapping import ListedShard
from afterwrite.core.json_text import dumps
from event_source_mapping_play import START_MS, Play

REPORTS: dict[str, Any] = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def window_of(play: Play) -> tuple[Any, bool, bool]:
    """The state and the flags of the running invocation."""
    window = play.running[1, 0].window
    assert window is not None
    return window.state, window.is_final, window.ends_early


def test_the_lowest_reported_record_is_the_checkpoint_s1() -> None:
    play = Play(**REPORTS)
    play.arrive(1)
    play.arrive(2, 3, 4, 5)
    play.returns()
    play.reports(4, 3)
    play.wait()
    assert play.deliveries == [[1], [2, 3, 4, 5], [3, 4, 5]]


def test_reported_failures_count_only_where_they_are_asked_for_s4() -> None:
    play = Play()
    play.arrive(1)
    play.reports(1)
    assert play.state.due_ms is None
    assert play.deliveries == [[1]]


def test_the_retries_start_again_when_the_checkpoint_advances_s5() -> None:
    play = Play(MaximumRetryAttempts=3, BatchSize=10, **REPORTS)
    play.arrive(1)
    play.arrive(2, 3)
    play.returns()
    play.reports(3)
    for _ in range(4):
        play.wait()
        play.reports(3)
    assert [batch for batch in play.deliveries if 3 in batch] == [[2, 3], [3], [3], [3], [3]]
    ((positions, given_up),) = play.given_up
    assert (positions, given_up.condition, given_up.invocations) == ([3], "RetryAttemptsExhausted", 4)


def test_an_error_halves_the_batch_and_uses_up_no_retry_s6() -> None:
    play = Play(BisectBatchOnFunctionError=True, MaximumRetryAttempts=0, BatchSize=10)
    play.arrive(1)
    play.arrive(2, 3, 4, 5)
    play.returns()
    play.fails()
    play.returns()
    play.fails()
    play.fails()
    play.returns()
    assert play.deliveries == [[1], [2, 3, 4, 5], [2, 3], [4, 5], [4], [5]]
    assert [positions for positions, _ in play.given_up] == [[4]]


def test_what_a_batch_was_divided_into_counts_its_own_invocations_s6() -> None:
    play = Play(BisectBatchOnFunctionError=True, MaximumRetryAttempts=1, BatchSize=10, **REPORTS)
    play.arrive(1)
    play.arrive(2, 3, 4, 5)
    play.returns()
    play.reports(3)
    play.wait()
    play.reports(3)
    play.reports(3)
    play.wait()
    play.reports(3)
    play.returns()
    assert play.deliveries == [[1], [2, 3, 4, 5], [3, 4, 5], [3], [3], [4, 5]]
    assert [(positions, given_up.invocations) for positions, given_up in play.given_up] == [([3], 2)]


def test_a_reported_failure_splits_at_its_record_s6() -> None:
    play = Play(BisectBatchOnFunctionError=True, BatchSize=10, **REPORTS)
    play.arrive(1)
    play.arrive(2, 3, 4, 5)
    play.returns()
    play.reports(4)
    play.wait()
    assert play.deliveries[1:] == [[2, 3, 4, 5], [4, 5]]


def test_a_throttled_invocation_uses_up_no_retry_s7() -> None:
    play = Play(MaximumRetryAttempts=0)
    play.arrive(1)
    for _ in range(5):
        play.is_throttled()
        play.wait()
    assert play.given_up == []
    play.fails()
    ((positions, given_up),) = play.given_up
    assert (positions, given_up.condition, given_up.invocations) == ([1], "RetryAttemptsExhausted", 1)


def test_a_throttled_record_leaves_when_it_is_too_old_s7() -> None:
    play = Play(MaximumRecordAgeInSeconds=60)
    play.arrive(1)
    while play.running:
        play.is_throttled()
        play.wait()
    assert play.now_ms == START_MS + 60_000
    assert [given_up.condition for _, given_up in play.given_up] == ["RecordAgeExceeded"]


def test_a_failing_record_holds_up_its_lane_only_s8() -> None:
    play = Play(ParallelizationFactor=2)
    play.arrive(1, lane=0)
    play.arrive(2, lane=1)
    play.fails(lane=0)
    play.returns(lane=1)
    play.arrive(3, lane=0)
    play.arrive(4, lane=1)
    assert play.deliveries == [[1], [2], [4]]
    play.wait()
    assert play.deliveries[-1] == [1]


def test_without_limits_it_is_tried_for_ever_s8() -> None:
    play = Play()
    play.arrive(1)
    for _ in range(30):
        play.fails()
        play.wait()
    assert len(play.deliveries) == 31
    assert play.given_up == []


def test_it_invokes_when_the_batch_is_full_s10() -> None:
    play = Play(BatchSize=2, MaximumBatchingWindowInSeconds=300)
    play.arrive(1)
    assert play.deliveries == []
    play.arrive(2, 3)
    assert play.deliveries == [[1, 2]]


def test_it_invokes_when_the_window_ends_and_the_next_opens_when_the_function_returns_s10() -> None:
    play = Play(MaximumBatchingWindowInSeconds=5)
    play.arrive(1)
    play.tick(4_999)
    assert play.deliveries == []
    play.tick(1)
    assert play.deliveries == [[1]]
    play.arrive(2)
    play.tick(3_000)
    play.returns()
    play.tick(4_999)
    assert play.deliveries == [[1]]
    play.tick(1)
    assert play.deliveries == [[1], [2]]


def test_a_window_that_ended_empty_opens_again_with_a_record_s10() -> None:
    play = Play(MaximumBatchingWindowInSeconds=5)
    play.tick(60_000)
    play.arrive(1)
    assert play.state.due_ms == play.now_ms + 5_000


def test_it_invokes_when_the_payload_is_full_s10() -> None:
    play = Play(BatchSize=10, MaximumBatchingWindowInSeconds=300)
    play.arrive(1, 2, 3, text=b"x" * (3 << 20))
    assert play.deliveries == [[1]]
    play.returns()
    assert play.deliveries == [[1], [2]]


def test_what_the_filter_leaves_out_moves_the_position_s10() -> None:
    play = Play()
    play.arrive(1, admitted=False)
    assert (play.deliveries, play.state.shards[1].read_through) == ([], 1)
    play.restart()
    assert (play.deliveries, play.state.shards[1].read_through) == ([], 1)


def test_a_tumbling_window_passes_its_state_on_and_ends_with_a_last_invocation_s11() -> None:
    play = Play(TumblingWindowInSeconds=30)
    play.now_ms = START_MS // 30_000 * 30_000
    play.arrive(1)
    assert window_of(play) == (b"{}", False, False)
    play.returns({"state": {"count": 1}})
    play.tick(10_000)
    play.arrive(2)
    assert window_of(play) == (b'{"count":1}', False, False)
    play.returns({"state": {"count": 2}})
    assert play.deliveries == [[1], [2]]
    play.wait()
    assert play.deliveries == [[1], [2], []]
    assert window_of(play) == (b'{"count":2}', True, False)
    play.returns({"state": {}})
    assert play.state.due_ms is None


def test_a_record_of_the_next_window_ends_the_one_before_s11() -> None:
    play = Play(TumblingWindowInSeconds=30, MaximumBatchingWindowInSeconds=300)
    play.now_ms = START_MS // 30_000 * 30_000
    play.arrive(1)
    play.tick(30_000)
    play.arrive(2)
    play.returns({"state": {"count": 1}})
    assert window_of(play) == (b'{"count":1}', True, False)
    play.returns({"state": {}})
    play.wait()
    assert window_of(play) == (b"{}", False, False)
    assert play.deliveries == [[1], [], [2]]


def test_a_response_without_a_state_is_a_failure_s11() -> None:
    play = Play(TumblingWindowInSeconds=30, MaximumRetryAttempts=0)
    play.arrive(1)
    play.returns({"batchItemFailures": []})
    assert [positions for positions, _ in play.given_up] == [[1]]


def test_a_state_that_is_too_large_ends_the_window_early_s11() -> None:
    """Recorded of AWS: the last invocation gets the state as it is."""
    play = Play(TumblingWindowInSeconds=30)
    play.arrive(1)
    play.arrive(2)
    play.returns({"state": {"text": "x"}})
    large = "x" * (1 << 20)
    play.returns({"state": {"text": large}})
    assert window_of(play) == (dumps({"text": large}), True, True)
    play.returns({"state": {}})
    play.arrive(3)
    assert window_of(play) == (b"{}", False, False)


def test_a_shard_that_ends_ends_its_window_s11() -> None:
    play = Play(TumblingWindowInSeconds=900)
    play.arrive(1)
    play.returns({"state": {"count": 1}})
    play.close()
    assert window_of(play) == (b'{"count":1}', True, False)
    play.returns({"state": {}})
    assert play.state.finished == {1}


def test_the_last_invocation_of_a_window_is_tried_until_it_succeeds_s11() -> None:
    play = Play(TumblingWindowInSeconds=900)
    play.arrive(1)
    play.returns({"state": {"count": 1}})
    play.close()
    for _ in range(5):
        play.fails()
        play.wait()
    assert window_of(play) == (b'{"count":1}', True, False)


def test_the_last_invocation_of_a_window_is_given_up_on_when_its_retries_are_used_up_s11() -> None:
    play = Play(TumblingWindowInSeconds=30, MaximumRetryAttempts=1)
    play.arrive(1)
    play.returns({"state": {"count": 1}})
    play.tick(31_000)
    play.arrive(2)
    play.fails()
    play.wait()
    play.fails()
    ((positions, given_up),) = play.given_up
    assert (positions, given_up.condition, given_up.invocations) == ([], "RetryAttemptsExhausted", 2)
    assert given_up.window is not None
    assert (given_up.window.state, given_up.window.is_final) == (b'{"count":1}', True)
    assert play.deliveries == [[1], [], [], [2]]
    assert window_of(play) == (b"{}", False, False)


def test_the_last_invocation_of_a_window_has_failed_for_good_when_the_window_is_too_old_s11() -> None:
    play = Play(TumblingWindowInSeconds=30, MaximumRecordAgeInSeconds=60)
    play.arrive(1)
    play.returns({"state": {"count": 1}})
    play.tick(100_000)
    assert window_of(play) == (b'{"count":1}', True, False)
    play.fails()
    ((positions, given_up),) = play.given_up
    assert (positions, given_up.condition, given_up.invocations) == ([], "RecordAgeExceeded", 1)
    assert play.state.due_ms is None


def test_what_is_given_up_on_in_a_window_says_which_s11() -> None:
    play = Play(TumblingWindowInSeconds=30, MaximumRetryAttempts=0)
    play.arrive(1)
    play.fails()
    ((positions, given_up),) = play.given_up
    assert given_up.window is not None
    assert (positions, given_up.window.is_final, given_up.window.state) == ([1], False, b"{}")


def test_expired_records_leave_alone_and_the_rest_is_delivered_s15() -> None:
    play = Play(MaximumRecordAgeInSeconds=60)
    play.arrive(1)
    play.arrive(2, 3)
    play.tick(59_000)
    play.arrive(4)
    play.tick(2_000)
    play.returns()
    ((positions, given_up),) = play.given_up
    assert (positions, given_up.condition, given_up.invocations) == ([2, 3], "RecordAgeExceeded", 0)
    assert play.deliveries == [[1], [4]]


def test_the_iterator_age_is_that_of_the_last_record_when_it_is_processed_s16() -> None:
    play = Play()
    play.arrive(1)
    play.tick(7_000)
    play.returns()
    assert play.state.shards[1].lanes[0].iterator_age_ms == 7_000


def test_a_child_shard_begins_when_its_parent_is_finished_s19() -> None:
    shards = (ListedShard(1, "shard-1", (), 0), ListedShard(2, "shard-2", (1,), 2))
    play = Play(shards=shards)
    play.records[2] = [play.record(3)]
    play.arrive(1)
    play.close()
    assert play.deliveries == [[1]]
    play.fails()
    play.wait()
    play.returns()
    assert play.deliveries == [[1], [1], [3]]


def test_a_child_of_a_parent_that_is_gone_begins_at_once_s19() -> None:
    play = Play(shards=(ListedShard(2, "shard-2", (1,), 2),))
    play.arrive(3, shard=2)
    assert play.deliveries == [[3]]


def test_what_was_done_is_not_done_again_after_a_restart() -> None:
    play = Play(BatchSize=1)
    play.arrive(1, 2, 3)
    play.returns()
    play.restart()
    play.wait()
    assert play.deliveries == [[1], [2], [2]]


def test_an_invocation_that_died_with_the_engine_counts_as_a_failed_one() -> None:
    play = Play(MaximumRetryAttempts=1)
    play.arrive(1)
    play.restart()
    play.wait()
    play.restart()
    assert play.deliveries == [[1], [1]]
    assert [(positions, given_up.invocations) for positions, given_up in play.given_up] == [([1], 2)]


def test_a_divided_batch_stays_divided_over_a_restart() -> None:
    play = Play(BisectBatchOnFunctionError=True, BatchSize=10)
    play.arrive(1)
    play.arrive(2, 3, 4, 5)
    play.returns()
    play.fails()
    play.restart()
    play.returns()
    play.returns()
    assert play.deliveries == [[1], [2, 3, 4, 5], [2, 3], [2], [3], [4, 5]]


def test_a_tumbling_windows_state_is_kept_over_a_restart_s11() -> None:
    play = Play(TumblingWindowInSeconds=900)
    play.arrive(1)
    play.returns({"state": {"count": 1}})
    play.restart()
    play.arrive(2)
    assert window_of(play) == (b'{"count":1}', False, False)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_tumbling_window_of_before_the_clock_was_set_back_ends_s11(goes_on: bool) -> None:
    play = Play(TumblingWindowInSeconds=60)
    play.arrive(1)
    play.returns({"state": {"count": 1}})
    play.now_ms -= 7_200_000
    if goes_on:
        play.records[1].append(play.record(2))
    play.restart()
    assert window_of(play) == (b'{"count":1}', True, False)
    play.returns({"state": {}})
    assert play.deliveries == ([[1], [], [2]] if goes_on else [[1], []])


def test_records_of_before_and_after_the_clock_was_set_back_are_of_two_windows_s11() -> None:
    play = Play(TumblingWindowInSeconds=60, BatchSize=10)
    play.records[1] = [play.record(1)]
    play.now_ms -= 7_200_000
    play.records[1].append(play.record(2))
    play.tick()
    play.returns({"state": {}})
    play.returns({"state": {}})
    assert play.deliveries == [[1], [], [2]]


def test_another_parallelization_factor_goes_on_where_the_last_lane_was() -> None:
    play = Play(ParallelizationFactor=2)
    play.arrive(1, lane=0)
    play.arrive(2, lane=1)
    play.returns(lane=1)
    play.settings = Play(ParallelizationFactor=1).settings
    play.records[1] = [play.record(1), play.record(2)]
    play.restart()
    assert play.deliveries == [[1], [2], [1, 2]]


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64])
def test_bisecting_ends_and_gives_up_on_single_records(batch: int) -> None:
    play = Play(BisectBatchOnFunctionError=True, MaximumRetryAttempts=1, BatchSize=100)
    play.records[1] = [play.record(position) for position in range(1, batch + 1)]
    play.tick()
    play.fails_until_it_ends()
    assert [positions for positions, _ in play.given_up] == [[position] for position in range(1, batch + 1)]


def test_a_blocked_lane_holds_a_bounded_number_of_records() -> None:
    play = Play()
    play.records[1] = [play.record(position) for position in range(1, 25_000)]
    play.tick()
    held = play.state.shards[1].lanes[0]
    assert len(held.waiting) + len(held.pieces[0].records) <= 2_200
    while play.running:
        play.returns()
    assert play.deliveries[-1][-1] == 24_999
