"""The AWS SDK for JavaScript works unchanged: its clients, its document client, waiters and paginators."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bounds import BOUND_S
from engine_process import EngineUnderTest

SOURCES = Path(__file__).with_name("javascript")
# npm fetches the SDK (20 MB) once.
CACHE = SOURCES / ".cache"
FETCH_S_MAX = 100


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder of the programs, beside the SDK that they import."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed; this test needs Node.js 20 and npm")
    lock = (SOURCES / "package-lock.json").read_bytes()
    fetched = CACHE / "fetched-package-lock.json"
    if not fetched.exists() or fetched.read_bytes() != lock:
        CACHE.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(SOURCES / name, CACHE / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=FETCH_S_MAX, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not fetch the AWS SDK for JavaScript within {FETCH_S_MAX} s")
        if done.returncode:
            pytest.skip(f"npm could not fetch the AWS SDK for JavaScript: {done.stderr.strip()[-300:]}")
        fetched.write_bytes(lock)
    for source in SOURCES.glob("*.mjs"):
        shutil.copy(source, CACHE)
    return CACHE


@pytest.mark.parametrize(
    ("program", "last_step"),
    [("document_client.mjs", "transactions are all or nothing"), ("kinesis.mjs", "errors are of their classes")],
)
def test_the_javascript_sdk_s_clients_do_what_they_do_with_aws(
    engine: EngineUnderTest, programs: Path, program: str, last_step: str
) -> None:
    done = subprocess.run(
        ["node", str(programs / program), engine.url], capture_output=True, text=True, timeout=BOUND_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert last_step in done.stdout
