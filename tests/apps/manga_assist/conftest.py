"""MangaAssist's tables, empty, behind boto3's low-level client, and a function's view of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from moto import mock_aws

from afterwrite import ConditionalCheckFailed, TransactionCanceled
from afterwrite.core.ports import SortKeyRange

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

SESSIONS = "manga-assist-sessions"
OPERATIONS = "manga-assist-operations"


def encode(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item in the wire form of boto3's low-level client."""
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in item.items()}


def decode(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item in Python values."""
    deserialize = TypeDeserializer().deserialize
    values = {name: deserialize(value) for name, value in item.items()}
    return {name: bytes(value.__bytes__()) if isinstance(value, Binary) else value for name, value in values.items()}


class BotoTable:
    """A declared table, as `context.table(...)` gives it."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self.name = name
        self._client = client

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        answer = self._client.get_item(TableName=self.name, Key=encode(key), ConsistentRead=True)
        return decode(answer["Item"]) if "Item" in answer else None

    def query(
        self, partition: Any, sort_key: Any = None, *, newest_first: bool = False, limit: int | None = None
    ) -> list[dict[str, Any]]:
        condition, values = "PK = :pk", {":pk": partition}
        if isinstance(sort_key, SortKeyRange):
            condition += " AND SK BETWEEN :low AND :high"
            values |= {":low": sort_key.low, ":high": sort_key.high}
        elif sort_key is not None:
            condition += " AND begins_with(SK, :prefix)"
            values |= {":prefix": sort_key["prefix"]}
        pages = self._client.get_paginator("query").paginate(
            TableName=self.name,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=encode(values),
            ScanIndexForward=not newest_first,
            ConsistentRead=True,
        )
        return [decode(item) for page in pages for item in page["Items"]][:limit]

    def put(self, item: Mapping[str, Any], *, condition: str | None = None) -> None:
        expression = {} if condition is None else {"ConditionExpression": condition}
        try:
            self._client.put_item(TableName=self.name, Item=encode(item), **expression)  # type: ignore[arg-type]
        except self._client.exceptions.ConditionalCheckFailedException:
            raise ConditionalCheckFailed from None

    def delete(self, key: Mapping[str, Any]) -> None:
        self._client.delete_item(TableName=self.name, Key=encode(key))


class BotoContext:
    """A function's context; `before_transact` runs before each transaction, to arrange a race or a crash."""

    def __init__(self, client: DynamoDBClient, now_ms: int) -> None:
        self.now_ms = now_ms
        self.before_transact: Any = None
        self._client = client

    def transact(self, writes: Sequence[Any]) -> None:
        if self.before_transact is not None:
            self.before_transact()
        try:
            self._client.transact_write_items(TransactItems=[_member(write) for write in writes])
        except ClientError as error:
            raise TransactionCanceled(error.response["CancellationReasons"]) from None


def _member(write: Any) -> Any:
    ((kind, body),) = write.to_wire().items()
    for field, given in (("Item", "item"), ("Key", "key"), ("ExpressionAttributeValues", "values")):
        if field in body:
            body[field] = encode(getattr(write, given))
    return {kind: body}


class _OneAtATime:
    """A client that sends one request at a time: the simulated service's transactions are not atomic otherwise."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name in ("exceptions", "get_paginator"):
            return attribute

        def send(**parameters: Any) -> Any:
            with self._lock:
                return attribute(**parameters)

        return send


@pytest.fixture
def dynamodb_client() -> Iterator[DynamoDBClient]:
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local"
        )
        for name in (SESSIONS, OPERATIONS):
            client.create_table(
                TableName=name,
                KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}],
                AttributeDefinitions=[
                    {"AttributeName": "PK", "AttributeType": "S"},
                    {"AttributeName": "SK", "AttributeType": "S"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        yield cast("DynamoDBClient", _OneAtATime(client))


@pytest.fixture
def sessions_table(dynamodb_client: DynamoDBClient) -> BotoTable:
    return BotoTable(dynamodb_client, SESSIONS)


@pytest.fixture
def operations_table(dynamodb_client: DynamoDBClient) -> BotoTable:
    return BotoTable(dynamodb_client, OPERATIONS)


@pytest.fixture
def make_context(dynamodb_client: DynamoDBClient) -> Callable[[int], BotoContext]:
    return lambda now_ms: BotoContext(dynamodb_client, now_ms)
