"""Sizes as DynamoDB counts them, the limit on them, and the capacity units that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from afterwrite.core.values import AttributeValue
from afterwrite.table import wording

ITEM_BYTES_MAX = 400 * 1024
NAME_BYTES_MAX = 65_535
WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096

# A list or map costs 3 bytes, and each of its members 1 byte more than the member itself.
_CONTAINER_BYTES = 3
_MEMBER_BYTES = 1


def item_size(item: Mapping[str, AttributeValue]) -> int:
    """The bytes of an item: the UTF-8 of its attribute names, and its values."""
    size = 0
    for name, value in item.items():
        size += len(name) if name.isascii() else len(name.encode())
        for kind, content in value.items():
            if kind == "S":
                size += len(content) if content.isascii() else len(content.encode())
            elif kind == "N":
                size += number_size(content)
            else:
                size += _content_size(kind, content)
    return size


def changed_size(
    item: Mapping[str, AttributeValue], old: Mapping[str, AttributeValue], old_size: int, attributes: Iterable[str]
) -> int:
    """The bytes of an item that differs from `old`, of `old_size` bytes, in no more than `attributes`.

    The whole item is measured where the old size cannot be: one that was counted by another rule, and kept.
    """
    size = old_size
    for name in attributes:
        before, after = old.get(name), item.get(name)
        if before is not None:
            size -= value_size(before) + (len(name.encode()) if after is None else 0)
        if after is not None:
            size += value_size(after) + (len(name.encode()) if before is None else 0)
    return size if size > 0 else item_size(item)


def value_size(value: Mapping[str, Any]) -> int:
    """The bytes of one attribute value."""
    for kind, content in value.items():
        return _content_size(kind, content)
    return 0


def _content_size(kind: str, content: Any) -> int:
    if kind == "S":
        return len(content) if content.isascii() else len(content.encode())
    if kind == "N":
        return number_size(content)
    if kind == "B":
        return binary_size(content)
    if kind == "M":
        return _CONTAINER_BYTES + _MEMBER_BYTES * len(content) + item_size(content)
    if kind == "L":
        return _CONTAINER_BYTES + sum(_MEMBER_BYTES + value_size(member) for member in content)
    if kind == "SS":
        return sum(len(member.encode()) for member in content)
    if kind == "NS":
        return sum(number_size(member) for member in content)
    if kind == "BS":
        return sum(binary_size(member) for member in content)
    return 1


def number_size(text: str) -> int:
    """The bytes of a canonical number: one, one more for each pair of digits that is not 00, one more for a sign.

    Pairs are counted from the decimal point; those between the first and the last that is not 00 all count.
    """
    if text[-1] != "0" and text.isdigit():
        return 1 + (len(text) + 1) // 2
    negative = text[0] == "-"
    if "." not in text:
        if text == "0":
            return 1
        zeros = len(text) - len(text.rstrip("0")) if text[-1] == "0" else 0
        return 1 + (len(text) - negative + 1) // 2 - zeros // 2 + negative
    whole, _, fraction = text.partition(".")
    pairs = (len(fraction) + 1) // 2
    if whole in ("0", "-0"):
        pairs -= (len(fraction) - len(fraction.lstrip("0"))) // 2
    else:
        pairs += (len(whole) - negative + 1) // 2
    return 1 + pairs + negative


def binary_size(text: str) -> int:
    """The bytes that a base64 text stands for."""
    return len(text) // 4 * 3 - text[-2:].count("=")


def check_put_bytes(item: Mapping[str, AttributeValue], size: int) -> int:
    """Refuse an item to put, of `size` bytes, that is too large, or has an attribute name too long; its size."""
    if size > NAME_BYTES_MAX:
        for name in item:
            check_attribute_name(name)
    if size > ITEM_BYTES_MAX:
        raise wording.invalid("Item size has exceeded the maximum allowed size")
    return size


def check_attribute_name(name: str) -> None:
    """Refuse an attribute name that is empty or too long."""
    if not name:
        raise wording.invalid("Empty attribute name")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise wording.invalid_parameter(f"Attribute name is too large, must be less than {NAME_BYTES_MAX + 1} bytes")


def check_update_bytes(size: int) -> None:
    """Refuse an update that comes to more bytes than an item may have."""
    if size > ITEM_BYTES_MAX:
        raise wording.invalid("Item size to update has exceeded the maximum allowed size")


def write_units(size: int, *, transactional: bool = False) -> float:
    """The write capacity units of writing `size` bytes; a transaction's write costs double."""
    units = max(1, -(-size // WRITE_UNIT_BYTES))
    return float(units * 2 if transactional else units)


def read_units(size: int, *, consistent: bool = False, transactional: bool = False) -> float:
    """The read capacity units of reading `size` bytes; an eventually consistent read costs half."""
    units = max(1, -(-size // READ_UNIT_BYTES))
    if transactional:
        return units * 2.0
    return units * (1.0 if consistent else 0.5)
