"""Tables over DynamoDB's API, for tests."""

from __future__ import annotations

from itertools import count
from typing import Any

_numbers = count()


def create_table(client: Any, *names: str) -> str:
    """A new table with these key attributes, all text; its name."""
    table = f"table-{next(_numbers)}"
    kinds = dict(zip(names, ("HASH", "RANGE"), strict=False))
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in kinds.items()],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in kinds],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    return table
