"""Each operator of updates and conditions, as the library in C carries it out."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from afterwrite.accelerators import quick_library
from store.two_ways import DONE, TwoWays
from store.write_bodies import (
    KEY,
    OTHER_KEY,
    item_of,
    n,
    put,
    request,
    s,
    start_with,
    transaction,
    update,
    updating,
    valued,
)
from store.write_requests import BEYOND_SUMS, Request

pytestmark = pytest.mark.skipif(
    quick_library() is None, reason="the library in C was not made: there was no C compiler at the installation"
)


NESTED = {"M": {"a": n(1), "b": {"L": [s("c"), {"B": "YQ=="}]}}}

# The item before, the update, its values, and the item after it.
UPDATES: list[tuple[Any, str, Any, Any]] = [
    ({}, "SET n = :v", {":v": n(1)}, {"n": n(1)}),
    (None, "SET n = :v", {":v": n(1)}, {"n": n(1)}),
    ({"n": n(1)}, "SET n = :v", {":v": s("text")}, {"n": s("text")}),
    ({"n": n(1)}, "set n=:v", {":v": n(1)}, {"n": n(1)}),
    ({"n": n(12)}, "SET n = :v", {":v": n(21)}, {"n": n(21)}),
    ({"n": n(1)}, "SET k = n", {}, {"n": n(1), "k": n(1)}),
    ({"n": n(1), "k": n(2)}, "SET k = n, n = k", {}, {"n": n(2), "k": n(1)}),
    ({"n": n(1)}, "SET n = n + :v", {":v": n(2)}, {"n": n(3)}),
    ({"n": n(1)}, "SET n = n - :v", {":v": n(2)}, {"n": n(-1)}),
    ({"n": n(1)}, "SET n = n - :v", {":v": n(1)}, {"n": n(0)}),
    ({"n": n(9)}, "SET n = n + :v", {":v": n(1)}, {"n": n(10)}),
    ({"n": n(5)}, "SET n = n - :v", {":v": n(-5)}, {"n": n(10)}),
    ({"n": n(5)}, "SET n = n + :v", {":v": n(0)}, {"n": n(5)}),
    ({"n": n(999999999999)}, "SET n = n + :v", {":v": n(1)}, {"n": n(1000000000000)}),
    ({"n": n(-1000)}, "SET n = n + :v", {":v": n(1)}, {"n": n(-999)}),
    ({"n": n(1)}, "SET k = :v + n", {":v": n(2)}, {"n": n(1), "k": n(3)}),
    ({"n": n(1), "k": n(5)}, "SET n = n + k", {}, {"n": n(6), "k": n(5)}),
    ({}, "SET n = :a - :b", {":a": n(1), ":b": n(3)}, {"n": n(-2)}),
    ({}, "SET n = if_not_exists(n, :v)", {":v": n(7)}, {"n": n(7)}),
    ({"n": n(1)}, "SET n = if_not_exists(n, :v)", {":v": n(7)}, {"n": n(1)}),
    ({"k": n(4)}, "SET n = if_not_exists(k, :v)", {":v": n(7)}, {"n": n(4), "k": n(4)}),
    ({}, "SET n = if_not_exists(n, :zero) + :v", {":zero": n(0), ":v": n(7)}, {"n": n(7)}),
    ({"n": n(3)}, "SET n = if_not_exists(n, :zero) + :v", {":zero": n(0), ":v": n(7)}, {"n": n(10)}),
    (None, "SET n = if_not_exists(n, :zero) - :v", {":zero": n(0), ":v": n(7)}, {"n": n(-7)}),
    ({}, "ADD n :v", {":v": n(2)}, {"n": n(2)}),
    ({"n": n(1)}, "ADD n :v", {":v": n(2)}, {"n": n(3)}),
    ({"n": n(1)}, "ADD n :v", {":v": n(-2)}, {"n": n(-1)}),
    (None, "ADD n :v", {":v": n(2)}, {"n": n(2)}),
    ({"n": n(1)}, "ADD n :v", {":v": n(0)}, {"n": n(1)}),
    ({"n": n(1), "x": s("a")}, "REMOVE n", {}, {"x": s("a")}),
    ({"n": n(1), "x": s("a")}, "REMOVE n, x", {}, {}),
    ({"x": s("a")}, "REMOVE n", {}, {"x": s("a")}),
    (None, "REMOVE n", {}, None),
    ({"n": n(1)}, "SET x = :v REMOVE n ADD k :v", {":v": n(2)}, {"x": n(2), "k": n(2)}),
    ({"n": n(1)}, "REMOVE n SET x = n", {}, {"x": n(1)}),
    (
        {},
        "SET x = :v",
        {":v": {"M": {"a": n(1), "b": {"L": [s("c")]}}}},
        {"x": {"M": {"a": n(1), "b": {"L": [s("c")]}}}},
    ),
    (
        {"x": {"M": {"a": n(1), "b": n(2)}}},
        "SET x = :v",
        {":v": {"M": {"b": n(2), "a": n(1)}}},
        {"x": {"M": {"a": n(1), "b": n(2)}}},
    ),
    ({}, "SET x = :v", {":v": s('é "\\\n😀')}, {"x": s('é "\\\n😀')}),
    ({}, "SET x = :v", {":v": {"B": "YQ=="}}, {"x": {"B": "YQ=="}}),
    (
        {},
        "SET x = :v, y = :w",
        {":v": {"BOOL": True}, ":w": {"NULL": True}},
        {"x": {"BOOL": True}, "y": {"NULL": True}},
    ),
    ({"ttl": n(1_800_000_000)}, "SET x = :v", {":v": n(1)}, {"ttl": n(1_800_000_000), "x": n(1)}),
]


@pytest.mark.parametrize(("old", "expression", "values", "new"), UPDATES)
def test_an_update(ways: TwoWays, old: Any, expression: str, values: Any, new: Any) -> None:
    for asked in (update(expression, values), transaction({"Update": updating(expression, values)})):
        start_with(ways, old)
        outcome = ways.commit([asked])
        assert outcome.written == [0], asked
        assert item_of(ways) == new, asked


def test_an_update_of_when_an_item_expires(ways: TwoWays) -> None:
    start_with(ways, {"ttl": n(1_800_000_000)})
    named = {"ExpressionAttributeNames": {"#t": "ttl"}}
    outcome = ways.commit(
        [
            update("SET #t = :v", {":v": n(1_800_000_001)}, **named),
            update("ADD #t :v", {":v": n(5)}, **named),
            update("SET x = #t REMOVE #t", **named),
            update("SET #t = :v", {":v": n(1_800_000_001)}, OTHER_KEY, **named),
        ]
    )
    assert outcome.written == [0, 1, 2, 3]
    assert item_of(ways) == {"x": n(1_800_000_006)}


FAILURES = dict.fromkeys(("PutItem", "UpdateItem"), "ConditionalCheckFailedException")
FAILURES["TransactWriteItems"] = "TransactionCanceledException"
ITEM = {"n": n(5), "s": s("text"), "b": {"B": "YWJj"}, "yes": {"BOOL": True}, "nil": {"NULL": True}, "k": n("5")}

# Of the item above a condition, its values, and whether it holds.
CONDITIONS: list[tuple[str, Any, bool]] = [
    ("attribute_exists(n)", {}, True),
    ("attribute_exists(absent)", {}, False),
    ("attribute_not_exists(n)", {}, False),
    ("attribute_not_exists(absent)", {}, True),
    ("attribute_exists(pk)", {}, True),
    ("pk = :v", {":v": s("p")}, True),
    ("n = :v", {":v": n(5)}, True),
    ("n = :v", {":v": n(6)}, False),
    ("n = :v", {":v": s("5")}, False),
    ("n = k", {}, True),
    (":v = n", {":v": n(5)}, True),
    ("n <> :v", {":v": n(6)}, True),
    ("n <> :v", {":v": n(5)}, False),
    ("n <> :v", {":v": s("5")}, True),
    ("n < :v", {":v": n(6)}, True),
    ("n < :v", {":v": n(5)}, False),
    ("n < :v", {":v": n(12)}, True),
    ("n < :v", {":v": n(-12)}, False),
    ("n < :v", {":v": n("5.1")}, True),
    ("n < :v", {":v": s("6")}, False),
    ("n <= :v", {":v": n(5)}, True),
    ("n <= :v", {":v": n(4)}, False),
    ("n > :v", {":v": n(4)}, True),
    ("n > :v", {":v": n(5)}, False),
    ("n > :v", {":v": n("-0.25")}, True),
    ("n >= :v", {":v": n(5)}, True),
    ("n >= :v", {":v": n("5.00000000000000000001")}, False),
    ("s < :v", {":v": s("texts")}, True),
    ("s > :v", {":v": s("tex")}, True),
    ("s >= :v", {":v": s("é")}, False),
    ("b = :v", {":v": {"B": "YWJj"}}, True),
    ("yes = :v", {":v": {"BOOL": True}}, True),
    ("yes = :v", {":v": {"BOOL": False}}, False),
    ("nil = :v", {":v": {"NULL": True}}, True),
    ("absent = :v", {":v": n(1)}, False),
    ("absent < :v", {":v": n(1)}, False),
    ("NOT absent < :v", {":v": n(1)}, True),
    ("n IN (:a, :b)", {":a": n(4), ":b": n(5)}, True),
    ("n IN (:a, :b)", {":a": n(4), ":b": s("5")}, False),
    ("absent IN (:a)", {":a": n(4)}, False),
    ("n BETWEEN :a AND :b", {":a": n(5), ":b": n(6)}, True),
    ("n BETWEEN :a AND :b", {":a": n(4), ":b": n(5)}, True),
    ("n BETWEEN :a AND :b", {":a": n(6), ":b": n(7)}, False),
    ("s BETWEEN :a AND :b", {":a": s("a"), ":b": s("z")}, True),
    ("begins_with(s, :v)", {":v": s("te")}, True),
    ("begins_with(s, :v)", {":v": s("")}, True),
    ("begins_with(s, :v)", {":v": s("x")}, False),
    ("begins_with(s, :v)", {":v": s("text and more")}, False),
    ("begins_with(n, :v)", {":v": s("5")}, False),
    ("n = :v AND s = :s", {":v": n(5), ":s": s("text")}, True),
    ("n = :v AND s = :s", {":v": n(5), ":s": s("x")}, False),
    ("n = :v OR s = :s", {":v": n(6), ":s": s("text")}, True),
    ("n = :v OR s = :s", {":v": n(6), ":s": s("x")}, False),
    ("NOT n = :v", {":v": n(5)}, False),
    ("NOT n = :v AND s = :s", {":v": n(6), ":s": s("text")}, True),
    ("NOT (n = :v AND s = :s)", {":v": n(6), ":s": s("text")}, True),
    ("n = :v OR s = :s AND n = :s", {":v": n(5), ":s": s("x")}, True),
    ("(n = :v OR s = :s) AND n = :s", {":v": n(5), ":s": s("x")}, False),
    ("not attribute_exists(absent) and (n > :v or n < :v)", {":v": n(4)}, True),
]


@pytest.mark.parametrize(("condition", "values", "holds"), CONDITIONS)
def test_a_condition(ways: TwoWays, condition: str, values: Any, holds: bool) -> None:
    for asked in _conditional(ConditionExpression=condition, **valued(values)):
        start_with(ways, ITEM)
        outcome = ways.commit([asked])
        assert outcome.taken == [0], asked
        assert outcome.written == ([0] if holds else []), asked
        expected = "" if holds else FAILURES[asked.operation]
        assert outcome.answers[0][0] == expected, asked


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("b < :v", {":v": {"B": "YWJk"}}),
        ("begins_with(b, :v)", {":v": {"B": "YWI="}}),
        ("m = :v", {":v": {"M": {"c": n(2), "a": n(1)}}}),
    ],
)
def test_a_condition_that_python_has_to_test(ways: TwoWays, condition: str, values: Any) -> None:
    for asked in _conditional(ConditionExpression=condition, **valued(values)):
        start_with(ways, {**ITEM, "m": {"M": {"a": n(1), "c": n(2)}}})
        outcome = ways.commit([asked])
        assert (outcome.taken, outcome.written) == ([0], []), asked
        assert outcome.answers == [DONE], asked


def _conditional(**condition: Any) -> Iterator[Request]:
    """A request of each form that has a condition."""
    keyed, item = {"TableName": "both", "Key": KEY}, {"TableName": "both", "Item": {**KEY, "new": n(1)}}
    removing = {"UpdateExpression": "REMOVE absent, n"}
    other = {"Put": {"TableName": "new", "Item": OTHER_KEY}}
    yield request("PutItem", **item, **condition)
    yield request("UpdateItem", **keyed, **removing, **condition)
    yield transaction({"Put": {**item, **condition}}, other)
    yield transaction({"Update": {**keyed, **removing, **condition}})
    yield transaction({"ConditionCheck": {**keyed, **condition}}, other)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("attribute_not_exists(pk)", True),
        ("attribute_exists(pk)", False),
        ("NOT attribute_exists(pk)", True),
        ("n = k", False),
    ],
)
def test_a_condition_of_no_item(ways: TwoWays, condition: str, holds: bool) -> None:
    outcome = ways.commit([put({**KEY, "n": n(1)}, ConditionExpression=condition)])
    assert outcome.taken == [0]
    assert outcome.written == ([0] if holds else [])
    assert (item_of(ways) is not None) == holds


DEEP: Any = {"N": "1"}
for _ in range(33):
    DEEP = {"L": [DEEP]}

# The item before, an update that is refused, and its values.
REFUSED: list[tuple[Any, str, Any]] = [
    ({}, "SET n = n + :v", {":v": n(1)}),
    ({}, "SET n = k", {}),
    ({"n": s("a")}, "SET n = n + :v", {":v": n(1)}),
    ({"n": n(1)}, "SET n = n + :v", {":v": s("a")}),
    ({"n": s("a")}, "ADD n :v", {":v": n(1)}),
    ({"n": n(1)}, "ADD n :v", {":v": s("a")}),
    ({"n": n(1)}, "SET n = :v", {":v": n("x")}),
    ({"n": n(1)}, "SET n = :v", {":v": n(1), ":unused": n(1)}),
    ({"n": n(1)}, "SET n = :v, k = :w", {":v": n(1)}),
    ({"n": n(1)}, "SET n = :v, n = :v", {":v": n(1)}),
    ({"n": n(1)}, "SET sk = :v", {":v": s("a")}),
    ({"n": n(1)}, "REMOVE pk", {}),
    ({"n": n(1)}, "SET n = :v", {":v": s("x" * 410_000)}),
    ({"n": n(1), "s": s("x" * 300_000)}, "SET n = :v", {":v": s("x" * 200_000)}),
    ({"n": n(1)}, "SET n = :v", {":v": DEEP}),
    ({"n": n(BEYOND_SUMS)}, "ADD n :v", {":v": n("0.1")}),
    ({"n": n("9.9E125")}, "ADD n :v", {":v": n("9.9E125")}),
    ({"n": n("1E125")}, "SET n = n + :v", {":v": n("1")}),
    ({"n": n(1)}, "SET n = if_not_exists(n, n)", {}),
    ({"n": n(1)}, "SET n = if_not_exists(n)", {}),
]


@pytest.mark.parametrize(("old", "expression", "values"), REFUSED)
def test_an_update_that_is_refused(ways: TwoWays, old: Any, expression: str, values: Any) -> None:
    start_with(ways, old)
    before = item_of(ways)
    # The same expression with values that are in order makes it known.
    ways.commit([update(expression, {":v": n(1), ":w": n(1)}, OTHER_KEY), update(expression, {":v": n(1)}, OTHER_KEY)])
    for asked in (update(expression, values), transaction({"Update": updating(expression, values)})):
        outcome = ways.commit([asked])
        assert outcome.written == [], asked
        assert outcome.answers[0] != DONE, asked
        assert item_of(ways) == before, asked


@pytest.mark.parametrize(("actions", "is_written"), [(12, True), (24, False)])
def test_clauses_that_count_for_more_bytes_than_an_item_may_have_are_refused(
    ways: TwoWays, actions: int, is_written: bool
) -> None:
    """Though what they leave of the item is small."""
    start_with(ways, {"n": n(1)})
    sums = (f"a{number} = if_not_exists(n, :v) + if_not_exists(n, :v)" for number in range(actions))
    expression = "SET " + ", ".join(sums)
    outcome = ways.commit([update(expression, {":v": n(1)}), update(expression, {":v": s("x" * 16_000)})])
    assert outcome.answers[0] == DONE
    assert (outcome.answers[1] == DONE) == is_written
    assert outcome.written == ([0, 1] if is_written else [])


# Numbers that C has to add and compare with care, or to leave: the item's, what is added, and the sum.
SUMS: list[tuple[str, str, str]] = [
    ("0.1", "0.2", "0.3"),
    ("1.5", "0.5", "2"),
    ("1.5", "-1.5", "0"),
    ("-0.25", "0.25", "0"),
    ("99999999999999999999", "1", "100000000000000000000"),
    ("9223372036854775807", "1", "9223372036854775808"),
    ("-9223372036854775808", "-1", "-9223372036854775809"),
    ("18446744073709551615", "1", "18446744073709551616"),
    ("99999999999999999999999999999", "1", "100000000000000000000000000000"),
    (BEYOND_SUMS, "1", "1" + "0" * 38),
    (BEYOND_SUMS, "-" + BEYOND_SUMS, "0"),
    ("1", "1e2", "101"),
    ("1.0", "1", "2"),
    ("01", "+1", "2"),
    ("-0", "0", "0"),
]


@pytest.mark.parametrize(("one", "other", "total"), SUMS)
def test_a_sum(ways: TwoWays, one: str, other: str, total: str) -> None:
    for expression in ("SET n = n + :v", "ADD n :v", "SET n = if_not_exists(n, :v) + :v"):
        start_with(ways, {"n": n(one)})
        assert ways.commit([update(expression, {":v": n(other)})]).answers == [DONE]
        found = item_of(ways)["n"]["N"]
        assert Decimal(found) == Decimal(total)
        equal = {"ConditionExpression": "n = :v", **valued({":v": n(found)})}
        assert ways.commit([put({**KEY, "same": n(1)}, **equal)]).answers == [DONE]
