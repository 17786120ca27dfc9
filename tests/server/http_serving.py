"""What the tests of the HTTP server share: a server on a loop of its own, and clients that are raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop

from afterwrite.server.http import Handler, HttpServer, Request, Respond, Response
from bounds import BOUND_S


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        code: str = orjson.loads(self.body)["__type"]
        return code


class Client:
    """A socket that sends bytes and reads answers."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=BOUND_S)
        self._received = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_each(self, data: bytes, times: int) -> None:
        for _ in range(times):
            self.send(data)

    def answer(self, *, head_only: bool = False) -> Answer:
        head = self.read_until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = b"" if head_only else self.read(int(headers["content-length"]))
        return Answer(int(status_line.split(" ")[1]), headers, body)

    def read_until(self, end: bytes) -> bytes:
        while end not in self._received:
            self._receive()
        found, self._received = self._received.split(end, 1)
        return found

    def read(self, length: int) -> bytes:
        while len(self._received) < length:
            self._receive()
        found, self._received = self._received[:length], self._received[length:]
        return found

    def is_closed(self) -> bool:
        """Whether the server has ended the connection and sent nothing more; waits for it."""
        return self._received == b"" and self.socket.recv(1) == b""

    def is_silent(self) -> bool:
        """Whether nothing has arrived so far."""
        return not self._received and not select.select([self.socket], [], [], 0)[0]

    def _receive(self) -> None:
        data = self.socket.recv(1 << 20)
        if not data:
            raise EOFError(f"the server closed the connection; so far it had sent {self._received!r}")
        self._received += data


def echo(request: Request, respond: Respond) -> None:
    respond(Response(200, request.body))


class Held:
    """A handler that keeps every request until the test answers it."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, Respond]] = []

    def __call__(self, request: Request, respond: Respond) -> None:
        self.requests.append((request, respond))

    def answer(self, number: int) -> None:
        request, respond = self.requests[number]
        respond(Response(200, request.body))


def post(body: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"POST / HTTP/{version}", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@dataclass
class Serving:
    """A server on a loop in a thread of its own."""

    server: HttpServer
    loop: asyncio.AbstractEventLoop
    address: tuple[str, int]
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        self.clients.append(Client(self.address))
        return self.clients[-1]

    def on_loop(self, action: Callable[[], Any]) -> Any:
        """Run `action` on the loop's thread, and return what it returns."""

        async def run() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(BOUND_S)

    def stop(self, timeout_s: float = 5.0) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(self.server.stop(timeout_s), self.loop)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + BOUND_S
        while not self.on_loop(condition):
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.001)

    def wait_for(self, held: Held, count: int) -> None:
        self.wait_until(lambda: len(held.requests) >= count)

    def answer(self, held: Held, number: int) -> None:
        self.on_loop(lambda: held.answer(number))


Serve = Callable[..., Serving]


@contextlib.contextmanager
def serving(handler: Handler, **options: Any) -> Iterator[Serving]:
    """A running server, stopped with the block."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = HttpServer(handler, **options)
    address = asyncio.run_coroutine_threadsafe(server.start(), loop).result(BOUND_S)
    running = Serving(server, loop, address)
    try:
        yield running
    finally:
        running.stop(0.05).result(BOUND_S)
        for client in running.clients:
            client.socket.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(BOUND_S)
        loop.close()
