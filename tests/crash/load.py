"""Concurrent writers over the wire that know what was acknowledged, and what a store must therefore hold."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from afterwrite import Change, open_data
from tables_engine import KEYS

TABLE = "things"
SINGLES = 4
PAIRS = 3
CREATE: dict[str, Any] = {
    "TableName": TABLE,
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    **KEYS,
    "AttributeDefinitions": [*KEYS["AttributeDefinitions"], {"AttributeName": "version", "AttributeType": "N"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "versions",
            "KeySchema": [
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "version", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}
TIME_TO_LIVE = {"TableName": TABLE, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}

Key = tuple[str, str]


class Writer:
    """One connection that writes one version after the other; it ends when the engine does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.acknowledged = 0  # the last version that was
        self.unanswered: set[int] = set()

    def run(self, address: str) -> None:
        """Write until the connection breaks."""
        connection = http.client.HTTPConnection(address, timeout=20)
        try:
            while True:
                self.sent += 1
                self.unanswered.add(self.sent)
                operation, body = self.request(self.sent)
                headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
                connection.request("POST", "/", json.dumps(body), headers)
                response = connection.getresponse()
                content = response.read()
                if response.status != http.client.OK:
                    raise AssertionError(f"{self.name}: {response.status} {content!r}")
                self.acknowledged = self.sent
                self.unanswered.remove(self.sent)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        """The operation and body that write `version`."""
        raise NotImplementedError

    def check(self, items: Mapping[Key, Mapping[str, Any]], expired: set[Key]) -> None:
        """Fail where the store does not hold what was acknowledged. What was sent last may be there or not."""
        raise NotImplementedError

    def _put(self, sort_key: str, version: int, **attributes: Any) -> dict[str, Any]:
        item = {"pk": {"S": self.name}, "sk": {"S": sort_key}, "version": {"N": str(version)}, **attributes}
        return {"TableName": TABLE, "Item": item}

    def _bounds(self, version: int) -> bool:
        return self.acknowledged <= version <= self.sent


class Single(Writer):
    """One item, put again and again, with a text that grows and shrinks."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        return "PutItem", self._put("item", version, text={"S": "x" * (version * 37 % 3000)})

    def check(self, items: Mapping[Key, Mapping[str, Any]], expired: set[Key]) -> None:
        found = items.get((self.name, "item"))
        version = 0 if found is None else int(found["version"])
        assert self._bounds(version), (
            f"{self.name}: {self.acknowledged} acknowledged, {self.sent} sent, {version} there"
        )
        assert found is None or len(found["text"]) == version * 37 % 3000


class Pair(Writer):
    """Three items in one transaction: two of them always of one version, the third counting them."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        update = {
            "TableName": TABLE,
            "Key": {"pk": {"S": f"{self.name}-count"}, "sk": {"S": "count"}},
            "UpdateExpression": "ADD done :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
        puts = [{"Put": self._put(side, version)} for side in ("left", "right")]
        return "TransactWriteItems", {"TransactItems": [*puts, {"Update": update}]}

    def check(self, items: Mapping[Key, Mapping[str, Any]], expired: set[Key]) -> None:
        left, right = (int(items.get((self.name, side), {"version": 0})["version"]) for side in ("left", "right"))
        done = int(items.get((f"{self.name}-count", "count"), {"done": 0})["done"])
        assert left == right, f"{self.name}: half a transaction, {left} and {right}"
        assert self._bounds(left), f"{self.name}: {self.acknowledged} acknowledged, {self.sent} sent, {left} there"
        # A version that was sent and not acknowledged may be missing; none is there twice.
        assert done <= left


class Expiring(Writer):
    """A new item each time, whose time to live has already ended."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        return "PutItem", self._put(f"{version:08d}", version, ttl={"N": str(int(time.time()) - 10)})

    def check(self, items: Mapping[Key, Mapping[str, Any]], expired: set[Key]) -> None:
        for version in range(1, self.sent + 1):
            key = (self.name, f"{version:08d}")
            assert not (key in items and key in expired), f"{key}: there and expired"
            assert key in items or key in expired or version in self.unanswered, f"{key}: neither there nor expired"


class Load:
    """All writers together, and the change log as it was replayed so far."""

    def __init__(self) -> None:
        self.writers: list[Writer] = [
            *(Single(f"single{number}") for number in range(SINGLES)),
            *(Pair(f"pair{number}") for number in range(PAIRS)),
            Expiring("expiring"),
        ]
        self._position = 0
        self._replayed: dict[Key, dict[str, Any]] = {}
        self._expired: set[Key] = set()
        self.changes = 0

    def start(self, address: str) -> list[threading.Thread]:
        """Let every writer go on."""
        threads = [threading.Thread(target=writer.run, args=(address,)) for writer in self.writers]
        for thread in threads:
            thread.start()
        return threads

    @property
    def acknowledged(self) -> int:
        """Writes that were answered."""
        return sum(writer.sent - len(writer.unanswered) for writer in self.writers)

    def check(self, data: Path) -> None:
        """Fail where the data directory does not hold exactly what it has to."""
        with open_data(data) as reader:
            items = {_key(item): item for item in reader.items(TABLE)}
            for position, change in reader.positioned_changes(TABLE, self._position):
                assert position > self._position
                self._position = position
                self._replay(change)
        assert self._replayed == items, "the change log replayed from empty is not the table"
        for writer in self.writers:
            writer.check(items, self._expired)

    def check_index(self, scan: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Fail where the index does not hold exactly the items that have its key; what may expire does not count."""

        def found(**body: str) -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = []
            start: dict[str, Any] = {}
            while True:
                page = scan({"TableName": TABLE, **body, **start})
                items += [item for item in page["Items"] if "version" in item and "ttl" not in item]
                if "LastEvaluatedKey" not in page:
                    return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
                start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

        assert found(IndexName="versions") == found(), "the index disagrees with its table"

    def _replay(self, change: Change) -> None:
        self.changes += 1
        key = _key(change.keys)
        assert change.old == self._replayed.get(key), f"{key}: the old image is not what the log had before"
        if change.new is not None:
            self._replayed[key] = dict(change.new)
            return
        del self._replayed[key]
        assert change.user_identity is not None, "nobody but the time to live deletes"
        self._expired.add(key)


def _key(item: Mapping[str, Any]) -> Key:
    return item["pk"], item["sk"]


def kill_moments(seconds_max: float, count: int, random_unit: Iterator[float]) -> Iterator[float]:
    """After how many seconds of load each kill comes: soon, mostly."""
    for _ in range(count):
        yield 0.02 + (seconds_max - 0.02) * next(random_unit) ** 2
