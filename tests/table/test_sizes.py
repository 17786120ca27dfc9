"""Sizes as DynamoDB counts them."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.errors import ServiceError
from afterwrite.table.capacity import Capacity
from afterwrite.table.schema import KeySchema
from afterwrite.table.sizes import item_size, read_units, write_units
from afterwrite.table.writes import parse_member, parse_put_item, parse_update_item

SCHEMA = KeySchema("a", "S")
LIMIT = 400 * 1024


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "abc"}, 3),
        ({"S": "é€"}, 5),
        ({"B": "YWJj"}, 3),
        ({"B": "YQ=="}, 1),
        ({"N": "0"}, 1),
        ({"N": "1"}, 2),
        ({"N": "1" + "0" * 125}, 2),
        ({"N": "11"}, 2),
        ({"N": "-11"}, 3),
        ({"N": "1.5"}, 3),
        ({"N": "-1.5"}, 4),
        ({"N": "12.34"}, 3),
        ({"N": "123.4"}, 4),
        ({"N": "0.12"}, 2),
        ({"N": "0.012"}, 3),
        ({"N": "0.001"}, 2),
        ({"N": "1000"}, 2),
        ({"N": "1500"}, 2),
        ({"N": "120"}, 3),
        ({"N": "9" * 37 + ".9"}, 21),
        ({"N": "11111"}, 4),
        ({"N": "0.00111111"}, 4),
        ({"N": "1111111"}, 5),
        ({"N": "1" * 38 + "0" * 88}, 20),
        ({"NULL": True}, 1),
        ({"BOOL": False}, 1),
        ({"SS": ["a", "é"]}, 3),
        ({"NS": ["1", "100"]}, 4),
        ({"BS": ["YQ==", "YWI="]}, 3),
        ({"L": []}, 3),
        ({"L": [{"S": "a"}, {"N": "1"}]}, 8),
        ({"M": {}}, 3),
        ({"M": {"ab": {"S": "c"}}}, 7),
    ],
)
def test_a_value_has_a_size(value: dict[str, Any], size: int) -> None:
    assert item_size({"name": value}) == len("name") + size


def test_an_item_may_just_reach_the_limit() -> None:
    item = {"a": {"S": "k"}, "b": {"S": "x" * (LIMIT - 3)}}
    assert parse_put_item({"TableName": "abc", "Item": item}).item == item
    item["b"]["S"] += "x"
    with pytest.raises(ServiceError) as caught:
        parse_put_item({"TableName": "abc", "Item": item})
    assert caught.value.message == "Item size has exceeded the maximum allowed size"


def test_an_update_cannot_pass_the_limit() -> None:
    update = parse_update_item(
        {
            "TableName": "abc",
            "Key": {"a": {"S": "k"}},
            "UpdateExpression": "SET c = :c",
            "ExpressionAttributeValues": {":c": {"S": "x"}},
        }
    )
    old = {"a": {"S": "k"}, "b": {"S": "x" * (LIMIT - 5)}}
    new = update.apply(SCHEMA, old)
    assert new == {**old, "c": {"S": "x"}}
    assert update.size(new) == LIMIT
    new["b"]["S"] += "x"
    with pytest.raises(ServiceError, match="Item size to update has exceeded the maximum allowed size"):
        update.size(new)


PADDING = "b = :pad"


@pytest.mark.parametrize(
    ("expression", "bytes_besides", "values"),
    [
        (f"SET {PADDING}", 0, {}),
        (f"SET {PADDING}, c = :v", 19 + 1 + 500, {":v": {"S": "y" * 500}}),
        (f"SET {PADDING}, c = abcdefghij", 19 + 1 + (1 + 14 + 10), {}),
        (f"SET {PADDING}, c = m.a[10]", 19 + 1 + (1 + 3 * 14 + 1 + 1 + 2), {}),
        (f"SET {PADDING}, l[10] = :v", 19 + (1 + 4 + 2) + 10, {":v": {"S": "y" * 10}}),
        (f"SET {PADDING}, n = n + :v", 19 + 1 + 34 + 16 + 2, {":v": {"N": "1"}}),
        (f"SET {PADDING}, n = n - :v", 19 + 1 + 37 + 16 + 2, {":v": {"N": "1"}}),
        (
            f"SET {PADDING}, c = if_not_exists(c, :v), d = if_not_exists(d, :v)",
            2 * (19 + 1 + 39 + 16 + 10),
            {":v": {"S": "y" * 10}},
        ),
        (f"SET {PADDING}, l = list_append(l, :v)", 19 + 1 + 37 + 16 + (3 + 1 + 10), {":v": {"L": [{"S": "y" * 10}]}}),
        (f"SET {PADDING} REMOVE r, m.name1", (1 + 1) + (1 + 1 + 4 + 5), {}),
        (f"SET {PADDING} ADD ss :v", 19 + 2 + 500, {":v": {"SS": ["s" * 500]}}),
        (f"SET {PADDING} DELETE ss :v", 1 + 2, {":v": {"SS": ["s" * 500]}}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_clauses_of_an_update_have_a_limit_too(expression: str, bytes_besides: int, values: dict[str, Any]) -> None:
    old: dict[str, Any] = {
        "a": {"S": "k"},
        "abcdefghij": {"S": "y"},
        "m": {"M": {"a": {"L": [{"N": "1"}] * 11}}},
        "l": {"L": [{"N": "1"}] * 11},
        "n": {"N": "1"},
        "c": {"N": "1"},
        "d": {"N": "1"},
        "ss": {"SS": ["s" * 500, "t"]},
    }
    base = 3 + 19 + 1

    def apply(padding: int, **fields: Any) -> None:
        given = {**values, ":pad": {"S": "x" * padding}}
        body = {"TableName": "abc", "Key": {}, "UpdateExpression": expression, "ExpressionAttributeValues": given}
        parse_update_item({**body, **fields}).apply(SCHEMA, old)

    apply(LIMIT - base - bytes_besides)
    for fields in ({}, {"ConditionExpression": "attribute_exists(absent)"}):
        with pytest.raises(ServiceError, match="Item size to update has exceeded the maximum allowed size"):
            apply(LIMIT - base - bytes_besides + 1, **fields)


def test_a_transactions_update_has_no_limit_but_its_items() -> None:
    value = {":pad": {"S": "x" * (LIMIT - 3)}}
    body = {"TableName": "abc", "Key": {"a": {"S": "k"}}, "UpdateExpression": "SET b = :pad"}
    update = parse_member("Update", {**body, "ExpressionAttributeValues": value}, "transactItems.1.member.update.")
    assert update.apply(SCHEMA, None) == {"a": {"S": "k"}, "b": value[":pad"]}
    with pytest.raises(ServiceError, match="Item size to update"):
        parse_update_item({**body, "ExpressionAttributeValues": value}).apply(SCHEMA, None)


def test_capacity_units() -> None:
    assert [write_units(size) for size in (0, 1024, 1025)] == [1, 1, 2]
    assert write_units(1025, transactional=True) == 4
    assert [read_units(size) for size in (0, 4096, 4097)] == [0.5, 0.5, 1.0]
    assert read_units(4097, consistent=True) == 2
    assert read_units(1, transactional=True) == 2
    capacity = Capacity("abc")
    capacity.add(2.0)
    assert capacity.to_wire("TOTAL") == {"TableName": "abc", "CapacityUnits": 2.0}
    assert capacity.to_wire("INDEXES")["Table"] == {"CapacityUnits": 2.0}
