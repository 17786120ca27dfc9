"""Plain PutItems that come together are one write, and each is answered as if it had come alone."""

from __future__ import annotations

import ctypes
import struct
import threading
import zlib
from collections.abc import Callable, Collection
from copy import copy
from functools import partial
from typing import Any

import orjson
import pytest

from afterwrite.accelerators import library
from afterwrite.config import Identity
from afterwrite.server.aws_json import AwsJson
from afterwrite.server.dynamodb import DynamoDBService
from afterwrite.server.http import Respond, Response
from afterwrite.store.environment import Environment
from afterwrite.store.operations import Operations
from bounds import BOUND_S
from embedded import Dynamo
from server.http_serving import Client, Serving, post, serving

pytestmark = pytest.mark.skipif(
    library() is None, reason="the library in C was not made: there was no C compiler when afterwrite was installed"
)

# `struct request` of front.h.
REQUEST = struct.Struct("@IIIIIIQ")
HANDED_OVER = 2
TARGET = b"DynamoDB_20120810.PutItem"
CLIENTS = 12
PUTS = 60


def at_once(action: Callable[[], None]) -> None:
    action()


def handler_of(environment: Environment, run_soon: Callable[[Callable[[], None]], None] = at_once) -> AwsJson:
    return AwsJson(environment, [DynamoDBService(Operations(Identity()))], run_soon)


def body_of(item: Any, **others: Any) -> bytes:
    return orjson.dumps({"TableName": "things", "Item": item, **others})


def key(partition: str, sort: str) -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"S": sort}}


class Taken:
    """Requests as the front gives them, and the answers to those that were taken."""

    def __init__(self, *requests: tuple[bytes, bytes, int]) -> None:
        packed = b"".join(self._packed(slot, *request) for slot, request in enumerate(requests))
        self._room = ctypes.create_string_buffer(packed, len(packed))
        self.size = len(packed)
        self.asked: list[int] = []
        self.asked_count = 0
        self.answers: dict[int, Response] = {}
        self.answered = threading.Event()

    @staticmethod
    def _packed(slot: int, target: bytes, body: bytes, flags: int) -> bytes:
        head = b"POST / HTTP/1.1\r\nX-Amz-Target: " + target + b"\r\n\r\n"
        packed = REQUEST.pack(slot, 7, flags, 31, len(target), len(head), len(body)) + head + body
        return packed + bytes(-len(packed) % 8)

    @property
    def address(self) -> int:
        return ctypes.addressof(self._room)

    def left(self, size: int) -> list[int]:
        """The slots of the requests in what is left."""
        slots, at = [], 0
        while at < size:
            slot, _, _, _, _, head_bytes, body_bytes = REQUEST.unpack_from(self._room, at)
            slots.append(slot)
            at += REQUEST.size + -(-(head_bytes + body_bytes) // 8) * 8
        return slots

    def alike(self, asked: bytes) -> Taken:
        self.asked = [slot for slot, _, _ in struct.iter_unpack("@III", asked)]
        self.asked_count = len(self.asked)
        return self

    def respond(self, response: Response) -> None:
        for slot in self.asked:
            self._keep(slot, response)

    def split(self, numbers: Collection[int]) -> tuple[Taken, list[Respond]]:
        others: list[Respond] = [partial(self._keep, self.asked[number]) for number in numbers]
        alike = copy(self)
        alike.asked = [slot for number, slot in enumerate(self.asked) if number not in numbers]
        return alike, others

    def _keep(self, slot: int, response: Response) -> None:
        assert slot not in self.answers
        self.answers[slot] = response
        if len(self.answers) == self.asked_count:
            self.answered.set()


def test_plain_puts_are_taken_and_others_are_left(environment: Environment, dynamo: Dynamo) -> None:
    dynamo.create()
    taken = Taken(
        (TARGET, body_of(key("a", "1"), ConditionExpression="attribute_exists(pk)"), 0),
        (TARGET, body_of(key("a", "2")), 0),
        (b"DynamoDB_20120810.GetItem", body_of(key("a", "3")), 0),
        (TARGET, body_of(key("a", "4")), 1),
        (TARGET, body_of(key("a", "5")), HANDED_OVER),
        (TARGET, body_of(key("a", "6"), ReturnValues="NONE"), 0),
        (TARGET, body_of({"pk": {"S": "a"}}), 0),
    )
    left = handler_of(environment).take_together(taken.address, taken.size, taken.alike)  # type: ignore[arg-type]
    assert taken.left(left) == [0, 2, 4, 5, 6]
    assert taken.answered.wait(BOUND_S)
    assert taken.answers == {slot: Response(200, b"{}") for slot in (1, 3)}
    assert dynamo.items() == [key("a", "2"), key("a", "4")]


def test_of_puts_that_come_together_a_damaged_item_fails_alone(environment: Environment, dynamo: Dynamo) -> None:
    dynamo.create()
    for sort in "12":
        dynamo("PutItem", TableName="things", Item={**key("a", sort), "n": {"N": "1"}})
    handle = environment.databases["items"].handle
    with environment.lmdb.begin(write=True) as transaction, transaction.cursor(handle) as cursor:
        cursor.first()
        transaction.put(cursor.key(), cursor.value()[:-1] + bytes([cursor.value()[-1] ^ 1]), db=handle)
    taken = Taken(*((TARGET, body_of(key("a", sort)), 0) for sort in "123"))
    assert handler_of(environment).take_together(taken.address, taken.size, taken.alike) == 0  # type: ignore[arg-type]
    assert taken.answered.wait(BOUND_S)
    assert [taken.answers[slot].status for slot in range(3)] == [500, 200, 200]
    assert [change.event_name for change in dynamo.changes()] == ["INSERT", "INSERT", "MODIFY", "INSERT"]


def test_a_store_that_is_closed_says_so(environment: Environment, dynamo: Dynamo) -> None:
    dynamo.create()
    handler = handler_of(environment)
    environment.close()
    taken = Taken((TARGET, body_of(key("a", "1")), 0))
    assert handler.take_together(taken.address, taken.size, taken.alike) == 0  # type: ignore[arg-type]
    assert taken.answers[0].status == 500


def test_each_client_has_its_answers(environment: Environment, dynamo: Dynamo) -> None:
    """Puts that are plain, conditional and wrong, of many clients at once."""
    dynamo.create()
    servers: list[Serving] = []

    def run_soon(action: Callable[[], None]) -> None:
        servers[0].loop.call_soon_threadsafe(action)

    handler = handler_of(environment, run_soon)
    failures: list[Any] = []
    ids: set[str] = set()

    def talk(address: tuple[str, int], number: int) -> None:
        client = Client(address)
        for turn in range(PUTS):
            item = key(f"c{number}", f"{turn:03}")
            body, expected = [
                (body_of(item), (200, b"{}")),
                (body_of(item, ConditionExpression="attribute_not_exists(pk)"), (200, b"{}")),
                (body_of({"pk": item["pk"]}), (400, None)),
            ][0 if turn % 10 else turn % 3]
            client.send(post(body, f"X-Amz-Target: {TARGET.decode()}", *["Connection: keep-alive"][: turn % 2]))
            answer = client.answer()
            ids.add(answer.headers["x-amzn-requestid"])
            found = (answer.status, answer.body if expected[1] is not None else None)
            is_checked = int(answer.headers["x-amz-crc32"]) == zlib.crc32(answer.body)
            if found != expected or not is_checked or ("connection" in answer.headers) != bool(turn % 2):
                failures.append((number, turn, answer))
        client.socket.close()

    with serving(handler.handle, take_together=handler.take_together) as running:
        servers.append(running)
        threads = [threading.Thread(target=talk, args=(running.address, number)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failures == []
    assert len(ids) == CLIENTS * PUTS
    wrong = sum(turn % 10 == 0 and turn % 3 == 2 for turn in range(PUTS))
    assert len(dynamo.items()) == len(dynamo.changes()) == CLIENTS * (PUTS - wrong)
