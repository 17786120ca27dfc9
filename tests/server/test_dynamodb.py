"""DynamoDB over boto3, unchanged: every operation that is offered, paging, errors by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from server.clients import dynamodb_client, dynamodb_resource

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An engine whose app declares one table."""
    app = App("server-tests")
    app.table("declared", partition_key="pk", sort_key="sk", ttl="expires")
    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        yield f"http://{engine.address[0]}:{engine.address[1]}"


@pytest.fixture(scope="module")
def client(url: str) -> DynamoDBClient:
    return dynamodb_client(url)


@pytest.fixture
def name(client: DynamoDBClient) -> str:
    """A fresh table with the text keys `pk` and `sk`."""
    name = f"table-{next(_NUMBERS)}"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return name


@pytest.fixture
def table(url: str, name: str) -> Any:
    """The same table, in Python values."""
    return dynamodb_resource(url).Table(name)


def code(failure: pytest.ExceptionInfo[ClientError]) -> str:
    return failure.value.response["Error"]["Code"]


def sks(answer: Any) -> list[str]:
    return [item["sk"]["S"] if isinstance(item["sk"], dict) else item["sk"] for item in answer["Items"]]


def test_tables_are_created_described_listed_and_deleted(client: DynamoDBClient, name: str) -> None:
    client.get_waiter("table_exists").wait(TableName=name)
    description = client.describe_table(TableName=name)["Table"]
    assert description["TableStatus"] == "ACTIVE"
    assert description["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    assert description["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert description["LatestStreamArn"].endswith(f"table/{name}/stream/{description['LatestStreamLabel']}")
    assert name in client.list_tables()["TableNames"]
    with pytest.raises(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    client.delete_table(TableName=name)
    client.get_waiter("table_not_exists").wait(TableName=name)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName=name)


def test_a_table_that_the_app_declares_is_protected(client: DynamoDBClient) -> None:
    assert client.describe_table(TableName="declared")["Table"]["DeletionProtectionEnabled"]
    with pytest.raises(ClientError, match="protected against deletion") as failure:
        client.delete_table(TableName="declared")
    assert code(failure) == "ValidationException"
    client.put_item(TableName="declared", Item={"pk": {"S": "p"}, "sk": {"S": "1"}})


def test_tables_are_listed_in_pages(client: DynamoDBClient, name: str) -> None:
    paged = [
        table
        for page in client.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 1})
        for table in page["TableNames"]
    ]
    assert paged == client.list_tables()["TableNames"] == sorted(paged)
    assert len(paged) >= 2


def test_items_of_every_type_come_back_as_they_went(table: Any) -> None:
    item = {
        "pk": "ü€😀",
        "sk": "1",
        "n": Decimal("-0.00001234567890123456789012345678901234"),
        "b": b"\x00\xff" * 10,
        "flag": True,
        "nothing": None,
        "list": ["a", Decimal(1), {"deep": [None]}],
        "map": {"x": {"y": "z"}},
        "ss": {"a", "b"},
        "ns": {Decimal(1), Decimal("2.5")},
        "bs": {b"a", b"b"},
        "empty": "",
    }
    table.put_item(Item=item)
    assert table.get_item(Key={"pk": item["pk"], "sk": "1"}, ConsistentRead=True)["Item"] == item


def test_put_answers_the_old_item_where_asked(table: Any) -> None:
    assert "Attributes" not in table.put_item(Item={"pk": "p", "sk": "1", "n": 1}, ReturnValues="ALL_OLD")
    answer = table.put_item(Item={"pk": "p", "sk": "1", "n": 2}, ReturnValues="ALL_OLD")
    assert answer["Attributes"] == {"pk": "p", "sk": "1", "n": 1}


def test_get_projects_and_misses(table: Any) -> None:
    table.put_item(Item={"pk": "p", "sk": "1", "a": {"b": [1, 2]}, "c": 3})
    answer = table.get_item(
        Key={"pk": "p", "sk": "1"}, ProjectionExpression="#a.b[1], c", ExpressionAttributeNames={"#a": "a"}
    )
    assert answer["Item"] == {"a": {"b": [2]}, "c": 3}
    assert "Item" not in table.get_item(Key={"pk": "p", "sk": "2"})


def test_update_has_its_four_clauses_and_answers(table: Any) -> None:
    table.put_item(Item={"pk": "p", "sk": "1", "n": 1, "gone": 1, "s": {"a", "b"}})
    answer = table.update_item(
        Key={"pk": "p", "sk": "1"},
        UpdateExpression="SET x = if_not_exists(x, :x) REMOVE gone ADD n :one DELETE s :b",
        ExpressionAttributeValues={":x": [1], ":one": 1, ":b": {"b"}},
        ReturnValues="ALL_NEW",
    )
    assert answer["Attributes"] == {"pk": "p", "sk": "1", "n": 2, "s": {"a"}, "x": [1]}
    answer = table.update_item(
        Key={"pk": "p", "sk": "1"},
        UpdateExpression="SET n = n - :two",
        ExpressionAttributeValues={":two": 2},
        ReturnValues="UPDATED_OLD",
    )
    assert answer["Attributes"] == {"n": 2}


def test_conditions_and_what_a_failed_one_says(table: Any, client: DynamoDBClient, name: str) -> None:
    table.put_item(Item={"pk": "p", "sk": "1", "n": 1}, ConditionExpression=Attr("pk").not_exists())
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as failure:
        client.put_item(
            TableName=name,
            Item={"pk": {"S": "p"}, "sk": {"S": "1"}},
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    answer: Any = failure.value.response
    assert answer["Item"]["n"] == {"N": "1"}
    assert failure.value.response["Error"]["Message"] == "The conditional request failed"
    # Beside the item the message is named with a capital letter, which clients that know the other miss.
    assert "message" not in answer
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as without:
        table.put_item(Item={"pk": "p", "sk": "1"}, ConditionExpression=Attr("pk").not_exists())
    other: Any = without.value.response
    assert other["message"] == "The conditional request failed"


def test_delete_answers_the_old_item_where_asked(table: Any) -> None:
    table.put_item(Item={"pk": "p", "sk": "1", "n": 1})
    answer = table.delete_item(Key={"pk": "p", "sk": "1"}, ConditionExpression=Attr("n").eq(1), ReturnValues="ALL_OLD")
    assert answer["Attributes"]["n"] == 1
    assert "Attributes" not in table.delete_item(Key={"pk": "p", "sk": "1"}, ReturnValues="ALL_OLD")


@pytest.fixture
def filled(table: Any) -> Any:
    """The table with ten items of one partition, and one of another."""
    with table.batch_writer() as batch:
        for number in range(10):
            batch.put_item(Item={"pk": "p", "sk": f"{number:02}", "n": number})
        batch.put_item(Item={"pk": "q", "sk": "00"})
    return table


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (Key("sk").eq("03"), ["03"]),
        (Key("sk").lt("02"), ["00", "01"]),
        (Key("sk").lte("01"), ["00", "01"]),
        (Key("sk").gt("07"), ["08", "09"]),
        (Key("sk").gte("08"), ["08", "09"]),
        (Key("sk").between("03", "05"), ["03", "04", "05"]),
        (Key("sk").begins_with("0"), [f"{number:02}" for number in range(10)]),
        (Key("sk").begins_with("1"), []),
    ],
)
def test_queries_by_sort_key_in_both_directions(filled: Any, condition: Any, found: list[str]) -> None:
    where = Key("pk").eq("p") & condition
    assert sks(filled.query(KeyConditionExpression=where)) == found
    assert sks(filled.query(KeyConditionExpression=where, ScanIndexForward=False)) == found[::-1]


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("page_size", [1, 3, 10, 11])
def test_queries_page_in_both_directions(
    filled: Any, name: str, client: DynamoDBClient, forward: bool, page_size: int
) -> None:
    pages = client.get_paginator("query").paginate(
        TableName=name,
        KeyConditionExpression="pk = :p",
        ExpressionAttributeValues={":p": {"S": "p"}},
        ScanIndexForward=forward,
        PaginationConfig={"PageSize": page_size},
    )
    collected = [sks(page) for page in pages]
    assert all(len(page) <= page_size for page in collected)
    expected = [f"{number:02}" for number in range(10)]
    assert list(itertools.chain(*collected)) == (expected if forward else expected[::-1])


def test_filters_apply_after_the_limit(filled: Any) -> None:
    answer = filled.query(KeyConditionExpression=Key("pk").eq("p"), FilterExpression=Attr("n").gte(2), Limit=4)
    assert (answer["Count"], answer["ScannedCount"], sks(answer)) == (2, 4, ["02", "03"])
    assert answer["LastEvaluatedKey"] == {"pk": "p", "sk": "03"}
    counted = filled.query(KeyConditionExpression=Key("pk").eq("p"), Select="COUNT")
    assert (counted["Count"], "Items" in counted) == (10, False)


def test_a_page_is_at_most_a_mebibyte(table: Any) -> None:
    for number in range(5):
        table.put_item(Item={"pk": "p", "sk": str(number), "text": "x" * 300_000})
    first = table.query(KeyConditionExpression=Key("pk").eq("p"))
    assert len(first["Items"]) in (3, 4)
    rest = table.query(KeyConditionExpression=Key("pk").eq("p"), ExclusiveStartKey=first["LastEvaluatedKey"])
    assert sks(first) + sks(rest) == ["0", "1", "2", "3", "4"]


def test_scans_page_over_everything(filled: Any, name: str, client: DynamoDBClient) -> None:
    pages = client.get_paginator("scan").paginate(TableName=name, PaginationConfig={"PageSize": 4})
    keys = [(item["pk"]["S"], item["sk"]["S"]) for page in pages for item in page["Items"]]
    assert sorted(keys) == [("p", f"{number:02}") for number in range(10)] + [("q", "00")]


def test_batches_put_and_delete(filled: Any, name: str, client: DynamoDBClient) -> None:
    answer = client.batch_write_item(
        RequestItems={
            name: [
                {"DeleteRequest": {"Key": {"pk": {"S": "p"}, "sk": {"S": "00"}}}},
                {"PutRequest": {"Item": {"pk": {"S": "p"}, "sk": {"S": "99"}}}},
            ]
        }
    )
    assert answer["UnprocessedItems"] == {}
    found = sks(filled.query(KeyConditionExpression=Key("pk").eq("p")))
    assert found == [f"{number:02}" for number in range(1, 10)] + ["99"]


def transaction(name: str, *sks: str, condition: str | None = None) -> list[Any]:
    fields: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
    return [{"Put": {"TableName": name, "Item": {"pk": {"S": "p"}, "sk": {"S": sk}}, **fields}} for sk in sks]


def test_transactions_happen_whole_or_not_at_all(client: DynamoDBClient, name: str, table: Any) -> None:
    client.transact_write_items(TransactItems=transaction(name, "1", "2"))
    with pytest.raises(client.exceptions.TransactionCanceledException) as failure:
        client.transact_write_items(TransactItems=transaction(name, "3", "1", condition="attribute_not_exists(pk)"))
    reasons = failure.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]
    assert "[None, ConditionalCheckFailed]" in failure.value.response["Error"]["Message"]
    assert sks(table.query(KeyConditionExpression=Key("pk").eq("p"))) == ["1", "2"]


def test_a_client_token_makes_a_transaction_idempotent(client: DynamoDBClient, name: str, table: Any) -> None:
    add: Any = [
        {
            "Update": {
                "TableName": name,
                "Key": {"pk": {"S": "p"}, "sk": {"S": "1"}},
                "UpdateExpression": "ADD n :one",
                "ExpressionAttributeValues": {":one": {"N": "1"}},
            }
        }
    ]
    for _ in range(3):
        client.transact_write_items(TransactItems=add, ClientRequestToken="the-token")
    assert table.get_item(Key={"pk": "p", "sk": "1"})["Item"]["n"] == 1
    with pytest.raises(client.exceptions.IdempotentParameterMismatchException):
        client.transact_write_items(TransactItems=transaction(name, "x"), ClientRequestToken="the-token")


def test_time_to_live_is_switched_and_described(client: DynamoDBClient, name: str) -> None:
    assert client.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {"TimeToLiveStatus": "DISABLED"}
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"AttributeName": "expires", "Enabled": True})
    assert client.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": "expires",
    }
    described = client.describe_time_to_live(TableName="declared")["TimeToLiveDescription"]
    assert described["AttributeName"] == "expires"


def test_capacity_is_answered_where_asked(client: DynamoDBClient, name: str) -> None:
    item = {"pk": {"S": "p"}, "sk": {"S": "1"}, "text": {"S": "x" * 3000}}
    answer = client.put_item(TableName=name, Item=item, ReturnConsumedCapacity="TOTAL")
    assert answer["ConsumedCapacity"] == {"TableName": name, "CapacityUnits": 3.0}


@pytest.mark.parametrize("operation", ["get_item", "put_item", "update_item", "delete_item", "query"])
def test_a_table_that_is_not_there(client: DynamoDBClient, operation: str) -> None:
    key: Any = {"pk": {"S": "p"}}
    special: dict[str, Any] = {
        "put_item": {"Item": key},
        "query": {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}},
    }
    arguments = special.get(operation, {"Key": key})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        getattr(client, operation)(TableName="not-there", **arguments)


@pytest.mark.parametrize(
    "item",
    [
        {"pk": {"S": "p"}},
        {"pk": {"S": "p"}, "sk": {"N": "1"}},
        {"pk": {"S": ""}, "sk": {"S": "1"}},
        {"pk": {"S": "p"}, "sk": {"S": "1"}, "n": {"N": "1" * 39}},
        {"pk": {"S": "p"}, "sk": {"S": "1"}, "n": {"N": "abc"}},
        {"pk": {"S": "p"}, "sk": {"S": "1"}, "s": {"SS": []}},
        {"pk": {"S": "p"}, "sk": {"S": "1"}, "s": {"SS": ["a", "a"]}},
        {"pk": {"S": "p" * 2049}, "sk": {"S": "1"}},
        {"pk": {"S": "p"}, "sk": {"S": "1"}, "big": {"S": "x" * 410_000}},
    ],
    ids=[
        "no-sk",
        "sk-type",
        "empty-key",
        "39-digits",
        "no-number",
        "empty-set",
        "twice-in-set",
        "long-key",
        "big-item",
    ],
)
def test_an_item_that_cannot_be_is_refused_and_changes_nothing(client: DynamoDBClient, name: str, item: Any) -> None:
    with pytest.raises(ClientError) as failure:
        client.put_item(TableName=name, Item=item)
    assert code(failure) == "ValidationException"
    assert client.scan(TableName=name)["Count"] == 0
