"""Which effects of a batch may be sent when, as transcripts; and that no lane ever gets out of order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core.batching import Entry, Limits, requests
from afterwrite.core.failure_kinds import Kind
from afterwrite.core.lane_runs import Failed, LaneRuns, Performed, PlannedChange, Unfinished
from afterwrite.core.outcomes import RetryPolicy
from afterwrite.core.target_failures import DELIVERIES_MAX, TargetFailure, is_final, kind_of_code

POLICY = RetryPolicy(attempts_max=3, backoff_ms_first=100)
IN_ORDER = frozenset({"topic"})


def entry(id: str, size_bytes: int = 1) -> Entry:
    return Entry(id, id[0], None, size_bytes)


def change(position: int, *sent: str) -> PlannedChange:
    """A change whose effects are written `target:id`; an id begins with its lane."""
    entries = [(target, entry(id)) for target, _, id in (each.partition(":") for each in sent)]
    return PlannedChange(position, entries[0][1].lane, entries)


def runs(*changes: PlannedChange) -> LaneRuns:
    return LaneRuns(changes, in_order=IN_ORDER, policy=POLICY)


def offered(lanes: LaneRuns, now_ms: int = 0) -> list[str]:
    return [f"{target}:{each.id}" for target, entries in lanes.ready(now_ms).items() for each in entries]


def failure(kind: Kind) -> TargetFailure:
    return TargetFailure("topic", kind, "Code", "words")


def perform(lanes: LaneRuns, *ids: str) -> None:
    for id in ids:
        lanes.performed(entry(id))


def test_a_lane_s_next_change_is_offered_when_all_of_the_one_before_is_performed() -> None:
    lanes = runs(change(1, "topic:a1", "lake:a2"), change(2, "topic:b1"), change(3, "topic:a3"))
    assert sorted(offered(lanes)) == ["lake:a2", "topic:a1", "topic:b1"]
    perform(lanes, "a1", "b1")
    assert offered(lanes) == ["lake:a2"]
    perform(lanes, "a2")
    assert offered(lanes) == ["topic:a3"]
    perform(lanes, "a3")
    assert lanes.next_ready_ms() is None
    assert lanes.verdicts() == {1: Performed(), 2: Performed(), 3: Performed()}


def test_only_a_target_that_keeps_order_is_offered_one_effect_of_a_lane_at_a_time() -> None:
    lanes = runs(change(1, "topic:a1", "topic:a2", "lake:a3", "lake:a4"))
    assert sorted(offered(lanes)) == ["lake:a3", "lake:a4", "topic:a1"]


def test_a_target_that_keeps_no_order_is_offered_what_later_changes_have_for_it_too() -> None:
    lanes = runs(change(1, "topic:a1", "lake:a2"), change(2, "topic:a3", "lake:a4"), change(3, "lake:a5"))
    assert offered(lanes) == ["lake:a2", "lake:a4", "lake:a5", "topic:a1"]
    perform(lanes, "a2", "a4", "a5")
    lanes.failed(entry("a1"), failure("rejected"), now_ms=0, jitter=0.5)
    assert lanes.verdicts() == {1: Failed(failure("rejected"), ("a2",)), 2: Unfinished(("a4",)), 3: Unfinished(("a5",))}


def test_what_fails_ahead_of_its_turn_stops_its_lane_there_and_not_before() -> None:
    lanes = runs(change(1, "topic:a1"), change(2, "lake:a2"), change(3, "topic:a3"))
    lanes.failed(entry("a2"), failure("rejected"), now_ms=0, jitter=0.5)
    assert offered(lanes) == ["topic:a1"]
    perform(lanes, "a1")
    assert lanes.next_ready_ms() is None
    assert lanes.verdicts() == {1: Performed(), 2: Failed(failure("rejected"), ()), 3: Unfinished()}


def test_a_failed_effect_holds_back_its_lane_and_no_other_s28() -> None:
    lanes = runs(change(1, "topic:a1"), change(2, "topic:b1"), change(3, "topic:a2"), change(4, "topic:b2"))
    lanes.failed(entry("a1"), failure("throttled"), now_ms=1_000, jitter=0.5)
    perform(lanes, "b1")
    assert offered(lanes, 1_000) == ["topic:b2"]
    perform(lanes, "b2")
    assert lanes.next_ready_ms() == 1_050
    assert offered(lanes, 1_049) == []
    assert offered(lanes, 1_050) == ["topic:a1"]
    assert lanes.verdicts()[1] == Unfinished()


def test_a_failure_that_a_wait_does_not_help_stops_its_lane() -> None:
    lanes = runs(change(1, "topic:a1", "lake:a2"), change(2, "topic:a3"), change(3, "topic:b1"))
    lanes.failed(entry("a1"), failure("rejected"), now_ms=0, jitter=0.5)
    perform(lanes, "a2", "b1")
    assert offered(lanes) == []
    assert lanes.next_ready_ms() is None
    assert lanes.verdicts() == {1: Failed(failure("rejected"), ("a2",)), 2: Unfinished(), 3: Performed()}


def test_attempts_end() -> None:
    lanes = runs(change(1, "topic:a1"))
    for attempt in range(POLICY.attempts_max):
        assert lanes.next_ready_ms() == 0, attempt
        lanes.failed(entry("a1"), failure("unavailable"), now_ms=0, jitter=0.0)
    assert lanes.next_ready_ms() is None
    assert lanes.verdicts() == {1: Failed(failure("unavailable"), ())}


def test_a_change_without_effects_is_performed_at_once() -> None:
    lanes = runs(PlannedChange(1, "a", ()), change(2, "topic:a1"), PlannedChange(3, "a", ()))
    assert offered(lanes) == ["topic:a1"]
    assert lanes.verdicts() == {1: Performed(), 2: Unfinished(), 3: Unfinished()}
    perform(lanes, "a1")
    assert lanes.verdicts()[3] == Performed()


@given(
    lanes_of_changes=st.lists(st.sampled_from("abc"), max_size=12),
    verdicts=st.lists(st.sampled_from(["ok", "ok", "throttled", "rejected"]), min_size=80, max_size=80),
)
def test_whatever_fails_each_lane_is_performed_in_order_and_up_to_its_first_failure(
    lanes_of_changes: Sequence[str], verdicts: Sequence[Kind | str]
) -> None:
    changes = [
        change(number, f"topic:{lane}{number}x", f"topic:{lane}{number}y")
        for number, lane in enumerate(lanes_of_changes)
    ]
    lanes, performed, now_ms = runs(*changes), [], 0
    drawn = iter(verdicts)
    while (ready_ms := lanes.next_ready_ms()) is not None:
        now_ms = max(now_ms, ready_ms)
        for entries in lanes.ready(now_ms).values():
            for each in entries:
                verdict = next(drawn, "rejected")
                if verdict == "ok":
                    performed.append(each.id)
                    lanes.performed(each)
                else:
                    kind: Kind = "throttled" if verdict == "throttled" else "rejected"
                    lanes.failed(each, failure(kind), now_ms=now_ms, jitter=0.5)
    wanted = [sent.id for planned in changes for _, sent in planned.entries]
    for lane in "abc":
        done = [id for id in performed if id.startswith(lane)]
        assert done == [id for id in wanted if id.startswith(lane)][: len(done)]
    outcome = lanes.verdicts()
    assert set(outcome) == set(range(len(changes)))
    for planned in changes:
        whole = all(each.id in performed for _, each in planned.entries)
        assert isinstance(outcome[planned.position], Performed) == whole


def test_requests_are_cut_by_entries_and_by_bytes_s29() -> None:
    limits = Limits(entries=3, request_bytes=10, entry_bytes=10)

    def cut(*sizes: int) -> list[list[int]]:
        return [[each.size_bytes for each in some] for some in requests((entry("a", size) for size in sizes), limits)]

    assert cut() == []
    assert cut(1, 1, 1, 1) == [[1, 1, 1], [1]]
    assert cut(5, 5, 1) == [[5, 5], [1]]
    assert cut(4, 7, 3) == [[4], [7, 3]]
    assert cut(1, 99, 1) == [[1], [99], [1]]


def test_errors_are_classified_by_code_then_status_then_fault() -> None:
    assert kind_of_code("ProvisionedThroughputExceededException", status=400) == "throttled"
    assert kind_of_code("AccessDeniedException", status=400) == "permission"
    assert kind_of_code("AWS.SimpleQueueService.NonExistentQueue", status=400) == "missing"
    assert kind_of_code("InternalFailure") == "unavailable"
    assert kind_of_code("Unheard", status=400) == "rejected"
    assert kind_of_code("Unheard", status=503) == "unavailable"
    assert kind_of_code("Unheard", status=404) == "missing"
    assert kind_of_code("Unheard", sender_fault=True) == "rejected"
    assert kind_of_code("Unheard", sender_fault=False) == "unavailable"


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("throttled", "KmsThrottled KMS.ThrottlingException KMSThrottling KMSThrottlingException"),
        ("throttled", "BandwidthLimitExceeded EC2ThrottledException PriorRequestNotComplete"),
        ("unavailable", "ReplicatedWriteConflictException"),
        ("permission", "KmsAccessDenied KMS.AccessDeniedException KMSDisabled KMSInvalidStateException"),
        ("permission", "KMSOptInRequired KMS.OptInRequired KmsInvalidKeyUsage InvalidKMSResourceException"),
        ("permission", "NotAuthorizedForSourceException NotAuthorizedForDetailTypeException SendingPausedException"),
        ("permission", "RequestExpired MissingAuthenticationToken AccountSuspendedException"),
        ("missing", "KmsNotFound KMS.NotFoundException KMSNotFound KMSNotFoundException"),
    ],
)
def test_what_passes_by_itself_or_by_an_operator_is_not_rejected_for_its_status(kind: Kind, codes: str) -> None:
    """Services say 400 to most of these; what is rejected would park its lane at once."""
    assert {code: kind_of_code(code, status=400) for code in codes.split()} == dict.fromkeys(codes.split(), kind)


@pytest.mark.parametrize(
    "code", ["InvalidAccountIdException", "InvalidArgument", "MalformedDetail", "RedactionFailure"]
)
def test_events_that_a_bus_never_takes_are_rejected_at_once(code: str) -> None:
    """An entry of PutEvents fails with a code and nothing beside it that tells whose fault it is."""
    assert kind_of_code(code) == "rejected"


def test_what_may_pass_is_delivered_some_times_and_what_is_rejected_once() -> None:
    assert is_final(failure("rejected"), 1)
    kinds: tuple[Kind, ...] = ("throttled", "unavailable", "permission", "missing")
    for kind in kinds:
        assert not is_final(TargetFailure("t", kind, "", ""), DELIVERIES_MAX - 1)
        assert is_final(TargetFailure("t", kind, "", ""), DELIVERIES_MAX)
