"""Tables for code in the engine's process: the same operations as over the wire, in Python values, no socket."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from afterwrite.core.invocations import placeholders
from afterwrite.core.ports import SortKeyRange
from afterwrite.core.values import Item, decode_item, encode_item, from_python
from afterwrite.errors import DeclarationError
from afterwrite.store import tables
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.operations import Operations, Read
from afterwrite.table.attribute_values import checked_item
from afterwrite.table.schema import KeySchema
from afterwrite.table.sizes import check_put_size
from afterwrite.table.writes import ItemWrite, Put

_COMMIT_ITEMS: Final = 1000
_COMMIT_BYTES: Final = 4 << 20


class NativeServices:
    """What functions may use on the embedded engine."""

    def __init__(self, environment: Environment, operations: Operations, files: Path) -> None:
        self._environment = environment
        self._operations = operations
        self._files = files

    def table(self, name: str) -> NativeTable:
        """The table `name`. Raises DeclarationError where there is none."""
        table = self._environment.state["catalog"].get(name)
        if table is None:
            raise DeclarationError(f"expected a table of this engine, got {name!r}: declare it in the app")
        return NativeTable(self, name, table.schema)

    def has_table(self, name: str) -> bool:
        """Whether there is a table `name`."""
        return name in self._environment.state["catalog"]

    def transact(self, writes: Sequence[Mapping[str, Any]]) -> None:
        """Apply all writes or none, each in the form of TransactWriteItems. Raises TransactionCanceled."""
        self.execute("TransactWriteItems", {"TransactItems": list(writes)})

    def directory(self, name: str) -> Path:
        """A directory for files of the app, made where it is missing."""
        if not name or "/" in name or name.startswith("."):
            raise DeclarationError(f"expected a plain directory name, got {name!r}: use letters, digits and '-'")
        path = self._files / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def execute(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """An operation of DynamoDB by its wire name and body. Raises ServiceError and StorageError."""
        prepared = self._operations.prepare(operation, body)
        if isinstance(prepared, Read):
            with self._environment.read() as transaction:
                return dict(prepared.body(transaction, self._environment.state["catalog"]))
        answer = self._environment.write(prepared.run)
        return {} if answer is None else dict(answer)

    def put_items(self, table_name: str, items: Iterable[Item]) -> int:
        """Put items in the wire form, in order, many in one commit; how many they were, all of them durable."""
        count = 0
        pending: Future[None] | None = None
        try:
            for batch in _batches(table_name, items):
                # While one batch is on its way to the disk the next is encoded.
                if pending is not None:
                    pending.result()
                pending = self._submit(batch)
                count += len(batch)
        finally:
            if pending is not None:
                pending.result()
        return count

    def _submit(self, batch: Sequence[ItemWrite]) -> Future[None]:
        future: Future[None] = Future()

        def on_done(_: None, error: BaseException | None) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        def run(transaction: WriteTransaction) -> None:
            for write in batch:
                tables.write_item(transaction, write)

        self._environment.submit(run, on_done)
        return future


def _batches(table_name: str, items: Iterable[Item]) -> Iterator[list[ItemWrite]]:
    """The puts of `items`, as many together as one commit is to hold."""
    batch: list[ItemWrite] = []
    batch_bytes = 0
    for item in items:
        batch_bytes += check_put_size(checked_item(item))
        batch.append(Put(table_name, item))
        if len(batch) == _COMMIT_ITEMS or batch_bytes >= _COMMIT_BYTES:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


class NativeTable:
    """The TableClient of a table in this process."""

    def __init__(self, services: NativeServices, name: str, schema: KeySchema) -> None:
        self._services = services
        self._name = name
        self._schema = schema

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The item with the key attributes `key`."""
        body = {"TableName": self._name, "Key": encode_item(key), "ConsistentRead": True}
        item = self._services.execute("GetItem", body).get("Item")
        return None if item is None else decode_item(item)

    def query(
        self, partition: Any, sort_key: Any = None, *, newest_first: bool = False, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """The items of a partition, by a sort key, `prefix(…)`, `between(…, …)` or all of them."""
        body = self._query_body(partition, sort_key)
        body["ScanIndexForward"] = not newest_first
        items: list[Item] = []
        while True:
            if limit is not None:
                body["Limit"] = limit - len(items)
            answer = self._services.execute("Query", dict(body))
            items.extend(answer["Items"])
            if "LastEvaluatedKey" not in answer or len(items) == limit:
                return [decode_item(item) for item in items]
            body["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def scan(self) -> Iterator[dict[str, Any]]:
        """Every item, read page by page: what is written meanwhile may be among them or not."""
        body: dict[str, Any] = {"TableName": self._name, "ConsistentRead": True}
        while True:
            answer = self._services.execute("Scan", dict(body))
            yield from map(decode_item, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            body["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _query_body(self, partition: Any, sort_key: Any) -> dict[str, Any]:
        names = {"#pk": self._schema.partition_key}
        values = {":pk": from_python(partition)}
        condition = "#pk = :pk"
        if sort_key is not None:
            if self._schema.sort_key is None:
                raise DeclarationError(f"the table {self._name} has no sort key: query it by its partition key alone")
            names["#sk"] = self._schema.sort_key
            if isinstance(sort_key, SortKeyRange):
                condition += " AND #sk BETWEEN :low AND :high"
                values |= {":low": from_python(sort_key.low), ":high": from_python(sort_key.high)}
            elif isinstance(sort_key, Mapping):
                if sort_key.keys() != {"prefix"}:
                    raise DeclarationError(
                        f"expected a sort key, prefix(…) or between(…, …) to query {self._name} by, got {sort_key!r}"
                    )
                condition += " AND begins_with(#sk, :low)"
                values[":low"] = from_python(sort_key["prefix"])
            else:
                condition += " AND #sk = :low"
                values[":low"] = from_python(sort_key)
        return {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            "ConsistentRead": True,
        }

    def put(
        self,
        item: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Put an item. Raises ConditionalCheckFailed."""
        body = {"Item": encode_item(item), **self._expressions(condition, names, values)}
        self._services.execute("PutItem", body)

    def put_many(self, items: Iterable[Mapping[str, Any]]) -> int:
        """Put items without conditions, in order, many in one commit; how many they were, all of them durable.

        Raises what `put` raises. A batch (of at most 1,000) with a bad item is not put; what came before it stays.
        """
        return self._services.put_items(self._name, map(encode_item, items))

    def update(
        self,
        key: Mapping[str, Any],
        update: str,
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Update an item by an UpdateExpression and return the new item. Raises ConditionalCheckFailed."""
        body = {
            "Key": encode_item(key),
            "UpdateExpression": update,
            "ReturnValues": "ALL_NEW",
            **self._expressions(condition, names, values),
        }
        return decode_item(self._services.execute("UpdateItem", body)["Attributes"])

    def delete(
        self,
        key: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Delete an item. Raises ConditionalCheckFailed."""
        body = {"Key": encode_item(key), **self._expressions(condition, names, values)}
        self._services.execute("DeleteItem", body)

    def _expressions(
        self, condition: str | None, names: Mapping[str, str] | None, values: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {"TableName": self._name}
        if condition is not None:
            fields["ConditionExpression"] = condition
        return {**fields, **placeholders(names, values)}
