from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Run
from engine_process import EngineUnderTest, wait_until


@pytest.fixture(scope="module")
def data(written: EngineUnderTest, cli: Run) -> Path:
    """The directory of an engine that runs, its records in files."""
    wait_until(lambda: cli("query", "SELECT 1 FROM lake", "--data", written.data).returncode == 0)
    return written.data


def test_rows_beside_a_running_engine_as_text_json_and_csv(data: Path, cli: Run) -> None:
    sql = "SELECT key, count(*) AS records, DATE '2026-11-21' AS day, NULL AS none FROM lake GROUP BY key ORDER BY key"
    done = cli("query", sql, "--data", data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(row) for row in rows] == [["key", "records", "day", "none"]] * len(rows)
    assert "good\x1b[1m" in {row["key"] for row in rows}
    assert {(row["day"], row["none"]) for row in rows} == {("2026-11-21", None)}
    text = cli("query", sql, "--data", data).stdout
    assert text.splitlines()[0].split() == ["key", "records", "day", "none"]
    assert "good\\x1b[1m" in text
    lines = cli("query", sql, "--data", data, "--csv").stdout.splitlines()
    assert lines[0] == "key,records,day,none"
    assert len(lines) == len(rows) + 1


def test_only_the_first_rows_are_shown(data: Path, cli: Run) -> None:
    done = cli("query", "SELECT * FROM range(5)", "--data", data, "--limit", "2")
    assert done.stdout.split() == ["range", "0", "1"]
    assert done.stderr == "only the first 2 rows are shown: --limit shows more, --json and --csv all\n"
    refused = cli("query", "SELECT 1", "--data", data, "--limit", "0")
    assert (refused.returncode, "--limit" in refused.stderr) == (2, True)
    assert cli("query", "SELECT 1 AS one WHERE false", "--data", data).stdout == "no rows (one)\n"


def test_the_views(data: Path, cli: Run) -> None:
    views = json.loads(cli("query", "--data", data, "--json").stdout)
    assert list(views) == ["lake", "lake_latest"]
    assert "lake_latest: id VARCHAR, sequence BIGINT, at TIMESTAMP" in cli("query", "--data", data).stdout


def test_a_wrong_query_is_one_line(data: Path, cli: Run) -> None:
    done = cli("query", "SELECT * FROM lakes", "--data", data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: the query failed: Catalog Error: Table with name lakes does not exist!")
    assert done.stderr.endswith("There are: lake, lake_latest\n")
    both = cli("query", "SELECT 1", "--data", data, "--json", "--csv")
    assert both.stderr == "afterwrite: expected --json or --csv, got both: choose one\n"
