"""What is no request of DynamoDB gets DynamoDB's error, and changes nothing."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.store import items, plain_batches
from afterwrite.wiring import Engine
from bounds import BOUND_S
from server import aws_clients

CORAL = "com.amazon.coral.service#"
DYNAMODB = "com.amazonaws.dynamodb.v20120810#"
VALIDATION = "com.amazon.coral.validate#ValidationException"
KEY = {"pk": {"S": "p"}}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with one item in one table."""
    app = App("malformed")
    app.table("things", partition_key="pk")
    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        engine.services.table("things").put({"pk": "there", "n": 1})
        yield engine


def post(engine: Engine, target: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as a request; the answer's status and body."""
    headers = {"Content-Type": "application/x-amz-json-1.0"}
    if target is not None:
        headers["X-Amz-Target"] = target
    answer = aws_clients.post(engine, body, headers)
    return answer.status, orjson.loads(answer.body)


def nested(depth: int) -> Any:
    value: Any = {"S": "x"}
    for _ in range(depth):
        value = {"L": [value]}
    return value


def put(item: Any, **more: str) -> bytes:
    return json.dumps({"TableName": "things", "Item": item, **more}).encode()


PUT = "DynamoDB_20120810.PutItem"
CASES: dict[str, tuple[str | None, bytes, str]] = {
    "no-json": (PUT, b"{", CORAL + "SerializationException"),
    "empty": (PUT, b"", CORAL + "SerializationException"),
    "list": (PUT, b"[]", CORAL + "SerializationException"),
    "number": (PUT, b"1", CORAL + "SerializationException"),
    "no-utf-8": (PUT, b'{"TableName": "\xff\xfe"}', CORAL + "SerializationException"),
    "half-a-pair": (
        PUT,
        b'{"TableName": "things", "Item": {"pk": {"S": "\\ud800"}}}',
        CORAL + "SerializationException",
    ),
    "a-thousand-brackets": (PUT, b"[" * 100_000, CORAL + "SerializationException"),
    "table-is-a-number": (PUT, b'{"TableName": 1, "Item": {}}', CORAL + "SerializationException"),
    "item-is-text": (PUT, b'{"TableName": "things", "Item": "x"}', CORAL + "SerializationException"),
    "n-is-a-number": (PUT, put({"pk": {"S": "p"}, "n": {"N": 1}}), CORAL + "SerializationException"),
    "no-table": (PUT, b'{"Item": {}}', VALIDATION),
    "no-item": (PUT, b'{"TableName": "things"}', VALIDATION),
    "no-key": (PUT, put({"a": {"S": "x"}}), VALIDATION),
    "empty-key": (PUT, put({"pk": {"S": ""}}), VALIDATION),
    "39-digits": (PUT, put({**KEY, "n": {"N": "1" * 39}}), VALIDATION),
    "two-types": (PUT, put({**KEY, "n": {"N": "1", "S": "x"}}), VALIDATION),
    "unknown-type": (PUT, put({**KEY, "n": {"X": "1"}}), VALIDATION),
    "nested-40-deep": (PUT, put({**KEY, "deep": nested(40)}), VALIDATION),
    "no-such-table": (
        PUT,
        json.dumps({"TableName": "nowhere", "Item": KEY}).encode(),
        DYNAMODB + "ResourceNotFoundException",
    ),
    "unknown-operation": ("DynamoDB_20120810.DropEverything", b"{}", CORAL + "UnknownOperationException"),
    "unknown-service": ("Unknown.PutItem", b"{}", CORAL + "UnknownOperationException"),
    "no-target": (None, b"{}", CORAL + "UnknownOperationException"),
    "no-expression": (
        "DynamoDB_20120810.UpdateItem",
        json.dumps({"TableName": "things", "Key": KEY, "UpdateExpression": "SET SET"}).encode(),
        VALIDATION,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_request_gets_dynamodbs_error(engine: Engine, case: str) -> None:
    target, body, expected = CASES[case]
    status, answer = post(engine, target, body)
    assert (status, answer["__type"]) == (400, expected)
    assert answer.get("message") or answer.get("Message")


def test_a_body_of_17_mb_is_refused(engine: Engine) -> None:
    body = put({**KEY, "text": {"S": "x" * 17_000_000}})
    status, answer = post(engine, PUT, body)
    assert status == 413
    assert "TooLarge" in answer["__type"]


def test_nothing_of_all_that_was_kept(engine: Engine) -> None:
    for target, body, _ in CASES.values():
        post(engine, target, body)
    data = engine.reader()
    assert list(data.items("things")) == [{"pk": "there", "n": 1}]
    assert len(list(data.changes("things"))) == 1


def test_the_deepest_item_that_may_be_is_kept(engine: Engine) -> None:
    status, _ = post(engine, PUT, put({"pk": {"S": "deep"}, "deep": nested(30)}))
    assert status == 200
    engine.services.table("things").delete({"pk": "deep"})


@pytest.mark.parametrize("more", [{}, {"ReturnValues": "NONE"}], ids=["plain", "parsed"])
def test_a_write_that_fails_inside_the_engine_is_answered_and_the_next_one_served(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    def explode(*_: object, **__: object) -> Any:
        raise ZeroDivisionError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(items, "replace_value", explode)
        patch.setattr(plain_batches, "write", explode)
        status, answer = post(engine, PUT, put(KEY, **more))
    assert (status, answer["__type"]) == (500, DYNAMODB + "InternalServerError")
    assert "a fault of ours" not in json.dumps(answer)
    status, _ = post(engine, PUT, put({"pk": {"S": "there"}, "n": {"N": "1"}}))
    assert status == 200


def test_a_browser_is_told_what_this_is(engine: Engine) -> None:
    for method, path, expected in (("GET", "/", 200), ("GET", "/elsewhere", 404), ("PUT", "/", 404)):
        connection = http.client.HTTPConnection(*engine.address, timeout=BOUND_S)
        connection.request(method, path)
        response = connection.getresponse()
        assert response.status == expected
        assert response.read()
        connection.close()


def test_answers_of_one_connection_come_in_order(engine: Engine) -> None:
    """Reads are answered at once and writes after their commit; a pipelining client still gets them in order."""
    bodies = []
    for number in range(20):
        key = {"pk": {"S": f"pipelined-{number}"}}
        bodies.append((PUT, json.dumps({"TableName": "things", "Item": key, "ReturnValues": "ALL_OLD"})))
        bodies.append(("DynamoDB_20120810.GetItem", json.dumps({"TableName": "things", "Key": {"pk": {"S": "there"}}})))
    with socket.create_connection(engine.address, timeout=BOUND_S) as connection:
        for target, body in bodies:
            head = f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: {target}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall((head + body).encode())
        received = b""
        while received.count(b"HTTP/1.1 200") < len(bodies) or not received.endswith(b"}"):
            received += connection.recv(1 << 16)
    answers = [part.partition(b"\r\n\r\n")[2] for part in received.split(b"HTTP/1.1 200")[1:]]
    assert [answer == b"{}" for answer in answers] == [True, False] * 20
    for number in range(20):
        engine.services.table("things").delete({"pk": f"pipelined-{number}"})


def test_concurrent_writers_on_one_counter_lose_nothing(engine: Engine) -> None:
    def work() -> None:
        body = {
            "TableName": "things",
            "Key": {"pk": {"S": "counter"}},
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        for _ in range(50):
            assert post(engine, "DynamoDB_20120810.UpdateItem", json.dumps(body).encode())[0] == 200

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert engine.services.table("things").get({"pk": "counter"}) == {"pk": "counter", "n": 400}
    engine.services.table("things").delete({"pk": "counter"})
