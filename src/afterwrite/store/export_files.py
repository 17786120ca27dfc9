"""The files of an export, in the form of DynamoDB's exports to S3.

    OUT/AWSDynamoDB/<export id>/manifest-summary.json    what was exported, and when
    OUT/AWSDynamoDB/<export id>/manifest-files.json      the data files, one JSON object a line
    OUT/AWSDynamoDB/<export id>/data/<name>.json.gz      the items, one {"Item": {…}} a line
    OUT/AWSDynamoDB/<export id>/table.json               what CreateTable needs, which AWS's exports do not hold

Each manifest has its MD5 beside it, as AWS's have. Source: the DynamoDB developer guide, "DynamoDB table export
output format".
"""

from __future__ import annotations

import gzip
import hashlib
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite.store.durable_files import (
    create_directory,
    removed_on_failure,
    storage_errors,
    sync_directory,
    write_file,
)

ROOT: Final = "AWSDynamoDB"
TABLE: Final = "table.json"
FILES: Final = "manifest-files.json"
_SUMMARY: Final = "manifest-summary.json"
# Of text, before compression: small enough to be held in memory while it is compressed.
_FILE_BYTES: Final = 32 << 20
_INDEX_FIELDS: Final = ("IndexName", "KeySchema", "Projection")


@dataclass(frozen=True, slots=True)
class Source:
    """A table to export: as DescribeTable tells of it, with its time to live, and its items' sizes and JSON texts.

    The items are those that it had `at` a time.
    """

    table: Mapping[str, Any]
    time_to_live: Mapping[str, Any]
    at: datetime
    items: Iterable[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: how many items, and their size in bytes."""

    items: int
    bytes: int


def write_export(out: Path, source: Source, export_id: str, start: datetime, bucket: str, prefix: str = "") -> Exported:
    """Write a table's files below `out`, whose place in the `bucket` is `prefix`. Raises StorageError.

    A prefix ends in a slash.
    """
    directory = out / ROOT / export_id
    files: list[dict[str, Any]] = []
    with removed_on_failure(directory), storage_errors(out):
        create_directory(directory / "data")
        size = 0
        for lines, count, item_bytes in _files(source.items):
            size += item_bytes
            key = f"{ROOT}/{export_id}/data/{len(files):08d}{os.urandom(8).hex()}.json.gz"
            content = gzip.compress(lines, 6, mtime=0)
            write_file(out / key, content)
            digest = hashlib.md5(content, usedforsecurity=False)
            files.append(
                {
                    "itemCount": count,
                    "md5Checksum": b64encode(digest.digest()).decode(),
                    "etag": f"{digest.hexdigest()}-1",
                    "dataFileS3Key": prefix + key,
                }
            )
        exported = Exported(sum(file["itemCount"] for file in files), size)
        kept = _creation(source.table, source.time_to_live)
        write_file(directory / TABLE, orjson.dumps(kept, option=orjson.OPT_INDENT_2))
        _write_manifest(directory / FILES, b"".join(orjson.dumps(file) + b"\n" for file in files))
        summary = _summary(source, export_id, bucket, prefix, start, exported)
        _write_manifest(directory / _SUMMARY, orjson.dumps(summary))
        for made in (directory / "data", directory, directory.parent, out):
            sync_directory(made)
    return exported


def manifest_key(export_id: str, prefix: str = "") -> str:
    """Where in its bucket an export's summary is."""
    return f"{prefix}{ROOT}/{export_id}/{_SUMMARY}"


def _files(found: Iterable[tuple[int, bytes]]) -> Iterator[tuple[bytes, int, int]]:
    """The lines of each data file, of items' sizes and texts; how many they are, and the items' size in bytes."""
    lines: list[bytes] = []
    size = item_bytes = 0
    for bytes_of_item, text in found:
        lines.append(b'{"Item":%b}\n' % text)
        size += len(text)
        item_bytes += bytes_of_item
        if size >= _FILE_BYTES:
            yield b"".join(lines), len(lines), item_bytes
            lines, size, item_bytes = [], 0, 0
    if lines:
        yield b"".join(lines), len(lines), item_bytes


def _write_manifest(path: Path, content: bytes) -> None:
    write_file(path, content)
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    write_file(path.with_suffix(".md5"), b64encode(digest))


def _summary(
    source: Source, export_id: str, bucket: str, prefix: str, start: datetime, exported: Exported
) -> dict[str, Any]:
    end = datetime.now(UTC)
    arn = source.table["TableArn"]
    return {
        "version": "2020-06-30",
        "exportArn": f"{arn}/export/{export_id}",
        "startTime": _time(start),
        "endTime": _time(end),
        "tableArn": arn,
        "tableId": source.table["TableId"],
        "exportTime": _time(source.at),
        "s3Bucket": bucket,
        "s3Prefix": prefix.removesuffix("/") or None,
        "s3SseAlgorithm": None,
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{prefix}{ROOT}/{export_id}/{FILES}",
        "billedSizeBytes": exported.bytes,
        "itemCount": exported.items,
        "outputFormat": "DYNAMODB_JSON",
        "exportType": "FULL_EXPORT",
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _creation(description: Mapping[str, Any], time_to_live: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a table like the one described: CreateTable's body, and UpdateTimeToLive's specification."""
    create: dict[str, Any] = {
        "TableName": description["TableName"],
        "KeySchema": description["KeySchema"],
        "AttributeDefinitions": description["AttributeDefinitions"],
        "BillingMode": "PAY_PER_REQUEST",
    }
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        if description.get(kind):
            create[kind] = [{name: index[name] for name in _INDEX_FIELDS} for index in description[kind]]
    if description.get("StreamSpecification", {}).get("StreamEnabled"):
        create["StreamSpecification"] = description["StreamSpecification"]
    creation: dict[str, Any] = {"CreateTable": create}
    if time_to_live["TimeToLiveStatus"] == "ENABLED":
        creation["TimeToLiveSpecification"] = {"Enabled": True, "AttributeName": time_to_live["AttributeName"]}
    return creation
