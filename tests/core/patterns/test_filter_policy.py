"""SNS filter policies (S32)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from afterwrite.core.filter_policy import FilterPolicy
from afterwrite.errors import InvalidPattern


@pytest.mark.parametrize(
    ("policy", "attributes", "expected"),
    [
        ({"priority": ["high"]}, {"priority": "high"}, True),
        ({"priority": ["high"]}, {"priority": "low"}, False),
        ({"priority": ["high"]}, {}, False),
        ({"priority": ["high"], "channel": ["web", "app"]}, {"priority": "high", "channel": "app"}, True),
        ({"priority": ["high"], "channel": ["web", "app"]}, {"priority": "high", "channel": "mail"}, False),
        ({"labels": ["b"]}, {"labels": ["a", "b"]}, True),
        ({"labels": [{"anything-but": ["a", "b"]}]}, {"labels": ["a", "b"]}, False),
        ({"labels": [{"anything-but": ["a"]}]}, {"labels": ["a", "b"]}, True),
        ({"labels": [None, True]}, {"labels": [True]}, True),
        ({"labels": [{"exists": False}]}, {"labels": []}, True),
        ({"price": [{"numeric": [">=", 10, "<", 20]}]}, {"price": Decimal("10.00")}, True),
        ({"price": [{"numeric": [">=", 10, "<", 20]}]}, {"price": "10"}, False),
        ({"price": [10]}, {"price": 10.0}, True),
        ({"price": [10.12345]}, {"price": Decimal("10.123451")}, True),
        ({"price": [10.12345]}, {"price": Decimal("10.12346")}, False),
        ({"price": [{"numeric": [">", 0]}]}, {"price": 1_000_000_001}, False),
        ({"account": [123456789012]}, {"account": 123456789012}, True),
        ({"secret": [{"exists": True}]}, {"secret": b"\x00"}, False),
        ({"secret": [{"exists": False}]}, {"secret": b"\x00"}, True),
        ({"a.b": ["x"]}, {"a.b": "x"}, True),
        ({"$or": [{"a": ["x"]}, {"b": ["y"]}]}, {"b": "y"}, True),
    ],
)
def test_s32_the_attributes_scope(policy: Any, attributes: Any, expected: bool) -> None:
    assert FilterPolicy(policy).matches(attributes, body='{"priority": "high"}') is expected


@pytest.mark.parametrize(
    ("policy", "body", "expected"),
    [
        ({"order": {"status": ["paid"]}}, '{"order": {"status": "paid"}}', True),
        ({"order": {"status": ["paid"]}}, {"order": {"status": "paid"}}, True),
        ({"order": {"status": ["paid"]}}, '{"order": {"status": "new"}}', False),
        ({"lines": {"sku": ["a"], "paid": [True]}}, '{"lines": [{"sku": "a"}, {"paid": true}]}', False),
        ({"a": [{"exists": False}]}, "no JSON", False),
        ({"a": [{"exists": False}]}, "[1]", False),
        ({"a": [{"exists": False}]}, b"{}", True),
        ({"a": [{"exists": False}]}, None, False),
    ],
)
def test_s32_the_body_scope(policy: Any, body: Any, expected: bool) -> None:
    assert FilterPolicy(policy, "MessageBody").matches({"order": "paid"}, body) is expected


def _wide(keys: int, values: int = 1) -> dict[str, list[str]]:
    return {f"k{key}": [f"v{value}" for value in range(values)] for key in range(keys)}


@pytest.mark.parametrize(
    ("policy", "scope", "words"),
    [
        ({"a": {"b": ["x"]}}, "MessageAttributes", "this service takes no nested objects"),
        (_wide(6), "MessageAttributes", "at most 5 keys, found 6"),
        (_wide(6), "MessageBody", "at most 5 keys, found 6"),
        (_wide(2, 13), "MessageAttributes", "at most 150 combinations of values, found 169"),
        ({"a": {"b": {"c": ["x"] * 51}}}, "MessageBody", "at most 150 combinations of values, found 153"),
        ({"a": [{"anything-but": {"suffix": "x"}}]}, "MessageAttributes", "anything-but with strings or numbers"),
        ({"a": [{"numeric": [">", 1_000_000_001]}]}, "MessageAttributes", "a number from -1e+09 to 1e+09"),
        ({"a": ["x"]}, "Message", "expected MessageAttributes or MessageBody, found 'Message'"),
    ],
)
def test_s32_what_sns_refuses(policy: Any, scope: Any, words: str) -> None:
    with pytest.raises(InvalidPattern) as refusal:
        FilterPolicy(policy, scope)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("policy", "scope"),
    [
        (_wide(5, 2), "MessageAttributes"),
        (_wide(1, 150), "MessageAttributes"),
        ({"a": {f"k{key}": ["x"] for key in range(6)}}, "MessageBody"),
        ({"a": {"b": {"c": ["x"] * 50}}}, "MessageBody"),
    ],
)
def test_s32_what_lies_within_the_limits(policy: Any, scope: Any) -> None:
    assert FilterPolicy(policy, scope).scope == scope
