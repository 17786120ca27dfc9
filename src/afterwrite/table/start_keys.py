"""Where a page begins: the checks of an ExclusiveStartKey, in the service's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from afterwrite.core.values import AttributeValue, Item
from afterwrite.table import wording
from afterwrite.table.index_keys import start_entry
from afterwrite.table.keys import DIGEST_BYTES, KeyRange, checked_key, encode_key
from afterwrite.table.schema import IndexSchema, KeyAttribute, KeySchema

_INVALID = "The provided starting key is invalid"
_MISMATCH = "The provided key element does not match the schema"


def check_partition(schema: KeySchema, index: IndexSchema | None, key: Item) -> None:
    """Refuse a key of another number of attributes, or without the partition key of what is queried."""
    names = {*schema.names, *(() if index is None else index.names)}
    if len(key) != len(names):
        raise wording.invalid(_INVALID)
    _check_attributes((index or schema).partition_attributes, key)


def check_sort(schema: KeySchema, index: IndexSchema | None, key: Item) -> None:
    """Refuse a key without the sort key of what is read."""
    _check_attributes((index or schema).sort_attributes, key)


def check_table_key(schema: KeySchema, key: Item) -> None:
    """Refuse a key that names no item of the table."""
    if not _is_table_key(schema, key):
        raise wording.invalid(f"{_INVALID}: {_MISMATCH}")


def check_scanned_table(schema: KeySchema, key: Item) -> None:
    """Refuse a key that is none of the table's, of whatever attributes."""
    if len(key) != len(schema.names) or not _is_table_key(schema, key):
        raise wording.invalid(_INVALID)


def encoded(schema: KeySchema, index: IndexSchema | None, key: Item) -> bytes:
    """The key's place among those of the table, or of its index."""
    if index is not None:
        return start_entry(schema, index, key)
    return encode_key(schema, checked_key(schema, key))


def check_bounds(
    schema: KeySchema,
    index: IndexSchema | None,
    key: Item,
    start: bytes,
    found: KeyRange,
    partition: Mapping[str, AttributeValue],
    *,
    has_sort_condition: bool,
) -> None:
    """Refuse a key, whose place is `start`, outside of what a query of `partition` finds, which is `found`."""
    elsewhere = start[:DIGEST_BYTES] != found.low[:DIGEST_BYTES]
    if not has_sort_condition:
        if elsewhere:
            raise wording.invalid("The provided starting key is outside query boundaries based on provided conditions")
        return
    if not found.low <= encoded(schema, index, {**key, **partition}) < found.high:
        raise wording.invalid("The provided starting key does not match the range key predicate")
    if elsewhere:
        raise wording.invalid("The query can return at most one row and cannot be restarted")


def _check_attributes(attributes: Iterable[KeyAttribute], key: Item) -> None:
    for attribute in attributes:
        if attribute.name not in key:
            raise wording.invalid(_INVALID)
        if attribute.type not in key[attribute.name]:
            raise wording.invalid(_MISMATCH)


def _is_table_key(schema: KeySchema, key: Item) -> bool:
    return all(name in key and schema.type_of(name) in key[name] for name in schema.names)
