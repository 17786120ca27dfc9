"""CBOR (RFC 8949) instead of JSON, as SDKs for Java speak it with Kinesis: from and to JSON's form.

In JSON's form bytes are base64 text, and a time is a number of seconds. In CBOR bytes are bytes, and a time is a number
of milliseconds, tagged as one, although the tag is for seconds: so these SDKs write and read it.
"""

from __future__ import annotations

import binascii
import math
import struct
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from afterwrite.errors import ServiceError
from afterwrite.server.http_messages import Request, Response

CONTENT_TYPE: Final = "application/x-amz-cbor-1.1"

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_TAG_TIME: Final = 1
_INDEFINITE: Final = 31
_BREAK: Final = 0xFF
_ARGUMENTS: Final = {24: struct.Struct(">B"), 25: struct.Struct(">H"), 26: struct.Struct(">I"), 27: struct.Struct(">Q")}
_FLOATS: Final = {25: struct.Struct(">e"), 26: struct.Struct(">f"), 27: struct.Struct(">d")}
_SIMPLE_VALUES: Final = {20: False, 21: True, 22: None, 23: None}
_DOUBLE: Final = 0xFB
_DEPTH_MAX: Final = 32
_SMALL_MAX: Final = 23


@dataclass(frozen=True, slots=True)
class Members:
    """The members of a service's answers that JSON's form does not tell from others: bytes and times, by name."""

    blobs: frozenset[str]
    times: frozenset[str]


def is_spoken(request: Request) -> bool:
    """Whether a request is in CBOR, and its answer is to be."""
    return request.headers.get(b"content-type", b"").startswith(CONTENT_TYPE.encode())


def parsed(body: bytes) -> Any:
    """What a request says, in JSON's form. Raises ServiceError."""
    try:
        reader = _Reader(body)
        value = reader.value(_DEPTH_MAX)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise ServiceError("SerializationException", f"the body is no CBOR: {error}") from None
    if reader.at != len(body):
        raise ServiceError("SerializationException", "the body is no CBOR: something follows its end")
    return value


def in_cbor(response: Response, members: Members) -> Response:
    """An answer in JSON as one in CBOR. One without a body stays so."""
    body = _encoded(orjson.loads(response.body), members) if response.body else b""
    return replace(response, body=body, content_type=CONTENT_TYPE)


class _Reader:
    """Reads values one after the other. What cannot be read is an error of any of the kinds that `parsed` knows."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, depth: int) -> Any:
        """The next value; `depth` is how many may still be inside each other."""
        if depth == 0:
            raise ValueError(f"values inside each other more than {_DEPTH_MAX} deep")
        major, low = self._initial()
        if major == _SIMPLE:
            return self._simple(low)
        if major in (_BYTES, _TEXT):
            return self._string(major, low)
        if major in (_ARRAY, _MAP) and low == _INDEFINITE:
            return self._until_break(major, depth)
        argument = self._argument(low)
        if major == _UINT:
            return argument
        if major == _NEGATIVE:
            return -1 - argument
        if major == _ARRAY:
            return [self.value(depth - 1) for _ in range(argument)]
        if major == _MAP:
            return dict(self._entry(depth) for _ in range(argument))
        return self._tagged(argument, depth)

    def _initial(self) -> tuple[int, int]:
        byte = self._data[self.at]
        self.at += 1
        return byte >> 5, byte & 0x1F

    def _argument(self, low: int) -> int:
        return low if low <= _SMALL_MAX else int(self._unpacked(_ARGUMENTS[low]))

    def _unpacked(self, form: struct.Struct) -> Any:
        found = form.unpack_from(self._data, self.at)[0]
        self.at += form.size
        return found

    def _simple(self, low: int) -> bool | float | None:
        if low not in _FLOATS:
            return _SIMPLE_VALUES[low]
        number = float(self._unpacked(_FLOATS[low]))
        if not math.isfinite(number):
            raise ValueError("a number that is none")
        return number

    def _string(self, major: int, low: int) -> str:
        """Text, or bytes as base64 text."""
        raw = self._chunks(major) if low == _INDEFINITE else self._taken(self._argument(low))
        return raw.decode() if major == _TEXT else binascii.b2a_base64(raw, newline=False).decode()

    def _chunks(self, major: int) -> bytes:
        chunks = []
        while not self._is_at_break():
            chunk_major, low = self._initial()
            if chunk_major != major:
                raise ValueError("a chunk of another type than its string")
            chunks.append(self._taken(self._argument(low)))
        return b"".join(chunks)

    def _taken(self, size: int) -> bytes:
        found = self._data[self.at : self.at + size]
        if len(found) != size:
            raise ValueError("it ends inside a string")
        self.at += size
        return found

    def _is_at_break(self) -> bool:
        is_break = self._data[self.at] == _BREAK
        self.at += is_break
        return is_break

    def _until_break(self, major: int, depth: int) -> Any:
        found = []
        while not self._is_at_break():
            found.append(self._entry(depth) if major == _MAP else self.value(depth - 1))
        return dict(found) if major == _MAP else found

    def _entry(self, depth: int) -> tuple[str, Any]:
        key = self.value(depth - 1)
        if not isinstance(key, str):
            raise ValueError("a map's key that is no text")
        return key, self.value(depth - 1)

    def _tagged(self, tag: int, depth: int) -> Any:
        value = self.value(depth - 1)
        return value / 1000 if tag == _TAG_TIME and type(value) in (int, float) else value


def _encoded(value: Any, members: Members) -> bytes:
    parts = bytearray()
    _write(parts, value, "", members)
    return bytes(parts)


def _write(parts: bytearray, value: Any, name: str, members: Members) -> None:
    """Write a value; `name` is that of the member that it is."""
    if isinstance(value, dict):
        _write_head(parts, _MAP, len(value))
        for key, member in value.items():
            _write_string(parts, _TEXT, key.encode())
            _write(parts, member, key, members)
    elif isinstance(value, list):
        _write_head(parts, _ARRAY, len(value))
        for each in value:
            _write(parts, each, name, members)
    elif isinstance(value, str):
        is_blob = name in members.blobs
        _write_string(parts, _BYTES if is_blob else _TEXT, binascii.a2b_base64(value) if is_blob else value.encode())
    elif value is None or isinstance(value, bool):
        parts.append(_SIMPLE << 5 | (22 if value is None else 20 + value))
    elif name in members.times:
        _write_head(parts, _TAG, _TAG_TIME)
        _write_head(parts, _UINT, round(value * 1000))
    elif isinstance(value, float):
        parts.append(_DOUBLE)
        parts += _FLOATS[27].pack(value)
    elif value < 0:
        _write_head(parts, _NEGATIVE, -1 - value)
    else:
        _write_head(parts, _UINT, value)


def _write_string(parts: bytearray, major: int, raw: bytes) -> None:
    _write_head(parts, major, len(raw))
    parts += raw


def _write_head(parts: bytearray, major: int, argument: int) -> None:
    if argument <= _SMALL_MAX:
        parts.append(major << 5 | argument)
        return
    low = next(low for low, form in _ARGUMENTS.items() if argument < 1 << 8 * form.size)
    parts.append(major << 5 | low)
    parts += _ARGUMENTS[low].pack(argument)
