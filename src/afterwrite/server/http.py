"""A small HTTP/1.1 server for the AWS JSON protocols; it knows HTTP and no service.

It must not know what a request asks for: a handler turns a `Request` into a `Response`, at once or later.
This module keeps the promises of the connection: answers in the order of the requests, bounded bodies,
bounded waiting, and an answer to everything that could be read as a request.

    bytes in -> parser -> Request -> handler ... respond -> Response -> bytes out
                  |                                            ^
                  +-- what cannot be a request: refused, and the connection ends
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import socket
from collections import deque
from math import inf
from typing import NoReturn, cast

import httptools

from afterwrite.accelerators import library
from afterwrite.server.front import Front, TakeTogether
from afterwrite.server.http_messages import (
    INTERNAL_ERROR,
    Handler,
    Refusal,
    Renderer,
    Request,
    Respond,
    Response,
    add_header,
    body_too_large,
    decode_body,
    refused,
)

__all__ = ["Handler", "HttpServer", "Request", "Respond", "Response"]

logger = logging.getLogger(__name__)

MIB = 1024 * 1024

_CLOSE = b"Connection: close\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WRITE_BUFFER_BYTES = 256 * 1024

_HEADERS_TOO_LARGE = Refusal(431, "RequestHeaderFieldsTooLargeException", "The request's headers are too large")
_NO_UPGRADE = Refusal(400, "BadRequestException", "expected HTTP/1.1, came an upgrade to another protocol")
_NO_EXPECTATION = Refusal(417, "ExpectationFailedException", "expected Expect: 100-continue or none")

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
        self.connections: set[_Connection] = set()
        self.renderer = Renderer()
        self.stopping = False
        self._host = host
        self._port = port
        self._library = library() if with_front else None
        self._fronts: list[Front] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._server: asyncio.Server | None = None
        self._listening: list[asyncio.Server] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self.connections) + sum(front.connection_count for front in self._fronts)

    async def bind(self) -> tuple[str, int]:
        """Take the address, on the running loop, without listening yet; raises OSError where it cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, loop), self._host, self._port, backlog=_BACKLOG, start_serving=False
        )
        self._listening = [self._server]
        for _ in range(1, _ACCEPTED_A_ROUND if self._library is None else 1):
            again = socket.socket(fileno=os.dup(self._server.sockets[0].fileno()))
            self._listening.append(
                await loop.create_server(
                    lambda: _Connection(self, loop), sock=again, backlog=_BACKLOG, start_serving=False
                )
            )
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

    def _front(self, accelerators: ctypes.CDLL, listener: socket.socket) -> Front:
        listener = socket.socket(fileno=os.dup(listener.fileno()))
        listener.listen(_BACKLOG)
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
        connecting = loop.create_task(loop.connect_accepted_socket(lambda: _Connection(self, loop, received), client))
        self._tasks.add(connecting)
        connecting.add_done_callback(self._tasks.discard)

    def closed(self, connection: _Connection) -> None:
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


class _Exchange:
    """One request's place in the order of its connection, and its answer once there is one."""

    __slots__ = ("_connection", "accept_encoding", "connection_header", "payload", "with_body")

    def __init__(
        self, connection: _Connection, connection_header: bytes, with_body: bool, accept_encoding: bytes = b""
    ) -> None:
        self._connection = connection
        self.connection_header = connection_header
        self.with_body = with_body
        self.accept_encoding = accept_encoding
        self.payload: bytes | None = None

    def respond(self, response: Response) -> None:
        if self.payload is not None:
            raise RuntimeError("expected one answer to a request, a second came: call respond once")
        self._connection.answer(self, response)


class _Connection(asyncio.Protocol):
    """One client's connection: the parser's callbacks on one side, the answers in order on the other."""

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop, received: bytes = b"") -> None:
        self.deadline = inf
        self._received = received  # before this connection was made
        self._server = server
        self._handler = server.handler
        self._loop = loop
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._unanswered: deque[_Exchange] = deque()
        self._feeding = False  # inside the parser: answers wait, to leave together
        self._reading = False  # a request has begun and is not complete
        self._in_body = False
        self._deaf = False  # what still arrives is discarded
        self._refused = False
        self._ended_by_client = False
        self._lost = False
        self._reading_paused = False
        self._write_blocked = False
        self._read_bytes = 0  # of the read that is being parsed
        self._first_read_bytes = 0  # of the read in which the present request began
        self._raw_bytes = 0  # of the present request, in the reads after its first
        self._path = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""

    # --- the transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._server.connections.add(self)
        self.deadline = self._loop.time() + self._server.read_timeout_s
        if self._server.stopping:
            self.abort()
        elif self._received:
            self.data_received(self._received)
            self._received = b""

    def connection_lost(self, _exc: Exception | None) -> None:
        self._lost = True
        self._deaf = True
        self._unanswered.clear()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._read_bytes = len(data)
        self._raw_bytes += self._read_bytes
        self._feeding = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(Refusal(400, "BadRequestException", f"expected an HTTP/1.1 request: {error}"))
        finally:
            self._feeding = False
        if self._reading and self._raw_bytes > self._server.header_bytes_max and not self._deaf:
            self._check_raw_bytes()
        if self._unanswered:
            self._flush()
            if len(self._unanswered) >= self._server.unanswered_max:
                self._adjust_reading()

    def eof_received(self) -> bool:
        """A client may end its side and still wait for its answers."""
        self._ended_by_client = True
        self.close_when_answered()
        return bool(self._unanswered)

    def pause_writing(self) -> None:
        self._write_blocked = True
        self._adjust_reading()

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._adjust_reading()

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._reading = True
        self._in_body = False
        self._first_read_bytes = self._read_bytes
        self._raw_bytes = 0
        self._path = b""
        self._headers = {}
        self._body = b""
        self.deadline = self._loop.time() + self._server.read_timeout_s

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            return  # trailers say nothing that a request of these protocols needs
        add_header(self._headers, name, value)

    def on_headers_complete(self) -> None:
        self._in_body = True
        headers = self._headers
        if self._first_read_bytes + self._raw_bytes > self._server.header_bytes_max:
            size = len(self._path) + sum(len(name) + len(value) for name, value in headers.items())
            if size > self._server.header_bytes_max:
                self._stop_parsing(_HEADERS_TOO_LARGE)
        if self._parser.should_upgrade():
            self._stop_parsing(_NO_UPGRADE)
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._server.body_bytes_max:
            self._stop_parsing(body_too_large(self._server.body_bytes_max))
        expect = headers.get(b"expect")
        if expect is not None and self._parser.get_http_version() == "1.1":
            if expect.lower() != b"100-continue":
                self._stop_parsing(_NO_EXPECTATION)
            go_on = _Exchange(self, b"", with_body=False)
            go_on.payload = _CONTINUE
            self._unanswered.append(go_on)

    def on_body(self, piece: bytes) -> None:
        if not self._body:
            self._body = piece
        else:
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += piece
        if len(self._body) > self._server.body_bytes_max:
            self._stop_parsing(body_too_large(self._server.body_bytes_max))

    def on_message_complete(self) -> None:
        self._reading = False
        self.deadline = inf
        headers = self._headers
        method = self._parser.get_method()
        if not self._parser.should_keep_alive():
            connection_header = _CLOSE
            self._deaf = True
        else:
            connection_header = _KEEP_ALIVE if b"connection" in headers else b""
        exchange = _Exchange(self, connection_header, method != b"HEAD", headers.get(b"accept-encoding", b""))
        self._unanswered.append(exchange)
        sent_body = body = self._body if isinstance(self._body, bytes) else bytes(self._body)
        self._body = b""
        if b"content-encoding" in headers:
            decoded = decode_body(body, headers[b"content-encoding"], self._server.body_bytes_max)
            if isinstance(decoded, Refusal):
                exchange.respond(refused(decoded))
                return
            body = decoded
        try:
            self._handler(Request(method, self._path, headers, body, sent_body), exchange.respond)
        except Exception:
            logger.exception("the handler of a request failed; it is answered as InternalServerError")
            if exchange.payload is None:
                exchange.respond(refused(INTERNAL_ERROR))

    # --- answers

    def answer(self, exchange: _Exchange, response: Response) -> None:
        """Take the answer of `exchange`, and send what is now due."""
        if self._lost:
            exchange.payload = b""
            return
        header = _CLOSE if self._server.stopping else exchange.connection_header
        exchange.payload = self._server.renderer.render(
            response, connection_header=header, with_body=exchange.with_body, accept_encoding=exchange.accept_encoding
        )
        if not self._feeding and self._unanswered[0] is exchange:
            self._flush()

    def close_when_answered(self) -> None:
        """Read nothing more; close once every request that has arrived is answered."""
        self._deaf = True
        self._reading = False
        self._adjust_reading()
        if not self._unanswered:
            self._transport.close()

    def abort(self) -> None:
        """Close without waiting for anything."""
        self._lost = True
        self._transport.abort()

    def time_is_up(self) -> None:
        """The deadline has passed: refuse a request that is half read, else end the connection."""
        if self._reading and not self._deaf and not self._write_blocked:
            wait_s = self._server.read_timeout_s
            message = f"expected the whole request within {wait_s:g} s"
            self._refuse(Refusal(408, "RequestTimeoutException", message))
            self._flush()
        elif self._write_blocked or self._deaf:
            self.abort()
        else:
            self._deaf = True
            self._end()

    def _flush(self) -> None:
        """Send the answers that are due, those at the front, in one go."""
        unanswered = self._unanswered
        payloads: list[bytes] = []
        while unanswered and (payload := unanswered[0].payload) is not None:
            payloads.append(payload)
            unanswered.popleft()
        if len(payloads) == 1:
            self._transport.write(payloads[0])
        elif payloads:
            self._transport.writelines(payloads)
        if self._reading_paused:
            self._adjust_reading()
        if not unanswered:
            if self._deaf:
                self._end()
            elif not self._reading and not self._write_blocked:
                self.deadline = self._loop.time() + self._server.idle_timeout_s

    def _end(self) -> None:
        self.deadline = self._loop.time() + self._server.read_timeout_s
        if self._refused and not self._ended_by_client:
            # Closing with bytes unread would reset the connection, and the client might never see why it was
            # refused: end our side only, and discard what it still sends until it hears, or its time is up.
            self._transport.write_eof()
        else:
            self._transport.close()

    def _adjust_reading(self) -> None:
        """Pause or resume reading as the answers and the client's taking of them allow."""
        server = self._server
        full = len(self._unanswered) >= server.unanswered_max
        pause = (full or self._write_blocked) and not self._deaf
        if pause != self._reading_paused and not self._transport.is_closing():
            self._reading_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
        ending = self._deaf and not self._unanswered
        if self._write_blocked or ending or (self._reading and not pause):
            self.deadline = self._loop.time() + server.read_timeout_s
        else:
            self.deadline = inf if self._unanswered else self._loop.time() + server.idle_timeout_s

    # --- refusals: what is answered without being a request, and ends the connection

    def _check_raw_bytes(self) -> None:
        server = self._server
        if not self._in_body:
            self._refuse(_HEADERS_TOO_LARGE)
        elif self._raw_bytes > server.header_bytes_max + 2 * server.body_bytes_max:
            # The body is within its limit: what is too large are chunk headers and trailers.
            self._refuse(body_too_large(server.body_bytes_max))

    def _stop_parsing(self, refusal: Refusal) -> NoReturn:
        """Refuse from inside a callback of the parser."""
        self._refuse(refusal)
        raise httptools.HttpParserError(refusal.code)

    def _refuse(self, refusal: Refusal) -> None:
        """Queue a refusal behind the answers before it; whoever called the parser sends what is due."""
        exchange = _Exchange(self, _CLOSE, with_body=True)
        exchange.payload = self._server.renderer.render(refused(refusal), connection_header=_CLOSE)
        self._unanswered.append(exchange)
        self._deaf = self._refused = True
        self._reading = False
        self._body = b""
        self._adjust_reading()
