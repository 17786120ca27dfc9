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


@pytest.mark.parametrize(
    ("operation", "body", "messages"),
    [
        (
            "PutItem",
            {"TableName": "a;", "ReturnValues": "hi", "ReturnConsumedCapacity": "no"},
            [
                "Value 'a;' at 'tableName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
                "Value 'a;' at 'tableName' failed to satisfy constraint: "
                "Member must have length greater than or equal to 3",
                "Value null at 'item' failed to satisfy constraint: Member must not be null",
                "Value 'no' at 'returnConsumedCapacity' failed to satisfy constraint: "
                "Member must satisfy enum value set: [INDEXES, TOTAL, NONE]",
                "Value 'hi' at 'returnValues' failed to satisfy constraint: "
                "Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]",
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
        # A name that no table can have gives way to what else is wrong.
        (
            "BatchWriteItem",
            {"RequestItems": {"a!": [{"PutRequest": {"Item": {}}}]}, "ReturnConsumedCapacity": "no"},
            [CAPACITY],
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


def test_a_name_that_no_table_can_have_is_refused_however_deep_the_keys() -> None:
    deep: dict[str, Any] = {"S": "x"}
    for _ in range(300):
        deep = {"M": {"a": deep}}
    with pytest.raises(ServiceError, match="Map keys must satisfy constraint"):
        Operations(Identity()).prepare("BatchGetItem", {"RequestItems": {"a!": {"Keys": [{"pk": deep}]}}})
