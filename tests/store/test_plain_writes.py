"""What the library in C makes of conditional puts, updates and transactions is what Python makes of the same bodies."""

from __future__ import annotations

import random
import threading
import tracemalloc
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from afterwrite.accelerators import quick_library
from afterwrite.store import items, plain_batches, plain_writes, tables
from afterwrite.store.environment import WriteTransaction
from bounds import BOUND_S
from store.two_ways import DONE, Requested, TwoWays, carried_out, parsed
from store.write_bodies import (
    KEY,
    OTHER_KEY,
    check,
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
from store.write_requests import Request, Requests

pytestmark = pytest.mark.skipif(
    quick_library() is None, reason="the library in C was not made: there was no C compiler at the installation"
)

COMMITS = 200
SEEDS = 6
# How much of what is usual and was done the library has to have done, so that this compares anything.
WRITTEN_MIN = 0.3


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_ways_say_and_leave_the_same(tmp_path: Path, seed: int) -> None:
    """Also where two batches are written in one commit, and where Python has written before them."""
    ways = TwoWays(tmp_path)
    chosen = random.Random(seed)
    others = Requests(seed + SEEDS)
    usual = written = 0
    kinds: set[str] = set()
    for requests in Requests(seed).commits(COMMITS):
        cut = chosen.randint(0, len(requests)) if chosen.random() < 0.3 else 0
        before = [others.request() for _ in range(chosen.choice([0, 0, 0, 3]))]
        answers: list[Any] = []
        meanwhile = partial(carry_out, before, answers)
        outcome = ways.commit(requests[:cut], requests[cut:], meanwhile=meanwhile)
        assert answers[0] == answers[1]
        done = [slot for slot, request in enumerate(requests) if request.is_usual and outcome.answers[slot] == DONE]
        usual += len(done)
        written += len(set(done).intersection(outcome.written))
        kinds.update(requests[slot].operation for slot in outcome.written)
        ways.advance(chosen.choice([0, 1, 250]))
    ways.finish()
    assert usual > COMMITS
    assert written > usual * WRITTEN_MIN
    assert kinds == {"PutItem", "UpdateItem", "TransactWriteItems"}


def carry_out(requests: Sequence[Request], answers: list[Any], transaction: WriteTransaction) -> None:
    """Carry out the requests by Python, and keep the answers as one more entry of `answers`."""
    answers.append([carried_out(request, transaction) for request in requests])


def test_writes_of_one_item_in_one_batch_see_each_other(ways: TwoWays) -> None:
    outcome = ways.commit(
        [
            put({**KEY, "n": n(1)}, ConditionExpression="attribute_not_exists(pk)"),
            put({**KEY, "n": n(9)}, ConditionExpression="attribute_not_exists(pk)"),
            update("SET n = n + :v", {":v": n(1)}),
            update("ADD n :v", {":v": n(1)}, ConditionExpression="n < :v"),
            transaction(
                check("n = :v", values={":v": n(2)}), {"Update": updating("SET n = :v", {":v": n(5)}, OTHER_KEY)}
            ),
            transaction({"Update": updating("SET k = n, n = :v", {":v": n(12)})}),
            update("SET n = :v", {":v": n(21)}),
            update("SET n = :v", {":v": n(12)}),
            update("SET n = :v", {":v": n(12)}),
        ]
    )
    assert outcome.written == [0, 2, 4, 5, 6, 7, 8]
    assert item_of(ways) == {"n": n(12), "k": n(2)}
    assert item_of(ways, OTHER_KEY) == {"n": n(5)}


def test_a_transaction_is_written_as_a_whole_or_not_at_all(ways: TwoWays) -> None:
    start_with(ways, {"n": n(1)})
    members = [
        {"Update": updating("ADD n :v", {":v": n(1)})},
        {"Put": {"TableName": "new", "Item": {**KEY, "n": n(1)}, "ConditionExpression": "attribute_not_exists(pk)"}},
        check("attribute_not_exists(pk)", OTHER_KEY, "none"),
    ]
    outcome = ways.commit([transaction(*members), transaction(*members)])
    assert outcome.written == [0]
    assert outcome.answers[1][0] == "TransactionCanceledException"
    assert item_of(ways) == {"n": n(2)}


def test_batches_of_one_commit_see_each_other(ways: TwoWays) -> None:
    start_with(ways, {"n": n(1)})
    adding = update("ADD n :v", {":v": n(1)})
    doubling = [adding, update("SET n = n + n")]
    outcome = ways.commit(doubling, doubling, meanwhile=partial(carry_out, [adding], []))
    assert outcome.written == [0, 1, 2, 3]
    assert item_of(ways) == {"n": n(14)}


def test_a_token_makes_a_transaction_happen_once(ways: TwoWays) -> None:
    key, expression = {"Key": KEY, "TableName": "both"}, {"UpdateExpression": "ADD n :v"}
    values = {"ExpressionAttributeValues": {":v": n(1)}}
    first = transaction({"Update": {**key, **expression, **values}}, ClientRequestToken="a token")
    in_another_order = transaction({"Update": {**values, **expression, **key}}, ClientRequestToken="a token")
    other = transaction({"Update": {**key, **expression, **valued({":v": n(2)})}}, ClientRequestToken="a token")
    another_token = transaction({"Update": {**key, **expression, **values}}, ClientRequestToken="another")
    assert ways.commit([first, first]).written == [0]
    ways.advance(1000)
    outcome = ways.commit([in_another_order, other, another_token])
    assert outcome.written == [2]
    assert outcome.answers[1][0] == "IdempotentParameterMismatchException"
    assert item_of(ways) == {"n": n(2)}


def test_an_expression_that_is_not_known_is_left(ways: TwoWays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways.writes, "learn", lambda operation, body: None)
    outcome = ways.commit([update("SET n = :v", {":v": n(1)}), put({**KEY, "n": n(1)}, ConditionExpression="n = n")])
    assert outcome.written == []
    assert item_of(ways) == {"n": n(1)}


OVERLAPPING = "SET n = :v, n = :v"
VALUE = {":v": n(1)}
PUT = {"TableName": "both", "Item": {**OTHER_KEY, "n": n(1)}}


@pytest.mark.parametrize(
    "others",
    [
        put({**OTHER_KEY, "n": n(1)}, UpdateExpression=OVERLAPPING, ConditionExpression="NOT n = :v", **valued(VALUE)),
        transaction({"Put": {**PUT, **updating(OVERLAPPING, VALUE, ConditionExpression="NOT n = :v")}}),
        transaction({"Put": PUT, "Other": updating(OVERLAPPING, VALUE, ConditionExpression="NOT n = :v")}),
    ],
)
def test_an_expression_that_nobody_looked_at_is_not_known(ways: TwoWays, others: Request) -> None:
    start_with(ways, {"n": n(5)})
    outcome = ways.commit([others, update(OVERLAPPING, VALUE, ConditionExpression="NOT n = :v")])
    assert outcome.answers[0] == DONE
    assert outcome.answers[1][0] == "ValidationException"
    assert 1 not in outcome.taken


def test_a_table_that_changed_since_is_written_as_it_is_now(ways: TwoWays) -> None:
    start_with(ways, {"ttl": n(1_800_000_000)})
    requests = [
        update("SET n = :v", {":v": n(1)}),
        put({**OTHER_KEY, "ttl": n(1_800_000_000)}, ConditionExpression="attribute_not_exists(pk)"),
        transaction({"Put": {"TableName": "new", "Item": KEY}}),
    ]
    outcome = ways.commit(requests, meanwhile=lambda transaction: items.set_ttl(transaction, "both", None))
    assert outcome.answers == [DONE] * 3
    assert outcome.taken == [0, 1, 2]


def test_a_table_that_is_gone_is_left(ways: TwoWays) -> None:
    start_with(ways, {"n": n(1)})
    requests = [update("SET n = :v", {":v": n(2)}), transaction({"Put": {"TableName": "new", "Item": KEY}})]
    outcome = ways.commit(requests, meanwhile=lambda transaction: tables.delete_table(transaction, "both"))
    assert outcome.answers[0][0] == "ResourceNotFoundException"
    assert outcome.answers[1] == DONE


def test_a_damaged_item_fails_alone(ways: TwoWays) -> None:
    start_with(ways, {"n": n(1)})
    ways.commit([put({**OTHER_KEY, "n": n(1)})])
    for store in (ways.quick, ways.plain):
        store.damage("both", KEY)
    outcome = ways.commit(
        [
            update("SET n = n + :v", {":v": n(1)}, OTHER_KEY),
            update("SET n = n + :v", {":v": n(1)}),
            put({**KEY, "n": n(1)}),
            put({**KEY, "n": n(1)}, ConditionExpression="attribute_exists(pk)"),
            transaction(check("n = :v", values={":v": n(1)}), {"Put": {"TableName": "new", "Item": OTHER_KEY}}),
            update("SET k = n", None, OTHER_KEY),
        ]
    )
    assert [answer == DONE for answer in outcome.answers] == [True, False, False, False, False, True]


NAMES = {"#a": "n", "#b": "k"}
VALUES = {":v": n(1), ":w": n(2)}


@pytest.mark.parametrize(
    ("names", "values"),
    [
        ({"#a": "n", "#b": "n"}, VALUES),
        ({"#a": "pk", "#b": "k"}, VALUES),
        ({"#a": "n", "#b": "sk"}, VALUES),
        ({"#a": "n", "#b": ""}, VALUES),
        ({"#a": "n", "#b": None}, VALUES),
        ({"#a": "n"}, VALUES),
        ({**NAMES, "#c": "m"}, VALUES),
        ({**NAMES, "c": "m"}, VALUES),
        ([], VALUES),
        (None, VALUES),
        (NAMES, {":v": n(1)}),
        (NAMES, {**VALUES, ":x": n(1)}),
        (NAMES, {**VALUES, ":x": None}),
        (NAMES, {**VALUES, ":v": s("a")}),
        (NAMES, {**VALUES, ":v": {"SS": ["a"]}}),
        (NAMES, {**VALUES, ":w": {"N": 2}}),
        (NAMES, {**VALUES, ":w": {"N": "2", "S": "a"}}),
        (NAMES, {**VALUES, ":w": {}}),
        (NAMES, None),
    ],
)
def test_an_expression_that_is_known_with_others_names_and_values(ways: TwoWays, names: Any, values: Any) -> None:
    start_with(ways, {"n": n(1)})
    expression = "SET #b = :w ADD #a :v"
    known = update(expression, VALUES, OTHER_KEY, ExpressionAttributeNames=NAMES)
    fields = {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values}
    asked = [
        request("UpdateItem", TableName="both", Key=KEY, UpdateExpression=expression, **fields),
        transaction({"Update": {"TableName": "both", "Key": KEY, "UpdateExpression": expression, **fields}}),
    ]
    outcome = ways.commit([known, *asked])
    assert outcome.written == [0]
    assert DONE not in outcome.answers[1:]


def test_an_update_of_what_is_a_key_in_another_table(ways: TwoWays) -> None:
    elsewhere = update("SET sk = :v", {":v": s("a")}, {"pk": s("p")}, TableName="single")
    outcome = ways.commit([elsewhere, update("SET sk = :v", {":v": s("a")}), elsewhere])
    assert outcome.written == [0, 2]
    assert outcome.answers[1][0] == "ValidationException"


def test_names_of_attributes_are_taken_as_they_are(ways: TwoWays) -> None:
    for name in ("m.a", "x[0]", "a b", "size", "é", '"', ":v", "#a", "0"):
        names = {"ExpressionAttributeNames": {"#a": name}}
        start_with(ways, {name: n(1)})
        outcome = ways.commit([update("SET #a = #a + :v", {":v": n(1)}, ConditionExpression="#a = :v", **names)])
        assert outcome.written == [0], name
        assert item_of(ways) == {name: n(2)}


@pytest.mark.parametrize("table", ["indexed", "numbers"])
def test_a_table_that_is_not_for_c_is_left(ways: TwoWays, table: str) -> None:
    key = {"pk": n(1)} if table == "numbers" else KEY
    adding = {"TableName": table, "Key": key, "UpdateExpression": "ADD n :v", **valued({":v": n(1)})}
    outcome = ways.commit(
        [
            put({**key, "t": s("a")}, table, ConditionExpression="attribute_not_exists(pk)"),
            request("UpdateItem", **adding),
            transaction({"Update": adding}, {"Update": updating("SET n = :v", {":v": n(1)})}),
        ]
    )
    assert outcome.written == []
    assert item_of(ways, key, table) == {"t": s("a"), "n": n(2)}


def test_what_is_the_same_as_what_a_request_would_have_written_may_not_be_as_what_is_there(ways: TwoWays) -> None:
    """Python has said that the last put changes nothing after a transaction which then was left to it."""
    in_order, in_another = {"M": {"a": n(1), "b": n(2)}}, {"M": {"b": n(2), "a": n(1)}}
    ways.commit([put({**KEY, "m": in_order}), put({**OTHER_KEY, "x": n(1), "y": n(2)})])
    ways.advance(1)
    member = {"Put": {"TableName": "both", "Item": {**OTHER_KEY, "y": n(1), "x": n(2)}}}
    asked = [
        put({**KEY, "m": in_another}),
        transaction(check("m = :v", values={":v": in_another}), member),
        put({**OTHER_KEY, "x": n(2), "y": n(1)}),
    ]
    outcome = ways.commit(asked)
    assert outcome.answers == [DONE] * 3
    assert item_of(ways, OTHER_KEY) == {"x": n(2), "y": n(1)}


def test_items_that_are_too_much_memory_together_are_left(ways: TwoWays) -> None:
    """Each request has its own copy of the items that it looks at."""
    start_with(ways, {"s": s("x" * 400_000)})
    checking = transaction(check("attribute_exists(s)"))
    assert ways.commit([checking] * 20).written == list(range(20))
    assert ways.commit([checking] * 400).written == []


def test_long_expressions_are_not_kept(ways: TwoWays) -> None:
    """They have no form."""
    tracemalloc.start()
    try:
        for number in range(100):
            names = {"#a": f"{number} {'x' * 60_000}"}
            body = {"TableName": "both", "Key": KEY, "UpdateExpression": "REMOVE #a", "ExpressionAttributeNames": names}
            ways.writes.learn("UpdateItem", body)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


def test_writes_of_which_it_has_to_be_asked_one_after_the_other_are_left(ways: TwoWays) -> None:
    """Each would have all of them read once more, which took eight seconds of 200 updates of an item of 60 KB."""
    in_order, in_another = {"M": {"a": n(1), "b": n(2)}}, {"M": {"b": n(2), "a": n(1)}}
    start_with(ways, {"m": in_order})
    asked = [put({**KEY, "m": in_another}), update("SET m = :v", {":v": in_another})]
    assert ways.commit(asked).written == [0, 1]
    assert ways.commit(asked * 50).written == []
    assert item_of(ways) == {"m": in_order}


EXPRESSION = "SET n = :v"


def forms_of(ways: TwoWays, request: Request) -> bytes:
    """The forms by which the request is taken; none where it is not."""
    memory = Requested([request])
    _, _, batch = ways.writes.take(memory.address, memory.size)
    return b"" if batch is None else batch.forms


def test_an_expression_is_known_once_however_many_others_come(ways: TwoWays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_writes, "_LEARNED_MAX", 10)
    asked = update(EXPRESSION, {":v": n(1)})
    for number in range(40):
        ways.writes.learn("UpdateItem", parsed(asked.body))
        assert forms_of(ways, asked).count(EXPRESSION.encode()) == 1
        # These have no form.
        ways.writes.learn("UpdateItem", updating(f"SET l[{number}] = :v", {":v": n(1)}))


def test_an_expression_that_two_threads_learn_is_known_once(ways: TwoWays, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=BOUND_S)

    def is_short(key: object) -> bool:
        both.wait()
        return True

    monkeypatch.setattr(plain_writes, "is_short", is_short)
    asked = update(EXPRESSION, {":v": n(1)})
    threads = [threading.Thread(target=ways.writes.learn, args=("UpdateItem", parsed(asked.body))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert forms_of(ways, asked).count(EXPRESSION.encode()) == 1


def test_a_batch_that_makes_much_of_little_is_left(ways: TwoWays) -> None:
    """A character of one byte can be six of JSON, and each write has its own copy of what is there before and after."""
    filling = update("SET " + ", ".join(f"a{number} = s" for number in range(23)))
    adding = update("ADD n :v", {":v": n(1)})
    for each in (filling, adding):
        ways.writes.learn(each.operation, parsed(each.body))
    memory = Requested([put({**KEY, "s": s("\1" * 2_700)}), filling, *[adding] * 190])
    left, _, batch = ways.writes.take(memory.address, memory.size)
    assert (left, len(batch.requests if batch else ())) == (0, 192)
    written, _ = ways.quick.commit(lambda transaction: batch and plain_batches.write(transaction, batch))
    assert written is None
