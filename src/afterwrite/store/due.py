"""Visits: which stream upkeep has to look at when, so that a round costs what is due and not what is there.

Each is visited once a day at least. A visit that is further away was set before the clock was set back, and is due.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import Final

from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64

_VISITS: Final = b"visit\0"
_TIMES: Final = b"visit-of\0"
_WAIT_MS_MAX: Final = 86_400_000


def schedule(transaction: WriteTransaction, kind: str, number: int, at_ms: int) -> None:
    """Visit `number` among its kind at a time, or in a day, and no longer at the one set before."""
    cancel(transaction, kind, number)
    at_ms = min(at_ms, transaction.now_ms + _WAIT_MS_MAX)
    subject = kind.encode() + b"\0" + U32.pack(number)
    transaction.put("ledger", _TIMES + subject, U64.pack(at_ms))
    transaction.put("ledger", _visits(kind) + U64.pack(at_ms) + U32.pack(number), b"")


def cancel(transaction: WriteTransaction, kind: str, number: int) -> None:
    """Visit `number` among its kind no longer."""
    subject = kind.encode() + b"\0" + U32.pack(number)
    before = transaction.get("ledger", _TIMES + subject)
    if before is not None:
        transaction.delete("ledger", _TIMES + subject)
        transaction.delete("ledger", _visits(kind) + before + U32.pack(number))


def due(transaction: ReadTransaction, kind: str, now_ms: int, limit: int) -> list[int]:
    """The numbers of a kind whose time has come, at most `limit`, the longest due first."""
    low = _visits(kind)
    come = transaction.scan("ledger", low, low + U64.pack(now_ms + 1))
    too_far = transaction.scan("ledger", low + U64.pack(now_ms + _WAIT_MS_MAX + 1), low + b"\xff" * 9)
    return [U32.unpack_from(key, len(low) + 8)[0] for key, _ in islice(chain(come, too_far), limit)]


def _visits(kind: str) -> bytes:
    return _VISITS + kind.encode() + b"\0"
