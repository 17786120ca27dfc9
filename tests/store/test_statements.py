"""PartiQL on a real store: what statements read, write and return, alone, in batches and in transactions."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from afterwrite.errors import ServiceError, TransactionCanceled
from embedded import Dynamo

KEYS = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
ATTRIBUTES = [
    {"AttributeName": "pk", "AttributeType": "S"},
    {"AttributeName": "sk", "AttributeType": "N"},
    {"AttributeName": "kind", "AttributeType": "S"},
]
BY_KIND = {
    "IndexName": "by-kind",
    "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}
OF_PARTITION = {
    "IndexName": "of-partition",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "kind", "KeyType": "RANGE"}],
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


@pytest.fixture
def store(dynamo: Dynamo) -> Dynamo:
    dynamo(
        "CreateTable",
        TableName="things",
        KeySchema=KEYS,
        AttributeDefinitions=ATTRIBUTES,
        GlobalSecondaryIndexes=[BY_KIND],
        LocalSecondaryIndexes=[OF_PARTITION],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(5):
        run(dynamo, f"INSERT INTO things VALUE {{'pk': 'a', 'sk': {number}, 'kind': 'k{number % 2}', 'n': {number}}}")
    return dynamo


def run(dynamo: Dynamo, statement: str, *parameters: Any, **fields: Any) -> dict[str, Any]:
    if parameters:
        fields["Parameters"] = list(parameters)
    answer: dict[str, Any] = dynamo("ExecuteStatement", Statement=statement, **fields)
    return answer


def found(dynamo: Dynamo, statement: str, *parameters: Any) -> list[str]:
    return [item["sk"]["N"] for item in run(dynamo, statement, *parameters)["Items"]]


def code(dynamo: Dynamo, statement: str, **fields: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as refused:
        run(dynamo, statement, **fields)
    return refused.value.code, refused.value.message


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("pk = 'a' AND sk = 2", "2"),
        ("pk = 'a' AND sk > 1 AND sk < 4", "23"),
        ("pk = 'a' AND sk BETWEEN 1 AND 3 ORDER BY sk DESC", "321"),
        ("pk = 'a' AND sk <> 3", "0124"),
        ("pk = 'a' AND (kind = 'k1' OR n = 0)", "013"),
        ("pk = 'a' AND NOT n IN [1, 2]", "034"),
        ("pk IN ['a', 'b'] AND n >= 3", "34"),
        ("kind = 'k0'", "024"),
        ("missing IS MISSING AND kind IS NOT MISSING AND n = 4", "4"),
        ("n IS INT AND kind IS STRING AND n < 1", "0"),
        ("begins_with(kind, 'k1') AND contains(kind, '1') AND size(kind) = 2", "13"),
        ("ATTRIBUTE_EXISTS(n) = true AND attribute_not_exists(nothing) AND attribute_type(n, 'N') AND 3 < n", "4"),
        ("pk = 'b'", ""),
        ("pk = 'a' AND pk = 'b'", ""),
        ("pk = 'a' AND (sk = 1 OR sk > 3)", "14"),
        ("pk = 'a' AND sk < 2 OR pk = 'b' AND sk < 2", "01"),
        ("pk = 'a' AND sk IN [0, 2] OR pk = 'a' AND sk IN [1, 3]", "0123"),
        ("pk = 'a' AND sk IN [0, 1, 2] AND sk IN [2, 3] OR pk = 'a' AND sk = 1", "12"),
        ("pk = 'a' AND sk IN [0, 1, 2] AND sk > 1 OR pk = 'a' AND sk = 1", "12"),
        ("pk = 'a' AND sk > 3 AND sk < 1 OR pk = 'a' AND n = 2", "2"),
        ("pk = 'a' AND n = 2 OR kind = 'k1'", "123"),
        # What is no range of a key overlaps with nothing.
        ("pk = 'a' AND NOT sk = 1 OR pk = 'a' AND sk = 2", "0234"),
        ("pk = 'a' OR pk = 'a' AND sk <> 1", "01234"),
        ("pk = 'a' AND (n > 2 OR NOT pk = 'a')", "34"),
    ],
)
def test_what_a_where_clause_finds(store: Dynamo, where: str, numbers: str) -> None:
    assert "".join(found(store, f"SELECT * FROM things WHERE {where}")) == numbers


@pytest.mark.parametrize(
    "where",
    [
        "pk = 'a' AND n = 1 OR pk = 'a' AND sk = 2",
        "pk = 'a' AND n <> 1 OR pk = 'a' AND sk = 2",
        "pk = 'a' AND (sk > 0 OR sk < 3)",
        "pk = 'a' AND (sk = 1 OR n = 2)",
        "pk = 'a' OR pk = 'a'",
        "pk = 'a' AND sk IN [0, 1, 2] AND sk IN [2, 3] OR pk = 'a' AND sk = 2",
        "pk IN ['b', 'a'] AND sk <= 2 OR pk = 'a' AND sk BETWEEN 2 AND 3",
    ],
)
def test_alternatives_do_not_overlap_on_the_sort_key(store: Dynamo, where: str) -> None:
    message = "Overlapping conditions with range keys are not supported in where clause"
    assert code(store, f"SELECT * FROM things WHERE {where}") == ("ValidationException", message)


def test_looking_for_overlaps_of_many_values_ends(store: Dynamo) -> None:
    values = f"sk IN [{', '.join(map(str, range(100)))}]"
    where = f"pk = 'a' AND {' AND '.join([values] * 15)} AND (n = 1 OR n = 2) OR pk = 'b'"
    assert found(store, f"SELECT * FROM things WHERE {where}") == ["1", "2"]


@pytest.mark.parametrize(("columns", "place"), [("COUNT(*)", "1:8:5"), ("pk, size(kind), size(size(n))", "1:12:4")])
def test_a_column_is_a_path(store: Dynamo, columns: str, place: str) -> None:
    refused = ("ValidationException", f"Unexpected path component at {place}")
    assert code(store, f"SELECT {columns} FROM things") == refused
    assert code(store, f"SELECT {columns} FROM things WHERE pk = 'a' AND sk = 1") == refused
    exists = f"EXISTS(SELECT {columns} FROM things WHERE pk = 'a' AND sk = 1 AND n = 1)"
    with pytest.raises(ServiceError, match="Unexpected path component"):
        store("ExecuteTransaction", TransactStatements=[{"Statement": exists}])
    assert code(store, f"SELECT {columns} FROM nothing") == (
        "ResourceNotFoundException",
        "Requested resource not found",
    )


def test_columns_are_named_by_the_last_name_of_their_paths(store: Dynamo) -> None:
    run(store, "INSERT INTO things VALUE {'pk': 'b', 'sk': 1, 'm': {'x': [7, 8]}}")
    answer = run(store, "SELECT pk, m.x, m.x[1], nothing FROM things WHERE pk = 'b'")
    assert answer == {"Items": [{"pk": {"S": "b"}, "x": {"L": [{"N": "7"}, {"N": "8"}]}, "_3": {"N": "8"}}]}


def test_pages_go_on_for_the_same_statement_only(store: Dynamo) -> None:
    first = run(store, "SELECT * FROM things WHERE pk = ?", {"S": "a"}, Limit=3)
    assert first["LastEvaluatedKey"] == {"pk": {"S": "a"}, "sk": {"N": "2"}}
    second = run(store, "SELECT * FROM things WHERE pk = ?", {"S": "a"}, Limit=3, NextToken=first["NextToken"])
    assert [item["n"]["N"] for item in second["Items"]] == ["3", "4"]
    assert "NextToken" not in second
    for token, message in [(first["NextToken"], "NextToken does not match request"), ("?", "Invalid NextToken")]:
        with pytest.raises(ServiceError, match=message):
            run(store, "SELECT * FROM things WHERE pk = ?", {"S": "b"}, NextToken=token)


@pytest.mark.parametrize("start", [5, "ab", [1], {"pk": {"S": 1}, "sk": {"S": "x"}}, {"pk": {"S": "a"}, "sk": 1}])
def test_a_token_of_whatever_kind_is_refused(store: Dynamo, start: Any) -> None:
    statement = "SELECT * FROM things WHERE pk = 'a'"
    digest, _ = json.loads(base64.b64decode(run(store, statement, Limit=1)["NextToken"]))
    for token in (start, [digest, start]):
        with pytest.raises(ServiceError, match="Invalid NextToken"):
            run(store, statement, NextToken=base64.b64encode(json.dumps(token).encode()).decode())


def test_indexes_show_what_they_project(store: Dynamo) -> None:
    by_kind = run(store, "SELECT * FROM things.\"by-kind\" WHERE kind = 'k1'", ReturnConsumedCapacity="INDEXES")
    assert [sorted(item) for item in by_kind["Items"]] == [["kind", "pk", "sk"]] * 2
    assert by_kind["ConsumedCapacity"]["Table"] == {"CapacityUnits": 0.0}
    for statement, message in [
        ("SELECT n FROM things.\"by-kind\" WHERE kind = 'k1'", r"does not project \[n\]"),
        ("SELECT pk FROM things.\"by-kind\" WHERE kind = 'k1' AND n = 1", r"filter attributes: \[n\]"),
        ("SELECT pk FROM things.other WHERE kind = 'k1'", "The table does not have the specified index$"),
    ]:
        with pytest.raises(ServiceError, match=message):
            run(store, statement)
    assert run(store, 'SELECT pk FROM things."by-kind" WHERE n = 1')["Items"] == []


@pytest.mark.parametrize(("column", "units"), [("kind", 0.0), ("n", 2.5)])
def test_a_local_index_reads_the_table_for_what_it_does_not_project(store: Dynamo, column: str, units: float) -> None:
    statement = f"SELECT {column} FROM things.\"of-partition\" WHERE pk = 'a'"
    answer = run(store, statement, ReturnConsumedCapacity="INDEXES")
    assert len(answer["Items"]) == 5
    assert answer["ConsumedCapacity"]["Table"] == {"CapacityUnits": units}
    query = store(
        "Query",
        TableName="things",
        IndexName="of-partition",
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"S": "a"}},
        ProjectionExpression=column,
        ReturnConsumedCapacity="INDEXES",
    )
    assert query["ConsumedCapacity"] == answer["ConsumedCapacity"]


def test_an_item_is_inserted_once(store: Dynamo) -> None:
    duplicate = ("DuplicateItemException", "Duplicate primary key exists in table")
    assert code(store, "INSERT INTO things VALUE {'pk': 'a', 'sk': 1}") == duplicate
    assert found(store, "SELECT * FROM things WHERE pk = 'a' AND n = 1") == ["1"]


@pytest.mark.parametrize(
    ("returning", "items"),
    [
        ("", []),
        ("RETURNING ALL OLD *", [{"pk": {"S": "a"}, "sk": {"N": "1"}, "kind": {"S": "k1"}, "n": {"N": "1"}}]),
        ("RETURNING MODIFIED OLD *", [{"n": {"N": "1"}}]),
        ("RETURNING MODIFIED NEW *", [{"n": {"N": "3"}, "s": {"SS": ["x"]}, "l": {"L": [{"N": "1"}]}}]),
    ],
)
def test_what_an_update_returns(store: Dynamo, returning: str, items: list[Any]) -> None:
    changes = "SET n = n + 2, s = set_add(s, <<'x'>>) SET l = [1] REMOVE nothing"
    assert run(store, f"UPDATE things {changes} WHERE pk = 'a' AND sk = 1 {returning}")["Items"] == items


def test_updates_and_deletes_heed_the_rest_of_their_where_clauses(store: Dynamo) -> None:
    failed = ("ConditionalCheckFailedException", "The conditional request failed")
    assert code(store, "UPDATE things SET n = 9 WHERE pk = 'a' AND sk = 1 AND n = 2") == failed
    assert code(store, "UPDATE things SET n = 9 WHERE pk = 'new' AND sk = 1") == failed
    assert code(store, "UPDATE things SET n = 9 WHERE pk = 'new' AND sk = 1 AND attribute_not_exists(pk)") == failed
    assert code(store, "DELETE FROM things WHERE pk = 'a' AND sk = 1 AND n = 2") == failed
    assert run(store, "DELETE FROM things WHERE pk = 'new' AND sk = 1") == {"Items": []}
    for condition in ("n = 2", "attribute_exists(n)", "NOT n = 1"):
        assert run(store, f"DELETE FROM things WHERE pk = 'new' AND sk = 1 AND {condition}") == {"Items": []}
    gone = run(store, "DELETE FROM things WHERE pk = 'a' AND sk = 1 AND n = 1 RETURNING ALL OLD *")
    assert gone["Items"][0]["n"] == {"N": "1"}
    message = "Where clause does not contain a mandatory equality on all key attributes"
    assert code(store, "DELETE FROM things WHERE pk = 'a'") == ("ValidationException", message)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("v < ?", "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL"),
        (
            "attribute_exists(?)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "attribute_exists(n, ?)",
            "Incorrect number of operands for operator or function; "
            "operator or function: attribute_exists, number of operands: 2",
        ),
    ],
)
def test_operands_are_refused_without_naming_an_expression(store: Dynamo, where: str, message: str) -> None:
    refused = code(store, f"SELECT * FROM things WHERE pk = 'a' AND {where}", Parameters=[{"BOOL": True}])
    assert refused == ("ValidationException", message)


def test_order_needs_a_partition_and_the_key(store: Dynamo) -> None:
    for rest, message in [
        ("ORDER BY sk", "Must have WHERE clause in the statement when using ORDER BY clause."),
        ("WHERE n = 1 ORDER BY sk", "Must have at least one non-optional hash key condition"),
        ("WHERE pk = 'a' ORDER BY n", "Variable reference n in ORDER BY clause must be part of the primary key"),
    ]:
        with pytest.raises(ServiceError, match=message):
            run(store, f"SELECT * FROM things {rest}")


def test_all_that_is_wrong_with_a_request_is_told(store: Dynamo) -> None:
    message = (
        "3 validation errors detected: "
        "Value '' at 'statement' failed to satisfy constraint: Member must have length greater than or equal to 1; "
        "Value '[]' at 'parameters' failed to satisfy constraint: Member must have length greater than or equal to 1; "
        "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"
    )
    assert code(store, "", Parameters=[], Limit=0) == ("ValidationException", message)


def batch(dynamo: Dynamo, *statements: str, **fields: Any) -> Any:
    return dynamo("BatchExecuteStatement", Statements=[{"Statement": each} for each in statements], **fields)


def test_reads_of_a_batch_succeed_and_fail_each_for_itself(store: Dynamo) -> None:
    answer = batch(
        store,
        "SELECT n FROM things WHERE pk = 'a' AND sk = 1",
        "SELECT * FROM nothing WHERE pk = 'a'",
        "SELECT * FROM things WHERE pk = 'a' AND n = 1",
        "SLECT",
        "SELECT * FROM things WHERE pk = 'none' AND sk = 1",
        ReturnConsumedCapacity="TOTAL",
    )
    no_key = "Select statements within BatchExecuteStatement must specify the primary key in the where clause."
    malformed = "Statement wasn't well formed, can't be processed: Expected data manipulation"
    absent = {"Code": "ResourceNotFound", "Message": "Requested resource not found"}
    assert answer == {
        "Responses": [
            {"TableName": "things", "Item": {"n": {"N": "1"}}},
            {"Error": absent},
            {"Error": {"Code": "ValidationError", "Message": no_key}},
            {"Error": {"Code": "ValidationError", "Message": malformed}},
            {"TableName": "things"},
        ],
        "ConsumedCapacity": [{"TableName": "things", "CapacityUnits": 1.0}],
    }


def test_writes_of_a_batch_succeed_and_fail_each_for_itself(store: Dynamo) -> None:
    answer = batch(
        store,
        "INSERT INTO things VALUE {'pk': 'b', 'sk': 1}",
        "INSERT INTO things VALUE {'pk': 'b', 'sk': 1}",
        "UPDATE things SET n = 1 WHERE pk = 'b' AND sk = 2",
        "UPDATE things REMOVE n WHERE pk = 'a' AND sk = 2 RETURNING MODIFIED NEW *",
        "DELETE FROM things WHERE pk = 'b' AND sk = 1 RETURNING ALL OLD *",
    )
    assert all(each["TableName"] == "things" for each in answer["Responses"])
    assert [each.get("Error", {}).get("Code") for each in answer["Responses"]] == [
        None,
        "DuplicateItem",
        "ConditionalCheckFailed",
        None,
        None,
    ]
    assert answer["Responses"][3] == {"TableName": "things"}
    assert answer["Responses"][4]["Item"] == {"pk": {"S": "b"}, "sk": {"N": "1"}}
    assert found(store, "SELECT * FROM things WHERE pk = 'b'") == []


def test_a_batch_reads_or_writes(store: Dynamo) -> None:
    with pytest.raises(ServiceError, match="either read statements or write statements"):
        batch(store, "SELECT * FROM things WHERE pk = 'a' AND sk = 1", "DELETE FROM things WHERE pk = 'a' AND sk = 1")
    with pytest.raises(ServiceError, match=r"'statements' failed to satisfy constraint: .* less than or equal to 25"):
        batch(store, *["SELECT * FROM things WHERE pk = 'a' AND sk = 1"] * 26)


def transact(dynamo: Dynamo, *statements: str, **fields: Any) -> Any:
    members = [{"Statement": each} for each in statements]
    return dynamo("ExecuteTransaction", TransactStatements=members, **fields)


def test_a_transaction_happens_together_or_not_at_all(store: Dynamo) -> None:
    insert, update = (
        "INSERT INTO things VALUE {'pk': 'b', 'sk': 1}",
        "UPDATE things SET n = n + 1 WHERE pk = 'a' AND sk = 1",
    )
    exists = "EXISTS(SELECT * FROM things WHERE pk = 'a' AND sk = 2 AND n = 2)"
    assert transact(store, insert, update, exists, ClientRequestToken="once") == {"Responses": []}
    assert transact(store, insert, update, exists, ClientRequestToken="once") == {"Responses": []}
    with pytest.raises(TransactionCanceled) as cancelled:
        transact(store, update, insert)
    duplicate = {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}
    assert cancelled.value.fields["CancellationReasons"] == [{"Code": "None"}, duplicate]
    assert run(store, "SELECT n FROM things WHERE pk = 'a' AND sk = 1")["Items"] == [{"n": {"N": "2"}}]


def test_a_transaction_of_reads_has_an_answer_for_each(store: Dynamo) -> None:
    answer = transact(
        store, "SELECT n FROM things WHERE pk = 'a' AND sk = 1", "SELECT * FROM things WHERE pk = 'b' AND sk = 1"
    )
    assert answer == {"Responses": [{"Item": {"n": {"N": "1"}}}, {}]}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM things WHERE pk = 'a'", "Select statements within ExecuteTransaction must specify the primary"),
        ("SELECT * FROM things.\"by-kind\" WHERE kind = 'a'", "Reads on indices are not supported within transactions"),
        ("EXISTS(SELECT * FROM things WHERE pk = 'a' AND sk = 1)", r"EXISTS\(\) must contain a single item read"),
        ("UPDATE things SET n = 1 WHERE pk = 'a'", "Where clause does not contain a mandatory equality"),
    ],
)
def test_a_statement_of_a_transaction_is_refused_by_its_number(store: Dynamo, statement: str, message: str) -> None:
    with pytest.raises(
        ServiceError, match=rf"^ValidationException: Validation failed in TransactStatements\[0\]: {message}"
    ):
        transact(store, statement)


def test_a_transaction_returns_nothing_of_its_writes(store: Dynamo) -> None:
    with pytest.raises(ServiceError, match=r"in TransactStatements\[0\]: RETURNING clause is not supported in"):
        transact(store, "DELETE FROM things WHERE pk = 'a' AND sk = 1 RETURNING ALL OLD *")


def test_an_update_may_begin_with_its_table(store: Dynamo) -> None:
    updated = run(store, "FROM things WHERE pk = 'a' AND sk = 1 AND n = 1 SET n = 5 REMOVE kind RETURNING ALL NEW *")
    assert updated["Items"] == [{"pk": {"S": "a"}, "sk": {"N": "1"}, "n": {"N": "5"}}]
    message = "Where clause does not contain a mandatory equality on all key attributes"
    assert code(store, "FROM things SET n = 1") == ("ValidationException", message)


def test_a_global_index_is_not_read_consistently(store: Dynamo) -> None:
    message = "Strongly consistent read is not supported on Global Secondary Indexes"
    refused = code(store, "SELECT * FROM things.\"by-kind\" WHERE kind = 'k1'", ConsistentRead=True)
    assert refused == ("ValidationException", message)
    local = run(store, "SELECT * FROM things.\"of-partition\" WHERE pk = 'a'", ConsistentRead=True)
    assert len(local["Items"]) == 5


def test_an_index_with_keys_of_several_attributes_is_not_read(store: Dynamo) -> None:
    keys = [{"AttributeName": name, "KeyType": "HASH"} for name in ("a", "b")]
    store(
        "UpdateTable",
        TableName="things",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("a", "b")],
        GlobalSecondaryIndexUpdates=[
            {"Create": {"IndexName": "by-both", "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}}}
        ],
    )
    message = (
        "PartiQL statements cannot be executed on tables with multi-attribute HASH keys or multi-attribute RANGE keys."
    )
    assert code(store, 'SELECT COUNT(*) FROM things."by-both"') == ("ValidationException", message)
    statement = "SELECT * FROM things.\"by-both\" WHERE a = 'x'"
    assert code(store, statement) == ("ValidationException", message)
    assert batch(store, statement)["Responses"] == [{"Error": {"Code": "ValidationError", "Message": message}}]


def test_a_batch_tells_no_item_of_a_failed_condition(store: Dynamo) -> None:
    statement = {
        "Statement": "UPDATE things SET n = 9 WHERE pk = 'a' AND sk = 1 AND n = 2",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    failed = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
    answer = store("BatchExecuteStatement", Statements=[statement])
    assert answer["Responses"] == [{"TableName": "things", "Error": failed}]
    with pytest.raises(ServiceError) as refused:
        store("ExecuteStatement", **statement)
    assert refused.value.fields["Item"]["n"] == {"N": "1"}


def test_a_parameter_of_a_transaction_is_refused_without_its_number(store: Dynamo) -> None:
    update = "UPDATE things SET n = ? WHERE pk = 'a' AND sk = 1"
    with pytest.raises(ServiceError) as refused:
        store("ExecuteTransaction", TransactStatements=[{"Statement": update, "Parameters": [{"N": "one"}]}])
    assert refused.value.message == "The parameter cannot be converted to a numeric value: one"


def test_partitions_are_read_one_after_the_other(store: Dynamo) -> None:
    for pk in ("c", "b"):
        for number in range(2):
            run(store, f"INSERT INTO things VALUE {{'pk': '{pk}', 'sk': {number}}}")
    where = "WHERE pk IN ['c', 'none', 'b', 'c'] AND sk >= 0"

    def keys(answer: dict[str, Any]) -> list[str]:
        return [item["pk"]["S"] + item["sk"]["N"] for item in answer["Items"]]

    every = run(store, f"SELECT * FROM things {where}", ReturnConsumedCapacity="INDEXES")
    assert keys(every) == ["c0", "c1", "b0", "b1"]
    assert every["ConsumedCapacity"] == {
        "TableName": "things",
        "CapacityUnits": 1.5,
        "Table": {"CapacityUnits": 1.5},
    }
    assert keys(run(store, f"SELECT * FROM things {where} ORDER BY pk, sk DESC")) == ["b1", "b0", "c1", "c0"]
    assert keys(run(store, f"SELECT * FROM things {where} ORDER BY pk DESC")) == ["c0", "c1", "b0", "b1"]
    pages: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        answer = run(store, f"SELECT * FROM things {where}", Limit=1, **token)
        pages.append(keys(answer))
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert pages == [["c0"], ["c1"], ["b0"], ["b1"], []]
    assert keys(run(store, f"SELECT * FROM things {where}", Limit=3)) == ["c0", "c1", "b0"]


def test_a_page_of_several_partitions_ends_with_its_bytes_as_that_of_one(store: Dynamo) -> None:
    for pk in ("b", "c", "d", "e"):
        run(store, f"INSERT INTO things VALUE {{'pk': '{pk}', 'sk': 0, 'text': ?}}", {"S": "x" * 390_000})
    select = "SELECT pk FROM things WHERE pk IN ['b', 'c', 'd', 'e']"
    first = run(store, select)
    assert [item["pk"]["S"] for item in first["Items"]] == ["b", "c", "d"]
    assert [item["pk"]["S"] for item in run(store, select, NextToken=first["NextToken"])["Items"]] == ["e"]


def test_a_transaction_puts_no_more_bytes_than_one_may(store: Dynamo) -> None:
    insert, text = "INSERT INTO things VALUE {'pk': ?, 'sk': 0, 'text': ?}", {"S": "x" * 390_000}
    members = [{"Statement": insert, "Parameters": [{"S": f"p{number}"}, text]} for number in range(11)]
    with pytest.raises(ServiceError) as refused:
        store("ExecuteTransaction", TransactStatements=members)
    assert refused.value.message == "Transaction payload size cannot exceed 4 MB"
    assert store("ExecuteTransaction", TransactStatements=members[:10]) == {"Responses": []}


def test_a_filter_beside_several_partitions_is_of_what_the_index_projects(store: Dynamo) -> None:
    statement = "SELECT pk FROM things.\"by-kind\" WHERE kind IN ['k0', 'k1'] AND n = 1"
    with pytest.raises(ServiceError, match=r"filter attributes: \[n\]"):
        run(store, statement)
