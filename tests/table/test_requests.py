"""Request bodies become plans, or DynamoDB's errors."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from afterwrite.core.values import Item
from afterwrite.errors import ConditionalCheckFailed, ServiceError
from afterwrite.table import batches, reads, table_requests, writes
from afterwrite.table.keys import encode_key
from afterwrite.table.schema import KeySchema
from afterwrite.table.sizes import item_size

SCHEMA = KeySchema("pk", "S", "sk", "N")
KEY: Item = {"pk": {"S": "p"}, "sk": {"N": "1"}}
OLD: Item = {**KEY, "count": {"N": "1"}, "tags": {"M": {"a": {"S": "x"}, "b": {"S": "y"}}}}


def refused(parse: Callable[[Any], Any], body: dict[str, Any], code: str = "ValidationException") -> str:
    with pytest.raises(ServiceError) as caught:
        parse(body)
    assert caught.value.code == code
    return caught.value.message


def put(**fields: Any) -> writes.Put:
    return writes.parse_put_item({"TableName": "abc", "Item": {**KEY, "a": {"S": "x"}}, **fields})


def update(expression: str | None, values: dict[str, Any] | None = None, **fields: Any) -> writes.Update:
    body = {"TableName": "abc", "Key": dict(KEY), "UpdateExpression": expression, **fields}
    if values:
        body["ExpressionAttributeValues"] = values
    return writes.parse_update_item(body)


def test_a_plain_put_and_delete_do_not_look_at_the_old_item() -> None:
    write = put()
    assert not write.needs_old
    assert write.key(SCHEMA) == KEY
    assert write.apply(SCHEMA, None) == {**KEY, "a": {"S": "x"}}
    assert write.answer(None, write.item) == {}
    delete = writes.parse_delete_item({"TableName": "abc", "Key": dict(KEY)})
    assert not delete.needs_old
    assert delete.key(SCHEMA) == KEY
    assert delete.apply(SCHEMA, None) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"ReturnValues": "ALL_OLD"},
        {"ConditionExpression": "attribute_exists(pk)"},
        {"ReturnConsumedCapacity": "TOTAL"},
    ],
)
def test_what_makes_a_write_look_at_the_old_item(fields: dict[str, Any]) -> None:
    assert put(**fields).needs_old
    assert writes.parse_delete_item({"TableName": "abc", "Key": dict(KEY), **fields}).needs_old
    assert update(None).needs_old


def test_return_values_of_put_and_delete() -> None:
    write = put(ReturnValues="ALL_OLD")
    assert write.answer(OLD, write.item) == {"Attributes": OLD}
    assert write.answer(None, write.item) == {}
    delete = writes.parse_delete_item({"TableName": "abc", "Key": dict(KEY), "ReturnValues": "ALL_OLD"})
    assert delete.answer(OLD, None) == {"Attributes": OLD}


@pytest.mark.parametrize(
    ("return_values", "attributes"),
    [
        ("NONE", None),
        ("ALL_OLD", OLD),
        ("UPDATED_OLD", {"count": {"N": "1"}, "tags": {"M": {"a": {"S": "x"}}}}),
        ("UPDATED_NEW", {"count": {"N": "2"}, "tags": {"M": {"a": {"S": "z"}}}}),
        ("ALL_NEW", {**OLD, "count": {"N": "2"}, "tags": {"M": {"a": {"S": "z"}, "b": {"S": "y"}}}}),
    ],
)
def test_return_values_of_an_update(return_values: str, attributes: dict[str, Any] | None) -> None:
    write = update(
        "ADD #count :one SET tags.a = :z",
        {":one": {"N": "1"}, ":z": {"S": "z"}},
        ExpressionAttributeNames={"#count": "count"},
        ReturnValues=return_values,
    )
    new = write.apply(SCHEMA, OLD)
    assert write.answer(OLD, new) == ({} if attributes is None else {"Attributes": attributes})


def test_an_update_creates_what_is_not_there() -> None:
    assert update(None).apply(SCHEMA, None) == KEY
    assert update("REMOVE a").apply(SCHEMA, None) is None
    assert update("DELETE a :a", {":a": {"SS": ["x"]}}).apply(SCHEMA, None) is None
    write = update("ADD n :n", {":n": {"N": "2"}}, ReturnValues="UPDATED_OLD")
    new = write.apply(SCHEMA, None)
    assert new == {**KEY, "n": {"N": "2"}}
    assert write.answer(None, new) == {}


@pytest.mark.parametrize("expression", ["REMOVE a.b", "REMOVE a, b[0]", "DELETE a.b :a"])
def test_what_is_within_an_attribute_that_is_not_there_cannot_be_removed(expression: str) -> None:
    write = update(expression, {":a": {"SS": ["x"]}} if ":a" in expression else {})
    with pytest.raises(ServiceError) as caught:
        write.apply(SCHEMA, KEY)
    assert caught.value.message == "The document path provided in the update expression is invalid for update"
    assert write.apply(SCHEMA, None) is None, "of an item that is not there anything may be removed"


def test_an_update_leaves_the_key_alone() -> None:
    for expression in ("ADD sk :v", "SET a = :v, sk[0] = :v", "SET a = :v REMOVE sk.x"):
        write = update(expression, {":v": {"N": "1"}})
        with pytest.raises(ServiceError) as caught:
            write.key(SCHEMA)
        assert caught.value.message == (
            "One or more parameter values were invalid: Cannot update attribute sk. This attribute is part of the key"
        )


def test_a_failed_condition_shows_the_old_item_on_demand() -> None:
    fields: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
    for write in (put(**fields), update("SET a = :a", {":a": {"S": "x"}}, **fields)):
        with pytest.raises(ConditionalCheckFailed) as caught:
            write.apply(SCHEMA, OLD)
        assert caught.value.item is None
        assert write.apply(SCHEMA, None) is not None
    with pytest.raises(ConditionalCheckFailed) as caught:
        put(**fields, ReturnValuesOnConditionCheckFailure="ALL_OLD").apply(SCHEMA, OLD)
    assert caught.value.item == OLD


CONSTRAINT = "1 validation error detected: Value {} failed to satisfy constraint: {}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"TableName": None}, CONSTRAINT.format("null at 'tableName'", "Member must not be null")),
        (
            {"TableName": "ab"},
            CONSTRAINT.format("'ab' at 'tableName'", "Member must have length greater than or equal to 3"),
        ),
        (
            {"TableName": "abc;"},
            CONSTRAINT.format(
                "'abc;' at 'tableName'", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
            ),
        ),
        ({"Item": None}, CONSTRAINT.format("null at 'item'", "Member must not be null")),
        (
            {"ReturnValues": "hi"},
            CONSTRAINT.format(
                "'hi' at 'returnValues'",
                "Member must satisfy enum value set: [ALL_NEW, UPDATED_OLD, ALL_OLD, NONE, UPDATED_NEW]",
            ),
        ),
        ({"ReturnValues": "ALL_NEW"}, "ReturnValues can only be ALL_OLD or NONE"),
        (
            {"Expected": {"a": {"Exists": False}}, "ConditionExpression": "attribute_exists(pk)"},
            "Can not use both expression and non-expression parameters in the same request: "
            "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}",
        ),
    ],
)
def test_fields_have_constraints(fields: dict[str, Any], message: str) -> None:
    assert refused(writes.parse_put_item, {"TableName": "abc", "Item": dict(KEY), **fields}) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"TableName": 23}, "NUMBER_VALUE cannot be converted to String"),
        ({"ConditionExpression": True}, "TRUE_VALUE cannot be converted to String"),
        ({"ConditionExpression": []}, "Unrecognized collection type class java.lang.String"),
        ({"ReturnValues": {}}, "Start of structure or map found where not expected"),
        ({"Item": "x"}, "Unexpected field type"),
        (
            {"ConditionExpression": "a = :a", "ExpressionAttributeNames": []},
            "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>",
        ),
        (
            {"ConditionExpression": "a = :a", "ExpressionAttributeNames": {"#a": 1}},
            "NUMBER_VALUE cannot be converted to String",
        ),
        ({"ConditionExpression": "a = :a", "ExpressionAttributeValues": "x"}, "Unexpected field type"),
        (
            {"ConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": "x"}},
            "Unexpected value type in payload",
        ),
    ],
)
def test_fields_have_types(fields: dict[str, Any], message: str) -> None:
    body = {"TableName": "abc", "Item": dict(KEY), **fields}
    assert refused(writes.parse_put_item, body, "SerializationException") == message


def test_a_table_may_be_named_by_its_arn() -> None:
    assert put(TableName="arn:aws:dynamodb:eu-central-1:000000000000:table/abc").table_name == "abc"


def get(**fields: Any) -> reads.GetPlan:
    return reads.parse_get_item({"TableName": "abc", "Key": dict(KEY), **fields})


def test_get() -> None:
    assert get().answer(None) == {}
    assert get().answer(OLD) == {"Item": OLD}
    plan = get(ProjectionExpression="tags.b", ReturnConsumedCapacity="TOTAL", ConsistentRead=True)
    assert plan.answer(OLD) == {
        "Item": {"tags": {"M": {"b": {"S": "y"}}}},
        "ConsumedCapacity": {"TableName": "abc", "CapacityUnits": 1.0},
    }


ITEMS: list[Item] = [
    {"pk": {"S": partition}, "sk": {"N": str(sort)}, "even": {"BOOL": sort % 2 == 0}}
    for partition in ("o", "p")
    for sort in range(-3, 7)
]
STORED = {encode_key(SCHEMA, item): item for item in ITEMS}


def query(**fields: Any) -> dict[str, Any]:
    """Answer a Query from a sorted store, as an engine does."""
    values = {":p": {"S": "p"}, **fields.pop("values", {})}
    body = {"TableName": "abc", "KeyConditionExpression": "pk = :p", **fields, "ExpressionAttributeValues": values}
    plan = reads.parse_query(body)
    found = plan.range(SCHEMA)
    page = reads.QueryPage(plan, SCHEMA)
    for key in sorted(STORED, reverse=not plan.forward):
        if found.low <= key < found.high and not page.add(orjson.dumps(STORED[key]), item_size(STORED[key])):
            break
    answer: dict[str, Any] = orjson.loads(page.answer())
    return answer


def sort_keys(answer: dict[str, Any]) -> list[int]:
    return [int(item["sk"]["N"]) for item in answer["Items"]]


def test_query_answers_in_the_order_of_the_sort_key() -> None:
    assert sort_keys(query()) == list(range(-3, 7))
    assert sort_keys(query(ScanIndexForward=False)) == list(range(6, -4, -1))


@pytest.mark.parametrize("forward", [True, False])
def test_query_pages(forward: bool) -> None:
    """A full page names its last key, even where nothing follows, as DynamoDB does."""
    fields: dict[str, Any] = {"ScanIndexForward": forward, "Limit": 5}
    first = query(**fields)
    second = query(**fields, ExclusiveStartKey=first["LastEvaluatedKey"])
    third = query(**fields, ExclusiveStartKey=second["LastEvaluatedKey"])
    assert sort_keys(first) + sort_keys(second) == list(range(-3, 7))[:: 1 if forward else -1]
    assert third == {"Items": [], "Count": 0, "ScannedCount": 0}


def test_query_filters_after_it_counts() -> None:
    answer = query(Limit=4, FilterExpression="even = :yes", values={":yes": {"BOOL": True}})
    assert sort_keys(answer) == [-2, 0]
    assert (answer["Count"], answer["ScannedCount"]) == (2, 4)
    assert answer["LastEvaluatedKey"] == {"pk": {"S": "p"}, "sk": {"N": "0"}}
    assert query(Select="COUNT") == {"Count": 10, "ScannedCount": 10}
    assert query(Limit=1, ProjectionExpression="sk")["Items"] == [{"sk": {"N": "-3"}}]


def test_a_page_holds_one_mebibyte() -> None:
    plan = reads.parse_scan({"TableName": "abc"})
    page = reads.QueryPage(plan, SCHEMA)
    item: Item = {**KEY, "a": {"S": "x" * 300_000}}
    assert [page.add(orjson.dumps(item), item_size(item)) for _ in range(4)] == [True, True, True, False]
    assert orjson.loads(page.answer())["LastEvaluatedKey"] == KEY


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ExclusiveStartKey": {"pk": {"S": "p"}}}, "The provided starting key is invalid"),
        (
            {"ExclusiveStartKey": {"pk": {"S": "p"}, "sk": {"S": "1"}}},
            "The provided key element does not match the schema",
        ),
        (
            {"ExclusiveStartKey": {"pk": {"S": "o"}, "sk": {"N": "1"}}},
            "The provided starting key is outside query boundaries based on provided conditions",
        ),
        (
            {
                "KeyConditionExpression": "pk = :p AND sk > :two",
                "values": {":two": {"N": "2"}},
                "ExclusiveStartKey": dict(KEY),
            },
            "The provided starting key does not match the range key predicate",
        ),
        (
            {"ExclusiveStartKey": {"pk": {}}},
            "The provided starting key is invalid: "
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        ),
        (
            {"FilterExpression": "sk > :two", "values": {":two": {"N": "2"}}},
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: sk",
        ),
        (
            {"IndexName": "a!"},
            "2 validation errors detected: Value 'a!' at 'indexName' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: [a-zA-Z0-9_.-]+; Value 'a!' at 'indexName' failed to satisfy constraint: "
            "Member must have length greater than or equal to 3",
        ),
        (
            {"KeyConditionExpression": None, "FilterExpression": "a = :p"},
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        ),
        (
            {"Limit": 0},
            CONSTRAINT.format("'0' at 'limit'", "Member must have value greater than or equal to 1"),
        ),
    ],
)
def test_query_refuses(fields: dict[str, Any], message: str) -> None:
    assert refused(lambda body: query(**body), fields) == message


NO_START = "The provided starting key is invalid"
EQUAL_NOTHING = {"ComparisonOperator": "EQ", "AttributeValueList": [{}]}
TWICE = ["a", "a"]
EMPTY = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"ConditionalOperator": "OR", "KeyConditionExpression": "", "FilterExpression": ""},
            "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
            "{AttributesToGet, QueryFilter, ConditionalOperator, KeyConditions} Expression parameters: "
            "{FilterExpression, KeyConditionExpression}",
        ),
        (
            {"ExpressionAttributeNames": {}, "Select": "COUNT"},
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        ({}, EMPTY),
        (
            {"QueryFilter": {}, "KeyConditions": None},
            "One or more parameter values were invalid: Duplicate value in attribute name: a",
        ),
        ({"QueryFilter": {}, "AttributesToGet": None, "KeyConditions": None}, f"{NO_START}: {EMPTY}"),
        ({"QueryFilter": {}, "AttributesToGet": None}, f"{NO_START}: {EMPTY}"),
        ({"QueryFilter": {}, "AttributesToGet": None, "ExclusiveStartKey": None}, EMPTY),
    ],
)
def test_the_order_in_which_a_query_is_looked_at(fields: dict[str, Any], message: str) -> None:
    wrong = {
        "TableName": "abc",
        "QueryFilter": {"a": EQUAL_NOTHING},
        "AttributesToGet": TWICE,
        "ExclusiveStartKey": {"a": {}},
        "KeyConditions": {"a": EQUAL_NOTHING},
    }
    assert refused(reads.parse_query, {**wrong, **fields}) == message


def test_the_order_in_which_a_scan_is_looked_at() -> None:
    wrong: dict[str, Any] = {
        "TableName": "abc",
        "AttributesToGet": TWICE,
        "ScanFilter": {"a": EQUAL_NOTHING},
        "ExclusiveStartKey": {"a": {}},
        "Segment": 2,
        "TotalSegments": 2,
    }
    for field, message in (
        ("AttributesToGet", "One or more parameter values were invalid: Duplicate value in attribute name: a"),
        ("ScanFilter", EMPTY),
        ("ExclusiveStartKey", f"{NO_START}: {EMPTY}"),
        (
            "Segment",
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            "Segment: 2 is not less than TotalSegments: 2",
        ),
        (
            "Segment",
            "The Segment parameter is required but was not present in the request when parameter "
            "TotalSegments is present",
        ),
    ):
        assert refused(reads.parse_scan, wrong) == message
        wrong.pop(field, None)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"SS": []}, f"{NO_START}: One or more parameter values were invalid: An string set  may not be empty"),
        ({"NS": []}, "One or more parameter values were invalid: An number set  may not be empty"),
        ({"SS": ["x", "x"]}, "One or more parameter values were invalid: Input collection [x, x] contains duplicates."),
    ],
)
def test_what_is_said_of_a_start_s_value(start: dict[str, Any], message: str) -> None:
    assert refused(reads.parse_scan, {"TableName": "abc", "ExclusiveStartKey": {"a": start}}) == message


def test_batch_write() -> None:
    other = {"pk": {"S": "q"}, "sk": {"N": "1.0"}}
    body = {"RequestItems": {"abc": [{"PutRequest": {"Item": dict(KEY)}}], "def": [{"DeleteRequest": {"Key": other}}]}}
    plan = batches.parse_batch_write_item(body)
    assert [(type(write), write.table_name) for write in plan.writes] == [
        (writes.Put, "abc"),
        (writes.Delete, "def"),
    ]
    assert plan.writes[1].key(SCHEMA) == {"pk": {"S": "q"}, "sk": {"N": "1"}}
    plan.check_distinct([("abc", b"k"), ("def", b"k")])
    with pytest.raises(ServiceError, match="Provided list of item keys contains duplicates"):
        plan.check_distinct([("abc", b"k"), ("abc", b"k")])


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (None, CONSTRAINT.format("null at 'requestItems'", "Member must not be null")),
        ({}, "The requestItems parameter is required for BatchWriteItem"),
        (
            {"abc": [{}]},
            "Supplied AttributeValue has more than one datatypes set, "
            "must contain exactly one of the supported datatypes",
        ),
        (
            {"abc": [{"PutRequest": {}}]},
            CONSTRAINT.format("null at 'requestItems.abc.member.1.member.putRequest.item'", "Member must not be null"),
        ),
        (
            {"abc": [{"DeleteRequest": {"Key": {}}}] * 26},
            CONSTRAINT.format(
                "'{abc=[26 requests]}' at 'requestItems'",
                "Map value must satisfy constraint: [Member must have length less than or equal to 25, "
                "Member must have length greater than or equal to 1]",
            ),
        ),
    ],
)
def test_batch_write_refuses(items: Any, message: str) -> None:
    assert refused(batches.parse_batch_write_item, {"RequestItems": items}) == message


def transaction(*members: dict[str, Any], **fields: Any) -> batches.TransactWritePlan:
    return batches.parse_transact_write_items({"TransactItems": list(members), **fields})


def test_transact_write() -> None:
    check = {"TableName": "abc", "Key": dict(KEY), "ConditionExpression": "attribute_exists(pk)"}
    plan = transaction(
        {"Put": {"TableName": "abc", "Item": dict(KEY)}},
        {"Update": {"TableName": "abc", "Key": dict(KEY), "UpdateExpression": "REMOVE a"}},
        {"Delete": {"TableName": "abc", "Key": dict(KEY)}},
        {"ConditionCheck": check},
        ClientRequestToken="token",
    )
    put, update, delete, condition_check = plan.writes
    assert put.apply(SCHEMA, None) == KEY
    assert update.apply(SCHEMA, {**KEY, "a": {"S": "x"}}) == KEY
    assert delete.apply(SCHEMA, OLD) is None
    assert condition_check.apply(SCHEMA, OLD) is OLD
    with pytest.raises(ConditionalCheckFailed):
        condition_check.apply(SCHEMA, None)
    with pytest.raises(ServiceError, match="cannot include multiple operations on one item"):
        plan.check_distinct([("abc", b"k")] * 2)


def setting(**fields: Any) -> dict[str, Any]:
    update = {
        "TableName": "abc",
        "Key": dict(KEY),
        "UpdateExpression": "SET #a = :a",
        "ExpressionAttributeNames": {"#a": "a"},
        "ExpressionAttributeValues": {":a": {"BOOL": True}},
    }
    return {"Update": {**update, **fields}}


UPDATES: list[dict[str, Any]] = [
    setting(),
    setting(Key={"pk": {"S": "p"}, "sk": {"N": "2.0"}}),
    setting(TableName="abd"),
    setting(UpdateExpression="SET a = :a, #a.b = :a"),
    setting(UpdateExpression=None),
    setting(ConditionExpression="attribute_exists(#a)"),
    setting(ConditionExpression=None),
    setting(ExpressionAttributeNames={"#a": "b"}),
    setting(ExpressionAttributeValues={":a": {"BOOL": 1}}),
    setting(ExpressionAttributeValues={":a": {"N": "1"}}),
    setting(ExpressionAttributeValues={":a": {"N": "1.0"}}),
    setting(ExpressionAttributeValues={":a": {"L": [{"NULL": 1.0}]}}),
    setting(ExpressionAttributeValues={":a": {"L": [{"NULL": True}]}}),
    setting(ReturnValuesOnConditionCheckFailure="ALL_OLD"),
    setting(Key=None),
    setting(Key={"pk": {"N": "x"}}),
    {**setting(), "Put": None},
    {**setting(), "Put": {}},
    {"Put": {"TableName": "abc", "Item": KEY}},
    {"Update": None},
]


@pytest.mark.parametrize(("first", "second"), list(itertools.product(UPDATES, repeat=2)))
def test_an_update_behind_another_means_what_it_means_alone(first: dict[str, Any], second: dict[str, Any]) -> None:
    def meant(*members: dict[str, Any]) -> tuple[Any, ...]:
        return transaction(*copy.deepcopy(members)).writes

    def alone(member: dict[str, Any]) -> Any:
        try:
            return meant(member)
        except ServiceError as error:
            return error.code, error.message

    one, two = alone(first), alone(second)
    if isinstance(one[0], str):
        return
    if not isinstance(two[0], str):
        assert meant(first, second, first) == one + two + one
        return
    with pytest.raises(ServiceError) as caught:
        meant(first, second)
    assert (caught.value.code, caught.value.message.replace("transactItems.2", "transactItems.1")) == two


def test_updates_may_hold_what_is_nested_deep_and_not_looked_at() -> None:
    one, two = (setting(Other=orjson.loads("[" * 1000 + "]" * 1000)) for _ in range(2))
    assert transaction(one, two).writes == transaction(setting(), setting()).writes


def test_a_token_stands_for_one_request() -> None:
    def fingerprint(text: str) -> bytes:
        item = {**KEY, "a": {"S": text}}
        return transaction({"Put": {"TableName": "abc", "Item": item}}, ClientRequestToken="t").fingerprint

    assert fingerprint("x") == fingerprint("x") != fingerprint("y")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, CONSTRAINT.format("null at 'transactItems'", "Member must not be null")),
        (
            {"TransactItems": []},
            CONSTRAINT.format("'[]' at 'transactItems'", "Member must have length greater than or equal to 1"),
        ),
        (
            {"TransactItems": [{"Put": {"TableName": "abc"}}]},
            CONSTRAINT.format("null at 'transactItems.1.member.put.item'", "Member must not be null"),
        ),
        (
            {"TransactItems": [{"Put": {"TableName": "abc"}}] * 101},
            "1 validation error detected: Value '[101 items]' at 'transactItems' failed to satisfy constraint: "
            "Member must have length less than or equal to 100",
        ),
        (
            {"TransactItems": [{"Other": {}}]},
            "Invalid Request: TransactWriteRequest should contain Delete or Put or Update request",
        ),
        (
            {"TransactItems": [{"Put": {}, "Delete": {}}]},
            "TransactItems can only contain one of Check, Put, Update or Delete",
        ),
        (
            {"TransactItems": [{"Other": {}}], "ClientRequestToken": "x" * 37},
            CONSTRAINT.format(
                f"'{'x' * 37}' at 'clientRequestToken'", "Member must have length less than or equal to 36"
            ),
        ),
    ],
)
def test_transact_write_refuses(body: dict[str, Any], message: str) -> None:
    assert refused(batches.parse_transact_write_items, body) == message


def test_reasons_of_a_cancelled_transaction() -> None:
    assert batches.cancellation_reason(None) == {"Code": "None"}
    assert batches.cancellation_reason(ConditionalCheckFailed(OLD)) == {
        "Code": "ConditionalCheckFailed",
        "Message": "The conditional request failed",
        "Item": OLD,
    }
    assert batches.cancellation_reason(ServiceError("ValidationException", "why")) == {
        "Code": "ValidationError",
        "Message": "why",
    }


TABLE: dict[str, Any] = {
    "TableName": "abc",
    "AttributeDefinitions": [
        {"AttributeName": "sk", "AttributeType": "N"},
        {"AttributeName": "pk", "AttributeType": "S"},
    ],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def test_a_table_s_name_is_refused_together_with_what_else_is_wrong() -> None:
    with pytest.raises(ServiceError) as caught:
        table_requests.parse_create_table({"TableName": "a!"})
    places = re.findall(r"at '(\w+)'", caught.value.message)
    assert sorted(places) == ["attributeDefinitions", "keySchema", "tableName", "tableName"]


def test_create_table() -> None:
    plan = table_requests.parse_create_table(
        {**TABLE, "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
    )
    assert (plan.table_name, plan.schema, plan.stream_view_type) == ("abc", SCHEMA, "NEW_IMAGE")
    assert KeySchema.from_wire(plan.schema.to_wire(), {"pk": "S", "sk": "N"}) == SCHEMA
    assert table_requests.parse_create_table(TABLE).stream_view_type is None


HASH = {"AttributeName": "pk", "KeyType": "HASH"}
TEXT = {"AttributeName": "pk", "AttributeType": "S"}
INVALID = "One or more parameter values were invalid: "


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"TableName": None}, "The parameter 'TableName' is required but was not present in the request"),
        (
            {"TableName": "a;"},
            "2 validation errors detected: Value 'a;' at 'tableName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; "
            "Value 'a;' at 'tableName' failed to satisfy constraint: "
            "Member must have length greater than or equal to 3",
        ),
        (
            {"TableName": "ab"},
            CONSTRAINT.format("'ab' at 'tableName'", "Member must have length greater than or equal to 3"),
        ),
        (
            {"TableName": "arn:aws:dynamodb:us-east-1:000000000000:table/things/index/by-a"},
            "Invalid TableArn: arn:aws:dynamodb:us-east-1:000000000000:table/things/index/by-a",
        ),
        ({"TableName": "arn:aws:s3:::table/things"}, "Invalid TableArn: arn:aws:s3:::table/things"),
        (
            {"TableName": "a" * 256},
            CONSTRAINT.format(f"'{'a' * 256}' at 'tableName'", "Member must have length less than or equal to 255"),
        ),
        (
            {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "ALL"}},
            CONSTRAINT.format(
                "'ALL' at 'streamSpecification.streamViewType'",
                "Member must satisfy enum value set: [NEW_IMAGE, OLD_IMAGE, NEW_AND_OLD_IMAGES, KEYS_ONLY]",
            ),
        ),
        (
            {"TableName": "ab", "StreamSpecification": {}, "SSESpecification": {"Enabled": True, "SSEType": "DES"}},
            "3 validation errors detected: "
            "Value 'ab' at 'tableName' failed to satisfy constraint: Member must have length greater than or equal to "
            "3; Value null at 'streamSpecification.streamEnabled' failed to satisfy constraint: Member must not be "
            "null; Value 'DES' at 'sSESpecification.sSEType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [AES256, KMS]",
        ),
        (
            {
                "GlobalSecondaryIndexes": [
                    {
                        "IndexName": "by-a",
                        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["x"] * 21},
                    }
                ]
            },
            CONSTRAINT.format(
                f"'[{', '.join(['x'] * 21)}]' at 'globalSecondaryIndexes.1.member.projection.nonKeyAttributes'",
                "Member must have length less than or equal to 20",
            ),
        ),
        (
            {"SSESpecification": {"Enabled": True, "SSEType": "DES"}},
            CONSTRAINT.format(
                "'DES' at 'sSESpecification.sSEType'", "Member must satisfy enum value set: [AES256, KMS]"
            ),
        ),
        (
            {
                "BillingMode": "PROVISIONED",
                "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 10**12 + 1},
            },
            "Given value 1000000000001 for WriteCapacityUnits is out of bounds",
        ),
        (
            {
                "KeySchema": [
                    HASH,
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                    {"AttributeName": "x", "KeyType": "RANGE"},
                ]
            },
            CONSTRAINT.format(
                "'[KeySchemaElement(attributeName=pk, keyType=HASH), "
                "KeySchemaElement(attributeName=sk, keyType=RANGE), "
                "KeySchemaElement(attributeName=x, keyType=RANGE)]' at 'keySchema'",
                "Member must have length less than or equal to 2",
            ),
        ),
        (
            {
                "LocalSecondaryIndexes": [
                    {
                        "IndexName": "local",
                        "KeySchema": [HASH, {"AttributeName": "sk", "KeyType": "RANGE"}, HASH],
                        "Projection": {"ProjectionType": "ALL"},
                    }
                ]
            },
            CONSTRAINT.format(
                "'[KeySchemaElement(attributeName=pk, keyType=HASH), "
                "KeySchemaElement(attributeName=sk, keyType=RANGE), "
                "KeySchemaElement(attributeName=pk, keyType=HASH)]' at 'localSecondaryIndexes.1.member.keySchema'",
                "Member must have length less than or equal to 2",
            ),
        ),
        ({"KeySchema": None}, CONSTRAINT.format("null at 'keySchema'", "Member must not be null")),
        (
            {"KeySchema": []},
            CONSTRAINT.format("'[]' at 'keySchema'", "Member must have length greater than or equal to 1"),
        ),
        ({"AttributeDefinitions": []}, "Invalid KeySchema: Some index key attribute have no definition"),
        (
            {"AttributeDefinitions": [{"AttributeName": "b", "AttributeType": "S"}], "KeySchema": [HASH]},
            f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. "
            "Keys: [pk], AttributeDefinitions: [b]",
        ),
        (
            {"KeySchema": [HASH, HASH]},
            "Both the Hash Key and the Range Key element in the KeySchema have the same name",
        ),
        (
            {"KeySchema": [{"AttributeName": "pk", "KeyType": "RANGE"}], "AttributeDefinitions": [TEXT]},
            "Invalid KeySchema: The first KeySchemaElement is not a HASH key type",
        ),
        (
            {"KeySchema": [HASH, {"AttributeName": "sk", "KeyType": "HASH"}]},
            "Invalid KeySchema: The second KeySchemaElement is not a RANGE key type",
        ),
        (
            {"KeySchema": [HASH]},
            f"{INVALID}Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions",
        ),
        (
            {"AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "SS"}]},
            CONSTRAINT.format(
                "'SS' at 'attributeDefinitions.1.member.attributeType'",
                "Member must satisfy enum value set: [B, N, S]",
            ),
        ),
        (
            {"BillingMode": "PROVISIONED"},
            f"{INVALID}ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        ),
        (
            {"GlobalSecondaryIndexes": [{"IndexName": "by-date"}]},
            "2 validation errors detected: "
            "Value null at 'globalSecondaryIndexes.1.member.keySchema' failed to satisfy constraint: "
            "Member must not be null; "
            "Value null at 'globalSecondaryIndexes.1.member.projection' failed to satisfy constraint: "
            "Member must not be null",
        ),
    ],
)
def test_create_table_refuses(fields: dict[str, Any], message: str) -> None:
    assert refused(table_requests.parse_create_table, {**TABLE, **fields}) == message


def test_update_time_to_live() -> None:
    body: dict[str, Any] = {
        "TableName": "abc",
        "TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"},
    }
    plan = table_requests.parse_update_time_to_live(body)
    assert (plan.table_name, plan.attribute_name, plan.enabled) == ("abc", "ttl", True)
    assert plan.answer() == {"TimeToLiveSpecification": {"Enabled": True, "AttributeName": "ttl"}}
    assert refused(
        table_requests.parse_update_time_to_live, {**body, "TimeToLiveSpecification": {"Enabled": True}}
    ) == (CONSTRAINT.format("null at 'timeToLiveSpecification.attributeName'", "Member must not be null"))
