"""JSON as afterwrite writes it: exact numbers, binary as base64, sets as sorted lists."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import orjson

# A double keeps every decimal of at most 15 digits. Digits and points become one digit, all that a number may follow
# becomes a colon, so that one search finds a longer one.
_NUMBERS: Final = bytes.maketrans(b"123456789.,[- \n\t\r", b"0" * 10 + b":" * 7)
_LONG_NUMBER: Final = b"0" * 16
_DOUBLE_EXPONENT_MAX: Final = 308
_SHOWN_DIGITS_MAX: Final = 40
# What orjson writes of integers, and how deep.
_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**64 - 1
_LEVELS_MAX: Final = 254
_ROOM_BYTES: Final = 4096
_NOTHING: Final = b""
_NO_FLOATS_WITHIN: Final = frozenset((str, int, bool, bytes, Decimal, type(None)))
_JSON: Final = frozenset((str, int, bool, type(None), dict, list))


class JsonText:
    """An object by its JSON text, which `dumps` writes as it is; it equals that object, and any text of it."""

    __slots__ = ("text",)  # no dataclass: orjson would write its field

    def __init__(self, text: bytes) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"JsonText({self.text!r})"

    @property
    def value(self) -> Any:
        """The object."""
        return orjson.loads(self.text)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, JsonText):
            other = other.value
        return isinstance(other, dict) and bool(self.value == other)

    __hash__ = None  # type: ignore[assignment]  # what it equals has none


def encode_other(value: Any) -> Any:
    """What orjson, which asks for it, writes in place of a value that it does not know. Raises TypeError."""
    if isinstance(value, JsonText):
        return orjson.Fragment(value.text)
    if isinstance(value, Decimal):
        # A fragment keeps every digit: neither int64 nor double holds DynamoDB's 38.
        if -40 < value.adjusted() < 40 and value.is_finite():
            return orjson.Fragment(format(value, "f"))
        return orjson.Fragment(_far_number(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (set, frozenset)):
        return _in_order(value)
    kind = type(value).__name__
    raise TypeError(
        f"expected JSON values, Decimal, bytes or sets, got {kind}: convert it to one of them, or leave it out"
    )


def _in_order(members: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(members)
    except TypeError:
        kinds = ", ".join(sorted({type(member).__name__ for member in members}))
        raise TypeError(
            f"expected a set of one type that has an order, got a set of {kinds}: make a list of it"
        ) from None


def _far_number(value: Decimal) -> str:
    """The text of a number far from 1, which readers take as a double's, in size if not in digits."""
    if not value.is_finite():
        raise _refused(value)
    if value and (abs(value.adjusted()) > _DOUBLE_EXPONENT_MAX or math.isinf(float(value))):
        shown = str(value) if len(value.as_tuple().digits) < _SHOWN_DIGITS_MAX else f"{value:.6E}"
        raise TypeError(f"expected a number of a size that a double can hold, got {shown}: send it as text")
    return str(value)


def _refused(value: Any) -> TypeError:
    return TypeError(f"expected a number that JSON can hold, got {value}: leave it out, or send it as text")


def _check_floats(value: Any) -> None:
    """Raise TypeError for a float in `value` that is no number."""
    kind = type(value)
    if kind is dict:
        for member in value.values():
            if type(member) not in _NO_FLOATS_WITHIN:
                _check_floats(member)
    elif kind in (list, tuple, set, frozenset):
        for member in value:
            if type(member) not in _NO_FLOATS_WITHIN:
                _check_floats(member)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(value)
    elif isinstance(value, dict):
        _check_floats(dict(value))
    elif isinstance(value, (list, tuple)):
        _check_floats(list(value))
    elif isinstance(value, Enum):
        _check_floats(value.value)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_floats(getattr(value, field.name, None))


def _writable(value: Any, levels: int = 0) -> Any:
    """What orjson writes of a `value` that it does not take as it is: of any integer, all digits.

    Raises TypeError for what is not to be written.
    """
    if levels > _LEVELS_MAX:
        raise TypeError(
            f"expected at most {_LEVELS_MAX} levels of lists and mappings, got more, or one that is within itself: "
            "send less of it, or send it as text"
        )
    if isinstance(value, str):
        return _whole_text(value)
    if isinstance(value, Enum):
        return _writable(value.value, levels)
    if isinstance(value, int):
        return value if _INTEGER_MIN <= value <= _INTEGER_MAX else Decimal(value)
    if isinstance(value, dict):
        return {_name(name): _writable(member, levels + 1) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_writable(member, levels + 1) for member in value]
    if isinstance(value, (set, frozenset)):
        return [_writable(member, levels + 1) for member in _in_order(value)]
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
        return {name: _writable(getattr(value, name), levels + 1) for name in names}
    return value


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"expected texts as the names in a mapping, got {type(name).__name__}: write it as text")
    return _whole_text(name)


def _whole_text(text: str) -> str:
    """A text without its class. Raises TypeError where it has halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TypeError(
            f"expected text of whole characters, got half of a surrogate pair, {text[error.start]!a}, at "
            f"{error.start}: replace it, or leave it out"
        ) from None
    return str.__str__(text)


def dumps(value: Any) -> bytes:
    """The JSON text of `value`: integers and Decimals as exact numbers, bytes as base64 text, sets as sorted lists.

    Raises TypeError for what JSON has not, and for what `loads` could not read.
    """
    if type(value) is JsonText:
        return value.text
    try:
        try:
            text = orjson.dumps(value, default=encode_other)
        except TypeError as error:
            if error.__cause__ is not None:
                raise
            text = orjson.dumps(_writable(value), default=encode_other)
    except TypeError as error:
        raise error.__cause__ or error from None
    # orjson writes a float that is no number as null, without a word. Mostly members that are None explain every null.
    nulls = text.count(b"null")
    if nulls and (type(value) is not dict or nulls != list(value.values()).count(None)):
        _check_floats(value)
    # orjson leaves a text the room that it was written in: 4 KiB, of which a step holds many thousands.
    return text if len(text) >= _ROOM_BYTES else _NOTHING.join((text, _NOTHING))


def text_as_it_is(value: Any) -> bytes | None:
    """The JSON text of what is made of texts, integers, booleans, None, lists and dicts; None of anything else.

    Of a UUID orjson would make a text, of a float another number, of a tuple a list.
    """
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None
    return text if _is_json(value) else None


def _is_json(value: Any) -> bool:
    level = [value]
    while level:
        if not _JSON.issuperset(map(type, level)):
            return False
        below: list[Any] = []
        for each in level:
            if type(each) is dict:
                below += each.values()
            elif type(each) is list:
                below += each
        level = below
    return True


def loads(text: bytes | str) -> Any:
    """The value of a JSON text; numbers become int or float."""
    return orjson.loads(text)


def loads_exactly(text: bytes) -> Any:
    """The value of a JSON text with every digit kept: a fraction that a double would change becomes a Decimal.

    Raises ValueError for what is no JSON, and for what nests too deeply.
    """
    if not _may_have_long_number(text):
        return orjson.loads(text)
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("the JSON text nests too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def loads_each_exactly(texts: Sequence[bytes], separator: str) -> list[Any]:
    """The same for many texts, at a third of the cost. Raises ValueError where one of them is no JSON.

    They are read with the `separator` between, letters and digits that whoever wrote them cannot have known.
    """
    together = b"[" + (b',"%b",' % separator.encode()).join(texts) + b"]"
    if not _may_have_long_number(together):
        values: list[Any] = orjson.loads(together)
        # Texts that are broken can make a whole together, but none with one value before and after each separator.
        if len(values) == 2 * len(texts) - 1 and values[1::2] == [separator] * (len(texts) - 1):
            return values[::2]
    return [loads_exactly(text) for text in texts]


def _may_have_long_number(text: bytes) -> bool:
    """Whether a number may begin anywhere that has more digits than a double keeps."""
    numbers = text.translate(_NUMBERS)
    return numbers.startswith(_LONG_NUMBER) or b":" + _LONG_NUMBER in numbers
