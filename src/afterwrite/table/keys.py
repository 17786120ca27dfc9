"""Keys of items: their extraction, their limits, and an order-preserving encoding of them.

An encoded key is the 16-byte digest of the partition key followed by the sort key's encoding, in which byte order is
DynamoDB's order: text by its UTF-8 bytes, binary by its bytes, numbers by value. So one partition is one range
of a sorted store, and a condition on the sort key is a range within it.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from afterwrite.core.values import NUMBER_MAGNITUDE_MIN, AttributeValue, Item
from afterwrite.errors import EmptyKey, ServiceError
from afterwrite.table import wording
from afterwrite.table.schema import KeySchema

DIGEST_BYTES = 16
PARTITION_KEY_BYTES_MAX = 2048
SORT_KEY_BYTES_MAX = 1024
_SHORT_CHARACTERS = SORT_KEY_BYTES_MAX // 4

_COMPLEMENT = bytes(255 - byte for byte in range(256))
_NEGATIVE, _ZERO, _POSITIVE = b"\x7f", b"\x80", b"\x81"
# Above every digit pair, complemented or not, so that of two negative numbers the longer sorts first.
_NEGATIVE_END = b"\xff"
# Above every encoded key, for the one prefix that has no successor of its own length.
_ABOVE_ALL = b"\xff" * (DIGEST_BYTES + SORT_KEY_BYTES_MAX + 1)


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The encoded keys `low <= key < high`."""

    low: bytes
    high: bytes


def encode_key(schema: KeySchema, key: Mapping[str, AttributeValue]) -> bytes:
    """The store's key of the item that has the (validated) key attributes `key`."""
    digest = partition_digest(key[schema.partition_key])
    if schema.sort_key is None:
        return digest
    return digest + encode_sort_value(key[schema.sort_key])


def partition_digest(value: AttributeValue) -> bytes:
    """16 bytes that stand for a partition key, different for different types of the same text."""
    for kind, content in value.items():
        if kind == "B":
            return blake2b(b"B" + binascii.a2b_base64(content), digest_size=DIGEST_BYTES).digest()
        return blake2b((kind + content).encode(), digest_size=DIGEST_BYTES).digest()
    raise wording.invalid("The provided key element does not match the schema")


def encode_sort_value(value: AttributeValue) -> bytes:
    """The order-preserving bytes of a sort key's value."""
    for kind, content in value.items():
        if kind == "S":
            encoded: bytes = content.encode()
            return encoded
        if kind == "N":
            return encode_number(content)
        if kind == "B":
            return binascii.a2b_base64(content)
    raise wording.invalid("The provided key element does not match the schema")


def encode_number(text: str) -> bytes:
    """The order-preserving bytes of a canonical number: sign, magnitude, then two digits a byte.

    The magnitude is the exponent of the first significant digit, -130 to 125, which fits a byte. A negative
    number's bytes are the complement of the positive one's, closed by a byte above all of them.
    """
    if text == "0":
        return _ZERO
    negative = text[0] == "-"
    whole, _, fraction = (text[1:] if negative else text).partition(".")
    if whole == "0":
        digits = fraction.lstrip("0")
        magnitude = len(digits) - len(fraction) - 1
    else:
        digits = (whole + fraction).rstrip("0")
        magnitude = len(whole) - 1
    if len(digits) % 2:
        digits += "0"
    body = bytes((magnitude - NUMBER_MAGNITUDE_MIN,)) + bytes.fromhex(digits)
    if negative:
        return _NEGATIVE + body.translate(_COMPLEMENT) + _NEGATIVE_END
    return _POSITIVE + body


def after_prefix(prefix: bytes) -> bytes:
    """The smallest key greater than every key that starts with `prefix`."""
    shortened = prefix.rstrip(b"\xff")
    if not shortened:
        return _ABOVE_ALL
    return shortened[:-1] + bytes((shortened[-1] + 1,))


def partition_range(partition: AttributeValue) -> KeyRange:
    """All keys of a partition."""
    digest = partition_digest(partition)
    return KeyRange(digest, after_prefix(digest))


def sort_range(partition: AttributeValue, operator: str, *operands: AttributeValue) -> KeyRange:
    """The keys of a partition whose sort key satisfies a condition.

    `operator` is one of `=`, `<`, `<=`, `>`, `>=`, `BETWEEN` (two operands) and `begins_with`.
    """
    whole = partition_range(partition)
    first = whole.low + encode_sort_value(operands[0])
    if operator == "=":
        return KeyRange(first, after_key(first))
    if operator == "<":
        return KeyRange(whole.low, first)
    if operator == "<=":
        return KeyRange(whole.low, after_key(first))
    if operator == ">":
        return KeyRange(after_key(first), whole.high)
    if operator == ">=":
        return KeyRange(first, whole.high)
    if operator == "BETWEEN":
        return KeyRange(first, after_key(whole.low + encode_sort_value(operands[1])))
    if operator == "begins_with":
        return KeyRange(first, after_prefix(first))
    raise wording.invalid("Query key condition not supported")


def key_of(schema: KeySchema, item: Mapping[str, AttributeValue]) -> Item:
    """The key attributes of an item that is to be written; raises as PutItem does."""
    partition = item.get(schema.partition_key)
    if partition is None:
        raise _missing(schema.partition_key)
    if schema.partition_type not in partition:
        raise _wrong_put_type(schema.partition_key, schema.partition_type, partition)
    key = {schema.partition_key: partition}
    if schema.sort_key is not None:
        sort = item.get(schema.sort_key)
        if sort is None:
            raise _missing(schema.sort_key)
        if schema.sort_type not in sort:
            raise _wrong_put_type(schema.sort_key, schema.sort_type, sort)
        key[schema.sort_key] = sort
    check_key_sizes(schema, key)
    return key


def checked_key(schema: KeySchema, key: Item) -> Item:
    """`key` itself, when it has exactly the schema's attributes; raises as GetItem does."""
    expected = 1 if schema.sort_key is None else 2
    partition = key.get(schema.partition_key)
    if len(key) != expected or partition is None or schema.partition_type not in partition:
        raise _mismatch()
    if schema.sort_key is not None:
        sort = key.get(schema.sort_key)
        if sort is None or schema.sort_type not in sort:
            raise _mismatch()
    check_key_sizes(schema, key)
    return key


def _wrong_put_type(name: str, expected: str | None, value: Mapping[str, Any]) -> ServiceError:
    actual = next(iter(value), "")
    return wording.invalid_parameter(f"Type mismatch for key {name} expected: {expected} actual: {actual}")


def check_key_sizes(schema: KeySchema, key: Mapping[str, AttributeValue]) -> None:
    """Refuse key values that are empty or too long."""
    for name, value in key.items():
        for kind, content in value.items():
            # Base64 and UTF-8 both make at most four bytes of a character.
            if 0 < len(content) <= _SHORT_CHARACTERS or kind == "N":
                continue
            if not content:
                raise _empty(name, kind)
            size = len(binascii.a2b_base64(content)) if kind == "B" else len(content.encode())
            if name == schema.partition_key and size > PARTITION_KEY_BYTES_MAX:
                raise wording.invalid_parameter(
                    f"Size of hashkey has exceeded the maximum size limit of{PARTITION_KEY_BYTES_MAX} bytes"
                )
            if name != schema.partition_key and size > SORT_KEY_BYTES_MAX:
                raise wording.invalid_parameter(
                    f"Aggregated size of all range keys has exceeded the size limit of {SORT_KEY_BYTES_MAX} bytes"
                )


def _empty(name: str, kind: str) -> ServiceError:
    what = "string" if kind == "S" else "binary"
    return EmptyKey(f"The AttributeValue for a key attribute cannot contain an empty {what} value. Key: {name}")


def after_key(encoded: bytes) -> bytes:
    """The smallest key greater than `encoded`."""
    return encoded + b"\x00"


def _missing(name: str) -> ServiceError:
    return wording.invalid_parameter(f"Missing the key {name} in the item")


def _mismatch() -> ServiceError:
    return wording.invalid("The provided key element does not match the schema")
