"""Exports and imports of tables by request, over the wire, with folders in the place of S3's buckets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import Engine, open_engine
from afterwrite.errors import ServiceError
from moments import next_second

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/"
NUMBERS: dict[str, Any] = {
    "TableName": "numbers",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "id", "AttributeType": "S"},
        {"AttributeName": "at", "AttributeType": "N"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path / "data") as engine:
        yield engine


@pytest.fixture
def dynamodb(engine: Engine) -> DynamoDBClient:
    client: DynamoDBClient = engine.boto3_session().client("dynamodb")
    client.create_table(**NUMBERS)
    return client


@pytest.fixture
def buckets(tmp_path: Path) -> Path:
    return tmp_path / "data" / "buckets"


@pytest.fixture
def lake(buckets: Path) -> Path:
    (buckets / "lake").mkdir(parents=True)
    return buckets / "lake"


def arn_of(dynamodb: DynamoDBClient) -> str:
    return dynamodb.describe_table(TableName="numbers")["Table"]["TableArn"]


def recovered(dynamodb: DynamoDBClient) -> str:
    """The ARN of the table, of which a state in time can now be had."""
    dynamodb.update_continuous_backups(
        TableName="numbers", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    return arn_of(dynamodb)


def items(dynamodb: DynamoDBClient, table: str) -> list[str]:
    pages = dynamodb.get_paginator("scan").paginate(TableName=table)
    return sorted(str(item) for page in pages for item in page["Items"])


def refused(operation: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        operation(**parameters)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def source(bucket: str = "lake", prefix: str = "in/", table: str = "read", **other: Any) -> dict[str, Any]:
    parameters = {**NUMBERS, "TableName": table}
    return {
        "S3BucketSource": {"S3Bucket": bucket, "S3KeyPrefix": prefix},
        "InputFormat": "DYNAMODB_JSON",
        "TableCreationParameters": parameters,
        **other,
    }


def imported(dynamodb: DynamoDBClient, **request: Any) -> dict[str, Any]:
    """What an import tells of itself when it is over."""
    told = dynamodb.import_table(**request)["ImportTableDescription"]
    assert told["ImportStatus"] == "IN_PROGRESS"
    name = request["TableCreationParameters"]["TableName"]
    found: Any = dynamodb.describe_import(ImportArn=told["ImportArn"])["ImportTableDescription"]
    if found["ImportStatus"] == "IN_PROGRESS":
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
        found = dynamodb.describe_import(ImportArn=told["ImportArn"])["ImportTableDescription"]
    result: dict[str, Any] = found
    return result


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_an_export_puts_the_tables_items_into_a_bucket(dynamodb: DynamoDBClient, lake: Path) -> None:
    dynamodb.put_item(TableName="numbers", Item={"id": {"S": "a"}, "at": {"N": "1"}})
    arn = recovered(dynamodb)
    told = dynamodb.export_table_to_point_in_time(TableArn=arn, S3Bucket="lake", S3Prefix="out/first")
    begun = told["ExportDescription"]
    assert begun["ExportStatus"] == "IN_PROGRESS"
    assert begun["ExportArn"].startswith(f"{arn}/export/")
    assert (begun["S3Prefix"], begun["ExportFormat"], begun["ExportType"]) == (
        "out/first",
        "DYNAMODB_JSON",
        "FULL_EXPORT",
    )
    dynamodb.get_waiter("export_completed").wait(ExportArn=begun["ExportArn"])
    found = dynamodb.describe_export(ExportArn=begun["ExportArn"])["ExportDescription"]
    assert (found["ItemCount"], found["TableArn"]) == (1, arn)
    summary = json.loads((lake / found["ExportManifest"]).read_bytes())
    assert (summary["itemCount"], summary["s3Prefix"], summary["s3Bucket"]) == (1, "out/first", "lake")
    (line,) = (lake / summary["manifestFilesS3Key"]).read_bytes().splitlines()
    data = gzip.decompress((lake / json.loads(line)["dataFileS3Key"]).read_bytes())
    assert json.loads(data) == {"Item": {"id": {"S": "a"}, "at": {"N": "1"}}}


def test_an_export_of_a_time_has_the_table_as_it_was_then(dynamodb: DynamoDBClient, lake: Path) -> None:
    view: Any = {"StreamEnabled": True, "StreamViewType": "OLD_IMAGE"}
    dynamodb.update_table(TableName="numbers", StreamSpecification=view)
    arn = recovered(dynamodb)
    dynamodb.put_item(TableName="numbers", Item={"id": {"S": "a"}, "at": {"N": "1"}, "x": {"S": "as it was"}})
    at = next_second()
    dynamodb.put_item(TableName="numbers", Item={"id": {"S": "a"}, "at": {"N": "1"}})
    dynamodb.put_item(TableName="numbers", Item={"id": {"S": "a"}, "at": {"N": "2"}})
    request: dict[str, Any] = {"TableArn": arn, "S3Bucket": "lake", "ExportTime": at, "ClientToken": "once"}
    begun = dynamodb.export_table_to_point_in_time(**request)["ExportDescription"]["ExportArn"]
    found = dynamodb.describe_export(ExportArn=begun)["ExportDescription"]
    assert (found["ExportTime"], found["ItemCount"]) == (at, 1)
    (data,) = lake.rglob("*.json.gz")
    assert json.loads(gzip.decompress(data.read_bytes()))["Item"]["x"] == {"S": "as it was"}
    (summary,) = lake.rglob("manifest-summary.json")
    assert json.loads(summary.read_bytes())["exportTime"] == at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    later = {**request, "ExportTime": at + timedelta(seconds=1)}
    assert refused(dynamodb.export_table_to_point_in_time, **later)[0] == "ExportConflictException"
    never = {"TableArn": arn, "S3Bucket": "lake", "ExportTime": at - timedelta(days=1)}
    assert refused(dynamodb.export_table_to_point_in_time, **never)[0] == "InvalidExportTimeException"


def test_an_export_with_the_same_token_is_the_same(dynamodb: DynamoDBClient) -> None:
    arn = recovered(dynamodb)
    request: dict[str, Any] = {"TableArn": arn, "S3Bucket": "lake", "ClientToken": "once"}
    first = dynamodb.export_table_to_point_in_time(**request)["ExportDescription"]["ExportArn"]
    assert dynamodb.export_table_to_point_in_time(**request)["ExportDescription"]["ExportArn"] == first
    code, _ = refused(dynamodb.export_table_to_point_in_time, **{**request, "S3Bucket": "other"})
    assert code == "ExportConflictException"
    assert len(dynamodb.list_exports()["ExportSummaries"]) == 1


def test_an_export_to_no_bucket_fails(dynamodb: DynamoDBClient, buckets: Path) -> None:
    told = dynamodb.export_table_to_point_in_time(TableArn=recovered(dynamodb), S3Bucket="lake")["ExportDescription"]
    assert told["ExportStatus"] == "IN_PROGRESS"
    assert "FailureCode" not in told
    found = dynamodb.describe_export(ExportArn=told["ExportArn"])["ExportDescription"]
    assert (found["ExportStatus"], found["FailureCode"]) == ("FAILED", "S3NoSuchBucket")
    assert "The specified bucket does not exist" in found["FailureMessage"]
    assert not (buckets / "lake").exists()


def test_exports_are_listed_in_pages(dynamodb: DynamoDBClient) -> None:
    arn = recovered(dynamodb)
    made = [
        dynamodb.export_table_to_point_in_time(TableArn=arn, S3Bucket=f"b{n}")["ExportDescription"]["ExportArn"]
        for n in range(3)
    ]
    first = dynamodb.list_exports(TableArn=arn, MaxResults=2)
    second = dynamodb.list_exports(TableArn=arn, MaxResults=2, NextToken=first["NextToken"])
    listed = [each["ExportArn"] for page in (first, second) for each in page["ExportSummaries"]]
    assert sorted(listed) == sorted(made)
    assert "NextToken" not in second
    assert dynamodb.list_exports(TableArn=f"{arn}x")["ExportSummaries"] == []


def test_what_is_refused_of_exports(dynamodb: DynamoDBClient) -> None:
    export, arn = dynamodb.export_table_to_point_in_time, arn_of(dynamodb)
    assert refused(export, TableArn=f"{ARN}gone", S3Bucket="lake")[0] == "TableNotFoundException"
    assert refused(export, TableArn=arn, S3Bucket="lake")[0] == "PointInTimeRecoveryUnavailableException"
    recovered(dynamodb)
    for wrong in ({"S3Bucket": "-"}, {"S3Prefix": "../.."}, {"ExportFormat": "CSV"}, {"ExportFormat": "ION"}):
        assert refused(export, **{"TableArn": arn, "S3Bucket": "lake", **wrong})[0] == "ValidationException"
    gone = f"{arn}/export/01600000000000-0a1b2c3d"
    assert refused(dynamodb.describe_export, ExportArn=gone)[0] == "ExportNotFoundException"


@pytest.mark.usefixtures("lake")
def test_what_was_exported_is_imported_again(dynamodb: DynamoDBClient) -> None:
    for n in range(3):
        dynamodb.put_item(TableName="numbers", Item={"id": {"S": "a"}, "at": {"N": str(n)}, "v": {"B": b"\0"}})
    told = dynamodb.export_table_to_point_in_time(TableArn=recovered(dynamodb), S3Bucket="lake", S3Prefix="out")
    number = told["ExportDescription"]["ExportArn"].rpartition("/")[2]
    request = source(prefix=f"out/AWSDynamoDB/{number}/data/", InputCompressionType="GZIP")
    found = imported(dynamodb, **request)
    assert found["ImportStatus"] == "COMPLETED"
    assert (found["ProcessedItemCount"], found["ImportedItemCount"], found["ErrorCount"]) == (3, 3, 0)
    assert found["TableCreationParameters"]["TableName"] == "read"
    assert items(dynamodb, "read") == items(dynamodb, "numbers")
    table = dynamodb.describe_table(TableName="read")["Table"]
    assert (table["TableArn"], table["TableId"]) == (found["TableArn"], found["TableId"])
    assert "RestoreSummary" not in table


def test_csv_is_imported_by_its_header(dynamodb: DynamoDBClient, buckets: Path) -> None:
    write(buckets / "lake" / "in" / "1.csv", b'id;at;text\na;1;"x;y"\nb;2;\n')
    options: dict[str, Any] = {"Csv": {"Delimiter": ";"}}
    found = imported(dynamodb, **source(InputFormat="CSV", InputFormatOptions=options))
    assert found["ImportStatus"] == "COMPLETED"
    item = dynamodb.get_item(TableName="read", Key={"id": {"S": "a"}, "at": {"N": "1"}})["Item"]
    assert item["text"] == {"S": "x;y"}
    write(buckets / "lake" / "bare.csv", b"5,c\n")
    options = {"Csv": {"HeaderList": ["at", "id"]}}
    imported(dynamodb, **source(prefix="bare", table="bare", InputFormat="CSV", InputFormatOptions=options))
    assert dynamodb.scan(TableName="bare")["Items"] == [{"id": {"S": "c"}, "at": {"N": "5"}}]


def test_what_a_table_cannot_have_is_counted(dynamodb: DynamoDBClient, buckets: Path) -> None:
    texts = [
        '{"Item": {"id": {"S": "a"}, "at": {"N": "1"}}}',
        '{"Item": {"id": {"S": "a"}}}',
        '{"Item": {"id": {"S": "a"}, "at": {"S": "1"}}}',
        '{"Item": []}',
        '{"id": "a"}',
        "not JSON",
        '{"Item": {"id": {"S": "a"}, "at": {"N": "1"}, "v": {"S": "last"}}}',
    ]
    write(buckets / "lake" / "in" / "1.json", "\n".join(texts).encode())
    found = imported(dynamodb, **source())
    assert (found["ProcessedItemCount"], found["ImportedItemCount"], found["ErrorCount"]) == (7, 2, 5)
    assert (found["ImportStatus"], found["FailureCode"]) == ("FAILED", "ItemValidationError")
    assert found["ProcessedSizeBytes"] == len("\n".join(texts))
    (item,) = dynamodb.scan(TableName="read")["Items"]
    assert item["v"] == {"S": "last"}


def test_items_of_an_import_need_no_newlines_between_them(dynamodb: DynamoDBClient, buckets: Path) -> None:
    texts = [f'{{"Item": {{"id": {{"S": "a"}}, "at": {{"N": "{number}"}}}}}}' for number in range(3)]
    write(buckets / "lake" / "in" / "1.json", "".join(texts).encode() + b"\n" + " ".join([*texts[:2], "no"]).encode())
    found = imported(dynamodb, **source())
    assert (found["ProcessedItemCount"], found["ImportedItemCount"], found["ErrorCount"]) == (6, 5, 1)
    assert len(dynamodb.scan(TableName="read")["Items"]) == 3


def test_an_import_that_cannot_be_read_fails(dynamodb: DynamoDBClient, buckets: Path) -> None:
    missing = imported(dynamodb, **source())
    assert (missing["ImportStatus"], missing["FailureCode"]) == ("FAILED", "S3NoSuchBucket")
    write(buckets / "lake" / "in" / "1.json", b"{}\n")
    assert "The specified bucket does not exist" in missing["FailureMessage"]
    plain = imported(dynamodb, **source(InputCompressionType="GZIP"))
    assert (plain["ImportStatus"], plain["ImportedItemCount"]) == ("FAILED", 0)
    assert dynamodb.list_tables()["TableNames"] == ["numbers"]


@pytest.mark.usefixtures("lake")
def test_an_import_of_nothing_makes_a_table(dynamodb: DynamoDBClient) -> None:
    found = imported(dynamodb, **source())
    assert (found["ImportStatus"], found["ProcessedItemCount"], found["ProcessedSizeBytes"]) == ("COMPLETED", 0, 0)
    assert dynamodb.scan(TableName="read")["Items"] == []


def test_imports_are_listed_and_the_same_with_the_same_token(dynamodb: DynamoDBClient, buckets: Path) -> None:
    write(buckets / "lake" / "in" / "1.json", b'{"Item": {"id": {"S": "a"}, "at": {"N": "1"}}}\n')
    request = source(ClientToken="once")
    first = dynamodb.import_table(**request)["ImportTableDescription"]["ImportArn"]
    assert dynamodb.import_table(**request)["ImportTableDescription"]["ImportArn"] == first
    changed = {**request, "InputFormat": "CSV"}
    assert refused(dynamodb.import_table, **changed)[0] == "ImportConflictException"
    imported(dynamodb, **source(table="second"))
    page = dynamodb.list_imports(PageSize=1)
    rest = dynamodb.list_imports(PageSize=1, NextToken=page["NextToken"])
    assert "NextToken" not in rest
    listed = [*page["ImportSummaryList"], *rest["ImportSummaryList"]]
    assert {each["ImportStatus"] for each in listed} == {"COMPLETED"}
    assert first in [each["ImportArn"] for each in listed]
    (only,) = dynamodb.list_imports(TableArn=listed[0]["TableArn"])["ImportSummaryList"]
    assert only == listed[0]


def test_what_is_refused_of_imports(dynamodb: DynamoDBClient) -> None:
    run = dynamodb.import_table
    assert refused(run, **source(table="numbers"))[0] == "ResourceInUseException"
    wrongs: list[dict[str, Any]] = [
        source(prefix="../secrets/"),
        source(InputFormat="XML"),
        source(InputFormat="ION"),
        source(InputCompressionType="ZSTD"),
        source(InputFormat="CSV", InputFormatOptions={"Csv": {"Delimiter": "#"}}),
        source(table="n#n"),
    ]
    for wrong in wrongs:
        assert refused(run, **wrong)[0] == "ValidationException", wrong
    gone = f"{arn_of(dynamodb)}/import/01600000000000-0a1b2c3d"
    assert refused(dynamodb.describe_import, ImportArn=gone)[0] == "ImportNotFoundException"


def test_exports_and_imports_outlast_a_restart(tmp_path: Path) -> None:
    lines = b"".join(b'{"Item": {"id": {"S": "a"}, "at": {"N": "%d"}}}\n' % n for n in range(3_000))
    write(tmp_path / "data" / "buckets" / "lake" / "in" / "1.json.gz", gzip.compress(lines))
    with open_engine(tmp_path / "data") as engine:
        client = engine.boto3_session().client("dynamodb")
        told = client.import_table(**source(InputCompressionType="GZIP"))["ImportTableDescription"]
    with open_engine(tmp_path / "data") as engine:
        client = engine.boto3_session().client("dynamodb")
        client.get_waiter("table_exists").wait(TableName="read", WaiterConfig={"Delay": 1})
        found = client.describe_import(ImportArn=told["ImportArn"])["ImportTableDescription"]
        assert (found["ImportStatus"], found["ImportedItemCount"]) == ("COMPLETED", 3_000)
        assert len(items(client, "read")) == 3_000


@pytest.mark.parametrize("operation", ["ExportTableToPointInTime", "ImportTable"])
def test_a_bucket_s_name_of_any_length_is_refused_at_once(engine: Engine, operation: str) -> None:
    bucket = {"S3Bucket": "a" * 1_000_000 + "!"}
    body: dict[str, Any] = {"TableArn": f"{ARN}numbers", **bucket}
    if operation == "ImportTable":
        body = {"S3BucketSource": bucket, "InputFormat": "CSV", "TableCreationParameters": NUMBERS}
    with pytest.raises(ServiceError, match="Member must satisfy regular expression pattern"):
        engine.services.execute(operation, body)
