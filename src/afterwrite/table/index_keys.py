"""Keys of secondary indexes: which entry an item has in an index, and which entries a condition selects.

An entry's key is the digest of the index's partition key, the encodings of its sort attributes one after the other,
and the digest of the item's own key, which keeps apart items that agree in the index's key. Every sort attribute is
closed by a terminator, so that byte order is the order of the first attribute, then of the second, and so on.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import EmptyKey, ServiceError
from afterwrite.table import wording
from afterwrite.table.keys import (
    DIGEST_BYTES,
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
    KeyRange,
    after_prefix,
    checked_key,
    encode_key,
    encode_sort_value,
    partition_digest,
)
from afterwrite.table.schema import IndexSchema, KeyAttribute, KeySchema

# As many characters are within every limit, in whatever encoding.
_SHORT_CHARACTERS = SORT_KEY_BYTES_MAX // 4

_KINDS = {"S": "string", "B": "binary"}
_TERMINATOR = b"\x00\x00"
_ESCAPED_ZERO = b"\x00\xff"


def entry_key(schema: KeySchema, index: IndexSchema, item: Mapping[str, AttributeValue]) -> bytes | None:
    """The key of the item's entry; None where it has none.

    That is so where it lacks a key attribute of the index, or where the attribute cannot be a key of it: an item that
    is older than the index may have it in another type, empty, or too large.
    """
    for each in index.attributes:
        value = item.get(each.name)
        if value is None or each.type not in value or not _can_be_key(index, each.name, each.type, value[each.type]):
            return None
    prefix = _partition_prefix([item[each.name] for each in index.partition_attributes])
    sort = b"".join([_closed(item[each.name]) for each in index.sort_attributes])
    own = blake2b(encode_key(schema, item), digest_size=DIGEST_BYTES).digest()
    return prefix + sort + own


def start_entry(schema: KeySchema, index: IndexSchema, start_key: Item) -> bytes:
    """The key of the entry that an ExclusiveStartKey names. Raises ServiceError for one that names none."""
    if start_key.keys() != {*schema.names, *index.names}:
        raise wording.invalid("The provided starting key is invalid")
    checked_key(schema, {name: start_key[name] for name in schema.names})
    entry = entry_key(schema, index, start_key)
    if entry is None:
        raise wording.invalid(
            "The provided starting key is invalid: The provided key element does not match the schema"
        )
    return entry


def entry_range(
    partition: Sequence[AttributeValue],
    equal: Sequence[AttributeValue] = (),
    operator: str | None = None,
    *operands: AttributeValue,
) -> KeyRange:
    """The entries of a partition whose first sort attributes are `equal`, and whose next one meets a condition."""
    prefix = _partition_prefix(partition) + b"".join(_closed(value) for value in equal)
    low, high = prefix, after_prefix(prefix)
    if operator is None:
        return KeyRange(low, high)
    if operator == "begins_with":
        first = prefix + _escaped(operands[0])
        return KeyRange(first, after_prefix(first))
    first = prefix + _closed(operands[0])
    if operator == "=":
        return KeyRange(first, after_prefix(first))
    if operator == "<":
        return KeyRange(low, first)
    if operator == "<=":
        return KeyRange(low, after_prefix(first))
    if operator == ">":
        return KeyRange(after_prefix(first), high)
    if operator == ">=":
        return KeyRange(first, high)
    if operator == "BETWEEN":
        return KeyRange(first, after_prefix(prefix + _closed(operands[1])))
    raise wording.invalid("Query key condition not supported")


def check_index_keys(
    indexes: Sequence[IndexSchema],
    item: Mapping[str, AttributeValue],
    old: Mapping[str, AttributeValue] | None = None,
) -> None:
    """Refuse an item whose attribute cannot be a key of an index; one that lacks it is only not in the index.

    `old` is what an update starts from. What it leaves as it was is not looked at: it may be older than the index.
    Of several indexes that cannot take the item the error names the first by name, as the service does.
    """
    try:
        for index in indexes:
            _check_keys_of(index, item, old)
    except ServiceError:
        for index in sorted(indexes, key=lambda each: each.name):
            _check_keys_of(index, item, old)
        raise


def check_index_types(indexes: Iterable[IndexSchema], types: Mapping[str, str]) -> None:
    """Refuse an update that writes another type than an index's key has; `types` are those known without an item."""
    for index in sorted(indexes, key=lambda each: each.name):
        for each in index.attributes:
            if types.get(each.name, each.type) != each.type:
                raise _mismatch(index, each, types[each.name])


def _mismatch(index: IndexSchema, attribute: KeyAttribute, actual: str) -> ServiceError:
    return wording.invalid_parameter(
        f"Type mismatch for Index Key {attribute.name} Expected: {attribute.type} Actual: {actual} "
        f"IndexName: {index.name}"
    )


def _check_keys_of(
    index: IndexSchema, item: Mapping[str, AttributeValue], old: Mapping[str, AttributeValue] | None
) -> None:
    for each in index.attributes:
        value = item.get(each.name)
        if value is None or (old is not None and old.get(each.name) == value):
            continue
        if each.type not in value:
            if old is None:
                raise _mismatch(index, each, next(iter(value)))
            raise wording.invalid(
                "The update expression attempted to update the secondary index key to unsupported type"
            )
        content = value[each.type]
        if each.type == "N":
            continue
        if not content and old is not None:
            raise EmptyKey(
                "The update expression attempted to update a secondary index key to a value that is not supported. "
                f"The AttributeValue for a key attribute cannot contain an empty {_KINDS[each.type]} value."
            )
        _check_size(index, each.name, each.type, content)


def _can_be_key(index: IndexSchema, name: str, kind: str, content: str) -> bool:
    if kind == "N" or 0 < len(content) <= _SHORT_CHARACTERS:
        return True
    try:
        _check_size(index, name, kind, content)
    except ServiceError:
        return False
    return True


def check_scalar_keys(schema: KeySchema, indexes: Iterable[IndexSchema], nested: frozenset[str]) -> None:
    """Refuse to look into a key attribute of the table or of an index: it is a scalar."""
    for kind, names in (("Key", schema.names), *(("IndexKey", index.names) for index in indexes)):
        for name in names:
            if name in nested:
                raise wording.invalid(
                    "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: "
                    f"{kind}: {name}"
                )


def _check_size(index: IndexSchema, name: str, kind: str, content: str) -> None:
    if not content:
        raise EmptyKey(
            "A value specified for a secondary index key is not supported. The AttributeValue for a key attribute "
            f"cannot contain an empty {_KINDS[kind]} value. IndexName: {index.name}, IndexKey: {name}"
        )
    size = len(binascii.a2b_base64(content)) if kind == "B" else len(content.encode())
    if any(each.name == name for each in index.partition_attributes):
        if size > PARTITION_KEY_BYTES_MAX:
            raise wording.invalid_parameter(
                f"Size of hashkey has exceeded the maximum size limit of{PARTITION_KEY_BYTES_MAX} bytes"
            )
    elif size > SORT_KEY_BYTES_MAX:
        raise wording.invalid_parameter(
            f"Aggregated size of all range keys has exceeded the size limit of {SORT_KEY_BYTES_MAX} bytes"
        )


def _partition_prefix(values: Sequence[AttributeValue]) -> bytes:
    digests = [partition_digest(value) for value in values]
    if len(digests) == 1:
        return digests[0]
    return blake2b(b"".join(digests), digest_size=DIGEST_BYTES).digest()


def _escaped(value: AttributeValue) -> bytes:
    return encode_sort_value(value).replace(b"\x00", _ESCAPED_ZERO)


def _closed(value: AttributeValue) -> bytes:
    return _escaped(value) + _TERMINATOR
