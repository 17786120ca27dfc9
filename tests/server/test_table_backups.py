"""Backups of tables, over the wire: made, told, restored, deleted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import Engine, open_engine
from moments import next_second

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORDERS: dict[str, Any] = {
    "TableName": "orders",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": kind} for name, kind in (("pk", "S"), ("sk", "N"), ("status", "S"))
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-status",
            "KeySchema": [{"AttributeName": "status", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
            "ProvisionedThroughput": {"ReadCapacityUnits": 3, "WriteCapacityUnits": 4},
        }
    ],
    "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    "Tags": [{"Key": "team", "Value": "shop"}],
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path / "data") as engine:
        yield engine


@pytest.fixture
def dynamodb(engine: Engine) -> DynamoDBClient:
    client: DynamoDBClient = engine.boto3_session().client("dynamodb")
    client.create_table(**ORDERS)
    return client


def put(dynamodb: DynamoDBClient, count: int, table: str = "orders") -> None:
    for first in range(0, count, 25):
        requests: list[Any] = [
            {"PutRequest": {"Item": {"pk": {"S": f"p{n % 7}"}, "sk": {"N": str(n)}, "status": {"S": "new"}}}}
            for n in range(first, min(count, first + 25))
        ]
        dynamodb.batch_write_item(RequestItems={table: requests})


def items(dynamodb: DynamoDBClient, table: str) -> list[str]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    return sorted(str(item) for page in pages for item in page["Items"])


def backed_up(dynamodb: DynamoDBClient, name: str = "before") -> str:
    return dynamodb.create_backup(TableName="orders", BackupName=name)["BackupDetails"]["BackupArn"]


def refused(operation: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        operation(**parameters)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_backup_tells_of_its_table(dynamodb: DynamoDBClient) -> None:
    put(dynamodb, 3)
    details = dynamodb.create_backup(TableName="orders", BackupName="before")["BackupDetails"]
    table = dynamodb.describe_table(TableName="orders")["Table"]
    assert details["BackupArn"].startswith(f"{table['TableArn']}/backup/")
    assert (details["BackupName"], details["BackupType"]) == ("before", "USER")
    assert details["BackupSizeBytes"] == table["TableSizeBytes"] > 0
    described = dynamodb.describe_backup(BackupArn=details["BackupArn"])["BackupDescription"]
    assert described["BackupDetails"] == {**details, "BackupStatus": "AVAILABLE"}
    source = described["SourceTableDetails"]
    assert (source["TableName"], source["TableId"], source["ItemCount"]) == ("orders", table["TableId"], 3)
    assert source["ProvisionedThroughput"] == ORDERS["ProvisionedThroughput"]
    assert source["KeySchema"] == ORDERS["KeySchema"]
    assert source["TableCreationDateTime"] == table["CreationDateTime"]
    (index,) = described["SourceTableFeatureDetails"]["GlobalSecondaryIndexes"]
    assert index == ORDERS["GlobalSecondaryIndexes"][0]


def test_a_restored_table_is_as_its_source_was(dynamodb: DynamoDBClient) -> None:
    put(dynamodb, 60)
    before = items(dynamodb, "orders")
    arn = backed_up(dynamodb)
    put(dynamodb, 70)
    dynamodb.delete_table(TableName="orders")
    answer = dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=arn)["TableDescription"]
    assert (answer["TableName"], answer["TableStatus"]) == ("again", "CREATING")
    assert answer["RestoreSummary"]["RestoreInProgress"] is True
    dynamodb.get_waiter("table_exists").wait(TableName="again", WaiterConfig={"Delay": 1})
    table = dynamodb.describe_table(TableName="again")["Table"]
    assert table["RestoreSummary"] == {**answer["RestoreSummary"], "RestoreInProgress": False}
    assert table["RestoreSummary"]["SourceBackupArn"] == arn
    assert table["RestoreSummary"]["SourceTableArn"] == arn.partition("/backup/")[0]
    assert items(dynamodb, "again") == before
    assert table["KeySchema"] == ORDERS["KeySchema"]
    assert table["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert "LatestStreamArn" not in table
    assert dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"] == []
    found = dynamodb.query(
        TableName="again",
        IndexName="by-status",
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "status"},
        ExpressionAttributeValues={":s": {"S": "new"}},
        Select="COUNT",
    )
    assert found["Count"] == 60


def test_a_large_table_is_out_of_reach_until_it_is_restored(engine: Engine, dynamodb: DynamoDBClient) -> None:
    engine.services.put_items("orders", ({"pk": {"S": "p"}, "sk": {"N": str(n)}} for n in range(3_000)))
    arn = backed_up(dynamodb)
    dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=arn)
    dynamodb.delete_backup(BackupArn=arn)  # what is being restored from it goes on
    if dynamodb.describe_table(TableName="again")["Table"]["TableStatus"] == "CREATING":
        assert "again" in dynamodb.list_tables()["TableNames"]
    dynamodb.get_waiter("table_exists").wait(TableName="again", WaiterConfig={"Delay": 1})
    assert items(dynamodb, "again") == items(dynamodb, "orders")
    assert dynamodb.list_tables()["TableNames"] == ["again", "orders"]


def test_a_restore_goes_on_after_a_restart(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data") as engine:
        client = engine.boto3_session().client("dynamodb")
        client.create_table(**ORDERS)
        engine.services.put_items("orders", ({"pk": {"S": "p"}, "sk": {"N": str(n)}} for n in range(4_000)))
        arn = backed_up(client)
        client.restore_table_from_backup(TargetTableName="again", BackupArn=arn)
    with open_engine(tmp_path / "data") as engine:
        client = engine.boto3_session().client("dynamodb")
        client.get_waiter("table_exists").wait(TableName="again", WaiterConfig={"Delay": 1})
        assert len(items(client, "again")) == 4_000
        (summary,) = client.list_backups()["BackupSummaries"]
        assert summary["BackupArn"] == arn


def test_what_a_restore_overrides(dynamodb: DynamoDBClient) -> None:
    put(dynamodb, 2)
    arn = backed_up(dynamodb)
    dynamodb.restore_table_from_backup(
        TargetTableName="bare", BackupArn=arn, BillingModeOverride="PAY_PER_REQUEST", GlobalSecondaryIndexOverride=[]
    )
    bare = dynamodb.describe_table(TableName="bare")["Table"]
    assert bare["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert "GlobalSecondaryIndexes" not in bare
    assert [each["AttributeName"] for each in bare["AttributeDefinitions"]] == ["pk", "sk"]
    units: Any = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}
    dynamodb.restore_table_from_backup(TargetTableName="small", BackupArn=arn, ProvisionedThroughputOverride=units)
    small = dynamodb.describe_table(TableName="small")["Table"]
    assert small["ProvisionedThroughput"]["WriteCapacityUnits"] == 2
    other = {**ORDERS["GlobalSecondaryIndexes"][0], "IndexName": "other"}
    code, _ = refused(
        dynamodb.restore_table_from_backup,
        TargetTableName="wrong",
        BackupArn=arn,
        GlobalSecondaryIndexOverride=[other],
    )
    assert code == "ValidationException"


def test_a_restore_that_pays_for_units_says_those_of_every_index(dynamodb: DynamoDBClient) -> None:
    index: Any = {
        "IndexName": "by-day",
        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    dynamodb.create_table(
        TableName="days",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "day")],
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[index],
    )
    arn = dynamodb.create_backup(TableName="days", BackupName="before")["BackupDetails"]["BackupArn"]
    units: Any = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 2}
    asked: Any = {
        "TargetTableName": "again",
        "BackupArn": arn,
        "BillingModeOverride": "PROVISIONED",
        "ProvisionedThroughputOverride": units,
    }
    assert refused(dynamodb.restore_table_from_backup, **asked) == (
        "ValidationException",
        "One or more parameter values were invalid: GlobalSecondaryIndexOverride must be specified for index: by-day "
        "when BillingModeOverride is PROVISIONED",
    )
    override: Any = [{**index, "ProvisionedThroughput": units}]
    dynamodb.restore_table_from_backup(**asked, GlobalSecondaryIndexOverride=override)
    (restored,) = dynamodb.describe_table(TableName="again")["Table"]["GlobalSecondaryIndexes"]
    assert restored["ProvisionedThroughput"]["WriteCapacityUnits"] == 2


def test_vector_indexes_are_restored_or_left_out(dynamodb: DynamoDBClient) -> None:
    index: Any = {
        "IndexName": "by-meaning",
        "VectorAttribute": {"AttributeName": "meaning"},
        "Dimensions": 2,
        "DistanceFunction": "COSINE",
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    keys: Any = {"KeySchema": ORDERS["KeySchema"][:1], "AttributeDefinitions": ORDERS["AttributeDefinitions"][:1]}
    dynamodb.create_table(TableName="texts", BillingMode="PAY_PER_REQUEST", VectorIndexes=[index], **keys)
    arn = dynamodb.create_backup(TableName="texts", BackupName="before")["BackupDetails"]["BackupArn"]
    told: Any = dynamodb.describe_backup(BackupArn=arn)["BackupDescription"]["SourceTableFeatureDetails"]
    assert told["VectorIndexes"] == [index]
    dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=arn)
    (restored,) = (dict(each) for each in dynamodb.describe_table(TableName="again")["Table"]["VectorIndexes"])
    assert {name: restored[name] for name in index} == index
    without: Any = {"VectorIndexOverride": []}
    dynamodb.restore_table_from_backup(TargetTableName="bare", BackupArn=arn, **without)
    assert "VectorIndexes" not in dynamodb.describe_table(TableName="bare")["Table"]


def test_items_that_an_index_left_out_are_restored(dynamodb: DynamoDBClient) -> None:
    put(dynamodb, 2)
    older: Any = [
        {"pk": {"S": "old"}, "sk": {"N": str(n)}, "status": {"S": "odd"}, "rank": rank}
        for n, rank in enumerate(({"S": "none"}, {"N": "1"}, {"M": {}}))
    ]
    for item in older:
        dynamodb.put_item(TableName="orders", Item=item)
    by_rank: Any = {
        "IndexName": "by-rank",
        "KeySchema": [{"AttributeName": "rank", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    }
    dynamodb.update_table(
        TableName="orders",
        AttributeDefinitions=[{"AttributeName": "rank", "AttributeType": "N"}],
        GlobalSecondaryIndexUpdates=[{"Create": by_rank}],
    )
    dynamodb.restore_table_from_backup(TargetTableName="again", BackupArn=backed_up(dynamodb))
    dynamodb.get_waiter("table_exists").wait(TableName="again", WaiterConfig={"Delay": 1})
    assert items(dynamodb, "again") == items(dynamodb, "orders")
    assert dynamodb.scan(TableName="again", IndexName="by-rank")["Items"] == older[1:2]
    by_status = dynamodb.scan(TableName="again", IndexName="by-status")["Items"]
    assert [each for each in by_status if each["pk"] == {"S": "old"}] == older


def test_backups_are_listed_by_table_time_and_page(dynamodb: DynamoDBClient) -> None:
    arns = [backed_up(dynamodb, f"daily-{n}") for n in range(3)]
    dynamodb.create_table(**{**ORDERS, "TableName": "others"})
    other = dynamodb.create_backup(TableName="others", BackupName="daily")["BackupDetails"]
    listed = dynamodb.list_backups()["BackupSummaries"]
    assert [each["BackupArn"] for each in listed] == [*sorted(arns), other["BackupArn"]]
    assert listed[0]["TableName"] == "orders"
    assert listed[0]["BackupStatus"] == "AVAILABLE"
    page = dynamodb.list_backups(TableName="orders", Limit=2)
    assert page["LastEvaluatedBackupArn"] == page["BackupSummaries"][-1]["BackupArn"]
    rest = dynamodb.list_backups(TableName="orders", ExclusiveStartBackupArn=page["LastEvaluatedBackupArn"])
    assert [each["BackupArn"] for each in rest["BackupSummaries"]] == sorted(arns)[2:]
    assert dynamodb.list_backups(BackupType="SYSTEM")["BackupSummaries"] == []
    upper = dynamodb.list_backups(TimeRangeUpperBound=other["BackupCreationDateTime"])["BackupSummaries"]
    assert {each["TableName"] for each in upper} <= {"orders"}


def test_what_is_refused_of_backups(dynamodb: DynamoDBClient) -> None:
    arn = backed_up(dynamodb)
    assert refused(dynamodb.create_backup, TableName="nope", BackupName="before")[0] == "TableNotFoundException"
    assert refused(dynamodb.restore_table_from_backup, TargetTableName="orders", BackupArn=arn) == (
        "TableAlreadyExistsException",
        "Table already exists: orders",
    )
    deleted = dynamodb.delete_backup(BackupArn=arn)["BackupDescription"]
    assert deleted["BackupDetails"]["BackupStatus"] == "DELETED"
    for operation in (dynamodb.describe_backup, dynamodb.delete_backup):
        assert refused(operation, BackupArn=arn) == ("BackupNotFoundException", f"Backup not found: {arn}")
    code, _ = refused(dynamodb.restore_table_from_backup, TargetTableName="again", BackupArn=arn)
    assert code == "BackupNotFoundException"
    assert dynamodb.list_backups()["BackupSummaries"] == []


def test_a_table_is_restored_as_it_is(dynamodb: DynamoDBClient) -> None:
    put(dynamodb, 30)
    latest: dict[str, Any] = {"SourceTableName": "orders", "UseLatestRestorableTime": True}
    restore = dynamodb.restore_table_to_point_in_time
    assert refused(restore, TargetTableName="again", **latest)[0] == "PointInTimeRecoveryUnavailableException"
    dynamodb.update_continuous_backups(
        TableName="orders", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    assert refused(restore, TargetTableName="orders", **latest)[0] == "TableAlreadyExistsException"
    code, _ = refused(restore, TargetTableName="again", SourceTableName="nope", UseLatestRestorableTime=True)
    assert code == "TableNotFoundException"
    code, _ = refused(restore, TargetTableName="again", SourceTableName="orders")
    assert code == "ValidationException"
    code, _ = refused(restore, TargetTableName="again", SourceTableName="orders", RestoreDateTime=1_700_000_000)
    assert code == "InvalidRestoreTimeException"
    summary = restore(TargetTableName="again", **latest)["TableDescription"]["RestoreSummary"]
    assert summary["RestoreInProgress"] is True
    assert "SourceBackupArn" not in summary
    dynamodb.get_waiter("table_exists").wait(TableName="again", WaiterConfig={"Delay": 1})
    assert items(dynamodb, "again") == items(dynamodb, "orders")
    dynamodb.put_item(TableName="again", Item={"pk": {"S": "new"}, "sk": {"N": "1"}})
    assert len(items(dynamodb, "again")) == 31


def recoverable(dynamodb: DynamoDBClient, table: str) -> None:
    dynamodb.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )


def with_old_images(dynamodb: DynamoDBClient, name: str) -> None:
    view: Any = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    dynamodb.create_table(**{**ORDERS, "TableName": name, "StreamSpecification": view})
    recoverable(dynamodb, name)


def test_a_table_is_restored_as_it_was(dynamodb: DynamoDBClient) -> None:
    with_old_images(dynamodb, "sales")
    put(dynamodb, 60, "sales")
    before, at = items(dynamodb, "sales"), next_second()
    dynamodb.delete_item(TableName="sales", Key={"pk": {"S": "p1"}, "sk": {"N": "1"}})
    dynamodb.put_item(TableName="sales", Item={"pk": {"S": "p2"}, "sk": {"N": "2"}, "status": {"S": "spoiled"}})
    dynamodb.put_item(TableName="sales", Item={"pk": {"S": "late"}, "sk": {"N": "2"}})
    restored = dynamodb.restore_table_to_point_in_time(
        SourceTableName="sales", TargetTableName="again", RestoreDateTime=at
    )["TableDescription"]
    assert restored["RestoreSummary"]["RestoreDateTime"] == at
    dynamodb.get_waiter("table_exists").wait(TableName="again", WaiterConfig={"Delay": 1})
    assert items(dynamodb, "again") == before != items(dynamodb, "sales")
    assert len(dynamodb.scan(TableName="again", IndexName="by-status")["Items"]) == 60


def test_the_window_of_recovery_is_the_one_that_is_told(dynamodb: DynamoDBClient) -> None:
    with_old_images(dynamodb, "sales")
    put(dynamodb, 1, "sales")
    told = dynamodb.describe_continuous_backups(TableName="sales")["ContinuousBackupsDescription"]
    earliest = told["PointInTimeRecoveryDescription"]["EarliestRestorableDateTime"]
    restore = dynamodb.restore_table_to_point_in_time
    restore(SourceTableName="sales", TargetTableName="first", RestoreDateTime=earliest)
    for wrong in (earliest - timedelta(seconds=2), datetime.now(UTC) + timedelta(seconds=60)):
        code, message = refused(restore, SourceTableName="sales", TargetTableName="again", RestoreDateTime=wrong)
        assert code == "InvalidRestoreTimeException"
        assert f"{earliest.timestamp():.3f}" in message
    recoverable(dynamodb, "orders")
    code, message = refused(restore, SourceTableName="orders", TargetTableName="again", RestoreDateTime=earliest)
    assert (code, "no stream of its own with old images" in message) == ("InvalidRestoreTimeException", True)
