"""What a restored store begins with: numbers that no write after the backup's moment can have had.

Sequence numbers, the ids and versions that are made of them, and the order of messages have been seen outside: by
readers of streams, caches, and whoever recognises repetitions. Were they given again, to other writes, a new change
would be taken for an old one.
"""

from __future__ import annotations

from typing import Final

from afterwrite.store import change_log, kinesis, queues
from afterwrite.store.environment import WriteTransaction

# Where the clock is behind what was counted already.
_LOST_WRITES_MAX: Final = 1 << 40


def leave_numbers_out(transaction: WriteTransaction) -> None:
    """Count on from the time in microseconds: no store has written that often since it counted from there, or from 0.

    So the numbers of two stores that were restored from one backup differ as well.
    """
    for counter in (change_log.COUNTER, kinesis.COUNTER, queues.COUNTER):
        counted = transaction.counter(counter)
        transaction.advance(counter, max(transaction.now_us, counted + _LOST_WRITES_MAX) - counted)
