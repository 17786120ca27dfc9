"""What FIFO queues were sent a while ago: a message that is sent again is known, whatever becomes of the clock."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from afterwrite.store import ledger
from afterwrite.store.environment import WriteTransaction

KNOWN_MS: Final = 300_000
"""How long a message is known (S33)."""
_SENT: Final = "sent/"
_AT: Final = "at_ms"


def found(transaction: WriteTransaction, queue: str, deduplication_id: str) -> Mapping[str, Any] | None:
    """What was kept of the same message of the last five minutes, None where there is none."""
    digest, period = _digest(queue, deduplication_id), transaction.now_ms // KNOWN_MS
    for each in (period, period - 1):
        kept: Mapping[str, Any] | None = ledger.note(transaction, _note(each, digest))
        if kept is not None and transaction.now_ms - kept[_AT] < KNOWN_MS:
            return kept
    return None


def keep(transaction: WriteTransaction, queue: str, deduplication_id: str, place: Mapping[str, Any]) -> None:
    """Keep `place`, where the message is, for those who send it again."""
    _keep(transaction, _digest(queue, deduplication_id), {**place, _AT: transaction.now_ms})


def move_back(transaction: WriteTransaction) -> None:
    """See that messages of before the clock was set back are known for no longer and no shorter. For the start.

    Where one was sent later than it is now, the last of them is taken for one that was sent now.
    """
    now_ms = transaction.now_ms
    of_now_or_later = ledger.notes(transaction, _SENT, first=str(now_ms // KNOWN_MS))
    latest_ms = max((kept[_AT] for _, kept in of_now_or_later), default=0)
    if latest_ms <= now_ms:
        return
    for name, kept in list(ledger.notes(transaction, _SENT)):
        ledger.forget_note(transaction, _SENT + name)
        at_ms = kept[_AT] - (latest_ms - now_ms)
        if now_ms - at_ms < KNOWN_MS:
            _keep(transaction, name.partition("/")[2], {**kept, _AT: at_ms})


def _keep(transaction: WriteTransaction, digest: str, kept: Mapping[str, Any]) -> None:
    # A period's note is deleted when its name says so, and so no deletion can hit a later one.
    period = kept[_AT] // KNOWN_MS
    ledger.keep_note(transaction, _note(period, digest), kept, until_ms=(period + 2) * KNOWN_MS)


def _note(period: int, digest: str) -> str:
    return f"{_SENT}{period}/{digest}"


def _digest(queue: str, deduplication_id: str) -> str:
    return hashlib.blake2b(f"{queue}\0{deduplication_id}".encode(), digest_size=16).hexdigest()
