"""A table in Python values: its contract, and one over whatever carries out requests, such as the engine, or AWS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from afterwrite.core.invocations import SortKeyRange, placeholders
from afterwrite.core.names import Named, name_of
from afterwrite.core.values import Item, decode_item, encode_item, from_python
from afterwrite.errors import DeclarationError

Execute: TypeAlias = Callable[[str, dict[str, Any]], Mapping[str, Any]]
KeyNames: TypeAlias = tuple[str, str | None]
"""The names of a partition key and of a sort key, where there is one."""


class TableClient(Protocol):
    """A table as functions use it, in Python values. Reads are strongly consistent."""

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The item with the key attributes `key`."""
        ...

    def query(
        self,
        partition: Any,
        sort_key: Any = None,
        *,
        index: Named | str | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        attributes: Sequence[str] | None = None,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """The items of a partition, by a sort key, `prefix(…)`, `between(…, …)` or all of them.

        With an `index`, which is declared or named, both are its keys, and what it shows of the items is found; on AWS
        it may show what was written a moment before or not yet.
        Of each only its `attributes`, where they are given; only those that meet a `condition`, which may not look at
        the keys. Placeholders that begin with `_` are the query's own.
        """
        ...

    def scan(self) -> Iterator[dict[str, Any]]:
        """Every item, read page by page: what is written meanwhile may be among them or not."""
        ...

    def put(
        self,
        item: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Put an item. Raises ConditionalCheckFailed."""
        ...

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
        ...

    def delete(
        self,
        key: Mapping[str, Any],
        *,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Delete an item. Raises ConditionalCheckFailed."""
        ...


class WireTable:
    """The TableClient of the table `name` with these keys, over `execute`, which carries out a request.

    `execute` takes an operation's wire name and its body and gives the answer's; it raises ServiceError. `indexes` has
    the keys of the indexes that can be queried, by name.
    """

    def __init__(self, execute: Execute, name: str, keys: KeyNames, indexes: Mapping[str, KeyNames]) -> None:
        self._execute = execute
        self._name = name
        self._keys = keys
        self._indexes = indexes

    def get(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The item with the key attributes `key`."""
        body = {"TableName": self._name, "Key": encode_item(key), "ConsistentRead": True}
        item = self._execute("GetItem", body).get("Item")
        return None if item is None else decode_item(item)

    def query(
        self,
        partition: Any,
        sort_key: Any = None,
        *,
        index: Named | str | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        attributes: Sequence[str] | None = None,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """The items of a partition, by a sort key, `prefix(…)`, `between(…, …)` or all of them.

        With an `index`, which is declared or named, both are its keys, and what it shows of the items is found; on AWS
        it may show what was written a moment before or not yet.
        Of each only its `attributes`, where they are given; only those that meet a `condition`, which may not look at
        the keys. Placeholders that begin with `_` are the query's own.
        """
        if limit is not None and limit < 1:
            raise DeclarationError(f"expected a limit of at least 1, got {limit}: leave it out to query for all items")
        body = self._query_body(partition, sort_key, index)
        body["ScanIndexForward"] = not newest_first
        if attributes is not None:
            body |= self._projection(attributes, body["ExpressionAttributeNames"])
        if condition is not None:
            body["FilterExpression"] = condition
        for field, bound in placeholders(names, values).items():
            self._refuse_own(bound)
            body[field] = {**body[field], **bound}
        items: list[Item] = []
        while True:
            if limit is not None and condition is None:
                body["Limit"] = limit - len(items)
            answer = self._execute("Query", dict(body))
            items.extend(answer["Items"])
            if "LastEvaluatedKey" not in answer or (limit is not None and len(items) >= limit):
                return [decode_item(item) for item in items[:limit]]
            body["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def scan(self) -> Iterator[dict[str, Any]]:
        """Every item, read page by page: what is written meanwhile may be among them or not."""
        body: dict[str, Any] = {"TableName": self._name, "ConsistentRead": True}
        while True:
            answer = self._execute("Scan", dict(body))
            yield from map(decode_item, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            body["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _asked(self, index: Named | str | None) -> tuple[str, KeyNames, dict[str, Any]]:
        """What a query for an index asks, in words, its keys, and the fields of the request that say so."""
        if index is None:
            return f"the table {self._name}", self._keys, {"ConsistentRead": True}
        name = name_of(index)
        if name not in self._indexes:
            raise DeclarationError(
                f"expected an index of the table {self._name} ({', '.join(self._indexes) or 'it has none'}), got "
                f"{name!r}: declare it, indexes=[GlobalIndex({name!r}, partition_key=…)]"
            )
        return f"the index {name} of {self._name}", self._indexes[name], {"IndexName": name}

    def _query_body(self, partition: Any, sort_key: Any, index: Named | str | None) -> dict[str, Any]:
        what, (partition_name, sort_name), asked = self._asked(index)
        if isinstance(partition, Mapping):
            raise DeclarationError(
                f"expected the value of {partition_name} to query {what} by, got {type(partition).__name__}: leave out "
                "its name, query(value)"
            )
        names = {"#_pk": partition_name}
        values = {":_pk": from_python(partition)}
        condition = "#_pk = :_pk"
        if sort_key is not None:
            if sort_name is None:
                raise DeclarationError(f"{what} has no sort key: query it by its partition key alone")
            names["#_sk"] = sort_name
            if isinstance(sort_key, SortKeyRange):
                condition += " AND #_sk BETWEEN :_low AND :_high"
                values |= {":_low": from_python(sort_key.low), ":_high": from_python(sort_key.high)}
            elif isinstance(sort_key, Mapping):
                if sort_key.keys() != {"prefix"}:
                    raise DeclarationError(
                        f"expected a sort key, prefix(…) or between(…, …) to query {what} by, got {sort_key!r}"
                    )
                condition += " AND begins_with(#_sk, :_low)"
                values[":_low"] = from_python(sort_key["prefix"])
            else:
                condition += " AND #_sk = :_low"
                values[":_low"] = from_python(sort_key)
        return {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
            **asked,
        }

    def _refuse_own(self, placeholders: Iterable[str]) -> None:
        """Raise DeclarationError for placeholders that could be a query's own."""
        own = [each for each in placeholders if each.startswith(("#_", ":_"))]
        if own:
            raise DeclarationError(
                f"a query for items of {self._name} binds {', '.join(own)}, which begins with _ as the query's own "
                "placeholders do: choose a name without"
            )

    def _projection(self, attributes: Sequence[str], names: Mapping[str, str]) -> dict[str, Any]:
        """The fields of a request for these attributes, beside the `names` that it has."""
        if isinstance(attributes, str):
            raise DeclarationError(
                f"expected a list of attributes to query {self._name} for, got the text {attributes!r}: write "
                f"[{attributes!r}]"
            )
        asked = {f"#_{number}": name for number, name in enumerate(dict.fromkeys(attributes))}
        return {"ProjectionExpression": ", ".join(asked), "ExpressionAttributeNames": {**names, **asked}}

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
        self._execute("PutItem", body)

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
        if not isinstance(update, str):
            raise DeclarationError(
                'expected an UpdateExpression as text, such as "SET n = :n", with its values beside it, '
                f"got {type(update).__name__}"
            )
        body = {
            "Key": encode_item(key),
            "UpdateExpression": update,
            "ReturnValues": "ALL_NEW",
            **self._expressions(condition, names, values),
        }
        return decode_item(self._execute("UpdateItem", body)["Attributes"])

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
        self._execute("DeleteItem", body)

    def _expressions(
        self, condition: str | None, names: Mapping[str, str] | None, values: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {"TableName": self._name}
        if condition is not None:
            fields["ConditionExpression"] = condition
        return {**fields, **placeholders(names, values)}
