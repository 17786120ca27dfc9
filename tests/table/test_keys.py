"""The encoding of keys keeps DynamoDB's order, and key conditions are ranges of it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core.values import normalize_number
from afterwrite.errors import ServiceError
from afterwrite.table.keys import (
    checked_key,
    encode_key,
    encode_sort_value,
    key_of,
    partition_digest,
    partition_range,
    sort_range,
)
from afterwrite.table.schema import KeySchema

SCHEMA = KeySchema("pk", "S", "sk", "N")
PARTITION = {"S": "p"}


def decimal_of(digits: int, exponent: int) -> Decimal:
    return Decimal((0 if digits >= 0 else 1, tuple(int(digit) for digit in str(abs(digits))), exponent))


numbers = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal),
    st.integers(-1000, 1000).map(Decimal),
    st.builds(decimal_of, st.integers(-999, 999), st.integers(-100, 100)),
    st.builds(decimal_of, st.integers(-(10**38) + 1, 10**38 - 1), st.integers(-92, 88)),
    st.sampled_from(["0", "1e-130", "-1e-130", "9e125", "-9e125", "1e125"]).map(Decimal),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def number(value: Decimal) -> dict[str, Any]:
    return {"N": normalize_number(str(value))}


def binary(value: bytes) -> dict[str, Any]:
    return {"B": base64.b64encode(value).decode()}


@given(numbers, numbers)
def test_numbers_sort_by_value(one: Decimal, two: Decimal) -> None:
    first, second = encode_sort_value(number(one)), encode_sort_value(number(two))
    assert (first < second, first == second) == (one < two, one == two)


@given(texts, texts)
def test_text_sorts_by_its_utf8_bytes(one: str, two: str) -> None:
    first, second = encode_sort_value({"S": one}), encode_sort_value({"S": two})
    assert (first < second) is (one.encode() < two.encode())


@given(st.binary(max_size=8), st.binary(max_size=8))
def test_binary_sorts_by_its_bytes(one: bytes, two: bytes) -> None:
    assert (encode_sort_value(binary(one)) < encode_sort_value(binary(two))) is (one < two)


OPERATORS: dict[str, Callable[[Decimal, Decimal, Decimal], bool]] = {
    "=": lambda value, low, _high: value == low,
    "<": lambda value, low, _high: value < low,
    "<=": lambda value, low, _high: value <= low,
    ">": lambda value, low, _high: value > low,
    ">=": lambda value, low, _high: value >= low,
    "BETWEEN": lambda value, low, high: low <= value <= high,
}


@given(numbers, numbers, numbers, st.sampled_from(sorted(OPERATORS)))
def test_a_range_of_numbers_holds_what_its_condition_says(
    value: Decimal, low: Decimal, high: Decimal, operator: str
) -> None:
    operands = [number(low), number(high)] if operator == "BETWEEN" else [number(low)]
    found = sort_range(PARTITION, operator, *operands)
    key = encode_key(SCHEMA, {"pk": PARTITION, "sk": number(value)})
    assert (found.low <= key < found.high) is OPERATORS[operator](value, low, high)


@given(st.binary(max_size=4), st.binary(max_size=3))
def test_a_prefix_range_holds_what_begins_with_it(value: bytes, prefix: bytes) -> None:
    """Prefixes that end in 0xFF, and the empty one, included."""
    found = sort_range(PARTITION, "begins_with", binary(prefix))
    key = partition_digest(PARTITION) + value
    assert (found.low <= key < found.high) is value.startswith(prefix)


@given(st.sampled_from([b"", b"\xff", b"a\xff\xff", b"\xff\xff\xff"]))
def test_prefixes_at_the_end_of_the_alphabet(prefix: bytes) -> None:
    found = sort_range(PARTITION, "begins_with", binary(prefix))
    assert found.low <= partition_digest(PARTITION) + prefix + b"\xff" * 9 < found.high


def test_a_partition_is_a_range_of_its_own() -> None:
    found = partition_range(PARTITION)
    inside = partition_digest(PARTITION) + b"\xff" * 1024
    assert found.low <= inside < found.high
    assert not found.low <= partition_digest({"S": "q"}) < found.high
    assert partition_digest({"S": "1"}) != partition_digest({"N": "1"})


def refusal_of_put(item: dict[str, Any], schema: KeySchema = SCHEMA) -> str:
    with pytest.raises(ServiceError) as caught:
        key_of(schema, item)
    return caught.value.message


INVALID = "One or more parameter values were invalid: "


def test_a_put_needs_its_key() -> None:
    assert refusal_of_put({}) == f"{INVALID}Missing the key pk in the item"
    assert refusal_of_put({"pk": PARTITION}) == f"{INVALID}Missing the key sk in the item"
    assert refusal_of_put({"pk": {"N": "1"}, "sk": {"N": "1"}}) == (
        f"{INVALID}Type mismatch for key pk expected: S actual: N"
    )
    assert refusal_of_put({"pk": PARTITION, "sk": {"SS": ["a"]}}) == (
        f"{INVALID}Type mismatch for key sk expected: N actual: SS"
    )
    item = {"sk": {"N": "1"}, "other": {"S": "x"}, "pk": PARTITION}
    assert key_of(SCHEMA, item) == {"pk": PARTITION, "sk": {"N": "1"}}


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"pk": PARTITION},
        {"pk": PARTITION, "sk": {"S": "1"}},
        {"pk": {"B": "YQ=="}, "sk": {"N": "1"}},
        {"pk": PARTITION, "sk": {"N": "1"}, "other": {"S": "x"}},
        {"pk": PARTITION, "other": {"N": "1"}},
    ],
)
def test_a_key_matches_the_schema_exactly(key: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="The provided key element does not match the schema"):
        checked_key(SCHEMA, key)


def test_keys_have_sizes() -> None:
    schema = KeySchema("pk", "S", "sk", "B")
    empty = (
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
        "empty {} value. Key: {}"
    )
    assert refusal_of_put({"pk": {"S": ""}, "sk": binary(b"x")}, schema) == empty.format("string", "pk")
    assert refusal_of_put({"pk": PARTITION, "sk": binary(b"")}, schema) == empty.format("binary", "sk")
    assert refusal_of_put({"pk": {"S": "é" * 1024 + "x"}, "sk": binary(b"x")}, schema) == (
        f"{INVALID}Size of hashkey has exceeded the maximum size limit of2048 bytes"
    )
    assert refusal_of_put({"pk": PARTITION, "sk": binary(b"x" * 1025)}, schema) == (
        f"{INVALID}Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
    )
    assert key_of(schema, {"pk": {"S": "é" * 1024}, "sk": binary(b"x" * 1024)})
