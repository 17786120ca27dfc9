"""Tasks on queues as the store keeps them: moving a dead letter queue's messages, and deleting a queue's messages.

They are worked off in portions, so that a queue of any length holds nobody up, and go on after a restart.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from afterwrite.store import ledger
from afterwrite.store.environment import ReadTransaction, WriteTransaction

SIGNAL: Final = "queue-tasks"
RUNNING: Final = "RUNNING"
COMPLETED: Final = "COMPLETED"
CANCELLED: Final = "CANCELLED"
_NOTE: Final = "queue-tasks"
# Of a queue's moves, the last ten are shown.
KEPT_A_QUEUE: Final = 10


@dataclass(frozen=True, slots=True)
class QueueTask:
    """A task on `queue`, for the messages that had arrived up to `through`.

    It moves them to `destination`, or where that is None and it `moves`, to the queue each came from, at most
    `a_second`; else it deletes them.
    """

    number: int
    queue: str
    through: int
    started_at_ms: int
    moves: bool
    destination: str | None = None
    a_second: int | None = None
    to_move: int = 0
    moved: int = 0
    state: str = RUNNING


def tasks(transaction: ReadTransaction) -> list[QueueTask]:
    """Every task that is kept, the oldest first."""
    kept: list[dict[str, Any]] = ledger.note(transaction, _NOTE) or []
    return [QueueTask(**fields) for fields in kept]


def running(transaction: ReadTransaction) -> list[QueueTask]:
    """The tasks that have not ended."""
    return [task for task in tasks(transaction) if task.state == RUNNING]


def start(transaction: WriteTransaction, task: QueueTask) -> QueueTask:
    """Keep a new task, which gets its number; the queue's oldest one is forgotten where there are many."""
    task = replace(task, number=transaction.advance("queue-tasks"))
    kept = tasks(transaction)
    ended = [each for each in kept if each.queue == task.queue and each.state != RUNNING]
    forgotten = ended[: max(0, len(ended) - KEPT_A_QUEUE + 1)]
    _keep(transaction, [*(each for each in kept if each not in forgotten), task])
    transaction.touch(SIGNAL)
    return task


def change(transaction: WriteTransaction, task: QueueTask) -> None:
    """Keep how far a task has come; nothing where it is forgotten."""
    _keep(transaction, [task if each.number == task.number else each for each in tasks(transaction)])


def _keep(transaction: WriteTransaction, kept: list[QueueTask]) -> None:
    ledger.keep_note(transaction, _NOTE, [asdict(each) for each in kept])
