"""The schedule of faults: pure, the same for the same seed, and it survives being written down."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest

from afterwrite.errors import DeclarationError
from afterwrite.testing import FAULTS, POINTS, AnswerLost, At, Crash, PartialBatch, Poison, Rejected, Schedule, Slow
from afterwrite.testing.faults import Fault, from_json

RULES = [
    At("function:a", Rejected(), nth=2),
    At("function:*", Slow(0.5), times=2),
    At("function:*", Poison("bad")),
    At("commit", Crash("after"), chance=0.3, times=None),
    At("request:*.PutEvents", PartialBatch((1, 2))),
]


def drawn(schedule: Schedule, *points: str, text: str = "") -> list[int | None]:
    found = [schedule.draw(point, text) for point in points]
    return [None if each is None else each[0] for each in found]


def test_a_rule_fires_at_its_occasions_and_as_often_as_it_says() -> None:
    assert drawn(Schedule(RULES), *["function:a"] * 4) == [1, 0, 1, None]
    assert drawn(Schedule(RULES), "function:b", "step:a", "function:b", "function:b") == [1, None, 1, None]
    assert drawn(Schedule(RULES), "request:AWSEvents.PutEvents", "request:AWSEvents.PutEvents") == [4, None]


def test_poison_is_poison_whenever_it_comes() -> None:
    schedule = Schedule(RULES[2:])
    assert drawn(schedule, "function:x", "function:y", text="a bad one") == [0, 0]
    assert drawn(schedule, "function:x", text="good") == [None]


def test_poison_comes_before_what_would_let_its_record_through() -> None:
    schedule = Schedule([At("function:*", Slow(0.5), times=None), At("function:*", Poison("bad"))])
    assert drawn(schedule, "function:x", "function:x", text="a bad one") == [1, 1]
    assert drawn(schedule, "function:x", text="good") == [0]


def test_while_nothing_else_happens_poison_is_poison_and_no_occasion_counts() -> None:
    schedule = Schedule(RULES)
    assert schedule.draw("function:a", "a bad one", poison_only=True) == (2, Poison("bad"))
    assert schedule.draw("function:a", poison_only=True) is None
    assert drawn(schedule, *["function:a"] * 2) == [1, 0]


def test_the_seed_decides_and_nothing_else() -> None:
    points = ["commit"] * 200
    one, same, other = (drawn(Schedule(RULES, seed=seed), *points) for seed in (1, 1, 2))
    assert one == same != other
    assert 30 < Counter(one)[3] < 90


def test_what_fired_in_an_earlier_process_is_counted() -> None:
    assert drawn(Schedule(RULES, fired={1: 2}), "function:b") == [None]


def test_rules_survive_as_json() -> None:
    assert [from_json(rule.to_json()) for rule in RULES] == RULES


@pytest.mark.parametrize(
    "fields",
    [
        {"point": "nowhere:x", "fault": Rejected()},
        {"point": "function", "fault": Rejected()},
        {"point": "commit:x", "fault": Crash()},
        {"point": "commit", "fault": AnswerLost()},
        {"point": "function:x", "fault": PartialBatch()},
        {"point": "function:x", "fault": Rejected(), "nth": 0},
        {"point": "function:x", "fault": Rejected(), "times": 0},
        {"point": "function:x", "fault": Rejected(), "chance": 1.5},
    ],
)
def test_a_rule_that_cannot_be_is_refused(fields: Any) -> None:
    with pytest.raises(DeclarationError):
        At(**fields)


def test_every_fault_can_happen_somewhere() -> None:
    assert set(get_args(Fault)) == set(FAULTS) == set().union(*POINTS.values())
