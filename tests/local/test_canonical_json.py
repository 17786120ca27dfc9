"""JSON texts: exact, sorted, and one for each value."""

from __future__ import annotations

import json
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.errors import InvalidValue
from afterwrite.local.canonical_json import json_bytes


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": {"d": None, "c": True}}, '{"a":{"c":true,"d":null},"b":1}'),
        (Decimal("12345678901234567890.123456789012345678"), "12345678901234567890.123456789012345678"),
        (Decimal("1E+125"), "1E+125"),
        (
            {"n": 495_000_000_000_000_000_000_000_000_000_000_000_001},
            '{"n":495000000000000000000000000000000000001}',
        ),
        ([{2**70, 1}, -(2**70)], "[[1,1180591620717411303424],-1180591620717411303424]"),
        ({"x", "a"}, '["a","x"]'),
        ({Decimal("2"), Decimal("10")}, "[10,2]"),
        (frozenset({b"\xff"}), '["/w=="]'),
        (MappingProxyType({"k": b""}), '{"k":""}'),
        ("é\n", '"é\\n"'),
    ],
)
def test_a_value_has_one_exact_text(value: Any, text: str) -> None:
    assert json_bytes(value).decode() == text


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), Decimal("Infinity"), {1: "a"}, {"a": "\ud800"}, object(), {"a": 10**5000}]
)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InvalidValue, match="JSON"):
        json_bytes({"value": value})


def test_nesting_without_end_is_refused() -> None:
    value: list[Any] = []
    for _ in range(2_000):
        value = [value]
    with pytest.raises(InvalidValue, match="JSON"):
        json_bytes(value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_reader_of_exact_numbers_gets_the_value_back(value: Any) -> None:
    assert json.loads(json_bytes(value), parse_float=Decimal, parse_int=Decimal) == value
