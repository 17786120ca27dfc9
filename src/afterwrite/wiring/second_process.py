"""A second process for an app's routes, functions and files, beside the one that answers and writes.

Python runs one thread of a process at a time; so two processes get twice as much done where there are two cores. The
second is forked before the first has opened anything. It holds the data directory's lock, too: who starts the engine
again finds the directory in use until both are gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

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
_BEGIN_S_MAX: Final = 60.0
# More than the works take at most to end.
_END_S_MAX: Final = 20.0
_END_POLL_S: Final = 0.01


class SecondProcess:
    """The second process of an engine, waiting from now on until the first one has `begin` it.

    To be made before any thread. `on_lost` is called, on any thread, when the process ends unasked.
    """

    def __init__(self, app: App, settings: Settings, on_lost: Callable[[], None]) -> None:
        self._connection, far = socket.socketpair()
        self._on_lost = on_lost
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self.is_lost = False
        self.pid = os.fork()
        if not self.pid:
            self._connection.close()
            _be_second(app, settings, far)
        far.close()

    def begin(self, environment: Environment, operations: Operations, server: ServerThread, lock: int) -> None:
        """Have it run the app, on the store of this process; `lock` holds the directory. Raises what hinders it."""
        frames = Frames()
        first: FirstProcess

        def take(piece: bytes) -> None:
            for told in frames.take(piece):
                if isinstance(told, Begun):
                    self._failure = told.failure
                    self._begun.set()
                else:
                    first.take(told)

        socket.send_fds(self._connection, [_GO], [lock])
        self._connection.setblocking(False)
        self._send = server.adopt(self._connection, take, self._lost)
        first = FirstProcess(environment, operations.prepare, self._send)
        if not self._begun.wait(_BEGIN_S_MAX):
            raise AfterwriteError(
                f"the app's process has not begun within {_BEGIN_S_MAX:.0f} s: start the engine again"
            )
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Have it finish what it does, and wait for its end."""
        self._stopping = True
        if not self.is_lost:
            self._send(frame(Stop()))
        deadline_s = time.monotonic() + _END_S_MAX
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline_s:
                    _LOG.warning("the app's process does not end: it is killed, its functions run again at the start")
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(_END_POLL_S)

    def _lost(self) -> None:
        self.is_lost = True
        if not self._begun.is_set():
            self._failure = AfterwriteError("the app's process has ended: what it said is above")
            self._begun.set()
        elif not self._stopping:
            _LOG.critical("the app's process has ended: the engine stops")
            self._on_lost()


def _be_second(app: App, settings: Settings, connection: socket.socket) -> None:
    """What the forked process does, from its begin to its end."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # the first process says when to stop
            signal.signal(number, signal.SIG_IGN)
        told, _lock, _, _ = socket.recv_fds(connection, len(_GO), 1)
        if told == _GO:
            _run(app, settings, connection)
            status = 0
    except BaseException:  # noqa: BLE001 - nothing of the first process's stack may be unwound here
        _LOG.exception("the app's process fails")
    finally:
        sys.stdout.flush()
        os._exit(status)


def _run(app: App, settings: Settings, connection: socket.socket) -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    others = os.sched_getaffinity(0) - os.sched_getaffinity(os.getppid())
    if others: os.sched_setaffinity(0, {min(others)})
    stopping = threading.Event()
    directory = DataDirectory(settings.data)
    environment = EnvironmentElsewhere(directory.store, connection)
    # Without the first process nothing can be written: as if this one were killed with it.
    environment.begin(stopping.set, on_lost=lambda: os._exit(1))
    operations = Operations(settings.identity)
    services = NativeServices(environment, operations, directory.files, environment.carry_out)
    try:
        works = Works(app, settings, environment, services, Seams())
        works.start()
    except Exception as error:  # noqa: BLE001 - the first process has to hear of it
        environment.tell(Begun(as_error(raised(error))))
        return
    environment.tell(Begun(None))
    stopping.wait()
    works.stop()
