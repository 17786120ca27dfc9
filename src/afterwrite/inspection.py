"""Looking at a data directory from outside, beside a running engine or without one. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson

from afterwrite.app import DEAD_LETTERS
from afterwrite.core.changes import Change
from afterwrite.core.invocations import Message
from afterwrite.core.lag import Thresholds
from afterwrite.core.lanes import lanes_by, table_of
from afterwrite.core.parked import ParkedEntry, Selection
from afterwrite.core.privacy import MaskedChange, PrivatePath
from afterwrite.core.search import Hit
from afterwrite.core.values import decode_item
from afterwrite.errors import StorageError
from afterwrite.local import audit_digests, audit_files, audit_history, audit_verification, search_index
from afterwrite.local.audit_files import AuditHead
from afterwrite.local.audit_history import ItemEvent, WantedItem
from afterwrite.local.audit_keys import trusted_keys
from afterwrite.local.audit_logs import digest_of, head_of
from afterwrite.local.audit_sealing import EntryOpener
from afterwrite.local.audit_verification import AuditReport
from afterwrite.local.fan_out import audit_buffer, lake_buffer
from afterwrite.local.lags import mapping_lag, queue_lag, table_lag
from afterwrite.local.mapping_ledger import progress
from afterwrite.local.work_queues import stuck_note
from afterwrite.store import archive, buffers, change_log, ledger, parked, queues, tables, waiting_messages
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.store.ledger import Completion, Parked
from afterwrite.store.tables import Catalog, Table

if TYPE_CHECKING:
    from afterwrite.lake_queries import LakeQueries


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
    """What waits to be written to files."""

    name: str
    records: int
    bytes: int
    oldest_age_ms: int


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
class Status:
    """All of it, as of one commit. `engine` is what the running engine says of itself, None where none runs."""

    engine: Mapping[str, Any] | None
    consumers: list[ConsumerStatus]
    queues: list[QueueStatus]
    buffers: list[BufferStatus]
    thresholds: Thresholds = field(default_factory=Thresholds)
    event_source_mappings: list[MappingStatus] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        """Whether everything that was written has had all its effects."""
        return (
            all(consumer.lag_records == 0 for consumer in self.consumers)
            and all(queue.waiting + queue.in_flight == 0 for queue in self.queues if queue.function is not None)
            and all(buffer.records == 0 for buffer in self.buffers)
            and all(each.lag_records + each.batches_in_hand == 0 for each in self.event_source_mappings)
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class DataReader:
    """A data directory, read only. Each call sees the store as of one commit.

    An `environment` that is `shared` with a running engine stays open when the reader is closed.
    """

    def __init__(self, directory: DataDirectory, environment: Environment, *, shared: bool = False) -> None:
        self._directory = directory
        self._environment = environment
        self._shared = shared

    def close(self) -> None:
        """Close the directory."""
        if not self._shared:
            self._environment.close()

    def __enter__(self) -> DataReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _table(self, transaction: ReadTransaction, name: str) -> Table:
        return tables.table_named(tables.load_catalog(transaction), name)

    def changes(self, table_name: str, after: int = 0) -> Iterator[Change]:
        """The table's changes that are kept, oldest first; `after` is a position."""
        return (change for _, change in self.positioned_changes(table_name, after))

    def positioned_changes(
        self, table_name: str, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, Change]]:
        """The same, each with its position; at most `limit`."""
        with self._environment.read() as transaction:
            stream = self._table(transaction, table_name).stream
            if stream is not None:
                yield from change_log.read(transaction, stream, after, limit)

    def items(self, table_name: str) -> Iterator[dict[str, Any]]:
        """The table's items."""
        with self._environment.read() as transaction:
            for _, text in tables.scan_items(transaction, self._table(transaction, table_name)):
                yield decode_item(orjson.loads(text))

    def archived_events(self, bus_name: str) -> Iterator[dict[str, Any]]:
        """The events in a bus's archive, oldest first."""
        with self._environment.read() as transaction:
            for _, event in archive.read(transaction, bus_name):
                yield event

    def completion(self, function_name: str, message_id: str) -> Completion | None:
        """What a function has done, or is doing, with a message; None where nothing, or too long ago."""
        with self._environment.read() as transaction:
            return ledger.completion(transaction, function_name, message_id)

    def completions(self, function_name: str) -> Iterator[Completion]:
        """What a function has done: one record a message."""
        with self._environment.read() as transaction:
            yield from ledger.completions(transaction, function_name)

    def messages(self, queue_name: str, lane: str | None = None) -> Iterator[Message]:
        """The messages that wait in a queue or a dead letter queue, of all lanes or of one.

        Looking at them is no receive and counts none: their `receive_count` is 0.
        """
        with self._environment.read() as transaction:
            for each in queues.messages(transaction, queue_name, lane):
                yield Message(
                    each.id, each.body, each.sent_at_ms, each.subject, each.attributes or {}, each.receive_count
                )

    def parked(self, table_name: str) -> Iterator[Parked]:
        """The parked changes of a table, lane by lane."""
        with self._environment.read() as transaction:
            yield from ledger.parked(transaction, table_name)

    def parked_entries(self, selection: Selection | None = None) -> Iterator[ParkedEntry]:
        """What was given up and waits for an operator: parked changes and messages, and dead letters."""
        with self._environment.read() as transaction:
            yield from parked.entries(transaction, selection or Selection())

    def newer_delivered(self, entry: ParkedEntry) -> int:
        """How many newer changes of the entry's item, or of a dead letter's lane, have been delivered past it."""
        with self._environment.read() as transaction:
            table = tables.load_catalog(transaction).get(table_of(entry.lane))
            if table is None or table.stream is None:
                return 0
            order = self._topology().get("orders", {}).get(table.name, "partition_key")
            lane_of = lanes_by(order, table.schema.partition_key, table.schema.sort_key)
            return parked.newer_changes(transaction, entry, table.stream, lane_of)

    def buffered_ids(self, buffer_name: str) -> Iterator[str]:
        """The ids of the records that wait in a buffer to be written to files, in order."""
        with self._environment.read() as transaction:
            for each in buffers.read(transaction, buffer_name):
                yield each.id

    def depths(self) -> dict[str, tuple[int, int]]:
        """Each queue's waiting messages, and those in flight."""
        now_ms = _now_ms()
        with self._environment.read() as transaction:
            return {name: _depths(transaction, name, now_ms) for name in queues.queue_names(transaction)}

    def position(self, table_name: str) -> int:
        """The position of the last change that the table's routes have had."""
        with self._environment.read() as transaction:
            return ledger.position(transaction, table_name)

    def positions(self) -> dict[str, tuple[int, int]]:
        """Each consumer's position, and the last one of its table."""
        return {each.table: (each.position, each.last_position) for each in self.status().consumers}

    def idle(self) -> bool:
        """Whether everything that was written has had all its effects."""
        return self.status().idle

    def lake(self, stream_name: str) -> Path:
        """The folder of a delivery stream's Parquet files."""
        return self._directory.lake / stream_name

    def lake_queries(self) -> LakeQueries:
        """SQL on the delivery streams' files, with a view of each; close it. Raises CommandError without DuckDB."""
        from afterwrite.lake_queries import LakeQueries

        topology = self._topology()
        keys = dict.fromkeys(topology.get("delivery_streams", []), ()) | topology.get("delivery_stream_keys", {})
        return LakeQueries(self._directory.lake, keys)

    def search_indexes(self) -> list[str]:
        """The app's search indexes that are in the data directory."""
        return list(self._topology().get("search_indexes", []))

    def search(self, index_name: str, words: str, *, limit: int = 10) -> Sequence[Hit]:
        """The documents of a search index in the data directory that hold all words, the best first.

        Raises CommandError where there is no such index, and TargetError.
        """
        return search_index.search(search_index.index_file(self._directory.search, index_name), words, limit=limit)

    def documents(self, index_name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every document of a search index in the data directory, with its id, in no order."""
        return search_index.documents(search_index.index_file(self._directory.search, index_name))

    def audit_entries(self, log_name: str) -> Iterator[dict[str, Any]]:
        """The entries of an audit log, in order, each with its number, id, time and hashes.

        Those of a forgettable log are decrypted; one that was forgotten is `{"forgotten": true}`.
        """
        opener = self._opener(log_name)
        for line in audit_files.read_entries(self._directory.audit / log_name, self.audit_head(log_name)):
            yield line if opener is None else opener.open(line)

    def _opener(self, log_name: str) -> EntryOpener | None:
        with self._environment.read() as transaction:
            opener = EntryOpener(transaction, log_name, self._directory.keys)
        return opener if opener or log_name in self._topology().get("forgettable_logs", []) else None

    def item_events(self, wanted: WantedItem | None = None, *, log: str | None = None) -> Iterator[ItemEvent]:
        """What the audit logs, or one `log`, tell of an item (None: of all), then what only the change log does.

        Each log in its order. What an entry leaves out is taken from the change log. Nothing is verified.
        """
        changes = {event.change_id: event for event in self._logged_events(wanted)}
        told: set[str] = set()
        for name in self.audit_logs() if log is None else [log]:
            opener = self._opener(name)
            for line in audit_files.read_lines(self._directory.audit / name, self.audit_head(name)):
                if wanted is None or opener is not None or wanted.in_text(line):
                    entry = audit_history.decode(line)
                    event = audit_history.event_of_entry(name, entry if opener is None else opener.open(entry))
                    event = audit_history.completed(event, changes.get(event.change_id))
                    if wanted is None or audit_history.is_about(event, wanted):
                        told.add(event.change_id)
                        yield event
        if log is None:
            yield from (event for event in changes.values() if event.change_id not in told)

    def _logged_events(self, wanted: WantedItem | None) -> Iterator[ItemEvent]:
        for table in self._topology().get("tables", []):
            private = self.private(table)
            for position, change in self.positioned_changes(table):
                shown = MaskedChange(change, private) if private else change
                event = audit_history.event_of_change(position, shown)
                if wanted is None or audit_history.is_about(event, wanted):
                    yield event

    def audit_logs(self) -> list[str]:
        """The audit logs of the app."""
        return list(self._topology().get("audit_logs", []))

    def audit_head(self, log_name: str) -> AuditHead:
        """The committed end of an audit log: its last entry's number and hash, and where that is."""
        with self._environment.read() as transaction:
            return head_of(transaction, log_name)

    def verify_audit(
        self,
        log_name: str,
        progress: Callable[[int, int], None] | None = None,
        *,
        key: Path | None = None,
        anchored: bytes | None = None,
    ) -> AuditReport:
        """Check an audit log's chain, seals, signed digests and end.

        `progress` is given bytes done and in all. Digests must be signed with the key in the file `key`, or one that
        the data directory keeps; `anchored` is the last digest that is kept elsewhere.
        """
        directory = self._directory.audit / log_name
        keys = trusted_keys(self._directory.keys, key)
        with self._environment.read() as transaction:
            kept = digest_of(transaction, log_name)
        signed = audit_digests.check(directory, log_name, keys, anchored, kept)
        return audit_verification.verify(directory, self.audit_head(log_name), progress, signed)

    def _topology(self) -> Mapping[str, Any]:
        with self._environment.read() as transaction:
            return ledger.note(transaction, "topology") or {}

    def private(self, table_name: str) -> Sequence[PrivatePath]:
        """The paths of a table's private attributes, as the app last declared them."""
        return [tuple(path) for path in self._topology().get("private", {}).get(table_name, ())]

    def status(self) -> Status:
        """Positions, lags, depths, parked lanes."""
        now_ms = _now_ms()
        engine = self._directory.holder()
        with self._environment.read() as transaction:
            topology = ledger.note(transaction, "topology") or {}
            catalog = tables.load_catalog(transaction)
            return Status(
                engine,
                [
                    _consumer(transaction, catalog[name], now_ms)
                    for name in topology.get("tables", [])
                    if name in catalog  # else it was deleted since
                ],
                _queues(transaction, topology.get("queues", []), now_ms),
                [
                    _buffer(transaction, name, now_ms)
                    for name in [
                        *(lake_buffer(stream) for stream in topology.get("delivery_streams", [])),
                        *(audit_buffer(log) for log in topology.get("audit_logs", [])),
                    ]
                ],
                Thresholds(**topology.get("alarms", {})),
                [
                    found
                    for declared in topology.get("event_source_mappings", [])
                    if "kind" in declared and (found := _mapping(transaction, declared, catalog, now_ms)) is not None
                ],
            )


def _depths(transaction: ReadTransaction, queue: str, now_ms: int) -> tuple[int, int]:
    in_flight = queues.in_flight(transaction, queue, now_ms)
    return queues.depth(transaction, queue) - in_flight, in_flight


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


def _queues(transaction: ReadTransaction, declared: Sequence[Mapping[str, Any]], now_ms: int) -> list[QueueStatus]:
    """The declared queues, then those that still hold something, though the app does not declare them any more."""
    known = {name for queue in declared for name in (queue["name"], queue["dead_letter_queue"])}
    left = {name.removesuffix(DEAD_LETTERS) for name in queues.queue_names(transaction) if name not in known}
    undeclared = (_queue(transaction, name, None, name + DEAD_LETTERS, now_ms, declared=False) for name in sorted(left))
    return [
        *(_queue(transaction, each["name"], each["function"], each["dead_letter_queue"], now_ms) for each in declared),
        *(each for each in undeclared if each.waiting + each.in_flight + each.dead_letters + each.parked_lanes),
    ]


def _queue(
    transaction: ReadTransaction,
    name: str,
    function: str | None,
    dead_letter_queue: str,
    now_ms: int,
    *,
    declared: bool = True,
) -> QueueStatus:
    waiting, in_flight = _depths(transaction, name, now_ms)
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


def _buffer(transaction: ReadTransaction, name: str, now_ms: int) -> BufferStatus:
    fill = buffers.fill(transaction, name)
    age_ms = 0 if fill.oldest_ms is None else max(0, now_ms - fill.oldest_ms)
    return BufferStatus(name, fill.records, fill.bytes, age_ms)


def open_data(path: str | Path) -> DataReader:
    """Open a data directory for reading, beside a running engine or without one. Raises StorageError.

    In the engine's own process, `Engine.reader()` is the way to it.
    """
    directory = DataDirectory(Path(path))
    if not directory.store.is_dir():
        inside = next((each.parent for each in sorted(directory.path.glob("*/store")) if each.is_dir()), None)
        raise StorageError(
            f"expected a data directory of afterwrite, found no store in {path}: "
            + ("check the path" if inside is None else f"did you mean {inside}?")
        )
    return DataReader(directory, Environment(directory.store, readonly=True))
