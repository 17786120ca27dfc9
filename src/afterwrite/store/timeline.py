"""The timeline: what is to be deleted when. Upkeep reads it; nobody looks through everything."""

from __future__ import annotations

from afterwrite.store.names import U64
from afterwrite.store.transactions import DATABASES, WriteTransaction


def schedule_deletion(transaction: WriteTransaction, database: str, key: bytes, at_ms: int) -> None:
    """Delete the entry at `key` once `at_ms` has passed."""
    transaction.put("timeline", U64.pack(at_ms) + bytes((DATABASES.index(database),)) + key, b"")


def delete_due(transaction: WriteTransaction, limit: int) -> int:
    """Delete at most `limit` entries whose time has come; how many there were."""
    due: list[bytes] = []
    for key, _ in transaction.scan("timeline", b"", U64.pack(transaction.now_ms + 1)):
        if len(due) == limit:
            break
        due.append(key)
    for key in due:
        transaction.delete(DATABASES[key[8]], key[9:])
        transaction.delete("timeline", key)
    return len(due)
