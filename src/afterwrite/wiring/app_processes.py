"""Processes for an app's routes, functions and files, beside the one that answers and writes.

Python runs one thread of a process at a time, so several of them get more done where there are several cores. The
others are forked before the first has started a thread or opened a file. They live and die together: what ends one of
them ends the first in the same way, and without the first the others end at once. Each holds the data directory's
lock, so that nobody takes the directory before all are gone.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from afterwrite import forks
from afterwrite.app import App
from afterwrite.config import Settings
from afterwrite.errors import AfterwriteError
from afterwrite.local.native import NativeServices
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import Environment
from afterwrite.store.operations import Operations
from afterwrite.store.other_processes import (
    Begun,
    EnvironmentElsewhere,
    FirstProcess,
    Frames,
    Shared,
    Stop,
    as_error,
    frame,
    raised,
)
from afterwrite.store.settling import Settling
from afterwrite.wiring.seams import Seams
from afterwrite.wiring.server_thread import ServerThread
from afterwrite.wiring.works import Part, Works

_LOG = logging.getLogger("afterwrite")
_GO: Final = b"go"
_LOCKS_MAX: Final = 2
_BEGIN_S_MAX: Final = 60.0
# More than the works take at most to end.
_END_S_MAX: Final = 20.0
_END_POLL_S: Final = 0.005
SETTLE_S: Final = 5.0


class AppProcesses:
    """The processes that run an app beside the first one, each some parts of it; they wait to be begun.

    To be made before any thread. They begin one after the other in the order of `divided`, which has for each the
    function that is called in it at its begin and then every five seconds, to settle on a core.
    """

    def __init__(self, app: App, settings: Settings, divided: Mapping[frozenset[Part], Callable[[], None]]) -> None:
        self._settling = Settling()
        self._processes: list[AppProcess] = []
        for parts, settle in divided.items():
            self._processes.append(AppProcess(app, settings, parts, settle, Shared(self._settling)))

    def pid_of(self, part: Part) -> int:
        """The number of the process that runs `part`."""
        return next(process.pid for process in self._processes if part in process.parts)

    def begin(
        self, environment: Environment, operations: Operations, server: ServerThread, locks: Sequence[int]
    ) -> None:
        """Have them run the app on the store of this process; `locks` hold the directory. Raises what hinders one."""
        environment.share(self._settling)
        for process in self._processes:
            process.begin(environment, operations, server, locks)

    def stop(self) -> None:
        """Have them finish what they do, and wait for their end."""
        deadline_s = time.monotonic() + _END_S_MAX
        for process in self._processes:
            process.ask_to_stop()
        for process in self._processes:
            process.end(deadline_s)


class AppProcess:
    """A process for `parts` of an app. `pid` is its number."""

    def __init__(
        self, app: App, settings: Settings, parts: frozenset[Part], settle: Callable[[], None], shared: Shared
    ) -> None:
        self._app = app
        self._settings = settings
        self.parts = parts
        self._settle = settle
        self._shared = shared
        self._connection, far = socket.socketpair()
        # From those that are forked later, too: as long as they lived, this one would not see that the first has ended.
        forks.withhold(self._connection.fileno())
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._send: Callable[[bytes], None] | None = None
        self._stopping = False
        self.pid = os.fork()
        if not self.pid:
            self._be(far)
        far.close()

    def begin(
        self, environment: Environment, operations: Operations, server: ServerThread, locks: Sequence[int]
    ) -> None:
        """Have it run its parts on the store of this process; `locks` hold the directory. Raises what hinders it."""

        def taker(send: Callable[[bytes], None]) -> Callable[[bytes], None]:
            first, frames = FirstProcess(environment, operations.prepare, send), Frames(self._shared.sent)

            def take(piece: bytes) -> None:
                for told in frames.take(piece):
                    if isinstance(told, Begun):
                        first.tell_only(told.signals, catalog=told.catalog)
                        self._failure = None if told.failure is None else as_error(told.failure)
                        self._begun.set()
                    else:
                        first.take(told)

            return take

        try:
            socket.send_fds(self._connection, [_GO], locks)
        except OSError:  # it was killed while it waited
            self._lost()
        self._connection.setblocking(False)
        self._send = server.adopt(self._connection, taker, self._lost)
        if not self._begun.wait(_BEGIN_S_MAX):
            raise AfterwriteError(f"expected the app to begin within {_BEGIN_S_MAX:.0f} s: start the engine again")
        if self._failure is not None:
            raise self._failure

    def ask_to_stop(self) -> None:
        """Have it finish what it does, and end."""
        self._stopping = True
        forks.let_go(self._connection.fileno())
        if self._send is None:  # it waits, and ends with the connection
            self._connection.close()
        else:
            self._send(frame(Stop()))

    def end(self, deadline_s: float) -> None:
        """Wait for its end until the time `deadline_s` (monotonic), then kill it."""
        if not self._has_ended(deadline_s):
            _LOG.warning("the app's process does not end: it is killed, what it ran runs again at the next start")
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _has_ended(self, deadline_s: float) -> bool:
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_END_POLL_S)
        return True

    def _lost(self) -> None:
        """End as the process has ended: what it ran is with it, and nobody would know when to run it again."""
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        fields = {"parts": sorted(part.value for part in self.parts), "exit_code": code}
        _LOG.critical("the app's process has ended, and the engine with it", extra={"fields": fields})
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code or 1)

    def _be(self, connection: socket.socket) -> NoReturn:
        """What the forked process does, until its end."""
        status = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM):  # the first process says when to stop
                signal.signal(number, signal.SIG_IGN)
            told, locks, _, _ = socket.recv_fds(connection, len(_GO), _LOCKS_MAX)
            for descriptor in (connection.fileno(), *locks):
                forks.withhold(descriptor)
            if told == _GO:
                self._run(connection)
            status = 0
        except BaseException:  # noqa: BLE001 - nothing of the first process's stack may be unwound here
            _LOG.exception("the app's process failed")
        finally:
            sys.stdout.flush()
            os._exit(status)

    def _run(self, connection: socket.socket) -> None:
        self._settle()
        stopping = threading.Event()
        directory = DataDirectory(self._settings.data)
        environment = EnvironmentElsewhere(directory.store, connection, self._shared)
        environment.begin(stopping.set, on_lost=lambda: os._exit(1))
        operations = Operations(self._settings.identity)
        services = NativeServices(environment, operations, directory.files, environment.carry_out)
        try:
            works = Works(self._app, self._settings, environment, services, Seams(), self.parts)
            works.start()
        except Exception as error:  # noqa: BLE001 - the first process has to hear of it
            environment.tell(Begun(raised(error), frozenset(), catalog=False))
            stopping.wait()
            return
        environment.tell(Begun(None, environment.signals.watched, catalog=Part.FLOWS in self.parts))
        while not stopping.wait(SETTLE_S):
            self._settle()
        works.stop()
