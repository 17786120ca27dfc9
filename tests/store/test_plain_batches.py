"""A batch of plain puts leaves what its puts leave one after the other, in the store and in the journal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest

from afterwrite.accelerators import quick_library
from afterwrite.store import items, journal, kinesis, plain_batches, plain_puts
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.plain_batches import PlainBatch
from afterwrite.store.plain_puts import PlainPuts
from afterwrite.store.transactions import DATABASES
from embedded import Clock, Dynamo, open_store

pytestmark = pytest.mark.skipif(
    quick_library() is None, reason="the library in C was not made: there was no C compiler at the installation"
)

VIEWS = {
    "both": "NEW_AND_OLD_IMAGES",
    "new": "NEW_IMAGE",
    "old": "OLD_IMAGE",
    "keys": "KEYS_ONLY",
    "none": None,
}
COMMITS = 60

Entries: TypeAlias = list[journal.Entry]


class Items:
    """Items at random of few keys: often the same again, its members in another order, or as large."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def item(self) -> dict[str, Any]:
        chosen = self._random.choice
        item: dict[str, Any] = {"pk": {"S": chosen("abc")}, "sk": {"S": chosen(["s", "st", "t"])}}
        for name in self._random.sample(["x", "y", "z"], self._random.randint(0, 3)):
            item[name] = chosen([{"S": "ab"}, {"S": "ba"}, {"N": "12"}, {"N": "21"}, {"L": [{"S": "a"}, {"S": "b"}]}])
        if self._random.random() < 0.5:
            item["ttl"] = {"N": str(1_800_000_000 + self._random.randint(0, 2))}
        if self._random.random() < 0.1:
            item["long"] = {"S": "x" * self._random.randint(0, 5000)}
        members = list(item.items())
        self._random.shuffle(members)
        return dict(members)

    def puts(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Of each commit the table and the items."""
        for _ in range(COMMITS):
            yield self._random.choice(list(VIEWS)), [self.item() for _ in range(self._random.randint(1, 25))]


def batch_body(table: str, items: Sequence[Any]) -> bytes:
    return orjson.dumps({"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in items]}})


def filled(path: Path) -> Environment:
    environment = open_store(path, Clock())
    dynamo = Dynamo(environment)
    for name, view_type in VIEWS.items():
        dynamo.create(name, view_type=view_type)
    environment.write(lambda transaction: items.set_ttl(transaction, "both", "ttl"))
    return environment


def batch(puts: PlainPuts, table: str, items: Sequence[Any]) -> PlainBatch:
    """The batch of one request's items, among which some may be the same."""
    read = [puts.puts(batch_body(table, [item])) for item in items]
    assert None not in read
    parts = [each for each in read if each is not None]
    return parts[0]._replace(
        places=[place for part in parts for place in part.places], puts=b"".join(part.puts for part in parts)
    )


def contents(environment: Environment) -> dict[str, list[tuple[bytes, bytes]]]:
    with environment.read() as transaction:
        found = {name: list(transaction.scan(name, b"")) for name in DATABASES}
    found["meta"] = [entry for entry in found["meta"] if entry[0] != b"opening"]  # which each store has for itself
    return found


def one_by_one(transaction: WriteTransaction, puts: PlainBatch) -> None:
    for put in puts.each():
        plain_puts.write(transaction, put)


def together(transaction: WriteTransaction, puts: PlainBatch) -> None:
    assert plain_batches.write(transaction, puts) == []


def journaling(
    way: Callable[[WriteTransaction, PlainBatch], None],
    puts: PlainBatch,
    journaled: list[Entries],
    transaction: WriteTransaction,
) -> None:
    """Put in one of the ways, and keep what goes into the journal: of each key in order, whatever is between."""
    way(transaction, puts)
    transaction.complete()
    journaled.append(sorted(journal.entries(b"".join(transaction.entries)), key=lambda entry: entry[:2]))


@pytest.mark.parametrize("seed", range(6))
def test_it_leaves_what_its_puts_leave(tmp_path: Path, seed: int) -> None:
    left: list[Any] = []
    for way in (one_by_one, together):
        environment = filled(tmp_path / way.__name__)
        reader = PlainPuts(environment)
        journaled: list[Entries] = []
        for table, put in Items(seed).puts():
            operation = partial(journaling, way, batch(reader, table, put), journaled)
            environment.write(operation)
        left.append((contents(environment), journaled))
        environment.close()
    assert left[0][0] == left[1][0]
    assert len(left[0][0]["changes"]) > COMMITS
    for expected, found in zip(left[0][1], left[1][1], strict=True):
        # A counter that ends where it began is not written again.
        missing = [entry for entry in expected if entry not in found]
        assert [entry for entry in expected if entry in found] == found
        assert {entry.database for entry in missing} <= {DATABASES.index("meta")}


ITEM = {"pk": {"S": "a"}, "sk": {"S": "s"}, "ttl": {"N": "1800000000"}}
STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/out"


def test_a_table_that_changed_since_is_left_to_others(environment: Environment, dynamo: Dynamo) -> None:
    dynamo.create()
    puts = batch(PlainPuts(environment), "things", [ITEM])
    environment.write(lambda transaction: items.set_ttl(transaction, "things", "ttl"))
    assert environment.write(lambda transaction: plain_batches.write(transaction, puts)) is None
    assert dynamo.items() == []
    assert dynamo.changes() == []


def test_a_table_with_a_destination_is_left_to_others(environment: Environment, dynamo: Dynamo) -> None:
    dynamo.create()
    reader = PlainPuts(environment)
    puts = batch(reader, "things", [ITEM])
    environment.write(lambda transaction: kinesis.create(transaction, "out", 1, mode="PROVISIONED", tags={}))
    dynamo("EnableKinesisStreamingDestination", TableName="things", StreamArn=STREAM_ARN)
    assert environment.write(lambda transaction: plain_batches.write(transaction, puts)) is None
    assert dynamo("BatchWriteItem", RequestItems={"things": [{"PutRequest": {"Item": ITEM}}]})["UnprocessedItems"] == {}
    write = reader.prepare("BatchWriteItem", batch_body("things", [{**ITEM, "sk": {"S": "t"}}]))
    assert write is not None
    environment.write(write.run)
    with environment.read() as transaction:
        assert len(list(transaction.scan("kinesis_records", b""))) == 2


def test_a_damaged_item_is_left_to_others(environment: Environment, dynamo: Dynamo) -> None:
    dynamo.create()
    puts = batch(PlainPuts(environment), "things", [{**ITEM, "sk": {"S": "t"}}, ITEM])
    dynamo("PutItem", TableName="things", Item=ITEM)
    damage(environment, puts.places[1])
    assert environment.write(lambda transaction: plain_batches.write(transaction, puts)) is None
    assert len(dynamo.changes()) == 1


def damage(environment: Environment, place: bytes) -> None:
    """Flip a bit of what is stored there."""
    handle = environment.databases["items"].handle
    with environment.lmdb.begin(write=True) as transaction:
        stored = bytearray(transaction.get(place, db=handle) or b"")
        stored[20] ^= 1
        transaction.put(place, bytes(stored), db=handle)
