"""An index that is added to a table is filled in rounds, beside writes, and through whatever ends the process."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afterwrite.backups import back_up
from afterwrite.core.values import decode_item, encode_item
from afterwrite.errors import ServiceError
from afterwrite.store import indexes, tables, upkeep
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.names import span
from afterwrite.store.verification import verify
from embedded import Clock, Dynamo, open_store
from engine_process import EngineUnderTest, wait_until

ITEMS = 1_250  # three rounds
BY_A: dict[str, Any] = {
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
DROP = {"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "by-a"}}]}


def filled(dynamo: Dynamo, count: int = ITEMS) -> None:
    dynamo.create(view_type=None)
    items = [encode_item({"pk": str(number % 50), "sk": f"{number:05d}", "a": str(number)}) for number in range(count)]
    dynamo.services.put_items("things", items)


def add_index(dynamo: Dynamo) -> dict[str, Any]:
    dynamo("UpdateTable", TableName="things", **BY_A)
    return described(dynamo)


def described(dynamo: Dynamo) -> dict[str, Any]:
    table = dynamo("DescribeTable", TableName="things")["Table"]
    assert table["TableStatus"] == "ACTIVE"
    (index,) = table["GlobalSecondaryIndexes"]
    found: dict[str, Any] = index
    return found


def in_index(dynamo: Dynamo) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    start: dict[str, Any] = {}
    while True:
        page = dynamo("Scan", TableName="things", IndexName="by-a", **start)
        found += [decode_item(item) for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def fill_up(dynamo: Dynamo) -> int:
    """Run rounds of upkeep until the index is there; how many."""
    rounds = 0
    while described(dynamo)["IndexStatus"] == "CREATING":
        rounds += 1
        assert upkeep.run(dynamo.environment, {}).more == (described(dynamo)["IndexStatus"] == "CREATING")
    return rounds


def whole(environment: Environment) -> bool:
    found = verify(Path(environment.lmdb.path()))
    return found.damage == found.figures == []


def test_the_index_of_a_small_table_is_there_at_once(dynamo: Dynamo) -> None:
    filled(dynamo, 10)
    index = add_index(dynamo)
    assert (index["IndexStatus"], index["ItemCount"], "Backfilling" in index) == ("ACTIVE", 10, False)
    assert len(in_index(dynamo)) == 10


def test_a_large_one_is_filled_in_rounds_and_cannot_be_read_before(dynamo: Dynamo) -> None:
    filled(dynamo)
    index = add_index(dynamo)
    assert (index["IndexStatus"], index["Backfilling"]) == ("CREATING", True)
    assert 0 < index["ItemCount"] < ITEMS
    with pytest.raises(ServiceError, match="Cannot read from backfilling global secondary index: by-a"):
        dynamo("Scan", TableName="things", IndexName="by-a")
    with pytest.raises(ServiceError, match="Only 1 online index can be created or deleted simultaneously per table"):
        dynamo("UpdateTable", TableName="things", **BY_A | {"GlobalSecondaryIndexUpdates": [another("by-b")]})
    assert whole(dynamo.environment)
    assert fill_up(dynamo) == 2
    index = described(dynamo)
    assert (index["ItemCount"], "Backfilling" in index) == (ITEMS, False)
    assert len(in_index(dynamo)) == ITEMS
    assert whole(dynamo.environment)


def another(name: str) -> dict[str, Any]:
    return {"Create": {**BY_A["GlobalSecondaryIndexUpdates"][0]["Create"], "IndexName": name}}


def test_writes_meanwhile_are_in_it_as_they_are(dynamo: Dynamo) -> None:
    """On both sides of where the filling stands: items put, changed, deleted, taken out of the index and into it."""
    source = random.Random(20240601)
    filled(dynamo)
    add_index(dynamo)
    while described(dynamo)["IndexStatus"] == "CREATING":
        for _ in range(150):
            number = source.randrange(ITEMS + 200)
            key = {"pk": str(number % 50), "sk": f"{number:05d}"}
            kind = source.randrange(4)
            if kind == 0:
                dynamo.delete(**key)
            elif kind == 1:
                dynamo.put(**key, a=f"new-{number}")
            elif kind == 2:
                dynamo.put(**key, b="not in the index")
            else:
                dynamo("UpdateItem", TableName="things", Key=encode_item(key), UpdateExpression="REMOVE b")
        assert whole(dynamo.environment)
        upkeep.run(dynamo.environment, {})
    expected = [item for item in map(decode_item, dynamo.items()) if "a" in item]
    found = in_index(dynamo)
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert described(dynamo)["ItemCount"] == len(expected)
    assert whole(dynamo.environment)


def test_it_goes_on_where_the_last_commit_left_it(environment: Environment, clock: Clock) -> None:
    dynamo = Dynamo(environment)
    filled(dynamo)
    before = add_index(dynamo)["ItemCount"]
    path = Path(environment.lmdb.path())
    environment.close()
    again = open_store(path, clock)
    try:
        dynamo = Dynamo(again)
        assert described(dynamo)["ItemCount"] == before
        assert fill_up(dynamo) == 2
        assert len(in_index(dynamo)) == ITEMS
    finally:
        again.close()


def test_an_index_can_be_given_up_and_made_again_meanwhile(dynamo: Dynamo) -> None:
    filled(dynamo)
    add_index(dynamo)
    dynamo("UpdateTable", TableName="things", **DROP)
    assert whole(dynamo.environment)
    add_index(dynamo)
    fill_up(dynamo)
    assert len(in_index(dynamo)) == ITEMS


def test_its_table_cannot_be_deleted_meanwhile(dynamo: Dynamo) -> None:
    filled(dynamo)
    add_index(dynamo)
    with pytest.raises(ServiceError, match="Cannot delete table while indexes are being created") as refused:
        dynamo("DeleteTable", TableName="things")
    assert refused.value.code == "ResourceInUseException"
    fill_up(dynamo)
    dynamo("DeleteTable", TableName="things")
    assert not upkeep.run(dynamo.environment, {}).more
    assert whole(dynamo.environment)


def test_its_table_can_be_changed_otherwise_meanwhile(dynamo: Dynamo) -> None:
    """Its tags, its time to live and its stream are none of the index's."""
    filled(dynamo)
    add_index(dynamo)
    stream = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    dynamo("UpdateTable", TableName="things", StreamSpecification=stream)
    dynamo("UpdateTable", TableName="things", DeletionProtectionEnabled=True)
    dynamo("UpdateTimeToLive", TableName="things", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    assert described(dynamo)["IndexStatus"] == "CREATING"
    fill_up(dynamo)
    assert len(in_index(dynamo)) == ITEMS
    assert whole(dynamo.environment)


def test_large_items_make_smaller_rounds(dynamo: Dynamo) -> None:
    dynamo.create(view_type=None)
    items = [encode_item({"pk": "p", "sk": f"{number:02d}", "a": "x", "b": "x" * 390_000}) for number in range(25)]
    dynamo.services.put_items("things", items)
    assert add_index(dynamo)["ItemCount"] < 15
    fill_up(dynamo)
    assert described(dynamo)["ItemCount"] == 25


def test_keys_of_any_length_are_filled_in(dynamo: Dynamo) -> None:
    """Sort keys that are cut, of which many share a head, on both sides of a round's end."""
    dynamo.create(view_type=None)
    items = [
        encode_item({"pk": str(number % 3), "sk": "x" * (number % 900) + f"{number:04d}", "a": "a" * 700 + str(number)})
        for number in range(ITEMS)
    ]
    dynamo.services.put_items("things", items)
    add_index(dynamo)
    assert fill_up(dynamo) == 2
    assert len(in_index(dynamo)) == ITEMS
    assert whole(dynamo.environment)


def test_items_that_cannot_be_in_it_stay_out_and_are_not_counted(dynamo: Dynamo) -> None:
    dynamo.create(view_type=None)
    for sk, a in {"text": "x", "number": 3, "empty": "", "long": "é" * 1025, "longest": "é" * 1024}.items():
        dynamo.put(pk="p", sk=sk, a=a)
    dynamo.put(pk="p", sk="none")
    assert add_index(dynamo)["ItemCount"] == 2
    assert sorted(item["sk"] for item in in_index(dynamo)) == ["longest", "text"]
    for sk in ("number", "empty", "long"):
        dynamo(
            "UpdateItem",
            TableName="things",
            Key=encode_item({"pk": "p", "sk": sk}),
            UpdateExpression="SET b = :b",
            ExpressionAttributeValues={":b": {"S": "b"}},
        )
        dynamo.delete(pk="p", sk=sk)
    assert described(dynamo)["ItemCount"] == 2
    assert whole(dynamo.environment)


def test_a_kill_in_the_middle_loses_no_entry(tmp_path: Path, clock: Clock) -> None:
    count = 20_000
    (tmp_path / "data").mkdir()
    with EngineUnderTest(None, tmp_path / "data") as engine:
        engine.stop()
        environment = open_store(tmp_path / "data" / "store", clock)
        filled(Dynamo(environment), count)
        environment.close()

        def index() -> dict[str, Any]:
            (found,) = engine.call("DescribeTable", {"TableName": "things"})["Table"]["GlobalSecondaryIndexes"]
            return dict(found)

        engine.start()
        engine.call("UpdateTable", {"TableName": "things", **BY_A})
        engine.put("things", pk="0", sk="meanwhile", a="new")
        assert index()["IndexStatus"] == "CREATING"
        engine.kill()
        assert verify(tmp_path / "data" / "store").damage == []
        engine.start()
        engine.call("DeleteItem", {"TableName": "things", "Key": encode_item({"pk": "0", "sk": "00000"})})
        wait_until(lambda: index()["IndexStatus"] == "ACTIVE", what="the whole index")
        assert index()["ItemCount"] == count
        engine.stop()
    found = verify(tmp_path / "data" / "store")
    assert found.damage == found.figures == []


def without_an_entry(transaction: WriteTransaction, index: indexes.Index) -> None:
    key, _ = next(transaction.scan("indexes", *span(index.number)))
    transaction.delete("indexes", key)


def with_an_entry_of_no_item(transaction: WriteTransaction, index: indexes.Index) -> None:
    key, _ = next(transaction.scan("indexes", *span(index.number)))
    transaction.put("indexes", key, b"nowhere")


def with_an_entry_too_many(transaction: WriteTransaction, index: indexes.Index) -> None:
    key, stored_at = next(transaction.scan("indexes", *span(index.number)))
    transaction.put("indexes", key + b"x", stored_at)


def with_a_wrong_count(transaction: WriteTransaction, index: indexes.Index) -> None:
    indexes.count(transaction, index.number, 1, 5)


def test_a_size_that_was_counted_by_another_rule_is_no_damage_and_keeps_nobody_from_a_backup(
    tmp_path: Path, dynamo: Dynamo
) -> None:
    filled(dynamo, 10)
    add_index(dynamo)

    def run(transaction: WriteTransaction) -> None:
        (index,) = tables.catalog(transaction)["things"].indexes
        indexes.count(transaction, index.number, 0, 5)

    dynamo.environment.write(run)
    found = verify(Path(dynamo.environment.lmdb.path()))
    assert found.damage == []
    (figure,) = found.figures
    assert figure.startswith("index by-a of table things: its size is shown as ")
    assert figure.endswith("nothing is lost, and deleting the index and creating it again counts it anew")
    assert back_up(tmp_path, tmp_path.with_name(f"{tmp_path.name}-backup"), dynamo.environment).entries == found.entries
    dynamo("UpdateTable", TableName="things", **DROP)
    while upkeep.run(dynamo.environment, {}).more:
        pass
    add_index(dynamo)
    assert whole(dynamo.environment)


def with_a_strange_index(transaction: WriteTransaction, index: indexes.Index) -> None:
    transaction.put("indexes", (index.number + 7).to_bytes(4, "big") + b"x", b"x")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_an_entry, ["expected 10 entries of", "no entry for the item stored at"]),
        (with_an_entry_of_no_item, ["leads to no item", "expected 10 entries of"]),
        (with_an_entry_too_many, ["is not that of the item it leads to", "expected 10 entries of"]),
        (with_a_wrong_count, ["expected 11 entries of"]),
        (with_a_strange_index, ["entries of an index", "that no table has"]),
    ],
)
def test_a_check_finds_an_index_that_does_not_agree_with_its_table(
    dynamo: Dynamo, spoil: Callable[[WriteTransaction, indexes.Index], None], words: list[str]
) -> None:
    filled(dynamo, 10)
    add_index(dynamo)
    assert whole(dynamo.environment)

    def run(transaction: WriteTransaction) -> None:
        (index,) = tables.catalog(transaction)["things"].indexes
        spoil(transaction, index)

    dynamo.environment.write(run)
    damage = "\n".join(verify(Path(dynamo.environment.lmdb.path())).damage)
    for each in words:
        assert each in damage
