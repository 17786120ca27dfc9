"""DynamoDB on the wire."""

from __future__ import annotations

from typing import Any

from afterwrite.store.operations import Operations
from afterwrite.store.prepared import Prepared


class DynamoDBService:
    """DynamoDB_20120810."""

    target = "DynamoDB_20120810"
    error_prefix = "com.amazonaws.dynamodb.v20120810#"
    content_type = "application/x-amz-json-1.0"

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        return self._operations.prepare(name, body)
