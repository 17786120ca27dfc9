"""When items expire: an entry for each that does, by its table and its second.

Those of one second stand in the order of their partitions: the items of a session, say, which expire together, have
their entries on one of the file's pages, and not each on another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from afterwrite.core.values import Item
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64

# The service leaves items alone that expired more than five years ago.
_EXPIRED_TOO_LONG_S: Final = 5 * 365 * 86_400
_FAR_FUTURE_S: Final = 1 << 62
# Enough of the digest of its partition key that an item is stored at, behind the table's number.
_PARTITION: Final = slice(U32.size, U32.size + 8)


def expiry(attribute: str | None, item: Item) -> int:
    """The second at which an item expires by its attribute, 0 for never."""
    if attribute is None:
        return 0
    number = item.get(attribute, {}).get("N")
    if number is None:
        return 0
    seconds = int(number.partition(".")[0] or 0)
    return seconds if 0 < seconds < _FAR_FUTURE_S else 0


def move(transaction: WriteTransaction, table: int, stored_at: bytes, was: int, becomes: int) -> None:
    """Let the item of table number `table` that is stored there expire at another second; 0 is never."""
    if was and not transaction.delete("expirations", _key(table, was, stored_at)):
        transaction.delete("expirations", _older_key(table, was, stored_at))
    if becomes:
        transaction.put("expirations", _key(table, becomes, stored_at), stored_at)


def due(transaction: ReadTransaction, table: int, now_s: int) -> Iterator[bytes]:
    """Where the table's items are stored that are to expire by now, the longest due first."""
    low = U32.pack(table) + U64.pack(max(0, now_s - _EXPIRED_TOO_LONG_S))
    high = U32.pack(table) + U64.pack(now_s + 1)
    for _, stored_at in transaction.scan("expirations", low, high):
        yield stored_at


def _key(table: int, second: int, stored_at: bytes) -> bytes:
    return U32.pack(table) + U64.pack(second) + stored_at[_PARTITION] + _digest(stored_at)


def _older_key(table: int, second: int, stored_at: bytes) -> bytes:
    """The key as it was before the partition stood in it."""
    return U32.pack(table) + U64.pack(second) + _digest(stored_at)


def _digest(stored_at: bytes) -> bytes:
    return hashlib.blake2b(stored_at, digest_size=12).digest()
