"""Our engine, started as a user starts it: `afterwrite run APP` or `afterwrite serve`, on a free port."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.cache import CACHE
from bench.processes import READY_S_MAX, Unavailable, last_line, running
from bench.wire import System

NAME = "afterwrite (durable)"
APPS = Path(__file__).resolve().parent / "apps"


@dataclass(frozen=True)
class Engine:
    """A running engine and its data directory."""

    system: System
    data: Path


@contextlib.contextmanager
def afterwrite(app: Path | None, environment: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """The engine with `app`, or with tables alone, on a fresh data directory of the checkout's disk.

    Raises Unavailable.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-", ignore_cleanup_errors=True) as directory:
        data, log = Path(directory) / "data", Path(directory) / "log"
        verb = ["serve"] if app is None else ["run", str(app)]
        command = [sys.executable, "-m", "afterwrite", *verb, "--data", str(data)]
        with running(
            [*command, "--listen", "127.0.0.1:0", "--json"], log=log, environment={**os.environ, **(environment or {})}
        ) as process:
            host, port = _address(process, log).rsplit(":", 1)
            yield Engine(System(NAME, host, int(port)), data)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that it says it listens on."""
    output = process.stdout
    assert output is not None
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        line = output.readline() if selector.select(READY_S_MAX) else b""
    try:
        address: str = json.loads(line)["listening"]
    except (ValueError, KeyError):
        said = f"afterwrite did not say where it listens, but {line!r}; its log ends: {last_line(log)}"
        raise Unavailable(said) from None
    return address
