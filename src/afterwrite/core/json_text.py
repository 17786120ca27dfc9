"""JSON as afterwrite writes it: exact numbers, binary as base64, sets as sorted lists."""

from __future__ import annotations

import base64
import json
import re
from decimal import Decimal
from typing import Any, Final

import orjson

# A double keeps every decimal of at most 15 digits.
_LONG_NUMBER: Final = re.compile(rb"[0-9][0-9.]{15}")


def _encode_other(value: Any) -> Any:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise TypeError(f"expected a number that JSON can hold, got {value}: leave it out, or send it as text")
        # A fragment keeps every digit: neither int64 nor double holds DynamoDB's 38.
        return orjson.Fragment(format(value, "f") if -40 < value.adjusted() < 40 else str(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(
        f"expected JSON values, Decimal, bytes or sets, got {type(value).__name__}: convert it in the route"
    )


def dumps(value: Any) -> bytes:
    """The JSON text of `value`: Decimals as exact numbers, bytes as base64 text, sets as sorted lists.

    Raises TypeError for what JSON has not.
    """
    try:
        return orjson.dumps(value, default=_encode_other)
    except TypeError as error:
        raise error.__cause__ or error from None


def loads(text: bytes | str) -> Any:
    """The value of a JSON text; numbers become int or float."""
    return orjson.loads(text)


def loads_exactly(text: bytes) -> Any:
    """The value of a JSON text with every digit kept: a fraction that a double would change becomes a Decimal."""
    if _LONG_NUMBER.search(text) is None:
        return orjson.loads(text)
    return json.loads(text, parse_float=Decimal)
