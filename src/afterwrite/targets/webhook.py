"""Webhooks: posts JSON to a system's URL, signed, under a key by which the system can tell a repetition."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

from afterwrite.core import json_text
from afterwrite.core.failure_kinds import Kind
from afterwrite.core.invocations import Context
from afterwrite.core.sending import asked_for, fail
from afterwrite.core.target_failures import TargetFailure, kind_of_code
from afterwrite.errors import DeclarationError
from afterwrite.targets.answers import BoundedAnswer
from afterwrite.targets.connections import Connections, split_url

ANSWER_BYTES_MAX: Final = 65_536
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets in base64 begin with
_QUOTED_CHARACTERS: Final = 200
_OWN_HEADERS: Final = frozenset(
    (
        "connection",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    )
)


class Webhook:
    """A system that takes JSON by POST at `url` (http or https).

    Each request has the header `Idempotency-Key`. With a `secret` it is signed as Standard Webhooks have it: the
    headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, by HMAC-SHA256. A secret that starts with
    `whsec_` is base64, any other is taken as it is. `timeout_s` is for connecting, and then for the whole answer.
    A redirect is not followed: the URL was declared, and where else it leads was not. Raises DeclarationError.
    """

    def __init__(
        self, url: str, *, secret: str | None = None, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None
    ) -> None:
        parts = split_url(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise DeclarationError(
                "expected a webhook's URL to be http://HOST/… or https://HOST/… without a user, got one with the "
                f"scheme {parts.scheme!r} and the host {parts.hostname!r}: give what has to be proved in headers"
            )
        if timeout_s <= 0:
            raise DeclarationError(f"expected a webhook's timeout_s above 0, got {timeout_s}")
        refused = [name for name in headers or () if name.lower() in _OWN_HEADERS]
        if refused:
            raise DeclarationError(f"expected headers that a webhook does not set itself, got {', '.join(refused)}")
        if any(not text.isprintable() or not text.isascii() for header in (headers or {}).items() for text in header):
            raise DeclarationError("expected a webhook's headers to be printable ASCII: encode what is not")
        # Paths and queries of webhooks may be secrets: they are in no message.
        self.name = f"webhook {parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._key = None if secret is None else signing_key(secret)
        self._timeout_s = timeout_s
        self._headers = dict(headers or {})
        self._connections: Connections[http.client.HTTPConnection] = Connections()

    def __call__(self, request: Any, context: Context, /) -> None:
        """Post what a function was asked for, or a message's body. Raises as `post` does."""
        self.post(asked_for(request), id=context.invocation_id)

    def post(self, body: Any, *, id: str) -> None:
        """Post `body` as JSON under `id`, which has to be the same for the same thing.

        Done is what is answered with 2xx. Raises Throttled (429) and Unavailable (408, 409, 425, 5xx, no answer), with
        the wait that Retry-After asks for, and Rejected for every other answer.
        """
        text = json_text.dumps(body)
        key = quote(id, safe="/:~")
        headers = {**self._headers, "Content-Type": "application/json", "Idempotency-Key": f'"{key}"'}
        if self._key is not None:
            at_s = int(time.time())
            headers |= {
                "webhook-id": key,
                "webhook-timestamp": str(at_s),
                "webhook-signature": signature(self._key, key, at_s, text),
            }
        try:
            answer, said = self._exchange(text, headers)
        except (OSError, http.client.HTTPException) as error:
            fail(TargetFailure(self.name, "unavailable", type(error).__name__, str(error)))
        if not 200 <= answer.status < 300:
            failure = TargetFailure(self.name, _kind_of(answer.status), str(answer.status), _words(answer, said))
            fail(failure, retry_after_s=retry_after_s(answer.headers.get("Retry-After"), now_s=time.time()))

    def _exchange(self, text: bytes, headers: Mapping[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        """One request and its answer, on the thread's connection. Raises OSError and HTTPException."""
        kept = self._connections.take()
        if kept is not None:
            try:
                return self._on(kept, text, headers)
            except ConnectionError:
                # It was closed while it was idle; the key tells the system if the request reached it nevertheless.
                pass
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        connection.response_class = BoundedAnswer
        return self._on(connection, text, headers)

    def _on(
        self, connection: http.client.HTTPConnection, text: bytes, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            connection.request("POST", self._path, text, dict(headers))
            answer = connection.getresponse()
            said = answer.read(ANSWER_BYTES_MAX)
        except BaseException:
            connection.close()
            raise
        # What is longer is not read to its end, so nothing else can come on this connection.
        if answer.isclosed():
            self._connections.keep(connection)
        else:
            connection.close()
        return answer, said


def signing_key(secret: str) -> bytes:
    """The key of a secret. Raises DeclarationError."""
    if not isinstance(secret, str):
        raise DeclarationError(f"expected a webhook's secret to be text, perhaps base64, got {type(secret).__name__}")
    if not secret.startswith(_SECRET_PREFIX):
        key = secret.encode()
    else:
        try:
            key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX) + "==", validate=False)
        except ValueError:
            key = b""
    if not key:
        raise DeclarationError(f"expected a webhook's secret to be text, or base64 after {_SECRET_PREFIX!r}")
    return key


def signature(key: bytes, id: str, at_s: int, text: bytes) -> str:
    """The `webhook-signature` of a body posted under `id` at `at_s` seconds since the epoch."""
    signed = hmac.new(key, f"{id}.{at_s}.".encode() + text, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"


def retry_after_s(value: str | None, *, now_s: float) -> float | None:
    """How long (s) a Retry-After header asks to wait, given in seconds or as a date; None where it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now_s)


def _kind_of(status: int) -> Kind:
    return "unavailable" if status == http.client.TOO_EARLY else kind_of_code(str(status), status=status)


def _words(answer: http.client.HTTPResponse, said: bytes) -> str:
    if 300 <= answer.status < 400:
        return "expected an answer, got a redirect, which is not followed: declare the URL that it leads to"
    words = " ".join(said.decode("utf-8", "replace").split())[:_QUOTED_CHARACTERS]
    return words or answer.reason
