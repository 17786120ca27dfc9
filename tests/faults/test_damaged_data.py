"""A flipped byte or a file cut off under a running engine: said over the wire, and never served as data."""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afterwrite.store.environment import Environment
from afterwrite.store.verification import verify
from crash.load import CREATE
from engine_process import EngineUnderTest

ITEMS = 40
DAMAGED = 17
# Entries beside a damaged one may be errors too: it could have been the one that was asked for.
WHOLE = 23
Answer = tuple[int, dict[str, Any]]


def text(number: int) -> str:
    return f"text {number} " + "x" * 100


def key(number: int) -> dict[str, Any]:
    return {"pk": {"S": "p"}, "sk": {"S": f"{number:04d}"}}


def item(number: int) -> dict[str, Any]:
    return {**key(number), "version": {"N": str(number)}, "text": {"S": text(number)}}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of items."""
    data = tmp_path_factory.mktemp("filled") / "data"
    with EngineUnderTest(None, data) as engine:
        engine.call("CreateTable", CREATE)
        for number in range(ITEMS):
            engine.call("PutItem", {"TableName": "things", "Item": item(number)})
        assert engine.stop() == 0
    return data


@pytest.fixture
def engine(tmp_path: Path, filled: Path) -> EngineUnderTest:
    """An engine that is not running, on a directory of its own with the items."""
    return EngineUnderTest(None, Path(shutil.copytree(filled, tmp_path / "data")))


def flip(store: Path, database: str, mark: bytes) -> None:
    """Change a byte of the value of the entry with `mark` in it, wherever that stands in the file."""
    environment = Environment(store, readonly=True)
    handle = environment.databases[database].handle
    with environment.read() as transaction, transaction.lmdb.cursor(handle) as cursor:
        (found,) = [key + value for key, value in cursor if mark in key + value]
    environment.close()
    file = store / "data.mdb"
    content = bytearray(file.read_bytes())
    at = content.find(found)
    assert at >= 0
    while at >= 0:
        content[at + len(found) - 1] ^= 0x01
        at = content.find(found, at + 1)
    file.write_bytes(content)


def get(engine: EngineUnderTest, number: int) -> Answer:
    return engine.exchange("GetItem", {"TableName": "things", "Key": key(number)})


def query_index(engine: EngineUnderTest, number: int) -> Answer:
    body = {
        "TableName": "things",
        "IndexName": "versions",
        "KeyConditionExpression": "pk = :p AND version = :v",
        "ExpressionAttributeValues": {":p": {"S": "p"}, ":v": {"N": str(number)}},
    }
    return engine.exchange("Query", body)


def read_changes(engine: EngineUnderTest, number: int) -> Answer:
    """The records of the stream's shards from the first one on; the first answer that is an error."""
    service = "DynamoDBStreams_20120810"
    arn = engine.call("ListStreams", {"TableName": "things"}, service=service)["Streams"][0]["StreamArn"]
    shards = engine.call("DescribeStream", {"StreamArn": arn}, service=service)["StreamDescription"]["Shards"]
    records: list[Any] = []
    for shard in shards:
        body = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = engine.call("GetShardIterator", body, service=service)["ShardIterator"]
        status, answer = engine.exchange("GetRecords", {"ShardIterator": iterator}, service=service)
        if status != 200:
            return status, answer
        records += answer["Records"]
    return 200, {"Records": records}


READS: dict[str, tuple[Callable[[EngineUnderTest, int], Answer], set[str]]] = {
    # What is damaged: how it is read, and which of the reads it harms.
    "items": (get, {"items", "indexes"}),
    "indexes": (query_index, {"indexes"}),
    "changes": (read_changes, {"changes"}),
}


@pytest.mark.parametrize("database", READS)
def test_a_flipped_byte_is_an_error_for_whoever_reads_it(engine: EngineUnderTest, database: str) -> None:
    flip(engine.data / "store", database, f"{DAMAGED:04d}".encode())
    with engine:
        for name, (read, _) in READS.items():
            status, answer = read(engine, DAMAGED)
            if name in READS[database][1]:
                assert (status, answer["__type"].rpartition("#")[2]) == (500, "InternalServerError")
                assert "afterwrite check" in answer["message"]
            else:
                assert status == 200
        assert get(engine, WHOLE) == (200, {"Item": item(WHOLE)})
        assert query_index(engine, WHOLE)[1]["Items"] == [item(WHOLE)]
        # The engine serves on, and writes what does not depend on it.
        engine.call("PutItem", {"TableName": "things", "Item": item(ITEMS)})
        (damage,) = verify(engine.data / "store").damage
        assert damage.startswith(f"{database}: ")
    assert "the store is damaged" in engine.log.read_text()


def test_a_file_cut_off_under_a_running_engine_is_never_served_as_data(engine: EngineUnderTest) -> None:
    file = engine.data / "store" / "data.mdb"
    with engine:
        os.truncate(file, file.stat().st_size // 3 // 4096 * 4096)
        for number in range(ITEMS):
            # Pages that are gone end the process, which is no answer either.
            try:
                status, answer = get(engine, number)
            except (OSError, http.client.HTTPException):
                break
            assert (status, answer) == (200, {"Item": item(number)}) or status == 500
    assert "cut off" in verify(engine.data / "store").damage[0]
    with pytest.raises(AssertionError, match=r"cut off; restore it from a backup"):
        engine.start()
