"""DynamoDB's operations on exports to S3 and imports from there, of which folders take the place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite.errors import InvalidValue, ServiceError
from afterwrite.store import export_files, table_restoring, tables
from afterwrite.store.buckets import Buckets, Kind, lines
from afterwrite.store.copy_ids import new_id
from afterwrite.store.environment import Environment, ReadTransaction, WriteTransaction
from afterwrite.store.operations import absences, recovery
from afterwrite.store.operations.descriptions import Descriptions
from afterwrite.store.prepared import Body, Prepared, Read
from afterwrite.store.table_backups import TableBackups
from afterwrite.store.tables import Catalog, Restoration, Table
from afterwrite.table import fields, transfer_requests, wording
from afterwrite.table.table_requests import CreateTablePlan
from afterwrite.table.transfer_requests import ExportPlan, ImportPlan

_LISTED_MAX: Final = 25
_TOKEN_CHARACTERS: Final = 112
_NO_BUCKET: Final = "The specified bucket does not exist: a bucket is a folder in buckets/ of the data directory"
_INVALID_ITEMS: Final = "Some of the items failed validation checks: ErrorCount says how many"
# What an export or an import tells of itself only when it is over.
_OF_THE_END: Final = ("EndTime", "ExportManifest", "BilledSizeBytes", "ItemCount", "FailureCode", "FailureMessage")
_OF_IMPORT_SUMMARIES: Final = (
    "ImportArn",
    "ImportStatus",
    "TableArn",
    "S3BucketSource",
    "InputFormat",
    "StartTime",
    "EndTime",
)


@dataclass(slots=True)
class _Counted:
    processed: int = 0
    imported: int = 0
    bytes: int = 0


class TransferOperations:
    """The operations on exports and imports."""

    def __init__(
        self, descriptions: Descriptions, buckets: Buckets, backups: TableBackups, environment: Environment
    ) -> None:
        self._descriptions = descriptions
        self._buckets = buckets
        self._backups = backups
        self._environment = environment

    def by_name(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations by their names."""
        return {
            "ExportTableToPointInTime": self._export,
            "DescribeExport": self._describe_export,
            "ListExports": self._list_exports,
            "ImportTable": self._import,
            "DescribeImport": self._describe_import,
            "ListImports": self._list_imports,
        }

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._environment.now_ms() / 1000, UTC)

    def _export(self, body: Body) -> Read:
        plan = transfer_requests.parse_export(body)
        place = self._buckets.place(plan.bucket, plan.prefix)
        asked = str(body["TableArn"])

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            known = self._repeated("export", plan.described)
            if known is None:
                table = recovery.table_asked_for(tables.load_catalog(transaction), plan.table_name, asked)
                known = self._exported(transaction, table, plan, place)
            return orjson.dumps({"ExportDescription": {**_begun(known), "ExportStatus": "IN_PROGRESS"}})

        return Read(run, is_long=True)

    def _exported(self, transaction: ReadTransaction, table: Table, plan: ExportPlan, place: Path) -> Mapping[str, Any]:
        start = self._now()
        now_ms = int(start.timestamp() * 1000)
        at_us = recovery.checked_time(transaction, table, plan.at_us, now_ms, "InvalidExportTimeException")
        at = start if at_us is None else datetime.fromtimestamp(at_us / 1_000_000, UTC)
        number = new_id(now_ms)
        described = self._descriptions.active(transaction, table)
        note = {
            "ExportArn": f"{described['TableArn']}/export/{number}",
            "StartTime": start.timestamp(),
            "TableArn": described["TableArn"],
            "TableId": described["TableId"],
            "ExportTime": at.timestamp(),
            **plan.described,
        }
        if self._buckets.has(plan.bucket):
            ttl = {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl_attribute}
            source = export_files.Source(
                described,
                ttl if table.ttl_attribute else {"TimeToLiveStatus": "DISABLED"},
                at,
                recovery.items_at(transaction, table, at_us),
            )
            exported = export_files.write_export(place, source, number, start, plan.bucket, plan.prefix)
            note["ItemCount"] = exported.items
            note["BilledSizeBytes"] = exported.bytes
            note["ExportManifest"] = export_files.manifest_key(number, plan.prefix)
            note["ExportStatus"] = "COMPLETED"
        else:
            note |= _failed("Export", "S3NoSuchBucket", _NO_BUCKET)
        note["EndTime"] = self._now().timestamp()
        self._buckets.keep("export", number, note)
        return note

    def _repeated(self, kind: Kind, described: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What was asked for before with the same token. Raises ServiceError where it was something else."""
        token = described.get("ClientToken")
        for _, note in self._buckets.notes(kind) if token is not None else ():
            if note.get("ClientToken") == token:
                if any(note.get(name) != value for name, value in described.items()):
                    message = f"There was a conflict when attempting to {kind}: the client token was used before"
                    raise ServiceError(f"{kind.title()}ConflictException", message)
                return note
        return None

    def _named(self, kind: Kind, body: Body) -> tuple[str, dict[str, Any]]:
        absences.check_names(body)
        field = f"{kind.title()}Arn"
        missing = absences.not_found(kind.title(), body)
        number = str(body[field]).rpartition("/")[2]
        note = self._buckets.note(kind, number)
        if note is None or note[field] != body[field]:
            raise missing
        return number, note

    def _describe_export(self, body: Body) -> Read:
        _, note = self._named("export", body)
        return Read(lambda _transaction, _catalog: orjson.dumps({"ExportDescription": note}))

    def _list_exports(self, body: Body) -> Read:
        found, token = self._page("export", body, "MaxResults")
        summaries = [{name: note[name] for name in ("ExportArn", "ExportStatus", "ExportType")} for note in found]
        return Read(lambda _transaction, _catalog: orjson.dumps({"ExportSummaries": summaries, **token}))

    def _page(self, kind: Kind, body: Body, bound: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """The exports or imports that a listing asks for, and the token for those behind them."""
        absences.check_names(body)
        arn = fields.text(body, "TableArn")
        most = fields.integer(body, bound)
        if most is not None:
            fields.check_value(most, bound, 1, _LISTED_MAX)
        most = most or _LISTED_MAX
        start = _start_of(fields.text(body, "NextToken"))
        found = [each for each in self._buckets.notes(kind) if each[0] > start and arn in (None, each[1]["TableArn"])]
        token = {"NextToken": _token_of(found[most - 1][0])} if len(found) > most else {}
        return [note for _, note in found[:most]], token

    def _import(self, body: Body) -> Read:
        plan = transfer_requests.parse_import(body)
        self._buckets.place(plan.bucket, plan.prefix)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            note = self._repeated("import", plan.described)
            if note is None:
                _check_new(tables.load_catalog(transaction), plan.table)
                note = self._imported(plan)
            counts = dict.fromkeys(("ProcessedSizeBytes", "ProcessedItemCount", "ImportedItemCount", "ErrorCount"), 0)
            return orjson.dumps({"ImportTableDescription": {**_begun(note), **counts, "ImportStatus": "IN_PROGRESS"}})

        return Read(run, is_long=True)

    def _imported(self, plan: ImportPlan) -> Mapping[str, Any]:
        start = self._now()
        number = new_id(int(start.timestamp() * 1000))
        arn = self._descriptions.arn_of(plan.table.table_name)
        note = {"ImportArn": f"{arn}/import/{number}", "TableArn": arn, "StartTime": start.timestamp()}
        counted = _Counted()
        try:
            if not self._buckets.has(plan.bucket):
                note |= _failed("Import", "S3NoSuchBucket", _NO_BUCKET)
            else:
                objects = self._buckets.objects(plan.bucket, plan.prefix)
                with self._backups.copied(_read(objects, plan, counted)) as path:
                    make = partial(self._make, plan=plan.table, copy=number, path=path)
                    note["TableId"] = self._environment.write(make)
                failed = _failed("Import", "ItemValidationError", _INVALID_ITEMS)
                note |= {"ImportStatus": "COMPLETED"} if counted.processed == counted.imported else failed
        except InvalidValue as error:
            note |= _failed("Import", "ItemValidationError", str(error))
        note |= {
            "EndTime": self._now().timestamp(),
            "ProcessedSizeBytes": counted.bytes,
            "ProcessedItemCount": counted.processed,
            "ImportedItemCount": counted.imported,
            "ErrorCount": counted.processed - counted.imported,
            **plan.described,
        }
        self._buckets.keep("import", number, note)
        return note

    def _make(self, transaction: WriteTransaction, plan: CreateTablePlan, copy: str, path: Path) -> str:
        _check_new(tables.catalog(transaction), plan)
        restoration = Restoration(None, None, transaction.now_ms, copy, 0)
        table = table_restoring.create_table(transaction, self._backups, plan, restoration, path)
        described = self._descriptions.created(transaction, replace(table, name=plan.table_name))
        table_restoring.put_block(transaction, table, restoration, self._backups.restored_from(copy))
        table_id: str = described["TableId"]
        return table_id

    def _describe_import(self, body: Body) -> Read:
        number, note = self._named("import", body)

        def run(_transaction: ReadTransaction, catalog: Catalog) -> bytes:
            return orjson.dumps({"ImportTableDescription": _as_it_is(note, number, catalog)})

        return Read(run)

    def _list_imports(self, body: Body) -> Read:
        found, token = self._page("import", body, "PageSize")

        def run(_transaction: ReadTransaction, catalog: Catalog) -> bytes:
            told = [_as_it_is(note, note["ImportArn"].rpartition("/")[2], catalog) for note in found]
            summaries = [{name: each[name] for name in _OF_IMPORT_SUMMARIES if name in each} for each in told]
            return orjson.dumps({"ImportSummaryList": summaries, **token})

        return Read(run)


def _as_it_is(note: Mapping[str, Any], number: str, catalog: Catalog) -> dict[str, Any]:
    """An import, whose table may still be getting its items."""
    if number not in table_restoring.copies(catalog):
        return dict(note)
    return {**_begun(note), "ImportStatus": "IN_PROGRESS"}


def _read(objects: list[Path], plan: ImportPlan, counted: _Counted) -> Iterator[tuple[int, bytes]]:
    """The sizes and JSON texts of the items, of which those that the table cannot have are only counted."""
    for path in objects:
        counted.bytes += path.stat().st_size
        for found in plan.reader.items(lines(path, compressed=plan.compressed), plan.table):
            counted.processed += 1
            if not isinstance(found, ServiceError):
                counted.imported += 1
                yield found.item_bytes, orjson.dumps(found.item)


def _failed(kind: str, code: str, message: str) -> dict[str, str]:
    return {f"{kind}Status": "FAILED", "FailureCode": code, "FailureMessage": message}


def _begun(note: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in note.items() if name not in _OF_THE_END}


def _check_new(catalog: Catalog, plan: CreateTablePlan) -> None:
    if table_restoring.is_taken(catalog, plan.table_name):
        raise ServiceError("ResourceInUseException", f"Table already exists: {plan.table_name}")


def _token_of(number: str) -> str:
    # Clients expect so many hexadecimal digits at the least.
    return number.encode().hex().ljust(_TOKEN_CHARACTERS, "0")


def _start_of(token: str | None) -> str:
    try:
        return bytes.fromhex(token or "").rstrip(b"\0").decode()
    except ValueError:
        raise wording.invalid("Invalid NextToken") from None
