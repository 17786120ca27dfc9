"""How far everything is, as of one commit: positions, lags, depths, what is parked, what waits for files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from afterwrite.app import DEAD_LETTERS
from afterwrite.core.lag import Thresholds
from afterwrite.local.file_buffers import audit_buffer, lake_buffer
from afterwrite.local.lags import mapping_lag, queue_lag, table_lag
from afterwrite.local.mapping_ledger import progress
from afterwrite.local.work_queues import stuck_note
from afterwrite.store import buffers, change_log, given_up, ledger, queues, tables, waiting_messages
from afterwrite.store.environment import ReadTransaction
from afterwrite.store.names import names
from afterwrite.store.tables import Catalog, Table


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """How far a table's routes have come: positions, and what is still before them.

    `parked_age_ms` is how long the oldest parked lane has waited; `time_to_loss_ms` how long it is until the oldest
    change that waits is past its retention.
    """

    table: str
    position: int
    last_position: int
    lag_records: int
    iterator_age_ms: int
    parked_lanes: int
    parked_changes: int
    parked_age_ms: int | None = None
    retention_ms: int | None = None
    time_to_loss_ms: int | None = None


@dataclass(frozen=True, slots=True)
class LeftParkedStatus:
    """A table with parked lanes that no routes of the app as it is now will run: they wait until it has some again."""

    table: str
    parked_lanes: int
    parked_changes: int
    parked_age_ms: int


@dataclass(frozen=True, slots=True)
class LeftUnreadStatus:
    """Changes that a table's routes had not run on when the app was first run without any.

    They are kept as long as others; `time_to_loss_ms` is how long it is until the oldest is past its retention.
    """

    table: str
    changes: int
    oldest_age_ms: int
    retention_ms: int
    time_to_loss_ms: int


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """A route or pipe that is declared, whether it has run or not: `when` are the changes that it runs on, in words.

    How far it has come is what its table's status says. `parked_lanes` are those with a change that it failed on.
    """

    name: str
    table: str
    when: str
    parked_lanes: int


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """What a queue holds; `function` consumes it, None where nobody in the engine does.

    One that is not `declared` belongs to no queue or function of the app as it is now: what it holds waits.
    `stuck_threads` are attempts of the function that run past their timeout. `parked_messages` are those of
    `parked_lanes`, which wait for an operator; they are none of the waiting ones.
    """

    name: str
    function: str | None
    dead_letter_queue: str
    waiting: int
    in_flight: int
    dead_letters: int
    declared: bool = True
    stuck_threads: int = 0
    parked_lanes: int = 0
    parked_messages: int = 0
    oldest_age_ms: int = 0


@dataclass(frozen=True, slots=True)
class BufferStatus:
    """What waits to be written to files.

    One that is not `declared` belongs to no delivery stream or audit log of the app as it is now: what it holds waits.
    """

    name: str
    records: int
    bytes: int
    oldest_age_ms: int
    declared: bool = True


@dataclass(frozen=True, slots=True)
class MappingStatus:
    """A Lambda function on a stream: how many records it has to come, and how many batches are being tried.

    `source` is the table or the Kinesis stream, by `kind`. The iterator age is that of the last record that it was done
    with, at that time (S16); `oldest_age_ms` how long the oldest that is to come has waited, `time_to_loss_ms` how long
    it is until that one is past its retention.
    """

    function: str
    kind: str
    source: str
    lag_records: int
    batches_in_hand: int
    iterator_age_ms: int | None
    oldest_age_ms: int = 0
    retention_ms: int | None = None
    time_to_loss_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GivenUpStatus:
    """What a Lambda function was not able to handle of the stream `source`, and nobody has redriven or dropped since.

    `lost` are those of the records that were past the stream's retention when they were to run again.
    """

    function: str
    source: str
    batches: int
    records: int
    lost: int


@dataclass(frozen=True, slots=True)
class Status:
    """All of it, as of one commit. `engine` is what the running engine says of itself, None where none runs.

    `free_bytes` are what is left on the data directory's disk.
    """

    engine: Mapping[str, Any] | None
    consumers: list[ConsumerStatus]
    queues: list[QueueStatus]
    buffers: list[BufferStatus]
    thresholds: Thresholds = field(default_factory=Thresholds)
    event_source_mappings: list[MappingStatus] = field(default_factory=list)
    routes: list[RouteStatus] = field(default_factory=list)
    free_bytes: int | None = None
    given_up: list[GivenUpStatus] = field(default_factory=list)
    left_parked: list[LeftParkedStatus] = field(default_factory=list)
    left_unread: list[LeftUnreadStatus] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Whether everything that was written has had all its effects."""
        return _are_idle(self.consumers, self.queues, self.buffers, self.event_source_mappings)


def status_as_of(transaction: ReadTransaction, engine: Mapping[str, Any] | None, now_ms: int) -> Status:
    """The status that the transaction sees; `engine` is what the running engine says of itself."""
    topology = ledger.note(transaction, "topology") or {}
    catalog = tables.load_catalog(transaction)
    return Status(
        engine,
        list(_consumers(transaction, topology, catalog, now_ms)),
        _queues(transaction, topology.get("queues", []), now_ms),
        _buffers(transaction, topology, now_ms),
        Thresholds(**topology.get("alarms", {})),
        list(_mappings(transaction, topology, catalog, now_ms)),
        _routes(transaction, [each for each in topology.get("routes", []) if each["table"] in catalog]),
        given_up=[_given_up(transaction, uuid) for uuid in given_up.mappings(transaction)],
        left_parked=list(_left_parked(transaction, topology.get("tables", []), now_ms)),
        left_unread=list(_left_unread(transaction, topology.get("left", {}), catalog, now_ms)),
    )


def is_idle(transaction: ReadTransaction, now_ms: int) -> bool:
    """What `Status.idle` says, without counting more than it takes to know."""
    topology = ledger.note(transaction, "topology") or {}
    catalog = tables.load_catalog(transaction)
    return _are_idle(
        _consumers(transaction, topology, catalog, now_ms),
        _declared_queues(transaction, topology.get("queues", []), now_ms),
        _declared_buffers(transaction, topology, now_ms),
        _mappings(transaction, topology, catalog, now_ms),
    )


def _are_idle(
    consumers: Iterable[ConsumerStatus],
    queues: Iterable[QueueStatus],
    buffers: Iterable[BufferStatus],
    mappings: Iterable[MappingStatus],
) -> bool:
    # What comes last costs a step a change that waits.
    return (
        all(buffer.records == 0 for buffer in buffers if buffer.declared)
        and all(queue.waiting + queue.in_flight == 0 for queue in queues if queue.function is not None)
        and all(each.lag_records + each.batches_in_hand == 0 for each in mappings)
        and all(consumer.lag_records == 0 for consumer in consumers)
    )


def queue_depths(transaction: ReadTransaction, queue: str, now_ms: int) -> tuple[int, int]:
    """A queue's waiting messages, and those in flight."""
    in_flight = queues.in_flight(transaction, queue, now_ms)
    return queues.depth(transaction, queue) - in_flight, in_flight


def _consumers(
    transaction: ReadTransaction, topology: Mapping[str, Any], catalog: Catalog, now_ms: int
) -> Iterator[ConsumerStatus]:
    for name in topology.get("tables", []):
        if name in catalog:  # else it was deleted since
            yield _consumer(transaction, catalog[name], now_ms)


def _consumer(transaction: ReadTransaction, table: Table, now_ms: int) -> ConsumerStatus:
    lag = table_lag(transaction, table, now_ms)
    return ConsumerStatus(
        table=table.name,
        position=ledger.position(transaction, table.name),
        last_position=0 if table.stream is None else change_log.last_position(transaction, table.stream),
        lag_records=lag.records_behind,
        iterator_age_ms=lag.age_ms,
        parked_lanes=lag.parked_lanes,
        parked_changes=ledger.parked_count(transaction, table.name),
        parked_age_ms=lag.parked_age_ms,
        retention_ms=lag.retention_ms,
        time_to_loss_ms=lag.time_to_loss_ms,
    )


def _left_parked(transaction: ReadTransaction, declared: Sequence[str], now_ms: int) -> Iterator[LeftParkedStatus]:
    for name in sorted(names(transaction, "parked")):
        if name not in declared and (heads := list(ledger.parked_heads(transaction, name))):
            age_ms = max(0, now_ms - min(each.at_ms for each in heads))
            yield LeftParkedStatus(name, len(heads), ledger.parked_count(transaction, name), age_ms)


def _left_unread(
    transaction: ReadTransaction, left: Mapping[str, int], catalog: Catalog, now_ms: int
) -> Iterator[LeftUnreadStatus]:
    for name, through in sorted(left.items()):
        table = catalog.get(name)
        if table is None or table.stream is None:
            continue
        position = ledger.position(transaction, name)
        oldest = change_log.first_after(transaction, table.stream, position)
        if oldest is None or oldest[0] > through:
            continue
        changes = change_log.count_after(transaction, table.stream, position)
        changes -= change_log.count_after(transaction, table.stream, through)
        age_ms, retention_ms = max(0, now_ms - oldest[1] // 1000), table.retention_s * 1000
        yield LeftUnreadStatus(name, changes, age_ms, retention_ms, max(0, retention_ms - age_ms))


def _routes(transaction: ReadTransaction, declared: Sequence[Mapping[str, str]]) -> list[RouteStatus]:
    parked = Counter(
        (table, None if head.failure is None else head.failure.raised_by)
        for table in {each["table"] for each in declared}
        for head in ledger.parked_heads(transaction, table)
    )
    return [RouteStatus(**each, parked_lanes=parked[each["table"], each["name"]]) for each in declared]


def _mappings(
    transaction: ReadTransaction, topology: Mapping[str, Any], catalog: Catalog, now_ms: int
) -> Iterator[MappingStatus]:
    for declared in topology.get("event_source_mappings", []):
        if "kind" in declared and (found := _mapping(transaction, declared, catalog, now_ms)) is not None:
            yield found


def _mapping(
    transaction: ReadTransaction, declared: Mapping[str, str], catalog: Catalog, now_ms: int
) -> MappingStatus | None:
    lag = mapping_lag(transaction, declared, catalog, now_ms)
    if lag is None:
        return None
    done = progress(transaction, declared["uuid"])
    return MappingStatus(
        declared["function"],
        declared["kind"],
        declared["source"],
        lag.records_behind,
        done.pieces,
        done.iterator_age_ms,
        lag.age_ms,
        lag.retention_ms,
        lag.time_to_loss_ms,
    )


def _given_up(transaction: ReadTransaction, uuid: str) -> GivenUpStatus:
    found = [kept.batch for kept in given_up.batches(transaction, uuid)]
    records, lost = sum(each.records for each in found), sum(each.lost for each in found)
    return GivenUpStatus(found[0].function, found[0].source, len(found), records + lost, lost)


def _queues(transaction: ReadTransaction, declared: Sequence[Mapping[str, Any]], now_ms: int) -> list[QueueStatus]:
    """The declared queues, then those that still hold something, though the app does not declare them any more."""
    known = {name for queue in declared for name in (queue["name"], queue["dead_letter_queue"])}
    left = {name.removesuffix(DEAD_LETTERS) for name in queues.queue_names(transaction) if name not in known}
    undeclared = (_queue(transaction, name, None, name + DEAD_LETTERS, now_ms, declared=False) for name in sorted(left))
    return [
        *_declared_queues(transaction, declared, now_ms),
        *(each for each in undeclared if each.waiting + each.in_flight + each.dead_letters + each.parked_lanes),
    ]


def _declared_queues(
    transaction: ReadTransaction, declared: Sequence[Mapping[str, Any]], now_ms: int
) -> Iterator[QueueStatus]:
    for each in declared:
        yield _queue(transaction, each["name"], each["function"], each["dead_letter_queue"], now_ms)


def _queue(
    transaction: ReadTransaction,
    name: str,
    function: str | None,
    dead_letter_queue: str,
    now_ms: int,
    *,
    declared: bool = True,
) -> QueueStatus:
    waiting, in_flight = queue_depths(transaction, name, now_ms)
    depths = [
        waiting_messages.lane_depth(transaction, name, each.lane_digest)
        for each in waiting_messages.parked_heads(transaction, name)
    ]
    dead = queues.depth(transaction, dead_letter_queue)
    stuck = 0 if function is None else ledger.note(transaction, stuck_note(function)) or 0
    return QueueStatus(
        name,
        function,
        dead_letter_queue,
        waiting - sum(depths),
        in_flight,
        dead,
        declared,
        stuck,
        parked_lanes=len(depths),
        parked_messages=sum(depths),
        oldest_age_ms=queue_lag(transaction, name, now_ms).age_ms,
    )


def _buffers(transaction: ReadTransaction, topology: Mapping[str, Any], now_ms: int) -> list[BufferStatus]:
    """The declared buffers, then those that still hold something, though the app does not declare them any more."""
    declared = list(_declared_buffers(transaction, topology, now_ms))
    left = set(buffers.buffer_names(transaction)).difference(each.name for each in declared)
    undeclared = (_buffer(transaction, name, now_ms, declared=False) for name in sorted(left))
    return [*declared, *(each for each in undeclared if each.records)]


def _declared_buffers(transaction: ReadTransaction, topology: Mapping[str, Any], now_ms: int) -> Iterator[BufferStatus]:
    for stream in topology.get("delivery_streams", []):
        yield _buffer(transaction, lake_buffer(stream), now_ms)
    for log in topology.get("audit_logs", []):
        yield _buffer(transaction, audit_buffer(log), now_ms)


def _buffer(transaction: ReadTransaction, name: str, now_ms: int, *, declared: bool = True) -> BufferStatus:
    fill = buffers.fill(transaction, name)
    age_ms = 0 if fill.oldest_ms is None else max(0, now_ms - fill.oldest_ms)
    return BufferStatus(name, fill.records, fill.bytes, age_ms, declared)
