"""boto3's client and resource work as they do with AWS: waiters, paginators, conditions, batches, exceptions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from boto3.dynamodb.types import Binary
from botocore.exceptions import ClientError

from engine_process import EngineUnderTest
from server.clients import dynamodb_client, dynamodb_resource


def create(engine: EngineUnderTest, name: str) -> Any:
    """A table `owner`, `number` with one global and one local index, and a stream."""
    table = dynamodb_resource(engine.url).create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "owner", "KeyType": "HASH"},
            {"AttributeName": "number", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "owner", "AttributeType": "S"},
            {"AttributeName": "number", "AttributeType": "N"},
            {"AttributeName": "state", "AttributeType": "S"},
            {"AttributeName": "due", "AttributeType": "S"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by-state",
                "KeySchema": [
                    {"AttributeName": "state", "KeyType": "HASH"},
                    {"AttributeName": "number", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["title"]},
            }
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by-due",
                "KeySchema": [
                    {"AttributeName": "owner", "KeyType": "HASH"},
                    {"AttributeName": "due", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    table.wait_until_exists()
    return table


def test_values_of_every_type_come_back_as_they_went(engine: EngineUnderTest) -> None:
    table = create(engine, "boto3-values")
    item = {
        "owner": "ä ü 漢字 🎉",
        "number": Decimal("-12345678901234567890.123456789012345678"),
        "text": "",
        "bytes": Binary(bytes(range(256))),
        "yes": True,
        "nothing": None,
        "texts": {"a", "b"},
        "numbers": {Decimal(1), Decimal("2.5"), Decimal("-3E+30")},
        "blobs": {Binary(b"x"), Binary(b"y")},
        "list": [1, "two", [Decimal("3.0"), {"four": None}], []],
        "map": {"inner": {"deeper": {Decimal(1)}}, "empty": {}},
    }
    table.put_item(Item=item)
    key = {"owner": item["owner"], "number": item["number"]}
    assert table.get_item(Key=key, ConsistentRead=True)["Item"] == item
    assert "Item" not in table.get_item(Key={"owner": "nobody", "number": 1})


def test_a_table_is_filled_and_asked_through_its_indexes(engine: EngineUnderTest) -> None:
    table = create(engine, "boto3-queries")
    with table.batch_writer(overwrite_by_pkeys=["owner", "number"]) as batch:
        for number in range(60):
            item = {"owner": f"o{number % 2}", "number": number, "title": f"t{number}", "due": f"2024-{number:03d}"}
            batch.put_item(Item=item | ({"state": "open"} if number % 3 else {}))
        batch.delete_item(Key={"owner": "o1", "number": 59})
    found = table.query(KeyConditionExpression=Key("owner").eq("o0") & Key("number").between(10, 20))
    assert [item["number"] for item in found["Items"]] == [10, 12, 14, 16, 18, 20]
    backwards = table.query(
        KeyConditionExpression=Key("owner").eq("o1"),
        FilterExpression=Attr("title").begins_with("t5") & ~Attr("state").exists(),
        ScanIndexForward=False,
    )
    assert [item["number"] for item in backwards["Items"]] == [57, 51]
    assert (backwards["Count"], backwards["ScannedCount"]) == (2, 29)
    states = table.query(IndexName="by-state", KeyConditionExpression=Key("state").eq("open") & Key("number").lt(5))[
        "Items"
    ]
    assert states[0] == {"owner": "o1", "number": 1, "state": "open", "title": "t1"}
    assert [item["number"] for item in states] == [1, 2, 4]
    due = table.query(
        IndexName="by-due",
        KeyConditionExpression=Key("owner").eq("o0") & Key("due").gte("2024-056"),
        ProjectionExpression="#n",
        ExpressionAttributeNames={"#n": "number"},
    )["Items"]
    assert due == [{"number": 56}, {"number": 58}]
    pages = (
        dynamodb_client(engine.url)
        .get_paginator("scan")
        .paginate(TableName=table.name, PaginationConfig={"PageSize": 7})
    )
    sizes = [page["Count"] for page in pages]
    assert (sum(sizes), max(sizes)) == (59, 7)
    segments = [table.scan(Segment=number, TotalSegments=4, Select="COUNT")["Count"] for number in range(4)]
    assert sum(segments) == 59


def test_conditions_updates_and_what_they_return(engine: EngineUnderTest) -> None:
    table = create(engine, "boto3-updates")
    client = table.meta.client
    key = {"owner": "o", "number": 1}
    table.put_item(Item={**key, "stock": 3, "tags": {"a"}}, ConditionExpression=Attr("owner").not_exists())
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as failed:
        table.update_item(
            Key=key,
            UpdateExpression="SET stock = stock - :n",
            ConditionExpression="stock >= :n",
            ExpressionAttributeValues={":n": 4},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert failed.value.response["Item"]["stock"] == {"N": "3"}
    updated = table.update_item(
        Key=key,
        UpdateExpression="SET stock = stock - :n, sold = list_append(if_not_exists(sold, :no), :entry) ADD tags :tags",
        ConditionExpression=Attr("stock").gte(2),
        ExpressionAttributeValues={":n": 2, ":no": [], ":entry": ["two"], ":tags": {"b"}},
        ReturnValues="UPDATED_NEW",
        ReturnConsumedCapacity="TOTAL",
    )
    assert updated["Attributes"] == {"stock": 1, "sold": ["two"], "tags": {"a", "b"}}
    assert updated["ConsumedCapacity"] == {"TableName": table.name, "CapacityUnits": 1.0}
    removed = table.delete_item(Key=key, ReturnValues="ALL_OLD")
    assert removed["Attributes"]["stock"] == 1
    with pytest.raises(ClientError, match="ValidationException"):
        table.put_item(Item={"owner": "o", "number": "text"})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        dynamodb_resource(engine.url).Table("nowhere").get_item(Key=key)


def test_transactions_and_batches(engine: EngineUnderTest) -> None:
    table = create(engine, "boto3-transactions")
    client = table.meta.client  # the resource's client takes Python values
    put = [{"Put": {"TableName": table.name, "Item": {"owner": "o", "number": number}}} for number in range(3)]
    for _ in range(2):
        client.transact_write_items(TransactItems=put, ClientRequestToken="once")
    with pytest.raises(client.exceptions.TransactionCanceledException) as cancelled:
        client.transact_write_items(
            TransactItems=[
                {"Delete": {"TableName": table.name, "Key": {"owner": "o", "number": 0}}},
                {
                    "ConditionCheck": {
                        "TableName": table.name,
                        "Key": {"owner": "o", "number": 9},
                        "ConditionExpression": "attribute_exists(#o)",
                        "ExpressionAttributeNames": {"#o": "owner"},
                    }
                },
            ]
        )
    codes = [reason["Code"] for reason in cancelled.value.response["CancellationReasons"]]
    assert codes == ["None", "ConditionalCheckFailed"]
    gets = [{"Get": {"TableName": table.name, "Key": {"owner": "o", "number": number}}} for number in (2, 7)]
    assert client.transact_get_items(TransactItems=gets)["Responses"] == [{"Item": {"owner": "o", "number": 2}}, {}]
    keys = [{"owner": "o", "number": number} for number in range(5)]
    answer = dynamodb_resource(engine.url).batch_get_item(RequestItems={table.name: {"Keys": keys}})
    assert sorted(item["number"] for item in answer["Responses"][table.name]) == [0, 1, 2]
    assert answer["UnprocessedKeys"] == {}


def test_a_table_s_whole_life(engine: EngineUnderTest) -> None:
    table = create(engine, "boto3-life")
    client = dynamodb_client(engine.url)
    ttl: Any = {"Enabled": True, "AttributeName": "ttl"}
    assert (
        client.update_time_to_live(TableName=table.name, TimeToLiveSpecification=ttl)["TimeToLiveSpecification"] == ttl
    )
    client.update_table(
        TableName=table.name,
        AttributeDefinitions=[{"AttributeName": "title", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[
            {
                "Create": {
                    "IndexName": "by-title",
                    "KeySchema": [{"AttributeName": "title", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            }
        ],
    )
    client.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
    table.put_item(Item={"owner": "o", "number": 1, "title": "t"})
    table.reload()
    assert (table.table_status, table.item_count) == ("ACTIVE", 1)
    assert {index["IndexName"] for index in table.global_secondary_indexes} == {"by-state", "by-title"}
    streams: Any = boto3.client(
        "dynamodbstreams",
        endpoint_url=engine.url,
        region_name="eu-central-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    arn = table.latest_stream_arn
    shards = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    records = []
    for shard in shards:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records += streams.get_records(ShardIterator=iterator)["Records"]
    assert [(record["eventName"], record["dynamodb"]["NewImage"]["title"]) for record in records] == [
        ("INSERT", {"S": "t"})
    ]
    assert table.name in client.list_tables()["TableNames"]
    table.delete()
    client.get_waiter("table_not_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_table(TableName=table.name)
