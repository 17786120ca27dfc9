"""`afterwrite export` and `afterwrite import`: tables as files, in the form of DynamoDB's exports to S3."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from afterwrite import config, exports
from afterwrite.cli.parameters import Data, Flag, data_directory, moment_ms
from afterwrite.cli.rendering import count_text, print_json, print_line
from afterwrite.errors import CommandError
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import Environment
from afterwrite.wiring import open_engine

_KEY_TYPES: Final = ("S", "N", "B")


def export(table: str, out: Path, /, *, at: str | None = None, data: Data = None, json: Flag = False) -> None:
    """Export a table to files, beside a running engine or from a stopped one.

    The files are as of one commit, in the form of DynamoDB's exports to S3 (DynamoDB JSON, gzip, with manifests):
    copied to a bucket, they are what DynamoDB's ImportTable takes.

    Parameters
    ----------
    table
        The table.
    out
        The directory below which AWSDynamoDB/EXPORT-ID/ is made.
    at
        The time at which the table was as it is to be exported, ISO 8601; UTC unless it has an offset. Its change log
        must reach back as far, and have old images. Default: as it is
    json
        Print one JSON object.
    """
    at_ms = None if at is None else moment_ms("--at", at)
    settings = config.load(data=data)
    environment = Environment(DataDirectory(settings.data).existing_store(), readonly=True)
    try:
        done = exports.export_table(environment, settings.identity, table, out, at_ms=at_ms)
    finally:
        environment.close()
    _print("exported", done, json=json)


def import_(
    source: Path,
    table: str,
    /,
    *,
    partition_key: str | None = None,
    sort_key: str | None = None,
    data: Data = None,
    json: Flag = False,
) -> None:
    """Import a table from an export, this one's or DynamoDB's to S3.

    The items are put as any write is, with their changes. The engine must not be running. A table that is not there
    is created: by the options, or as the export of `afterwrite export` says. One that is there must have that key.

    Parameters
    ----------
    source
        The export: the directory of its manifest-files.json, or the one above AWSDynamoDB/.
    table
        The table to put the items into.
    partition_key
        NAME or NAME:TYPE (S, N or B), the key of the table. Default type: S
    sort_key
        As --partition-key.
    json
        Print one JSON object.
    """
    keys = _keys(partition_key, sort_key)
    exports.export_directory(source)  # where there is none, no data directory is made
    with open_engine(data_directory(data)) as engine:
        done = exports.import_table(engine.services, source, table, keys=keys)
    _print("imported", done, json=json)


def _keys(partition_key: str | None, sort_key: str | None) -> Mapping[str, Any] | None:
    if partition_key is None:
        if sort_key is not None:
            raise CommandError("expected --partition-key with --sort-key: give both")
        return None
    schema: list[dict[str, str]] = []
    definitions: list[dict[str, str]] = []
    for text, role in ((partition_key, "HASH"), (sort_key, "RANGE")):
        if text is not None:
            name, _, kind = text.partition(":")
            if not name or (kind or "S") not in _KEY_TYPES:
                raise CommandError(f"expected a key as NAME or NAME:TYPE with the type S, N or B, got {text!r}")
            schema.append({"AttributeName": name, "KeyType": role})
            definitions.append({"AttributeName": name, "AttributeType": kind or "S"})
    return {"KeySchema": schema, "AttributeDefinitions": definitions}


def _print(what: str, done: exports.Transfer, *, json: bool) -> None:
    if json:
        print_json({"table": done.table, "directory": str(done.directory), "items": done.items})
        return
    print_line(f"{what} {count_text(done.items, 'item')} of {done.table} ({done.directory})")
