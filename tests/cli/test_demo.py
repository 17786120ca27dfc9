"""The command around the demonstration; the whole of it runs as `make demo`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Run

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from afterwrite.cli import main; main()"


def test_runs_and_reconciles(tmp_path: Path, cli: Run) -> None:
    done = cli("demo", "--data", tmp_path / "demo", "--conversations", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ok"]


def test_a_directory_with_files_is_refused(tmp_path: Path, cli: Run) -> None:
    (tmp_path / "precious").touch()
    assert cli("demo", "--data", tmp_path).returncode == 2


def test_an_app_that_is_not_there(cli: Run) -> None:
    done = cli("demo", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: expected a demonstration app (manga_assist")


@pytest.mark.parametrize("package", ["boto3", "chitchat_dataset", "duckdb"])
def test_a_missing_package_is_named(package: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, package, "demo", "--data", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"afterwrite: the demo needs the packages {package}: install them with pip install 'afterwrite[demo]'\n"
    )
    assert not (tmp_path / "demo").exists()
