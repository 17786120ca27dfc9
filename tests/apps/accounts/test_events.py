"""An account's state follows from its events, and from nothing that does not follow on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from account_histories import stored
from accounts.events import BrokenHistory, State, rebuild

Events = list[dict[str, Any]]
EVENTS = stored([500, 120, 900], closed=True)

BREAKS: dict[str, Callable[[Events], Events]] = {
    "the first is missing": lambda events: events[1:],
    "one is missing": lambda events: [events[0], *events[2:]],
    "one comes twice": lambda events: [events[0], events[1], *events[1:]],
    "two have changed places": lambda events: [events[0], events[2], events[1]],
    "it begins elsewhere than the one before it ended": lambda e: [e[0], {**e[1], "oldBalanceCents": 499}, *e[2:]],
    "an account is created twice": lambda events: [events[0], {**events[0], "version": 2}],
    "money comes after the end": lambda e: [*e, {**e[2], "version": 5}],
}


def test_the_state_after_each_event() -> None:
    states = [rebuild(EVENTS[:count]) for count in range(len(EVENTS) + 1)]
    assert states == [
        None,
        State("A-1", 1, 500, True, 1000),
        State("A-1", 2, 120, True, 2000),
        State("A-1", 3, 900, True, 3000),
        State("A-1", 4, 900, False, 4000),
    ]


def test_a_snapshot_stands_for_the_events_before_it() -> None:
    state = rebuild(EVENTS[:2])
    assert state is not None
    assert State.from_item(state.to_item()) == state
    assert rebuild(EVENTS[2:], state) == rebuild(EVENTS)


@pytest.mark.parametrize("case", BREAKS)
def test_a_history_that_does_not_follow_on_is_refused(case: str) -> None:
    with pytest.raises(BrokenHistory, match=r"expected event \d of account A-1 to follow on from"):
        rebuild(BREAKS[case](EVENTS))
