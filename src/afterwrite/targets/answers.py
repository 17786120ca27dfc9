"""Answers of HTTP servers that have to be whole within a time, also where they come a byte at a time."""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any


class BoundedAnswer(http.client.HTTPResponse):
    """An answer whose head and body have to arrive within the socket's timeout (s) in all, not within it each.

    To be a connection's `response_class`. Reading raises TimeoutError afterwards.
    """

    def __init__(self, sock: socket.socket, *arguments: Any, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_Until(sock))


class _Until(io.RawIOBase):
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)
        self._timeout_s = sock.gettimeout()
        self._deadline_s = time.monotonic() + (self._timeout_s or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._timeout_s is None:
            return self._file.readinto(buffer)
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left_s)
        try:
            return self._file.readinto(buffer)
        finally:
            # The connection may be kept for another request.
            self._socket.settimeout(self._timeout_s)

    def close(self) -> None:
        self._file.close()
        super().close()
