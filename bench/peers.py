"""The systems measured beside ours, as their own documentation starts them, on free loopback ports.

They keep their data in memory: that is the fastest way to run each. Roto-aws can also be had durable.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.cache import CACHE
from bench.processes import Unavailable, free_port, running, wait_until_it_answers
from bench.report import progress
from bench.wire import System

# The npm package that bundles the official DynamoDB Local. Its licence forbids redistribution.
_SIMULATOR = "amplify-dynamodb-simulator"
_SIMULATOR_VERSION = "2.9.30"


@contextlib.contextmanager
def ministack() -> Iterator[System]:
    """Ministack, with its streams, Lambda and SQS. Raises Unavailable where it is not installed."""
    if importlib.util.find_spec("ministack") is None:
        raise Unavailable("the Python package ministack is not installed (dependency group dev)")
    port = free_port()
    system = System("ministack (in memory)", "127.0.0.1", port)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        environment = {
            **os.environ,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "ERROR",
            "STATE_DIR": directory,
        }
        # Started as its own --detach does; in the foreground it would do the same in this process.
        command = [sys.executable, "-m", "hypercorn", "ministack.app:app", "--bind", f"127.0.0.1:{port}"]
        with running([*command, "--log-level", "ERROR", "--keep-alive", "75"], log=log, environment=environment) as it:
            wait_until_it_answers(system, it, log)
            yield system


@contextlib.contextmanager
def dynamodb_local() -> Iterator[System]:
    """DynamoDB Local. Raises Unavailable without Java or npm."""
    for tool in ("java", "npm"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed")
    jar = _fetch_dynamodb_local()
    port = free_port()
    system = System("DynamoDB Local (in memory)", "127.0.0.1", port)
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        command = ["java", f"-Djava.library.path={jar.parent / 'DynamoDBLocal_lib'}", "-jar", str(jar)]
        options = ["-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)]
        with running([*command, *options], log=log, directory=Path(directory)) as it:
            wait_until_it_answers(system, it, log)
            yield system


@contextlib.contextmanager
def roto(*, durable: bool) -> Iterator[System]:
    """Roto-aws, a simulator in Rust: in memory, or with an fsync at every commit. Raises Unavailable.

    It has no streams.
    """
    program = Path(sys.executable).parent / "roto-server"
    if not program.exists():
        raise Unavailable("the Python package roto-aws is not installed (dependency group bench)")
    port = free_port()
    system = System(f"roto-aws ({'durable' if durable else 'in memory'})", "127.0.0.1", port)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as directory:
        log = Path(directory) / "log"
        keeping = ["--durable", "--data-dir", directory] if durable else ["--ephemeral"]
        with running([str(program), "--port", str(port), *keeping], log=log, directory=Path(directory)) as it:
            wait_until_it_answers(system, it, log)
            yield system


def _fetch_dynamodb_local() -> Path:
    package = CACHE / f"{_SIMULATOR}-{_SIMULATOR_VERSION}"
    jar = package / "package" / "emulator" / "DynamoDBLocal.jar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "fetching").open("w") as lock:  # processes of a test run that need it meanwhile wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jar.exists():
            _fetch_into(package)
    return jar


def _fetch_into(package: Path) -> None:
    progress(f"fetching {_SIMULATOR} {_SIMULATOR_VERSION} with npm (57 MB, once)")
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        command = ["npm", "pack", "--silent", "--pack-destination", directory, f"{_SIMULATOR}@{_SIMULATOR_VERSION}"]
        try:
            fetched = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"npm could not fetch {_SIMULATOR} within 300 s") from None
        if fetched.returncode != 0:
            raise Unavailable(f"npm could not fetch {_SIMULATOR}: {fetched.stderr.strip()[-300:]}")
        unpacked = Path(directory) / "unpacked"
        for archive in Path(directory).glob("*.tgz"):
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked, filter="data")
        unpacked.rename(package)
