"""Python values as one exact JSON text each, for files that are compared, hashed and read by other programs.

Object keys are sorted. A number keeps every digit (`Decimal` and integers of any length are written as JSON
numbers), bytes are base64 text, a set is a list sorted by its elements' JSON. Equal values give equal bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any

import orjson

from afterwrite.core.json_text import JsonText
from afterwrite.errors import InvalidValue

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1


def json_bytes(value: Any) -> bytes:
    """`value` as UTF-8 JSON. Raises InvalidValue for what JSON cannot hold (a Decimal NaN, keys not text)."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return _json_bytes_of_any_integer(value)


def _json_bytes_of_any_integer(value: Any) -> bytes:
    # orjson stops at 64 bits and asks no `default` for an integer; sequence numbers have up to 40 digits.
    try:
        return orjson.dumps(_with_long_integers(value), default=_plain, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValue(f"expected a value that JSON can hold, got one that it cannot: {error}") from error


def _with_long_integers(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if _INTEGER_MIN <= value <= _INTEGER_MAX else orjson.Fragment(str(value))
    if isinstance(value, Mapping):
        return {key: _with_long_integers(item) for key, item in value.items()}
    if isinstance(value, AbstractSet):
        return [_with_long_integers(item) for item in sorted(value, key=json_bytes)]
    if isinstance(value, list | tuple):
        return [_with_long_integers(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is no JSON number")
        return orjson.Fragment(str(value))
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()
    if isinstance(value, AbstractSet):
        return sorted(value, key=json_bytes)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, JsonText):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")
