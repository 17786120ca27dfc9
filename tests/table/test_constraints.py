"""Every constraint that a request breaks is reported, in one error."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store.operations import Operations

CAPACITY = (
    "Value 'no' at 'returnConsumedCapacity' failed to satisfy constraint: "
    "Member must satisfy enum value set: [INDEXES, TOTAL, NONE]"
)
COLLECTIONS = (
    "Value 'no' at 'returnItemCollectionMetrics' failed to satisfy constraint: "
    "Member must satisfy enum value set: [SIZE, NONE]"
)

RETURN_VALUES = "Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]"
NO_NAME = "Value at 'TableName' failed to satisfy constraint: Member must have length greater than or equal to 1"
NO_KEY = "Value null at 'key' failed to satisfy constraint: Member must not be null"
OTHER_RETURN_VALUES = (
    "Failed to satisfy constraint: Member must satisfy enum value set: "
    "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
)
OTHER_OPERATOR = "Failed to satisfy constraint: Member must satisfy enum value set: [ALL, OR]"
XOR = "Value 'XOR' at 'conditionalOperator' failed to satisfy constraint: Member must satisfy enum value set: [OR, AND]"
TABLE_NAMES = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 255, "
    "Member must have length greater than or equal to 3, "
    "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]"
)
OPERATORS = (
    "Member must satisfy enum value set: "
    "[IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]"
)
TOO_DEEP = (
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
)
TWO_EXPECTED: dict[str, Any] = {
    "Expected": {"a": {"Exists": False}, "b": {"Exists": False}},
    "ConditionalOperator": "XOR",
}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "x"}
    for _ in range(levels):
        value = {"M": {"a": value}}
    return value


def too_deep_condition() -> dict[str, Any]:
    return {"ComparisonOperator": "EQ", "AttributeValueList": [nested(40)]}


@pytest.mark.parametrize(
    ("operation", "body", "messages"),
    [
        (
            "PutItem",
            {"TableName": "a;", "ReturnValues": "hi", "ReturnConsumedCapacity": "no"},
            [
                CAPACITY,
                f"Value 'hi' at 'returnValues' failed to satisfy constraint: {RETURN_VALUES}",
                "Value 'a;' at 'tableName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
                "Value 'a;' at 'tableName' failed to satisfy constraint: "
                "Member must have length greater than or equal to 3",
                "Value null at 'item' failed to satisfy constraint: Member must not be null",
            ],
        ),
        (
            "Scan",
            {"TableName": "abc", "Limit": 0, "TotalSegments": 1_000_001, "Segment": -1},
            [
                "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
                "Value '-1' at 'segment' failed to satisfy constraint: "
                "Member must have value greater than or equal to 0",
                "Value '1000001' at 'totalSegments' failed to satisfy constraint: "
                "Member must have value less than or equal to 1000000",
            ],
        ),
        (
            "GetItem",
            {"TableName": "abc"},
            ["Value null at 'key' failed to satisfy constraint: Member must not be null"],
        ),
        # The newer check stops at a table without a name, and an update's at what is to be returned.
        ("PutItem", {"TableName": "", "Item": {}, "ReturnValues": "no"}, [NO_NAME]),
        ("DeleteItem", {"TableName": "", "Key": {}}, [NO_NAME]),
        (
            "PutItem",
            {
                "TableName": "abc",
                "Item": {},
                "ReturnValues": "no",
                "ReturnConsumedCapacity": "no",
                "ReturnItemCollectionMetrics": "no",
            },
            [CAPACITY, OTHER_RETURN_VALUES, COLLECTIONS],
        ),
        (
            "DeleteItem",
            {"TableName": "abc", "Key": {}, "ReturnValues": "no", "ReturnConsumedCapacity": "no"},
            [CAPACITY, OTHER_RETURN_VALUES],
        ),
        (
            "UpdateItem",
            {"TableName": "abc", "Key": {}, "ReturnValues": "no", "ReturnConsumedCapacity": "no"},
            [OTHER_RETURN_VALUES],
        ),
        ("PutItem", {"TableName": "abc", "Item": {}, **TWO_EXPECTED}, [OTHER_OPERATOR]),
        # It reads no request that lacks a required field, or is nested too deep.
        (
            "UpdateItem",
            {"TableName": "", "ReturnValues": "no", "ReturnConsumedCapacity": "no"},
            [
                CAPACITY,
                "Value '' at 'tableName' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1",
                f"Value 'no' at 'returnValues' failed to satisfy constraint: {RETURN_VALUES}",
                NO_KEY,
            ],
        ),
        ("UpdateItem", {"TableName": "abc", **TWO_EXPECTED}, [XOR, NO_KEY]),
        (
            "UpdateItem",
            {
                "TableName": "abc",
                "Key": {},
                "Expected": {"a": {"Value": nested(63)}, "b": {"Exists": False}},
                "ConditionalOperator": "XOR",
            },
            [XOR],
        ),
        (
            "DeleteItem",
            {"TableName": "abc", "Key": {"pk": nested(63)}, "ReturnValues": "no"},
            [f"Value 'no' at 'returnValues' failed to satisfy constraint: {RETURN_VALUES}"],
        ),
        (
            "DeleteItem",
            {"TableName": "abc", "Key": {"pk": nested(62)}, "ReturnValues": "no"},
            [OTHER_RETURN_VALUES],
        ),
        ("GetItem", {"TableName": "arn:aws:dynamodb:us-east-1:000000000000:table/abc", "Key": {}}, None),
        (
            "BatchGetItem",
            {"RequestItems": {"a!": {"Keys": [{"pk": {"S": "x"}}]}, "abc": {}}, "ReturnConsumedCapacity": "no"},
            [
                """Value '{"a!":{"Keys":[{"pk":{"S":"x"}}]},"abc":{}}' at 'requestItems' failed to satisfy """
                "constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 255, "
                "Member must have length greater than or equal to 3, "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]",
                "Value null at 'requestItems.abc.member.keys' failed to satisfy constraint: Member must not be null",
                CAPACITY,
            ],
        ),
        (
            "BatchWriteItem",
            {
                "RequestItems": {"abc": [{"PutRequest": {}}, {"DeleteRequest": {}}]},
                "ReturnConsumedCapacity": "no",
                "ReturnItemCollectionMetrics": "no",
            },
            [
                CAPACITY,
                COLLECTIONS,
                "Value null at 'requestItems.abc.member.1.member.putRequest.item' failed to satisfy constraint: "
                "Member must not be null",
                "Value null at 'requestItems.abc.member.2.member.deleteRequest.key' failed to satisfy constraint: "
                "Member must not be null",
            ],
        ),
        (
            "BatchWriteItem",
            {
                "RequestItems": {"a!": [{"PutRequest": {"Item": {}}}], "abc": [], "abd": [{"DeleteRequest": {}}]},
                "ReturnConsumedCapacity": "no",
            },
            [
                # A name that no table can have is told of where nothing before it is wrong.
                CAPACITY,
                "Value '{a!=[1 requests], abc=[], abd=[1 requests]}' at 'requestItems' failed to satisfy constraint: "
                "Map value must satisfy constraint: [Member must have length less than or equal to 25, "
                "Member must have length greater than or equal to 1]",
                "Value null at 'requestItems.abd.member.1.member.deleteRequest.key' failed to satisfy constraint: "
                "Member must not be null",
            ],
        ),
        (
            "BatchWriteItem",
            {"RequestItems": {"a!": [{"PutRequest": {"Item": {}}}]}, "ReturnConsumedCapacity": "no"},
            [CAPACITY],
        ),
        (
            "BatchWriteItem",
            {"RequestItems": {"a!": [{"PutRequest": {"Item": {}}}]}},
            [
                """Value '{"a!":[{"PutRequest":{"Item":{}}}]}' at 'requestItems' failed to satisfy constraint: """
                f"{TABLE_NAMES}"
            ],
        ),
        (
            "GetItem",
            {"TableName": "ab", "Key": {}, "AttributesToGet": []},
            [
                "Value 'ab' at 'tableName' failed to satisfy constraint: "
                "Member must have length greater than or equal to 3",
                "Value '[]' at 'attributesToGet' failed to satisfy constraint: "
                "Member must have length greater than or equal to 1",
            ],
        ),
        (
            "Query",
            {
                "TableName": "abc",
                "Select": "SOME",
                "KeyConditions": {"pk": {}},
                "QueryFilter": {"a": {"ComparisonOperator": "LIKE"}, "b": {"ComparisonOperator": "NULL"}},
            },
            [
                "Value 'SOME' at 'select' failed to satisfy constraint: Member must satisfy enum value set: "
                "[SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]",
                f"Value 'LIKE' at 'queryFilter.a.member.comparisonOperator' failed to satisfy constraint: {OPERATORS}",
                "Value null at 'keyConditions.pk.member.comparisonOperator' failed to satisfy constraint: "
                "Member must not be null",
            ],
        ),
        (
            "TransactGetItems",
            {"TransactItems": [{"Get": {"TableName": "abc"}}, {}], "ReturnConsumedCapacity": "no"},
            [
                CAPACITY,
                "Value null at 'transactItems.1.member.get.key' failed to satisfy constraint: Member must not be null",
                "Value null at 'transactItems.2.member.get' failed to satisfy constraint: Member must not be null",
            ],
        ),
        # A member's expression is looked at after the constraints of all members.
        (
            "TransactWriteItems",
            {
                "TransactItems": [
                    {"Put": {"TableName": "abc", "Item": {}, "ConditionExpression": "a ="}},
                    {"Update": {"TableName": "abc", "Key": {}, "ReturnValuesOnConditionCheckFailure": "no"}},
                ],
                "ClientRequestToken": "x" * 37,
                "ReturnItemCollectionMetrics": "no",
            },
            [
                f"Value '{'x' * 37}' at 'clientRequestToken' failed to satisfy constraint: "
                "Member must have length less than or equal to 36",
                COLLECTIONS,
                "Value null at 'transactItems.2.member.update.updateExpression' failed to satisfy constraint: "
                "Member must not be null",
                "Value 'no' at 'transactItems.2.member.update.returnValuesOnConditionCheckFailure' failed to satisfy "
                "constraint: Member must satisfy enum value set: [ALL_OLD, NONE]",
            ],
        ),
    ],
)
def test_all_are_listed(operation: str, body: dict[str, Any], messages: list[str] | None) -> None:
    operations = Operations(Identity())
    if messages is None:
        operations.prepare(operation, body)
        return
    with pytest.raises(ServiceError) as caught:
        operations.prepare(operation, body)
    count = len(messages)
    expected = f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(messages)}"
    assert caught.value.message == expected


@pytest.mark.parametrize(
    "other",
    [{"ScanFilter": {"a": []}}, {"ScanFilter": "a"}, {"Select": 1}, {"Limit": "1"}, {"Limit": 0}, {"IndexName": "!"}],
)
def test_fields_of_other_operations_are_not_looked_at(other: dict[str, Any]) -> None:
    with pytest.raises(ServiceError) as caught:
        Operations(Identity()).prepare("DeleteItem", {"TableName": "things", **other})
    assert caught.value.message == f"1 validation error detected: {NO_KEY}"


def test_a_field_of_the_wrong_type_is_reported_by_itself() -> None:
    body = {"TableName": "a", "Limit": 0, "Select": []}
    with pytest.raises(ServiceError) as caught:
        Operations(Identity()).prepare("Scan", body)
    assert caught.value.code == "SerializationException"


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("BatchWriteItem", {"RequestItems": {}}, "The requestItems parameter is required for BatchWriteItem"),
        *(
            (
                f"{verb}KinesisStreamingDestination",
                {
                    "TableName": "things",
                    "StreamArn": "arn:aws:kinesis:us-east-1:000000000000:stream/events",
                    f"{verb}KinesisStreamingConfiguration": {"ApproximateCreationDateTimePrecision": "SECOND"},
                },
                "1 validation error detected: Value 'SECOND' at "
                f"'{verb.lower()}KinesisStreamingConfiguration.approximateCreationDateTimePrecision' failed to satisfy "
                "constraint: Member must satisfy enum value set: [MILLISECOND, MICROSECOND]",
            )
            for verb in ("Enable", "Update")
        ),
        (
            "DeleteItem",
            {"TableName": "abc", "Key": {"pk": nested(63)}, "ReturnValues": "UPDATED_NEW"},
            "ReturnValues can only be ALL_OLD or NONE",
        ),
        (
            "Query",
            {
                "TableName": "abc",
                "KeyConditions": {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "x"}]}},
                "QueryFilter": {"b": {"ComparisonOperator": "NULL"}, "c": {"ComparisonOperator": "NULL"}},
                "ConditionalOperator": "XOR",
                "Select": "no",
            },
            OTHER_OPERATOR,
        ),
        # What a scan compares with is looked at before how its conditions go together, a query's after that.
        (
            "Scan",
            {"TableName": "abc", "ScanFilter": {"a": too_deep_condition()}, "ConditionalOperator": "AND"},
            TOO_DEEP,
        ),
        (
            "Query",
            {"TableName": "abc", "QueryFilter": {"a": too_deep_condition()}, "ConditionalOperator": "AND"},
            "ConditionalOperator can only be used when Filter or Expected has two or more elements",
        ),
        # A map's name that is empty is told of after all that is nested too deep, an attribute's before.
        (
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "abc", "Item": {"m": {"M": {"": {"S": "x"}}}, "d": nested(40)}}}]},
            TOO_DEEP,
        ),
        (
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "abc", "Item": {"d": nested(40), "": {"S": "x"}}}}]},
            "Empty attribute name",
        ),
        (
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "abc", "Item": {"l": {"L": [{"M": {"": {"S": "x"}}}]}}}}]},
            "Empty attribute name",
        ),
        (
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "abc"}}] * 101},
            "1 validation error detected: Value '[101 items]' at 'transactItems' failed to satisfy constraint: "
            "Member must have length less than or equal to 100",
        ),
        (
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "abc", "Item": {}, "ConditionExpression": "a ="}}]},
            'Invalid ConditionExpression: Syntax error; token: "<EOF>", near: "="',
        ),
    ],
)
def test_what_breaks_no_other_constraint_is_reported_as_it_is(
    operation: str, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        Operations(Identity()).prepare(operation, body)
    assert caught.value.message == message


@pytest.mark.parametrize("kind", ["Delete", "ConditionCheck"])
def test_a_transaction_looks_at_a_condition_before_the_key(kind: str) -> None:
    member = {"TableName": "abc", "Key": {"pk": nested(40)}, "ConditionExpression": "a = = b"}
    with pytest.raises(ServiceError, match=r"Invalid ConditionExpression: Syntax error; token: \"=\""):
        Operations(Identity()).prepare("TransactWriteItems", {"TransactItems": [{kind: member}]})


def test_a_name_that_no_table_can_have_is_refused_however_deep_the_keys() -> None:
    deep: dict[str, Any] = {"S": "x"}
    for _ in range(300):
        deep = {"M": {"a": deep}}
    with pytest.raises(ServiceError, match="Map keys must satisfy constraint"):
        Operations(Identity()).prepare("BatchGetItem", {"RequestItems": {"a!": {"Keys": [{"pk": deep}]}}})
