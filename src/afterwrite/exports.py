"""Tables as files in the form of DynamoDB's exports to S3, so that data moves to AWS and back.

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
import shlex
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.errors import CommandError, CorruptData, ServiceError
from afterwrite.local.native import NativeServices
from afterwrite.store import items, tables
from afterwrite.store.durable_files import create_directory, storage_errors, sync_directory, write_file
from afterwrite.store.environment import Environment
from afterwrite.store.operations import Operations
from afterwrite.store.prepared import Read

_ROOT: Final = "AWSDynamoDB"
_TABLE: Final = "table.json"
_SUMMARY: Final = "manifest-summary.json"
_FILES: Final = "manifest-files.json"
# Of text, before compression: small enough to be held in memory while it is compressed.
_FILE_BYTES: Final = 32 << 20
_INDEX_FIELDS: Final = ("IndexName", "KeySchema", "Projection")


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was moved."""

    table: str
    directory: Path
    items: int
    bytes: int


def export_table(environment: Environment, identity: Identity, name: str, out: Path) -> Transfer:
    """Write the table as of one commit below `out`. Raises ServiceError for no such table, StorageError."""
    operations = Operations(identity)
    start = datetime.now(UTC)
    export_id = f"{int(start.timestamp() * 1000):014d}-{os.urandom(4).hex()}"
    directory = out / _ROOT / export_id
    files: list[dict[str, Any]] = []
    with storage_errors(out), environment.read() as transaction:
        catalog = tables.load_catalog(transaction)

        def asked(operation: str) -> Mapping[str, Any]:
            prepared = operations.prepare(operation, {"TableName": name})
            if not isinstance(prepared, Read):
                raise TypeError(f"expected {operation} to be a read")
            return prepared.body(transaction, catalog)

        description = asked("DescribeTable")["Table"]
        time_to_live = asked("DescribeTimeToLive")["TimeToLiveDescription"]
        create_directory(directory / "data")
        for lines, count in _files(items.scan(transaction, tables.table_named(catalog, name))):
            key = f"{_ROOT}/{export_id}/data/{len(files):08d}{os.urandom(8).hex()}.json.gz"
            content = gzip.compress(lines, 6, mtime=0)
            write_file(out / key, content)
            digest = hashlib.md5(content, usedforsecurity=False)
            files.append(
                {
                    "itemCount": count,
                    "md5Checksum": b64encode(digest.digest()).decode(),
                    "etag": f"{digest.hexdigest()}-1",
                    "dataFileS3Key": key,
                }
            )
    count = sum(file["itemCount"] for file in files)
    with storage_errors(out):
        write_file(directory / _TABLE, orjson.dumps(_creation(description, time_to_live), option=orjson.OPT_INDENT_2))
        _write_manifest(directory / _FILES, b"".join(orjson.dumps(file) + b"\n" for file in files))
        summary = _summary(description, export_id, out.name, start, count)
        _write_manifest(directory / _SUMMARY, orjson.dumps(summary))
        for made in (directory / "data", directory, directory.parent, out):
            sync_directory(made)
    return Transfer(name, directory, count, description["TableSizeBytes"])


def _files(found: Iterable[tuple[int, bytes]]) -> Iterator[tuple[bytes, int]]:
    """The lines of each data file, of items' sizes and texts, and how many they are."""
    lines: list[bytes] = []
    size = 0
    for _, text in found:
        lines.append(b'{"Item":%b}\n' % text)
        size += len(text)
        if size >= _FILE_BYTES:
            yield b"".join(lines), len(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines), len(lines)


def _write_manifest(path: Path, content: bytes) -> None:
    write_file(path, content)
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    write_file(path.with_suffix(".md5"), b64encode(digest))


def _summary(
    description: Mapping[str, Any], export_id: str, bucket: str, start: datetime, count: int
) -> dict[str, Any]:
    end = datetime.now(UTC)
    arn = description["TableArn"]
    return {
        "version": "2020-06-30",
        "exportArn": f"{arn}/export/{export_id}",
        "startTime": _time(start),
        "endTime": _time(end),
        "tableArn": arn,
        "tableId": description["TableId"],
        "exportTime": _time(start),
        "s3Bucket": bucket,
        "s3Prefix": None,
        "s3SseAlgorithm": None,
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{_ROOT}/{export_id}/{_FILES}",
        "billedSizeBytes": description["TableSizeBytes"],
        "itemCount": count,
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


def import_table(
    services: NativeServices, source: Path, name: str, *, keys: Mapping[str, Any] | None = None
) -> Transfer:
    """Put the items of an export, AWS's or ours, into the table `name`, as writes that have their changes.

    A table that is not there is created, by `keys` (CreateTable's KeySchema and AttributeDefinitions) or by the
    export's own `table.json`, and is gone again where it takes none of the items; one that is there has to have these
    keys. Every data file is checked against its manifest before anything is put. Raises CommandError, CorruptData,
    ServiceError, StorageError.
    """
    directory = export_directory(source)
    files = _manifest(directory)
    for file in files:
        _check_file(directory, file)
    is_new = not services.has_table(name)
    if is_new:
        _create_table(services, directory, name, keys)
    else:
        _check_keys(services, directory, name, keys)
    size = 0

    def items() -> Iterator[dict[str, Any]]:
        nonlocal size
        for line in chain.from_iterable(_lines(_data_file(directory, file)) for file in files):
            size += len(line)
            yield _item(line, directory)

    try:
        count = services.put_items(name, items())
    except (CommandError, ServiceError):
        if is_new and next(services.table(name).scan(), None) is None:
            services.execute("DeleteTable", {"TableName": name})
        raise
    return Transfer(name, directory, count, size)


def export_directory(source: Path) -> Path:
    """The directory of the one export in `source`. Raises CommandError."""
    if (source / _FILES).is_file():
        return source
    found = sorted(path.parent for path in source.glob(f"{_ROOT}/*/{_FILES}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CommandError(f"expected one export in {source}, found {names}: give the directory of {_FILES}")
    return found[0]


def _manifest(directory: Path) -> list[dict[str, Any]]:
    content = (directory / _FILES).read_bytes()
    try:
        return [orjson.loads(line) for line in content.splitlines() if line]
    except orjson.JSONDecodeError:
        raise CorruptData(f"{directory / _FILES} is damaged: export again") from None


def _data_file(directory: Path, file: Mapping[str, Any]) -> Path:
    return directory / "data" / str(file["dataFileS3Key"]).rpartition("/")[2]


def _check_file(directory: Path, file: Mapping[str, Any]) -> None:
    path = _data_file(directory, file)
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).digest()
    except FileNotFoundError:
        raise CorruptData(f"expected the data file {path}, which the manifest names: it is not there") from None
    if b64encode(digest).decode() != file["md5Checksum"]:
        raise CorruptData(f"{path} is not what was exported: its MD5 differs from the manifest's; export again")


def _lines(path: Path) -> Iterator[bytes]:
    if path.suffix != ".gz":
        raise CommandError(f"expected a data file compressed with gzip, got {path}")
    with gzip.open(path, "rb") as file:
        yield from (line for line in file if line.strip())


def _item(line: bytes, directory: Path) -> dict[str, Any]:
    try:
        item = orjson.loads(line)["Item"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise CommandError(
            f'expected lines of {{"Item": {{…}}}} in the data files of {directory}, got {line[:80]!r}: export in the '
            "format DYNAMODB_JSON, as a full export"
        ) from None
    return item  # type: ignore[no-any-return]


def _check_keys(services: NativeServices, directory: Path, name: str, keys: Mapping[str, Any] | None) -> None:
    """Refuse a table with other keys than those given, or the export's: under another key items replace each other."""
    there = _key_attributes(services.execute("DescribeTable", {"TableName": name})["Table"])
    if keys is not None and _key_attributes(keys) != there:
        raise CommandError(
            f"the table {name} is there with the key {', '.join(there)}, --partition-key and --sort-key say "
            f"{', '.join(_key_attributes(keys))}: leave them out, or import into a table of another name"
        )
    creation = _kept_creation(directory) if keys is None else None
    if creation is not None and _key_attributes(creation["CreateTable"]) != there:
        options = zip(("--partition-key", "--sort-key"), there, strict=False)
        raise CommandError(
            f"the table {name} is there with the key {', '.join(there)}, the export's has "
            f"{', '.join(_key_attributes(creation['CreateTable']))}: import into a table of another name; or give "
            f"{' '.join(f'{option} {shlex.quote(key)}' for option, key in options)} if one item is to stay for each key"
        )


def _key_attributes(create: Mapping[str, Any]) -> list[str]:
    """A table's key attributes as NAME:TYPE, the partition key first."""
    types = {each["AttributeName"]: each["AttributeType"] for each in create["AttributeDefinitions"]}
    return [f"{each['AttributeName']}:{types[each['AttributeName']]}" for each in create["KeySchema"]]


def _kept_creation(directory: Path) -> Mapping[str, Any] | None:
    """What the export says about how its table was made, None in one of AWS's. Raises CorruptData."""
    path = directory / _TABLE
    try:
        return orjson.loads(path.read_bytes())  # type: ignore[no-any-return]
    except FileNotFoundError:
        return None
    except orjson.JSONDecodeError:
        raise CorruptData(f"{path} is damaged: export again, or delete it and give --partition-key") from None


def _create_table(services: NativeServices, directory: Path, name: str, keys: Mapping[str, Any] | None) -> None:
    time_to_live: Mapping[str, Any] | None = None
    if keys is not None:
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        create: dict[str, Any] = {"BillingMode": "PAY_PER_REQUEST", "StreamSpecification": stream, **keys}
    else:
        creation = _kept_creation(directory)
        if creation is None:
            raise CommandError(
                f"the table {name} is not there, and the export does not say its keys: give --partition-key "
                "(and --sort-key)"
            )
        create, time_to_live = creation["CreateTable"], creation.get("TimeToLiveSpecification")
    services.execute("CreateTable", {**create, "TableName": name})
    if time_to_live is not None:
        services.execute("UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": dict(time_to_live)})
