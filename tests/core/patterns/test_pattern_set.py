"""A set of patterns as rules come and go. That it agrees with single patterns is a property test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from afterwrite.core.patterns import LAMBDA, PatternSet, compile
from afterwrite.errors import InvalidPattern


@pytest.fixture
def together() -> PatternSet:
    return PatternSet()


def test_a_name_is_given_to_the_pattern_added_last(together: PatternSet) -> None:
    together.add("rule", {"kind": ["order"]})
    together.add("rule", compile({"kind": ["refund"]}))
    assert len(together) == 1
    assert together.match({"kind": "refund"}) == {"rule"}
    assert together.match({"kind": "order"}) == frozenset()


def test_removing_a_pattern_leaves_those_filed_beside_it(together: PatternSet) -> None:
    patterns: dict[str, dict[str, Any]] = {
        "text": {"id": ["ab-1"]},
        "same text": {"id": ["ab-1", "x"]},
        "prefix": {"id": [{"prefix": "ab-"}]},
        "same length": {"id": [{"prefix": "xy-"}]},
        "present": {"id": [{"suffix": "1"}]},
        "also present": {"id": [{"exists": True}]},
        "absent": {"name": [{"exists": False}]},
        "either": {"$or": [{"id": ["ab-1"]}, {"id": ["ab-1"], "kind": ["order"]}]},
    }
    for name, pattern in patterns.items():
        together.add(name, pattern)
    left = set(patterns) - {"same length"}
    assert together.match({"id": "ab-1"}) == left
    for gone in ("same length", "text", "either", "present", "absent", "prefix", "same text"):
        together.remove(gone)
        left.discard(gone)
        assert gone not in together
        assert together.match({"id": "ab-1"}) == left
    assert left == {"also present"}


def test_a_path_that_a_later_pattern_brings_may_be_written_with_a_dot(together: PatternSet) -> None:
    together.add("first", {"id": ["1"]})
    assert together.match({"id": "1"}) == {"first"}
    together.add("later", {"id": ["2"], "order": {"kind": [{"exists": True}]}})
    assert together.match({"id": "2", "order.kind": "refund"}) == {"later"}


def test_what_is_unknown_or_invalid_changes_nothing(together: PatternSet) -> None:
    together.add("rule", {"eventName": ["INSERT"]}, LAMBDA)
    with pytest.raises(KeyError):
        together.remove("other")
    with pytest.raises(InvalidPattern):
        together.add("rule", {"detail": ["x"]}, LAMBDA)
    assert together.match({"eventName": "INSERT"}) == {"rule"}


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        ("x", "x"),
        (5, 5.0),
        (True, True),
        (None, None),
        ({"prefix": "ab"}, "abc"),
        ({"suffix": "bc"}, "abc"),
        ({"wildcard": "a*c"}, "abc"),
        ({"equals-ignore-case": "aBC"}, "AbC"),
        ({"equals-ignore-case": "É"}, "é"),
        ({"wildcard": "*bc"}, "abc"),
        ({"wildcard": "*b*"}, "abc"),
        ({"numeric": [">", 1]}, 2),
        ({"anything-but": "x"}, "y"),
        ({"cidr": "10.0.0.0/8"}, "10.0.0.1"),
        (10**20, 10**20),
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda value: value, lambda value: ["other", value], lambda value: [["other"], value]]
)
def test_a_pattern_is_found_by_whatever_its_value_is_like(
    together: PatternSet, matcher: Any, value: Any, wrap: Callable[[Any], Any]
) -> None:
    together.add("rule", {"detail": {"id": [matcher]}})
    together.add("other", {"detail": {"id": [{"prefix": "other than that"}]}})
    assert together.match({"detail": {"id": wrap(value)}}) == {"rule"}
    assert together.match({"detail.id": wrap(value)}) == {"rule"}
    assert together.match({"detail": {"id": {"id": value}}}) == frozenset()
