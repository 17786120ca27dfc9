"""The engine's clock: never back, never standing still, whatever is done to the wall clock."""

from __future__ import annotations

import time

import pytest

from afterwrite.store.clock import SteadyClock

HOUR_NS = 3_600_000_000_000


def test_time_goes_on_where_the_wall_clock_is_set_back_until_that_has_caught_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall_ns, monotonic_ns = 100 * HOUR_NS, 0
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns)
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns)
    clock = SteadyClock()
    start_us = clock()
    assert start_us == wall_ns // 1000
    wall_ns -= HOUR_NS
    monotonic_ns += 5_000_000
    assert clock() == start_us + 5_000
    monotonic_ns += HOUR_NS
    wall_ns += HOUR_NS
    assert clock() == start_us + 5_000 + HOUR_NS // 1000
    wall_ns += 2 * HOUR_NS
    assert clock() == wall_ns // 1000


def test_a_thread_that_is_held_up_between_its_looks_at_the_clocks_puts_time_forward_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed_ns, held_up_ns = [0], [50_000_000]

    def look(start_ns: int) -> int:
        seen_ns = start_ns + passed_ns[0]
        passed_ns[0] += held_up_ns.pop() if held_up_ns else 0
        return seen_ns

    clock = SteadyClock()
    monkeypatch.setattr(time, "monotonic_ns", lambda: look(0))
    monkeypatch.setattr(time, "time_ns", lambda: look(100 * HOUR_NS))
    held_up_us = clock()
    passed_ns[0] += 1_000_000
    now_us = clock()
    assert held_up_us < now_us == (100 * HOUR_NS + passed_ns[0]) // 1000


def test_two_processes_agree_though_one_saw_the_wall_clock_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_ns, monotonic_ns = 100 * HOUR_NS, 0
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns)
    monkeypatch.setattr(time, "monotonic_ns", lambda: monotonic_ns)
    first, second = SteadyClock(), SteadyClock()
    second()
    wall_ns += HOUR_NS
    ahead_us = first()
    wall_ns -= HOUR_NS
    second.catch_up(ahead_us)
    monotonic_ns += 7_000
    assert first() == second() == ahead_us + 7
    second.catch_up(ahead_us)  # what was said a while ago changes nothing
    assert second() == ahead_us + 7
