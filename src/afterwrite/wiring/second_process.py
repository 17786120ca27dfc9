"""A second process for an app's routes, functions and files, beside the one that answers and writes.

Python runs one thread of a process at a time, so two of them get more done where there are two cores. The second one is
forked before the first has started a thread or opened a file. They live and die together: what ends the second ends
the first in the same way, and without the first the second ends at once. The second holds the data directory's lock,
too, so that nobody takes the directory before both are gone.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from afterwrite import forks
from afterwrite.app import App
from afterwrite.config import Settings
from afterwrite.errors import AfterwriteError
from afterwrite.local.native import NativeServices
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import Environment
from afterwrite.store.operations import Operations
from afterwrite.store.second_process import (
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
from afterwrite.wiring.seams import Seams
from afterwrite.wiring.server_thread import ServerThread
from afterwrite.wiring.works import Works

_LOG = logging.getLogger("afterwrite")
_GO: Final = b"go"
_LOCKS_MAX: Final = 2
_BEGIN_S_MAX: Final = 60.0
# More than the works take at most to end.
_END_S_MAX: Final = 20.0
_END_POLL_S: Final = 0.005
SETTLE_S: Final = 5.0


class SecondProcess:
    """The second process of an engine, which waits to be begun.

    To be made before any thread. `settle` is called in the process at its begin and then every five seconds. `pid` is
    its number here.
    """

    def __init__(self, app: App, settings: Settings, settle: Callable[[], None]) -> None:
        self._connection, far = socket.socketpair()
        self._shared = Shared()
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._send: Callable[[bytes], None] | None = None
        self._stopping = False
        self.pid = os.fork()
        if not self.pid:
            self._connection.close()
            _be_second(app, settings, settle, far, self._shared)
        far.close()

    def begin(
        self, environment: Environment, operations: Operations, server: ServerThread, locks: Sequence[int]
    ) -> None:
        """Have it run the app on the store of this process; `locks` hold the directory. Raises what hinders it."""

        def taker(send: Callable[[bytes], None]) -> Callable[[bytes], None]:
            first, frames = FirstProcess(environment, operations.prepare, send), Frames(self._shared.sent)

            def take(piece: bytes) -> None:
                for told in frames.take(piece):
                    if isinstance(told, Begun):
                        self._failure = None if told.failure is None else as_error(told.failure)
                        self._begun.set()
                    else:
                        first.take(told)

            return take

        environment.share(self._shared.settling)
        forks.withhold(self._connection.fileno())
        socket.send_fds(self._connection, [_GO], locks)
        self._connection.setblocking(False)
        self._send = server.adopt(self._connection, taker, self._lost)
        if not self._begun.wait(_BEGIN_S_MAX):
            raise AfterwriteError(f"expected the app to begin within {_BEGIN_S_MAX:.0f} s: start the engine again")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Have it finish what it does, and wait for its end."""
        self._stopping = True
        forks.let_go(self._connection.fileno())
        if self._send is None:  # it waits, and ends with the connection
            self._connection.close()
        else:
            self._send(frame(Stop()))
        if not self._has_ended(_END_S_MAX):
            _LOG.warning("the app's process does not end: it is killed, what it ran runs again at the next start")
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _has_ended(self, wait_s: float) -> bool:
        """Whether it ends within `wait_s`."""
        deadline_s = time.monotonic() + wait_s
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_END_POLL_S)
        return True

    def _lost(self) -> None:
        """End as the second process has ended: what it ran is with it, and nobody would know when to run it again."""
        if self._stopping:
            return
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        _LOG.critical("the app's process has ended, and the engine with it", extra={"fields": {"exit_code": code}})
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code or 1)


def _be_second(
    app: App, settings: Settings, settle: Callable[[], None], connection: socket.socket, shared: Shared
) -> NoReturn:
    """What the forked process does, until its end."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # the first process says when to stop
            signal.signal(number, signal.SIG_IGN)
        told, locks, _, _ = socket.recv_fds(connection, len(_GO), _LOCKS_MAX)
        for descriptor in (connection.fileno(), *locks):
            forks.withhold(descriptor)
        if told == _GO:
            _run(app, settings, settle, connection, shared)
        status = 0
    except BaseException:  # noqa: BLE001 - nothing of the first process's stack may be unwound here
        _LOG.exception("the app's process failed")
    finally:
        sys.stdout.flush()
        os._exit(status)


def _run(app: App, settings: Settings, settle: Callable[[], None], connection: socket.socket, shared: Shared) -> None:
    settle()
    stopping = threading.Event()
    directory = DataDirectory(settings.data)
    environment = EnvironmentElsewhere(directory.store, connection, shared)
    environment.begin(stopping.set, on_lost=lambda: os._exit(1))
    services = NativeServices(environment, Operations(settings.identity), directory.files, environment.carry_out)
    try:
        works = Works(app, settings, environment, services, Seams())
        works.start()
    except Exception as error:  # noqa: BLE001 - the first process has to hear of it
        environment.tell(Begun(raised(error)))
        stopping.wait()
        return
    environment.tell(Begun(None))
    while not stopping.wait(SETTLE_S):
        settle()
    works.stop()
