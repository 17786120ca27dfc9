"""One client's connection: what arrives becomes requests, and their answers leave in the requests' order.

This module keeps the promises of the connection: answers in the order of the requests, bounded bodies,
bounded waiting, and an answer to everything that could be read as a request.

    bytes in -> parser -> Request -> handler ... respond -> Response -> bytes out
                  |                                            ^
                  +-- what cannot be a request: refused, and the connection ends
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from math import inf
from typing import NoReturn, Protocol, cast

import httptools

from afterwrite.server.http_messages import (
    INTERNAL_ERROR,
    Handler,
    Refusal,
    Renderer,
    Request,
    Response,
    add_header,
    body_too_large,
    decode_body,
    refused,
)

_LOG = logging.getLogger("afterwrite")

_CLOSE = b"Connection: close\r\n"
_KEEP_ALIVE = b"Connection: keep-alive\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WRITE_BUFFER_BYTES = 256 * 1024

_HEADERS_TOO_LARGE = Refusal(431, "RequestHeaderFieldsTooLargeException", "The request's headers are too large")
_NO_TUNNEL = Refusal(400, "BadRequestException", "expected a request, came CONNECT")
_NO_EXPECTATION = Refusal(417, "ExpectationFailedException", "expected Expect: 100-continue or none")
# What a client of HTTP/2 begins with reads as a request with this method.
_METHOD_OF_HTTP_2 = b"PRI"
_HTTP_1_1_REQUIRED = 13


def _http_2_frame(kind: int, payload: bytes) -> bytes:
    """A frame of the whole connection's (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3) + bytes((kind, 0)) + bytes(4) + payload


# SETTINGS, which come first, and GOAWAY: no stream, an error, and why (sections 6.5, 6.8 and 7).
_NO_HTTP_2 = _http_2_frame(4, b"") + _http_2_frame(
    7, bytes(4) + _HTTP_1_1_REQUIRED.to_bytes(4) + b"expected HTTP/1.1, came HTTP/2"
)


class Listener(Protocol):
    """What a connection needs of the server that it belongs to."""

    handler: Handler
    renderer: Renderer
    connections: set[Connection]
    stopping: bool
    body_bytes_max: int
    header_bytes_max: int
    unanswered_max: int
    read_timeout_s: float
    idle_timeout_s: float

    def closed(self, connection: Connection) -> None:
        """A connection has ended."""
        ...


class _Exchange:
    """One request's place in the order of its connection, and its answer once there is one."""

    __slots__ = ("_connection", "accept_encoding", "connection_header", "payload", "with_body")

    def __init__(
        self, connection: Connection, connection_header: bytes, with_body: bool, accept_encoding: bytes = b""
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


class Connection(asyncio.Protocol):
    """One client's connection: the parser's callbacks on one side, the answers in order on the other."""

    def __init__(self, server: Listener, loop: asyncio.AbstractEventLoop, received: bytes = b"") -> None:
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
        self._asks_for_upgrade = False  # the head that has just been read
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
        """The client is connected."""
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
        """It is gone: what is not answered yet never is."""
        self._lost = True
        self._deaf = True
        self._unanswered.clear()
        self._server.closed(self)

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, and send what is answered at once."""
        if self._deaf:
            return
        self._read_bytes = len(data)
        self._raw_bytes += self._read_bytes
        self._feeding = True
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if self._deaf:
                pass
            elif self._parser.get_method() == _METHOD_OF_HTTP_2:
                self._refuse_with(_NO_HTTP_2)
            else:
                self._refuse(Refusal(400, "BadRequestException", f"expected an HTTP/1.1 request: {error}"))
        finally:
            self._feeding = False
        if self._reading and self._raw_bytes > self._server.header_bytes_max and not self._deaf:
            self._check_raw_bytes()
        if self._unanswered:
            self._flush()
            if len(self._unanswered) >= self._server.unanswered_max:
                self._adjust_reading()

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as left_off:
                # Behind the head of a request that asks for another protocol. It gets none: its head is read again,
                # as if it did not ask, and then its body.
                rest = rest[left_off.args[0] :]
                head = self._head_without_upgrade()
                self._parser = httptools.HttpRequestParser(self)
                self._asks_for_upgrade = False
                self._parser.feed_data(head)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        first = b"%s %s HTTP/%s\r\n" % (
            self._parser.get_method(),
            self._path,
            self._parser.get_http_version().encode(),
        )
        headers = (b"%s: %s\r\n" % each for each in self._headers.items() if each[0] != b"upgrade")
        return first + b"".join(headers) + b"\r\n"

    def eof_received(self) -> bool:
        """A client may end its side and still wait for its answers."""
        self._ended_by_client = True
        self.close_when_answered()
        return bool(self._unanswered)

    def pause_writing(self) -> None:
        """The client takes its answers slower than they come."""
        self._write_blocked = True
        self._adjust_reading()

    def resume_writing(self) -> None:
        """It takes them again."""
        self._write_blocked = False
        self._adjust_reading()

    # --- the parser's side

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reading = True
        self._in_body = False
        self._first_read_bytes = self._read_bytes
        self._raw_bytes = 0
        self._path = b""
        self._headers = {}
        self._body = b""
        self.deadline = self._loop.time() + self._server.read_timeout_s

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of its head, or of its trailers."""
        if self._in_body:
            return  # trailers say nothing that a request of these protocols needs
        add_header(self._headers, name, value)

    def on_headers_complete(self) -> None:
        """Its head is complete: refuse what cannot be served before its body arrives."""
        self._in_body = True
        headers = self._headers
        if self._first_read_bytes + self._raw_bytes > self._server.header_bytes_max:
            size = len(self._path) + sum(len(name) + len(value) for name, value in headers.items())
            if size > self._server.header_bytes_max:
                self._stop_parsing(_HEADERS_TOO_LARGE)
        if self._parser.should_upgrade():
            if self._parser.get_method() == b"CONNECT":
                self._stop_parsing(_NO_TUNNEL)
            self._asks_for_upgrade = True
            return
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
        """A piece of its body."""
        if not self._body:
            self._body = piece
        else:
            if not isinstance(self._body, bytearray):
                self._body = bytearray(self._body)
            self._body += piece
        if len(self._body) > self._server.body_bytes_max:
            self._stop_parsing(body_too_large(self._server.body_bytes_max))

    def on_message_complete(self) -> None:
        """The request is complete: the handler's turn."""
        if self._asks_for_upgrade:
            return  # only its head is
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
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
            _LOG.exception("the handler of a request failed; it is answered as InternalServerError")
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
        self._refuse_with(self._server.renderer.render(refused(refusal), connection_header=_CLOSE))

    def _refuse_with(self, payload: bytes) -> None:
        exchange = _Exchange(self, _CLOSE, with_body=True)
        exchange.payload = payload
        self._unanswered.append(exchange)
        self._deaf = self._refused = True
        self._reading = False
        self._body = b""
        self._adjust_reading()
