"""An HTTP double of language models: scripted answers, in the forms of OpenAI's chat completions and of Bedrock."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bounds import BOUND_S


@dataclass(frozen=True)
class Scripted:
    """One answer: `body` as JSON, or the bytes as they are. `hold`: it comes when the endpoint is released."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: bool = False
    cut: bool = False


@dataclass
class Endpoint:
    """A running double: what it answers, the last answer again and again, and what it was asked."""

    url: str
    script: list[Scripted]
    requests: list[tuple[str, Mapping[str, str], Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def next(self) -> Scripted:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def completion(text: str | None, finish_reason: str = "stop", **message: Any) -> Scripted:
    """A chat completion, with 120 and 30 tokens."""
    return Scripted(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text, **message},
                    "finish_reason": finish_reason,
                }
            ],
            "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
        }
    )


@contextlib.contextmanager
def model_endpoint(*script: Scripted) -> Iterator[Endpoint]:
    """The double on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.requests.append((self.path, dict(self.headers), json.loads(raw)))
            answer = endpoint.next()
            if answer.hold:
                endpoint.released.wait(BOUND_S)
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            with contextlib.suppress(OSError):  # one that timed out has gone
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + answer.cut))
                self.end_headers()
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}", list(script))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.released.set()
        server.shutdown()
        server.server_close()
        thread.join(BOUND_S)
