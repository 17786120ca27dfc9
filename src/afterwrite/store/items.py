"""Items, written together with their change records.

An item's value is its size, the second at which it expires (0: never), and its JSON text in the wire form.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

import orjson

from afterwrite.core.changes import INSERT, MODIFY, REMOVE
from afterwrite.core.values import Item
from afterwrite.errors import EmptyKey, ServiceError, TransactionCanceled
from afterwrite.store import change_capture, expirations, indexes, long_keys
from afterwrite.store.change_capture import KeyText
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.indexes import Index
from afterwrite.store.names import U32, span
from afterwrite.store.tables import Table, catalog, save, table_named
from afterwrite.table.batches import cancellation_reason
from afterwrite.table.index_keys import check_index_keys, check_index_types, check_scalar_keys
from afterwrite.table.keys import encode_key
from afterwrite.table.vector_indexes import check_vectors
from afterwrite.table.writes import ItemWrite, Put, Update

_ITEM: Final = struct.Struct(">IQ")
# What of one member cancels its transaction; anything else refuses it.
_CANCELLING: Final = ("ConditionalCheckFailedException", "ValidationException")


def place_of(table: Table, key: Item) -> bytes:
    """Where the item with the key attributes `key` is stored."""
    return U32.pack(table.number) + encode_key(table.schema, key)


def get(transaction: ReadTransaction, table: Table, key: Item) -> bytes | None:
    """The JSON text of the item with the key attributes `key`."""
    return text_at(transaction, place_of(table, key))


def text_at(transaction: ReadTransaction, stored_at: bytes) -> bytes | None:
    """The JSON text of the item that is stored there."""
    value = long_keys.get(transaction, "items", stored_at)
    return None if value is None else value[_ITEM.size :]


def number_at(stored_at: bytes) -> int:
    """The number of the table whose item is stored there."""
    number: int = U32.unpack_from(stored_at)[0]
    return number


def text_of(value: bytes) -> bytes:
    """The JSON text of the item that is stored as `value`."""
    return value[_ITEM.size :]


def scan(
    transaction: ReadTransaction,
    table: Table,
    low: bytes = b"",
    high: bytes | None = None,
    *,
    reverse: bool = False,
) -> Iterator[tuple[int, bytes]]:
    """The items whose encoded keys are in [low, high), in the keys' order: size in bytes, and JSON text."""
    prefix = U32.pack(table.number)
    end = prefix + high if high is not None else U32.pack(table.number + 1)
    for _, value in long_keys.scan(transaction, "items", prefix + low, end, reverse=reverse):
        yield _ITEM.unpack_from(value)[0], value[_ITEM.size :]


def scan_stored(
    transaction: ReadTransaction, table: Table, *, after: bytes | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Where the table's items are stored, and their JSON texts, in that order; only those behind `after`, if given."""
    low, high = span(table.number)
    for stored_at, value in long_keys.scan(transaction, "items", after + b"\0" if after else low, high):
        yield stored_at, value[_ITEM.size :]


def scan_placed(transaction: ReadTransaction, table: Table) -> Iterator[tuple[bytes, int, bytes]]:
    """Where each of the table's items is stored, its size in bytes, and its JSON text, in that order."""
    for stored_at, value in long_keys.scan(transaction, "items", *span(table.number)):
        yield stored_at, _ITEM.unpack_from(value)[0], value[_ITEM.size :]


def sizes(transaction: ReadTransaction, table: Table) -> Iterator[int]:
    """The size in bytes of each item of the table, in the keys' order."""
    for _, value in long_keys.scan(transaction, "items", *span(table.number)):
        yield _ITEM.unpack_from(value)[0]


def statistics(transaction: ReadTransaction, table: Table) -> tuple[int, int]:
    """How many items the table has, and their size in bytes."""
    return indexes.statistics(transaction, table.number)


def scan_index(
    transaction: ReadTransaction, index: Index, low: bytes, high: bytes, *, reverse: bool = False
) -> Iterator[tuple[int, bytes]]:
    """As `scan`, of the whole items whose entries in the index are in [low, high), in the entries' order."""
    for stored_at in indexes.scan(transaction, index, low, high, reverse=reverse):
        value = long_keys.get(transaction, "items", stored_at)
        if value is not None:
            yield _ITEM.unpack_from(value)[0], value[_ITEM.size :]


class _Planned(NamedTuple):
    table: Table
    key: Item
    stored_at: bytes
    stored: bytes | None
    old: Item | None
    new: Item | None
    new_bytes: int


def _plan(transaction: WriteTransaction, table: Table, write: ItemWrite, key: Item, encoded_key: bytes) -> _Planned:
    if isinstance(write, Update) and table.indexes:
        check_index_types([index.schema for index in table.indexes], write.types())
    nested = write.nested
    if nested:
        check_scalar_keys(table.schema, [index.schema for index in table.indexes], nested)
    stored_at = U32.pack(table.number) + encoded_key
    stored = long_keys.get(transaction, "items", stored_at)
    old, old_bytes = None, 0
    if stored is not None and (table.indexes or write.needs_old):
        old, old_bytes = orjson.loads(stored[_ITEM.size :]), _ITEM.unpack_from(stored)[0]
    if isinstance(write, Put):
        _check_indexed(table, write.item)
    new = write.apply(table.schema, old)
    if new is not None and isinstance(write, Update):
        _check_indexed(table, new, old or {})
    new_bytes = 0 if new is None or new is old else write.size(new, old, old_bytes)
    return _Planned(table, key, stored_at, stored, old, new, new_bytes)


def _check_indexed(table: Table, item: Item, old: Item | None = None) -> None:
    """Refuse an item that an index cannot take; `old` is what an update starts from."""
    if table.indexes:
        check_index_keys([index.schema for index in table.indexes], item, old)
    if table.vector_indexes:
        check_vectors(table.vector_indexes, item, old)


def write(transaction: WriteTransaction, write: ItemWrite) -> tuple[Table, Item | None, Item | None]:
    """Apply a write to its item, with its change record; the table, and the item before and after."""
    table = table_named(catalog(transaction), write.table_name)
    key = write.key(table.schema)
    planned = _plan(transaction, table, write, key, encode_key(table.schema, key))
    _store(transaction, planned)
    return planned.table, planned.old, planned.new


def transact(
    transaction: WriteTransaction, writes: Sequence[ItemWrite], keys: Sequence[Item], encoded_keys: Sequence[bytes]
) -> list[tuple[Table, Item | None, Item | None]]:
    """Apply all of the writes, each with its item's key, and that as `encode_key` has it, or none.

    Raises TransactionCanceled with one reason a write.
    """
    planned: list[_Planned] = []
    failures: list[ServiceError | None] = []
    tables = catalog(transaction)
    for write, key, encoded_key in zip(writes, keys, encoded_keys, strict=True):
        failure: ServiceError | None = None
        try:
            planned.append(_plan(transaction, table_named(tables, write.table_name), write, key, encoded_key))
        except ServiceError as error:
            if isinstance(error, EmptyKey) or error.code not in _CANCELLING:
                raise
            failure = error
        failures.append(failure)
    if any(failures):
        raise TransactionCanceled([cancellation_reason(failure) for failure in failures])
    for each in planned:
        _store(transaction, each)
    return [(each.table, each.old, each.new) for each in planned]


def _store(transaction: WriteTransaction, planned: _Planned) -> None:
    """Write the new item and its change; a write that changes nothing leaves no trace (S18)."""
    table, stored, new = planned.table, planned.stored, planned.new
    if new is None:
        if stored is not None:
            _remove(transaction, table, planned.key, planned.stored_at, stored, planned.old)
        return
    if new is planned.old or new == planned.old:
        return
    value = _ITEM.pack(planned.new_bytes, expirations.expiry(table.ttl_attribute, new)) + orjson.dumps(new)
    key, differs = KeyText.of(planned.key), planned.old is not None
    if replace_value(transaction, table, planned.stored_at, stored, value, key, differs=differs):
        for index in table.indexes:
            indexes.move(transaction, table.schema, index, planned.stored_at, planned.old, new)


def replace_value(
    transaction: WriteTransaction,
    table: Table,
    stored_at: bytes,
    stored: bytes | None,
    value: bytes,
    key: KeyText,
    *,
    differs: bool = False,
) -> bool:
    """Store an item's value in place of what is stored there, if anything, with its change record.

    Its entries in indexes are not moved. False where the item stays as it is, which leaves no trace (S18); that need
    not be found out where the caller knows that it `differs`.
    """
    size, expires_at = _ITEM.unpack_from(value)
    text = value[_ITEM.size :]
    old_text: bytes | None = None
    old_size = old_expires_at = 0
    if stored is not None:
        old_size, old_expires_at = _ITEM.unpack_from(stored)
        old_text = stored[_ITEM.size :]
        if not differs and size == old_size and (text == old_text or orjson.loads(text) == orjson.loads(old_text)):
            return False
    long_keys.put(transaction, "items", stored_at, value)
    indexes.count(transaction, table.number, 0 if stored is not None else 1, size - old_size)
    if expires_at != old_expires_at:
        expirations.move(transaction, table.number, stored_at, old_expires_at, expires_at)
    change_capture.capture(
        transaction,
        table.name,
        table.stream,
        event_name=MODIFY if stored is not None else INSERT,
        stored_at=stored_at,
        key=key,
        new=text,
        old=old_text,
        new_bytes=size,
        old_bytes=old_size,
    )
    return True


def _remove(
    transaction: WriteTransaction,
    table: Table,
    key: Item,
    stored_at: bytes,
    stored: bytes,
    old: Item | None,
    *,
    by_ttl: bool = False,
) -> None:
    size, expires_at = _ITEM.unpack_from(stored)
    long_keys.delete(transaction, "items", stored_at)
    indexes.count(transaction, table.number, -1, -size)
    for index in table.indexes:
        indexes.move(transaction, table.schema, index, stored_at, old, None)
    expirations.move(transaction, table.number, stored_at, expires_at, 0)
    change_capture.capture(
        transaction,
        table.name,
        table.stream,
        event_name=REMOVE,
        stored_at=stored_at,
        key=KeyText.of(key),
        new=None,
        old=stored[_ITEM.size :],
        old_bytes=size,
        by_ttl=by_ttl,
    )


def expire(transaction: WriteTransaction, table: Table, limit: int) -> int:
    """Delete at most `limit` items whose time to live has ended, as the service (S25); how many there were."""
    due = list(islice(expirations.due(transaction, table.number, transaction.now_us // 1_000_000), limit))
    for stored_at in due:
        stored = long_keys.get(transaction, "items", stored_at)
        if stored is not None:
            item: Item = orjson.loads(stored[_ITEM.size :])
            key = {name: item[name] for name in table.schema.names}
            _remove(transaction, table, key, stored_at, stored, item, by_ttl=True)
    return len(due)


def set_ttl(transaction: WriteTransaction, name: str, attribute: str | None) -> None:
    """Expire items by the epoch seconds in `attribute`, or no longer; existing items are taken in."""
    table = replace(table_named(catalog(transaction), name), ttl_attribute=attribute)
    long_keys.delete_range(transaction, "expirations", *span(table.number))
    for key in [key for key, _ in long_keys.scan(transaction, "items", *span(table.number))]:
        value = long_keys.get(transaction, "items", key)
        if value is None:
            continue
        size, _ = _ITEM.unpack_from(value)
        text = value[_ITEM.size :]
        expires_at = expirations.expiry(attribute, orjson.loads(text))
        long_keys.put(transaction, "items", key, _ITEM.pack(size, expires_at) + text)
        expirations.move(transaction, table.number, key, 0, expires_at)
    save(transaction, table)
