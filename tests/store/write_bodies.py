"""Requests that tests write out, and the item that they are about."""

from __future__ import annotations

from typing import Any

import orjson

from embedded import Dynamo
from store.two_ways import TwoWays
from store.write_requests import Request

KEY = {"pk": {"S": "p"}, "sk": {"S": "s"}}
OTHER_KEY = {"pk": {"S": "p"}, "sk": {"S": "other"}}


def n(number: int | str) -> dict[str, str]:
    """A number in the wire form."""
    return {"N": str(number)}


def s(text: str) -> dict[str, str]:
    """A text in the wire form."""
    return {"S": text}


def request(operation: str, **body: Any) -> Request:
    """A request with this body."""
    return Request(operation, orjson.dumps(body), is_usual=True)


def put(item: Any, table: str = "both", **others: Any) -> Request:
    """A PutItem."""
    return request("PutItem", TableName=table, Item=item, **others)


def update(expression: str, values: Any = None, key: Any = KEY, **others: Any) -> Request:
    """An UpdateItem, of the item `KEY` where none is given."""
    return request("UpdateItem", **updating(expression, values, key, **others))


def transaction(*members: Any, **others: Any) -> Request:
    """A TransactWriteItems of these members."""
    return request("TransactWriteItems", TransactItems=members, **others)


def updating(expression: str, values: Any = None, key: Any = KEY, **others: Any) -> dict[str, Any]:
    """The body of an UpdateItem, or of a transaction's member."""
    return {"TableName": "both", "Key": key, "UpdateExpression": expression, **valued(values), **others}


def valued(values: Any) -> dict[str, Any]:
    """The field of an expression's values, where there are any."""
    return {"ExpressionAttributeValues": values} if values else {}


def item_of(ways: TwoWays, key: Any = KEY, table: str = "both") -> Any:
    """The item as the first store has it, without its key; None where there is none."""
    for item in Dynamo(ways.quick.environment).items(table):
        if key.items() <= item.items():
            return {name: value for name, value in item.items() if name not in key}
    return None


def start_with(ways: TwoWays, old: Any) -> None:
    """Let the item be `old`, and nothing else; with None there is none."""
    others = [request("DeleteItem", TableName=table, Key=KEY) for table in ("both", "new")]
    ways.commit([*others, request("DeleteItem", TableName="new", Key=OTHER_KEY)])
    if old is not None:
        ways.commit([put({**KEY, **old})])
    ways.advance(1)


def check(condition: str, key: Any = KEY, table: str = "both", **values: Any) -> dict[str, Any]:
    """A transaction's member that is a condition on an item."""
    fields = {"TableName": table, "Key": key, "ConditionExpression": condition, **valued(values.get("values"))}
    return {"ConditionCheck": fields}
