"""Updates that may be repeated: each sets attributes to values, so a second time changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boto3.dynamodb.types import TypeSerializer

from demonstration.certain_writes import CertainWrites


def set_attributes(writes: CertainWrites, table_name: str, key: Mapping[str, str], fields: Mapping[str, Any]) -> None:
    """Set attributes of the item with this key, which is made where it is missing."""
    encode: Any = TypeSerializer().serialize
    writes.until_answered(
        writes.client.update_item,
        TableName=table_name,
        Key={name: encode(value) for name, value in key.items()},
        UpdateExpression="SET " + ", ".join(f"#{number} = :{number}" for number in range(len(fields))),
        ExpressionAttributeNames={f"#{number}": name for number, name in enumerate(fields)},
        ExpressionAttributeValues={f":{number}": encode(value) for number, value in enumerate(fields.values())},
    )
