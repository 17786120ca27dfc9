"""Attribute values: DynamoDB's wire form <-> Python.

The wire form is what the JSON protocol carries: `{"S": "x"}`, `{"N": "12.5"}`, `{"B": "<base64>"}`,
`{"M": {...}}`. In Python a number is a `Decimal`, binary is `bytes`, a set is a `set`. Numbers keep DynamoDB's
38 significant digits exactly, which is why no float is accepted.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from afterwrite.errors import InvalidValue

AttributeValue: TypeAlias = dict[str, Any]
Item: TypeAlias = dict[str, AttributeValue]

NUMBER_DIGITS_MAX = 38
NUMBER_MAGNITUDE_MAX = 125
NUMBER_MAGNITUDE_MIN = -130
NOT_NUMERIC = "The parameter cannot be converted to a numeric value"
NUMBER_OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
NUMBER_UNDERFLOW = "Number underflow. Attempting to store a number with magnitude smaller than supported range"
_PLAIN_BELOW = 10**NUMBER_DIGITS_MAX
_PLAIN_INTEGER = re.compile(r"(?:0|-?[1-9][0-9]{0,37})")
_NUMBER = re.compile(r"([+-]?)(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")
# An exponent is read as a whole number of 64 bits, and is none where it does not fit.
_EXPONENT_DIGITS_MAX = 19
_EXPONENT_MAX = 2**63 - 1


def normalize_number(text: str) -> str:
    """The canonical text of a number: plain digits, no exponent, no trailing zeros, no negative zero.

    Raises InvalidValue with DynamoDB's words for text that is no number, more than 38 significant digits, or a
    magnitude outside 1E-130 to 9.99E125.
    """
    if _PLAIN_INTEGER.fullmatch(text):
        return text
    if not text:
        raise InvalidValue(NOT_NUMERIC)
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise InvalidValue(f"{NOT_NUMERIC}: {text}")
    sign, whole, fraction, bare_fraction, exponent_text = match.groups()
    whole = whole or ""
    decimals = fraction or bare_fraction or ""
    digits = whole + decimals
    significant = digits.lstrip("0")
    exponent = _exponent(text, exponent_text) if exponent_text else 0
    # The decimal point stands after `point` of the significant digits.
    point = len(whole) + exponent - (len(digits) - len(significant))
    significant = significant.rstrip("0")
    magnitude = point - 1 if significant else exponent - len(decimals)  # zero's is that of its last digit
    if magnitude > NUMBER_MAGNITUDE_MAX:
        raise InvalidValue(NUMBER_OVERFLOW)
    if magnitude < NUMBER_MAGNITUDE_MIN:
        raise InvalidValue(NUMBER_UNDERFLOW)
    if not significant:
        return "0"
    if len(significant) > NUMBER_DIGITS_MAX:
        raise InvalidValue("Attempting to store more than 38 significant digits in a Number")
    if point <= 0:
        plain = "0." + "0" * -point + significant
    elif point >= len(significant):
        plain = significant + "0" * (point - len(significant))
    else:
        plain = f"{significant[:point]}.{significant[point:]}"
    return "-" + plain if sign == "-" else plain


def _exponent(text: str, exponent_text: str) -> int:
    digits = exponent_text.lstrip("+-").lstrip("0") or "0"
    if len(digits) > _EXPONENT_DIGITS_MAX or int(digits) > _EXPONENT_MAX:
        raise InvalidValue(f"{NOT_NUMERIC}: {text}")
    return -int(digits) if exponent_text[0] == "-" else int(digits)


def to_python(value: Mapping[str, Any]) -> Any:
    """The Python value of a wire attribute value. Raises InvalidValue for what is not one."""
    if len(value) != 1:
        raise InvalidValue(f"expected an attribute value with exactly one type, such as {{'S': 'x'}}; got {value!r}")
    kind, content = next(iter(value.items()))
    if kind in ("S", "BOOL"):
        return content
    if kind == "N":
        return Decimal(content)
    if kind == "M":
        return {name: to_python(member) for name, member in content.items()}
    if kind == "L":
        return [to_python(member) for member in content]
    if kind == "NULL":
        return None
    if kind == "B":
        return binascii.a2b_base64(content)
    if kind == "SS":
        return set(content)
    if kind == "NS":
        return {Decimal(member) for member in content}
    if kind == "BS":
        return {binascii.a2b_base64(member) for member in content}
    raise InvalidValue(f"expected one of the types S N B BOOL NULL M L SS NS BS; got {kind!r}")


def from_python(value: Any) -> AttributeValue:
    """The wire attribute value of a Python value.

    Accepts str, int, Decimal, bytes, bool, None, list, tuple, mappings with text keys, and sets of one of str,
    numbers or bytes. Raises InvalidValue for anything else; a float would lose digits, so it is refused too.
    """
    if isinstance(value, str):
        return {"S": _plain(value)}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | Decimal):
        return {"N": _number_text(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"B": _base64_text(value)}
    if isinstance(value, Mapping):
        return {"M": encode_item(value)}
    if isinstance(value, list | tuple):
        return {"L": [from_python(member) for member in value]}
    if isinstance(value, set | frozenset):
        return _set_from_python(value)
    if isinstance(value, float):
        raise InvalidValue(f"a float is not exact, got {value!r}: pass Decimal(str(x)), or round it to an int first")
    raise InvalidValue(
        f"expected str, int, Decimal, bytes, bool, None, list, mapping or set; got {type(value).__name__}"
    )


def decode_item(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A wire item as a dict of Python values."""
    decoded: dict[str, Any] = {}
    for name, value in item.items():
        # Text and numbers are most of what there is; they are settled here, without a call.
        if "S" in value and len(value) == 1:
            decoded[name] = value["S"]
        elif "N" in value and len(value) == 1:
            decoded[name] = Decimal(value["N"])
        else:
            decoded[name] = to_python(value)
    return decoded


def encode_item(mapping: Mapping[str, Any]) -> Item:
    """A mapping of Python values as a wire item. Raises InvalidValue as `from_python` does."""
    try:
        attributes = mapping.items()
    except AttributeError:
        raise InvalidValue(f"expected a mapping from attributes' names to values, got {mapping!r}") from None
    item: Item = {}
    for name, value in attributes:
        # Text and plain integers are most of what there is; they are settled here, without a call.
        if type(value) is str:
            item[name] = {"S": value}
        elif type(value) is int and -_PLAIN_BELOW < value < _PLAIN_BELOW:
            item[name] = {"N": str(value)}
        else:
            item[name] = from_python(value)
    for name in item:
        if type(name) is not str:
            return {_plain_name(name): value for name, value in item.items()}
    return item


def _plain_name(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidValue(f"expected attribute names of type str; got {name!r}")
    return _plain(name)


def _plain(text: str) -> str:
    """A text without its class, of which a process that the item is sent to may know nothing."""
    return str.__str__(text)


def _set_from_python(members: set[Any] | frozenset[Any]) -> AttributeValue:
    """Members come out sorted, so that equal sets have equal wire forms."""
    if not members:
        raise InvalidValue("DynamoDB has no empty set: leave the attribute out instead")
    if all(isinstance(member, str) for member in members):
        return {"SS": sorted(map(_plain, members))}
    if all(isinstance(member, int | Decimal) and not isinstance(member, bool) for member in members):
        return {"NS": [_number_text(member) for member in sorted(members)]}
    if all(isinstance(member, bytes) for member in members):
        return {"BS": [_base64_text(member) for member in sorted(members)]}
    kinds = ", ".join(sorted({type(member).__name__ for member in members}))
    raise InvalidValue(f"expected a set of only str, only numbers or only bytes; got a set of {kinds}")


def _number_text(value: int | Decimal) -> str:
    if isinstance(value, int) and value.bit_length() > 4 * (NUMBER_MAGNITUDE_MAX + 1):
        # Checked before conversion: Python refuses to print integers of more than a few thousand digits.
        raise InvalidValue("a number of more than 126 digits is out of DynamoDB's range: store it as text")
    try:
        return normalize_number(str(value))
    except InvalidValue as error:
        raise InvalidValue(f"{error} (got {value!r})") from None


def _base64_text(value: bytes | bytearray | memoryview) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")
