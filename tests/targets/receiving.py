"""A system that takes webhooks, on the standard library's HTTP server: it keeps what comes, and answers as told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bounds import BOUND_S
from served import served


@dataclass
class Receiver:
    """What has come, and how the next requests are answered: status, headers, body; 204 without."""

    url: str = ""
    requests: list[tuple[str, Mapping[str, str], Any]] = field(default_factory=list)
    answers: list[tuple[int, Mapping[str, str], bytes]] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    connections: int = 0
    hang_up: bool = False
    held: threading.Event | None = None


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            receiver.connections += 1
            super().setup()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.at_s.append(time.monotonic())
            receiver.requests.append((self.path, dict(self.headers), body))
            self.close_connection = receiver.hang_up
            if receiver.held is not None:
                receiver.held.wait(BOUND_S)
            status, headers, said = receiver.answers.pop(0) if receiver.answers else (204, {}, b"")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client may have gone before its answer."""

    with served(Server(("127.0.0.1", 0), Handler)) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/hooks/a?token=t"
        yield receiver


@contextmanager
def dripping(begun: bytes) -> Iterator[str]:
    """The URL of a system that begins its answer so, and goes on a byte at a time for as long as it is let."""
    stopped = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(begun)
                while not stopped.wait(0.02):
                    connection.sendall(b"x")
            except OSError:
                """The client has gone."""

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/hooks"
        finally:
            stopped.set()
            thread.join()
