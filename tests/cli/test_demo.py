"""The command around the demonstration; the whole of it runs as `make demo`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from afterwrite.store.data_directory import DataDirectory
from bounds import BOUND_S
from cli.conftest import Run
from engine_process import wait_until

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from afterwrite.cli import main; main()"


def test_runs_and_reconciles(tmp_path: Path, cli_process: Run) -> None:
    done = cli_process("demo", "profiles", "--data", tmp_path / "demo", "--size", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["ok"]


def test_says_in_plain_lines_what_happens_and_where_the_data_is(tmp_path: Path, cli_process: Run) -> None:
    lines = cli_process("demo", "--data", tmp_path / "demo", "--size", "1").stdout.splitlines()
    progress = [line for line in lines if line.startswith("Writing 1 conversations")]
    assert len(progress) == len(set(progress)) > 0
    assert lines[-1] == f"  afterwrite status --data {tmp_path / 'demo' / 'engine'}"
    mistaken = cli_process("status", "--data", tmp_path / "demo")
    assert mistaken.returncode == 2
    assert mistaken.stderr.endswith(f"did you mean {tmp_path / 'demo' / 'engine'}?\n")


INTERRUPTIONS: dict[str, tuple[Callable[[int], None], int, str]] = {
    "Ctrl-C": (lambda group: os.killpg(group, signal.SIGINT), 130, "demo: interrupted\n"),
    "SIGTERM": (lambda pid: os.kill(pid, signal.SIGTERM), 130, "demo: interrupted\n"),
    "SIGKILL": (lambda pid: os.kill(pid, signal.SIGKILL), -signal.SIGKILL, ""),
}


@pytest.mark.parametrize("case", INTERRUPTIONS)
def test_an_interrupted_demonstration_leaves_no_engine_behind(case: str, tmp_path: Path) -> None:
    interrupt, status, told = INTERRUPTIONS[case]
    command = [sys.executable, "-m", "afterwrite", "demo", "--data", str(tmp_path / "demo"), "--size", "600"]
    directory = DataDirectory(tmp_path / "demo" / "engine")
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_until(lambda: "listening" in (directory.holder() or {}), what="a listening engine")
        interrupt(process.pid)
        assert process.wait(timeout=BOUND_S) == status
        wait_until(lambda: directory.holder() is None, what="the end of the engine")
        if case != "SIGKILL":  # then nobody is left to keep the writers quiet
            assert process.stderr is not None
            assert process.stderr.read() == told


def test_a_directory_with_files_is_refused(tmp_path: Path, cli_process: Run) -> None:
    (tmp_path / "precious").touch()
    assert cli_process("demo", "--data", tmp_path).returncode == 2


def test_an_app_that_is_not_there(cli_process: Run) -> None:
    done = cli_process("demo", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: expected a demonstration app (accounts, inventory, leaderboard, ")


@pytest.mark.parametrize("package", ["boto3", "chitchat_dataset", "duckdb"])
def test_a_missing_package_is_named(package: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, package, "demo", "--data", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND_S)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"afterwrite: the demo needs the packages {package}: install them with pip install '.[demo]' in a checkout\n"
    )
    assert not (tmp_path / "demo").exists()
