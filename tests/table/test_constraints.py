"""Every constraint that a request breaks is reported, in one error."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store.operations import Operations


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
