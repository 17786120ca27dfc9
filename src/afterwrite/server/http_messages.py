"""HTTP requests and responses as values, and the bytes of a response.

It must not know connections: order, limits in time and closing are the business of `http`.
"""

from __future__ import annotations

import gzip
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import orjson

JSON_1_0 = "application/x-amz-json-1.0"

_PHRASES = {int(status): status.phrase for status in HTTPStatus}
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
# Below this size the client gains less than the server spends; above it, the fastest level does nearly all of it.
_COMPRESSED_BYTES_MIN = 4096
_COMPRESSION_LEVEL = 1
_GZIP_MEMBERS_MAX = 16
_GZIP_MAGIC = b"\x1f\x8b"
_CODINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": lambda body: gzip.compress(body, _COMPRESSION_LEVEL, mtime=0),
    b"deflate": lambda body: zlib.compress(body, _COMPRESSION_LEVEL),
}


@dataclass(slots=True)
class Request:
    """A whole request. Header names are lower case; a header sent twice has its values joined by a comma.

    The body is as the client meant it: chunks put together, gzip undone. `sent_body` is the one that was signed,
    before gzip was undone.
    """

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    sent_body: bytes


class UnreadHeaders(Mapping[bytes, bytes]):
    """The headers of a head (request line, header lines and the empty one) that is known to be well formed.

    They are read when one is asked for, but for X-Amz-Target, whose value is `target`, empty where it was not sent.
    """

    __slots__ = ("_found", "_head", "_target")

    def __init__(self, head: bytes, target: bytes) -> None:
        self._head = head
        self._target = target
        self._found: dict[bytes, bytes] | None = None

    def __getitem__(self, name: bytes) -> bytes:
        if name == b"x-amz-target" and self._target:
            return self._target
        return self._read()[name]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> dict[bytes, bytes]:
        if self._found is None:
            self._found = {}
            for line in self._head.split(b"\r\n")[1:-2]:
                name, _, value = line.partition(b":")
                add_header(self._found, name, value)
        return self._found


def add_header(headers: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """Keep a header that was sent among `headers`, without the white space around its value.

    The values of one that was sent before are joined as signatures have them.
    """
    name, value = name.lower(), value.strip(b" \t")
    headers[name] = headers[name] + b"," + value if name in headers else value


@dataclass(slots=True)
class Response:
    """An answer; length, checksum, date and request id are added to it. `headers` are names and values."""

    status: int
    body: bytes
    content_type: str = JSON_1_0
    headers: tuple[tuple[str, str], ...] = ()


Respond = Callable[[Response], None]
Handler = Callable[[Request, Respond], None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something cannot be a request, in the words of the answer."""

    status: int
    code: str
    message: str


INTERNAL_ERROR = Refusal(500, "InternalServerError", "The request failed inside the server")


def refused(refusal: Refusal) -> Response:
    """The answer that says a refusal."""
    return Response(refusal.status, error_body(refusal.code, refusal.message))


def error_body(code: str, message: str) -> bytes:
    """The body of an error in the AWS JSON protocols."""
    return orjson.dumps({"__type": code, "message": message})


def body_too_large(body_bytes_max: int) -> Refusal:
    """The refusal of a body, sent or inflated, beyond the limit."""
    return Refusal(413, "RequestEntityTooLargeException", f"Request body exceeds {body_bytes_max} bytes")


def decode_body(body: bytes, encoding: bytes, body_bytes_max: int) -> bytes | Refusal:
    """Undo a content encoding, never making more than `body_bytes_max` bytes.

    What follows a whole gzip and is none is ignored, as DynamoDB does.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        return Refusal(415, "UnsupportedMediaTypeException", "expected Content-Encoding gzip or none")
    decoded = b""
    # Members in a row are legal gzip, but a body of very many empty ones would cost much and say nothing.
    for _ in range(_GZIP_MEMBERS_MAX):
        inflate = zlib.decompressobj(_GZIP_WINDOW)
        try:
            decoded += inflate.decompress(body, body_bytes_max + 1 - len(decoded))
        except zlib.error:
            return Refusal(400, "SerializationException", "expected a gzip body, as Content-Encoding says")
        if len(decoded) > body_bytes_max:
            return body_too_large(body_bytes_max)
        if not inflate.eof:
            return Refusal(400, "SerializationException", "expected a gzip body, got one that is cut short")
        if not inflate.unused_data.startswith(_GZIP_MAGIC):
            return decoded
        body = inflate.unused_data
    return Refusal(400, "SerializationException", f"expected at most {_GZIP_MEMBERS_MAX} gzip members as the body")


def accepted_coding(accept_encoding: bytes) -> bytes:
    """The content coding of an answer to a request with this Accept-Encoding header, b"" for none.

    As DynamoDB chooses: the greatest weight; among equals what is named first, before what `*` stands for.
    """
    weights: dict[bytes, float] = {}
    for choice in accept_encoding.lower().split(b","):
        coding, *parameters = choice.split(b";")
        coding = coding.strip()
        weights[coding] = max(weights.get(coding, 0.0), _weight(parameters))
    unnamed = next((coding for coding in _CODINGS if coding not in weights), None)
    if unnamed is not None:
        weights[unnamed] = weights.get(b"*", 0.0)
    best = max((coding for coding in weights if coding in _CODINGS), key=weights.__getitem__)
    return best if weights[best] else b""


def _weight(parameters: Iterable[bytes]) -> float:
    """The weight of a choice, 1 at most. What is no number is as good as none: 1."""
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return min(float(value), 1.0)
            except ValueError:
                return 1.0
    return 1.0


class Renderer:
    """Makes the bytes of responses: head and body in one piece.

    What is the same for all answers of a second (status line, date, content type) is made once a second.
    """

    compressed_bytes_min: Final = _COMPRESSED_BYTES_MIN

    def __init__(self) -> None:
        self._heads: dict[tuple[int, str], bytes] = {}
        self._heads_second = 0
        self._request_id_prefix = os.urandom(8).hex().upper().encode()
        self._request_count = 0

    def render(
        self,
        response: Response,
        *,
        connection_header: bytes = b"",
        with_body: bool = True,
        accept_encoding: bytes = b"",
    ) -> bytes:
        """The bytes of an answer; `connection_header` is a whole line or nothing.

        A body that is worth it is compressed as `accept_encoding` allows. Length and checksum are of the body as sent.
        """
        body = response.body
        if accept_encoding and len(body) >= _COMPRESSED_BYTES_MIN and (coding := accepted_coding(accept_encoding)):
            body = _CODINGS[coding](body)
            connection_header += b"Content-Encoding: %b\r\n" % coding
        before, after = self._frame(response, body, connection_header)
        return b"%b%b%b%b" % (before, self._next_request_number(), after, body if with_body else b"")

    def render_alike(self, response: Response, connection_headers: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of an answer that is not compressed, once for each of `connection_headers`."""
        framed: dict[bytes, tuple[bytes, bytes]] = {}
        for connection_header in connection_headers:
            frame = framed.get(connection_header)
            if frame is None:
                before, after = self._frame(response, response.body, connection_header)
                frame = framed[connection_header] = before, after + response.body
            yield frame[0] + self._next_request_number() + frame[1]

    def _next_request_number(self) -> bytes:
        self._request_count += 1
        return b"%016X" % self._request_count

    def _frame(self, response: Response, body: bytes, connection_header: bytes) -> tuple[bytes, bytes]:
        """What stands before the request's number in an answer's head, and what after it."""
        second = int(time.time())
        if second != self._heads_second:
            self._heads_second = second
            self._heads.clear()
        key = (response.status, response.content_type)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = _head(response.status, response.content_type, second)
        before = b"%b%b%bX-Amz-Crc32: %d\r\nx-amzn-RequestId: %b" % (
            head,
            connection_header,
            _lines(response.headers) if response.headers else b"",
            zlib.crc32(body),
            self._request_id_prefix,
        )
        return before, b"\r\nContent-Length: %d\r\n\r\n" % len(body)


def _head(status: int, content_type: str, second: int) -> bytes:
    status_line = f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode("latin-1")
    date = formatdate(second, usegmt=True)
    return status_line + _lines((("Server", "afterwrite"), ("Date", date), ("Content-Type", content_type)))


def _lines(headers: tuple[tuple[str, str], ...]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
