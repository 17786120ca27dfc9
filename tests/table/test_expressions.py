"""Conditions, updates, projections and key conditions, on the cases in `cases/`."""

from __future__ import annotations

import copy
import json
import re
import tracemalloc
from typing import Any

import pytest

from afterwrite.errors import ConditionalCheckFailed, ServiceError
from afterwrite.table.attribute_values import checked_item
from afterwrite.table.expressions import Expressions
from afterwrite.table.keys import encode_key
from afterwrite.table.reads import parse_get_item, parse_query
from afterwrite.table.reserved_words import RESERVED_WORDS
from afterwrite.table.schema import GLOBAL, IndexSchema, KeyAttribute, KeySchema
from afterwrite.table.sizes import item_size
from afterwrite.table.writes import parse_put_item, parse_update_item
from table.case_files import load

SCHEMA = KeySchema("pk", "S", "sk", "N")


def placeholders(case: dict[str, Any]) -> dict[str, Any]:
    fields = {"ExpressionAttributeNames": case.get("names"), "ExpressionAttributeValues": case.get("values")}
    return {field: copy.deepcopy(value) for field, value in fields.items() if value}


@pytest.mark.parametrize("case", load("conditions"), ids=lambda case: case["if"])
def test_condition(case: dict[str, Any]) -> None:
    body = {"TableName": "abc", "Item": {}, "ConditionExpression": case["if"], **placeholders(case)}
    if "error" in case:
        with pytest.raises(ServiceError) as caught:
            parse_put_item(body)
        assert (caught.value.code, caught.value.message) == ("ValidationException", case["error"])
        return
    put = parse_put_item(body)
    item = checked_item(case["item"])
    if case["holds"]:
        assert put.apply(SCHEMA, item) == {}
    else:
        with pytest.raises(ConditionalCheckFailed):
            put.apply(SCHEMA, item)


@pytest.mark.parametrize("case", load("updates"), ids=lambda case: case["do"])
def test_update(case: dict[str, Any]) -> None:
    body = {"TableName": "abc", "Key": {}, "UpdateExpression": case["do"], **placeholders(case)}
    old = checked_item(case.get("old", {}))
    before = copy.deepcopy(old)
    if "error" in case:
        with pytest.raises(ServiceError) as caught:
            parse_update_item(body).apply(SCHEMA, old)
        assert (caught.value.code, caught.value.message) == ("ValidationException", case["error"])
    else:
        update = parse_update_item(body)
        new = update.apply(SCHEMA, old)
        assert new == case["new"]
        assert new is None or update.size(new, old, item_size(old)) == item_size(new)
    assert old == before


@pytest.mark.parametrize("case", load("projections"), ids=lambda case: case["get"])
def test_projection(case: dict[str, Any]) -> None:
    body = {"TableName": "abc", "Key": {}, "ProjectionExpression": case["get"], **placeholders(case)}
    if "error" in case:
        with pytest.raises(ServiceError) as caught:
            parse_get_item(body)
        assert caught.value.message == case["error"]
    else:
        assert parse_get_item(body).answer(checked_item(case["item"])) == {"Item": case["gives"]}


@pytest.mark.parametrize("case", load("key_conditions"), ids=lambda case: case["where"])
def test_key_condition(case: dict[str, Any]) -> None:
    values = {":p": {"S": "p"}, ":two": {"N": "2"}, ":three": {"N": "3"}}
    used = {name: value for name, value in values.items() if re.search(f"{name}\\b", case["where"])}
    body: dict[str, Any] = {"TableName": "abc", "KeyConditionExpression": case["where"]}
    if used:
        body["ExpressionAttributeValues"] = used
    if "error" in case:
        with pytest.raises(ServiceError) as caught:
            parse_query(body).range(SCHEMA)
        assert caught.value.message == case["error"]
        return
    found = parse_query(body).range(SCHEMA)
    items = [
        {"pk": {"S": partition}, "sk": {"N": sort}} for partition in ("o", "p", "q") for sort in ("1", "2", "3", "4")
    ]
    selected = [item for item in items if found.low <= encode_key(SCHEMA, item) < found.high]
    assert {item["pk"]["S"] for item in selected} == {"p"}
    assert [item["sk"]["N"] for item in selected] == case["gives"]


BY_TEXT = KeySchema("pk", "S", "sk", "S")
BY_FOUR = IndexSchema(
    "by-four",
    GLOBAL,
    (KeyAttribute("h1", "S"), KeyAttribute("h2", "S")),
    (KeyAttribute("r1", "S"), KeyAttribute("r2", "S"), KeyAttribute("r3", "S")),
)
UNEQUAL = "RANGE key attributes {} must have equality conditions specified in the query because a condition is present"

UNEQUAL_HASH = "HASH key attributes {} must have equality conditions specified in the query"


@pytest.mark.parametrize(
    "where", ["sk > :none", "sk <= :none", "begins_with(sk, :none)", "sk BETWEEN :none AND :p", "sk = :none"]
)
def test_no_key_is_compared_with_an_empty_text(where: str) -> None:
    values = {":none": {"S": ""}, ":p": {"S": "p"}}
    body = {"TableName": "abc", "KeyConditionExpression": f"pk = :p AND {where}", "ExpressionAttributeValues": values}
    with pytest.raises(ServiceError, match=r"cannot contain an empty string value\. Key: sk"):
        parse_query(body).range(BY_TEXT)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("h1 = :a", UNEQUAL_HASH.format("h2")),
        ("h1 = :a AND h2 > :a", UNEQUAL_HASH.format("h2")),
        ("r1 = :a AND begins_with(h2, :a)", UNEQUAL_HASH.format("h1, h2")),
        ("h1 = :a AND h2 = :a AND r2 = :a", UNEQUAL.format("r1") + " on key attribute r2"),
        ("h1 = :a AND h2 = :a AND r1 > :a AND r2 = :a", UNEQUAL.format("r1") + " on key attribute r2"),
        ("h1 = :a AND h2 = :a AND r3 > :a", UNEQUAL.format("r1, r2") + " on key attribute r3"),
        ("h1 = :a AND h2 = :a AND r1 = :a AND x = :a", "Query condition missed key schema element: r2"),
    ],
)
def test_the_sort_keys_of_an_index_are_given_from_the_first(where: str, message: str) -> None:
    body = {"TableName": "abc", "IndexName": "by-four", "KeyConditionExpression": where}
    with pytest.raises(ServiceError) as refused:
        parse_query({**body, "ExpressionAttributeValues": {":a": {"S": "a"}}}).range(BY_TEXT, BY_FOUR)
    assert refused.value.message == message


def refusal(body: dict[str, Any], *fields: str) -> str:
    with pytest.raises(ServiceError) as caught:
        expressions = Expressions(body, fields)
        for field in fields:
            expressions.condition(field)
        expressions.finish()
    assert caught.value.code == "ValidationException"
    return caught.value.message


def test_placeholders_must_be_used() -> None:
    condition = {"ConditionExpression": "attribute_exists(a)"}
    assert refusal({**condition, "ExpressionAttributeNames": {"#a": "a", "#b": "b"}}, "ConditionExpression") == (
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#a, #b}"
    )
    assert refusal({**condition, "ExpressionAttributeValues": {":a": {"S": "a"}}}, "ConditionExpression") == (
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:a}"
    )


@pytest.mark.parametrize(
    ("names", "values", "message"),
    [
        ({}, None, "ExpressionAttributeNames must not be empty"),
        ({"a": "a"}, None, 'ExpressionAttributeNames contains invalid key: Syntax error; key: "a"'),
        (None, {}, "ExpressionAttributeValues must not be empty"),
        (None, {"b": {"S": "a"}}, 'ExpressionAttributeValues contains invalid key: Syntax error; key: "b"'),
        (
            None,
            {":b": {"N": "b"}},
            "ExpressionAttributeValues contains invalid value: "
            "The parameter cannot be converted to a numeric value: b for key :b",
        ),
    ],
)
def test_placeholders_are_checked_before_the_expression(names: Any, values: Any, message: str) -> None:
    body = {"ConditionExpression": "", "ExpressionAttributeNames": names, "ExpressionAttributeValues": values}
    assert refusal(body, "ConditionExpression") == message


@pytest.mark.parametrize(
    ("field", "sigil", "value", "told"),
    [
        ("ExpressionAttributeNames", "#", "a", " size of key: 256"),
        ("ExpressionAttributeValues", ":", {"S": "a"}, ""),
    ],
)
def test_placeholders_have_at_most_255_bytes(field: str, sigil: str, value: Any, told: str) -> None:
    def update(placeholder: str) -> dict[str, Any]:
        expression = f"SET {placeholder} = b" if sigil == "#" else f"SET b = {placeholder}"
        key = {"pk": {"S": "p"}}
        return {"TableName": "things", "Key": key, "UpdateExpression": expression, field: {placeholder: value}}

    longest = sigil + "x" * 254
    parse_update_item(update(longest))
    message = f"{field} contains invalid key: The expression attribute map contains a key that is too long;{told}"
    for longer in (f"{longest}x", f"{longest}-"):  # the second could be no placeholder at any length
        with pytest.raises(ServiceError) as caught:
            parse_update_item(update(longer))
        assert caught.value.message == message


def test_placeholders_need_an_expression() -> None:
    assert refusal({"ExpressionAttributeNames": {"#a": "a"}}, "ConditionExpression") == (
        "ExpressionAttributeNames can only be specified when using expressions"
    )
    body = {"ExpressionAttributeValues": {":a": {"S": "a"}}}
    assert refusal(body, "UpdateExpression", "ConditionExpression") == (
        "ExpressionAttributeValues can only be specified when using expressions: "
        "UpdateExpression and ConditionExpression are null"
    )


GOOD = {
    "UpdateExpression": "SET #a = :a",
    "ConditionExpression": "size(#b) > :b",
    "ExpressionAttributeNames": {"#a": "a", "#b": "b"},
    "ExpressionAttributeValues": {":a": {"S": "x"}, ":b": {"N": "1.0"}},
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ExpressionAttributeNames": {"#a": "a"}}, "attribute name used in the document path is not defined"),
        ({"ExpressionAttributeNames": {"#a": "a", "#b": "b", "#c": "c"}}, "unused in expressions: keys: {#c}"),
        ({"ExpressionAttributeNames": {"#a": "a", "#b": ""}}, "Empty attribute name for key #b"),
        ({"ExpressionAttributeNames": {"#a": "a", "#b": 1}}, "NUMBER_VALUE cannot be converted to String"),
        ({"ExpressionAttributeNames": ["#a", "#b"]}, "Unrecognized collection type"),
        ({"ExpressionAttributeNames": {}}, "ExpressionAttributeNames must not be empty"),
        ({"ExpressionAttributeNames": None}, "attribute name used in the document path is not defined"),
        ({"ExpressionAttributeValues": {":a": {"S": "x"}}}, "attribute value: :b"),
        ({"ExpressionAttributeValues": {":a": {"S": "x"}, ":b": {"N": "x"}}}, "a numeric value: x for key :b"),
        ({"ExpressionAttributeValues": {":a": {"S": "x"}, ":b": {"BOOL": True}}}, "operand type: BOOL"),
        ({"ExpressionAttributeValues": {":a": {"BOOL": 1}, ":b": {"N": "1"}}}, "cannot be converted to Boolean"),
        ({"ExpressionAttributeValues": {}}, "ExpressionAttributeValues must not be empty"),
        ({"ExpressionAttributeValues": [":a"]}, "Unrecognized collection type"),
        ({"UpdateExpression": ["SET"]}, "Unrecognized collection type"),
        ({"UpdateExpression": "SET #a = :a, #a = :a"}, "Two document paths overlap"),
        ({"ConditionExpression": None}, "unused in expressions: keys: {#b}"),
        ({"ConditionExpression": ""}, "The expression can not be empty"),
        ({"Expected": {"a": {"Exists": False}}}, "Can not use both expression and non-expression parameters"),
    ],
)
def test_a_write_is_refused_in_the_same_words_each_time(fields: dict[str, Any], message: str) -> None:
    def parse(**changed: Any) -> Any:
        return parse_update_item(copy.deepcopy({"TableName": "abc", "Key": {}, **GOOD, **changed}))

    for _ in range(3):
        assert parse().values == {":a": {"S": "x"}, ":b": {"N": "1"}}
        with pytest.raises(ServiceError, match=re.escape(message)):
            parse(**fields)


def test_the_same_text_means_other_attributes_under_other_names() -> None:
    for name, holds in (("a", True), ("b", False)):
        body = {"ConditionExpression": "attribute_exists(#n)", "ExpressionAttributeNames": {"#n": name}}
        condition = Expressions(body, ("ConditionExpression",)).condition("ConditionExpression")
        assert condition is not None
        assert condition.holds({"a": {"S": "x"}}) is holds


def test_all_of_dynamodbs_reserved_words_are_known() -> None:
    assert len(RESERVED_WORDS) == 573
    assert {"NAME", "STATUS", "TTL", "ZONE"} <= RESERVED_WORDS
    assert "PK" not in RESERVED_WORDS


def test_an_expression_has_limits() -> None:
    long = "a = :v OR " * 500 + "a = :v"
    assert "Expression size has exceeded the maximum allowed size" in refusal(
        {"ConditionExpression": long}, "ConditionExpression"
    )
    many = " OR ".join(["a=:v"] * 200)
    assert "too many operators" in refusal({"ConditionExpression": many}, "ConditionExpression")
    deep = "(" * 1500 + "a = :v" + ")" * 1500
    assert "nested too deeply" in refusal({"ConditionExpression": deep}, "ConditionExpression")
    assert "nested too deeply" in refusal({"ConditionExpression": "NOT " * 900 + "a = :v"}, "ConditionExpression")


def test_an_update_cannot_build_what_no_put_could() -> None:
    """A nested SET may place a value of 32 levels 32 levels deep; the result is refused."""
    value: dict[str, Any] = {"S": "x"}
    for _ in range(20):
        value = {"M": {"a": value}}
    path = ".".join(["a"] * 16)
    body = {
        "TableName": "abc",
        "Key": {},
        "UpdateExpression": f"SET {path} = :v",
        "ExpressionAttributeValues": {":v": value},
    }
    with pytest.raises(ServiceError, match="Nesting Levels have exceeded supported limits"):
        parse_update_item(body).apply(SCHEMA, {"a": copy.deepcopy(value)})


@pytest.mark.parametrize(
    "said",
    [
        {"UpdateExpression": "SET a = :v" + "x" * 1_000_000},
        {"ExpressionAttributeValues": {":v": {"S": "a"}, ":" + "x" * 1_000_000: {"S": "a"}}},
        {"ExpressionAttributeNames": {"#" + "x" * 1_000_000: "a"}},
        {"ExpressionAttributeNames": {f"#{number}": str(number) * 60_000 for number in range(10)}},
    ],
    ids=["an expression", "a value's name", "a name's placeholder", "names"],
)
def test_requests_with_long_texts_are_not_kept_in_memory(said: dict[str, Any]) -> None:
    body = {
        "TableName": "abc",
        "Key": {},
        "UpdateExpression": "SET a = :v",
        "ExpressionAttributeValues": {":v": {"S": "a"}},
        **said,
    }
    text = json.dumps(body)
    tracemalloc.start()
    try:
        for number in range(5):
            with pytest.raises(ServiceError):
                parse_update_item(json.loads(text.replace("xxx", f"x{number}x").replace("000", f"0{number}0")))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < len(text)


def test_long_arns_of_tables_are_not_kept_in_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(5):
            arn = f"arn:{'x' * 1_000_000}{number}:dynamodb:us-east-1:000000000000:table/abc"
            assert parse_update_item({"TableName": arn, "Key": {}}).table_name == "abc"
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 2_000_000  # the last one is at hand
