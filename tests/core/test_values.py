"""Attribute values to Python and back."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core.values import decode_item, encode_item, from_python, normalize_number, to_python
from afterwrite.errors import InvalidValue

decimals = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(-(10**28) + 1, 10**28 - 1),
    st.integers(-90, 90),
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = st.one_of(st.none(), st.booleans(), texts, st.binary(), decimals)
sets = st.one_of(st.sets(texts, min_size=1), st.sets(decimals, min_size=1), st.sets(st.binary(), min_size=1))
values = st.recursive(
    st.one_of(scalars, sets),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(texts, values, max_size=4))
def test_what_goes_in_comes_out(mapping: dict[str, Any]) -> None:
    assert decode_item(encode_item(mapping)) == mapping


@given(decimals)
def test_a_number_has_one_text(value: Decimal) -> None:
    plain = normalize_number(str(value))
    assert Decimal(plain) == value
    assert normalize_number(f"{value:e}") == plain
    assert normalize_number(plain) == plain
    assert "e" not in plain.lower()


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("x", {"S": "x"}),
        (3, {"N": "3"}),
        (10**37, {"N": "1" + "0" * 37}),
        (10**125, {"N": "1" + "0" * 125}),
        (Decimal("1.50"), {"N": "1.5"}),
        (True, {"BOOL": True}),
        (None, {"NULL": True}),
        (b"\x01", {"B": "AQ=="}),
        ((1, "a"), {"L": [{"N": "1"}, {"S": "a"}]}),
        ({"a": {"b": []}}, {"M": {"a": {"M": {"b": {"L": []}}}}}),
        ({"b", "a"}, {"SS": ["a", "b"]}),
        (frozenset({10, Decimal("9.5")}), {"NS": ["9.5", "10"]}),
        ({b"b", b"a"}, {"BS": ["YQ==", "Yg=="]}),
    ],
)
def test_the_wire_form(value: Any, wire: dict[str, Any]) -> None:
    assert from_python(value) == wire


class Status(StrEnum):
    NEW = "new"


def test_texts_of_classes_of_one_s_own_are_plain_texts() -> None:
    item = encode_item({Status.NEW: {Status.NEW: [Status.NEW]}, "set": {Status.NEW}})
    inner = item["new"]["M"]
    assert inner == {"new": {"L": [{"S": "new"}]}}
    texts = [*item, *inner, inner["new"]["L"][0]["S"], *item["set"]["SS"]]
    assert {type(text) for text in texts} == {str}


def test_numbers_are_decimals() -> None:
    assert to_python({"N": "3"}) == Decimal(3)
    assert isinstance(to_python({"N": "3"}), Decimal)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.5, "Decimal"),
        ([1.5], "Decimal"),
        (set(), "empty set"),
        ({1, "a"}, "int, str"),
        ({True}, "bool"),
        (object(), "object"),
        ({1: "x"}, "attribute names of type str"),
        (10**126, "larger than supported range"),
        (Decimal("NaN"), "NaN"),
        (Decimal("Infinity"), "Infinity"),
        (10**38 + 1, "38 significant digits"),
    ],
)
def test_what_dynamodb_cannot_hold_is_refused(value: Any, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        from_python(value)


@pytest.mark.parametrize("given", ["o-1", 5, None, ["PK"]])
def test_an_item_or_a_key_that_is_no_mapping_is_refused(given: Any) -> None:
    with pytest.raises(InvalidValue, match="expected a mapping from attributes' names to values, got"):
        encode_item(given)


def test_an_integer_that_python_would_not_print_is_refused() -> None:
    with pytest.raises(InvalidValue, match="126 digits"):
        from_python(10**5000)


@pytest.mark.parametrize("value", [{}, {"S": "x", "N": "1"}, {"X": "x"}])
def test_what_is_no_attribute_value_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        to_python(value)
