"""SQL on the lake's files: the views of each stream, while more is written, and words that help."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from afterwrite.errors import CommandError
from afterwrite.lake_queries import LakeQueries
from afterwrite.local.lake import LakeRecord, write_batch

HOUR_MS = 3_600_000


def write(lake: Path, stream: str, first: int, rows: list[dict[str, Any]]) -> None:
    records = [LakeRecord(first + n, (first + n) * HOUR_MS, f"c-{first + n}", row) for n, row in enumerate(rows)]
    write_batch(lake, stream, first, first + len(rows) - 1, records)


def answer(lake: Path, sql: str, **keys: list[str]) -> list[tuple[Any, ...]]:
    with LakeQueries(lake, {name.replace("_", "-"): key for name, key in keys.items()}) as queries:
        return list(queries.run(sql).rows)


def test_a_stream_is_a_view_of_all_its_records_by_either_name(tmp_path: Path) -> None:
    write(tmp_path, "order-log", 1, [{"total": 5}, {"total": 7.5}])
    write(tmp_path, "order-log", 3, [{"total": 1, "note": "late"}])
    assert answer(tmp_path, "SELECT sum(total), count(note) FROM order_log") == [(13.5, 1)]
    assert answer(tmp_path, 'SELECT hour, total FROM "order-log" ORDER BY sequence') == [(1, 5), (2, 7.5), (3, 1)]


def test_of_each_key_the_latest_record(tmp_path: Path) -> None:
    # The last by the stream's own order, also where its file was read first or its hour is an earlier one.
    write(tmp_path, "stock", 1, [{"product": "a", "hour": 1, "left": 9}, {"product": "b", "hour": 1, "left": 5}])
    write(tmp_path, "stock", 3, [{"product": "a", "hour": 1, "left": 8}, {"product": "a", "hour": 2, "left": 1}])
    latest = 'SELECT product, _hour, "left" FROM stock_latest ORDER BY 1, 2'
    assert answer(tmp_path, latest, stock=["product"]) == [("a", 2, 1), ("b", 1, 5)]
    assert answer(tmp_path, latest, stock=["product", "hour"]) == [("a", 1, 8), ("a", 2, 1), ("b", 1, 5)]


def test_a_stream_s_own_name_means_that_stream_whatever_others_are_called(tmp_path: Path) -> None:
    for stream in ("A_b", "a.b", "X_latest", "x"):
        write(tmp_path, stream, 1, [{"of": stream}])
    keys = {"x": ["of"]}
    for stream in ("A_b", "a.b", "X_latest", "x"):
        assert answer(tmp_path, f'SELECT "of" FROM "{stream}"', **keys) == [(stream,)]
    assert answer(tmp_path, 'SELECT "of" FROM a_b') == [("A_b",)]


def test_a_directory_with_characters_of_patterns_is_read(tmp_path: Path) -> None:
    lake = tmp_path / "it's [1] of * or ? {a,b}"
    write(lake, "log", 1, [{"n": 1}])
    assert answer(lake, "SELECT n FROM log") == [(1,)]


def test_what_is_written_meanwhile_is_in_the_next_query(tmp_path: Path) -> None:
    write(tmp_path, "log", 1, [{"n": 1}])
    with LakeQueries(tmp_path, {}) as queries:
        assert list(queries.run("SELECT count(*) FROM log").rows) == [(1,)]
        write(tmp_path, "log", 2, [{"n": 2, "m": "x"}])
        (tmp_path / "log" / "dt=1970-01-01" / "hour=02" / ".log-3.parquet.tmp").write_bytes(b"half a file")
        assert list(queries.run("SELECT n, m FROM log ORDER BY n").rows) == [(1, None), (2, "x")]


def test_the_views_with_their_columns(tmp_path: Path) -> None:
    write(tmp_path, "order-log", 1, [{"total": 5}])
    with LakeQueries(tmp_path, {"order-log": ["total"], "empty": []}) as queries:
        columns = ["id VARCHAR", "sequence BIGINT", "at TIMESTAMP", "total BIGINT", "dt DATE", "hour INTEGER"]
        assert queries.views() == {"order_log": columns, "order_log_latest": columns}


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM nothing", "Table with name nothing does not exist! There are: log, stock, stock_latest"),
        ("SELECT * FROM log_latest", 'the delivery stream log is declared without a key.*key="FIELD"'),
        ("SELECT * FROM later", "the delivery stream later has no files yet"),
        ("SELECT nope FROM log", 'Referenced column "nope" not found'),
        ("SELEC 1", "syntax error"),
        ("SELECT CAST(product AS INTEGER) FROM stock", "Could not convert string 'a' to INT32"),
        (" ; ", "expected a query, got no statement"),
    ],
)
def test_what_cannot_be_answered_says_what_can(tmp_path: Path, sql: str, message: str) -> None:
    write(tmp_path, "log", 1, [{"n": 1}])
    write(tmp_path, "stock", 1, [{"product": "a"}])
    with (
        LakeQueries(tmp_path, {"log": [], "stock": ["product"], "later": []}) as queries,
        pytest.raises(CommandError, match=message),
    ):
        list(queries.run(sql).rows)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "log", 1, [{"n": 1}])
    (path,) = tmp_path.glob("*/*/*/*.parquet")
    path.write_text("garbage")
    with LakeQueries(tmp_path, {}) as queries:
        for ask in (queries.views, lambda: queries.run("SELECT * FROM log")):
            with pytest.raises(CommandError, match=f"the query failed: .*{path.name}"):
                ask()


def test_a_lake_that_is_not_there_has_no_views(tmp_path: Path) -> None:
    with LakeQueries(tmp_path / "lake", {}) as queries:
        assert queries.views() == {}
        with pytest.raises(CommandError, match="There are: no records"):
            queries.run("SELECT * FROM log")


def test_without_duckdb_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "duckdb":
            raise ImportError(name)
        return importing(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CommandError, match=r"pip install 'afterwrite\[query\]'"):
        LakeQueries(tmp_path, {})
