"""An engine in a process of its own, with faults that may end it, and that starts again whenever it was ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, Final, cast

import orjson

from afterwrite.errors import AfterwriteError
from afterwrite.testing.faults import At
from afterwrite.testing.installing import read_log
from afterwrite.testing.ports import lasting_port

_READY_S_MAX: Final = 60.0
_STOP_S_MAX: Final = 30.0
_LOG_LINES_SHOWN: Final = 20


class EngineProcess:
    """`afterwrite run APP` on the data directory `data`, with the faults of the `rules`, as a `with` block.

    It listens on the same port over all its starts, and is started again whenever it is killed, by a Crash or by
    `kill`; requests meanwhile find nobody, as SDKs' retries expect. Without rules it runs as users run it, in three
    processes where that pays; rules are installed on one. Its log is `data` with the suffix `.log`, the faults that
    have happened are in the one with the suffix `.faults`. Raises AfterwriteError where it does not start.
    """

    def __init__(
        self,
        app: str | Path,
        data: str | Path,
        rules: Sequence[At] = (),
        *,
        seed: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._app = Path(app)
        self.data = data = Path(data)
        self._log = data.with_name(f"{data.name}.log")
        self._faults = data.with_name(f"{data.name}.faults")
        data.parent.mkdir(parents=True, exist_ok=True)
        self._options: Sequence[str] = ()
        if rules:
            written = data.with_name(f"{data.name}.rules")
            written.write_bytes(orjson.dumps({"seed": seed, "rules": [rule.to_json() for rule in rules]}))
            self._options = ("--faults", str(written))
        self._environment = {**os.environ, **(environment or {})}
        self._address = f"127.0.0.1:{lasting_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        self._watching: threading.Thread | None = None
        self._ending = False
        self._failure: AfterwriteError | None = None
        self._listening = threading.Event()
        self.starts = 0

    @property
    def url(self) -> str:
        """Its endpoint URL, for SDKs."""
        return f"http://{self._address}"

    @property
    def happened(self) -> Counter[str]:
        """How often each fault has happened, by its name, over all starts."""
        return Counter(str(each["fault"]) for each in read_log(self._faults))

    @property
    def pids(self) -> Sequence[int]:
        """Its processes, the one that was started first; none while there is none."""
        if self._process is None:
            return ()
        pid = self._process.pid
        try:
            forked = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:  # it has just ended, or this is no Linux
            forked = ""
        return [pid, *map(int, forked.split())]

    def wait(self, timeout_s: float) -> bool:
        """Whether it listens, or does within `timeout_s`."""
        return self._listening.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL: it gets no chance to finish anything. It starts again."""
        if self._process is not None:
            self._process.kill()

    def check(self) -> None:
        """Raise AfterwriteError where it ended otherwise than by being killed, or could not start again."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """SIGTERM, and wait for its end; it does not start again. Raises AfterwriteError where it failed."""
        self._ending = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        if self._watching is not None:
            self._watching.join(_STOP_S_MAX)
            if self._watching.is_alive():
                self.kill()
                self._watching.join(_STOP_S_MAX)
        self.check()

    def __enter__(self) -> EngineProcess:
        self._start()
        self._watching = threading.Thread(target=self._watch, name="engine-process", daemon=True)
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self.kill()
        if self._watching is not None:
            self._watching.join(_STOP_S_MAX)

    def _start(self) -> None:
        command = [sys.executable, "-m", "afterwrite", "run", str(self._app), "--data", str(self.data), "--json"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own command
                [*command, "--listen", self._address, *self._options],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )
        self._process = process
        self.starts += 1
        output = cast("IO[bytes]", process.stdout)
        with DefaultSelector() as selector:
            selector.register(output, EVENT_READ)
            in_time = bool(selector.select(_READY_S_MAX))
        line = output.readline() if in_time else b""
        if line:
            self._address = orjson.loads(line)["listening"]
            self._listening.set()
            return
        if not in_time:
            process.terminate()
        # Killed while it started, it starts again; what else ends it is a failure.
        if (code := process.wait()) != -signal.SIGKILL and not self._ending:
            output.close()
            what = f"ended with {code} before it listened" if in_time else f"did not listen within {_READY_S_MAX:g} s"
            end = "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
            raise AfterwriteError(f"the engine {what}; the end of its log:\n{end}")

    def _watch(self) -> None:
        while True:
            process = cast("subprocess.Popen[bytes]", self._process)
            with cast("IO[bytes]", process.stdout) as output:
                for _ in output:
                    pass
            self._listening.clear()
            code = process.wait()
            if self._ending:
                return
            if code != -signal.SIGKILL:
                self._failure = AfterwriteError(f"the engine ended with {code}: see {self._log}")
                return
            try:
                self._start()
            except AfterwriteError as error:
                self._failure = error
                return
