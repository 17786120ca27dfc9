"""DynamoDB requests as bytes, and a plain blocking connection for those that are not part of a measurement."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httptools

DYNAMODB = "DynamoDB_20120810"
STREAMS = "DynamoDBStreams_20120810"

Credentials = {
    "aws_access_key_id": "local",
    "aws_secret_access_key": "local",
    "region_name": "us-east-1",
}
_AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" + "0" * 64
)


@dataclass(frozen=True)
class System:
    """One engine that listens on this machine."""

    name: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """The endpoint for an SDK."""
        return f"http://{self.host}:{self.port}"


def request_head(system: System, operation: str, body_bytes: int, api: str = DYNAMODB) -> bytes:
    """What precedes a body of that length: the headers an SDK sends."""
    return (
        "POST / HTTP/1.1\r\n"
        f"Host: {system.host}:{system.port}\r\n"
        f"X-Amz-Target: {api}.{operation}\r\n"
        "Content-Type: application/x-amz-json-1.0\r\n"
        "X-Amz-Date: 20260101T000000Z\r\n"
        f"Authorization: {_AUTHORIZATION}\r\n"
        f"Content-Length: {body_bytes}\r\n\r\n"
    ).encode()


def request_bytes(system: System, operation: str, body: bytes, api: str = DYNAMODB) -> bytes:
    """A whole request."""
    return request_head(system, operation, len(body), api) + body


class Connection:
    """One connection, one request at a time."""

    def __init__(self, system: System, timeout_s: float = 60.0) -> None:
        self._system = system
        self._socket = socket.create_connection((system.host, system.port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser: Any = httptools.HttpResponseParser(self)
        self._complete = False
        self._body = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and wait for its answer's status and body. Raises OSError."""
        self._complete = False
        self._body = b""
        self._socket.sendall(request)
        while not self._complete:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError(f"{self._system.name} closed the connection")
            self._parser.feed_data(data)
        return self._parser.get_status_code(), self._body

    def call(self, operation: str, body: Mapping[str, Any], api: str = DYNAMODB) -> dict[str, Any]:
        """One operation. Raises RuntimeError unless the answer is 200."""
        status, answer = self.send(request_bytes(self._system, operation, json.dumps(body).encode(), api))
        if status != 200:
            raise RuntimeError(f"{self._system.name} answered {operation} with {status}: {answer!r}")
        parsed: dict[str, Any] = json.loads(answer)
        return parsed

    def count(self, table: str, partition: str) -> int:
        """How many items a partition holds."""
        query: dict[str, Any] = {
            "TableName": table,
            "KeyConditionExpression": "PK = :partition",
            "ExpressionAttributeValues": {":partition": {"S": partition}},
            "Select": "COUNT",
            "ConsistentRead": True,
        }
        found = 0
        while True:
            page = self.call("Query", query)
            found += int(page["Count"])
            if "LastEvaluatedKey" not in page:
                return found
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        self._complete = True


def create_table(system: System, name: str, *, stream: bool = False) -> str | None:
    """Create a table with keys PK and SK; returns its stream's ARN, if it has one."""
    request: dict[str, Any] = {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"} for key in ("PK", "SK")],
        "KeySchema": [
            {"AttributeName": "PK", "KeyType": "HASH"},
            {"AttributeName": "SK", "KeyType": "RANGE"},
        ],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if stream:
        request["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    with Connection(system) as connection:
        description = connection.call("CreateTable", request)["TableDescription"]
    arn: str | None = description.get("LatestStreamArn")
    return arn
