"""What is wrong with a request in itself is said in the words of its operation."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store.operations import Operations

Body = dict[str, Any]

KEY = {"pk": {"S": "p"}}
ONE_ERROR = "1 validation error detected: "
INVALID = "One or more parameter values were invalid: "
OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
NOT_NUMERIC = "The parameter cannot be converted to a numeric value"
SETS = (
    ({"SS": ["b", "a", "b", "c"]}, '["a", "b", "b", "c"] contains', "[b, a, b, c] contains"),
    (
        {"BS": ["/w==", "AA==", "AA=="]},
        '["AA==","/w==","AA=="]of type BS contains',
        "[/w==, AA==, AA==]of type BS contains",
    ),
)
EMPTY_SET = f"{INVALID}An string set  may not be empty"


def refusal(operation: str, body: Body) -> str:
    with pytest.raises(ServiceError) as caught:
        Operations(Identity()).prepare(operation, body)
    assert caught.value.code == "ValidationException"
    return caught.value.message


def put(**fields: Any) -> Body:
    return {"TableName": "things", "Item": KEY, **fields}


def on_key(**fields: Any) -> Body:
    return {"TableName": "things", "Key": KEY, **fields}


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("PutItem", put(Item={**KEY, "a": {"SS": []}}), EMPTY_SET),
        (
            "PutItem",
            put(Item={**KEY, "a": {"NULL": False}}),
            f"{INVALID}Null attribute value types must have the value of true",
        ),
        ("PutItem", put(ConditionExpression=""), "Invalid ConditionExpression: The expression can not be empty;"),
        ("PutItem", put(ReturnValues="ALL_NEW"), "ReturnValues can only be ALL_OLD or NONE"),
        (
            "PutItem",
            put(ExpressionAttributeValues={":v": {"S": "x"}}),
            "ExpressionAttributeValues can only be specified when using expressions",
        ),
        (
            "DeleteItem",
            on_key(Expected={"a": {"Exists": True}}),
            f"{INVALID}Value must be provided when Exists is true for Attribute: a",
        ),
        (
            "DeleteItem",
            on_key(ConditionExpression="attribute_exists(a)", ExpressionAttributeNames={"#b": "b"}),
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#b}",
        ),
        (
            "UpdateItem",
            on_key(UpdateExpression="ADD a :v", ExpressionAttributeValues={":v": {"SS": []}}),
            EMPTY_SET,
        ),
        (
            "UpdateItem",
            on_key(UpdateExpression="SET a = :v", ExpressionAttributeValues={}),
            "ExpressionAttributeValues must not be empty",
        ),
    ],
)
def test_a_write_of_one_item_counts_what_is_wrong(operation: str, body: Body, message: str) -> None:
    assert refusal(operation, body) == ONE_ERROR + message


def test_a_broken_constraint_is_counted_once() -> None:
    broken = "Value null at 'item' failed to satisfy constraint: Member must not be null"
    assert refusal("PutItem", {"TableName": "things"}) == ONE_ERROR + broken


@pytest.mark.parametrize(("value", "newer", "older"), SETS)
def test_members_that_come_again(value: Body, newer: str, older: str) -> None:
    newer, older = (f"{INVALID}Input collection {words} duplicates." for words in (newer, older))
    item = {**KEY, "a": value}
    assert refusal("PutItem", put(Item=item)) == ONE_ERROR + newer
    assert refusal("GetItem", {"TableName": "things", "Key": {"pk": value}}) == newer
    assert refusal("BatchGetItem", {"RequestItems": {"things": {"Keys": [{"pk": value}]}}}) == newer
    assert refusal("BatchWriteItem", {"RequestItems": {"things": [{"PutRequest": {"Item": item}}]}}) == older
    assert refusal("TransactWriteItems", {"TransactItems": [{"Put": put(Item=item)}]}) == older


def test_values_of_expressions() -> None:
    values = {":p": {"S": "p"}, ":v": {"N": ""}}
    query = {"TableName": "things", "KeyConditionExpression": "pk = :p", "FilterExpression": "a = :v"}
    update = on_key(UpdateExpression="SET a = :v", ExpressionAttributeValues={":v": {"N": ""}})
    within = f"ExpressionAttributeValues contains invalid value: {NOT_NUMERIC} for key :v"
    scan = {"TableName": "things", "FilterExpression": "a = :v", "ExpressionAttributeValues": {":v": {"N": ""}}}
    assert refusal("Query", {**query, "ExpressionAttributeValues": values}) == f"{NOT_NUMERIC}: "
    assert refusal("UpdateItem", update) == f"{ONE_ERROR}{NOT_NUMERIC}: "
    assert refusal("Scan", scan) == f"{NOT_NUMERIC}: "
    assert refusal("TransactWriteItems", {"TransactItems": [{"Update": update}]}) == within


@pytest.mark.parametrize(
    ("number", "newer", "older"),
    [
        ("1e99999999999", OVERFLOW, f"{NOT_NUMERIC}: 1e99999999999"),
        ("1e-2147483648", UNDERFLOW, f"{NOT_NUMERIC}: 1e-2147483648"),
        ("1e2147483647", OVERFLOW, UNDERFLOW),
        ("1e9223372036854775808", f"{NOT_NUMERIC}: 1e9223372036854775808", f"{NOT_NUMERIC}: 1e9223372036854775808"),
        ("1e126", OVERFLOW, OVERFLOW),
    ],
)
def test_an_exponent_has_64_bits_or_else_32(number: str, newer: str, older: str) -> None:
    item = {**KEY, "a": {"N": number}}
    statement = "SELECT * FROM things WHERE pk = ?"
    assert refusal("PutItem", put(Item=item)) == ONE_ERROR + newer
    assert refusal("GetItem", {"TableName": "things", "Key": {"pk": {"N": number}}}) == newer
    assert refusal("BatchWriteItem", {"RequestItems": {"things": [{"PutRequest": {"Item": item}}]}}) == older
    assert refusal("TransactWriteItems", {"TransactItems": [{"Put": put(Item=item)}]}) == older
    assert refusal("ExecuteStatement", {"Statement": statement, "Parameters": [{"N": number}]}) == older


QUERY = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}
CONSTRAINT = ONE_ERROR + "Value at '{}' failed to satisfy constraint: Member must have {}"


def test_start_keys() -> None:
    start: Body = {"TableName": "things", "ExclusiveStartKey": {"pk": {"SS": []}}}
    assert refusal("Query", {**start, **QUERY}) == EMPTY_SET
    assert refusal("Scan", start) == EMPTY_SET


@pytest.mark.parametrize(
    ("operation", "body", "place", "constraint"),
    [
        ("Query", {**QUERY, "Limit": 0}, "Limit", "value greater than or equal to 1"),
        ("Scan", {"Limit": 0}, "Limit", "value greater than or equal to 1"),
        ("Scan", {"Segment": -1, "TotalSegments": 4}, "Segment", "value greater than or equal to 0"),
        (
            "Scan",
            {"Segment": 0, "TotalSegments": 1_000_001},
            "TotalSegments",
            "value less than or equal to 1000000",
        ),
        ("BatchGetItem", {"RequestItems": {}}, "RequestItems", "length greater than or equal to 1"),
        (
            "BatchGetItem",
            {"RequestItems": {"things": {"Keys": []}}},
            "RequestItems.things.member.Keys",
            "length greater than or equal to 1",
        ),
        (
            "BatchGetItem",
            {"RequestItems": {"things": {"Keys": [KEY] * 101}}},
            "RequestItems.things.member.Keys",
            "length less than or equal to 100",
        ),
    ],
)
def test_a_bound_is_reported_without_the_value(operation: str, body: Body, place: str, constraint: str) -> None:
    assert refusal(operation, {"TableName": "things", **body}) == CONSTRAINT.format(place, constraint)


def test_a_segment_out_of_bounds() -> None:
    message = "The Segment parameter is zero-based and must be less than parameter TotalSegments"
    assert refusal("Scan", {"TableName": "things", "Segment": 2, "TotalSegments": 2}) == message


def test_the_first_value_that_is_missing_is_named() -> None:
    missing = "An expression attribute value used in expression is not defined; attribute value: "
    for first, second in ((":a", ":b"), (":b", ":a")):
        scan = {"TableName": "things", "FilterExpression": f"a = {first} AND b = {second}"}
        assert refusal("Scan", scan) == f"Invalid FilterExpression: {missing}{first}"


@pytest.mark.parametrize(
    ("clauses", "message"),
    [
        ("pk = :none AND begins_with(sk, :n)", "An expression attribute value used in expression is not defined; "),
        ("begins_with(sk, :n) AND pk = :none", "Incorrect operand type for operator or function; "),
        ("pk = :p AND begins_with(sk, :n) AND sk = :none", "Incorrect operand type for operator or function; "),
    ],
)
def test_a_key_condition_is_checked_in_the_order_it_is_written_in(clauses: str, message: str) -> None:
    values = {":n": {"N": "1"}, ":p": {"S": "p"}}
    query = {"TableName": "things", "KeyConditionExpression": clauses, "ExpressionAttributeValues": values}
    assert refusal("Query", query).startswith(f"Invalid KeyConditionExpression: {message}")


def test_an_expression_of_more_than_4_kib() -> None:
    long = " AND ".join(["attribute_exists(a)"] * 200)
    message = "Expression size has exceeded the maximum allowed size;"
    paths = ", ".join(f"a{number}" for number in range(1000))
    assert refusal("Scan", {"TableName": "things", "FilterExpression": long}) == (
        f"Invalid FilterExpression: {message} expression size: {len(long)}"
    )
    assert refusal("DeleteItem", on_key(ConditionExpression=long)) == (
        f"{ONE_ERROR}Invalid ConditionExpression: {message} expression size: {len(long)}"
    )
    # Only of conditions on items is it told how long they are.
    for field, operation, body, begins in (
        ("UpdateExpression", "UpdateItem", on_key(UpdateExpression=f"REMOVE {paths}"), ONE_ERROR),
        ("ProjectionExpression", "GetItem", on_key(ProjectionExpression=paths), ""),
        ("KeyConditionExpression", "Query", {"TableName": "things", "KeyConditionExpression": long}, ""),
    ):
        assert refusal(operation, body) == f"{begins}Invalid {field}: {message}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"Select": "SPECIFIC_ATTRIBUTES"},
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES",
        ),
        (
            {"Select": "ALL_PROJECTED_ATTRIBUTES"},
            "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName",
        ),
        (
            {"Select": "COUNT", "ProjectionExpression": "a"},
            "Cannot specify the ProjectionExpression when choosing to get only the Count",
        ),
        (
            {"Select": "ALL_PROJECTED_ATTRIBUTES", "ProjectionExpression": "a"},
            "Cannot specify the ProjectionExpression when choosing to get ALL_PROJECTED_ATTRIBUTES",
        ),
    ],
)
def test_what_is_selected(body: Body, message: str) -> None:
    query = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}
    assert refusal("Scan", {"TableName": "things", **body}) == ONE_ERROR + message
    assert refusal("Query", {"TableName": "things", **query, **body}) == ONE_ERROR + message
