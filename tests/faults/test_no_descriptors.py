"""No file descriptors left: connections take none of the store's; what is refused says so, what was answered stays."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwrite import accelerators
from bounds import BOUND_S
from engine_process import wait_until

DESCRIPTORS = 64
ITEM_BYTES = 100_000


class Served:
    """A server, and how many descriptors it may have."""

    def __init__(self, process: int, address: tuple[str, int]) -> None:
        self.address = address
        self._process = process
        self.limit(DESCRIPTORS)

    def limit(self, descriptors: int) -> None:
        resource.prlimit(self._process, resource.RLIMIT_NOFILE, (descriptors, DESCRIPTORS))

    def leave_no_descriptor(self) -> None:
        """Let it have none but those that it has."""
        self.limit(max(int(each.name) for each in Path(f"/proc/{self._process}/fd").iterdir()) + 1)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    command = [sys.executable, "-m", "afterwrite", "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        host, _, port = json.loads(process.stdout.readline())["listening"].partition(":")
        try:
            yield Served(process.pid, (host, int(port)))
        finally:
            process.terminate()


class Client:
    """One connection, kept open."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=BOUND_S)

    def __call__(self, operation: str, **body: Any) -> tuple[int, dict[str, Any]]:
        self._connection.request("POST", "/", json.dumps(body), {"X-Amz-Target": f"DynamoDB_20120810.{operation}"})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def put(self, number: int) -> tuple[int, dict[str, Any]]:
        item = {"pk": {"S": str(number)}, "text": {"S": "x" * ITEM_BYTES}}
        return self("PutItem", TableName="things", Item=item)

    def close(self) -> None:
        self._connection.close()


def connections_to(address: tuple[str, int]) -> list[socket.socket]:
    return [socket.create_connection(address, timeout=BOUND_S) for _ in range(2 * DESCRIPTORS)]


def create(client: Client) -> None:
    schema = {"KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST"}
    definitions = [{"AttributeName": "pk", "AttributeType": "S"}]
    assert client("CreateTable", TableName="things", AttributeDefinitions=definitions, **schema)[0] == 200


@pytest.mark.skipif(accelerators.library() is None, reason="the library in C leaves the store some descriptors")
def test_connections_leave_the_store_the_descriptors_that_it_needs(served: Served) -> None:
    client = Client(served.address)
    create(client)
    taking = connections_to(served.address)
    for number in range(100):  # the journal begins another file, and checkpoints are kept
        assert client.put(number)[0] == 200
    for taken in taking:
        taken.close()
    other = Client(served.address)
    assert "Item" in other("GetItem", TableName="things", Key={"pk": {"S": "99"}})[1]
    for each in (client, other):
        each.close()


def test_writes_are_refused_with_a_reason_and_served_again_when_there_are_descriptors(served: Served) -> None:
    client = Client(served.address)
    create(client)
    kept: list[tuple[int, Any]] = []
    refusals: list[tuple[int, Any]] = []
    number = 0

    def is_refused() -> bool:
        nonlocal number
        number += 1
        status, answer = client.put(number)
        (kept if status == 200 else refusals).append((number, answer))
        return status != 200

    served.leave_no_descriptor()
    wait_until(is_refused)
    assert "no file descriptor is left" in refusals[0][1]["message"]
    assert client("GetItem", TableName="things", Key={"pk": {"S": "1"}})[0] == 200, "reading needs none"
    served.limit(DESCRIPTORS)
    wait_until(lambda: not is_refused())
    others = [Client(served.address) for _ in range(5)]
    for each in others:
        assert not is_refused()
        assert each.put(1)[0] == 200
    for written, _ in kept:
        assert "Item" in client("GetItem", TableName="things", Key={"pk": {"S": str(written)}})[1]
    for refused, _ in refusals:
        assert "Item" not in client("GetItem", TableName="things", Key={"pk": {"S": str(refused)}})[1]
    for each in (client, *others):
        each.close()
