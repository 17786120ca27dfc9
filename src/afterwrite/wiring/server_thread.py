"""The HTTP server in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

import uvloop

from afterwrite.config import Settings
from afterwrite.errors import AfterwriteError
from afterwrite.server.commit_turns import CommitTurns
from afterwrite.server.front import TakeTogether
from afterwrite.server.http import Handler, HttpServer, Request, Respond

_START_TIMEOUT_S = 30.0
_SERVER_STOP_S_MAX = 10.0
T = TypeVar("T")


def _refuse(_request: Request, _respond: Respond) -> None:
    raise AfterwriteError("the server does not serve yet")


class _Link(asyncio.Protocol):
    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.WriteTransport | None = None
        self._unsent: list[bytes] = []  # before there is a transport
        self.take: Callable[[bytes], None]

    def send(self, content: bytes) -> None:
        if self._transport is None:
            self._unsent.append(content)
        elif not self._transport.is_closing():  # who has gone needs to hear nothing
            self._transport.write(content)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.writelines(self._unsent)

    def data_received(self, data: bytes) -> None:
        self.take(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - however it was lost
        self._on_lost()


class ServerThread:
    """The HTTP server on an event loop in a thread of its own. For one start."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = HttpServer(_refuse, host=settings.host, port=settings.port or 0)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()

    def bind(self) -> tuple[str, int]:
        """Take the address; nobody is answered yet. Raises AfterwriteError where it cannot be had."""
        return self._await(self._server.bind())

    def serve(self, handler: Handler, take_together: TakeTogether | None) -> None:
        """Listen, and answer by `handler`. Raises AfterwriteError where the address cannot be had.

        `take_together` takes of requests those that it answers alike.
        """
        self._server.handler = handler
        self._server.take_together = take_together
        self._await(self._server.start())

    def stop(self) -> None:
        """Answer what has arrived, and end the thread. May be called again."""
        if self._thread.is_alive():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(_SERVER_STOP_S_MAX)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SERVER_STOP_S_MAX)

    def run_soon(self, action: Callable[[], None]) -> None:
        """Run `action` on the server's thread, at once where this is it; nothing where that has ended."""
        if threading.get_ident() == self._thread.ident:
            action()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    def adopt(
        self,
        connection: socket.socket,
        taker: Callable[[Callable[[bytes], None]], Callable[[bytes], None]],
        on_lost: Callable[[], None],
    ) -> Callable[[bytes], None]:
        """Have the thread take what comes by a connection; what is given back sends, on any thread.

        `taker` is called with that before anything can come, and gives back what takes.
        """
        link = _Link(on_lost)

        def send(content: bytes) -> None:
            self.run_soon(lambda: link.send(content))

        link.take = taker(send)
        self._await(self._loop.connect_accepted_socket(lambda: link, connection))
        return send

    def waker(self, commit: Callable[[], bool], waiting: Callable[[], int]) -> Callable[[], None]:
        """What makes `commit` run on the server's thread, in `CommitTurns`."""
        loop, thread_id = self._loop, self._thread.ident
        turns = CommitTurns(loop, self._server, commit, waiting)

        def wake() -> None:
            if threading.get_ident() == thread_id:
                loop.call_soon(turns.gather)
            else:
                loop.call_soon_threadsafe(turns.gather)

        return wake

    def take_arrived(self) -> None:
        """Take the requests that have come, on the server's thread, and answer those that need no commit."""
        self._server.take_arrived()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_TIMEOUT_S)
        except OSError as error:
            raise AfterwriteError(
                f"cannot listen on {self._settings.host}:{self._settings.port} ({error}): "
                "choose another address with --listen, port 0 for a free one"
            ) from error

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()
