"""Secondary indexes: always what their table says, in order, page by page, and only what they project."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterwrite.core.values import decode_item, encode_item, from_python
from afterwrite.errors import ServiceError
from embedded import Dynamo

Item = dict[str, Any]


def key(**kinds: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": "HASH" if kind == "H" else "RANGE"} for name, kind in kinds.items()]


def index(name: str, projection: str = "ALL", included: list[str] | None = None, **kinds: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"ProjectionType": projection}
    if included is not None:
        fields["NonKeyAttributes"] = included
    return {"IndexName": name, "KeySchema": key(**kinds), "Projection": fields}


BY_STATUS = index("by-status", status="H", at="R")
BY_PLACE = index("by-place", "KEYS_ONLY", country="H", city="H", at="R", status="R")
BY_TIME = index("by-time", "INCLUDE", ["note"], pk="H", at="R")
TYPES = {"pk": "S", "sk": "S", "status": "S", "at": "N", "country": "S", "city": "S"}


@pytest.fixture
def indexed(dynamo: Dynamo) -> Dynamo:
    dynamo(
        "CreateTable",
        TableName="things",
        KeySchema=key(pk="H", sk="R"),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in TYPES.items()],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[BY_STATUS, BY_PLACE],
        LocalSecondaryIndexes=[BY_TIME],
    )
    return dynamo


def query(dynamo: Dynamo, name: str, condition: str, /, page: int | None = None, **fields: Any) -> list[Item]:
    """Every item that a condition like `status = open AND at > 3` finds, page after page."""
    values: dict[str, Any] = {}
    words = condition.split()
    for number, word in enumerate(words):
        if (number and words[number - 1] in ("=", "<", ">", "<=", ">=", "BETWEEN")) or word.isdigit():
            values[f":v{number}"] = from_python(Decimal(word) if word.isdigit() else word)
            words[number] = f":v{number}"
        elif word in TYPES:
            words[number] = f"#{word}"
    body: dict[str, Any] = {
        "TableName": "things",
        "IndexName": name,
        "KeyConditionExpression": " ".join(words),
        "ExpressionAttributeNames": {word: word[1:] for word in words if word[0] == "#"},
        "ExpressionAttributeValues": values,
        **fields,
    }
    return pages(dynamo, "Query", body, page)


def pages(dynamo: Dynamo, operation: str, body: dict[str, Any], page: int | None) -> list[Item]:
    found: list[Item] = []
    while True:
        answer = dynamo(operation, **body, **({} if page is None else {"Limit": page}))
        found += [decode_item(item) for item in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            return found
        body["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


ITEMS = st.fixed_dictionaries(
    {"pk": st.sampled_from("ab"), "sk": st.sampled_from(["1", "2", "3"])},
    optional={
        "status": st.sampled_from(["open", "opened", "op\x00"]),
        "at": st.sampled_from([Decimal(-3), Decimal(0), Decimal("0.5"), Decimal(7), Decimal("7.0001")]),
        "country": st.sampled_from(["x", "xy"]),
        "city": st.sampled_from(["y", "z"]),
        "note": st.text(max_size=3),
    },
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(st.tuples(st.sampled_from(["put", "delete", "update"]), ITEMS), min_size=1, max_size=25))
def test_indexes_agree_with_their_table(indexed: Dynamo, writes: list[tuple[str, Item]]) -> None:
    for kind, item in writes:
        if kind == "put":
            indexed.put(**item)
        elif kind == "delete":
            indexed.delete(pk=item["pk"], sk=item["sk"])
        else:
            rest = {name: value for name, value in item.items() if name not in ("pk", "sk")}
            updates = {
                name: {"Action": "PUT", "Value": from_python(rest[name])} if name in rest else {"Action": "DELETE"}
                for name in ("status", "at", "country", "city")
            }
            indexed(
                "UpdateItem",
                TableName="things",
                Key=encode_item({"pk": item["pk"], "sk": item["sk"]}),
                AttributeUpdates=updates,
            )
    items = [decode_item(item) for item in indexed.items()]
    for declared, sorts in ((BY_STATUS, ("at",)), (BY_PLACE, ("at", "status")), (BY_TIME, ("at",))):
        name, names = declared["IndexName"], [each["AttributeName"] for each in declared["KeySchema"]]
        shown = (
            None if name == "by-status" else {"pk", "sk", *names, *declared["Projection"].get("NonKeyAttributes", [])}
        )
        expected = [
            {key: value for key, value in item.items() if shown is None or key in shown}
            for item in items
            if all(each in item for each in names)
        ]
        for page in (None, 1):
            found = pages(indexed, "Scan", {"TableName": "things", "IndexName": name}, page)
            assert sorted(found, key=repr) == sorted(expected, key=repr)
        partitions: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for item in found:
            partition = tuple(item[each] for each in names if each not in sorts)
            partitions.setdefault(partition, []).append(tuple(item[each] for each in sorts))
        for keys in partitions.values():
            assert keys == sorted(keys)
    described = indexed("DescribeTable", TableName="things")["Table"]
    counts = {each["IndexName"]: each["ItemCount"] for each in described["GlobalSecondaryIndexes"]}
    assert counts["by-status"] == sum("status" in item and "at" in item for item in items)
    assert all(each["IndexSizeBytes"] >= 0 for each in described["GlobalSecondaryIndexes"])
    for item in items:
        indexed.delete(pk=item["pk"], sk=item["sk"])
    described = indexed("DescribeTable", TableName="things")["Table"]
    for each in [*described["GlobalSecondaryIndexes"], *described["LocalSecondaryIndexes"]]:
        assert (each["ItemCount"], each["IndexSizeBytes"]) == (0, 0)


def test_conditions_on_sort_attributes_go_from_left_to_right(indexed: Dynamo) -> None:
    for number, (at, status) in enumerate([(1, "a"), (1, "b"), (1, "bc"), (2, "a"), (10, "a")]):
        indexed.put(pk="p", sk=str(number), country="x", city="y", at=at, status=status)
    place = "country = x AND city = y"

    def found(condition: str) -> list[tuple[int, str]]:
        return [(int(item["at"]), item["status"]) for item in query(indexed, "by-place", f"{place}{condition}")]

    assert found("") == [(1, "a"), (1, "b"), (1, "bc"), (2, "a"), (10, "a")]
    assert found(" AND at > 1") == [(2, "a"), (10, "a")]
    assert found(" AND at BETWEEN 1 AND 2") == [(1, "a"), (1, "b"), (1, "bc"), (2, "a")]
    assert found(" AND at = 1 AND status > a") == [(1, "b"), (1, "bc")]
    assert found(" AND status <= b AND at = 1") == [(1, "a"), (1, "b")]
    for refused in (" AND status = a", " AND at > 1 AND status = a"):
        with pytest.raises(ServiceError, match="RANGE key attributes at must have equality conditions"):
            found(refused)
    with pytest.raises(ServiceError, match="HASH key attributes city must have equality conditions"):
        query(indexed, "by-place", "country = x")
    conditions = {
        name: {"ComparisonOperator": operator, "AttributeValueList": [value]}
        for name, operator, value in (
            ("country", "EQ", {"S": "x"}),
            ("city", "EQ", {"S": "y"}),
            ("at", "GT", {"N": "1"}),
        )
    }
    body = {"TableName": "things", "IndexName": "by-place", "KeyConditions": conditions}
    assert [item["at"] for item in pages(indexed, "Query", body, None)] == [2, 10]
    assert query(indexed, "by-place", place, ScanIndexForward=False, page=2)[0]["at"] == 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ConsistentRead": True}, "Consistent reads are not supported on global secondary indexes"),
        ({"Select": "ALL_ATTRIBUTES"}, "Select type ALL_ATTRIBUTES is not supported"),
        ({"ProjectionExpression": "note"}, "does not project"),
        ({"IndexName": "by-nothing"}, "The table does not have the specified index: by-nothing"),
        ({"ExclusiveStartKey": {"pk": {"S": "p"}, "sk": {"S": "1"}}}, "The provided starting key is invalid"),
    ],
)
def test_what_an_index_refuses(indexed: Dynamo, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        query(indexed, "by-place", "country = x AND city = y", **fields)


WHERE = {"pk": {"S": "p"}, "sk": {"S": "1"}}
ENTRY: dict[str, Any] = {**WHERE, "at": {"N": "1"}}
NO_START = "The provided starting key is invalid"
OTHER_TYPE = "The provided key element does not match the schema"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({**ENTRY, "extra": {"S": "x"}}, NO_START),
        ({"sk": {"S": "1"}, "at": {"N": "1"}, "note": {"S": "n"}}, NO_START),
        ({"pk": {"N": "1"}, "note": {"S": "n"}, "extra": {"S": "x"}}, OTHER_TYPE),
        ({**WHERE, "note": {"S": "n"}}, NO_START),
        ({**WHERE, "at": {"S": "1"}}, OTHER_TYPE),
        ({**ENTRY, "sk": {"N": "1"}}, f"{NO_START}: {OTHER_TYPE}"),
    ],
)
@pytest.mark.parametrize("operation", ["Query", "Scan"])
def test_a_start_is_compared_with_the_index_and_then_with_the_table(
    indexed: Dynamo, operation: str, start: dict[str, Any], message: str
) -> None:
    keys = {"pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "p"}]}}
    body = {"KeyConditions": keys} if operation == "Query" else {}
    with pytest.raises(ServiceError) as refused:
        indexed(operation, TableName="things", IndexName="by-time", ExclusiveStartKey=start, **body)
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("condition", "start", "message"),
    [
        ("at = 1", {"pk": {"N": "1"}, "sk": {"S": "1"}, "at": {"N": "1"}}, OTHER_TYPE),
        ("at = 1", {**ENTRY, "at": {"S": "1"}}, "Query condition missed key schema element: pk"),
        ("pk = q", ENTRY, "The provided starting key is outside query boundaries based on provided conditions"),
        ("pk = q AND at > 1", ENTRY, "The provided starting key does not match the range key predicate"),
        ("pk = q AND at < 2", ENTRY, "The query can return at most one row and cannot be restarted"),
    ],
)
def test_a_start_is_compared_with_the_condition(
    indexed: Dynamo, condition: str, start: dict[str, Any], message: str
) -> None:
    indexed.put(pk="p", sk="1", at=1)
    with pytest.raises(ServiceError) as refused:
        query(indexed, "by-time", condition, ExclusiveStartKey=start)
    assert refused.value.message == message


def test_a_scan_of_the_table_says_one_thing_of_every_start_that_is_none(indexed: Dynamo) -> None:
    for start in ({}, {"pk": {"S": "p"}}, {"pk": {"S": "p"}, "note": {"S": "n"}}, {**WHERE, "sk": {"N": "1"}}, ENTRY):
        with pytest.raises(ServiceError) as refused:
            # A filter that looks into a key is refused later.
            indexed("Scan", TableName="things", ExclusiveStartKey=start, FilterExpression="attribute_exists(pk.a)")
        assert refused.value.message == NO_START


@pytest.mark.parametrize("name", ["by-place", "by-time"])
def test_a_query_filters_by_what_its_index_projects(indexed: Dynamo, name: str) -> None:
    condition = "country = a AND city = b" if name == "by-place" else "pk = p"
    with pytest.raises(ServiceError) as refused:
        query(indexed, name, condition, FilterExpression="attribute_exists(b) OR attribute_exists(a.c)")
    assert refused.value.message == (
        f"One or more parameter values were invalid: Secondary index {name} does not project one or more filter "
        "attributes: [a, b]"
    )
    # A scan of the index finds nothing in what is not there.
    indexed.put(pk="p", sk="1", at=1, country="a", city="b", status="s", a=1)
    body = {"TableName": "things", "IndexName": name, "FilterExpression": "attribute_exists(a)"}
    assert pages(indexed, "Scan", body, None) == []


SCALARS = "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "


@pytest.mark.parametrize(
    ("operation", "fields"),
    [
        ("PutItem", {"Item": encode_item({"pk": "p", "sk": "1"}), "ConditionExpression": "attribute_exists({}.b)"}),
        ("DeleteItem", {"ConditionExpression": "attribute_exists({}[0])"}),
        ("UpdateItem", {"UpdateExpression": "REMOVE a", "ConditionExpression": "size({}.a) > size(a)"}),
        ("UpdateItem", {"UpdateExpression": "SET a = {}[0]"}),
        ("GetItem", {"ProjectionExpression": "a, {}.b"}),
        ("Scan", {"FilterExpression": "attribute_exists({}.a.b)"}),
        ("Scan", {"ProjectionExpression": "{}[1]"}),
    ],
)
def test_keys_have_nothing_within(indexed: Dynamo, operation: str, fields: dict[str, Any]) -> None:
    where = {} if operation in ("PutItem", "Scan") else {"Key": encode_item({"pk": "p", "sk": "1"})}
    for name, kind in (("sk", "Key"), ("city", "IndexKey")):
        written = {field: text.format(name) if isinstance(text, str) else text for field, text in fields.items()}
        with pytest.raises(ServiceError) as refused:
            indexed(operation, TableName="things", **where, **written)
        assert refused.value.message == f"{SCALARS}{kind}: {name}"


def test_an_update_writes_nothing_into_a_key_of_an_index(indexed: Dynamo) -> None:
    for expression in ("SET city.a = :v", "REMOVE city[0]"):
        values = {":v": {"S": "x"}} if ":v" in expression else None
        with pytest.raises(ServiceError) as refused:
            indexed(
                "UpdateItem",
                TableName="things",
                Key=encode_item({"pk": "p", "sk": "1"}),
                UpdateExpression=expression,
                **({} if values is None else {"ExpressionAttributeValues": values}),
            )
        assert refused.value.message == f"{SCALARS}IndexKey: city"


def test_a_local_index_reads_through_to_its_table(indexed: Dynamo) -> None:
    indexed.put(pk="p", sk="1", at=1, note="n", extra="e")
    assert query(indexed, "by-time", "pk = p") == [{"pk": "p", "sk": "1", "at": 1, "note": "n"}]
    assert query(indexed, "by-time", "pk = p", Select="ALL_ATTRIBUTES", ConsistentRead=True)[0]["extra"] == "e"
    assert query(indexed, "by-time", "pk = p", ProjectionExpression="extra") == [{"extra": "e"}]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"status": 1}, "Type mismatch for Index Key status Expected: S Actual: N IndexName: by-place"),
        ({"city": ""}, "cannot contain an empty string value. IndexName: by-place, IndexKey: city"),
        ({"status": "x" * 2049}, "Aggregated size of all range keys has exceeded"),
        ({"city": "x" * 2049}, "Size of hashkey has exceeded"),
    ],
)
def test_an_item_that_an_index_cannot_hold_is_refused(indexed: Dynamo, item: Item, message: str) -> None:
    """In the words of the first index by name, of those that cannot hold it."""
    with pytest.raises(ServiceError, match=message):
        indexed.put(pk="p", sk="1", **item)
    assert indexed.items() == []


@pytest.mark.parametrize("there", [True, False])
def test_an_update_that_empties_an_index_key_is_refused_in_words_of_its_own(indexed: Dynamo, there: bool) -> None:
    if there:
        indexed.put(pk="p", sk="1", city="a")
    update = {
        "TableName": "things",
        "Key": encode_item({"pk": "p", "sk": "1"}),
        "UpdateExpression": "SET city = :none",
        "ExpressionAttributeValues": {":none": {"S": ""}},
    }
    words = "The update expression attempted to update a secondary index key to a value that is not supported"
    with pytest.raises(ServiceError, match=words):
        indexed("UpdateItem", **update)
    with pytest.raises(ServiceError, match=words) as refused:
        indexed("TransactWriteItems", TransactItems=[{"Update": update}])
    assert refused.value.code == "ValidationException"


def test_an_item_that_an_index_cannot_hold_is_refused_before_its_condition_is_looked_at(indexed: Dynamo) -> None:
    item = encode_item({"pk": "p", "sk": "1", "status": 1})
    with pytest.raises(ServiceError, match="Type mismatch for Index Key status"):
        indexed("PutItem", TableName="things", Item=item, ConditionExpression="attribute_exists(pk)")


@pytest.mark.parametrize(
    ("expression", "actual"),
    [
        ("SET #s = :one", "N"),
        ("ADD #s :one", "N"),
        ("ADD #s :set", "SS"),
        ("SET note = :one, #s = #s + :one", "N"),
        ("SET #s = list_append(#s, :list), #l.x = :one", "L"),
    ],
)
def test_an_update_with_an_operand_of_another_type_is_refused_without_a_look_at_the_item(
    indexed: Dynamo, expression: str, actual: str
) -> None:
    values = {":one": {"N": "1"}, ":set": {"SS": ["a"]}, ":list": {"L": []}}
    update = {
        "TableName": "things",
        "Key": encode_item({"pk": "p", "sk": "1"}),
        "UpdateExpression": expression,
        "ConditionExpression": "attribute_exists(pk)",
        "ExpressionAttributeNames": {"#s": "status"} | ({"#l": "city"} if "#l" in expression else {}),
        "ExpressionAttributeValues": {name: value for name, value in values.items() if name in expression},
    }
    refusal = f"Type mismatch for Index Key status Expected: S Actual: {actual} IndexName: by-place"
    with pytest.raises(ServiceError, match=refusal):
        indexed("UpdateItem", **update)


@pytest.mark.parametrize("action", ["PUT", "ADD"])
def test_an_older_update_with_a_value_of_another_type_is_refused_alike(indexed: Dynamo, action: str) -> None:
    updates = {"status": {"Value": {"N": "1"}, "Action": action}}
    with pytest.raises(ServiceError, match="Type mismatch for Index Key status Expected: S Actual: N"):
        indexed("UpdateItem", TableName="things", Key=encode_item({"pk": "p", "sk": "1"}), AttributeUpdates=updates)


def test_a_type_that_only_the_item_tells_is_refused_in_words_of_its_own(indexed: Dynamo) -> None:
    indexed.put(pk="p", sk="1", note=1)
    with pytest.raises(ServiceError, match="update the secondary index key to unsupported type"):
        indexed(
            "UpdateItem",
            TableName="things",
            Key=encode_item({"pk": "p", "sk": "1"}),
            UpdateExpression="SET #s = note",
            ExpressionAttributeNames={"#s": "status"},
        )


def test_a_check_of_an_item_that_an_index_cannot_hold_is_no_write(dynamo: Dynamo) -> None:
    dynamo.create()
    dynamo.put(pk="p", sk="1", status=1)
    dynamo(
        "UpdateTable",
        TableName="things",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": TYPES[name]} for name in ("status", "at")],
        GlobalSecondaryIndexUpdates=[{"Create": BY_STATUS}],
    )
    check = {"TableName": "things", "Key": encode_item({"pk": "p", "sk": "1"}), "ConditionExpression": "status = :one"}
    names = {"ConditionExpression": "#s = :one", "ExpressionAttributeNames": {"#s": "status"}}
    check |= {**names, "ExpressionAttributeValues": {":one": {"N": "1"}}}
    dynamo("TransactWriteItems", TransactItems=[{"ConditionCheck": check}])


def test_an_index_made_later_holds_what_it_can_of_what_was_there(dynamo: Dynamo) -> None:
    dynamo.create()
    for sk, status in (("1", "open"), ("2", 5), ("3", ""), ("4", "x" * 3000), ("5", None)):
        dynamo.put(pk="p", sk=sk, **({} if status is None else {"status": status}), at=1)
    answer = dynamo(
        "UpdateTable",
        TableName="things",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": TYPES[name]} for name in ("status", "at")],
        GlobalSecondaryIndexUpdates=[{"Create": BY_STATUS}],
    )
    assert [each["IndexName"] for each in answer["TableDescription"]["GlobalSecondaryIndexes"]] == ["by-status"]
    scan = {"TableName": "things", "IndexName": "by-status"}
    assert [item["sk"] for item in pages(dynamo, "Scan", scan, None)] == ["1"]
    # What is older than the index may stay as it is, and other attributes of it may change.
    update = {"Action": "PUT", "Value": {"S": "new"}}
    dynamo("UpdateItem", TableName="things", Key=encode_item({"pk": "p", "sk": "2"}), AttributeUpdates={"note": update})
    with pytest.raises(ServiceError, match="Type mismatch"):
        dynamo.put(pk="p", sk="6", status=1)
    dynamo("UpdateTable", TableName="things", GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-status"}}])
    dynamo.put(pk="p", sk="6", status=1)
    with pytest.raises(ServiceError, match="does not have the specified index"):
        dynamo("Scan", **scan)
    with dynamo.environment.read() as transaction:
        assert list(transaction.scan("indexes", b"")) == []


def test_what_writes_cost_their_indexes(indexed: Dynamo) -> None:
    def cost(**item: Any) -> dict[str, Any]:
        body = {"TableName": "things", "Item": encode_item({"pk": "p", "sk": "1", **item})}
        consumed: dict[str, Any] = indexed("PutItem", **body, ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
        return consumed

    assert cost(note="n")["CapacityUnits"] == 1
    entered = cost(status="open", at=1)
    assert (entered["CapacityUnits"], entered["Table"]) == (3, {"CapacityUnits": 1})
    assert entered["GlobalSecondaryIndexes"] == {"by-status": {"CapacityUnits": 1}}
    assert entered["LocalSecondaryIndexes"] == {"by-time": {"CapacityUnits": 1}}
    moved = cost(status="done", at=1)
    assert moved["GlobalSecondaryIndexes"] == {"by-status": {"CapacityUnits": 2}}
    assert "LocalSecondaryIndexes" not in moved


def test_a_transaction_costs_the_table_twice_and_its_indexes_once(indexed: Dynamo) -> None:
    item = encode_item({"pk": "p", "sk": "1", "status": "open", "at": 1})
    answer = indexed(
        "TransactWriteItems",
        TransactItems=[{"Put": {"TableName": "things", "Item": item}}],
        ReturnConsumedCapacity="INDEXES",
    )
    [consumed] = answer["ConsumedCapacity"]
    assert (consumed["CapacityUnits"], consumed["Table"]["CapacityUnits"]) == (4, 2)
    assert consumed["GlobalSecondaryIndexes"]["by-status"]["CapacityUnits"] == 1
    assert consumed["LocalSecondaryIndexes"]["by-time"]["CapacityUnits"] == 1


def test_collection_metrics_are_of_tables_with_local_indexes(indexed: Dynamo) -> None:
    answer = indexed(
        "PutItem",
        TableName="things",
        Item=encode_item({"pk": "p", "sk": "1"}),
        ReturnItemCollectionMetrics="SIZE",
    )
    assert answer["ItemCollectionMetrics"]["ItemCollectionKey"] == {"pk": {"S": "p"}}


def test_segments_are_the_whole_and_disjoint(indexed: Dynamo) -> None:
    for number in range(40):
        indexed.put(pk=f"p{number}", sk="1", status=f"s{number % 7}", at=number)
    for fields in ({}, {"IndexName": "by-status"}):
        found = [
            item["pk"]
            for segment in range(5)
            for item in pages(
                indexed, "Scan", {"TableName": "things", "Segment": segment, "TotalSegments": 5, **fields}, 3
            )
        ]
        assert sorted(found) == sorted(f"p{number}" for number in range(40))
