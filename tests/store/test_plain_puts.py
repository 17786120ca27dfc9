"""Plain puts are what the long way makes of the same bodies, and what is not valid is left to it."""

from __future__ import annotations

import datetime as dt
import json
import random
import struct
import uuid
from base64 import b64encode
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import pytest

from afterwrite.accelerators import quick_library
from afterwrite.core.values import encode_item
from afterwrite.store import expirations, items
from afterwrite.store.change_capture import KeyText
from afterwrite.store.environment import Environment
from afterwrite.store.plain_batches import PlainPut
from afterwrite.store.plain_puts import PlainPuts
from afterwrite.table.writes import parse_put_item
from embedded import Clock, Dynamo, open_store

pytestmark = pytest.mark.skipif(
    quick_library() is None, reason="the library in C was not made: there was no C compiler at the installation"
)

CHARACTERS = 'ab "\\/\n\t\b\f\r\x00\x1f\x7fé€\u2028😀{}:,'
ODD: list[Any] = [
    None,
    "x",
    {},
    {"S": 1},
    {"S": None},
    {"S": "a", "N": "1"},
    {"X": "1"},
    {"SS": ["a"]},
    {"B": "YR=="},
    {"B": 1},
    {"L": {}},
]
BODIES = 5000


class Bodies:
    """Bodies of PutItem at random, most of them plain."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self, length: int = 6) -> str:
        return "".join(self._random.choices(CHARACTERS, k=self._random.randint(0, length)))

    def name(self) -> str:
        return self.text() or "n"

    def number(self) -> str:
        whole = self._random.randint(-(10 ** self._random.randint(1, 40)), 10 ** self._random.randint(1, 40))
        fraction = self._random.randint(0, 10 ** self._random.randint(1, 8))
        short = self._random.randint(-999, 999)
        odd = self._random.choice(["01", "-0", "1e5", "+1", ".5", "5.", "1.50", "", "-", "1-"])
        return self._random.choice([str(whole), f"{short}.{fraction}", f"0.00{fraction}", f"{short}00", odd])

    def base64(self) -> str:
        text = bytearray(b64encode(self._random.randbytes(self._random.randint(0, 40))))
        if text and self._random.random() < 0.2:
            text[self._random.randrange(-3, 0)] = self._random.choice(b'AQw4=+/-_ "\\')
        return text.decode()

    def value(self, level: int = 0) -> Any:
        kind = self._random.choice("SSSSNNNNBBbnML?" if level < 4 else "SNBbn")
        if kind == "S":
            return {"S": self.text(20)}
        if kind == "N":
            return {"N": self.number()}
        if kind == "B":
            return {"B": self.base64()}
        if kind == "M":
            return {"M": {self.name(): self.value(level + 1) for _ in range(self._random.randint(0, 3))}}
        if kind == "L":
            return {"L": [self.value(level + 1) for _ in range(self._random.randint(0, 3))]}
        if kind == "b":
            return {"BOOL": self._random.random() < 0.5}
        return {"NULL": self._random.random() < 0.9} if kind == "n" else self._random.choice(ODD)

    def item(self) -> dict[str, Any]:
        keys = ["p", "é", "k" * self._random.randint(1, 300), self.text(3)]
        item = {self.name(): self.value() for _ in range(self._random.randint(0, 3))}
        item |= {name: {"S": self._random.choice(keys)} for name in ("pk", "sk")}
        if self._random.random() < 0.3:
            item["ttl"] = {"N": self.number()}
        members = list(item.items())
        self._random.shuffle(members)
        return dict(members)

    def body(self) -> bytes:
        fields = {"TableName": "things", "Item": self.item()}
        if self._random.random() < 0.5:
            fields = dict(reversed(fields.items()))
        separators = self._random.choice([(",", ":"), (", ", ": "), (" ,\r\n", "\t: ")])
        body = bytearray(json.dumps(fields, separators=separators, ensure_ascii=self._random.random() < 0.5).encode())
        if self._random.random() < 0.2:
            body[self._random.randrange(len(body))] = self._random.randrange(256)
        return bytes(body)


@pytest.fixture(scope="module")
def puts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    environment = open_store(tmp_path_factory.mktemp("plain") / "store", Clock())
    dynamo = Dynamo(environment)
    dynamo.create("others", sort_key=None)
    dynamo.create()
    environment.write(lambda transaction: items.set_ttl(transaction, "things", "ttl"))
    yield PlainPuts(environment)
    environment.close()


def body_of(item: Any, table: str = "things", **others: Any) -> bytes:
    return orjson.dumps({"TableName": table, "Item": item, **others})


def the_long_way(puts: PlainPuts, body: bytes) -> PlainPut:
    """The put of a body that is parsed and validated in Python. Raises ServiceError."""
    put = parse_put_item(orjson.loads(body))
    table = puts.put(body_of({"pk": {"S": "p"}, "sk": {"S": "s"}}, put.table_name)).table  # type: ignore[union-attr]
    key = put.key(table.schema)
    head = struct.pack(">IQ", put.item_bytes, expirations.expiry(table.ttl_attribute, put.item))
    place = items.place_of(table, key)
    return PlainPut(table, put.item_bytes, head + orjson.dumps(put.item), KeyText.of(key), place)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_read_is_what_the_long_way_makes_of_it(puts: PlainPuts, seed: int) -> None:
    """Also of a body in which some byte is another."""
    bodies = Bodies(seed)
    count = 0
    for body in (bodies.body() for _ in range(BODIES)):
        found = puts.put(body)
        if found is not None:
            assert found == the_long_way(puts, body)
            count += 1
    assert count > BODIES // 5


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"text": {"S": 'Zürich, "5 €"\n'}, "n": {"N": "-12.5"}, "zero": {"N": "0"}},
        {"flags": {"M": {"a": {"BOOL": True}, "b": {"NULL": True}}}, "list": {"L": [{"S": ""}, {"N": "1500"}]}},
        {"binary": {"B": "/+8="}, "none": {"B": ""}, "list": {"L": [{"B": "YQ=="}, {"B": "YWJj"}]}},
        {"ttl": {"N": "1767225600"}},
        {"ttl": {"N": "1767225600.5"}},
        {"ttl": {"N": "-1"}},
        {"ttl": {"S": "never"}},
    ],
)
def test_usual_items_are_plain(puts: PlainPuts, more: dict[str, Any]) -> None:
    body = body_of({"pk": {"S": "é"}, "sk": {"S": "s"}, **more})
    assert puts.put(body) == the_long_way(puts, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        body_of({"pk": {"S": "p"}, "sk": {"S": "s"}}, "absent"),
        body_of({"pk": {"S": "p"}, "sk": {"S": "s"}}, ReturnValues="NONE"),
        body_of({"pk": {"S": "p"}, "sk": {"S": "s"}}) + b"x",
        body_of({"pk": {"S": "p"}}),
        body_of({"pk": {"S": ""}, "sk": {"S": "s"}}),
        body_of({"pk": {"N": "1"}, "sk": {"S": "s"}}),
        body_of({"pk": {"S": "p" * 257}, "sk": {"S": "s"}}),
        *(body_of({"pk": {"S": "p"}, "sk": {"S": "s"}, "a": {"B": text}}) for text in ("YR==", "YWI", "Y===", "Y-8=")),
        body_of({"pk": {"S": "p"}, "sk": {"S": "s"}, "a": {"S": "x" * 70_000}}),
        body_of({"pk": {"S": "p"}, "sk": {"S": "s"}, "a": {"S": "x" * 140_000}}),
        b'{"TableName":"things","Item":{"pk":{"S":"p"},"sk":{"S":"s"},"sk":{"S":"t"}}}',
        b'{"TableName":"things","TableName":"things","Item":{"pk":{"S":"p"},"sk":{"S":"s"}}}',
        b'{"TableName":"things","Item":{"pk":{"S":"p"},"sk":{"S":"\\ud800"}}}',
        b'{"TableName":"things","Item":{"pk":{"S":"p"},"sk":{"S":"\xc0\xaf"}}}',
        b'{"TableName":"things","Item":{"pk":{"S":"p"},"sk":{"S":"s"},"a":' + b'{"L":[' * 40 + b"]}" * 40 + b"}}",
    ],
)
def test_what_is_not_plain_is_left_to_others(puts: PlainPuts, body: bytes) -> None:
    assert puts.put(body) is None


def batch_of(items: list[Any], table: str = "things", **others: Any) -> bytes:
    puts = [{"PutRequest": {"Item": item}} for item in items]
    return json.dumps({"RequestItems": {table: puts}, **others}).encode()


@pytest.mark.parametrize("seed", range(2))
def test_a_batch_is_its_puts(puts: PlainPuts, seed: int) -> None:
    """Where one of them is not plain, none is."""
    bodies = Bodies(seed)
    count = 0
    for number in range(BODIES // 5):
        items = [bodies.item() for _ in range(1 + number % 4)]
        alone = [puts.put(body_of(item)) for item in items]
        found = puts.puts(batch_of(items))
        if found is not None:
            assert list(found.each()) == alone
            count += 1
        else:
            assert None in alone or len({each.place for each in alone if each}) < len(items)
    assert count > BODIES // 50


@pytest.mark.parametrize(
    "body",
    [
        batch_of([]),
        batch_of([{"pk": {"S": "p"}, "sk": {"S": "s"}}] * 2),
        batch_of([{"pk": {"S": "p"}, "sk": {"S": str(number)}} for number in range(26)]),
        batch_of([{"pk": {"S": "p"}, "sk": {"S": "s"}}], "absent"),
        batch_of([{"pk": {"S": "p"}, "sk": {"S": "s"}}], ReturnConsumedCapacity="TOTAL"),
        batch_of([{"pk": {"S": "p"}, "sk": {"S": "s"}}]) + b"}",
        batch_of([{"pk": {"S": "p"}, "sk": {"S": "s"}}])[:-1],
        orjson.dumps({"RequestItems": {"things": [{"DeleteRequest": {"Key": {"pk": {"S": "p"}, "sk": {"S": "s"}}}}]}}),
        orjson.dumps({"RequestItems": {"things": [], "others": []}}),
        b'{"RequestItems":{}}',
        b"{}",
    ],
)
def test_a_batch_that_is_not_plain_is_left_to_others(puts: PlainPuts, body: bytes) -> None:
    assert puts.puts(body) is None


class Values:
    """Items of Python's values at random, most of them such as JSON has them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._bodies = Bodies(seed)

    def value(self, level: int = 0) -> Any:
        kind = self._random.choice("SSSNNNbnML" if level < 4 else "SNbn")
        if kind == "S":
            return self._bodies.text(20)
        if kind == "N":
            return self._random.randint(-(10 ** self._random.randint(0, 18)), 10 ** self._random.randint(0, 18))
        if kind == "M":
            return {self._bodies.name(): self.value(level + 1) for _ in range(self._random.randint(0, 3))}
        if kind == "L":
            return [self.value(level + 1) for _ in range(self._random.randint(0, 3))]
        return self._random.random() < 0.5 if kind == "b" else None

    def item(self) -> dict[str, Any]:
        item = {self._bodies.name(): self.value() for _ in range(self._random.randint(0, 4))}
        item |= {name: self._random.choice(["p", "k" * 256, "a key"]) for name in ("pk", "sk")}
        return item | ({"ttl": self.value()} if self._random.random() < 0.3 else {})


@pytest.mark.parametrize("seed", range(2))
def test_items_of_values_are_those_items_in_the_wire_form(puts: PlainPuts, seed: int) -> None:
    values = Values(seed)
    count = 0
    for number in range(BODIES // 5):
        items = [values.item() for _ in range(1 + number % 4)]
        found = puts.puts_of_values("things", items)
        if found is not None:
            expected = [the_long_way(puts, body_of(encode_item(item))) for item in items]
            assert list(found.each()) == expected
            count += len(items)
    assert count > BODIES // 5


class Named(str):
    __slots__ = ()


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        [{"deep": 1.5}],
        float("nan"),
        uuid.UUID(int=7),
        {"id": [uuid.UUID(int=7)]},
        Colour.RED,
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        Named("a text of a kind of its own"),
        Decimal("1.5"),
        b"bytes",
        {"a set"},
        ("a", "tuple"),
        1 << 64,
        "\ud800",
        {7: "not a name"},
        MappingProxyType({"a": 1}),
    ],
    ids=repr,
)
def test_what_json_would_say_otherwise_is_left_to_others(puts: PlainPuts, value: Any) -> None:
    assert puts.puts_of_values("things", [{"pk": "p", "sk": "s"}, {"pk": "p", "sk": "s", "a": value}]) is None


@pytest.mark.parametrize(
    ("table", "item"),
    [
        ("absent", {"pk": "p", "sk": "s"}),
        ("things", {"pk": "p"}),
        ("things", {"pk": 1, "sk": "s"}),
        ("things", {"pk": "", "sk": "s"}),
        ("things", {"pk": "p", "sk": "s", "": "no name"}),
        ("things", {"pk": "p", "sk": "s", "a": "x" * 70_000}),
    ],
)
def test_values_that_are_no_plain_put_are_left_to_others(puts: PlainPuts, table: str, item: dict[str, Any]) -> None:
    assert puts.puts_of_values(table, [{"pk": "p", "sk": "s"}, item]) is None


def stored(dynamo: Dynamo) -> Any:
    changes = [(each.event_name, each.keys, each.old, each.new, each.size_bytes) for each in dynamo.changes()]
    with dynamo.environment.read() as transaction:
        table = dynamo.environment.state["catalog"]["things"]
        return (
            dynamo.items(),
            changes,
            items.statistics(transaction, table),
            list(transaction.scan("expirations", b"")),
        )


def test_both_ways_leave_the_same(tmp_path: Path) -> None:
    """Items, changes, counts and expirations: new, replaced, and put again without a change."""
    bodies = [
        body_of(
            {"pk": {"S": "p"}, "sk": {"S": str(number % 3)}, "n": {"N": str(number // 2)}, "ttl": {"N": "1800000000"}}
        )
        for number in range(12)
    ]
    bodies.append(body_of({"n": {"N": "5"}, "ttl": {"N": "1800000000"}, "sk": {"S": "2"}, "pk": {"S": "p"}}))
    batch = batch_of([{"pk": {"S": "q"}, "sk": {"S": str(number)}} for number in range(25)])
    left: list[Any] = []
    for way in ("plain", "long"):
        environment = open_store(tmp_path / way, Clock())
        dynamo = Dynamo(environment)
        dynamo.create()
        environment.write(lambda transaction: items.set_ttl(transaction, "things", "ttl"))
        puts = PlainPuts(environment)
        for body in bodies:
            if way == "long":
                dynamo("PutItem", **orjson.loads(body))
            else:
                write = puts.prepare("PutItem", body)
                assert write is not None
                assert environment.write(write.run) == {}
        plain = puts.prepare("BatchWriteItem", batch)
        assert plain is not None
        answer = dynamo("BatchWriteItem", **orjson.loads(batch)) if way == "long" else environment.write(plain.run)
        assert answer == {"UnprocessedItems": {}}
        left.append(stored(dynamo))
        environment.close()
    assert left[0] == left[1]
    assert len(left[0][1]) < len(bodies) + 25


def test_a_table_that_changed_since_is_written_as_it_is_now(environment: Environment, dynamo: Dynamo) -> None:
    dynamo.create()
    write = PlainPuts(environment).prepare(
        "PutItem", body_of({"pk": {"S": "p"}, "sk": {"S": "s"}, "ttl": {"N": "1800000000"}})
    )
    other = {"pk": {"S": "p"}, "sk": {"S": "t"}, "ttl": {"N": "1800000000"}}
    batch = PlainPuts(environment).prepare("BatchWriteItem", batch_of([other]))
    assert write is not None
    assert batch is not None
    environment.write(lambda transaction: items.set_ttl(transaction, "things", "ttl"))
    environment.write(write.run)
    environment.write(batch.run)
    with environment.read() as transaction:
        assert len(list(transaction.scan("expirations", b""))) == 2
    assert dynamo.items() == [{"pk": {"S": "p"}, "sk": {"S": "s"}, "ttl": {"N": "1800000000"}}, other]
