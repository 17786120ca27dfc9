"""A system outside that is told of customers over HTTP, for the demonstration: it knows nothing of afterwrite.

`python -m profiles.system PORT FILE`, with the secret in PROFILES_SECRET. It refuses what is not signed, applies what
comes in the order in which it comes, and does so once for each idempotency key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from demonstration.inbox import Inbox

OK: Final = 200
UNAUTHORIZED: Final = 401
_REMOVE: Final = "DELETE FROM state WHERE recipient = ?"
_REPLACE: Final = "INSERT OR REPLACE INTO state (recipient, body) VALUES (?, ?)"


def is_signed(secret: str, id: str, timestamp: str, body: bytes, given: str) -> bool:
    """Whether the signature is the one of Standard Webhooks."""
    digest = hmac.new(secret.encode(), f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return hmac.compare_digest(f"v1,{base64.b64encode(digest).decode()}", given)


class System(ThreadingHTTPServer):
    """The system, on a port of this machine, with what it holds in `path`."""

    daemon_threads = True

    def __init__(self, port: int, path: Path, secret: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.inbox = Inbox(path)
        self.secret = secret

    def server_close(self) -> None:
        """Let go of the port and of the file."""
        super().server_close()
        self.inbox.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer's head and its end are two writes: the second would wait for the first one's acknowledgement.
    disable_nagle_algorithm = True
    server: System

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        id, timestamp = self.headers.get("webhook-id", ""), self.headers.get("webhook-timestamp", "")
        if not is_signed(self.server.secret, id, timestamp, body, self.headers.get("webhook-signature", "")):
            self._answer(UNAUTHORIZED, {"error": "expected a signature of this body"})
            return
        told: dict[str, Any] = json.loads(body)
        customer_id, profile = told["customerId"], told["profile"]

        def apply(database: sqlite3.Connection) -> None:
            if profile is None:
                database.execute(_REMOVE, (customer_id,))
            else:
                database.execute(_REPLACE, (customer_id, json.dumps(profile, sort_keys=True)))

        key = self.headers["Idempotency-Key"].strip('"')
        applied = self.server.inbox.take(key, customer_id, body.decode(), apply)
        self._answer(OK, {"applied": applied})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    System(int(sys.argv[1]), Path(sys.argv[2]), os.environ["PROFILES_SECRET"]).serve_forever()
