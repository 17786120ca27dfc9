from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.conftest import Run
from engine_process import EngineProcess, wait_until


@pytest.fixture
def data(engine: EngineProcess, cli: Run) -> Path:
    """A stopped engine's directory with three audit entries."""
    for number in range(3):
        engine.put("orders", PK=f"a-{number}", SK="good")
    wait_until(
        lambda: json.loads(cli("audit", "verify", "--data", engine.data, "--json").stdout)["logs"][0]["head"] == 3
    )
    engine.stop()
    return engine.data


def test_a_whole_log(data: Path, cli: Run) -> None:
    done = cli("audit", "verify", "trail", "--data", data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    (log,) = found["logs"]
    assert found["ok"]
    assert (log["log"], log["entries"], log["segments"], log["head"], log["faults"]) == ("trail", 3, 1, 3, [])
    last_line = json.loads(next((data / "audit" / "trail").glob("*.jsonl")).read_bytes().splitlines()[-1])
    assert (log["head_hash"], log["last_at"]) == (last_line["hash"], last_line["at"])
    text = cli("audit", "verify", "--data", data).stdout
    assert text.startswith("trail: verified\n")
    assert last_line["hash"] in text


def test_a_changed_entry_is_named_by_file_and_line(data: Path, cli: Run) -> None:
    (segment,) = (data / "audit" / "trail").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"a-1", b"a-7"))
    done = cli("audit", "verify", "--data", data)
    assert done.returncode == 1
    assert f"changed_entry {segment.name}:2: expected entry 2" in done.stdout
    found = json.loads(cli("audit", "verify", "--data", data, "--json").stdout)
    assert not found["ok"]
    assert [(fault["kind"], fault["line"]) for fault in found["logs"][0]["faults"]] == [("changed_entry", 2)]


def test_a_log_without_its_files_is_no_whole_log(data: Path, cli: Run) -> None:
    for path in (data / "audit" / "trail").iterdir():
        path.unlink()
    done = cli("audit", "verify", "--data", data)
    assert done.returncode == 1
    assert "missing_segment" in done.stdout


def test_a_log_that_is_not_there(written: EngineProcess, cli: Run) -> None:
    done = cli("audit", "verify", "nope", "--data", written.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: expected an audit log of this app (trail), got 'nope'\n"
