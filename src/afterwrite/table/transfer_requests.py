"""Requests that export a table to S3, and that import one from there."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import orjson

from afterwrite.core.values import Item
from afterwrite.errors import InvalidValue, ServiceError
from afterwrite.table import fields, table_requests, wording
from afterwrite.table.fields import Body, Violations
from afterwrite.table.index_keys import check_index_keys
from afterwrite.table.table_requests import CreateTablePlan
from afterwrite.table.vector_indexes import check_vectors
from afterwrite.table.writes import Put, unconditional_put

EXPORT_FORMATS: Final = ("DYNAMODB_JSON", "ION")
EXPORT_TYPES: Final = ("FULL_EXPORT", "INCREMENTAL_EXPORT")
IMPORT_FORMATS: Final = ("DYNAMODB_JSON", "ION", "CSV")
_COMPRESSIONS: Final = ("GZIP", "ZSTD", "NONE")
_ENCRYPTIONS: Final = ("AES256", "KMS")
# As the service's pattern says, in a form that no name takes long to match.
_BUCKET: Final = re.compile(r"[a-z0-9A-Z][.\-\w]*[a-z0-9A-Z]", re.ASCII)
_BUCKET_CHARACTERS_MAX: Final = 255
_ARN_CHARACTERS_MAX: Final = 1024
_PREFIX_CHARACTERS_MAX: Final = 1024
_DELIMITER: Final = re.compile(r"[,;:|\t ]")
_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"\s+")
# What an export's request says that its description says, too.
_OF_EXPORTS: Final = ("ClientToken", "S3BucketOwner", "S3Prefix", "S3SseKmsKeyId")


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """An export: of which table, to where, and what its description says of the request."""

    table_name: str
    bucket: str
    prefix: str
    at_us: int | None
    described: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """An import: the table to make, from which objects, and what its description says of the request."""

    table: CreateTablePlan
    bucket: str
    prefix: str
    reader: Reader
    compressed: bool
    described: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """How the lines of objects become items. `header` are the columns of CSV, None for those of the first line."""

    is_csv: bool
    delimiter: str = ","
    header: tuple[str, ...] | None = None

    def items(self, lines: Iterable[bytes], plan: CreateTablePlan) -> Iterator[Put | ServiceError]:
        """The put of each item of an object, or what is wrong with it. Raises InvalidValue for what is not CSV."""
        for found in self._rows(lines, plan) if self.is_csv else chain.from_iterable(map(_json_items, lines)):
            try:
                put = unconditional_put(plan.table_name, found)
                put.key(plan.schema)
                check_index_keys(plan.indexes, put.item)
                check_vectors(plan.vector_indexes, put.item)
            except ServiceError as error:
                yield error
            else:
                yield put

    def _rows(self, lines: Iterable[bytes], plan: CreateTablePlan) -> Iterator[Item]:
        keys = [*plan.schema.partition_attributes, *plan.schema.sort_attributes]
        keys += [each for index in plan.indexes for each in index.attributes]
        types = {each.name: each.type for each in keys}
        rows = csv.reader((line.decode(errors="replace") for line in lines), delimiter=self.delimiter)
        try:
            header = next(rows, []) if self.header is None else self.header
            for row in rows:
                yield {name: {types.get(name, "S"): cell} for name, cell in zip(header, row, strict=False)}
        except csv.Error as error:
            raise InvalidValue(f"An object cannot be read as CSV: {error}") from None


def _json_items(line: bytes) -> Iterator[Any]:
    """The items of a line, which is one object or several without anything between them; [] for what is no item."""
    try:
        yield _item_of(line)
    except orjson.JSONDecodeError:
        for text in _objects(line.decode(errors="replace")):
            try:
                yield _item_of(text)
            except orjson.JSONDecodeError:
                yield []


def _objects(text: str) -> Iterator[str]:
    """The JSON values that follow each other in a text, and in the end what is none."""
    start = _begin(text, 0)
    while start < len(text):
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = len(text)
        yield text[start:end]
        start = _begin(text, end)


def _begin(text: str, start: int) -> int:
    """Where the next value of a text may begin."""
    space = _SPACE.match(text, start)
    return start if space is None else space.end()


def _item_of(text: bytes | str) -> Any:
    parsed = orjson.loads(text)
    return parsed.get("Item") or [] if isinstance(parsed, dict) else []


def parse_export(body: Body) -> ExportPlan:
    """ExportTableToPointInTime's body as a plan."""
    violations = Violations()
    violations.length(body, "TableArn", 1, _ARN_CHARACTERS_MAX, required=True)
    _note_bucket(violations, body)
    violations.check()
    kind = fields.choice(body, "ExportType", EXPORT_TYPES, EXPORT_TYPES[0])
    output = fields.choice(body, "ExportFormat", EXPORT_FORMATS, EXPORT_FORMATS[0])
    encryption = fields.choice(body, "S3SseAlgorithm", _ENCRYPTIONS, "AES256")
    name = fields.checked_table_name(str(body["TableArn"]))
    if kind != EXPORT_TYPES[0] or output != EXPORT_FORMATS[0]:
        raise wording.invalid_parameter("Only full exports as DYNAMODB_JSON are offered")
    described = {field: value for field in _OF_EXPORTS if (value := fields.text(body, field)) is not None}
    bucket, prefix = str(body["S3Bucket"]), _folder(fields.text(body, "S3Prefix"))
    of_request = {"S3Bucket": bucket, "S3SseAlgorithm": encryption, "ExportFormat": output, "ExportType": kind}
    at_us = fields.timestamp_us(body, "ExportTime")
    of_time = {} if at_us is None else {"ExportTime": at_us / 1_000_000}
    return ExportPlan(name, bucket, prefix, at_us, described | of_request | of_time)


def _note_bucket(violations: Violations, body: Body, within: str = "") -> None:
    violations.length(body, "S3Bucket", 0, _BUCKET_CHARACTERS_MAX, within=within, required=True)
    bucket = fields.text(body, "S3Bucket")
    if bucket is not None and not _BUCKET.fullmatch(bucket):
        constraint = "Member must satisfy regular expression pattern: ^[a-z0-9A-Z]+[\\.\\-\\w]*[a-z0-9A-Z]+$"
        violations.add(bucket, f"{within}s3Bucket", constraint)


def _folder(prefix: str | None) -> str:
    """A prefix of an export's keys, which ends in a slash."""
    if not prefix:
        return ""
    fields.check_length(len(prefix), "S3Prefix", 0, _PREFIX_CHARACTERS_MAX, prefix)
    return prefix.removesuffix("/") + "/"


def parse_import(body: Body) -> ImportPlan:
    """ImportTable's body as a plan."""
    source = fields.structure(body, "S3BucketSource", "S3BucketSource")
    parameters = fields.structure(body, "TableCreationParameters", "TableCreationParameters")
    violations = Violations()
    if source is None:
        violations.add(None, "s3BucketSource", "Member must not be null")
    else:
        _note_bucket(violations, source, "s3BucketSource.")
    violations.choice(body, "InputFormat", IMPORT_FORMATS, "inputFormat")
    if parameters is None:
        violations.add(None, "tableCreationParameters", "Member must not be null")
    violations.check()
    compression = fields.choice(body, "InputCompressionType", _COMPRESSIONS, "NONE")
    if body["InputFormat"] == "ION" or compression == "ZSTD":
        raise wording.invalid_parameter("Only DYNAMODB_JSON and CSV are offered, as they are or compressed with GZIP")
    table = table_requests.parse_create_table(dict(parameters or {}))
    described = {
        "S3BucketSource": source,
        "InputFormat": body["InputFormat"],
        "InputCompressionType": compression,
        "TableCreationParameters": parameters,
    }
    for field in ("InputFormatOptions", "ClientToken"):
        if body.get(field) is not None:
            described[field] = body[field]
    prefix = fields.text(source or {}, "S3KeyPrefix") or ""
    fields.check_length(len(prefix), "S3KeyPrefix", 0, _PREFIX_CHARACTERS_MAX, prefix)
    return ImportPlan(table, str((source or {})["S3Bucket"]), prefix, _reader(body), compression == "GZIP", described)


def _reader(body: Body) -> Reader:
    options = fields.structure(body, "InputFormatOptions", "InputFormatOptions") or {}
    options = fields.structure(options, "Csv", "CsvOptions") or {}
    delimiter = fields.text(options, "Delimiter")
    if delimiter is not None and not _DELIMITER.fullmatch(delimiter):
        place = "inputFormatOptions.csv.delimiter"
        raise wording.constraint_error(delimiter, place, "Member must satisfy regular expression pattern: [,;:|\\t ]")
    header = fields.texts(options, "HeaderList")
    return Reader(body["InputFormat"] == "CSV", delimiter or ",", None if header is None else tuple(header))
