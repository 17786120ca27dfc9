"""boto3 without a socket: a session whose requests are answered by the engine of this process.

botocore builds, signs and parses as ever; only the sending is replaced, by its own hook for that (`before-send`).
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from afterwrite.server.http import Handler
from afterwrite.server.http_messages import Refusal, Request, Response, decode_body, error_body

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse

_BODY_BYTES_MAX = 16 << 20


def boto3_session(handler: Handler, region: str) -> Session:
    """A boto3 session: all requests of its clients and resources go to `handler`, none to the network.

    Services that the engine does not have answer UnknownOperationException. Raises ImportError without boto3.
    """
    import boto3
    import botocore.session

    # No configuration file or profile of the user (endpoints, retries, a profile that is gone) is meant for this
    # engine: the files are empty, and no environment variable names others.
    session = botocore.session.Session(
        session_vars={
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
            "profile": (None, None, None, None),
        }
    )
    session.set_credentials("in-process", "in-process")
    session.set_config_variable("region", region)
    session.get_component("event_emitter").register("before-send", _Sender(handler).send)
    return boto3.Session(botocore_session=session)


class _Sender:
    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer a request as the server would."""
        from botocore.awsrequest import AWSResponse

        answer = self._exchange(_as_request(request))
        headers = {"content-type": answer.content_type, **dict(answer.headers)}
        return AWSResponse(request.url, answer.status, headers, _Body(answer.body))  # type: ignore[arg-type]

    def _exchange(self, request: Request | Refusal) -> Response:
        if isinstance(request, Refusal):
            return Response(request.status, error_body(request.code, request.message))
        answered = threading.Event()
        answers: list[Response] = []

        def respond(response: Response) -> None:
            answers.append(response)
            answered.set()

        self._handler(request, respond)
        answered.wait()
        return answers[0]


def _as_request(prepared: AWSPreparedRequest) -> Request | Refusal:
    url = urlsplit(str(prepared.url))
    headers = {name.lower().encode("latin-1"): _as_bytes(value) for name, value in prepared.headers.items()}
    headers.setdefault(b"host", url.netloc.encode())
    body = sent_body = _as_bytes(prepared.body)
    if b"content-encoding" in headers:
        decoded = decode_body(body, headers[b"content-encoding"], _BODY_BYTES_MAX)
        if not isinstance(decoded, bytes):
            return decoded
        body = decoded
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Request(str(prepared.method).encode(), path.encode(), headers, body, sent_body)


def _as_bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    return bytes(value.read() if hasattr(value, "read") else value)


class _Body(io.BytesIO):
    """An answer's body as botocore reads it from a connection."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()
