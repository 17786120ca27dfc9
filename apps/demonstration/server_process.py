"""Servers of a demonstration's own: a module run as a process, started, killed and started again on the same port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from afterwrite.testing import lasting_port
from demonstration.engine_process import end_with_starter
from demonstration.stage import DemoFailed

READY_S_MAX: Final = 60.0
_POLL_S: Final = 0.02
_APPS: Final = Path(__file__).resolve().parent.parent


class ServerProcess:
    """`python -m MODULE PORT ARGUMENTS…`, which has to listen on that port of 127.0.0.1. What it prints goes to `log`.

    `settings` are environment variables.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], log: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.port = lasting_port()
        self._command = [sys.executable, "-m", module, str(self.port), *arguments]
        path = os.pathsep.join(filter(None, (str(_APPS), os.environ.get("PYTHONPATH"))))
        self._environment = {**os.environ, "PYTHONPATH": path, **(settings or {})}

    @property
    def address(self) -> str:
        """Where it listens; the same over every start."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens. Raises DemoFailed."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                preexec_fn=end_with_starter,  # noqa: PLW1509 - one call, and no lock that it could wait for
            )
        deadline = time.monotonic() + READY_S_MAX
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"{self._command[2]} does not listen on {self.address}: look at {self._log}")
            time.sleep(_POLL_S)

    def kill(self) -> None:
        """SIGKILL: it gets no chance to finish anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
