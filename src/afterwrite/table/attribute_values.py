"""Attribute values on their way in: checked recursively, and put into canonical form in place.

Canonical form makes equality plain: numbers are normalised text, sets are sorted, and a value is a dict with one
key. So two wire values are equal exactly where Python's `==` says so.

A wrong JSON type is a SerializationException, a value that DynamoDB cannot hold a ValidationException, both with
DynamoDB's words.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

from afterwrite.core.values import (
    NOT_NUMERIC,
    NUMBER_OVERFLOW,
    NUMBER_UNDERFLOW,
    AttributeValue,
    Item,
    normalize_number,
)
from afterwrite.errors import InvalidRequest, InvalidValue, ServiceError
from afterwrite.table import wording
from afterwrite.table.sizes import number_size, value_size

NESTING_LEVELS_MAX = 32

ATTRIBUTE_TYPES = ("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS")
_EMPTY_NAME: Final = "Empty attribute name"
_STRUCTURE = "Start of structure or map found where not expected"
_JAVA_STRING = "Unrecognized collection type class java.lang.String"
_EMPTY_SET = {
    "SS": "An string set  may not be empty",
    "NS": "An number set  may not be empty",
    "BS": "Binary sets should not be empty",
}
_NULL_MEMBER: Final = {
    "SS": "An string set may not have a null string as a member",
    "NS": "An number set may not have a null number as a member",
    "BS": "Binary sets may not contain null values",
}
_INTEGER_BOUND: Final = 1 << 31
_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
# How many bits of the last digit are spare, as a mask, by the number of pad characters.
_SPARE_BITS: Final = {1: 0b11, 2: 0b1111}
_ORDERS: Final[Mapping[str, Callable[[str], Any]]] = {"NS": Decimal, "BS": binascii.a2b_base64}


def checked_item(item: Any, *, level: int = 1) -> Item:
    """A JSON value as an item, canonical. The dicts of `item` are changed in place; attributes stand at `level`."""
    if type(item) is not dict:
        raise_not_attribute_map(item)
    try:
        _check_values(item, level)
    except ServiceError as error:
        _check_nesting_first(item, error)
        raise
    return item


def measured_item(item: Any) -> int:
    """Check an item as `checked_item` does, and answer its size in bytes."""
    if type(item) is not dict:
        raise_not_attribute_map(item)
    if "" in item:
        raise wording.invalid(_EMPTY_NAME)
    texts = [*item]
    size = 0
    for value in item.values():
        # Text and numbers are most of what there is; they are settled here, and the length of all texts is taken once.
        if type(value) is dict and len(value) == 1:
            content = value.get("S")
            if type(content) is str:
                texts.append(content)
                continue
            content = value.get("N")
            if type(content) is str:
                value["N"] = number = _number(content)
                size += number_size(number)
                continue
        try:
            _check_value(value, 1)
        except ServiceError as error:
            _check_nesting_first(item, error)
            raise
        size += value_size(value)
    text = "".join(texts)
    return size + (len(text) if text.isascii() else len(text.encode()))


def checked_value(value: Any, *, level: int = 1) -> AttributeValue:
    """A JSON value at `level` as one attribute value, canonical. The dicts of `value` are changed in place."""
    _check_values({"value": value}, level)  # which knows the short way of text and numbers
    return value  # type: ignore[no-any-return]


def check_nesting(value: AttributeValue) -> None:
    """Refuse a value of more levels than DynamoDB allows, such as updates may build up one by one."""
    level = 0
    values: list[Any] = [value]
    while values:
        level += 1
        _check_level(level)
        values = [member for each in values for member in _members(each)]


def _members(value: Any) -> list[Any]:
    for kind, content in value.items() if type(value) is dict else ():
        if kind == "M" and type(content) is dict:
            return list(content.values())
        if kind == "L" and type(content) is list:
            return list(content)
    return []


def _check_nesting_first(item: Mapping[str, Any], error: ServiceError) -> None:
    """Refuse an item that is nested too deep where all that was found yet is an empty name within one of its maps."""
    if error.message == _EMPTY_NAME and "" not in item:
        for value in item.values():
            check_nesting(value)


def raise_not_attribute_map(value: Any) -> NoReturn:
    """Refuse a JSON value that stands where a map of attribute values is due."""
    if type(value) is list:
        raise serialization_error(
            "Unrecognized collection type java.util.Map<java.lang.String, "
            "com.amazonaws.dynamodb.v20120810.AttributeValue>"
        )
    raise serialization_error("Unexpected field type")


def serialization_error(message: str) -> ServiceError:
    """The error of a field that has the wrong JSON type."""
    return ServiceError("SerializationException", message)


def token_name(value: Any) -> str:
    """The name that DynamoDB's messages give to a JSON scalar."""
    if value is True:
        return "TRUE_VALUE"
    if value is False:
        return "FALSE_VALUE"
    if isinstance(value, int):
        return "NUMBER_VALUE"
    return "DECIMAL_VALUE" if isinstance(value, float) else "STRING_VALUE"


def _check_values(members: dict[str, Any], level: int) -> None:
    if "" in members:
        raise wording.invalid(_EMPTY_NAME)
    for value in members.values():
        # Text and numbers are most of what there is; they are settled here, without a call.
        if type(value) is dict and len(value) == 1:
            for kind, content in value.items():
                if type(content) is str:
                    if kind == "S":
                        continue
                    if kind == "N":
                        value["N"] = _number(content)
                        continue
                _check_value(value, level)
        else:
            _check_value(value, level)


def _check_value(value: Any, level: int) -> None:
    if type(value) is not dict:
        if type(value) is list:
            raise serialization_error(
                "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.AttributeValue"
            )
        raise serialization_error("Unexpected value type in payload")
    if len(value) != 1 or next(iter(value)) not in ATTRIBUTE_TYPES or None in value.values():
        _reduce_to_one_type(value)
    for kind, content in value.items():
        if kind == "S":
            _check_text(content)
        elif kind == "N":
            _check_text(content)
            value["N"] = _number(content)
        elif kind == "M":
            if type(content) is not dict:
                raise_not_attribute_map(content)
            if content:
                _check_level(level + 1)
            _check_values(content, level + 1)
        elif kind == "L":
            _check_list(content)
            if content:
                _check_level(level + 1)
            for member in content:
                _check_value(member, level + 1)
        elif kind == "BOOL":
            _check_boolean(content)
        elif kind == "NULL":
            _check_boolean(content)
            if content is not True:
                raise wording.invalid_parameter("Null attribute value types must have the value of true")
        elif kind == "B":
            check_binary(content)
        else:
            _check_list(content)
            value[kind] = _checked_set(kind, content)


def _reduce_to_one_type(value: dict[str, Any]) -> None:
    """Drop what DynamoDB does not see, nulls and unknown keys; refuse a value of no type, or of several."""
    for kind in [kind for kind, content in value.items() if content is None or kind not in ATTRIBUTE_TYPES]:
        del value[kind]
    if not value:
        raise wording.invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if len(value) > 1:
        # A content that is wrong in itself is reported before the fact that there are several.
        for kind, content in value.items():
            _check_value({kind: content}, 1)
        raise wording.invalid(
            "Supplied AttributeValue has more than one datatypes set, "
            "must contain exactly one of the supported datatypes"
        )


def _number(text: str) -> str:
    try:
        return normalize_number(text)
    except InvalidValue as error:
        newer = str(error) if text else f"{error}: "
        raise InvalidRequest(_complaint_in_32_bits(text, str(error)), newer) from None


def _complaint_in_32_bits(text: str, complaint: str) -> str:
    """What the older way says of a number; its sums are of 32 bits, and one that is too large comes out negative."""
    if complaint not in (NUMBER_OVERFLOW, NUMBER_UNDERFLOW):
        return complaint
    scale = scale_of(text)
    if scale is None:
        return f"{NOT_NUMERIC}: {text}"
    digits = text.lower().partition("e")[0].replace(".", "").lstrip("+-0")
    return NUMBER_UNDERFLOW if (len(digits) or 1) - scale >= _INTEGER_BOUND else complaint


def scale_of(text: str) -> int | None:
    """How many decimals a number has as it is written, less its exponent; None where that is no integer of 32 bits."""
    digits, _, exponent = text.lower().partition("e")
    shifted = exponent.lstrip("+-0") or "0"
    if len(shifted) > len(str(_INTEGER_BOUND)):
        return None
    shift = -int(shifted) if exponent.startswith("-") else int(shifted)
    scale = len(digits.partition(".")[2]) - shift
    fits = all(-_INTEGER_BOUND <= each < _INTEGER_BOUND for each in (shift, scale))
    return scale if fits else None


def _check_text(content: Any) -> None:
    if type(content) is str:
        return
    if type(content) is dict:
        raise serialization_error(_STRUCTURE)
    if type(content) is list:
        raise serialization_error(_JAVA_STRING)
    raise serialization_error(f"{token_name(content)} cannot be converted to String")


def _check_boolean(content: Any) -> None:
    if type(content) is bool:
        return
    if type(content) is dict:
        raise serialization_error(_STRUCTURE)
    if type(content) is list:
        raise serialization_error("Unrecognized collection type class java.lang.Boolean")
    if type(content) is str:
        raise serialization_error("Unexpected token received from parser")
    raise serialization_error(f"{token_name(content)} cannot be converted to Boolean")


def _check_list(content: Any) -> None:
    if type(content) is list:
        return
    if type(content) is dict:
        raise serialization_error(_STRUCTURE)
    raise serialization_error("Unexpected field type")


def check_binary(content: Any) -> None:
    """Refuse what is no binary value as base64 text."""
    if type(content) is not str:
        if type(content) is dict:
            raise serialization_error(_STRUCTURE)
        if type(content) is list:
            raise serialization_error("Unrecognized collection type class java.nio.ByteBuffer")
        raise serialization_error("only base-64-encoded strings are convertible to bytes")
    if len(content) % 4:
        raise serialization_error(f"Base64 encoded length is expected a multiple of 4 bytes but found: {len(content)}")
    # Bits behind the last byte must be zero, or one value would have several texts. The service looks at that first.
    digits = content.rstrip("=")
    if max(_BASE64.find(digits[-1:]), 0) & _SPARE_BITS.get(len(content) - len(digits), 0):
        raise serialization_error("Invalid last non-pad Base64 character dectected")
    try:
        binascii.a2b_base64(content, strict_mode=True)
    except ValueError:
        raise serialization_error("Invalid Base64 character found in a binary value") from None


def _check_level(level: int) -> None:
    """Refuse a value that stands too deep; an attribute's own value stands at level 1."""
    if level > NESTING_LEVELS_MAX:
        raise wording.invalid(
            "Nesting Levels have exceeded supported limits: "
            "Attributes in the item have nested levels beyond supported limit"
        )


def _checked_set(kind: str, members: list[Any]) -> list[str]:
    if not members:
        raise wording.invalid_parameter(_EMPTY_SET[kind])
    if None in members:
        raise wording.invalid_parameter(_NULL_MEMBER[kind])
    if kind == "BS":
        for member in members:
            check_binary(member)
    else:
        for member in members:
            _check_text(member)
    if kind == "NS":
        members = [_number(member) for member in members]
    _check_distinct(kind, members)
    return in_order(kind, members)


def in_order(kind: str, members: Iterable[str]) -> list[str]:
    """The members of a set as it is kept: numbers by value, strings and binaries by their bytes."""
    return sorted(members, key=_ORDERS.get(kind))


def _check_distinct(kind: str, members: list[str]) -> None:
    if len(set(members)) == len(members):
        return
    if kind == "NS":
        message = "Input collection contains duplicates"
        raise InvalidRequest(message, f"{wording.INVALID_PARAMETER}{message}.")
    suffix = "of type BS contains duplicates." if kind == "BS" else " contains duplicates."
    between = "," if kind == "BS" else ", "
    quoted = between.join(f'"{member}"' for member in _as_found(kind, members))
    raise InvalidRequest(
        f"{wording.INVALID_PARAMETER}Input collection [{', '.join(members)}]{suffix}",
        f"{wording.INVALID_PARAMETER}Input collection [{quoted}]{suffix}",
    )


def _as_found(kind: str, members: list[str]) -> list[str]:
    """The members in the newer error's order: those before the first that comes again in order, then the others."""
    count = next(number for number, member in enumerate(members) if member in members[:number])
    return [*in_order(kind, members[:count]), *members[count:]]
