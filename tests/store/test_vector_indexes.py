"""Vector indexes: what may be declared, which items they take, and what a search of them finds."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from afterwrite.core.values import decode_item, encode_item, from_python
from afterwrite.errors import ServiceError
from embedded import Dynamo

Body = dict[str, Any]

INDEX: Body = {
    "IndexName": "near",
    "VectorAttribute": {"AttributeName": "v"},
    "Dimensions": 3,
    "DistanceFunction": "COSINE",
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
SCHEMA = [
    {"AttributeName": "kind", "SearchSchemaElementType": "HASH"},
    {"AttributeName": "grade", "SearchSchemaElementType": "INLINE_FILTER"},
]
TYPES = {"pk": "S", "kind": "S", "grade": "N"}
ITEMS: list[Body] = [
    {"pk": "same", "v": [1, 0, 0]},
    {"pk": "near", "v": [1, Decimal("0.1"), 0]},
    {"pk": "right-angle", "v": [0, 1, 0]},
    {"pk": "opposite", "v": [-1, 0, 0]},
]


def definitions(*names: str) -> list[Body]:
    return [{"AttributeName": name, "AttributeType": TYPES.get(name, "S")} for name in names]


def create(dynamo: Dynamo, *indexes: Body, **fields: Any) -> Body:
    body = {
        "TableName": "things",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": definitions("pk"),
        "BillingMode": "PAY_PER_REQUEST",
        "VectorIndexes": list(indexes) or None,
    }
    return dynamo("CreateTable", **{**body, **fields})


def update(dynamo: Dynamo, *updates: Body, **fields: Any) -> Body:
    return dynamo("UpdateTable", TableName="things", VectorIndexUpdates=list(updates), **fields)


def search(dynamo: Dynamo, *vector: int, top: int = 10, index: str = "near", **fields: Any) -> list[Body]:
    elements = [from_python(each) for each in vector or (1, 0, 0)]
    body = {"TableName": "things", "IndexName": index, "SearchVector": elements, "TopK": top, **fields}
    return list(dynamo("SearchVectors", **body)["SearchResults"])


def found(results: list[Body]) -> list[str]:
    return [result["Item"]["pk"]["S"] for result in results]


def described(dynamo: Dynamo) -> Body:
    return dict(dynamo("DescribeTable", TableName="things")["Table"])


@pytest.mark.parametrize("added", [False, True], ids=["created", "added"])
@pytest.mark.parametrize(
    ("distance", "order", "scores"),
    [
        ("COSINE", ["same", "near", "right-angle", "opposite"], [0, 0.00496, 1, 2]),
        ("EUCLIDEAN", ["same", "near", "right-angle", "opposite"], [0, 0.1, 2**0.5, 2]),
        ("DOT_PRODUCT", ["same", "near", "right-angle", "opposite"], [2, 2, 0, -2]),
    ],
)
def test_the_nearest_items_are_found_first(
    dynamo: Dynamo, distance: str, order: list[str], scores: list[float], added: bool
) -> None:
    index = {**INDEX, "DistanceFunction": distance}
    create(dynamo, *([] if added else [index]))
    for item in ITEMS:
        dynamo.put(**item)
    if added:
        # What is older than the index and no vector of it stays out.
        dynamo.put(pk="text", v="none")
        dynamo.put(pk="short", v=[1, 2])
        update(dynamo, {"Create": index})
    results = search(dynamo, 2 if distance == "DOT_PRODUCT" else 1, 0, 0)
    assert sorted(found(results)) == sorted(order)
    assert [result["Score"] for result in results] == pytest.approx(scores, abs=1e-5)
    if distance != "DOT_PRODUCT":
        assert found(results) == order
    assert found(search(dynamo, top=1))[0] in order[:2]
    dynamo("UpdateItem", TableName="things", Key={"pk": {"S": "same"}}, UpdateExpression="REMOVE v")
    dynamo.delete(pk="near")
    assert found(search(dynamo)) == ["right-angle", "opposite"]


@pytest.mark.parametrize(
    ("distance", "expected"),
    [("COSINE", 0.3999999761581421), ("EUCLIDEAN", 0.8944271802902222), ("DOT_PRODUCT", 0.6000000238418579)],
)
def test_a_score_is_a_float_of_32_bits(dynamo: Dynamo, distance: str, expected: float) -> None:
    create(dynamo, {**INDEX, "DistanceFunction": distance})
    dynamo.put(pk="p", v=[Decimal("0.6"), Decimal("0.8"), 0])
    assert [result["Score"] for result in search(dynamo)] == [expected]


def test_a_score_beyond_a_float_of_32_bits_is_a_number(dynamo: Dynamo) -> None:
    create(dynamo, {**INDEX, "DistanceFunction": "DOT_PRODUCT"})
    huge = 10**38
    dynamo.put(pk="p", v=[huge, 0, 0])
    assert [result["Score"] for result in search(dynamo, huge, 0, 0)] == [pytest.approx(1e76)]


@pytest.mark.parametrize(
    ("projection", "shown"),
    [
        ({"ProjectionType": "KEYS_ONLY"}, {"pk"}),
        ({"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]}, {"pk", "a"}),
        ({"ProjectionType": "ALL"}, {"pk", "a", "b"}),
    ],
)
def test_a_search_shows_what_is_projected_and_the_vector_where_asked(
    dynamo: Dynamo, projection: Body, shown: set[str]
) -> None:
    create(dynamo, {**INDEX, "Projection": projection})
    dynamo.put(pk="p", v=[1, 2, Decimal("3.1415926535897")], a={"x": 1, "y": 2}, b="b")
    assert search(dynamo)[0]["Item"].keys() == shown
    part = search(dynamo, ProjectionExpression="a.x, b, v")[0]["Item"]
    assert part.keys() == (shown | {"v"}) - {"pk"}
    assert part["v"] == {"L": [{"N": "1.0"}, {"N": "2.0"}, {"N": "3.1415927"}]}
    assert "a" not in part or decode_item(part)["a"] == {"x": 1}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("0", "0.0"),
        ("-0.5", "-0.5"),
        ("16777217", "16777216.0"),
        ("9e12", "9000000000000.0"),
        ("1e13", "1e13"),
        ("-1.5e20", "-1.5e20"),
        ("0.000001", "0.000001"),
        ("9.9e-7", "9.9e-7"),
        ("1e-45", "1e-45"),
    ],
)
def test_a_vector_is_shown_in_the_digits_that_tell_its_floats(dynamo: Dynamo, stored: str, shown: str) -> None:
    create(dynamo, INDEX)
    dynamo.put(pk="p", v=[Decimal(stored), 1, 0])
    assert search(dynamo, ProjectionExpression="v")[0]["Item"]["v"]["L"][0] == {"N": shown}


def test_conditions_give_the_values_of_the_search_schema(dynamo: Dynamo) -> None:
    create(dynamo, {**INDEX, "SearchSchema": SCHEMA}, AttributeDefinitions=definitions("pk", "kind", "grade"))
    keyed: list[Body] = [{"kind": "a", "grade": 1}, {"kind": "a"}, {"kind": "b", "grade": 1}, {"grade": 1}]
    for number, fields in enumerate(keyed):
        dynamo.put(pk=str(number), v=[1, 0, 0], **fields)

    def matching(condition: str, **values: Any) -> list[str]:
        given = {f":{name}": from_python(value) for name, value in values.items()}
        return found(search(dynamo, SearchConditionExpression=condition, ExpressionAttributeValues=given))

    assert matching("kind = :k", k="a") == ["0", "1"]
    assert matching(":k = kind AND grade = :s", k="a", s=1) == ["0"]
    assert matching("kind = :k", k="none") == []
    cases: list[tuple[str, Body, str]] = [
        ("grade = :s", {"s": 1}, "must have an equality condition on the HASH attribute kind"),
        ("kind = :k", {"k": 1}, "type does not match schema type"),
        (
            "kind = :k AND pk = :p",
            {"k": "a", "p": "0"},
            "not contain any attributes that is not in SearchSchema. Invalid attribute: pk",
        ),
        (
            "kind = :k AND grade > :s",
            {"k": "a", "s": 1},
            "Invalid SearchConditionExpression: Invalid comparator used in SearchConditionExpression",
        ),
        ("kind = :k OR grade = :s", {"k": "a", "s": 1}, "Invalid operator used in SearchConditionExpression: OR"),
        ("begins_with(kind, :k)", {"k": "a"}, "Invalid operator used in SearchConditionExpression: begins_with"),
        ("kind.x = :k", {"k": "a"}, "cannot have conditions on nested attributes"),
        ("kind = :k AND kind = :k", {"k": "a"}, "one condition per attribute"),
        ("kind = grade AND grade = :s", {"s": 1}, "an attribute is compared with a value"),
    ]
    for condition, values, message in cases:
        with pytest.raises(ServiceError, match=message):
            matching(condition, **values)
    with pytest.raises(ServiceError, match="must be provided when SearchSchema has a HASH key"):
        search(dynamo)


NUMBER = "32-bit floating point number"


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("text", f"type for parameter v, Expected: {NUMBER} list IndexName: near"),
        (5, f"type for parameter v, Expected: {NUMBER} list IndexName: near"),
        ([1, 2], "size for parameter v, Expected: 3, Actual: 2 IndexName: near"),
        ([1, 2, 3, 4], "size for parameter v, Expected: 3, Actual: 4 IndexName: near"),
        ([1, "b", 3], rf"type for parameter v\[1\], Expected: {NUMBER}, Actual: S. IndexName: near"),
        ([1, 10**39, 3], rf"type for parameter v\[1\], Expected: {NUMBER}, Actual: N. IndexName: near"),
    ],
)
def test_no_write_keeps_what_is_no_vector(dynamo: Dynamo, value: Any, wrong: str) -> None:
    create(dynamo, INDEX)
    message = f"One or more parameter values were invalid. Invalid {wrong}"
    with pytest.raises(ServiceError, match=message):
        dynamo.put(pk="p", v=value)
    with pytest.raises(ServiceError, match=message):
        dynamo(
            "UpdateItem",
            TableName="things",
            Key={"pk": {"S": "p"}},
            UpdateExpression="SET v = :v",
            ExpressionAttributeValues={":v": from_python(value)},
        )
    puts = [
        {"PutRequest": {"Item": encode_item(item)}} for item in ({"pk": "q", "v": [1, 2, 3]}, {"pk": "p", "v": value})
    ]
    with pytest.raises(ServiceError, match=message):
        dynamo("BatchWriteItem", RequestItems={"things": puts})
    assert dynamo.items() == []


def test_attributes_of_a_search_schema_keep_their_types(dynamo: Dynamo) -> None:
    create(dynamo, {**INDEX, "SearchSchema": SCHEMA}, AttributeDefinitions=definitions("pk", "kind", "grade"))
    refused: list[tuple[Body, str]] = [
        ({"kind": 1}, "Type mismatch for Index Key kind Expected: S Actual: N IndexName: near"),
        ({"grade": "s"}, "Type mismatch for Index Key grade Expected: N Actual: S IndexName: near"),
        ({"kind": ""}, "empty string value"),
    ]
    for fields, message in refused:
        with pytest.raises(ServiceError, match=message):
            dynamo.put(pk="p", **fields)
    assert sorted(each["AttributeName"] for each in described(dynamo)["AttributeDefinitions"]) == [
        "grade",
        "kind",
        "pk",
    ]


def test_what_is_declared_is_described(dynamo: Dynamo) -> None:
    declared = {**INDEX, "SearchSchema": SCHEMA, "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["a"]}}
    answer = create(dynamo, declared, AttributeDefinitions=definitions("pk", "kind", "grade"))
    assert answer["TableDescription"]["VectorIndexes"][0]["IndexStatus"] == "CREATING"
    table = described(dynamo)
    (index,) = table["VectorIndexes"]
    assert index == {
        **declared,
        "IndexStatus": "ACTIVE",
        "IndexArn": f"{table['TableArn']}/index/near",
        "ItemCount": table["ItemCount"],
        "IndexSizeBytes": table["TableSizeBytes"],
    }
    update(dynamo, {"Delete": {"IndexName": "near"}})
    assert "VectorIndexes" not in described(dynamo)


def test_indexes_outlive_a_restart(dynamo: Dynamo) -> None:
    create(dynamo, {**INDEX, "SearchSchema": SCHEMA}, AttributeDefinitions=definitions("pk", "kind", "grade"))
    table = dynamo.environment.state["catalog"]["things"]
    assert type(table).from_json("things", table.to_json()) == table


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"Dimensions": 0}, "Value '0' at 'vectorIndexes.1.member.dimensions'"),
        ({"Dimensions": 4097}, "Number of dimensions must be between 1 and 4096 inclusive."),
        ({"Dimensions": "x"}, "cannot be converted to Long"),
        (
            {"DistanceFunction": "cosine"},
            "Value 'cosine' at 'vectorIndexes.1.member.distanceFunction' failed to satisfy constraint: "
            r"Member must satisfy enum value set: \[DOT_PRODUCT, COSINE, EUCLIDEAN\]",
        ),
        ({"VectorAttribute": {"AttributeName": ""}}, "vectorAttribute.attributeName"),
        ({"VectorAttribute": {"AttributeName": "x" * 256}}, "vectorAttribute.attributeName"),
        (
            {"VectorAttribute": {"AttributeName": "pk"}},
            "'pk'. An attribute cannot be defined in .* as a VectorAttribute\\.",
        ),
        ({"VectorAttribute": None}, "Value null at 'vectorIndexes.1.member.vectorAttribute'"),
        ({"Projection": {"ProjectionType": "INCLUDE"}}, "NonKeyAttributes is not specified"),
        (
            {"Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": [f"a{number}" for number in range(20)]}},
            "Number of projected attributes exceeds the limit of 20",
        ),
        ({"SearchSchema": []}, "Value '\\[\\]' at 'vectorIndexes.1.member.searchSchema'"),
        ({"SearchSchema": SCHEMA}, "One element in SearchSchema is not defined in attribute definitions"),
        (
            {"SearchSchema": [SCHEMA[0], SCHEMA[0]]},
            "One element in SearchSchema is not defined in attribute definitions",
        ),
    ],
)
def test_a_wrong_declaration_is_refused(dynamo: Dynamo, changed: Body, message: str) -> None:
    with pytest.raises(ServiceError, match=message):
        create(dynamo, {**INDEX, **changed})


def test_declarations_that_do_not_go_together_are_refused(dynamo: Dynamo) -> None:
    other = {**INDEX, "IndexName": "other"}
    both = [SCHEMA[0], {**SCHEMA[1], "SearchSchemaElementType": "HASH"}]
    defined = {"AttributeDefinitions": definitions("pk", "kind", "grade")}
    refusals: list[tuple[list[Body], Body, str]] = [
        ([INDEX, INDEX], {}, "Duplicate index name: near"),
        (
            [INDEX, {**other, "Dimensions": 4}],
            {},
            "Conflicting attribute definition for 'v'. All VectorIndexes on the same",
        ),
        ([{**INDEX, "IndexName": f"near{number}"} for number in range(6)], {}, "VectorIndex count exceeds"),
        (
            [{**INDEX, "SearchSchema": both}],
            defined,
            "Value '2' at 'SearchSchema' failed to satisfy constraint: Member must have HASH count less than or equal "
            "to 1$",
        ),
        (
            [{**INDEX, "SearchSchema": [SCHEMA[0], SCHEMA[0]]}],
            defined,
            "SearchSchema contains a duplicate AttributeName$",
        ),
        ([], {"VectorIndexes": []}, "List of VectorIndexes is empty$"),
        ([INDEX], defined, "Some AttributeDefinitions are not used|does not exactly match"),
    ]
    for indexes, fields, message in refusals:
        with pytest.raises(ServiceError, match=message):
            create(dynamo, *indexes, **fields)


def test_a_table_has_five_vector_indexes_at_most(dynamo: Dynamo) -> None:
    create(dynamo, *({**INDEX, "IndexName": f"near{number}"} for number in range(5)))
    with pytest.raises(ServiceError) as refused:
        update(dynamo, {"Create": INDEX})
    assert (refused.value.code, refused.value.message) == (
        "LimitExceededException",
        "Subscriber limit exceeded: Number of vector secondary indexes exceeds per-table limit of 5",
    )


def test_only_tables_on_demand_have_vector_indexes(dynamo: Dynamo) -> None:
    provisioned = {
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    }
    with pytest.raises(ServiceError, match="Vector indexes are only supported for PAY_PER_REQUEST tables"):
        create(dynamo, INDEX, **provisioned)
    create(dynamo, **provisioned)
    with pytest.raises(ServiceError, match="Vector indexes are only supported for PAY_PER_REQUEST tables"):
        update(dynamo, {"Create": INDEX})
    update(dynamo, {"Create": INDEX}, BillingMode="PAY_PER_REQUEST")
    with pytest.raises(ServiceError, match="Vector indexes are only supported for PAY_PER_REQUEST tables"):
        dynamo("UpdateTable", TableName="things", **provisioned)


def test_an_update_makes_or_deletes_one_index(dynamo: Dynamo) -> None:
    create(dynamo, INDEX)
    new = {"Create": {**INDEX, "IndexName": "new"}}
    gone = {"Delete": {"IndexName": "near"}}
    key = {"KeySchema": [{"AttributeName": "v", "KeyType": "HASH"}], "Projection": {"ProjectionType": "ALL"}}
    on_vector = [{"Create": {"IndexName": "by-v", **key}}]
    stream = {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}
    refusals: list[tuple[list[Body], Body, str, str]] = [
        ([new, gone], {}, "LimitExceededException", "Only 1 online index"),
        ([gone], {"StreamSpecification": stream}, "ValidationException", "while changing stream status"),
        ([{}], {}, "ValidationException", "One of VectorIndexUpdate.Create, VectorIndexUpdate.Delete"),
        ([{**new, **gone}], {}, "ValidationException", "Only one vector index action"),
        ([{"Create": INDEX}], {}, "ValidationException", "^ValidationException: Attempting to create an index which"),
        ([{"Delete": {"IndexName": "none"}}], {}, "ResourceNotFoundException", "not found"),
        ([{"Create": {**new["Create"], "Dimensions": 4}}], {}, "ValidationException", "VectorAttribute of another"),
        (
            [],
            {"GlobalSecondaryIndexUpdates": on_vector, "AttributeDefinitions": definitions("v")},
            "ValidationException",
            r"Existing schema: VectorIndexSchema:\[VectorAttribute: key{v:L:3}\] "
            r"New schema: Schema:\[SchemaElement: key{v:S:HASH}\]$",
        ),
        (
            [{"Create": {**new["Create"], "VectorAttribute": {"AttributeName": "pk"}}}],
            {},
            "ValidationException",
            r"Existing schema: Schema:\[SchemaElement: key{pk:S:HASH}\] "
            r"New schema: VectorIndexSchema:\[VectorAttribute: key{pk:L:3}\]$",
        ),
        (
            [gone],
            {"BillingMode": "PROVISIONED", "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}},
            "ValidationException",
            "Tables with vector indexes must be in PAY_PER_REQUEST mode$",
        ),
    ]
    for updates, fields, code, message in refusals:
        with pytest.raises(ServiceError, match=message) as refused:
            update(dynamo, *updates, **fields)
        assert refused.value.code == code
    update(dynamo, new)
    assert [index["IndexName"] for index in described(dynamo)["VectorIndexes"]] == ["near", "new"]
    update(dynamo, gone)
    assert [index["IndexName"] for index in described(dynamo)["VectorIndexes"]] == ["new"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"IndexName": None}, "'IndexName' is required"),
        ({"IndexName": "none"}, "does not have the specified index: none"),
        ({"SearchVector": None}, "'SearchVector' is required"),
        ({"SearchVector": []}, "Value '\\[\\]' at 'searchVector'"),
        ({"SearchVector": "x"}, "Unexpected field type"),
        ({"SearchVector": [{"N": "1"}, {"N": "dog"}, {"N": "1"}]}, "must be a 32-bit floating-point number"),
        ({"SearchVector": [{"N": "1"}, {"S": "1"}, {"N": "1"}]}, "must be a 32-bit floating-point number"),
        ({"SearchVector": [{"N": "1"}, {"N": "1e39"}, {"N": "1"}]}, "must be a 32-bit floating-point number"),
        ({"SearchVector": [{"N": "1"}]}, "search vector dimension 1 does not match vector index dimension 3"),
        ({"TopK": None}, "'TopK' is required"),
        ({"TopK": 0}, "Value '0' at 'topK' failed to satisfy constraint"),
        ({"TopK": 101}, "TopK value '101' is out of valid range. The value must be between 1 and 100"),
        ({"TopK": 1.5}, "cannot be converted to Integer"),
        ({"ExpressionAttributeValues": {":a": {"S": "a"}}}, "can only be specified when using expressions"),
    ],
)
def test_a_wrong_search_is_refused(dynamo: Dynamo, fields: Body, message: str) -> None:
    create(dynamo, INDEX)
    body = {"TableName": "things", "IndexName": "near", "SearchVector": [{"N": "1"}] * 3, "TopK": 10, **fields}
    with pytest.raises(ServiceError, match=message):
        dynamo("SearchVectors", **{field: value for field, value in body.items() if value is not None})


OF_PARTITION: Body = {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("Query", OF_PARTITION, r"^Query operation not supported on this index type\.$"),
        (
            "Query",
            {**OF_PARTITION, "ConsistentRead": True},
            "^Consistent reads are not supported on global secondary indexes$",
        ),
        ("Scan", {}, "^Scan operation not supported on this index type$"),
        ("Scan", {"ConsistentRead": True}, "^Scan operation not supported on this index type$"),
    ],
)
def test_a_vector_index_is_only_searched(dynamo: Dynamo, operation: str, body: Body, message: str) -> None:
    create(dynamo, INDEX)
    with pytest.raises(ServiceError) as caught:
        dynamo(operation, TableName="things", IndexName="near", **body)
    assert re.search(message, caught.value.message)


@pytest.mark.parametrize("where", ["", " WHERE pk = 'p'"])
def test_no_statement_reads_a_vector_index(dynamo: Dynamo, where: str) -> None:
    create(dynamo, INDEX)
    with pytest.raises(ServiceError, match=r"Scan operation not supported on this index type$"):
        dynamo("ExecuteStatement", Statement=f'SELECT * FROM "things"."near"{where}')


@pytest.mark.parametrize(
    ("field", "expected"),
    [("TableName", "a string"), ("IndexName", "a string"), ("SearchVector", "a sequence"), ("TopK", "i32")],
)
def test_a_search_reads_no_null(dynamo: Dynamo, field: str, expected: str) -> None:
    body: Body = {"TableName": "absent", "IndexName": "near", "SearchVector": [{"N": "1"}], "TopK": 1, field: None}
    with pytest.raises(ServiceError, match=f"^SerializationException: invalid type: null, expected {expected} at line"):
        dynamo("SearchVectors", **body)


def test_a_search_names_the_field_without_which_it_is_not_read(dynamo: Dynamo) -> None:
    with pytest.raises(ServiceError) as caught:
        dynamo("SearchVectors", IndexName="ab")
    assert caught.value.code == "ValidationException"
    assert caught.value.message == "missing field `TableName` at line 1 column 18"


def test_a_search_reports_what_it_consumed(dynamo: Dynamo) -> None:
    create(dynamo, INDEX)
    body = {"TableName": "things", "IndexName": "near", "SearchVector": [{"N": "1"}] * 3, "TopK": 1}
    answer = dynamo("SearchVectors", **body, ReturnConsumedCapacity="TOTAL")
    assert answer == {"SearchResults": [], "ConsumedCapacity": {"VectorSearchRequestBytes": 1024}}


def test_a_write_reports_what_it_moved(dynamo: Dynamo) -> None:
    create(dynamo, INDEX)

    def consumed(detail: str, **item: Any) -> Body:
        body = {"TableName": "things", "Item": encode_item({"pk": "p", **item})}
        return dict(dynamo("PutItem", **body, ReturnConsumedCapacity=detail)["ConsumedCapacity"])

    assert consumed("INDEXES", v=[1, 2, 3])["VectorIndexes"] == {"near": {"VectorWriteRequestBytes": 1024}}
    assert "VectorIndexes" not in consumed("TOTAL", v=[1, 2, 4])
    assert "VectorIndexes" in consumed("INDEXES", a="a")
    assert "VectorIndexes" not in consumed("INDEXES", a="b")


def test_an_item_that_changes_its_partition_is_deleted_and_written(dynamo: Dynamo) -> None:
    create(dynamo, {**INDEX, "SearchSchema": SCHEMA}, AttributeDefinitions=definitions("pk", "kind", "grade"))

    def moved(**item: Any) -> int:
        body = {"TableName": "things", "Item": encode_item({"pk": "p", "v": [1, 2, 3], **item})}
        capacity = dynamo("PutItem", **body, ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
        return int(capacity["VectorIndexes"]["near"]["VectorWriteRequestBytes"])

    assert moved(kind="a") == 1024
    assert moved(kind="b") == 2 * 1024
    assert moved(kind="b", grade=1) == 1024


def test_a_write_moves_what_the_index_shows(dynamo: Dynamo) -> None:
    create(dynamo, INDEX, {**INDEX, "IndexName": "all", "Projection": {"ProjectionType": "ALL"}})
    # The key and its name, the padding and its name, the vector's name and four bytes for each of its dimensions.
    size = 3 + (3 + 1500) + (1 + 3 * 4)

    def moved(**item: Any) -> Body:
        body = {"TableName": "things", "Item": encode_item({"pk": "p", **item})}
        capacity = dynamo("PutItem", **body, ReturnConsumedCapacity="INDEXES")["ConsumedCapacity"]
        return {name: each["VectorWriteRequestBytes"] for name, each in capacity.get("VectorIndexes", {}).items()}

    assert moved(v=[10**20, 2, 3], pad="x" * 1500) == {"near": 1024, "all": size}
    assert moved(v=[10**20, 2, 3], pad="y" * 1500) == {"all": size}
    assert moved(v=[10**20, 2, 3], pad="y" * 1500) == {}


def test_a_vector_costs_a_write_four_bytes_a_dimension_and_a_read_its_numbers(dynamo: Dynamo) -> None:
    create(dynamo, INDEX)
    # Names and key, and a vector whose numbers have 20 bytes each.
    numbers, rest = [10**37 + 1] * 3, 3 + 1 + 3

    def written(size: int) -> float:
        item = encode_item({"pk": "p", "v": numbers, "pad": "x" * (size - rest - 3 * 4)})
        answer = dynamo("PutItem", TableName="things", Item=item, ReturnConsumedCapacity="TOTAL")
        return float(answer["ConsumedCapacity"]["CapacityUnits"])

    assert (written(1024), written(1025)) == (1, 2)
    assert written(4096) == 4
    read = {"TableName": "things", "Key": encode_item({"pk": "p"}), "ConsistentRead": True}
    assert dynamo("GetItem", **read, ReturnConsumedCapacity="TOTAL")["ConsumedCapacity"]["CapacityUnits"] == 2
