"""Whatever a request holds, the answer is a plan or one of DynamoDB's errors."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from afterwrite.errors import ServiceError
from afterwrite.table import batches, reads, table_requests, writes
from afterwrite.table.schema import KeySchema

SCHEMA = KeySchema("a", "S", "b", "N")
TOKENS = [
    *("a", "b.c", "c[0]", "#n", ":v", ":w", "and", "OR", "not", "BETWEEN", "in", "(", ")", ",", "=", "<>", "<", ">="),
    *("size(a)", "contains", "begins_with(a, :v)", "attribute_type", "attribute_exists(b.c)", "if_not_exists"),
    *("list_append", "SET", "REMOVE", "ADD", "delete", "+", "-", ".", "[", "]", "1", "_", "é", '"', "name"),
]
expressions = st.lists(st.sampled_from(TOKENS), max_size=10).map(" ".join)
scalars = st.sampled_from([None, True, 1, 1.5, "", "x", "1", "1e999", "YQ=="])
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(st.sampled_from(["S", "N", "B", "M", "L", "SS", "NS", "BS", "NULL", "BOOL", "a", "b"]), inner),
    ),
    max_leaves=6,
)
attribute_values = st.sampled_from(
    [
        {"S": "x"},
        {"N": "1"},
        {"B": "YQ=="},
        {"SS": ["x"]},
        {"L": [{"N": "1"}]},
        {"M": {"c": {"N": "1"}}},
        {"NULL": True},
    ]
)
items = st.dictionaries(st.sampled_from(["a", "b", "c"]), attribute_values)


def apply(write: writes.ItemWrite, old: Any) -> None:
    key = write.key(SCHEMA)
    write.answer(old, write.apply(SCHEMA, {**old, **key}))


@settings(max_examples=400)
@given(
    expressions, st.sampled_from(["ConditionExpression", "UpdateExpression"]), attribute_values, attribute_values, items
)
@example("SET b.c[0].c = list_append(:v, :v)", "UpdateExpression", {"L": []}, {"S": "x"}, {})
def test_any_expression(text: str, field: str, v: Any, w: Any, old: Any) -> None:
    body: dict[str, Any] = {"TableName": "abc", "Key": {"a": {"S": "k"}, "b": {"N": "1"}}, field: text}
    if "#n" in text:
        body["ExpressionAttributeNames"] = {"#n": "c"}
    values = {name: value for name, value in ((":v", v), (":w", w)) if name in text}
    if values:
        body["ExpressionAttributeValues"] = values
    with contextlib.suppress(ServiceError):
        apply(writes.parse_update_item(body), old)


PARSERS = {
    writes.parse_put_item: ("Item", "ConditionExpression", "ExpressionAttributeNames", "ReturnValues"),
    writes.parse_update_item: ("Key", "UpdateExpression", "ExpressionAttributeValues", "AttributeUpdates"),
    reads.parse_get_item: ("Key", "ProjectionExpression", "ConsistentRead"),
    reads.parse_query: ("KeyConditionExpression", "Limit", "ExclusiveStartKey", "Select", "ScanIndexForward"),
    batches.parse_batch_write_item: ("RequestItems", "ReturnConsumedCapacity"),
    batches.parse_transact_write_items: ("TransactItems", "ClientRequestToken"),
    table_requests.parse_create_table: ("KeySchema", "AttributeDefinitions", "BillingMode", "StreamSpecification"),
    table_requests.parse_update_time_to_live: ("TimeToLiveSpecification",),
}


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@given(data=st.data())
def test_any_field(parser: Any, data: st.DataObject) -> None:
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(PARSERS[parser], json_values)))
    with contextlib.suppress(ServiceError):
        parser({"TableName": "abc", **body})


def test_a_transaction_nested_too_deep_for_its_token_is_refused() -> None:
    value: Any = {"S": "x"}
    for _ in range(300):
        value = {"L": [value]}
    body = {"TransactItems": [{"Put": {"TableName": "things", "Item": {"a": value}}}], "ClientRequestToken": "t"}
    with pytest.raises(ServiceError) as refused:
        batches.parse_transact_write_items(body)
    assert refused.value.code == "SerializationException"
