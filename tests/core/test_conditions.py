"""Conditions on attributes as Python values."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from afterwrite import absent, anything_but, at_least, at_most, between, exists, less_than, more_than, prefix, suffix
from afterwrite.core.conditions import compile_condition
from afterwrite.core.patterns.matchers import ABSENT
from afterwrite.core.values import from_python
from afterwrite.errors import InvalidPattern


@pytest.mark.parametrize(
    ("matchers", "value", "expected"),
    [
        ("META", "META", True),
        (["A", prefix("B#")], "B#1", True),
        (suffix("#1"), "B#1", True),
        (anything_but("a", "b"), "c", True),
        (anything_but("a", "b"), "b", False),
        (anything_but("a"), ABSENT, False),
        (anything_but(5), "5", True),
        (5, Decimal("5.00"), True),
        (5, "5", False),
        (True, True, True),
        (True, Decimal(1), False),
        (None, None, True),
        (None, ABSENT, False),
        (less_than(10), Decimal("9.9999999999999999999999999999999999999"), True),
        (less_than(10), Decimal(10), False),
        (at_most(10), Decimal(10), True),
        (more_than(10), Decimal("10.0000000000000000000000000000000001"), True),
        (more_than(10), Decimal(10), False),
        (at_least(Decimal("0.1")), Decimal("0.1"), True),
        (at_least(0.1), Decimal("0.1"), True),
        (at_least(2**60), Decimal(2**60 + 1), True),
        (between(1, 5), Decimal(5), True),
        (between(1, 5), Decimal("5.1"), False),
        ([between(1, 5), "many"], "many", True),
        (less_than(10), "5", False),
        (less_than(10), True, False),
        (less_than(10), ABSENT, False),
        (exists(), None, True),
        (exists(), ABSENT, False),
        (exists(), {"a": 1}, False),
        (absent(), ABSENT, True),
        (absent(), [], True),
        (absent(), {"a": 1}, True),
        ("a", {"a", "b"}, True),
        ("a", ["b", "a"], True),
        ("a", [["a"]], False),
        (less_than(3), {Decimal(5), Decimal(2)}, True),
        (["10.0.0.1", less_than(3)], "10.0.0.1", True),
    ],
)
def test_a_condition_holds(matchers: Any, value: Any, expected: bool) -> None:
    item = {} if value is ABSENT else {"x": from_python(value)}
    condition = compile_condition(matchers, "x", "new.x")
    assert condition.holds(item) is expected
    if isinstance(value, str):
        assert condition.on_text(value) is expected


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        (between(5, 1), "Route pattern, at new.x: expected a range whose lower bound is below its upper bound"),
        (between("a", "b"), "expected a number to compare with, found 'a'"),
        (less_than(Decimal("NaN")), "expected a number"),
        (b"x", "expected a string, number, true, false, null or a match object, found b'x'"),
        ([], "expected at least one matcher"),
        ({"starts": "x"}, "expected one of the operators"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_attribute_s_name(matchers: Any, words: str) -> None:
    with pytest.raises(InvalidPattern) as refusal:
        compile_condition(matchers, "x", "new.x")
    assert words in str(refusal.value)
