"""Entries whose keys are longer than LMDB's.

A long key is cut: its head, exactly as long as LMDB allows, leads to a number, and under that number the rest of the
key is kept in a database of its own, cut again where it must be. A head sorts where the keys that it stands for sort,
and no short key is as long as a head, so the order of all keys is kept at any number of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U64

KEY_BYTES_MAX: Final = 511
_RESTS: Final = "key_rests"


def get(transaction: ReadTransaction, database: str, key: bytes) -> bytes | None:
    """The value at `key`, which may have any length."""
    if len(key) < KEY_BYTES_MAX:
        return transaction.get(database, key)
    number = transaction.get(database, key[:KEY_BYTES_MAX])
    return None if number is None else get(transaction, _RESTS, number + key[KEY_BYTES_MAX:])


def put(transaction: WriteTransaction, database: str, key: bytes, value: bytes) -> None:
    """Set the value at `key`, which may have any length."""
    if len(key) < KEY_BYTES_MAX:
        transaction.put(database, key, value)
        return
    head = key[:KEY_BYTES_MAX]
    number = transaction.get(database, head)
    if number is None:
        number = U64.pack(transaction.advance("key-rests"))
        transaction.put(database, head, number)
    put(transaction, _RESTS, number + key[KEY_BYTES_MAX:], value)


def delete(transaction: WriteTransaction, database: str, key: bytes) -> bool:
    """Delete the entry at `key`; whether there was one."""
    if len(key) < KEY_BYTES_MAX:
        return transaction.delete(database, key)
    head = key[:KEY_BYTES_MAX]
    number = transaction.get(database, head)
    if number is None or not delete(transaction, _RESTS, number + key[KEY_BYTES_MAX:]):
        return False
    if transaction.first(_RESTS, number, _after(number)) is None:
        transaction.delete(database, head)
    return True


def scan(
    transaction: ReadTransaction, database: str, low: bytes, high: bytes, *, reverse: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """The entries with `low` <= key < `high` in order of their keys, or in the reverse order."""
    if low >= high:
        return
    low_head, high_head = low[:KEY_BYTES_MAX], high[:KEY_BYTES_MAX]
    # The head at which a long bound is cut is itself within the range.
    bound = high_head + b"\x00" if len(high) > KEY_BYTES_MAX else high_head
    for key, value in _entries(transaction, database, low_head, bound, reverse=reverse):
        if len(key) < KEY_BYTES_MAX:
            yield key, value
            continue
        low_rest = low[KEY_BYTES_MAX:] if key == low_head else b""
        high_rest = value + high[KEY_BYTES_MAX:] if key == high_head else _after(value)
        for rest, content in scan(transaction, _RESTS, value + low_rest, high_rest, reverse=reverse):
            yield key + rest[U64.size :], content


def _entries(
    transaction: ReadTransaction, database: str, low: bytes, bound: bytes, *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    if len(bound) <= KEY_BYTES_MAX:
        return transaction.scan(database, low, bound, reverse=reverse)
    return _entries_to_head(transaction, database, low, bound[:KEY_BYTES_MAX], reverse=reverse)


def _entries_to_head(
    transaction: ReadTransaction, database: str, low: bytes, head: bytes, *, reverse: bool
) -> Iterator[tuple[bytes, bytes]]:
    """The entries with `low` <= key <= `head`."""
    last = transaction.get(database, head)
    if reverse and last is not None:
        yield head, last
    yield from transaction.scan(database, low, head, reverse=reverse)
    if not reverse and last is not None:
        yield head, last


def delete_range(transaction: WriteTransaction, database: str, low: bytes, high: bytes) -> None:
    """Delete the entries with `low` <= key < `high`, both shorter than LMDB's limit."""
    keys: list[bytes] = []
    numbers: list[bytes] = []
    for key, value in transaction.scan(database, low, high):
        keys.append(key)
        if len(key) == KEY_BYTES_MAX:
            numbers.append(value)
    for key in keys:
        transaction.delete(database, key)
    for number in numbers:
        delete_range(transaction, _RESTS, number, _after(number))


def _after(number: bytes) -> bytes:
    return U64.pack(U64.unpack(number)[0] + 1)
