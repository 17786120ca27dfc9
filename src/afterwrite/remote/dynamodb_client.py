"""DynamoDB over boto3: attribute values either way, errors in the tree, batches that are finished."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from afterwrite.core.target_failures import kind_of_code
from afterwrite.errors import ConditionalCheckFailed, ServiceError, StorageError, TransactionCanceled

Client: TypeAlias = Any
"""A boto3 client of DynamoDB."""

_ROUNDS_MAX: Final = 8
_GET_KEYS_MAX: Final = 100
_WRITE_ITEMS_MAX: Final = 25


def to_boto3(value: Any) -> Any:
    """A request in the wire form as boto3 takes it: binary values are bytes."""
    return _binary_mapped(value, base64.b64decode)


def from_boto3(value: Any) -> Any:
    """An answer of boto3's in the wire form: binary values are base64 text."""
    return _binary_mapped(value, lambda content: base64.b64encode(content).decode())


def _binary_mapped(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        if len(value) == 1:
            kind, content = next(iter(value.items()))
            if kind == "B" and isinstance(content, str | bytes):
                return {"B": convert(content)}
            if kind == "BS" and isinstance(content, list):
                return {"BS": [convert(member) for member in content]}
        return {name: _binary_mapped(member, convert) for name, member in value.items()}
    if isinstance(value, list):
        return [_binary_mapped(member, convert) for member in value]
    return value


_METHODS: Final = {
    "DeleteItem": "delete_item",
    "GetItem": "get_item",
    "PutItem": "put_item",
    "Query": "query",
    "Scan": "scan",
    "TransactWriteItems": "transact_write_items",
    "UpdateItem": "update_item",
}


def execute(client: Client, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """An operation by its wire name and body. Raises ServiceError, for conditions its subclasses, and StorageError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = getattr(client, _METHODS[operation])(**to_boto3(body))
    except ClientError as error:
        raise service_error(error) from error
    except BotoCoreError as error:
        raise StorageError(f"DynamoDB did not answer {operation}: {error}: see that it can be reached") from error
    answer.pop("ResponseMetadata", None)
    return dict(from_boto3(answer))


def service_error(error: Any) -> ServiceError:
    """The exception of afterwrite's tree for a botocore ClientError."""
    detail = error.response.get("Error", {})
    code = str(detail.get("Code", "Unknown"))
    if code == "ConditionalCheckFailedException":
        return ConditionalCheckFailed(from_boto3(error.response.get("Item")))
    if code == "TransactionCanceledException":
        return TransactionCanceled(error.response.get("CancellationReasons", ()))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return ServiceError(code, str(detail.get("Message", "")), status=status)


class StateTable:
    """A table that keeps what the engine has to know: its operations, with errors that say so."""

    def __init__(self, client: Callable[[], Client], table: str) -> None:
        self._client = client
        self.table = table

    def call(self, operation: str, **fields: Any) -> dict[str, Any]:
        """An operation on the table. Raises ConditionalCheckFailed, TransactionCanceled and StorageError."""
        if operation != "TransactWriteItems":
            fields["TableName"] = self.table
        try:
            return execute(self._client(), operation, fields)
        except (ConditionalCheckFailed, TransactionCanceled):
            raise
        except ServiceError as error:
            raise StorageError(f"{operation} on {self.table} failed: {error}: {_remedy(error)}") from error

    def get_all(self, keys: Sequence[Mapping[str, Any]], projection: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The items with `keys`, those that are there, read consistently, in any order."""
        for start in range(0, len(keys), _GET_KEYS_MAX):
            some = {"Keys": list(keys[start : start + _GET_KEYS_MAX]), "ConsistentRead": True, **projection}
            yield from self._finish("batch_get_item", {self.table: some})

    def put_all(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Put items, without conditions."""
        for start in range(0, len(items), _WRITE_ITEMS_MAX):
            some = [{"PutRequest": {"Item": item}} for item in items[start : start + _WRITE_ITEMS_MAX]]
            list(self._finish("batch_write_item", {self.table: some}))

    def _finish(self, method: str, requests: Any) -> Iterator[dict[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError

        for number in range(_ROUNDS_MAX):
            try:
                answer = getattr(self._client(), method)(RequestItems=to_boto3(requests))
            except (ClientError, BotoCoreError) as error:
                raise StorageError(f"{method} on {self.table} failed: {error}") from error
            yield from from_boto3(answer.get("Responses", {}).get(self.table, []))
            requests = from_boto3(answer.get("UnprocessedKeys") or answer.get("UnprocessedItems") or {})
            if not requests:
                return
            time.sleep(min(2.0, 0.05 * 2**number))
        raise StorageError(f"{self.table} left items of {method} undone {_ROUNDS_MAX} times: raise its capacity")


def _remedy(error: ServiceError) -> str:
    kind = kind_of_code(error.code, status=error.status)
    if kind == "permission":
        return "allow the action on the table in the function's role"
    if kind == "missing":
        return "make the table, or correct its name in AFTERWRITE_RESOURCES"
    return "see the table's metrics; it is tried again with the next delivery"
