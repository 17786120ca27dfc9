"""The two systems that are compared: ours in this process, with all of the wire but the sockets; theirs by HTTP."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from bench.wire import Connection, System, request_head

from afterwrite.config import Identity
from afterwrite.server.aws_json import AwsJson, Service
from afterwrite.server.dynamodb import DynamoDBService
from afterwrite.server.dynamodb_streams import DynamoDBStreamsService
from afterwrite.server.http_messages import Request, Response
from afterwrite.store.operations import Operations
from embedded import open_store

_DYNAMODB = "DynamoDB_20120810"
_STREAMS = "DynamoDBStreams_20120810"
_STREAM_OPERATIONS = ("DescribeStream", "GetShardIterator", "GetRecords")
_ANSWER_S_MAX = 30.0
_IDLE_S_MAX = 5.0

Answer = dict[str, Any]


class Side(Protocol):
    """A DynamoDB: an operation and its body go in, an answer comes out.

    The answer is the response's body; of an error it is `{"error": code, "message": text}` with what else there is.
    """

    def __call__(self, operation: str, body: Mapping[str, Any]) -> Answer:
        """Carry out one operation."""


def _target(operation: str) -> str:
    return f"{_STREAMS if operation in _STREAM_OPERATIONS else _DYNAMODB}.{operation}"


def _answer(status: int, body: bytes) -> Answer:
    parsed: Answer = json.loads(body)
    if status == 200:
        return parsed
    code = str(parsed.pop("__type")).rpartition("#")[2]
    # Both spellings are used by AWS, by operation and error; clients read either.
    message = parsed.pop("message", None) or parsed.pop("Message", None)
    return {"error": code, "message": message, **parsed}


class Ours:
    """Our engine, its requests and answers as bytes."""

    def __init__(self, handler: AwsJson, answered: queue.SimpleQueue[Response]) -> None:
        self._handler = handler
        self._answered = answered

    def __call__(self, operation: str, body: Mapping[str, Any]) -> Answer:
        """Carry out one operation."""
        sent = json.dumps(body).encode()
        headers = {b"x-amz-target": _target(operation).encode()}
        self._handler.handle(Request(b"POST", b"/", headers, sent, sent), self._answered.put)
        response = self._answered.get(timeout=_ANSWER_S_MAX)
        return _answer(response.status, response.body)


@contextmanager
def ours(directory: Path) -> Iterator[Ours]:
    """Our engine on a fresh store in `directory`."""
    # A test of answers need not wait for the disk.
    environment = open_store(directory, lambda: time.time_ns() // 1000, sync_interval_s=1.0)
    identity = Identity()
    services: list[Service] = [
        DynamoDBService(Operations(identity)),
        DynamoDBStreamsService(identity, lambda: time.time_ns() // 1_000_000),
    ]

    def at_once(answer_all: Callable[[], None]) -> None:
        answer_all()

    try:
        yield Ours(AwsJson(environment, services, at_once), queue.SimpleQueue())
    finally:
        environment.close()


class Theirs:
    """DynamoDB Local."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._connection = Connection(system)
        self._used_at_s = time.monotonic()

    def __call__(self, operation: str, body: Mapping[str, Any]) -> Answer:
        """Carry out one operation."""
        sent = json.dumps(body).encode()
        head = request_head(self._system, operation, len(sent))
        if operation in _STREAM_OPERATIONS:
            head = head.replace(_DYNAMODB.encode(), _STREAMS.encode())
        if time.monotonic() - self._used_at_s > _IDLE_S_MAX:
            # It closes connections that rest; a request that meets that could not be sent again.
            self.close()
            self._connection = Connection(self._system)
        answered = self._connection.send(head + sent)
        self._used_at_s = time.monotonic()
        answer: Answer = _with_plain_numbers(_answer(*answered))
        return answer

    def close(self) -> None:
        """End the connection."""
        self._connection.__exit__()


def _with_plain_numbers(value: Any) -> Any:
    """An answer with its numbers as DynamoDB writes them; DynamoDB Local returns some as they came."""
    if isinstance(value, list):
        return [_with_plain_numbers(member) for member in value]
    if not isinstance(value, dict):
        return value
    plain: dict[str, Any] = {}
    for name, member in value.items():
        if name == "N" and isinstance(member, str):
            plain[name] = _plain(member)
        elif name == "NS" and isinstance(member, list):
            plain[name] = sorted(_plain(each) for each in member)
        else:
            plain[name] = _with_plain_numbers(member)
    return plain


def _plain(number: str) -> str:
    exact = f"{Decimal(number):f}"
    trimmed = exact.rstrip("0").rstrip(".") if "." in exact else exact
    return "0" if trimmed == "-0" else trimmed


@contextmanager
def theirs(system: System) -> Iterator[Theirs]:
    """A connection to a running DynamoDB Local."""
    with closing(Theirs(system)) as connected:
        yield connected
