"""Tasks on queues, carried out: dead letters moved back to where they came from, or elsewhere, and queues emptied."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final

from afterwrite.store import queue_tasks, queues
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.queue_tasks import COMPLETED, QueueTask
from afterwrite.store.queues import Received

_DELETED_A_COMMIT: Final = 1_000
_MOVED_A_COMMIT: Final = 200
_MOVE_EVERY_S: Final = 1.0


class QueueTaskWork:
    """The unit of work that carries tasks out, a portion of each in a transaction.

    A move takes messages that nobody holds, lane by lane in order. It ends when none of those that had arrived
    before it is left to take.
    """

    name = "queue-tasks"

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._environment.signals.watch([queue_tasks.SIGNAL], event)

    def run_once(self) -> float | None:
        """Take a portion of every task; None where there is none."""
        with self._environment.read() as transaction:
            found = queue_tasks.running(transaction)
        if not found:
            return None
        return min(self._environment.write(lambda transaction, task=task: _run(transaction, task)) for task in found)  # type: ignore[misc]


def _run(transaction: WriteTransaction, task: QueueTask) -> float:
    """Take a portion of a task; how long (s) until the next."""
    if task.number not in [each.number for each in queue_tasks.running(transaction)]:
        return 0.0
    if task.moves:
        limit = min(_MOVED_A_COMMIT, task.a_second or _MOVED_A_COMMIT)
        moved = _move(transaction, task, limit)
        task, more = replace(task, moved=task.moved + moved), moved == limit
    else:
        more = queues.purge(transaction, task.queue, through=task.through, limit=_DELETED_A_COMMIT)
    queue_tasks.change(transaction, task if more else replace(task, state=COMPLETED))
    return _MOVE_EVERY_S if more and task.a_second else 0.0


def _move(transaction: WriteTransaction, task: QueueTask, limit: int) -> int:
    moved = 0
    left: list[Received] = []
    while moved < limit:
        received = queues.receive(
            transaction, task.queue, limit=limit - moved, visibility_ms=1, now_ms=transaction.now_ms
        )
        if not received:
            break
        for each in received:
            source = (each.message.attributes or {}).get("dead_letter_source")
            destination = task.destination or source
            if each.arrival > task.through or destination is None:
                left.append(each)
                continue
            queues.remove(transaction, task.queue, each)
            # Its age counts from here, so that it is tried as often as any other message.
            revived = queues.revived(each.message)._replace(sent_at_ms=transaction.now_ms)
            queues.send(transaction, destination, revived.lane, queues.encode(revived))
            moved += 1
    for each in left:
        queues.release(transaction, task.queue, each, at_ms=transaction.now_ms, counted=False)
    return moved
