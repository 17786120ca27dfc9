"""JSON text: exact numbers, binary as base64, sets as sorted lists, and nothing that JSON has not."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core import json_text


@dataclass
class Reading:
    value: float


class Level(Enum):
    UNKNOWN = float("inf")


class Field(StrEnum):
    COUNT = "count"


WITHIN_ITSELF: list[Any] = []
WITHIN_ITSELF.append(WITHIN_ITSELF)


@pytest.mark.parametrize("value", ["", 1, True, None, [], {}, {"a": [{"b": ["ü", 2**64 - 1, None]}], "c": False}])
def test_a_text_that_says_what_the_value_is(value: Any) -> None:
    assert json.loads(json_text.text_as_it_is(value) or b"") == value


OTHERS = [UUID(int=1), date(2026, 1, 1), Level.UNKNOWN, Field.COUNT, Reading(1), 0.5, b"a", ("a",), 2**64, "\ud800"]


@pytest.mark.parametrize("value", [*OTHERS, WITHIN_ITSELF], ids=lambda value: type(value).__name__)
def test_no_text_says_what_the_value_is(value: Any) -> None:
    for each in (value, [value], {"a": value}, {"a": {"b": [{"c": [value]}]}}):
        assert json_text.text_as_it_is(each) is None
    assert json_text.text_as_it_is({1: "a"}) is None


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
        (2**64, b"18446744073709551616"),
        ({"n": (-(2**63) - 1, {2**70})}, b'{"n":[-9223372036854775809,[1180591620717411303424]]}'),
        (Reading(10**30), b'{"value":1' + b"0" * 30 + b"}"),
        ({Field.COUNT: Field.COUNT}, b'{"count":"count"}'),
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
        float("nan"),
        {"x": [1, {"y": (float("-inf"), None)}]},
        Reading(float("nan")),
        Level.UNKNOWN,
        Decimal("1E+400"),
        Decimal("-1E+309"),
        Decimal("1.7976931348623159E+308"),
        Decimal("1E-400"),
        Decimal(10**400),
        10**309,
        [10**5000],
    ],
)
def test_what_json_has_not_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        json_text.dumps(value)


@pytest.mark.parametrize("value", [1j, {"a": [1j]}, {1j}])
def test_the_refusal_of_another_type_fits_routes_and_functions_alike(value: Any) -> None:
    words = "expected JSON values, Decimal, bytes or sets, got complex: convert it to one of them, or leave it out"
    with pytest.raises(TypeError, match=f"^{words}$"):
        json_text.dumps(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": {1: "x"}}, "expected texts as the names in a mapping, got int: write it as text"),
        ({10**5000: "x"}, "expected texts as the names in a mapping, got int: write it as text"),
        ({"a": "half \ud800"}, "expected text of whole characters, got half of a surrogate pair, '\\ud800', at 5"),
        ({"\udfff": 1}, "expected text of whole characters, got half of a surrogate pair, '\\udfff', at 0"),
        ([{1, "a"}], "expected a set of one type that has an order, got a set of int, str: make a list of it"),
        (WITHIN_ITSELF, "expected at most 254 levels of lists and mappings, got more, or one that is within itself"),
    ],
)
def test_a_refusal_says_what_was_expected_what_came_and_what_to_do(value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(words)}"):
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


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.builds(
        lambda digits, exponent: Decimal((0, digits, exponent)), st.lists(st.integers(0, 9)), st.integers(-999, 999)
    )
    | st.text()
    | st.binary()
    | st.frozensets(st.integers()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@given(ANY_JSON)
def test_whatever_is_written_can_be_read(value: Any) -> None:
    try:
        text = json_text.dumps(value)
    except TypeError:
        return
    assert nulls(json_text.loads(text)) == nulls(json_text.loads_exactly(text)) == nulls(value)


def nulls(value: Any) -> int:
    """How many nulls there are: no value becomes one on the way."""
    if isinstance(value, dict):
        return sum(map(nulls, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(nulls, value))
    return value is None


@pytest.mark.parametrize("digits", [309, 5000])
def test_a_long_fraction_comes_back_exactly(digits: int) -> None:
    number = Decimal("0." + "1" * digits)
    text = json_text.dumps(number)
    assert json_text.loads_exactly(text) == number
    assert json_text.loads(text) == float(number)


@pytest.mark.parametrize(
    "value",
    [
        {"a": None, "b": float("nan")},
        {"a": None, "b": [float("inf")]},
        {"a": [None], "b": float("nan")},
        {"null": float("nan"), "b": "null", "c": None},
    ],
)
def test_a_float_that_is_no_number_is_found_beside_members_that_are_none(value: Any) -> None:
    with pytest.raises(TypeError, match="a number that JSON can hold"):
        json_text.dumps(value)


def test_many_texts_are_read_as_each_of_them() -> None:
    texts = [b'{"a":1}', b'{"id":"12345678901234567890","b":[1.5]}', b'{"c":null}']
    assert json_text.loads_each_exactly(texts, "separator") == [json_text.loads_exactly(text) for text in texts]
    long = b'{"a": -1234567890.1234567}'
    assert json_text.loads_each_exactly([*texts, long], "separator")[-1] == {"a": Decimal("-1234567890.1234567")}
    assert json_text.loads_each_exactly([], "separator") == []


@pytest.mark.parametrize(
    "texts",
    [
        [b'{"a":[1', b"2]}"],
        [b"{}", b"x"],
        [b"1", b""],
        [b""],
        [b'{"a":[{}', b"{}]}", b'{"b":1},{"c":2}'],
        [b'"a', b'b"', b"1,2"],
        [b'{"a":1', b'"b":2}', b"1,2"],
        [b"1,2", b"[", b"]"],
    ],
)
def test_texts_that_are_broken_are_no_whole_together(texts: list[bytes]) -> None:
    with pytest.raises(json.JSONDecodeError):
        json_text.loads_each_exactly(texts, "separator")


@pytest.mark.parametrize("text", [b"[" * 100_000 + b"]" * 100_000, b"[NaN]", b"[-Infinity]"])
@pytest.mark.parametrize("beside", [b"1", b"12345678901234567890"])
def test_what_no_parser_takes_is_refused_whatever_numbers_are_beside_it(text: bytes, beside: bytes) -> None:
    together = b"[" + beside + b"," + text + b"]"
    with pytest.raises(ValueError):
        json_text.loads_exactly(together)
    with pytest.raises(ValueError):
        json_text.loads_each_exactly([b"{}", together], "separator")


@pytest.mark.parametrize("size", [0, 100, 1_000, 3_000])
def test_a_text_that_is_kept_takes_no_more_room_than_it_has_bytes(size: int) -> None:
    value = {"text": "x" * size}
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [json_text.dumps(value) for _ in range(500)]
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(kept) < 1.1 * len(kept[0]) + 200
