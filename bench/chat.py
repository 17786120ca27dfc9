"""Real chat text as PutItem requests of about 600 bytes, each with a key of its own."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator

from bench.wire import System, request_head

from manga_assist import conversations

PARTITIONS = 200
ITEM_BYTES = 600
_NUMBER = "000000000000"
_PARTITION = "@partition@"


def partition(run: str, number: int) -> str:
    """One of the partition keys of a run."""
    return f"SESSION#{run}-{number:04d}"


def put_requests(system: System, table: str, run: str) -> Iterator[bytes]:
    """Endless requests; the n-th goes to partition n modulo PARTITIONS, with n as its sort key."""
    templates = [_template(system, table, partition(run, 0), text) for text in texts(1000)]
    heads = [partition(run, number).encode() for number in range(PARTITIONS)]
    for number in itertools.count():
        before, between, after = templates[number % len(templates)]
        yield b"%b%b%b%012d%b" % (before, heads[number % PARTITIONS], between, number, after)


def _template(system: System, table: str, a_partition: str, text: str) -> tuple[bytes, bytes, bytes]:
    """What stands before the partition key, between it and the sort key's number, and after that."""
    item = {
        "PK": {"S": _PARTITION},
        "SK": {"S": f"TURN#{_NUMBER}"},
        "role": {"S": "customer"},
        "created_at_ms": {"N": "1767225600000"},
        "content": {"S": text},
    }
    body = json.dumps({"TableName": table, "Item": item})
    before, rest = body.split(_PARTITION)
    between, after = rest.split(_NUMBER, 1)
    length = len(body.encode()) - len(_PARTITION) + len(a_partition)
    return request_head(system, "PutItem", length) + before.encode(), between.encode(), after.encode()


@functools.cache
def texts(count: int) -> list[str]:
    """Passages of conversations that make items of about ITEM_BYTES bytes."""
    said = (turn.text for chat in conversations.load(10, 500) for turn in chat.turns)
    passages: list[str] = []
    passage = ""
    for text in said:
        passage = f"{passage}\n{text}" if passage else text
        if len(passage.encode()) >= ITEM_BYTES - 100:
            passages.append(passage.encode()[: ITEM_BYTES - 100].decode(errors="ignore"))
            passage = ""
        if len(passages) == count:
            break
    return passages
