"""Concurrent writers over the wire that know what was acknowledged, and what a store must therefore hold."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from afterwrite import Change, open_data
from bounds import BOUND_S
from crash.indexes import INDEXES, LATE, TABLE, index_definitions
from tables_engine import KEYS

CREATE: dict[str, Any] = {
    "TableName": TABLE,
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    **KEYS,
    "AttributeDefinitions": [
        *KEYS["AttributeDefinitions"],
        {"AttributeName": "version", "AttributeType": "N"},
        {"AttributeName": "rank", "AttributeType": "N"},
        {"AttributeName": "bucket", "AttributeType": "S"},
        {"AttributeName": "flag", "AttributeType": "S"},
    ],
    **index_definitions(INDEXES),
}
TIME_TO_LIVE = {"TableName": TABLE, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}

Key = tuple[str, str]
Items = Mapping[Key, Mapping[str, Any]]


def indexed(version: int) -> dict[str, Any]:
    """Attributes that move an item in one index with every version, and in and out of the others with some."""
    attributes: dict[str, Any] = {"version": {"N": str(version)}, "bucket": {"S": f"bucket{version % 7}"}}
    if version % 3 == 0:
        attributes["flag"] = {"S": f"flag{version % 2}"}
    if version % 4:
        attributes["rank"] = {"N": str(version * 7 % 11)}
    return attributes


class Writer:
    """One connection that writes one version after the other; it ends when the engine does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.acknowledged = 0  # the last version that was
        self.unanswered: set[int] = set()

    def run(self, address: str) -> None:
        """Write until the connection breaks."""
        connection = http.client.HTTPConnection(address, timeout=BOUND_S)
        try:
            while True:
                self.sent += 1
                self.unanswered.add(self.sent)
                operation, body = self.request(self.sent)
                headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
                connection.request("POST", "/", json.dumps(body), headers)
                response = connection.getresponse()
                content = response.read()
                if response.status != http.client.OK and not self.is_settled(content):
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

    def is_settled(self, refusal: bytes) -> bool:
        """Whether a refusal says no more than that an earlier request, which got no answer, was done or not."""
        return False

    def check(self, items: Items, expired: set[Key]) -> None:
        """Fail where the store does not hold what was acknowledged. What was sent last may be there or not."""
        raise NotImplementedError

    def _item(self, sort_key: str, version: int, **attributes: Any) -> dict[str, Any]:
        return {"pk": {"S": self.name}, "sk": {"S": sort_key}, **indexed(version), **attributes}

    def _put(self, sort_key: str, version: int, **attributes: Any) -> dict[str, Any]:
        return {"TableName": TABLE, "Item": self._item(sort_key, version, **attributes)}

    def _check_bounds(self, version: int) -> None:
        assert self.acknowledged <= version <= self.sent, (
            f"{self.name}: {self.acknowledged} acknowledged, {self.sent} sent, {version} there"
        )

    def _version(self, items: Items, sort_key: str) -> int:
        """The version of one of the writer's items; 0 where it is not there."""
        return int(items.get((self.name, sort_key), {"version": 0})["version"])


class Single(Writer):
    """One item, put again and again, with a text that grows and shrinks."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        return "PutItem", self._put("item", version, text={"S": "x" * (version * 37 % 3000)})

    def check(self, items: Items, expired: set[Key]) -> None:
        version = self._version(items, "item")
        self._check_bounds(version)
        assert not version or len(items[self.name, "item"]["text"]) == version * 37 % 3000


class Updated(Writer):
    """One item whose attributes are set and removed; it is made by its first update."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        attributes = indexed(version)
        removed = [f"#{name}" for name in ("flag", "rank") if name not in attributes]
        sets = ", ".join(f"#{name} = :{name}" for name in attributes)
        return "UpdateItem", {
            "TableName": TABLE,
            "Key": {"pk": {"S": self.name}, "sk": {"S": "item"}},
            "UpdateExpression": f"SET {sets}" + (f" REMOVE {', '.join(removed)}" if removed else ""),
            "ConditionExpression": "attribute_not_exists(pk) OR version < :version",
            "ExpressionAttributeNames": {f"#{name}": name for name in attributes}
            | {each: each[1:] for each in removed},
            "ExpressionAttributeValues": {f":{name}": value for name, value in attributes.items()},
        }

    def check(self, items: Items, expired: set[Key]) -> None:
        version = self._version(items, "item")
        self._check_bounds(version)
        if version:
            assert items[self.name, "item"].keys() == {"pk", "sk", *indexed(version)}


class Coming(Writer):
    """One item that is put by odd versions and deleted by even ones."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        if version % 2:
            return "PutItem", self._put("item", version)
        return "DeleteItem", {"TableName": TABLE, "Key": {"pk": {"S": self.name}, "sk": {"S": "item"}}}

    def check(self, items: Items, expired: set[Key]) -> None:
        if (self.name, "item") in items:
            self._check_bounds(self._version(items, "item"))
        else:
            assert any(version % 2 == 0 for version in range(self.acknowledged, self.sent + 1)), f"{self.name}: gone"


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

    def check(self, items: Items, expired: set[Key]) -> None:
        left, right = (self._version(items, side) for side in ("left", "right"))
        done = int(items.get((f"{self.name}-count", "count"), {"done": 0})["done"])
        assert left == right, f"{self.name}: half a transaction, {left} and {right}"
        self._check_bounds(left)
        # A version that was sent and not acknowledged may be missing; none is there twice.
        assert done <= left


class Batch(Writer):
    """Five items in one BatchWriteItem: each of them is there once that is answered."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        puts = [{"PutRequest": {"Item": self._item(f"item{number}", version + number)}} for number in range(5)]
        return "BatchWriteItem", {"RequestItems": {TABLE: puts}}

    def check(self, items: Items, expired: set[Key]) -> None:
        for number in range(5):
            version = self._version(items, f"item{number}")
            self._check_bounds(version - number if version else 0)


class Expiring(Writer):
    """A new item each time, whose time to live has already ended."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        return "PutItem", self._put(f"{version:08d}", version, ttl={"N": str(int(time.time()) - 10)})

    def check(self, items: Items, expired: set[Key]) -> None:
        for version in range(1, self.sent + 1):
            key = (self.name, f"{version:08d}")
            assert not (key in items and key in expired), f"{key}: there and expired"
            assert key in items or key in expired or version in self.unanswered, f"{key}: neither there nor expired"


class Reindexing(Writer):
    """An index that is made, from the items that are there, by odd versions, and deleted by even ones."""

    def request(self, version: int) -> tuple[str, dict[str, Any]]:
        change = {"Create": LATE.definition()} if version % 2 else {"Delete": {"IndexName": LATE.name}}
        return "UpdateTable", {
            "TableName": TABLE,
            "AttributeDefinitions": CREATE["AttributeDefinitions"],
            "GlobalSecondaryIndexUpdates": [change],
        }

    def is_settled(self, refusal: bytes) -> bool:
        settled = b"already exists" in refusal or b"ResourceNotFoundException" in refusal
        return settled and self.sent - 1 in self.unanswered

    def check(self, items: Items, expired: set[Key]) -> None:
        pass  # the data says nothing about indexes; see check_catalog

    def check_catalog(self, names: set[str]) -> None:
        """Fail where the index is not there although it was made last, or is although it was deleted last."""
        possible = {bool(version % 2) for version in range(self.acknowledged, self.sent + 1)}
        assert (LATE.name in names) in possible, f"{self.acknowledged} acknowledged, {self.sent} sent: {names}"


class Load:
    """All writers together, and the change log as it was replayed so far."""

    def __init__(self) -> None:
        self.reindexing = Reindexing("reindexing")
        self.writers: list[Writer] = [
            self.reindexing,
            *(Single(f"single{number}") for number in range(3)),
            *(Updated(f"updated{number}") for number in range(2)),
            *(Coming(f"coming{number}") for number in range(2)),
            *(Pair(f"pair{number}") for number in range(3)),
            Batch("batch"),
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
        """Requests that were answered."""
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

    def _replay(self, change: Change) -> None:
        self.changes += 1
        key = _key(change.keys)
        assert change.old == self._replayed.get(key), f"{key}: the old image is not what the log had before"
        if change.new is not None:
            self._replayed[key] = dict(change.new)
            return
        del self._replayed[key]
        if change.user_identity is None:
            assert key[0].startswith("coming"), f"{key}: nobody deleted it"
        else:
            assert key[0] == "expiring", f"{key}: it has no time to live"
            self._expired.add(key)


def _key(item: Mapping[str, Any]) -> Key:
    return item["pk"], item["sk"]


def kill_moments(seconds_max: float, count: int, random_unit: Iterator[float]) -> Iterator[float]:
    """After how many seconds of load each kill comes: soon, mostly."""
    for _ in range(count):
        yield 0.02 + (seconds_max - 0.02) * next(random_unit) ** 2
