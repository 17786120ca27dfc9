"""The engine as a process of its own, to be started, killed and started again."""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, cast

from afterwrite.testing import lasting_port

READY_S_MAX: Final = 60.0
STOP_S_MAX: Final = 30.0
_LOG_LINES_SHOWN: Final = 20
_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


class EngineFailed(Exception):
    """The engine ended, or did not get ready in time; the message carries the end of its log."""


def end_with_starter() -> None:
    """Have the kernel end this process (SIGTERM) when the one that has started it ends, however it does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class EngineProcess:
    """`afterwrite run` of the app in the file `app`, on a data directory. What it prints goes to `log`.

    `settings` are environment variables. Raises EngineFailed where it does not start to listen within a minute.
    """

    def __init__(self, app: Path, data: Path, log: Path, settings: Mapping[str, str]) -> None:
        self._app = app
        self._data = data
        self._log = log
        self._environment = {**os.environ, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._address = f"127.0.0.1:{lasting_port()}"

    @property
    def url(self) -> str:
        """Where it listens; the same over every start."""
        return f"http://{self._address}"

    def start(self) -> None:
        """Start it and wait until it listens, on the port it had before if it ran before."""
        command = [sys.executable, "-m", "afterwrite", "run", str(self._app), "--data", str(self._data)]
        with self._log.open("ab") as log:
            # No thread holds a lock that the child could wait for: all it does before it is the command is one call.
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, "--listen", self._address, "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
                preexec_fn=end_with_starter,  # noqa: PLW1509 - see above
            )
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._follow, args=(self._process, lines), daemon=True).start()
        try:
            line = lines.get(timeout=READY_S_MAX)
        except queue.Empty:
            self.kill()
            raise EngineFailed(f"the engine did not listen within {READY_S_MAX:.0f} s:\n{self._log_end()}") from None
        if not line:
            raise EngineFailed(f"the engine ended with {self._process.wait()}:\n{self._log_end()}")
        self._address = json.loads(line)["listening"]

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

    def check(self) -> None:
        """Raise EngineFailed if it ended by itself."""
        if self._process is None or self._process.poll() is not None:
            code = None if self._process is None else self._process.returncode
            raise EngineFailed(f"the engine ended with {code}:\n{self._log_end()}")

    def _follow(self, process: subprocess.Popen[bytes], lines: queue.Queue[bytes]) -> None:
        with cast("IO[bytes]", process.stdout) as output, self._log.open("ab") as log:
            lines.put(output.readline())
            for line in output:
                log.write(line)

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
