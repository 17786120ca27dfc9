"""A double of SNS for text messages, for the demonstration: it answers Publish to a phone number, and keeps the text.

`python -m orders.text_service PORT FILE`
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

from demonstration.inbox import Inbox

ID_ATTRIBUTE: Final = "afterwrite-id"
_ANSWER: Final = (
    '<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>{id}</MessageId>'
    "</PublishResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></PublishResponse>"
)
_ERROR: Final = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameter</Code><Message>{message}</Message></Error>"
    "</ErrorResponse>"
)


class TextService(ThreadingHTTPServer):
    """The service, on a port of this machine, with what it has been given in `path`."""

    daemon_threads = True

    def __init__(self, port: int, path: Path) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.inbox = Inbox(path)

    def server_close(self) -> None:
        """Let go of the port and of the file."""
        super().server_close()
        self.inbox.close()


def attribute(form: dict[str, str], name: str) -> str | None:
    """The value of a message attribute in a request of the query protocol."""
    for key, value in form.items():
        if key.startswith("MessageAttributes.entry.") and key.endswith(".Name") and value == name:
            return form.get(key.removesuffix("Name") + "Value.StringValue")
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: TextService

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        key = attribute(form, ID_ATTRIBUTE)
        if form.get("Action") != "Publish" or "PhoneNumber" not in form or key is None:
            self._answer(400, _ERROR.format(message="expected Publish to a phone number, with an id"))
            return
        self.server.inbox.take(key, form["PhoneNumber"], form["Message"])
        self._answer(200, _ANSWER.format(id=uuid4()))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    TextService(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()
