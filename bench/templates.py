"""Requests with places for numbers, so that each is a new one and yet costs a load generator next to nothing.

A template is a whole request with one byte for each number: NEW_PARTITION and NEW_NUMBER make the key of an item that
is not stored yet, STORED_PARTITION and STORED_NUMBER that of one of the STORED items, which are taken in an order that
has no two of a thousand requests in a row meet. Partitions have four digits and numbers twelve, so that the length
stands. Numbers count up with each key.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.chat import texts
from bench.wire import DYNAMODB, System, request_bytes

TABLE = "bench"
PARTITIONS = 200
TEXTS = 1000
STORED = 10_000
STRIDE = 7919  # has no divisor in common with STORED

NEW_PARTITION, NEW_NUMBER, STORED_PARTITION, STORED_NUMBER, NEXT_PARTITION = "\x01", "\x02", "\x03", "\x04", "\x05"
STORED_RUN = "stored"
_WIDTHS = {NEW_PARTITION: 4, NEW_NUMBER: 12, STORED_PARTITION: 4, STORED_NUMBER: 12, NEXT_PARTITION: 4}
_SLOT = re.compile(b"([\x01-\x05])")
_REPEATED = re.compile(rb"([\x01-\x05])\1+")
_BATCH = 25

Body = Mapping[str, Any]


def partition(run: str, number: int | str) -> str:
    """A partition key of a run, by its number or by the byte that stands for it."""
    return f"SESSION#{run}-{number:04d}" if isinstance(number, int) else f"SESSION#{run}-{number}"


def template(system: System, operation: str, body: Body, api: str = DYNAMODB) -> bytes:
    """A body as a whole request."""
    written = json.dumps(body).encode()
    for slot, width in _WIDTHS.items():
        # JSON escapes these bytes; while the length is taken each stands as often as the number has digits.
        written = written.replace(b"\\u%04x" % ord(slot), slot.encode() * width)
    return _REPEATED.sub(rb"\1", request_bytes(system, operation, written, api))


def filled(templates: Sequence[bytes]) -> Iterator[bytes]:
    """Endless requests from templates in turn, with their numbers."""
    number = 0
    for pieces in itertools.cycle([_SLOT.split(each) for each in templates]):
        request = list(pieces)
        for index in range(1, len(request), 2):
            slot = pieces[index].decode()
            which = number if slot in (NEW_PARTITION, NEW_NUMBER) else number * STRIDE % STORED
            request[index] = b"%012d" % which if _WIDTHS[slot] == 12 else b"%04d" % (which % PARTITIONS)
            if slot in (NEW_NUMBER, STORED_NUMBER, NEXT_PARTITION):
                number += 1
        yield b"".join(request)


def put_item(run: str) -> list[Body]:
    """A new item of about 600 bytes."""
    return [{"TableName": TABLE, "Item": item} for item in new_items(run)]


def get_item(_run: str) -> list[Body]:
    """A stored item."""
    return [{"TableName": TABLE, "Key": _stored_key(), "ConsistentRead": True}]


def update_item(_run: str) -> list[Body]:
    """Count in a stored item, if it is there."""
    return [{"TableName": TABLE, "Key": _stored_key(), **_COUNT}]


def query(_run: str) -> list[Body]:
    """A partition of the stored items: 50 of them, some 30 KB."""
    return [
        {
            "TableName": TABLE,
            "KeyConditionExpression": "PK = :partition",
            "ExpressionAttributeValues": {":partition": {"S": partition(STORED_RUN, NEXT_PARTITION)}},
        }
    ]


def batch_write_item(run: str, table: str = TABLE, text_length: int | None = None) -> list[Body]:
    """25 new items, with all of their text or its beginning."""
    puts = [{"PutRequest": {"Item": item}} for item in new_items(run, text_length)]
    return [{"RequestItems": {table: puts[first : first + _BATCH]}} for first in range(0, len(puts), _BATCH)]


def transact_write_items(run: str) -> list[Body]:
    """Two new items, a count in a stored one, a condition on another."""
    items = new_items(run)
    check = {"TableName": TABLE, "Key": _stored_key(), "ConditionExpression": "attribute_exists(PK)"}
    return [
        {
            "TransactItems": [
                {"Put": {"TableName": TABLE, "Item": first}},
                {"Put": {"TableName": TABLE, "Item": second}},
                {"Update": {"TableName": TABLE, "Key": _stored_key(), **_COUNT}},
                {"ConditionCheck": check},
            ]
        }
        for first, second in zip(items[::2], items[1::2], strict=True)
    ]


_COUNT: Body = {
    "UpdateExpression": "SET #reads = if_not_exists(#reads, :none) + :one",
    "ConditionExpression": "attribute_exists(PK) AND #role = :role",
    "ExpressionAttributeNames": {"#reads": "reads", "#role": "role"},
    "ExpressionAttributeValues": {":none": {"N": "0"}, ":one": {"N": "1"}, ":role": {"S": "customer"}},
}


def new_items(run: str, text_length: int | None = None) -> list[dict[str, Any]]:
    return [
        {
            "PK": {"S": partition(run, NEW_PARTITION)},
            "SK": {"S": f"TURN#{NEW_NUMBER}"},
            "role": {"S": "customer"},
            "created_at_ms": {"N": "1767225600000"},
            "content": {"S": text[:text_length]},
        }
        for text in texts(TEXTS)
    ]


def _stored_key() -> dict[str, Any]:
    return {"PK": {"S": partition(STORED_RUN, STORED_PARTITION)}, "SK": {"S": f"TURN#{STORED_NUMBER}"}}
