"""Where requests go, and connections that are kept from one to the next: one a thread, as those are few and last."""

from __future__ import annotations

import threading
import weakref
from typing import Generic, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from afterwrite.errors import DeclarationError


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


def split_url(url: str) -> SplitResult:
    """The parts of a declared URL. Raises DeclarationError, whose words leave out the URL: it may hold secrets."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise DeclarationError(
            "expected a URL of the form SCHEME://HOST:PORT/PATH with a port from 0 to 65535"
        ) from None
    return parts
