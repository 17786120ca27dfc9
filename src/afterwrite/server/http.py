"""A small HTTP/1.1 server for the AWS JSON protocols; it knows HTTP and no service.

It must not know what a request asks for: a handler turns a `Request` into a `Response`, at once or later. What is
promised of each connection is kept in `http_connection`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from asyncio.trsock import TransportSocket
from collections.abc import Iterable

from afterwrite import forks
from afterwrite.accelerators import library
from afterwrite.server.front import Front, TakeTogether
from afterwrite.server.http_connection import Connection
from afterwrite.server.http_messages import Handler, Renderer, Request, Respond, Response

__all__ = ["Handler", "HttpServer", "Request", "Respond", "Response"]

MIB = 1024 * 1024

# The loop accepts one connection a round for each file descriptor that listens. While those that are connected ask for
# much, a round is long, and many that connect together would wait for as many rounds, each longer than the one before.
_ACCEPTED_A_ROUND = 16
_BACKLOG = 1024


class HttpServer:
    """Listens on one address and hands every request to `handler`, on the loop's thread.

    The handler gets the request and `respond`, which is to be called exactly once, at once or later, on the
    loop's thread (a second call raises RuntimeError). Answers leave in the order of the requests. An
    exception of the handler is logged and answered as InternalServerError. A client that went away is no
    error: its answers are dropped.

    What one connection may ask: `read_timeout_s` bounds the sending of one request and the taking of one
    answer, `idle_timeout_s` the time between requests. Reading pauses while `unanswered_max` requests wait
    for their answers (what one read has brought, 256 KiB at most, is handled all the same). `body_bytes_max`
    counts the body as sent, and again with gzip undone. With `with_front` plain requests are taken by `front`, where
    its library was made; `take_together` takes of them those that it answers alike.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        body_bytes_max: int = 16 * MIB,
        header_bytes_max: int = 64 * 1024,
        unanswered_max: int = 64,
        read_timeout_s: float = 60.0,
        idle_timeout_s: float = 300.0,
        with_front: bool = True,
        take_together: TakeTogether | None = None,
    ) -> None:
        self.handler = handler
        self.take_together = take_together
        self.body_bytes_max = body_bytes_max
        self.header_bytes_max = header_bytes_max
        self.unanswered_max = unanswered_max
        self.read_timeout_s = read_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.connections: set[Connection] = set()
        self.renderer = Renderer()
        self.stopping = False
        self._host = host
        self._port = port
        self._library = library() if with_front else None
        self._fronts: list[Front] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._server: asyncio.Server | None = None
        self._listening: list[asyncio.Server] = []
        self._withheld: list[int] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self.connections) + sum(front.connection_count for front in self._fronts)

    @property
    def asked_count(self) -> int:
        """How many requests that the fronts have received were not answered."""
        return sum(front.asked_count for front in self._fronts)

    def take_at_most(self, count: int | None) -> None:
        """Take no more than `count` of the fronts' requests in a round of the loop; all of them where it is None."""
        for front in self._fronts:
            front.take_at_most(count)

    def take_arrived(self) -> None:
        """Take what has come to the fronts now, and not in the loop's next round."""
        for front in self._fronts:
            front.take_arrived()

    def flush(self) -> None:
        """Send the answers that were given to the fronts, before the round of the loop ends."""
        for front in self._fronts:
            front.flush()

    async def bind(self) -> tuple[str, int]:
        """Take the address, on the running loop, without listening yet; raises OSError where it cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), self._host, self._port, backlog=_BACKLOG, start_serving=False
        )
        self._listening = [self._server]
        for _ in range(1, _ACCEPTED_A_ROUND if self._library is None else 1):
            again = socket.socket(fileno=os.dup(self._server.sockets[0].fileno()))
            self._listening.append(
                await loop.create_server(
                    lambda: Connection(self, loop), sock=again, backlog=_BACKLOG, start_serving=False
                )
            )
        self._withhold(sock for each in self._listening for sock in each.sockets)
        return _address(self._server)

    async def start(self) -> tuple[str, int]:
        """Listen on the address of `bind`, which is called where it was not; returns that address. Raises OSError."""
        address = await self.bind() if self._server is None else _address(self._server)
        if self._library is None:
            for listening in self._listening:
                await listening.start_serving()
        else:
            self._fronts = [self._front(self._library, listener) for listener in self._listening[0].sockets]
        self._sweep(asyncio.get_running_loop())
        return address

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Stop listening, answer the requests that have arrived, close; after `timeout_s` without waiting."""
        if self._server is None:
            return
        self.stopping = True
        deadline = asyncio.get_running_loop().time() + timeout_s
        fronts, self._fronts = self._fronts, []
        for descriptor in self._withheld:
            forks.let_go(descriptor)
        for listening in self._listening:
            listening.close()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._all_closed = asyncio.Event()
        for connection in list(self.connections):
            connection.close_when_answered()
        await asyncio.gather(*(front.stop(timeout_s) for front in fronts))
        if self.connections:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._all_closed.wait()
            except TimeoutError:
                for connection in list(self.connections):
                    connection.abort()
        for listening in self._listening:
            await listening.wait_closed()
        self._listening, self._server = [], None

    def _withhold(self, listeners: Iterable[socket.socket | TransportSocket]) -> None:
        """Keep the address from forks, for which nobody listens."""
        for listener in listeners:
            forks.withhold(listener.fileno())
            self._withheld.append(listener.fileno())

    def _front(self, accelerators: ctypes.CDLL, listener: socket.socket) -> Front:
        listener = socket.socket(fileno=os.dup(listener.fileno()))
        listener.listen(_BACKLOG)
        self._withhold([listener])
        return Front(
            accelerators,
            listener,
            self.handler,
            self._take_over,
            self.renderer,
            take_together=self.take_together,
            header_bytes_max=self.header_bytes_max,
            body_bytes_max=self.body_bytes_max,
            idle_timeout_s=self.idle_timeout_s,
            read_timeout_s=self.read_timeout_s,
        )

    def _take_over(self, client: socket.socket, received: bytes) -> None:
        """Go on with a connection of which `received` was read."""
        loop = asyncio.get_running_loop()
        client.setblocking(False)
        connecting = loop.create_task(loop.connect_accepted_socket(lambda: Connection(self, loop, received), client))
        self._tasks.add(connecting)
        connecting.add_done_callback(self._tasks.discard)

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if self._all_closed is not None and not self.connections:
            self._all_closed.set()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the connections whose time is up."""
        now = loop.time()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.time_is_up()
        period_s = min(self.read_timeout_s, self.idle_timeout_s) / 4
        self._sweep_timer = loop.call_later(min(period_s, 5.0), self._sweep, loop)


def _address(server: asyncio.Server) -> tuple[str, int]:
    address: tuple[str, int] = server.sockets[0].getsockname()[:2]
    return address
