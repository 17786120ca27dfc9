"""PartiQL's text: what is read, and in which words the rest is refused (as DynamoDB was measured to answer)."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.errors import ServiceError
from afterwrite.table.statement_grammar import parse_statement
from afterwrite.table.statement_tree import Insert, Select

_MALFORMED = "Statement wasn't well formed, can't be processed: "
_LEFT_OVER = f"{_MALFORMED}Unexpected token after expression"
_OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
_WRONG_TYPE = "Incorrect operand type for operator or function; operator or function: "
_PATH_NEEDED = "Operator or function requires a document path; operator or function: "


def inserted(value: str, *parameters: Any) -> Any:
    action = parse_statement(f"INSERT INTO \"things\" VALUE {{'pk': 'a', 'v': {value}}}", parameters).action
    assert isinstance(action, Insert)
    return action.item["v"]


def refusal(text: str, *parameters: Any) -> str:
    with pytest.raises(ServiceError) as refused:
        parse_statement(text, parameters)
    assert refused.value.code == "ValidationException"
    return refused.value.message


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("'it''s'", {"S": "it's"}),
        ("7.31e6", {"N": "7310000"}),
        ("-.73E1", {"N": "-7.3"}),
        ("73100000e-1", {"N": "7310000"}),
        ("true", {"BOOL": True}),
        ("NULL", {"NULL": True}),
        ("[1, ['b'], {}]", {"L": [{"N": "1"}, {"L": [{"S": "b"}]}, {"M": {}}]}),
        ("{'a': 1, 'b': {'c': false}}", {"M": {"a": {"N": "1"}, "b": {"M": {"c": {"BOOL": False}}}}}),
        ("<<'q', 'p'>>", {"SS": ["p", "q"]}),
        ("<<2, 1>>", {"NS": ["2", "1"]}),
    ],
)
def test_literals(literal: str, value: Any) -> None:
    found = inserted(literal)
    if "NS" in value:
        assert sorted(found["NS"]) == sorted(value["NS"])
    else:
        assert found == value


def test_parameters_are_taken_in_order_and_made_canonical() -> None:
    assert inserted("[?, ?]", {"N": "01"}, {"S": "x"}) == {"L": [{"N": "1"}, {"S": "x"}]}


@pytest.mark.parametrize(
    "text",
    [
        "-- a note\nSELECT * FROM \"things\" WHERE pk = 'a'",
        "select * from things /* a\nnote */ where pk = 'a' -- the end",
        'SELECT * FROM "things" WHERE "pk" = \'a\'',
        "SELECT * FROM things WHERE pk = 'a';",
    ],
)
def test_comments_case_and_quotes(text: str) -> None:
    statement = parse_statement(text)
    assert isinstance(statement.action, Select)
    assert statement.action.table_name == "things"
    assert statement.values == {":0": {"S": "a"}}
    assert statement.names == {"#0": "pk"}


def test_an_index_is_named_behind_its_table() -> None:
    action = parse_statement('SELECT a.b[1], c FROM "things"."by-kind" WHERE k = 1 ORDER BY k DESC, l').action
    assert isinstance(action, Select)
    assert (action.table_name, action.index_name) == ("things", "by-kind")
    assert action.order == (("k", False), ("l", True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SLECT * FROM t", f"{_MALFORMED}Expected data manipulation"),
        ("UPDATE my-things SET a = 1 WHERE pk = 'a'", f"{_MALFORMED}Expected data manipulation"),
        ("INSERT INTO urls (key) VALUES (1)", f"{_MALFORMED}Unexpected keyword"),
        ("SELECT * FROM t WHERE pk = 1 foo", _LEFT_OVER),
        ("SELECT * FROM t WHERE pk = 1 e5", _LEFT_OVER),
        ("SELECT * FROM t WHERE pk = 1)", _LEFT_OVER),
        ("SELECT * FROM t ORDER BY pk WHERE pk = 1", _LEFT_OVER),
        ("INSERT INTO t VALUE {'pk': 1} foo", _LEFT_OVER),
        ("INSERT INTO t x VALUE {'pk': 1}", _LEFT_OVER),
        ("UPDATE t SET a = 9 WHERE pk = 1 foo", _LEFT_OVER),
        ("DELETE FROM t WHERE pk = 1 ORDER BY pk", _LEFT_OVER),
        ("SELECT * FROM t WHERE pk = 1e2147483648", _MALFORMED),
        ("SELECT * FROM t WHERE pk = 1e99999999999", _MALFORMED),
        ("SELECT * FROM t WHERE pk = 1.5e-2147483647", _MALFORMED),
        (f"SELECT * FROM t WHERE pk = 1e{'0' * 5000}2147483648", _MALFORMED),
        ("SELECT * FROM t WHERE pk = 1 # note", _MALFORMED),
        ("SELECT * FROM t WHERE pk = 1 /* note", _MALFORMED),
        ("SELECT * FROM t WHERE pk = 'a", _MALFORMED),
        (f"SELECT * FROM t WHERE {'(' * 2000}pk = 1{')' * 2000}", _MALFORMED),
        (f"SELECT * FROM t WHERE {'NOT ' * 1500}pk = 1", _MALFORMED),
        (f"INSERT INTO t VALUE {{'pk': {'[' * 2000}", _MALFORMED),
        ("SELECT * FROM t WHERE", f"{_MALFORMED}Unexpected term"),
        ("SELECT * FROM t WHERE;", f"{_MALFORMED}Unexpected term"),
        ("DELETE FROM t WHERE NOT", f"{_MALFORMED}Unexpected term"),
        ("UPDATE t SET a = 1 WHERE (", f"{_MALFORMED}Unexpected term"),
        ("SELECT * FROM t WHERE pk = 1 AND", f"{_MALFORMED}Missing right-hand side expression of infix operator"),
        ("SELECT * FROM t WHERE pk = 1 OR", f"{_MALFORMED}Missing right-hand side expression of infix operator"),
        ("SELECT * FROM t WHERE ORDER BY pk", f"{_MALFORMED}Unexpected keyword"),
        ("SELECT * FROM t WHERE IS NULL", f"{_MALFORMED}Unexpected operator"),
        ("SELECT * FROM t WHERE pk = LIKE", f"{_MALFORMED}Unexpected operator"),
        ("SELECT * FROM t WHERE a IS FOO", f"{_MALFORMED}Expected type name"),
        ("SELECT * FROM", f"{_MALFORMED}Unexpected term"),
        ("DELETE FROM", f"{_MALFORMED}Expected identifier for simple path"),
        ("DELETE FROM;", f"{_MALFORMED}Expected identifier for simple path"),
        ("DELETE FROM WHERE pk = 'a'", f"{_MALFORMED}Expected identifier for simple path"),
        ("FROM t SET c = 1 WHERE pk = 'a'", _LEFT_OVER),
        ("FROM t WHERE pk = 'a'", f"{_MALFORMED}Expected data manipulation"),
        ("SELECT * FROM t.i.j WHERE pk = 1", "A path may contain at most 2 components in the FROM clause"),
        ('SELECT * FROM t."" WHERE pk = 1', "Path component cannot be an empty string"),
        ('SELECT * FROM "" WHERE pk = 1', "Path component cannot be an empty string"),
        ("INSERT INTO t.i VALUE {'pk': 1}", "FROM clause may only contain a single table name"),
        ("UPDATE t.i SET a = 1 WHERE pk = 1", "This operation is not supported on an index"),
        ("DELETE FROM t.i WHERE pk = 1", "This operation is not supported on an index"),
        ("SELECT * FROM t AS u WHERE pk = 1", "Aliasing is not supported"),
        ("SELECT * FROM t u WHERE pk = 1", "Aliasing is not supported"),
        ("UPDATE t u SET a = 3 WHERE pk = 1", "Aliasing is not supported"),
        ("DELETE FROM t u WHERE pk = 1", "Aliasing is not supported"),
        ("SELECT * FROM t WHERE pk = 1e126", f"{_OVERFLOW} under root"),
        ("INSERT INTO t VALUE {'pk': 1, 'm': {'x': 1e126}}", f"{_OVERFLOW} under root.x"),
        ("INSERT INTO t VALUE {'pk': 1, 'l': [1, 1e126]}", f"{_OVERFLOW} under root[1]"),
        ("SELECT * FROM t WHERE pk = ?", "Number of parameters in request and statement don't match."),
        ("SELECT COUNT(* FROM t", f"{_MALFORMED}Unexpected token"),
        ("SELECT * FROM t WHERE pk = 1 AND a < true", f"{_WRONG_TYPE}<, operand type: BOOL"),
        ("DELETE FROM t WHERE pk = 1 AND begins_with(a, 1)", f"{_WRONG_TYPE}begins_with, operand type: N"),
        ("SELECT *\nFROM t WHERE EXISTS(a)", "Unrecognized function: exists at 2:14:6"),
        ("SELECT * FROM t WHERE attribute_exists(m.inner)", f"{_MALFORMED}Invalid path dot component"),
        (
            "INSERT INTO t VALUE {'pk': 1, 's': set_add(<<1>>, <<2>>)}",
            "Unsupported data type: set_add under key root at 1:36:7",
        ),
        (
            "UPDATE t SET u = set_add(s, <<'x'>>) WHERE pk = 1",
            "The first argument to SET_ADD must equal the assignment value at 1:18:7",
        ),
        (
            "UPDATE t SET s = set_delete(s, 'x') WHERE pk = 1",
            "The second argument to SET_DELETE must be a value with type SET at 1:29:1",
        ),
        ("UPDATE t SET s = set_add(s) WHERE pk = 1", "SET_ADD must have exactly two arguments at 1:18:7"),
        ("UPDATE t SET s = set_add(s, <<>>) WHERE pk = 1", "Empty bags are not supported"),
        (
            "UPDATE t SET s = set_add(s, <<'x', 'x'>>) WHERE pk = 1",
            "One or more parameter values were invalid: Input collection [x, x] contains duplicates.",
        ),
        (
            "DELETE FROM t WHERE pk = 1 RETURNING MODIFIED OLD *",
            "Invalid returning clause: RETURNING MODIFIED OLD *. "
            "Only RETURNING ALL OLD * is allowed in DELETE statements.",
        ),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert refusal(text) == message


def test_more_parameters_than_places() -> None:
    message = "Number of parameters in request and statement don't match."
    assert refusal("SELECT * FROM t WHERE pk = ?", {"S": "a"}, {"S": "b"}) == message


def test_a_list_index_too_long_for_any_list() -> None:
    assert refusal(f"SELECT a[{'1' * 5000}] FROM t").startswith(_MALFORMED)
