"""The lake: whole files, exact rows, and columns that DuckDB reads as one table whatever the records hold."""

from __future__ import annotations

import base64
import os
import re
import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite.core.erasure import Subject
from afterwrite.errors import CorruptData, DeclarationError, InvalidValue, StorageFull
from afterwrite.local import lake
from afterwrite.local.lake import LakeRecord, clean, column_name, read, write_batch
from afterwrite.local.lake_erasure import erase

AT_MS = 1_795_280_706_789  # 2026-11-21T17:05:06.789Z
HOUR_MS = 3_600_000


def record(sequence: int, data: Mapping[str, Any], at_ms: int = AT_MS) -> LakeRecord:
    return LakeRecord(sequence, at_ms, f"event-{sequence}/route/0", data)


def query(directory: Path, sql: str) -> list[tuple[Any, ...]]:
    source = f"read_parquet('{directory}/turns/**/*.parquet', union_by_name=true, hive_partitioning=true)"
    with duckdb.connect() as connection:
        rows: list[tuple[Any, ...]] = connection.sql(sql.replace("LAKE", source)).fetchall()
    return rows


def column(directory: Path, name: str) -> list[Any]:
    return [row[0] for row in query(directory, f'select "{name}" from LAKE order by sequence')]


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond the limit, as it does on a full disk, with half of it written."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_batch_lies_in_the_utc_hour_of_its_records(tmp_path: Path) -> None:
    records = [record(7, {"a": 1}), record(8, {"a": 2}, AT_MS + HOUR_MS), record(9, {"a": 3})]
    paths = write_batch(tmp_path, "turns", 7, 9, records)
    name = "turns-00000000000000000007-00000000000000000009.parquet"
    assert paths == [
        tmp_path / "turns/dt=2026-11-21/hour=17" / name,
        tmp_path / "turns/dt=2026-11-21/hour=18" / name,
    ]
    assert query(tmp_path, 'select id, sequence, epoch_ms("at"), a, dt, hour::int from LAKE order by sequence') == [
        ("event-7/route/0", 7, AT_MS, 1, date(2026, 11, 21), 17),
        ("event-8/route/0", 8, AT_MS + HOUR_MS, 2, date(2026, 11, 21), 18),
        ("event-9/route/0", 9, AT_MS, 3, date(2026, 11, 21), 17),
    ]
    rows = list(read(tmp_path, "turns"))
    assert [row["sequence"] for row in rows] == [7, 9, 8]
    assert rows[0]["at"] == datetime(2026, 11, 21, 17, 5, 6, 789000, UTC)


def test_an_empty_batch_writes_nothing(tmp_path: Path) -> None:
    assert write_batch(tmp_path, "turns", 1, 0, []) == []
    assert files(tmp_path) == {}


def test_only_fields_whose_values_may_recur_have_a_dictionary(tmp_path: Path) -> None:
    records = [record(number, {"role": "assistant", "a.b": "x"}) for number in range(1, 10)]
    (path,) = write_batch(tmp_path, "turns", 1, 9, records)
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        columns = [group.column(place) for place in range(group.num_columns)]
    assert [each.path_in_schema for each in columns if each.has_dictionary_page] == ["role", "a.b"]


@pytest.mark.parametrize(
    ("values", "sql_type", "found"),
    [
        (["a", None], "VARCHAR", ["a", None]),
        ([True, False], "BOOLEAN", [True, False]),
        ([1, 2**63 - 1], "BIGINT", [1, 2**63 - 1]),
        ([Decimal("3"), Decimal("1E+2"), -4], "BIGINT", [3, 100, -4]),
        ([Decimal("0.5"), 2], "DOUBLE", [0.5, 2.0]),
        ([Decimal("0.30000000000000004")], "DOUBLE", [0.30000000000000004]),
        ([1.25, Decimal("3")], "DOUBLE", [1.25, 3.0]),
        ([2**63], "VARCHAR", ["9223372036854775808"]),
        (
            [Decimal("0.12345678901234567890123456789012345678")],
            "VARCHAR",
            ["0.12345678901234567890123456789012345678"],
        ),
        ([2**53 + 1, Decimal("0.5")], "VARCHAR", ["9007199254740993", "0.5"]),
        ([Decimal("1E+999999")], "VARCHAR", ["1E+999999"]),
        ([True, 1, "x"], "VARCHAR", ["true", "1", "x"]),
        ([{"b": Decimal("1.50"), "a": [1]}], "VARCHAR", ['{"a":[1],"b":1.50}']),
        ([{"y", "x"}, [b"\x00"]], "VARCHAR", ['["x","y"]', '["AA=="]']),
        ([b"\x00\xff"], "VARCHAR", [base64.b64encode(b"\x00\xff").decode()]),
        ([None, None], '"NULL"', [None, None]),
    ],
)
def test_a_column_has_the_narrowest_exact_type(
    tmp_path: Path, values: list[Any], sql_type: str, found: list[Any]
) -> None:
    write_batch(tmp_path, "turns", 1, len(values), [record(i, {"v": v}) for i, v in enumerate(values, 1)])
    assert {row[0] for row in query(tmp_path, "select typeof(v) from LAKE")} == {sql_type}
    assert column(tmp_path, "v") == found


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.integers(),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, allow_infinity=False),
)
NESTED = st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
VALUES = SCALARS | NESTED | st.lists(NESTED, max_size=1)
FIELDS = st.sampled_from(["id", "_id", "Sequence", "at", "dt", "hour", "_hour", "role", "amount"])
RECORDS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=3), min_size=1, max_size=3)
BATCHES = st.lists(RECORDS, min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(BATCHES)
def test_any_files_are_one_table_in_which_no_value_is_missing(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[dict[str, Any]]]
) -> None:
    directory = tmp_path_factory.mktemp("lake")
    sequence = 0
    written: dict[str, set[int]] = {}
    for batch in batches:
        records = [record(sequence + offset, data) for offset, data in enumerate(batch)]
        write_batch(directory, "turns", sequence, sequence + len(batch) - 1, records)
        for each in records:
            for field, value in each.data.items():
                present = written.setdefault(column_name(field), set())
                if value is not None:
                    present.add(each.sequence)
        sequence += len(batch)
    assert column(directory, "id") == [f"event-{number}/route/0" for number in range(sequence)]
    lists = [f'list(sequence) filter (where "{name}" is not null)' for name in written] or ["0"]
    found = query(directory, f"select {', '.join(lists)} from LAKE")[0]
    for (name, present), sequences in zip(written.items(), found, strict=False):
        assert (name, set(sequences or ())) == (name, present)


@pytest.mark.parametrize("other", ["text", True, 0.5, Decimal("0.5"), {"a": 1}, None, b"x"])
def test_a_field_may_change_its_type_between_files(tmp_path: Path, other: Any) -> None:
    write_batch(tmp_path, "turns", 1, 1, [record(1, {"v": 12})])
    write_batch(tmp_path, "turns", 2, 2, [record(2, {"v": other})])
    write_batch(tmp_path, "turns", 3, 3, [record(3, {})])
    first, second, third = column(tmp_path, "v")
    assert (str(first) in {"12", "12.0"}, second is None, third) == (True, other is None, None)


@pytest.mark.parametrize(
    ("field", "name"),
    [("id", "_id"), ("_id", "__id"), ("AT", "_AT"), ("hour", "_hour"), ("idea", "idea"), ("role", "role")],
)
def test_the_lakes_own_columns_hide_no_field(tmp_path: Path, field: str, name: str) -> None:
    write_batch(tmp_path, "turns", 1, 1, [record(1, {field: "own"})])
    assert column(tmp_path, name) == ["own"]
    assert query(tmp_path, "select id, sequence, hour::int from LAKE") == [("event-1/route/0", 1, 17)]


class Killed(BaseException):
    """The process ends here: no clean-up that waits for an OSError runs."""


def killed_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies at its `call`th step on the disk; a write that it dies in is half done."""
    calls = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == call:
                if real is write:
                    write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise Killed
            return real(*arguments)

        return step

    write = os.write
    for name in ("write", "fsync", "replace", "mkdir"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))


def test_a_batch_written_again_after_any_crash_gives_the_same_files(tmp_path: Path) -> None:
    records = [record(i, {"text": f"turn {i}"}, AT_MS + i * HOUR_MS) for i in range(3)]
    write_batch(tmp_path / "expected", "turns", 0, 2, records)
    expected = files(tmp_path / "expected")
    crashes = 0
    temporary = 0
    while True:
        directory = tmp_path / f"crash-{crashes}"
        directory.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch:
            killed_at(crashes + 1, monkeypatch)
            try:
                write_batch(directory, "turns", 0, 2, records)
                break
            except Killed:
                crashes += 1
        left = files(directory)
        assert {path: content for path, content in left.items() if path.endswith(".parquet")}.items() <= (
            expected.items()
        )
        temporary += clean(directory)
        assert all(path in expected for path in files(directory))
        write_batch(directory, "turns", 0, 2, records)
        assert files(directory) == expected
    assert crashes > 3 * 4
    assert temporary >= 3 * 2


def test_a_full_disk_leaves_no_file_and_the_batch_can_be_written_later(tmp_path: Path) -> None:
    records = [record(i, {"text": os.urandom(64).hex()}) for i in range(100)]
    with file_size_limit(4096), pytest.raises(StorageFull, match="no space"):
        write_batch(tmp_path, "turns", 0, 99, records)
    assert files(tmp_path) == {}
    write_batch(tmp_path, "turns", 0, 99, records)
    assert len(column(tmp_path, "text")) == 100


@pytest.mark.parametrize("stream", ["", "../turns", "a/b", ".hidden", "x" * 65])
def test_a_stream_that_is_no_file_name_is_refused(tmp_path: Path, stream: str) -> None:
    with pytest.raises(DeclarationError, match="delivery stream's name"):
        write_batch(tmp_path, stream, 1, 1, [record(1, {})])


def test_text_that_is_no_unicode_is_refused_by_its_field(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="'text'"):
        write_batch(tmp_path, "turns", 1, 1, [record(1, {"text": "\ud800"})])


@pytest.mark.parametrize("damage", [lambda content: b"garbage", lambda content: content[:100]])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (path,) = write_batch(tmp_path, "turns", 1, 1, [record(1, {"n": 1})])
    path.write_bytes(damage(path.read_bytes()))
    named = re.escape(f"{path} is damaged (")
    with pytest.raises(CorruptData, match=f"{named}.*move it out of the lake"):
        list(read(tmp_path, "turns"))
    with pytest.raises(CorruptData, match=named):
        erase(tmp_path, Subject({}), dry_run=True)


def test_rows_beyond_one_read_batch_all_come_back(tmp_path: Path) -> None:
    count = lake.BATCH_ROWS_READ + 10
    write_batch(tmp_path, "turns", 1, count, [record(i, {"n": i}) for i in range(1, count + 1)])
    assert [row["n"] for row in read(tmp_path, "turns")] == list(range(1, count + 1))
