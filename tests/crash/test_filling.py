"""SIGKILL while an index of a large table is filled and the table is written: no entry is missing, none is too many.

`AFTERWRITE_CRASH_KILLS` says how often (`make soak`: 200).
"""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from afterwrite.core.values import encode_item
from afterwrite.store.verification import verify
from bounds import BOUND_S
from embedded import Clock, Dynamo, open_store
from engine_process import EngineUnderTest, wait_until

KILLS = int(os.environ.get("AFTERWRITE_CRASH_KILLS", "5"))
# Reading every entry takes long.
KILLS_BETWEEN_VERIFICATIONS = 5
SEED = int(os.environ.get("AFTERWRITE_CRASH_SEED", "20240601"))
# A soak's table is filled for seconds.
ITEMS = 60_000 if KILLS > 5 else 8_000
PARTITIONS = 40
# About the filling's length: some kills meet it at its beginning, some at its end, some after it.
LOAD_S_MAX = ITEMS / 50_000
TABLE = "things"
CREATE: dict[str, Any] = {
    "TableName": TABLE,
    "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
    "GlobalSecondaryIndexUpdates": [
        {
            "Create": {
                "IndexName": "by-a",
                "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        }
    ],
}
DELETE: dict[str, Any] = {
    "TableName": TABLE,
    "GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-a"}}],
}


def make_table(data: Path) -> None:
    """A store with the table, written without a server."""
    data.mkdir(exist_ok=True)
    environment = open_store(data / "store", Clock())
    dynamo = Dynamo(environment)
    dynamo.create(TABLE, view_type=None)
    items = [encode_item({**key_of(number), "a": f"{number % 997}"}) for number in range(ITEMS)]
    for first in range(0, ITEMS, 1_000):
        dynamo.services.put_items(TABLE, items[first : first + 1_000])
    environment.close()


def key_of(number: int) -> dict[str, str]:
    return {"pk": f"{number % PARTITIONS}", "sk": f"{number:06d}"}


def request(source: random.Random) -> tuple[str, Mapping[str, Any]]:
    """A write that puts an item into the index, takes it out, moves it or leaves it, wherever the filling stands."""
    number = source.randrange(ITEMS + 500)
    key = encode_item(key_of(number))
    kind = source.randrange(4)
    if kind == 0:
        return "DeleteItem", {"TableName": TABLE, "Key": key}
    if kind == 1:
        return "PutItem", {"TableName": TABLE, "Item": {**key, "a": {"S": f"new-{source.randrange(50)}"}}}
    if kind == 2:
        return "PutItem", {"TableName": TABLE, "Item": {**key, "b": {"S": "not in the index"}}}
    return "UpdateItem", {
        "TableName": TABLE,
        "Key": key,
        "UpdateExpression": "SET b = :b",
        "ExpressionAttributeValues": {":b": {"S": "of no index"}},
    }


def write_until_killed(address: str, seed: int) -> None:
    source = random.Random(seed)
    connection = http.client.HTTPConnection(address, timeout=BOUND_S)
    try:
        while True:
            operation, body = request(source)
            connection.request("POST", "/", json.dumps(body), {"X-Amz-Target": f"DynamoDB_20120810.{operation}"})
            response = connection.getresponse()
            content = response.read()
            assert response.status == http.client.OK, content
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def status(engine: EngineUnderTest) -> str | None:
    """The index's status, None where there is no index."""
    found = engine.call("DescribeTable", {"TableName": TABLE})["Table"].get("GlobalSecondaryIndexes")
    return found[0]["IndexStatus"] if found else None


def scanned(engine: EngineUnderTest, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    while True:
        page = engine.call("Scan", {"TableName": TABLE, **fields, **start})
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return sorted(found, key=lambda item: item["sk"]["S"])
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def check_index(engine: EngineUnderTest) -> None:
    with_the_key = [item for item in scanned(engine) if "a" in item]
    assert scanned(engine, IndexName="by-a") == with_the_key


@pytest.mark.timeout(600 + 10 * KILLS)
def test_an_index_agrees_with_its_table_however_often_its_filling_is_killed(tmp_path: Path) -> None:
    source = random.Random(SEED)
    data = tmp_path / "data"
    make_table(data)
    kills = filled = while_filling = 0
    with EngineUnderTest(None, data) as engine:
        # Not one may meet a filling that is fast, or a test that is slow.
        while kills < KILLS or (not while_filling and kills < 20 * KILLS):
            found = status(engine)
            if found == "ACTIVE":
                filled += 1
                check_index(engine)
                engine.call("UpdateTable", DELETE)
            if found != "CREATING":
                engine.call("UpdateTable", CREATE)
            writers = [
                threading.Thread(target=write_until_killed, args=(engine.address, source.randrange(1 << 30)))
                for _ in range(3)
            ]
            for writer in writers:
                writer.start()
            writers[0].join(source.random() * LOAD_S_MAX)
            while_filling += status(engine) == "CREATING"
            engine.kill()
            kills += 1
            for writer in writers:
                writer.join()
            if kills % KILLS_BETWEEN_VERIFICATIONS == 0:
                assert verify(data / "store").damage == []
            engine.start()
        wait_until(lambda: status(engine) != "CREATING", bound_s=BOUND_S, what="the whole index")
        check_index(engine)
        engine.stop()
    print(f"{kills} kills, {while_filling} while the index was filled, which was whole {filled} times")
    assert while_filling > 0
    verified = verify(data / "store")
    assert verified.damage == verified.figures == []
