"""Messages that consumers outside the engine hold: how long they stay hidden, whatever becomes of the clock.

Who holds a message knows it by the receipt that was handed out. The end of its visibility may move afterwards, and the
receipt stays good: where it has moved to is kept beside the queue.
"""

from __future__ import annotations

from typing import Final

from afterwrite.store import ledger, queues
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.queues import Received

VISIBILITY_MS_MAX: Final = 12 * 3_600_000
ENGINES_MS: Final = 100 * 365 * 86_400_000
"""For how long a function of the engine holds a message: until it is settled, and no step of the clock ends that.

One engine holds its directory, and what it held is taken over at the next start.
"""
# Nobody outside holds one so long, also after a clock that began anew.
_OUTSIDE_MS_MAX: Final = ENGINES_MS - 10 * 365 * 86_400_000
# Visibility ends 12 hours after the receive at the latest; what is kept of its changes is kept an hour longer.
_MOVES_KEPT_MS: Final = VISIBILITY_MS_MAX + 3_600_000
# As long as AWS keeps a message at most.
_FIRST_RECEIVE_KEPT_MS: Final = 14 * 86_400_000


def receive(transaction: WriteTransaction, queue: str, *, limit: int, visibility_ms: int) -> list[Received]:
    """Receive at most `limit` messages, as `queues.receive` does, for somebody who may outlive the engine's process."""
    now_ms = transaction.now_ms
    received = queues.receive(transaction, queue, limit=limit, visibility_ms=visibility_ms, now_ms=now_ms)
    if received:
        ledger.keep_note(transaction, _begun_note(queue), now_ms)
    return received


def first_received_ms(transaction: WriteTransaction, queue: str, received: Received) -> int | None:
    """When a message that was just received was received first; None where nobody asked then.

    To be asked at each receive, as only what is asked for is kept.
    """
    name = f"first-receive/{queue}/{received.arrival}"
    if received.receive_count > 1:
        found: int | None = ledger.note(transaction, name)
        return found
    ledger.keep_note(transaction, name, transaction.now_ms, until_ms=transaction.now_ms + _FIRST_RECEIVE_KEPT_MS)
    return transaction.now_ms


def current(transaction: ReadTransaction, queue: str, receipt: Received) -> Received:
    """The receipt with the end of its visibility as it was moved last."""
    until_ms = ledger.note(transaction, _moved_note(queue, receipt))
    return receipt if until_ms is None else receipt._replace(visible_until_ms=until_ms)


def hold(transaction: WriteTransaction, queue: str, receipt: Received, *, until_ms: int) -> bool:
    """Move the end of a message's visibility; False where the receipt, a current one, was overtaken."""
    if not queues.hold(transaction, queue, receipt, until_ms=until_ms):
        return False
    now_ms = transaction.now_ms
    ledger.keep_note(transaction, _begun_note(queue), now_ms)
    ledger.keep_note(transaction, _moved_note(queue, receipt), until_ms, until_ms=now_ms + _MOVES_KEPT_MS)
    return True


def cut_visibility(transaction: WriteTransaction, queue: str) -> None:
    """Let no message stay hidden longer because the clock has been set back since it was received. For the start.

    Where a visibility was begun later than it is now, each goes on for as long as it was to last when the last of them
    was begun. What a function held that does not take the queue's messages any more is not hidden at all.
    """
    now_ms = transaction.now_ms
    begun_ms: int | None = ledger.note(transaction, _begun_note(queue))
    set_back_ms = 0 if begun_ms is None else max(0, begun_ms - now_ms)
    for receipt in queues.held(transaction, queue, now_ms):
        if receipt.visible_until_ms - now_ms > _OUTSIDE_MS_MAX:
            queues.release(transaction, queue, receipt, at_ms=now_ms)
            continue
        until_ms = max(now_ms, min(receipt.visible_until_ms - set_back_ms, now_ms + VISIBILITY_MS_MAX))
        if until_ms < receipt.visible_until_ms:
            hold(transaction, queue, receipt, until_ms=until_ms)
    if set_back_ms:
        # None of what is held now was begun later.
        ledger.keep_note(transaction, _begun_note(queue), now_ms)
    while interrupted := queues.receive_interrupted(transaction, queue, visibility_ms=1, now_ms=now_ms):
        queues.release(transaction, queue, interrupted, at_ms=now_ms, counted=False)


def _begun_note(queue: str) -> str:
    return f"visibility-begun/{queue}"


def _moved_note(queue: str, receipt: Received) -> str:
    return f"visibility/{queue}/{receipt.arrival}/{receipt.receive_count}"
