"""A second engine on a data directory is refused, and told which process holds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bounds import BOUND_S
from engine_process import EngineUnderTest
from faults.reconciliation import APP


def test_a_second_engine_is_refused_with_the_holders_process(tmp_path: Path) -> None:
    with EngineUnderTest(APP, tmp_path / "data") as engine:
        command = [sys.executable, "-m", "afterwrite", "run", str(APP), "--data", str(tmp_path / "data")]
        second = subprocess.run(
            [*command, "--listen", "127.0.0.1:0"], capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        assert second.returncode == 2
        assert f"process {engine.pid} " in second.stderr
        assert engine.address in second.stderr
        assert "Traceback" not in second.stderr
        engine.put("things", pk="p", sk="1")


def test_an_address_in_use_is_said_and_the_directory_is_let_go(tmp_path: Path) -> None:
    with EngineUnderTest(APP, tmp_path / "one") as engine:
        command = [sys.executable, "-m", "afterwrite", "run", str(APP), "--data", str(tmp_path / "two")]
        second = subprocess.run(
            [*command, "--listen", engine.address], capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        assert second.returncode == 2
        assert f"cannot listen on {engine.address}" in second.stderr
    with EngineUnderTest(APP, tmp_path / "two") as free:
        free.put("things", pk="p", sk="1")
