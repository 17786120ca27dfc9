"""Servers of a demonstration's own: processes that are started, killed and started again on the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from afterwrite.testing import lasting_port
from demonstration.orphans import end_with_starter
from demonstration.stage import DemoFailed

READY_S_MAX: Final = 60.0
STOP_S_MAX: Final = 30.0
_POLL_S: Final = 0.02
_LOG_LINES_SHOWN: Final = 20
_APPS: Final = Path(__file__).resolve().parent.parent


class ServerProcess:
    """A command as a process that has to listen on `port` of 127.0.0.1; it ends when the one that starts it does.

    `name` is what it is called in errors, `settings` are environment variables. What it prints goes to `log`.
    """

    def __init__(
        self, name: str, command: Sequence[str], port: int, log: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        self._name = name
        self._command = command
        self._port = port
        self._log = log
        self._environment = {**os.environ, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens; the same over every start."""
        return f"127.0.0.1:{self._port}"

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
            self.check()
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"{self._name} did not listen on {self.address} within {READY_S_MAX:.0f} s:\n{self._log_end()}"
                )
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise DemoFailed if it ended by itself."""
        code = None if self._process is None else self._process.poll()
        if self._process is None or code is not None:
            raise DemoFailed(f"{self._name} ended with {code}:\n{self._log_end()}")

    def kill(self) -> None:
        """SIGKILL: it gets no chance to finish anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])


class DemoEngine(ServerProcess):
    """`afterwrite run` of the app in the file `app`, on the data directory `data`; its log is `data` with `.log`."""

    def __init__(self, app: Path, data: Path, settings: Mapping[str, str] | None = None) -> None:
        port = lasting_port()
        command = [sys.executable, "-m", "afterwrite", "run", str(app), "--data", str(data), "--json"]
        listen = ["--listen", f"127.0.0.1:{port}"]
        super().__init__("the engine", [*command, *listen], port, data.with_name(f"{data.name}.log"), settings)

    @property
    def url(self) -> str:
        """Its endpoint URL, for SDKs."""
        return f"http://{self.address}"


class ModuleProcess(ServerProcess):
    """`python -m MODULE PORT ARGUMENTS…`, a module of the apps."""

    def __init__(
        self, module: str, arguments: Sequence[str], log: Path, settings: Mapping[str, str] | None = None
    ) -> None:
        port = lasting_port()
        path = os.pathsep.join(filter(None, (str(_APPS), os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", module, str(port), *arguments]
        super().__init__(module, command, port, log, {"PYTHONPATH": path, **(settings or {})})
