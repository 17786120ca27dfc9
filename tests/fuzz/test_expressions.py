"""Expressions, made by their grammar and then broken: each one is understood or refused as DynamoDB does, soon."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from afterwrite.errors import ServiceError
from afterwrite.table import reads, writes
from afterwrite.table.capacity import SILENT
from afterwrite.table.lexer import EXPRESSION_BYTES_MAX
from afterwrite.table.schema import KeySchema
from afterwrite.table.statement_grammar import parse_statement
from afterwrite.table.statement_tree import Select
from afterwrite.table.statements import Page, item_write, query_plans
from fuzz.budget import FUZZ_S, TIMEOUT_S

SCHEMA = KeySchema("pk", "S", "sk", "N")
KEY = {"pk": {"S": "k"}, "sk": {"N": "1"}}
# What hypothesis makes and runs in a second, about; a fifth of the time is for these tests.
EXAMPLES = max(60, int(FUZZ_S * 0.2 / 4 * 100))
PARSE_S_MAX = 10.0

names = st.sampled_from(["a", "b", "c1", "D_e", "#n", "#m", "pk", "sk"])
indexes = st.sampled_from(["[0]", "[1]", "[99]", "[00]", f"[{'9' * 40}]"])
values = st.sampled_from([":v", ":w", ":x"])
tails = st.lists(st.one_of(names.map(lambda name: f".{name}"), indexes), max_size=3).map("".join)
paths = st.builds(lambda name, tail: name + tail, names, tails)
operands = st.one_of(values, paths, paths.map(lambda path: f"size({path})"))
comparators = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
predicates = st.one_of(
    st.builds(lambda left, by, right: f"{left} {by} {right}", operands, comparators, operands),
    st.builds(lambda what, low, high: f"{what} BETWEEN {low} AND {high}", operands, operands, operands),
    st.builds(
        lambda what, some: f"{what} IN ({', '.join(some)})", operands, st.lists(operands, min_size=1, max_size=4)
    ),
    paths.map(lambda path: f"attribute_exists({path})"),
    paths.map(lambda path: f"attribute_not_exists ( {path} )"),
    st.builds(lambda path, kind: f"attribute_type({path}, {kind})", paths, values),
    st.builds(lambda path, prefix: f"begins_with({path},{prefix})", paths, operands),
    st.builds(lambda path, what: f"contains({path}, {what})", paths, operands),
)
conditions = st.recursive(
    predicates,
    lambda inner: st.one_of(
        st.builds(lambda left, word, right: f"{left} {word} {right}", inner, st.sampled_from(["AND", "or"]), inner),
        inner.map(lambda text: f"NOT {text}"),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=8,
)
assigned = st.recursive(
    st.one_of(values, paths),
    lambda inner: st.one_of(
        st.builds(lambda path, other: f"if_not_exists({path}, {other})", paths, inner),
        st.builds(lambda left, right: f"list_append({left}, {right})", inner, inner),
        st.builds(lambda left, by, right: f"{left} {by} {right}", inner, st.sampled_from("+-"), inner),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=4,
)
sections = st.one_of(
    st.lists(st.builds(lambda path, value: f"{path} = {value}", paths, assigned), min_size=1, max_size=3).map(
        lambda actions: f"SET {', '.join(actions)}"
    ),
    st.lists(paths, min_size=1, max_size=3).map(lambda found: f"REMOVE {', '.join(found)}"),
    st.builds(lambda word, path, value: f"{word} {path} {value}", st.sampled_from(["ADD", "delete"]), paths, values),
)
updates = st.lists(sections, min_size=1, max_size=4).map(" ".join)
projections = st.lists(paths, min_size=1, max_size=5).map(", ".join)
key_conditions = st.builds(
    lambda value, by, other: f"pk = {value} AND sk {by} {other}",
    values,
    st.sampled_from(["=", "<", ">=", "BETWEEN :v AND", "<>"]),
    operands,
)
TOKENS = (
    "(",
    ")",
    ",",
    ".",
    "[",
    "]",
    "#",
    ":",
    "=",
    "<",
    "+",
    "-",
    " ",
    "\t",
    "\n",
    "NOT",
    "AND",
    "SET",
    "IN",
    "é",
    "\x00",
)


@st.composite
def broken(draw: st.DrawFn, made: st.SearchStrategy[str]) -> str:
    """A text of the grammar, as it is or with pieces taken out, put in, repeated or replaced by any characters."""
    text = draw(made)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 10)))
        piece = draw(
            st.one_of(st.just(""), st.sampled_from(TOKENS), st.just(text[start:stop] * 2), st.text(max_size=4))
        )
        text = text[:start] + piece + text[stop:]
    return text


numbers = st.sampled_from(["0", "1", "-7.5", "9" * 38, "1E-130", "9.9999999999999999999999999999999999999E+125"])
scalars = st.one_of(
    st.sampled_from([{"S": ""}, {"S": "x"}, {"S": "S"}, {"B": "AAEC"}, {"BOOL": True}, {"NULL": True}]),
    numbers.map(lambda text: {"N": text}),
    st.sampled_from([{"SS": ["x", "y"]}, {"NS": ["1", "2"]}, {"BS": ["AA=="]}]),
)
attribute_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda members: {"L": members}),
        st.dictionaries(st.sampled_from(["a", "b", "n"]), inner, max_size=3).map(lambda members: {"M": members}),
    ),
    max_leaves=5,
)
items = st.dictionaries(st.sampled_from(["a", "b", "c1", "D_e", "n", "m"]), attribute_values, max_size=4)
bound = st.fixed_dictionaries({":v": attribute_values, ":w": attribute_values, ":x": scalars})


def request(field: str, text: str, some: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A request with the expression, and the names and values that it mentions: others would be refused unread."""
    body = {"TableName": "things", **more, field: text}
    used = {name: value for name, value in some.items() if name in text}
    if used:
        body["ExpressionAttributeValues"] = used
    mentioned = {f"#{name}": name for name in "nm" if f"#{name}" in text}
    if mentioned:
        body["ExpressionAttributeNames"] = mentioned
    return body


def refused_or_done(run: Any) -> None:
    """Run it; DynamoDB's refusals are fine, anything else is not, and neither is a long time."""
    started = time.thread_time()
    try:
        run()
    except ServiceError as error:
        assert error.code in ("ValidationException", "ConditionalCheckFailedException"), error
        assert error.message
    assert time.thread_time() - started < PARSE_S_MAX


fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(text=broken(conditions), some=bound, old=items)
@example(text="NOT " * 1000 + "a = :v", some={":v": {"N": "1"}}, old={})
@example(text="(" * 4000, some={}, old={})
@example(text="a = :v" + " AND a = :v" * 350, some={":v": {"N": "1"}}, old={})
def test_conditions(text: str, some: dict[str, Any], old: Any) -> None:
    def run() -> None:
        write = writes.parse_delete_item(request("ConditionExpression", text, some, Key=KEY))
        write.answer(old, write.apply(SCHEMA, {**old, **KEY}))

    refused_or_done(run)


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(text=broken(updates), some=bound, old=items)
@example(text="SET a = " + "if_not_exists(b, " * 200 + ":v" + ")" * 200, some={":v": {"N": "1"}}, old={})
@example(text="REMOVE " + ", ".join(f"a[{number}]" for number in range(500)), some={}, old={"a": {"L": [{"S": "x"}]}})
def test_updates(text: str, some: dict[str, Any], old: Any) -> None:
    def run() -> None:
        write = writes.parse_update_item(request("UpdateExpression", text, some, Key=KEY, ReturnValues="UPDATED_NEW"))
        write.answer(old, write.apply(SCHEMA, {**old, **KEY}))

    refused_or_done(run)


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(text=broken(projections), old=items)
@example(text="a" + "[0]" * 1300, old={})
@example(text=", ".join(f"a{number}" for number in range(600)), old={})
def test_projections(text: str, old: Any) -> None:
    def run() -> None:
        get = reads.parse_get_item(request("ProjectionExpression", text, {}, Key=KEY))
        if get.projection is not None:
            get.projection.of({**old, **KEY})

    refused_or_done(run)


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(text=broken(key_conditions), filtered=broken(conditions), some=bound)
def test_key_conditions_and_filters(text: str, filtered: str, some: dict[str, Any]) -> None:
    def run() -> None:
        body = request("KeyConditionExpression", text, some)
        body["FilterExpression"] = filtered
        reads.parse_query(body)

    refused_or_done(run)


def in_partiql(expressions: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions with the names and values that they have placeholders for."""
    replaced = {"#": "", ":v": "?", ":w": "'it''s'", ":x": "[1, {'a': <<'b'>>}]"}
    return expressions.map(lambda text: re.sub("#|:[vwx]", lambda found: replaced[found[0]], text))


statements = st.one_of(
    st.builds(
        lambda columns, where, order: f"SELECT {columns} FROM things WHERE pk = 'k' AND {where}{order}",
        st.one_of(st.just("*"), in_partiql(projections)),
        in_partiql(conditions),
        st.sampled_from(["", " ORDER BY sk DESC", " order by a"]),
    ),
    st.builds(
        lambda update, where, returned: f"UPDATE things {update} WHERE pk = 'k' AND sk = 1{where}{returned}",
        in_partiql(updates),
        st.one_of(st.just(""), in_partiql(conditions).map(lambda condition: f" AND {condition}")),
        st.sampled_from(["", " RETURNING ALL NEW *", " RETURNING MODIFIED OLD *"]),
    ),
    in_partiql(conditions).map(lambda where: f"DELETE FROM \"things\" WHERE sk = 1 AND pk = 'k' AND ({where})"),
    in_partiql(values).map(lambda value: f"INSERT INTO things VALUE {{'pk': 'k', 'sk': 1, 'a': {value}}}"),
)


@pytest.mark.timeout(TIMEOUT_S)
@fuzzed
@given(text=broken(statements), old=items)
@example(text="SELECT * FROM things WHERE " + "(" * 4000, old={})
@example(text="INSERT INTO things VALUE {'pk': 'k', 'sk': 1, 'a': " + "[" * 4000, old={})
@example(text="DELETE FROM things WHERE pk = 'k' AND sk = 1" + " AND n = 5" * 700, old={})
def test_statements(text: str, old: Any) -> None:
    def run() -> None:
        statement = parse_statement(text, [{"S": "x"}] * text.count("?"))
        if isinstance(statement.action, Select):
            for plan in query_plans(statement, statement.action, SCHEMA, None, Page()):
                plan.range(SCHEMA, None)
        else:
            write = item_write(statement, SCHEMA, SILENT)
            write.answer(old, write.apply(SCHEMA, {**old, **write.key(SCHEMA)}))

    refused_or_done(run)


@pytest.mark.parametrize("unit", ["(", ")", "a.", "a[", "NOT ", "a = ", "#", ":", "-", "é", "\x00", "a,", " AND "])
def test_the_longest_expression_of_one_piece_is_refused_soon(unit: str) -> None:
    text = (unit * EXPRESSION_BYTES_MAX).encode()[:EXPRESSION_BYTES_MAX].decode(errors="ignore")
    for field in ("ConditionExpression", "UpdateExpression", "ProjectionExpression"):
        parse = {"ProjectionExpression": reads.parse_get_item}.get(field, writes.parse_update_item)
        started = time.thread_time()
        with pytest.raises(ServiceError):
            parse(request(field, text, {}, Key=KEY))
        assert time.thread_time() - started < PARSE_S_MAX


def test_texts_of_the_grammar_are_mostly_understood() -> None:
    """Else the tests above would look at refusals only."""
    understood = understood_statements = 0

    @settings(max_examples=60, database=None, derandomize=True)
    @given(text=conditions, some=bound, statement=statements)
    def count(text: str, some: dict[str, Any], statement: str) -> None:
        nonlocal understood, understood_statements
        with contextlib.suppress(ServiceError):
            writes.parse_delete_item(request("ConditionExpression", text, some, Key=KEY))
            understood += 1
        with contextlib.suppress(ServiceError):
            parse_statement(statement, [{"S": "x"}] * statement.count("?"))
            understood_statements += 1

    count()
    assert understood > 15
    assert understood_statements > 10
