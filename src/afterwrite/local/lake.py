"""The lake: a delivery stream's records as Parquet files, partitioned by the hour (UTC) of each record.

    DIRECTORY/STREAM/dt=2026-11-21/hour=17/STREAM-<first>-<last>.parquet

A batch is named by the first and last number under which the caller's queue holds its records. The caller
makes these numbers durable before it calls `write_batch`, and after a crash calls again with the same
records: the same files come out, so that nothing is there twice or half. One thread at a time writes a stream.

Columns: `id`, `sequence`, `at` (UTC), then the records' own fields, each with the narrowest type that holds
every value of the file exactly: BOOLEAN, BIGINT, DOUBLE, or text. Text can hold everything, so that any two
files of a stream can be read as one table (DuckDB's `union_by_name`).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from afterwrite.app import check_delivery_stream_name
from afterwrite.errors import CorruptData, InvalidValue
from afterwrite.local.canonical_json import json_bytes
from afterwrite.store.durable_files import (
    TEMPORARY_SUFFIX,
    create_directory,
    storage_errors,
    sync_directory,
    write_file,
)

HOUR_MS = 3_600_000
BATCH_ROWS_READ = 8_192
# So few that the processor's cache still has them when each of their fields is looked for.
ROWS_AT_ONCE = 500

_AT_TYPE = pa.timestamp("ms")
_BIGINT_MIN, _BIGINT_MAX = -(2**63), 2**63 - 1
_EXACT_DOUBLE_INTEGER_MAX = 2**53
_EXACT_DOUBLE_DIGITS = 15
_DOUBLE_EXPONENT_MAX = 300
# Reserved words with any number of underscores in front: one more is added, so that no two fields meet.
_RESERVED_FIELD = re.compile(r"_*(id|sequence|at|dt|hour)", re.IGNORECASE)


class LakeRecord(NamedTuple):
    """A record: its number in the caller's queue, the time that places it, its effect's id, its fields."""

    sequence: int
    at_ms: int
    id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A record that no Parquet file can hold: the same, with its JSON text and what is wrong with it."""

    sequence: int
    at_ms: int
    id: str
    text: str
    error: str


def write_batch(directory: Path, stream: str, first: int, last: int, records: Iterable[LakeRecord]) -> list[Path]:
    """Write the records numbered `first` to `last` and return the files, one an hour, durable and whole.

    Records are taken as they are needed, and not held. Raises InvalidValue for a value that no column can hold,
    StorageFull and StorageError where the disk does not serve; the call may then be repeated, and no temporary
    file is left.
    """
    check_delivery_stream_name(stream)
    hours: dict[int, _Rows] = {}
    taken = iter(records)
    while some := list(islice(taken, ROWS_AT_ONCE)):
        for hour, group in _by_hour(some).items():
            hours.setdefault(hour, _Rows()).add(group)
    name = f"{stream}-{first:020d}-{last:020d}.parquet"
    paths = []
    for hour, rows in sorted(hours.items()):
        content = rows.parquet()
        partition = _partition(directory / stream, hour)
        _write_durably(directory, partition / name, content)
        paths.append(partition / name)
    return paths


def _by_hour(records: Sequence[LakeRecord]) -> dict[int, list[LakeRecord]]:
    hours: dict[int, list[LakeRecord]] = {}
    for record in records:
        hours.setdefault(record.at_ms // HOUR_MS, []).append(record)
    return hours


def write_failed(directory: Path, stream: str, first: int, last: int, failed: Sequence[FailedRecord]) -> Path:
    """Keep the records of a batch that no Parquet file can hold as JSON lines, durable and whole.

    Raises StorageFull and StorageError; the call may then be repeated.
    """
    lines = [json_bytes(asdict(each)) for each in failed]
    path = directory / stream / "_failed" / f"{stream}-{first:020d}-{last:020d}.jsonl"
    _write_durably(directory, path, b"\n".join(lines) + b"\n")
    return path


def refusals(records: Sequence[LakeRecord]) -> dict[int, str]:
    """Why no Parquet file can hold some records, by their sequences; found by halves, as they are few among many."""
    reason = _refusal_of(records)
    if reason is None:
        return {}
    if len(records) == 1:
        return {records[0].sequence: reason}
    middle = len(records) // 2
    return refusals(records[:middle]) | refusals(records[middle:])


def _refusal_of(records: Sequence[LakeRecord]) -> str | None:
    rows = _Rows()
    try:
        rows.add(records)
        rows.parquet()
    except InvalidValue as error:
        return str(error)
    return None


def _write_durably(directory: Path, path: Path, content: bytes | memoryview) -> None:
    with storage_errors(directory):
        create_directory(path.parent)
        write_file(path, content)
        # Up to the top: an earlier run may have been killed between making a directory and syncing it.
        for made in path.parents:
            sync_directory(made)
            if made == directory:
                break


def clean(directory: Path) -> int:
    """Remove the temporary files that a crash left below `directory`; how many there were."""
    with storage_errors(directory):
        stale = list(directory.glob(f"**/.*{TEMPORARY_SUFFIX}"))
        for path in stale:
            path.unlink()
    return len(stale)


def read(directory: Path, stream: str) -> Iterator[dict[str, Any]]:
    """The stream's rows, hour by hour and batch by batch; a row has the columns of its own file.

    Raises CorruptData for a file that cannot be read.
    """
    for path in sorted((directory / stream).glob("*/*/*.parquet")):
        with reading(path), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS_READ):
                for row in batch.to_pylist():
                    row["at"] = row["at"].replace(tzinfo=UTC)
                    yield row


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise CorruptData where what is inside finds that the file at `path` is not what was written."""
    try:
        yield
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise CorruptData(
            f"{path} is damaged ({reason}): restore it from a backup, or move it out of the lake and do without its "
            "records"
        ) from error


def column_name(field: str) -> str:
    """The column that holds `field`: its own name, unless the lake's own columns or partitions use that."""
    return f"_{field}" if _RESERVED_FIELD.fullmatch(field) else field


def _partition(stream_directory: Path, hour: int) -> Path:
    start = datetime.fromtimestamp(hour * HOUR_MS // 1000, UTC)
    return stream_directory / f"dt={start:%Y-%m-%d}" / f"hour={start:%H}"


class _Rows:
    """The rows of a file, which are held as columns."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._sequences: list[int] = []
        self._times: list[int] = []
        self._fields: dict[str, list[Any]] = {}

    def add(self, records: Sequence[LakeRecord]) -> None:
        """Add records. Raises InvalidValue for one that has no fields to look for."""
        rows = [record.data for record in records]
        with _refusing():
            for field in dict.fromkeys(chain.from_iterable(rows)):
                if field not in self._fields:
                    self._fields[field] = [None] * len(self._ids)
            for field, values in self._fields.items():
                values += [row.get(field) for row in rows]
        self._ids += [record.id for record in records]
        self._sequences += [record.sequence for record in records]
        self._times += [record.at_ms for record in records]

    def parquet(self) -> memoryview:
        """The file. Raises InvalidValue for values that no column can hold."""
        columns = {
            "id": pa.array(self._ids, pa.string()),
            "sequence": pa.array(self._sequences, pa.int64()),
            "at": pa.array(self._times, _AT_TYPE),
        }
        fields = list(map(column_name, self._fields))
        sink = pa.BufferOutputStream()
        with _refusing():
            for name, (field, values) in zip(fields, self._fields.items(), strict=True):
                columns[name] = _column(field, values)
            # No two records have the same id, sequence and time: a dictionary of them only adds to the file.
            pq.write_table(
                pa.table(columns),
                sink,
                compression="zstd",
                store_schema=False,
                use_dictionary=fields,  # type: ignore[arg-type]  # which the stubs do not know of
            )
        return memoryview(sink.getvalue())


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except MemoryError:  # Arrow's is an ArrowException, too; it says nothing of the records
        raise
    except (pa.ArrowException, ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise InvalidValue(f"expected records that Parquet can hold, got: {type(error).__name__}: {error}") from error


def _column(field: str, values: list[Any]) -> pa.Array[Any]:
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds <= {int, float, Decimal}:
        numbers = _number_column(values, kinds)
        if numbers is not None:
            return numbers
    try:
        texts = values if kinds == {str} else [None if value is None else _text(value) for value in values]
        return pa.array(texts, pa.string())
    except (UnicodeEncodeError, InvalidValue) as error:
        raise InvalidValue(f"expected values that a column can hold in field {field!r}: {error}") from error


def _number_column(values: list[Any], kinds: set[type]) -> pa.Array[Any] | None:
    if float not in kinds:
        integers = values if kinds == {int} else _integers(values)
        if integers is not None and _within_bigint(integers):
            return pa.array(integers, pa.int64())
    doubles = values if kinds == {float} else _doubles(values)
    return None if doubles is None else pa.array(doubles, pa.float64())


def _within_bigint(integers: Iterable[int | None]) -> bool:
    present = [number for number in integers if number is not None]
    return min(present) >= _BIGINT_MIN and max(present) <= _BIGINT_MAX


def _integers(values: list[Any]) -> list[int | None] | None:
    integers: list[int | None] = []
    for value in values:
        if type(value) is Decimal:
            # The bound comes first: the integer of 1E+999999 has a million digits.
            if not value.is_finite() or value.adjusted() > len(str(_BIGINT_MAX)):
                return None
            integer = int(value)
            if integer != value:
                return None
            integers.append(integer)
        else:
            integers.append(value)
    return integers


def _doubles(values: list[Any]) -> list[float | None] | None:
    doubles: list[float | None] = []
    for value in values:
        if value is None or type(value) is float:
            doubles.append(value)
        elif type(value) is int:
            if abs(value) > _EXACT_DOUBLE_INTEGER_MAX:
                return None
            doubles.append(float(value))
        else:
            if not _is_double(value):
                return None
            doubles.append(float(value))
    return doubles


def _is_double(value: Decimal) -> bool:
    if not value.is_finite() or abs(value.adjusted()) > _DOUBLE_EXPONENT_MAX:
        return False
    # Any 15 digits survive the way to a double and back; more do if they are a double's own shortest text.
    return len(value.as_tuple().digits) <= _EXACT_DOUBLE_DIGITS or Decimal(repr(float(value))) == value


def _text(value: Any) -> str:
    if isinstance(value, str | Decimal):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()
    return json_bytes(value).decode()
