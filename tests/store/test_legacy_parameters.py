"""The parameters that expressions took the place of, on a real store."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.values import decode_item, encode_item, from_python
from afterwrite.errors import ConditionalCheckFailed, ServiceError
from embedded import Dynamo

KEY = {"pk": {"S": "p"}, "sk": {"S": "1"}}


@pytest.fixture
def things(dynamo: Dynamo) -> Dynamo:
    dynamo.create()
    return dynamo


def condition(operator: str, *values: Any) -> dict[str, Any]:
    return {"ComparisonOperator": operator, "AttributeValueList": [from_python(value) for value in values]}


def update(dynamo: Dynamo, **updates: Any) -> Any:
    body = {name: {"Action": action, **value} for name, (action, value) in updates.items()}
    dynamo("UpdateItem", TableName="things", Key=KEY, AttributeUpdates=body)
    item = dynamo("GetItem", TableName="things", Key=KEY).get("Item")
    return None if item is None else {name: v for name, v in decode_item(item).items() if name not in KEY}


def value(python: Any) -> dict[str, Any]:
    return {"Value": from_python(python)}


def test_attribute_updates(things: Dynamo) -> None:
    assert update(things, a=("DELETE", {})) is None
    assert update(things, a=("DELETE", value({"x"}))) is None
    assert update(things) == {}
    assert update(things, a=("PUT", value(1)), b=("ADD", value({"x"}))) == {"a": 1, "b": {"x"}}
    assert update(things, a=("ADD", value(2)), b=("ADD", value({"y"}))) == {"a": 3, "b": {"x", "y"}}
    assert update(things, a=("DELETE", {}), b=("DELETE", value({"x", "z"}))) == {"b": {"y"}}
    assert update(things, b=("DELETE", value({"y"})), c=("ADD", value([1]))) == {"c": [1]}
    assert update(things, c=("ADD", value([1, 2]))) == {"c": [1, 1, 2]}
    answer = things(
        "UpdateItem",
        TableName="things",
        Key=KEY,
        AttributeUpdates={"c": value("x"), "d": value(1)},
        ReturnValues="UPDATED_OLD",
    )
    assert answer["Attributes"] == {"c": {"L": [{"N": "1"}, {"N": "1"}, {"N": "2"}]}}


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ({"a": {"Action": "PUT"}}, "Only DELETE action is allowed when no attribute value is specified"),
        ({"a": {"Action": "ADD", **value("x")}}, "ADD action is not supported for the type S"),
        ({"a": {"Action": "DELETE", **value([1])}}, "DELETE action with value is not supported for the type L"),
        ({"a": {"Action": "ADD", **value({1})}}, "Type mismatch for attribute to update"),
        ({"sk": value("2")}, "Cannot update attribute sk. This attribute is part of the key"),
        (
            {"a": {"Action": "DROP"}},
            "'DROP' at 'attributeUpdates.a.member.action' .* enum value set: .ADD, PUT, DELETE]",
        ),
    ],
)
def test_attribute_updates_refuse(things: Dynamo, updates: dict[str, Any], message: str) -> None:
    things.put(pk="p", sk="1", a=1)
    with pytest.raises(ServiceError, match=message):
        things("UpdateItem", TableName="things", Key=KEY, AttributeUpdates=updates)


ITEM = {"pk": "p", "sk": "1", "n": 5, "s": "hello", "b": b"hello", "l": [1, "x"], "ns": {1, 2}, "t": True}


@pytest.mark.parametrize(
    ("name", "operator", "values", "holds"),
    [
        ("n", "EQ", [5], True),
        ("n", "EQ", ["5"], False),
        ("ns", "EQ", [{2, 1}], True),
        ("n", "NE", [4], True),
        ("q", "NE", [4], True),
        ("n", "LE", [5], True),
        ("n", "LT", [5], False),
        ("n", "GE", ["5"], False),
        ("b", "GT", [b"a"], True),
        ("n", "IN", [4, 5], True),
        ("ns", "IN", [1, 2], False),
        ("n", "BETWEEN", [5, 6], True),
        ("q", "BETWEEN", [0, 9], False),
        ("s", "BEGINS_WITH", ["he"], True),
        ("n", "BEGINS_WITH", ["he"], False),
        ("s", "CONTAINS", ["ell"], True),
        ("l", "CONTAINS", ["x"], True),
        ("ns", "CONTAINS", [2], True),
        ("ns", "NOT_CONTAINS", [3], True),
        # Unlike NE, which holds of an attribute that is not there.
        ("q", "NOT_CONTAINS", [3], False),
        ("n", "NULL", [], False),
        ("q", "NULL", [], True),
        ("t", "NOT_NULL", [], True),
    ],
)
def test_conditions(things: Dynamo, name: str, operator: str, values: list[Any], holds: bool) -> None:
    things.put(**ITEM)
    given = {name: condition(operator, *values)}
    found = things("Scan", TableName="things", ScanFilter=given)
    assert (found["Count"], found["ScannedCount"]) == (int(holds), 1)
    keys = {"pk": condition("EQ", "p")}
    assert things("Query", TableName="things", KeyConditions=keys, QueryFilter=given)["Count"] == int(holds)
    if holds:
        things("DeleteItem", TableName="things", Key=KEY, Expected=given)
        assert things.items() == []
    else:
        with pytest.raises(ConditionalCheckFailed):
            things("DeleteItem", TableName="things", Key=KEY, Expected=given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (condition("EQ", 1, 2), r"Invalid number of argument\(s\) for the EQ ComparisonOperator"),
        (condition("IN"), r"Invalid number of argument\(s\) for the IN ComparisonOperator"),
        (condition("IN", 1, "x"), "must all be of the same type"),
        (condition("LT", [1]), "ComparisonOperator LT is not valid for L AttributeValue type"),
        (condition("CONTAINS", [1]), "ComparisonOperator CONTAINS is not valid for L AttributeValue type"),
        (condition("BETWEEN", 2, 1), "The BETWEEN condition was provided a range"),
        (
            condition("DOG", 1),
            "'DOG' at 'expected.n.member.comparisonOperator' .* enum value set: .IN, NULL, BETWEEN, LT,",
        ),
        ({"Exists": True}, "Value must be provided when Exists is true for Attribute: n"),
        ({"Exists": False, **value(1)}, "Value cannot be used when Exists is false for Attribute: n"),
        ({**value(1), **condition("EQ", 1)}, "Value and AttributeValueList cannot be used together for Attribute: n"),
        ({"Exists": True, **condition("EQ", 1)}, "Exists and ComparisonOperator cannot be used together"),
    ],
)
def test_conditions_refuse(things: Dynamo, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        things("PutItem", TableName="things", Item=encode_item(ITEM), Expected={"n": given})


def test_conditions_are_joined(things: Dynamo) -> None:
    things.put(**ITEM)
    both = {"n": value(5), "q": {"Exists": False}}
    one = {"n": value(6), "q": {"Exists": False}}
    put = {"TableName": "things", "Item": encode_item(ITEM)}
    things("PutItem", **put, Expected=both)
    things("PutItem", **put, Expected=one, ConditionalOperator="OR")
    with pytest.raises(ConditionalCheckFailed):
        things("PutItem", **put, Expected=one)
    with pytest.raises(ServiceError, match="ConditionalOperator cannot be used without Filter or Expected"):
        things("PutItem", **put, Expected={}, ConditionalOperator="OR")


def test_key_conditions(things: Dynamo) -> None:
    for sk in ("a", "ab", "b", "c"):
        things.put(pk="p", sk=sk)

    def found(**conditions: Any) -> list[str]:
        answer = things(
            "Query",
            TableName="things",
            KeyConditions={"pk": condition("EQ", "p"), **conditions},
            ProjectionExpression="sk",
        )
        return [item["sk"]["S"] for item in answer["Items"]]

    assert found() == ["a", "ab", "b", "c"]
    assert found(sk=condition("BEGINS_WITH", "a")) == ["a", "ab"]
    assert found(sk=condition("BETWEEN", "ab", "b")) == ["ab", "b"]
    assert found(sk=condition("GT", "ab")) == ["b", "c"]
    for conditions, message in (
        ({"sk": condition("NE", "a")}, "Attempted conditional constraint is not an indexable operation"),
        ({"x": condition("NULL")}, "Query condition missed key schema element: sk"),
        ({"pk": condition("NULL")}, "Attempted conditional constraint is not an indexable operation"),
        ({"sk": condition("LT", {"x"})}, "ComparisonOperator LT is not valid for SS AttributeValue type"),
        ({"pk": condition("GT", "a")}, "Query key condition not supported"),
        ({"x": condition("EQ", "a")}, "Query condition missed key schema element: sk"),
        (
            {"sk": condition("EQ", "a"), "x": condition("EQ", "a")},
            r"The number of query conditions \(3\) exceeds the number of key attributes defined in the schema \(2\)",
        ),
    ):
        with pytest.raises(ServiceError, match=message):
            found(**conditions)
    with pytest.raises(ServiceError, match="Primary key attribute: sk"):
        keys = {"pk": condition("EQ", "p")}
        things("Query", TableName="things", KeyConditions=keys, QueryFilter={"sk": condition("EQ", "a")})


def test_attributes_to_get(things: Dynamo) -> None:
    things.put(**ITEM)
    got = things("GetItem", TableName="things", Key=KEY, AttributesToGet=["n", "q"])
    assert got["Item"] == {"n": {"N": "5"}}
    batch = {"things": {"Keys": [KEY], "AttributesToGet": ["s"]}}
    assert things("BatchGetItem", RequestItems=batch)["Responses"] == {"things": [{"s": {"S": "hello"}}]}
    with pytest.raises(ServiceError, match="Duplicate value in attribute name: n"):
        things("GetItem", TableName="things", Key=KEY, AttributesToGet=["n", "n"])
    with pytest.raises(ServiceError, match="Can not use both expression and non-expression parameters"):
        things("GetItem", TableName="things", Key=KEY, AttributesToGet=["n"], ProjectionExpression="n")


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("PutItem", {"Item": {**KEY, "": {"S": "x"}}}, "Empty attribute name"),
        ("PutItem", {"Item": KEY, "Expected": {"": {"Exists": False}}}, "Empty attribute name"),
        ("UpdateItem", {"Key": KEY, "AttributeUpdates": {"": value(1)}}, "Empty attribute name"),
        ("GetItem", {"Key": KEY, "AttributesToGet": [""]}, "Empty attribute name"),
        ("Scan", {"ScanFilter": {"": condition("NULL")}}, "Empty attribute name"),
        (
            "GetItem",
            {"Key": KEY, "ProjectionExpression": "#n", "ExpressionAttributeNames": {"#n": ""}},
            "ExpressionAttributeNames contains invalid value: Empty attribute name for key #n",
        ),
    ],
)
def test_an_attribute_has_a_name(things: Dynamo, operation: str, body: Any, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        things(operation, TableName="things", **body)


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("Query", {"KeyConditions": {"pk": None}}),
        ("Query", {"KeyConditions": {"pk": condition("EQ", "p")}, "QueryFilter": {"a": None}}),
        ("Scan", {"ScanFilter": {"a": None}}),
        ("PutItem", {"Item": KEY, "Expected": {"a": None}}),
        ("UpdateItem", {"Key": KEY, "AttributeUpdates": {"a": None}}),
    ],
)
def test_null_in_place_of_a_condition_is_refused(things: Dynamo, operation: str, body: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="Unexpected value type in payload"):
        things(operation, TableName="things", **body)


def test_null_beside_a_condition_that_lacks_its_operator_is_passed_over(things: Dynamo) -> None:
    body = {"KeyConditions": {"pk": None}, "QueryFilter": {"a": {}}}
    with pytest.raises(ServiceError, match="Member must not be null"):
        things("Query", TableName="things", **body)
