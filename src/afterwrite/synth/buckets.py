"""Buckets and delivery streams: the lake, the audit logs, and what could not be delivered."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from afterwrite.app import AuditLog, DeliveryStream, refuse_forgettable_on_aws
from afterwrite.core.delivered_records import field_name
from afterwrite.errors import DeclarationError
from afterwrite.synth import iam
from afterwrite.synth.document import ACCOUNT, JsonObject, Parameter, Ref, Resource, join, logical_id
from afterwrite.synth.stack import Stack, arn, physical_name

FAILURES: Final = "Failures"
LAKE: Final = "Lake"
_RETAIN_DAYS_MAX: Final = 36_500
# Partitions and Parquet are gathered in larger pieces than plain records.
_PARTITIONED_MIB_MIN: Final = 64
_PARTITIONED_S_MIN: Final = 60
_LAKE_FIELDS: Final[Mapping[str, str]] = {"id": "string", "time": "string"}
_COLUMN_TYPES: Final[Mapping[type, str]] = {str: "string", int: "bigint", float: "double", bool: "boolean"}
_PARTITION_QUERY: Final = "{dt: .time[0:10], hour: .time[11:13]}"
_INDEX_RETRY_S: Final = 3_600
_INDEX_MIB_MAX: Final = 100


def add_failures(stack: Stack) -> Resource:
    """The bucket for the batches that a mapping gave up, with their payload (S14).

    What expires in a bucket with versions stays as a version behind a delete marker, which has to expire as well.
    """
    rule = {
        "Id": "expire",
        "Status": "Enabled",
        "ExpirationInDays": Ref("FailuresKeptDays"),
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }
    return _bucket(stack, FAILURES, {"LifecycleConfiguration": {"Rules": [rule]}})


def add_audit_logs(stack: Stack) -> None:
    """A bucket for each audit log, whose objects nobody can delete or change while they are retained (S38)."""
    for log in stack.app.audit_logs:
        stack.audit_buckets[log.name] = _bucket(
            stack,
            logical_id(log.name, "Bucket"),
            {
                "ObjectLockEnabled": True,
                "ObjectLockConfiguration": {
                    "ObjectLockEnabled": "Enabled",
                    "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": _retain_days(log)}},
                },
            },
        )


def _retain_days(log: AuditLog) -> int:
    refuse_forgettable_on_aws(log)
    if log.retain_days is None or not 1 <= log.retain_days <= _RETAIN_DAYS_MAX:
        raise DeclarationError(
            f"expected retain_days from 1 to {_RETAIN_DAYS_MAX} for the audit log {log.name} on AWS, got "
            f"{log.retain_days}: a lock in compliance mode has an end, choose it"
        )
    return log.retain_days


def _bucket(stack: Stack, id: str, properties: Mapping[str, Any]) -> Resource:
    bucket = stack.add(
        id,
        "AWS::S3::Bucket",
        {
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "VersioningConfiguration": {"Status": "Enabled"},
            **properties,
        },
        retain=True,
    )
    stack.add(
        f"{id}Policy",
        "AWS::S3::BucketPolicy",
        {
            "Bucket": bucket.ref,
            "PolicyDocument": JsonObject(iam.document([iam.only_encrypted("s3:*", bucket.arn, iam.below(bucket.arn))])),
        },
    )
    return bucket


def add_delivery_streams(stack: Stack) -> None:
    """The app's delivery streams, into one bucket, and those for OpenSearch into its index as well."""
    unknown = sorted(set(stack.options.search) - {stream.name for stream in stack.app.delivery_streams})
    if unknown:
        raise DeclarationError(f"expected delivery streams of the app to search in, got {', '.join(unknown)}")
    for stream_name, index in stack.options.search.items():
        if index != index.lower():
            raise DeclarationError(
                f"expected an index in small letters for {stream_name}, as OpenSearch's are, got {index!r}"
            )
    if not stack.app.delivery_streams:
        return
    lake = _bucket(stack, LAKE, {})
    database = None
    if any(_is_parquet(stack, stream) for stream in stack.app.delivery_streams):
        name = physical_name(_catalog_name(stack.app.name))
        database = stack.add(
            "LakeDatabase",
            "AWS::Glue::Database",
            {"CatalogId": Ref(ACCOUNT), "DatabaseInput": {"Name": name, "Description": "The lake's tables"}},
        )
    for stream in stack.app.delivery_streams:
        stack.delivery_streams[stream.name] = _delivery_stream(stack, stream, lake, database)


def _is_parquet(stack: Stack, stream: DeliveryStream) -> bool:
    return bool(stream.columns) and stream.name not in stack.options.search


def _delivery_stream(stack: Stack, stream: DeliveryStream, lake: Resource, database: Resource | None) -> Resource:
    id = logical_id(stream.name, "Stream")
    log_group = stack.add(
        f"{id}Log",
        "AWS::Logs::LogGroup",
        {
            "LogGroupName": join("/aws/kinesisfirehose/", physical_name(stream.name, limit=64)),
            "RetentionInDays": Ref("LogRetentionDays"),
        },
    )
    log_stream = stack.add(
        f"{id}LogStream", "AWS::Logs::LogStream", {"LogGroupName": log_group.ref, "LogStreamName": "delivery"}
    )
    statements: list[dict[str, Any]] = [
        {
            "Sid": "WriteLake",
            "Effect": "Allow",
            "Action": [
                "s3:AbortMultipartUpload",
                "s3:GetBucketLocation",
                "s3:GetObject",
                "s3:ListBucket",
                "s3:ListBucketMultipartUploads",
                "s3:PutObject",
            ],
            "Resource": [lake.arn, iam.below(join(lake.arn, f"/{stream.name}"))],
        },
        {
            "Sid": "WriteLogs",
            "Effect": "Allow",
            "Action": ["logs:PutLogEvents"],
            "Resource": log_group.arn,
        },
    ]
    table = None
    if database is not None and _is_parquet(stack, stream):
        table = _lake_table(stack, stream, lake, database)
        statements.append(_reads_schema(database, table))
    index = stack.options.search.get(stream.name)
    domain = None if index is None else _domain(stack, stream)
    if domain is not None:
        statements.append(_writes_index(domain))
    role = iam.role(
        stack,
        f"{id}Role",
        "firehose.amazonaws.com",
        f"The delivery stream {stream.name} writes",
        statements,
        source=("sts:ExternalId", Ref(ACCOUNT)),
    )
    to_lake = _to_lake(stream, lake, role, log_group, log_stream)
    destination: dict[str, Any]
    if index is not None and domain is not None:
        destination = {"AmazonopensearchserviceDestinationConfiguration": _to_index(index, domain, to_lake, role)}
    else:
        by_rule = any(stream in rule.targets for bus in stack.app.buses for rule in bus.rules)
        targets = [pipe.target for table in stack.app.tables for pipe in table.pipes if pipe.shaped_by != "routes"]
        by_pipe = any(each.kind == "DeliveryStream" and each.name == stream.name for each in targets)
        partitioned = _partitioned(stream, role, database, table, gets_events=by_rule or by_pipe)
        destination = {"ExtendedS3DestinationConfiguration": {**to_lake, **partitioned}}
    return stack.add(
        id,
        "AWS::KinesisFirehose::DeliveryStream",
        {
            "DeliveryStreamName": physical_name(stream.name, limit=64),
            "DeliveryStreamType": "DirectPut",
            "DeliveryStreamEncryptionConfigurationInput": {"KeyType": "AWS_OWNED_CMK"},
            **destination,
        },
    )


def _to_lake(
    stream: DeliveryStream, lake: Resource, role: Resource, log_group: Resource, log_stream: Resource
) -> dict[str, Any]:
    return {
        "BucketARN": lake.arn,
        "RoleARN": role.arn,
        "BufferingHints": {
            "IntervalInSeconds": math.ceil(stream.buffer_seconds),
            "SizeInMBs": math.ceil(stream.buffer_mib),
        },
        "CompressionFormat": "GZIP",
        "Prefix": f"{stream.name}/",
        "ErrorOutputPrefix": f"{stream.name}/_failed/!{{firehose:error-output-type}}/!{{timestamp:yyyy/MM/dd/HH}}/",
        "CloudWatchLoggingOptions": {
            "Enabled": True,
            "LogGroupName": log_group.ref,
            "LogStreamName": log_stream.ref,
        },
    }


def _partitioned(
    stream: DeliveryStream, role: Resource, database: Resource | None, table: Resource | None, *, gets_events: bool
) -> dict[str, Any]:
    """What a stream into the lake has beside `_to_lake`: a partition for each hour, and Parquet where there is a table.

    Every record has its `time`, as events have it.
    """
    query = [
        {"ParameterName": "MetadataExtractionQuery", "ParameterValue": _PARTITION_QUERY},
        {"ParameterName": "JsonParsingEngine", "ParameterValue": "JQ-1.6"},
    ]
    processors: list[dict[str, Any]] = [{"Type": "MetadataExtraction", "Parameters": query}]
    fields: dict[str, Any] = {
        "BufferingHints": {
            "IntervalInSeconds": max(math.ceil(stream.buffer_seconds), _PARTITIONED_S_MIN),
            "SizeInMBs": max(math.ceil(stream.buffer_mib), _PARTITIONED_MIB_MIN),
        },
        "Prefix": f"{stream.name}/dt=!{{partitionKeyFromQuery:dt}}/hour=!{{partitionKeyFromQuery:hour}}/",
        "DynamicPartitioningConfiguration": {"Enabled": True, "RetryOptions": {"DurationInSeconds": 300}},
    }
    if table is not None and database is not None:
        fields["CompressionFormat"] = "UNCOMPRESSED"
        fields["DataFormatConversionConfiguration"] = {
            "Enabled": True,
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {"Compression": "SNAPPY"}}},
            "SchemaConfiguration": {
                "RoleARN": role.arn,
                "DatabaseName": database.ref,
                "TableName": table.ref,
                "VersionId": "LATEST",
            },
        }
    elif gets_events:
        # A record of a route ends its line, an event or a pipe's record does not.
        delimiter = {"ParameterName": "Delimiter", "ParameterValue": "\\n"}
        processors.append({"Type": "AppendDelimiterToRecord", "Parameters": [delimiter]})
    fields["ProcessingConfiguration"] = {"Enabled": True, "Processors": processors}
    return fields


def _lake_table(stack: Stack, stream: DeliveryStream, lake: Resource, database: Resource) -> Resource:
    location = join("s3://", lake.ref, f"/{stream.name}/")
    columns = {**_LAKE_FIELDS, **_columns(stream)}
    return stack.add(
        logical_id(stream.name, "LakeTable"),
        "AWS::Glue::Table",
        {
            "CatalogId": Ref(ACCOUNT),
            "DatabaseName": database.ref,
            "TableInput": {
                "Name": _catalog_name(stream.name),
                "TableType": "EXTERNAL_TABLE",
                # The partitions follow from the dates: nothing has to find them.
                "Parameters": {
                    "classification": "parquet",
                    "projection.enabled": "true",
                    "projection.dt.type": "date",
                    "projection.dt.format": "yyyy-MM-dd",
                    "projection.dt.range": "2020-01-01,NOW",
                    "projection.hour.type": "integer",
                    "projection.hour.range": "0,23",
                    "projection.hour.digits": "2",
                    "storage.location.template": join(location, "dt=${dt}/hour=${hour}/"),
                },
                "PartitionKeys": [{"Name": "dt", "Type": "string"}, {"Name": "hour", "Type": "string"}],
                "StorageDescriptor": {
                    "Location": location,
                    "Columns": [{"Name": name, "Type": kind} for name, kind in columns.items()],
                    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                    "SerdeInfo": {
                        "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
                    },
                },
            },
        },
    )


def _columns(stream: DeliveryStream) -> dict[str, str]:
    """The columns' types, by the names under which the service finds a record's fields: in small letters."""
    fields: dict[str, str] = {}
    for field in stream.columns:
        other = fields.setdefault(field_name(field).lower(), field)
        if other != field:
            raise DeclarationError(
                f"expected columns of {stream.name} that differ in more than case on AWS, got {other} and {field}: "
                "rename one"
            )
    return {name: _COLUMN_TYPES[stream.columns[field]] for name, field in fields.items()}


def _catalog_name(name: str) -> str:
    return re.sub(r"[-.]", "_", name).lower()


def _reads_schema(database: Resource, table: Resource) -> dict[str, Any]:
    return {
        "Sid": "ReadSchema",
        "Effect": "Allow",
        "Action": ["glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"],
        "Resource": [
            arn("glue", "catalog"),
            arn("glue", join("database/", database.ref)),
            arn("glue", join("table/", database.ref, "/", table.ref)),
        ],
    }


def _domain(stack: Stack, stream: DeliveryStream) -> Ref:
    name = logical_id(stream.name, "DomainArn")
    stack.parameters.append(Parameter(name, f"The ARN of the OpenSearch domain that {stream.name} fills"))
    return Ref(name)


def _writes_index(domain: Ref) -> dict[str, Any]:
    return {
        "Sid": "WriteIndex",
        "Effect": "Allow",
        "Action": [
            "es:DescribeDomain",
            "es:DescribeDomainConfig",
            "es:DescribeDomains",
            "es:ESHttpGet",
            "es:ESHttpPost",
            "es:ESHttpPut",
        ],
        "Resource": [domain, join(domain, "/*")],
    }


def _to_index(index: str, domain: Ref, to_lake: Mapping[str, Any], role: Resource) -> dict[str, Any]:
    """Into the index, and every record into the lake as well, as JSON."""
    hints = to_lake["BufferingHints"]
    return {
        "DomainARN": domain,
        "IndexName": index,
        "IndexRotationPeriod": "NoRotation",
        "RoleARN": role.arn,
        "BufferingHints": {**hints, "SizeInMBs": min(hints["SizeInMBs"], _INDEX_MIB_MAX)},
        "RetryOptions": {"DurationInSeconds": _INDEX_RETRY_S},
        "S3BackupMode": "AllDocuments",
        "S3Configuration": to_lake,
        "CloudWatchLoggingOptions": to_lake["CloudWatchLoggingOptions"],
    }
