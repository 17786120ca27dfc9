"""Connections that are kept from one request to the next: one a thread, as a function's threads are few and last."""

from __future__ import annotations

import threading
import weakref
from typing import Generic, Protocol, TypeVar


class _Connection(Protocol):
    def close(self) -> None: ...


_C = TypeVar("_C", bound=_Connection)


class Connections(Generic[_C]):
    """The idle connection of each thread. It is closed when its thread ends, or when this is let go."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def take(self) -> _C | None:
        """This thread's idle connection, which is the caller's to close or to keep again."""
        idle: _Idle[_C] | None = self._threads.__dict__.pop("idle", None)
        return None if idle is None else idle.let_go()

    def keep(self, connection: _C) -> None:
        """Keep this thread's connection for the next request."""
        self._threads.idle = _Idle(connection)


class _Idle(Generic[_C]):
    def __init__(self, connection: _C) -> None:
        # The finalizer holds the connection: in a cycle of garbage its socket would come first, with a warning.
        self._end = weakref.finalize(self, connection.close)
        self._end.atexit = False
        self._connection = weakref.ref(connection)

    def let_go(self) -> _C | None:
        connection = self._connection()
        self._end.detach()
        return connection
