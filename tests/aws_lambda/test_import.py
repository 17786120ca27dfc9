"""What a cold start pays for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NOT_FOR_LAMBDA = {"boto3", "botocore", "duckdb", "httptools", "lmdb", "pyarrow", "redis", "uvloop"}
# Of the standard library what takes long, and is for the engine, for the commands, or for when it is first used.
NOT_YET = {
    "asyncio",
    "concurrent",
    "ipaddress",
    "logging",
    "pathlib",
    "random",
    "socket",
    "tempfile",
    "threading",
    "urllib",
}
FILES_MAX = 105


def imported(statement: str, bytecode: Path) -> tuple[float, set[str]]:
    """How long (ms of processor time) a new interpreter takes for an import, and which modules it reads from files.

    Modules are compiled the first time, into the directory `bytecode`.
    """
    code = (
        "import sys, time; there = set(sys.modules); before = time.process_time()\n"
        f"{statement}\n"
        "took_ms = (time.process_time() - before) * 1000\n"
        "new = {name: module for name, module in sys.modules.items() if name not in there}\n"
        "print(took_ms, *(name for name, module in new.items() if getattr(module, '__file__', None)))"
    )
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = str(bytecode)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    took_ms, *modules = done.stdout.split()
    return float(took_ms), set(modules)


def test_the_import_takes_less_than_100_ms_and_brings_neither_boto3_nor_the_engine(tmp_path: Path) -> None:
    runs, peers = [], []
    for _ in range(5):
        runs.append(imported("import afterwrite.aws_lambda", tmp_path))
        peers.append(imported("import asyncio", tmp_path))
    modules = runs[0][1]
    assert not {name for name in modules if name.partition(".")[0] in NOT_FOR_LAMBDA | NOT_YET}
    assert len(modules) <= FILES_MAX, "each is read and run at every cold start: import it where it is used"
    packages = ("engine", "local", "server", "sources", "store", "table", "wiring")
    assert not {name for name in modules if name.startswith(tuple(f"afterwrite.{each}" for each in packages))}
    # A machine that others use at the same time may be slower, and is then for asyncio too.
    took_ms, asyncio_ms = min(took for took, _ in runs), min(took for took, _ in peers)
    assert took_ms < max(100, 3 * asyncio_ms)
