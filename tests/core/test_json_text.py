"""JSON text: exact numbers, binary as base64, sets as sorted lists, and nothing that JSON has not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core import json_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.50"), b"1.50"),
        (Decimal("1E+3"), b"1000"),
        (Decimal("-0.000001"), b"-0.000001"),
        (Decimal("12345678901234567890123456789012345678"), b"12345678901234567890123456789012345678"),
        (Decimal("9.99E+125"), b"9.99E+125"),
        (Decimal("1E-130"), b"1E-130"),
        (b"\x00\xff", b'"AP8="'),
        (bytearray(b"a"), b'"YQ=="'),
        ({"b", "a"}, b'["a","b"]'),
        ({Decimal(2), Decimal(1)}, b"[1,2]"),
        ({b"b", b"a"}, b'["YQ==","Yg=="]'),
        ({"deep": [{"n": Decimal("1.1")}]}, b'{"deep":[{"n":1.1}]}'),
        ("ü", '"ü"'.encode()),
        (None, b"null"),
    ],
)
def test_values_and_their_text(value: Any, text: bytes) -> None:
    assert json_text.dumps(value) == text


@pytest.mark.parametrize(
    "value",
    [
        object(),
        1j,
        Decimal("NaN"),
        Decimal("Infinity"),
        {"a", 1},
        {1: "x"},
        "half \ud800 pair",
        {"x": [Decimal("-Infinity")]},
    ],
)
def test_what_json_has_not_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        json_text.dumps(value)


NUMBERS = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(-(10**37), 10**37) | st.integers(-(10**6), 10**6),
    st.integers(-130, 80) | st.integers(-3, 3),
)


@given(NUMBERS)
def test_every_number_comes_back_exactly(number: Decimal) -> None:
    text = json_text.dumps([number])
    json_text.loads(text)
    (again,) = json_text.loads_exactly(text)
    # A float stands for the digits of its own text.
    assert Decimal(repr(again) if isinstance(again, float) else again) == number
