"""Steps on the embedded services: placements, parked changes and the position, in one transaction."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from afterwrite.config import Identity
from afterwrite.core.failures import Failure
from afterwrite.core.placements import Placement, ToArchive, ToBuffer, ToQueue
from afterwrite.core.ports import ParkedChange, Step
from afterwrite.core.wire import from_streams_record, to_streams_record
from afterwrite.local.fan_out import FanOut
from afterwrite.store import archive, buffers, ledger, queues
from afterwrite.store.buffers import NewBlock
from afterwrite.store.environment import Environment, WriteTransaction

_DAY_MS = 86_400_000


class EmbeddedSteps:
    """The StepSink of the embedded engine."""

    def __init__(self, environment: Environment, fan_out: FanOut, identity: Identity) -> None:
        self._environment = environment
        self._identity = identity
        self.place = fan_out.place

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
        return self._environment.write(partial(ledger.take_redrives, consumer=consumer))

    def watch_redrives(self, consumer: str, event: threading.Event) -> None:
        """Set `event` whenever there may be lanes to take."""
        self._environment.signals.watch([ledger.redrive_signal(consumer)], event)

    def commit(self, step: Step, meanwhile: Callable[[], None] | None = None) -> None:
        """Make the step happen, in one transaction; `meanwhile`, which must not raise, is called while it does.

        Raises StorageError; anything else is the step's own fault.
        """
        self._environment.write(
            partial(
                _take,
                consumer=step.consumer,
                before=step.before,
                after=step.after,
                placed=prepared(step.placements),
                released=[(each.lane, each.position) for each in step.released],
                parked=[_as_parked(each, self._identity.region) for each in step.parked],
            ),
            meanwhile,
        )


class _Parked(NamedTuple):
    """A change to be parked, as the ledger keeps it."""

    lane: str
    position: int
    record: Mapping[str, Any]
    failure: Failure | None
    attempts: int
    at_ms: int | None


def _as_parked(each: ParkedChange, region: str) -> _Parked:
    record = to_streams_record(each.change, region=region)
    # A stream tells the second; what the routes make of the change when they run again is of the same moment.
    record["dynamodb"]["ApproximateCreationDateTime"] = each.change.created_at_us / 1_000_000
    return _Parked(each.lane, each.position, record, each.failure, each.attempts, each.at_ms)


def _take(
    transaction: WriteTransaction,
    *,
    consumer: str,
    before: int,
    after: int,
    placed: Prepared,
    released: Sequence[tuple[str, int]],
    parked: Sequence[_Parked],
) -> None:
    ledger.advance_position(transaction, consumer, before, after)
    for lane, position in released:
        ledger.unpark(transaction, consumer, lane, position)
    put_prepared(transaction, placed)
    for each in parked:
        # What was dropped while its lane was redriven stays dropped.
        if each.at_ms is None or ledger.is_parked(transaction, consumer, each.lane, each.position):
            ledger.park(transaction, consumer, *each)


class Prepared(NamedTuple):
    """Placements as they are put: what can be done before the transaction, which others wait for, is done."""

    to_queues: Sequence[ToQueue]
    to_archives: Sequence[ToArchive]
    to_buffers: Mapping[str, Sequence[NewBlock]]


def prepared(placements: Sequence[Placement]) -> Prepared:
    """The placements, ready to be put."""
    to_queues: list[ToQueue] = []
    to_archives: list[ToArchive] = []
    to_buffers: defaultdict[str, list[ToBuffer]] = defaultdict(list)
    for placement in placements:
        if isinstance(placement, ToBuffer):
            to_buffers[placement.buffer].append(placement)
        elif isinstance(placement, ToQueue):
            to_queues.append(placement)
        else:
            to_archives.append(placement)
    return Prepared(to_queues, to_archives, {name: buffers.blocks_of(added) for name, added in to_buffers.items()})


def put_prepared(transaction: WriteTransaction, placed: Prepared) -> None:
    """Put every placement where it goes."""
    for queue, lane, text, delay_ms in placed.to_queues:
        not_before_ms = transaction.now_ms + delay_ms if delay_ms else 0
        queues.send(transaction, queue, lane, text, not_before_ms=not_before_ms)
    for bus, at_ms, text, keep_days in placed.to_archives:
        archive.add(transaction, bus, at_ms, text, keep_until_ms=transaction.now_ms + keep_days * _DAY_MS)
    for buffer, blocks in placed.to_buffers.items():
        buffers.add_blocks(transaction, buffer, blocks)


def put_all(transaction: WriteTransaction, placements: Sequence[Placement]) -> None:
    """Put every placement where it goes."""
    put_prepared(transaction, prepared(placements))
