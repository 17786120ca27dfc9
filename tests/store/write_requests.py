"""PutItems, UpdateItems and TransactWriteItems at random, in a space so small that conditions hold and fail alike."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from store.odd_requests import Body, mutate, writes_of

KEYED_BY_TEXTS: Final = ("both", "both", "new", "old", "keys", "none", "single")
"""Tables whose requests the library in C may take. `single` has no sort key."""
OTHER_TABLES: Final = ("indexed", "numbers", "absent")
BEYOND_SUMS: Final = "9" * 38

TEXTS: Final = ("", "a", "ab", "ba", "b", 'é "\\\n\x00/', "😀", "\u2028", "ab")
NUMBERS: Final = ("0", "1", "2", "12", "21", "-1", "-12", "1.5", "0.5", "-0.25", "100", "12", "21", "1")
ODD_NUMBERS: Final = (
    BEYOND_SUMS,
    "-" + BEYOND_SUMS,
    "12345678901234567890123456789012345678",
    "100000000000000000000",
    "0.00000000000000000001",
    "9.9999999999999999999999999999999999999E+125",
    "1E-130",
    *("1.0", "1e3", "1E2", "01", "-0", "+1", ".5", "5.", "0.10", " 1"),
    *("", "x", "1E126", "1E-131", "1" * 39),
)
BINARIES: Final = ("", "YQ==", "YWI=", "YmE=", "YWFh")
NUMBER_ATTRIBUTES: Final = ("n", "k", "ttl")
TEXT_ATTRIBUTES: Final = ("s", "t")
OTHER_ATTRIBUTES: Final = ("x", "y", "m", "é", "size", "a b")
ATTRIBUTES: Final = NUMBER_ATTRIBUTES + TEXT_ATTRIBUTES + OTHER_ATTRIBUTES
# These cannot stand in an expression.
NAMED_BY_PLACEHOLDER: Final = ("é", "size", "a b", "ttl")
COMPARISONS: Final = ("=", "<>", "<", "<=", ">", ">=")
MEMBERS: Final = ("Put", "Update", "Update", "ConditionCheck")


class Request(NamedTuple):
    """A request; `is_usual` where it is made of nothing but what the library in C knows. It may still be refused."""

    operation: str
    body: bytes
    is_usual: bool


class _Expressions:
    """The expressions of one write, with their names and values."""

    def __init__(self, chosen: random.Random, value: Callable[[str], Any]) -> None:
        self._random = chosen
        self._value = value
        self.names: dict[str, str] = {}
        self.values: Body = {}
        self.is_usual = True

    def name(self, attribute: str) -> str:
        if attribute not in NAMED_BY_PLACEHOLDER and self._random.random() < 0.5:
            return attribute
        for placeholder, known in self.names.items():
            if known == attribute:
                return placeholder
        placeholder = self._random.choice(["#n", "#_", "#a"]) + str(len(self.names))
        self.names[placeholder] = attribute
        return placeholder

    def value(self, value: Any) -> str:
        if value in self.values.values() and self._random.random() < 0.3:
            return next(name for name, known in self.values.items() if known == value)
        placeholder = self._random.choice([":v", ":", ":a_"]) + str(len(self.values))
        self.values[placeholder] = value
        return placeholder

    def attribute(self) -> str:
        """An attribute to look at, among them those of the key."""
        return self._random.choice((*ATTRIBUTES, *NUMBER_ATTRIBUTES, "pk", "sk"))

    def condition(self, depth: int = 2) -> str:
        roll = self._random.random()
        if depth and roll < 0.2:
            return f"{self._nested(depth)} {self._word('AND')} {self._nested(depth)}"
        if depth and roll < 0.35:
            return f"{self._nested(depth)} {self._word('OR')} {self._nested(depth)}"
        if depth and roll < 0.45:
            return f"{self._word('NOT')} {self._nested(depth)}"
        return self._requirement()

    def _nested(self, depth: int) -> str:
        condition = self.condition(depth - 1)
        return f"({condition})" if self._random.random() < 0.6 else condition

    def _requirement(self) -> str:
        attribute = self.attribute()
        name = self.name(attribute)
        roll = self._random.random()
        if roll < 0.2:
            return f"attribute_exists({name})"
        if roll < 0.45:
            return f"attribute_not_exists ( {name} )"
        if roll < 0.75:
            sides = [name, self._comparand(attribute)]
            if self._random.random() < 0.2:
                sides.reverse()
            return self._random.choice([" ", "", "\t"]).join([sides[0], self._random.choice(COMPARISONS), sides[1]])
        if roll < 0.83:
            return f"{name} {self._between(attribute)}"
        if roll < 0.9:
            members = [self._comparand(attribute) for _ in range(self._random.randint(1, 3))]
            return f"{name} {self._word('IN')} ({self._random.choice([', ', ',']).join(members)})"
        if roll < 0.97:
            start = self._random.choice([{"S": "a"}, {"S": ""}, {"B": "YQ=="}, {"S": "é"}, {"N": "1"}])
            return f"begins_with({name}, {self.value(start)})"
        return self._unknown_requirement(name)

    def _between(self, attribute: str) -> str:
        bounds = [self._value(attribute), self._value(attribute)]
        if self._random.random() < 0.8:
            bounds.sort(key=_order)
        low, high = map(self.value, bounds)
        return f"{self._word('BETWEEN')} {low} {self._word('AND')} {high}"

    def _comparand(self, attribute: str) -> str:
        return self.value(self._value(attribute)) if self._random.random() < 0.85 else self.name(self.attribute())

    def _unknown_requirement(self, name: str) -> str:
        self.is_usual = False
        return self._random.choice(
            [
                f"size({name}) > {self.value({'N': '1'})}",
                f"contains({name}, {self.value({'S': 'a'})})",
                f"attribute_type({name}, {self.value({'S': 'N'})})",
                "m.a = " + self.value({"N": "1"}),
                "attribute_exists(y[0])",
                f"{name} = ",
            ]
        )

    def update(self) -> str:
        """Clauses of SET, ADD and REMOVE, each of attributes of its own."""
        clauses: dict[str, list[str]] = {}
        for attribute in self._random.sample(ATTRIBUTES, self._random.randint(1, 3)):
            clause, action = self._action(attribute)
            clauses.setdefault(clause, []).append(action)
        parts = [f"{self._word(clause)} {', '.join(actions)}" for clause, actions in clauses.items()]
        self._random.shuffle(parts)
        return " ".join(parts)

    def _action(self, attribute: str) -> tuple[str, str]:
        name = self.name(attribute)
        roll = self._random.random()
        if roll < 0.2:
            return "REMOVE", name
        if roll < 0.35 and attribute in NUMBER_ATTRIBUTES:
            return "ADD", f"{name} {self.value(self._value(attribute))}"
        if roll < 0.97:
            sign = self._random.choice([" = ", "=", " =\n"])
            return "SET", f"{name}{sign}{self._operand(attribute)}"
        return self._unknown_action(name)

    def _operand(self, attribute: str) -> str:
        one = self._part(attribute)
        if self._random.random() < (0.5 if attribute in NUMBER_ATTRIBUTES else 0.05):
            return self._random.choice([" ", ""]).join([one, self._random.choice("+-"), self._part(attribute)])
        return one

    def _part(self, attribute: str) -> str:
        roll = self._random.random()
        if roll < 0.4:
            return self.value(self._value(attribute))
        if roll < 0.55:
            return self.name(attribute)
        if roll < 0.65:
            return self.name(self.attribute())
        return f"if_not_exists({self.name(attribute)}, {self.value(self._value(attribute))})"

    def _unknown_action(self, name: str) -> tuple[str, str]:
        self.is_usual = False
        return self._random.choice(
            [
                ("SET", f"{name} = list_append({name}, {self.value({'L': [{'S': 'a'}]})})"),
                ("SET", f"m.a = {self.value({'N': '1'})}"),
                ("SET", f"y[0] = {self.value({'N': '1'})}"),
                ("ADD", f"{name} {self.value({'SS': ['b', 'a']})}"),
                ("DELETE", f"{name} {self.value({'SS': ['a']})}"),
                ("SET", f"pk = {self.value({'S': 'a'})}"),
                ("REMOVE", "sk"),
                ("REMOVE", "n, n"),
            ]
        )

    def _word(self, word: str) -> str:
        return self._random.choice([word, word, word.lower(), word.title()])

    def fields(self) -> Body:
        fields: Body = {}
        if self.names:
            fields["ExpressionAttributeNames"] = self.names
        if self.values:
            fields["ExpressionAttributeValues"] = self.values
        return fields


def _order(value: Any) -> tuple[str, Any]:
    """What orders values of one type, as far as Python has them in that order."""
    if "N" not in value:
        return "", str(value)
    try:
        return "N", Decimal(value["N"])
    except InvalidOperation:
        return "", value["N"]


class Requests:
    """Requests at random. Many have an earlier one's expressions with other values, or its token."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._earlier: list[tuple[str, Body, bool]] = []
        self._transactions: list[Body] = []

    def commits(self, count: int) -> Iterator[Sequence[Request]]:
        """The requests of each commit."""
        for _ in range(count):
            yield [self.request() for _ in range(self._random.randint(1, self._random.choice([2, 8, 30])))]

    def request(self) -> Request:
        """One of any kind, most of them in order."""
        roll = self._random.random()
        if roll < 0.03:
            key = self._key(table := self._table())
            return Request("DeleteItem", self._text({"TableName": table, "Key": key}), is_usual=False)
        operation, body, is_usual = self._again() if roll < 0.4 and self._earlier else self._new()
        if self._random.random() < 0.12:
            mutate(self._random, operation, body)
            return Request(operation, self._text(body), is_usual=False)
        if self._random.random() < 0.05:
            return Request(operation, self._odd_text(body), is_usual=False)
        return Request(operation, self._text(body), is_usual)

    def _new(self) -> tuple[str, Body, bool]:
        roll = self._random.random()
        if roll < 0.6:
            operation = "PutItem" if roll < 0.3 else "UpdateItem"
            body, is_usual = self._write(operation.removesuffix("Item"))
        else:
            operation = "TransactWriteItems"
            body, is_usual = self._transaction()
        self._earlier.append((operation, deepcopy(body), is_usual))
        del self._earlier[:-40]
        return operation, body, is_usual

    def _again(self) -> tuple[str, Body, bool]:
        """An earlier request with other values, or of another item; or a transaction with its token as it was."""
        operation, earlier, is_usual = self._random.choice(self._earlier)
        body = deepcopy(earlier)
        for write in writes_of(operation, body):
            values = write.get("ExpressionAttributeValues", {})
            for name, value in values.items():
                if self._random.random() < 0.5:
                    values[name] = self._like(value)
            if self._random.random() < 0.5:
                self._move(write)
        if operation == "TransactWriteItems" and self._transactions and self._random.random() < 0.5:
            same = deepcopy(self._random.choice(self._transactions))
            if self._random.random() < 0.4:
                same["TransactItems"] = body["TransactItems"]
            return operation, same, is_usual
        return operation, body, is_usual

    def _move(self, write: Body) -> None:
        """Let it be of any item, of which its key attributes are."""
        table = write["TableName"] = self._table()
        attributes = write.get("Item") or write["Key"]
        attributes.pop("sk", None)
        attributes.update(self._key(table))

    def _transaction(self) -> tuple[Body, bool]:
        members: list[Body] = []
        places: list[Any] = []
        is_usual = True
        for _ in range(self._random.randint(1, self._random.choice([2, 5]))):
            kind = self._random.choice(MEMBERS)
            write, is_usual_write = self._write(kind)
            place = [write["TableName"], (write.get("Item") or write["Key"]).get("pk"), write.get("Key")]
            if place in places and self._random.random() < 0.9:
                continue
            places.append(place)
            members.append({kind: write})
            is_usual = is_usual and is_usual_write
        body: Body = {"TransactItems": members}
        if self._random.random() < 0.4:
            body["ClientRequestToken"] = f"token-{self._random.randrange(10**6)}"
            self._transactions.append(deepcopy(body))
            del self._transactions[:-20]
        return body, is_usual

    def _write(self, kind: str) -> tuple[Body, bool]:
        table = self._table()
        expressions = _Expressions(self._random, self._value)
        body: Body = {"TableName": table}
        if kind == "Put":
            body["Item"] = self._item(table)
        else:
            body["Key"] = self._key(table)
        if kind == "Update":
            body["UpdateExpression"] = expressions.update()
        if kind == "ConditionCheck" or self._random.random() < 0.4:
            body["ConditionExpression"] = expressions.condition(self._random.choice([0, 0, 1, 2]))
        return body | expressions.fields(), expressions.is_usual and table not in OTHER_TABLES

    def _table(self) -> str:
        return self._random.choice(KEYED_BY_TEXTS if self._random.random() < 0.95 else OTHER_TABLES)

    def _key(self, table: str) -> Body:
        if table == "numbers":
            return {"pk": {"N": self._random.choice("12")}}
        partition = self._random.choice("aaab" if self._random.random() < 0.95 else ["é", "k" * 300, "😀"])
        key: Body = {"pk": {"S": partition}}
        if table != "single":
            key["sk"] = {"S": self._random.choice(["s", "st"])}
        return self._in_any_order(key)

    def _item(self, table: str) -> Body:
        names = self._random.sample(ATTRIBUTES, self._random.randint(0, 5))
        names += [name for name in ("n", "k", "s") if name not in names and self._random.random() < 0.6]
        item = self._key(table) | {name: self._value(name) for name in names}
        if self._random.random() < 0.03:
            item["long"] = {"S": "x" * self._random.randint(0, 5000)}
        return self._in_any_order(item)

    def _value(self, attribute: str = "x") -> Any:
        is_typical = self._random.random() < 0.9
        if attribute == "ttl" and is_typical:
            return {"N": str(1_800_000_000 + self._random.randint(0, 2))}
        if attribute in NUMBER_ATTRIBUTES and is_typical:
            return {"N": self._number()}
        if attribute in (*TEXT_ATTRIBUTES, "pk", "sk") and is_typical:
            return {"S": self._random.choice(TEXTS)}
        return self._any()

    def _number(self) -> str:
        return self._random.choice(NUMBERS if self._random.random() < 0.95 else ODD_NUMBERS)

    def _any(self, level: int = 0) -> Any:
        kind = self._random.choice(["S", "N", "B", "BOOL", "NULL", *["M", "L", "set"] * (level < 3)])
        if kind in ("S", "N"):
            return {kind: self._random.choice(TEXTS) if kind == "S" else self._number()}
        if kind == "B":
            return {"B": self._random.choice(BINARIES)}
        if kind == "M":
            names = self._random.sample(["a", "b", "é"], self._random.randint(0, 3))
            return {"M": {name: self._any(level + 1) for name in names}}
        if kind == "L":
            return {"L": [self._any(level + 1) for _ in range(self._random.randint(0, 2))]}
        if kind == "set":
            members = {"SS": ["a", "b", "ab"], "NS": ["1", "2", "12"], "BS": ["YQ==", "YWI="]}
            chosen = self._random.choice(list(members))
            return {chosen: self._random.sample(members[chosen], self._random.randint(1, 2))}
        return {"BOOL": self._random.random() < 0.5} if kind == "BOOL" else {"NULL": True}

    def _like(self, value: Any) -> Any:
        """A value of the same type, or now and then of another."""
        if self._random.random() < 0.1:
            return self._any()
        if "N" in value:
            return {"N": self._number()}
        return {"S": self._random.choice(TEXTS)} if "S" in value else value

    def _shuffled(self, value: Any) -> Any:
        """The same with the members of every object in another order."""
        if isinstance(value, list):
            return [self._shuffled(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {name: self._shuffled(each) for name, each in self._in_any_order(value).items()}

    def _in_any_order(self, body: Body) -> Body:
        members = list(body.items())
        self._random.shuffle(members)
        return dict(members)

    def _text(self, body: Body) -> bytes:
        separators = self._random.choice([(",", ":"), (",", ":"), (", ", ": "), (" ,\r\n", "\t: ")])
        is_ascii = self._random.random() < 0.3
        return json.dumps(self._shuffled(body), separators=separators, ensure_ascii=is_ascii).encode()

    def _odd_text(self, body: Body) -> bytes:
        """JSON that is hard to read, or none."""
        text = self._text(body)
        kind = self._random.choice(["flipped", "cut", "longer", "escaped", "twice", "twice"])
        if kind == "flipped":
            place = self._random.randrange(len(text))
            return text[:place] + bytes([self._random.randrange(256)]) + text[place + 1 :]
        if kind == "cut":
            return text[: self._random.randrange(len(text))]
        if kind == "longer":
            return text + self._random.choice([b" ", b"\n", b"x", b"}", b"\0", b"{}"])
        if kind == "escaped":
            place = self._random.choice([at for at, byte in enumerate(text) if chr(byte).isalnum()])
            return text[:place] + b"\\u%04x" % text[place] + text[place + 1 :]
        return self._with_a_member_twice(text)

    def _with_a_member_twice(self, text: bytes) -> bytes:
        """Put a member of some object before the same object's others, with another value."""
        starts = [at for at, byte in enumerate(text) if byte == ord("{") and text[at + 1 : at + 2] == b'"']
        if not starts:
            return text
        start = self._random.choice(starts)
        name = text[start + 1 : text.index(b'"', start + 2) + 1]
        value = self._random.choice([b"{}", b'"a"', b"null", b'{"S":"a"}', b"[]", b"1"])
        return text[: start + 1] + name + b":" + value + b"," + text[start + 1 :]
