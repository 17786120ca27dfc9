"""`afterwrite run` or `serve` as a process of its own, for tests: started, asked, killed, started again."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Any, cast

from afterwrite.testing import lasting_port
from bounds import BOUND_S

# On a busy machine the interpreter alone takes long to start.
POLL_S = 0.02


class EngineUnderTest:
    """An engine that runs `app` (None: serves tables) on the directory `data`; killed at the end of a `with` block.

    The first start takes a free port, later ones the same again. What it logs goes to `data` with the suffix `.log`.
    """

    def __init__(
        self,
        app: Path | None,
        data: Path,
        *,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self._app = app
        self.data = data
        self.log = data.with_name(f"{data.name}.log")
        self.address = f"127.0.0.1:{lasting_port()}"
        self._environment = {**os.environ, "PYTHONFAULTHANDLER": "1", **(environment or {})}
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def app(self) -> Path:
        """The app it runs."""
        assert self._app is not None, "it serves tables and runs no app"
        return self._app

    @property
    def url(self) -> str:
        """Its endpoint URL, for SDKs."""
        return f"http://{self.address}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._running().pid

    @property
    def forked(self) -> list[int]:
        """The ids of the processes that it has forked to run its app."""
        return [*map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())]

    def start(self) -> EngineUnderTest:
        """Start it and wait until it listens."""
        what = ["serve"] if self._app is None else ["run", str(self._app)]
        command = [sys.executable, "-m", "afterwrite", *what, "--data", str(self.data)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--listen", self.address, "--json", *self._options],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )
        output = cast("IO[bytes]", self._process.stdout)
        with DefaultSelector() as selector:
            selector.register(output, EVENT_READ)
            line = output.readline() if selector.select(BOUND_S) else b""
        if not line:
            raise AssertionError(f"the engine did not listen within {BOUND_S:g} s: {self.abort()}")
        self.address = json.loads(line)["listening"]
        return self

    def kill(self) -> None:
        """SIGKILL: it gets no chance to finish anything."""
        if self._process is not None:
            self._process.kill()
            self._ended(self._process)

    def abort(self) -> str:
        """End an engine that hangs; its exit status and the end of its log, which says where its threads were."""
        process = self._running()
        process.send_signal(signal.SIGABRT)
        return f"status {self._ended(process)}\n{self.log.read_text()[-5000:]}"

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        return self._ended(process)

    def call(self, operation: str, body: Mapping[str, Any], *, service: str = "DynamoDB_20120810") -> dict[str, Any]:
        """Send one request and return the answer's body. Fails the test where the status is not 200."""
        status, answer = self.exchange(operation, body, service=service)
        assert status == 200, f"{operation}: {status} {answer}"
        return answer

    def exchange(
        self, operation: str, body: Mapping[str, Any], *, service: str = "DynamoDB_20120810"
    ) -> tuple[int, dict[str, Any]]:
        """Send one request and return the answer's status and body, whatever they are; no body is an empty one."""
        connection = http.client.HTTPConnection(self.address, timeout=BOUND_S)
        try:
            headers = {"X-Amz-Target": f"{service}.{operation}", "Content-Type": "application/x-amz-json-1.0"}
            connection.request("POST", "/", json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"{}")
        finally:
            connection.close()

    def put(self, table: str, **item: Any) -> None:
        """Put an item whose attributes are text, or already in the wire form."""
        wire = {name: {"S": value} if isinstance(value, str) else value for name, value in item.items()}
        self.call("PutItem", {"TableName": table, "Item": wire})

    def __enter__(self) -> EngineUnderTest:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start the engine first"
        return self._process

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(timeout=BOUND_S)
        finally:
            cast("IO[bytes]", process.stdout).close()


def wait_until(condition: Callable[[], bool], *, bound_s: float = BOUND_S, what: str = "the condition") -> None:
    """Return when `condition` holds; fail the test where it does not within `bound_s`."""
    deadline = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {bound_s:g} s"
        time.sleep(POLL_S)
