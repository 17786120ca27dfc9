"""Steps on the embedded services: placements, parked changes and the position, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice

from afterwrite.config import Identity
from afterwrite.core.effects import StampedEffect
from afterwrite.core.placements import Placement, ToArchive, ToQueue
from afterwrite.core.ports import ParkedChange, Step
from afterwrite.core.wire import from_streams_record, to_streams_record
from afterwrite.local.fan_out import FanOut
from afterwrite.store import archive, buffers, ledger, queues
from afterwrite.store.buffers import NewRecord
from afterwrite.store.environment import Environment, WriteTransaction

_DAY_MS = 86_400_000


class EmbeddedSteps:
    """The StepSink of the embedded engine."""

    def __init__(self, environment: Environment, fan_out: FanOut, identity: Identity) -> None:
        self._environment = environment
        self._identity = identity
        self._fan_out = fan_out

    def place(self, effect: StampedEffect) -> Sequence[Placement]:
        """Where an effect goes."""
        return self._fan_out.place(effect)

    def position(self, consumer: str) -> int:
        """The position of the last change the consumer is done with."""
        with self._environment.read() as transaction:
            return ledger.position(transaction, consumer)

    def parked_lanes(self, consumer: str) -> frozenset[str]:
        """The lanes that are parked for the consumer."""
        with self._environment.read() as transaction:
            return frozenset(ledger.parked_lanes(transaction, consumer))

    def parked(self, consumer: str, lane: str, *, after: int, limit: int, bytes_max: int) -> Sequence[ParkedChange]:
        """A lane's parked changes after a position, in order, at most `limit`, of `bytes_max` bytes in all.

        One change is given whatever its size; none only where there is none.
        """
        page: list[ParkedChange] = []
        with self._environment.read() as transaction:
            for each in islice(ledger.parked(transaction, consumer, lane, after=after), limit):
                change = from_streams_record(each.change, table=consumer)
                bytes_max -= change.size_bytes
                if page and bytes_max < 0:
                    break
                page.append(ParkedChange(each.position, each.lane, change, each.failure, each.attempts, each.at_ms))
        return page

    def take_redrives(self, consumer: str) -> Sequence[str]:
        """The lanes that an operator wants to be tried again, each request handed out once."""
        return self._environment.write(lambda transaction: ledger.take_redrives(transaction, consumer))

    def watch_redrives(self, consumer: str, event: threading.Event) -> None:
        """Set `event` whenever there may be lanes to take."""
        self._environment.signals.watch([ledger.redrive_signal(consumer)], event)

    def commit(self, step: Step) -> None:
        """Make the step happen, in one transaction. Raises StorageError; anything else is the step's own fault."""

        def operation(transaction: WriteTransaction) -> None:
            ledger.advance_position(transaction, step.consumer, step.before, step.after)
            for each in step.released:
                ledger.unpark(transaction, step.consumer, each.lane, each.position)
            put_all(transaction, step.placements)
            for each in step.parked:
                record = to_streams_record(each.change, region=self._identity.region)
                ledger.park(
                    transaction,
                    step.consumer,
                    each.lane,
                    each.position,
                    record,
                    each.failure,
                    each.attempts,
                    each.at_ms,
                )

        self._environment.write(operation)


def put_all(transaction: WriteTransaction, placements: Sequence[Placement]) -> None:
    """Put every placement where it goes."""
    records: dict[str, list[NewRecord]] = {}
    for placement in placements:
        if isinstance(placement, ToQueue):
            not_before_ms = transaction.now_ms + placement.delay_ms if placement.delay_ms else 0
            queues.send(transaction, placement.queue, placement.lane, placement.text, not_before_ms=not_before_ms)
        elif isinstance(placement, ToArchive):
            keep_until_ms = transaction.now_ms + placement.keep_days * _DAY_MS
            archive.add(transaction, placement.bus, placement.at_ms, placement.text, keep_until_ms=keep_until_ms)
        else:
            record = NewRecord(placement.id, placement.at_ms, placement.text)
            records.setdefault(placement.buffer, []).append(record)
    for buffer, added in records.items():
        buffers.add(transaction, buffer, added)
