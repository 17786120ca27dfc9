"""Backpressure: concurrency that follows the target, a breaker that leaves it alone and asks whether it is back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from afterwrite.core.backpressure import (
    AHEAD_MAX,
    OPEN_MS_FIRST,
    OPEN_MS_MAX,
    TROUBLED_LANES_MAX,
    Breaker,
    Concurrency,
    free_slots,
)


def steady(state: Concurrency, took_ms: float, count: int, start_ms: float = 0.0) -> Concurrency:
    for number in range(count):
        began_ms = start_ms + number * took_ms
        state = state.after_success(began_ms=began_ms, now_ms=began_ms + took_ms)
    return state


def test_trouble_halves_once_for_all_attempts_that_were_under_way() -> None:
    state = Concurrency.full(16)
    for now_ms in (10, 11, 12):
        state = state.after_trouble(began_ms=5, now_ms=now_ms)
    assert state.slots == 8
    state = state.after_trouble(began_ms=13, now_ms=20)
    assert state.slots == 4


def test_what_goes_well_adds_one_a_round_until_it_is_full() -> None:
    state = Concurrency(8, 2.0)
    assert steady(state, 10, 2).slots == 2
    assert steady(state, 10, 3).slots == 3
    assert steady(state, 10, 60).limit == 8


def test_a_target_that_becomes_slow_is_given_less_and_more_again_when_it_is_as_usual() -> None:
    usual = steady(Concurrency.full(16), 20, 50)
    assert usual.slots == 16
    slow = steady(usual, 600, 40, start_ms=10_000)
    assert slow.slots <= 8
    assert steady(slow, 20, 400, start_ms=100_000).slots == 16


def test_work_that_takes_long_but_as_long_as_usual_is_not_slow() -> None:
    assert steady(Concurrency.full(4), 5_000, 100).slots == 4


@given(
    most=st.integers(1, 64),
    events=st.lists(st.tuples(st.booleans(), st.integers(0, 100_000), st.integers(0, 5_000)), max_size=200),
)
def test_there_is_always_a_slot_and_never_more_than_allowed(most: int, events: list[tuple[bool, int, int]]) -> None:
    state = Concurrency.full(most)
    for goes_well, began_ms, took_ms in events:
        after = state.after_success if goes_well else state.after_trouble
        before, state = state, after(began_ms=began_ms, now_ms=began_ms + took_ms)
        assert 1 <= state.slots <= most
        assert state.limit <= before.limit + 1 / before.limit
        assert goes_well or state.limit >= before.limit / 2


def test_messages_are_received_ahead_of_their_slots_where_attempts_are_short_and_go_well() -> None:
    assert Concurrency.full(8).ahead == 0
    assert steady(Concurrency.full(8), 0.1, 10).ahead == AHEAD_MAX
    assert steady(Concurrency.full(8), 5, 10).ahead == 16
    assert steady(Concurrency.full(8), 100, 10).ahead == 0
    assert steady(Concurrency.full(8), 1, 10).after_trouble(began_ms=20, now_ms=21).ahead == 0


def in_trouble(breaker: Breaker, lanes: str, now_ms: float = 0.0) -> Breaker:
    for lane in lanes:
        breaker = breaker.after_trouble(lane, began_ms=now_ms, now_ms=now_ms)
    return breaker


def test_one_bad_lane_opens_nothing_and_several_in_a_row_do() -> None:
    assert in_trouble(Breaker(), "aaaaaaaaaa").is_closed
    assert in_trouble(Breaker(), "abcdabcd").is_closed
    assert in_trouble(in_trouble(Breaker(), "abcd").after_success(), "abcd").is_closed
    assert not in_trouble(Breaker(), "abcde").is_closed


def test_an_open_breaker_lets_single_probes_through_after_waits_that_double() -> None:
    breaker, now_ms, waits = in_trouble(Breaker(), "abcde"), 0.0, []
    for _ in range(9):
        waits.append(breaker.open_until_ms - now_ms)
        assert breaker.admits(running=0, now_ms=breaker.open_until_ms - 1) == 0
        now_ms = breaker.open_until_ms
        assert breaker.admits(running=0, now_ms=now_ms) == 1
        assert breaker.admits(running=1, now_ms=now_ms) == 0
        breaker = breaker.after_trouble("x", began_ms=now_ms, now_ms=now_ms)
    assert waits == [min(OPEN_MS_MAX, OPEN_MS_FIRST * 2**number) for number in range(9)]
    assert breaker.after_success() == Breaker()
    assert Breaker().admits(running=7, now_ms=now_ms) is None


class BreakerMachine(RuleBasedStateMachine):
    """Attempts that begin as the breaker admits and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now_ms = 0.0
        self.running: list[tuple[str, float, bool]] = []  # lane, beginning, whether it is a probe
        self.row: set[str] = set()  # lanes in trouble since something went well

    @rule(lane=st.sampled_from("abcdefgh"))
    def begin(self, lane: str) -> None:
        admitted = self.breaker.admits(running=len(self.running), now_ms=self.now_ms)
        if admitted is None or admitted > 0:
            self.running.append((lane, self.now_ms, not self.breaker.is_closed))

    @rule(data=st.data(), well=st.booleans())
    def end(self, data: Any, well: bool) -> None:
        if not self.running:
            return
        lane, began_ms, probe = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        was_closed = self.breaker.is_closed
        if well:
            self.breaker, self.row = self.breaker.after_success(), set()
            assert self.breaker.is_closed
            return
        self.row.add(lane)
        self.breaker = self.breaker.after_trouble(lane, began_ms=began_ms, now_ms=self.now_ms)
        if was_closed:
            assert self.breaker.is_closed is (len(self.row) < TROUBLED_LANES_MAX)
        else:
            assert not self.breaker.is_closed
            assert not probe or self.breaker.open_until_ms > self.now_ms

    @rule(ms=st.sampled_from([1, 500, 70_000]))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @invariant()
    def it_is_never_left_alone_for_ever(self) -> None:
        assert self.breaker.open_until_ms <= self.now_ms + OPEN_MS_MAX
        if self.breaker.is_closed:
            assert len(self.breaker.troubled_lanes) < TROUBLED_LANES_MAX


TestBreakerMachine = BreakerMachine.TestCase


@pytest.mark.parametrize(
    ("allowed", "running", "stuck", "free"),
    [(4, 0, 0, 4), (4, 3, 0, 1), (4, 5, 0, 0), (4, 0, 31, 4), (4, 0, 32, 1), (4, 1, 32, 0), (4, 0, 512, 0)],
)
def test_attempts_that_hang_slow_a_function_down_before_they_stop_it(
    allowed: int, running: int, stuck: int, free: int
) -> None:
    assert free_slots(allowed=allowed, running=running, stuck=stuck) == free
