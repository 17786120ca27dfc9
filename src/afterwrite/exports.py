"""Tables as files in the form of DynamoDB's exports to S3, so that data moves to AWS and back."""

from __future__ import annotations

import gzip
import hashlib
import shlex
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from afterwrite.config import Identity
from afterwrite.core.times import iso_milliseconds
from afterwrite.errors import CommandError, CorruptData, ServiceError
from afterwrite.local.native import NativeServices
from afterwrite.store import earlier_states, export_files, items, tables
from afterwrite.store.copy_ids import new_id
from afterwrite.store.durable_files import storage_errors
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.store.export_files import FILES, ROOT, TABLE
from afterwrite.store.operations import Operations
from afterwrite.store.prepared import Read
from afterwrite.store.tables import Table


@dataclass(frozen=True, slots=True)
class Transfer:
    """What was moved."""

    table: str
    directory: Path
    items: int
    bytes: int


def export_table(
    environment: Environment, identity: Identity, name: str, out: Path, *, at_ms: int | None = None
) -> Transfer:
    """Write the table as of one commit below `out`, as it is or as it was at a time.

    Raises ServiceError for no such table, CommandError for a time of which it is not known how it was, StorageError.
    """
    operations = Operations(identity)
    start = datetime.now(UTC)
    export_id = new_id(int(start.timestamp() * 1000))
    with storage_errors(out), environment.read() as transaction:
        catalog = tables.load_catalog(transaction)

        def asked(operation: str) -> Mapping[str, Any]:
            prepared = operations.prepare(operation, {"TableName": name})
            if not isinstance(prepared, Read):
                raise TypeError(f"expected {operation} to be a read")
            return prepared.body(transaction, catalog)

        description = asked("DescribeTable")["Table"]
        time_to_live = asked("DescribeTimeToLive")["TimeToLiveDescription"]
        found = _items(transaction, tables.table_named(catalog, name), at_ms)
        at = start if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)
        source = export_files.Source(description, time_to_live, at, found)
        done = export_files.write_export(out, source, export_id, start, out.name)
    return Transfer(name, out / ROOT / export_id, done.items, done.bytes)


def _items(transaction: ReadTransaction, table: Table, at_ms: int | None) -> Iterator[tuple[int, bytes]]:
    if at_ms is None:
        return items.scan(transaction, table)
    states = earlier_states.of(transaction, table)
    if states is None:
        raise CommandError(
            f"expected a table with a stream of its own that has old images, as it tells how the table was, got "
            f"{table.name}: leave --at out"
        )
    now_ms = time.time_ns() // 1_000_000
    if not states.first_ms <= at_ms <= now_ms:
        raise CommandError(
            f"expected a time between {iso_milliseconds(states.first_ms)} and {iso_milliseconds(now_ms)}, of which the "
            f"change log of {table.name} tells how it was, got {iso_milliseconds(at_ms)}: give another --at"
        )
    return states.scan(transaction, at_ms * 1000)


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
    if (source / FILES).is_file():
        return source
    found = sorted(path.parent for path in source.glob(f"{ROOT}/*/{FILES}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise CommandError(f"expected one export in {source}, found {names}: give the directory of {FILES}")
    return found[0]


def _manifest(directory: Path) -> list[dict[str, Any]]:
    content = (directory / FILES).read_bytes()
    try:
        files = [orjson.loads(line) for line in content.splitlines() if line]
    except orjson.JSONDecodeError:
        files = [None]
    for file in files:
        named = [file.get(field) for field in ("dataFileS3Key", "md5Checksum")] if isinstance(file, dict) else [None]
        if not all(isinstance(each, str) for each in named):
            raise CorruptData(f"{directory / FILES} is damaged: export again")
    return files


def _data_file(directory: Path, file: Mapping[str, Any]) -> Path:
    key: str = file["dataFileS3Key"]
    return directory / "data" / key.rpartition("/")[2]


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
    try:
        with gzip.open(path, "rb") as file:
            yield from (line for line in file if line.strip())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorruptData(f"{path} is no whole file of gzip's ({error}): export again") from None


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
    path = directory / TABLE
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
