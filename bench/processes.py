"""Servers as child processes: free ports, waiting until they answer, stopping them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.wire import Connection, System

READY_S_MAX = 60.0


class Unavailable(Exception):
    """A system cannot be measured here; the message says why."""


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: Sequence[str], *, log: Path, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process, ended with the block; its error output goes to `log`."""
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until_it_answers(system: System, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when it answers ListTables. Raises Unavailable if it ends before, or takes too long."""
    deadline = time.monotonic() + READY_S_MAX
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with Connection(system, timeout_s=5) as connection:
                connection.call("ListTables", {})
                return
        except (OSError, RuntimeError):
            time.sleep(0.1)
    raise Unavailable(f"{system.name} did not answer within {READY_S_MAX:.0f} s; its log ends: {last_line(log)}")


def last_line(log: Path) -> str:
    """What a log ends with."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "(it is empty)")
