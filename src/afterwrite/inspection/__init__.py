"""Looking at a data directory from outside, beside a running engine or without one. Nothing is changed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson

from afterwrite.core.changes import Change
from afterwrite.core.invocations import Message
from afterwrite.core.lanes import lanes_by
from afterwrite.core.names import Named, name_of
from afterwrite.core.parked import ParkedEntry, Selection
from afterwrite.core.privacy import MaskedChange, PrivatePath
from afterwrite.core.search import Hit
from afterwrite.core.values import decode_item
from afterwrite.errors import DeclarationError
from afterwrite.inspection.status import Status, is_idle, queue_depths, status_as_of
from afterwrite.local import search_index
from afterwrite.local.audit import digests, files, history, verification
from afterwrite.local.audit.files import AuditHead
from afterwrite.local.audit.history import ItemEvent, WantedItem
from afterwrite.local.audit.keys import trusted_keys
from afterwrite.local.audit.logs import digest_of, head_of
from afterwrite.local.audit.sealing import EntryOpener
from afterwrite.local.audit.verification import AuditReport
from afterwrite.store import archive, buffers, change_log, items, ledger, parked, queues, tables, waiting_messages
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.store.ledger import Completion, Parked
from afterwrite.store.newer_changes import Ordering, newer_changes
from afterwrite.store.tables import Table

if TYPE_CHECKING:
    from afterwrite.lake_queries import LakeQueries


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class DataReader:
    """A data directory, read only. Each call sees the store as of one commit.

    What the app declares is asked for by its name or as it is declared. For one that the app has not, most calls raise
    DeclarationError.

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

    def _table(self, transaction: ReadTransaction, table: Named | str) -> Table:
        catalog, name = tables.load_catalog(transaction), name_of(table)
        if name not in catalog:
            known = ", ".join(sorted(catalog)) or "a data directory that has none"
            raise DeclarationError(f"expected a table of {known}, got {name!r}")
        return catalog[name]

    def changes(self, table: Named | str, after: int = 0) -> Iterator[Change]:
        """The table's changes that are kept, oldest first; `after` is a position."""
        return (change for _, change in self.positioned_changes(table, after))

    def positioned_changes(
        self, table: Named | str, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, Change]]:
        """The same, each with its position; at most `limit`."""
        with self._environment.read() as transaction:
            stream = self._table(transaction, table).stream
            if stream is not None:
                yield from change_log.read(transaction, stream, after, limit)

    def items(self, table: Named | str) -> Iterator[dict[str, Any]]:
        """The table's items."""
        with self._environment.read() as transaction:
            for _, text in items.scan(transaction, self._table(transaction, table)):
                yield decode_item(orjson.loads(text))

    def archived_events(self, bus: Named | str) -> Iterator[dict[str, Any]]:
        """The events in a bus's archive, oldest first. Raises DeclarationError for a bus that the app has not."""
        self._refuse_unknown("a bus", name_of(bus), (bus["name"] for bus in self._topology().get("buses", [])))
        with self._environment.read() as transaction:
            for _, event, _ in archive.read(transaction, name_of(bus)):
                yield event

    def completion(self, function: Named | str, message_id: str) -> Completion | None:
        """What a function has done, or is doing, with a message; None where nothing, or too long ago."""
        with self._environment.read() as transaction:
            return ledger.completion(transaction, name_of(function), message_id)

    def completions(self, function: Named | str) -> Iterator[Completion]:
        """What a function has done: one record a message. Raises DeclarationError for one that the app has not."""
        known = (queue["function"] for queue in self._topology().get("queues", []) if queue["function"] is not None)
        self._refuse_unknown("a function", name_of(function), known)
        with self._environment.read() as transaction:
            yield from ledger.completions(transaction, name_of(function))

    def messages(self, queue: Named | str, lane: str | None = None) -> Iterator[Message]:
        """The messages that wait in a queue or a dead letter queue, of all lanes or of one.

        Looking at them is no receive and counts none: their `receive_count` is 0. Raises DeclarationError for a queue
        that the app has not, and that holds nothing from before.
        """
        declared = self._topology().get("queues", [])
        known = {name for each in declared for name in (each["name"], each["dead_letter_queue"])}
        with self._environment.read() as transaction:
            self._refuse_unknown("a queue", name_of(queue), known.union(queues.queue_names(transaction)))
            for each in waiting_messages.messages(transaction, name_of(queue), lane):
                yield Message(
                    each.id, each.body, each.sent_at_ms, each.subject, each.attributes or {}, each.receive_count
                )

    def parked(self, table: Named | str) -> Iterator[Parked]:
        """The parked changes of a table, lane by lane."""
        with self._environment.read() as transaction:
            yield from ledger.parked(transaction, name_of(table))

    def parked_entries(self, selection: Selection | None = None) -> Iterator[ParkedEntry]:
        """What was given up and waits for an operator: changes and messages, dead letters, records of streams."""
        with self._environment.read() as transaction:
            yield from parked.entries(transaction, selection or Selection())

    def newer_delivered(self, selection: Selection | None = None) -> Mapping[str, int]:
        """How many newer changes of its item, or of a dead letter's lane, have been delivered past each entry.

        By the entry's place; one without any may be left out.
        """
        orders = self._topology().get("orders", {})
        with self._environment.read() as transaction:
            orderings = {}
            for table in tables.load_catalog(transaction).values():
                if table.stream is not None:
                    order = orders.get(table.name, "partition_key")
                    lane_of = lanes_by(order, table.schema.partition_key, table.schema.sort_key)
                    orderings[table.name] = Ordering(table.stream, lane_of, is_ordered=order != "none")
            entries = parked.entries(transaction, selection or Selection(), counted=False)
            return newer_changes(transaction, entries, orderings)

    def buffered_ids(self, buffer_name: str) -> Iterator[str]:
        """The ids of the records that wait in a buffer to be written to files, in order."""
        with self._environment.read() as transaction:
            for each in buffers.read(transaction, buffer_name):
                yield each.id

    def depths(self) -> dict[str, tuple[int, int]]:
        """Each queue's waiting messages, and those in flight."""
        now_ms = _now_ms()
        with self._environment.read() as transaction:
            return {name: queue_depths(transaction, name, now_ms) for name in queues.queue_names(transaction)}

    def position(self, table: Named | str) -> int:
        """The position of the last change that the table's routes have had."""
        with self._environment.read() as transaction:
            return ledger.position(transaction, name_of(table))

    def last_positions(self) -> dict[str, int]:
        """The position of the last change of each table that has a stream."""
        with self._environment.read() as transaction:
            streams = {table.name: table.stream for table in tables.load_catalog(transaction).values()}
            return {name: change_log.last_position(transaction, each) for name, each in streams.items() if each}

    def positions(self) -> dict[str, tuple[int, int]]:
        """Each consumer's position, and the last one of its table."""
        return {each.table: (each.position, each.last_position) for each in self.status().consumers}

    def app(self) -> str | None:
        """The name of the app that the directory belongs to, None where none has run here."""
        return self._topology().get("app")

    def idle(self) -> bool:
        """Whether everything that was written has had all its effects."""
        with self._environment.read() as transaction:
            return is_idle(transaction, _now_ms())

    def lake(self, stream: Named | str) -> Path:
        """The folder of a delivery stream's Parquet files."""
        return self._directory.lake / name_of(stream)

    def lake_records(self, stream: Named | str) -> Iterator[dict[str, Any]]:
        """The rows of a delivery stream's files, in order; what still waits in its buffer is not among them.

        Raises DeclarationError for a stream that the app has not.
        """
        from afterwrite.local import lake

        self._refuse_unknown("a delivery stream", name_of(stream), self._topology().get("delivery_streams", []))
        return lake.read(self._directory.lake, name_of(stream))

    def lake_queries(self) -> LakeQueries:
        """SQL on the delivery streams' files, with a view of each; close it. Raises CommandError without DuckDB."""
        from afterwrite.lake_queries import LakeQueries

        topology = self._topology()
        keys = dict.fromkeys(topology.get("delivery_streams", []), ()) | topology.get("delivery_stream_keys", {})
        return LakeQueries(self._directory.lake, keys)

    def search_indexes(self) -> list[str]:
        """The app's search indexes that are in the data directory."""
        return list(self._topology().get("search_indexes", []))

    def search(self, index: Named | str, words: str, *, limit: int = 10) -> Sequence[Hit]:
        """The documents of a search index in the data directory that hold all words, the best first.

        Raises CommandError where there is no such index, and TargetError.
        """
        return search_index.search(search_index.index_file(self._directory.search, name_of(index)), words, limit=limit)

    def documents(self, index: Named | str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every document of a search index in the data directory, with its id, in no order.

        Raises CommandError where there is no such index.
        """
        path = search_index.index_file(self._directory.search, name_of(index))
        search_index.refuse_missing(path)
        return search_index.documents(path)

    def audit_entries(self, log: Named | str) -> Iterator[dict[str, Any]]:
        """The entries of an audit log, in order, each with its number, id, time and hashes.

        Those of a forgettable log are decrypted; one that was forgotten is `{"forgotten": true}`. Raises
        DeclarationError for a log that the app has not.
        """
        self._refuse_unknown("an audit log", name_of(log), self.audit_logs())
        opener = self._opener(name_of(log))
        for line in files.read_entries(self._directory.audit / name_of(log), self.audit_head(name_of(log))):
            yield line if opener is None else opener.open(line)

    def _opener(self, log: Named | str) -> EntryOpener | None:
        with self._environment.read() as transaction:
            opener = EntryOpener(transaction, name_of(log), self._directory.keys)
        return opener if opener or name_of(log) in self._topology().get("forgettable_logs", []) else None

    def item_events(self, wanted: WantedItem | None = None, *, log: Named | str | None = None) -> Iterator[ItemEvent]:
        """What the audit logs, or one `log`, tell of an item (None: of all), then what only the change log does.

        Each log in its order. What an entry leaves out is taken from the change log. Nothing is verified.
        """
        changes = {event.change_id: event for event in self._logged_events(wanted)}
        told: set[str] = set()
        for name in self.audit_logs() if log is None else [name_of(log)]:
            opener = self._opener(name)
            for line in files.read_lines(self._directory.audit / name, self.audit_head(name)):
                if wanted is None or opener is not None or wanted.in_text(line):
                    entry = history.decode(line)
                    event = history.event_of_entry(name, entry if opener is None else opener.open(entry))
                    event = history.completed(event, changes.get(event.change_id))
                    if wanted is None or history.is_about(event, wanted):
                        told.add(event.change_id)
                        yield event
        if log is None:
            yield from (event for event in changes.values() if event.change_id not in told)

    def _logged_events(self, wanted: WantedItem | None) -> Iterator[ItemEvent]:
        for table in self._topology().get("tables", []):
            private = self.private(table)
            for position, change in self.positioned_changes(table):
                shown = MaskedChange(change, private) if private else change
                event = history.event_of_change(position, shown)
                if wanted is None or history.is_about(event, wanted):
                    yield event

    def audit_logs(self) -> list[str]:
        """The audit logs of the app."""
        return list(self._topology().get("audit_logs", []))

    def audit_head(self, log: Named | str) -> AuditHead:
        """The committed end of an audit log: its last entry's number and hash, and where that is."""
        with self._environment.read() as transaction:
            return head_of(transaction, name_of(log))

    def verify_audit(
        self,
        log: Named | str,
        progress: Callable[[int, int], None] | None = None,
        *,
        key: Path | None = None,
        anchored: bytes | None = None,
    ) -> AuditReport:
        """Check an audit log's chain, seals, signed digests and end.

        `progress` is given bytes done and in all. Digests must be signed with the key in the file `key`, or one that
        the data directory keeps; `anchored` is the last digest that is kept elsewhere.
        """
        directory = self._directory.audit / name_of(log)
        keys = trusted_keys(self._directory.keys, key)
        with self._environment.read() as transaction:
            kept = digest_of(transaction, name_of(log))
        signed = digests.check(directory, name_of(log), keys, anchored, kept)
        return verification.verify(directory, self.audit_head(name_of(log)), progress, signed)

    def _refuse_unknown(self, what: str, name: str, known: Iterable[str]) -> None:
        """Where no app has run here, nothing is known, and nothing refused."""
        named = sorted(known)
        if name not in named and self._topology():
            raise DeclarationError(f"expected {what} of {', '.join(named) or 'an app that has none'}, got {name!r}")

    def _topology(self) -> Mapping[str, Any]:
        with self._environment.read() as transaction:
            return ledger.note(transaction, "topology") or {}

    def private(self, table: Named | str) -> Sequence[PrivatePath]:
        """The paths of a table's private attributes, as the app last declared them."""
        return [tuple(path) for path in self._topology().get("private", {}).get(name_of(table), ())]

    def status(self) -> Status:
        """Positions, lags, depths, parked lanes, and what is left on the disk."""
        engine = self._directory.holder()
        with self._environment.read() as transaction:
            found = status_as_of(transaction, engine, _now_ms())
        return replace(found, free_bytes=shutil.disk_usage(self._directory.store).free)


def open_data(path: str | Path) -> DataReader:
    """Open a data directory for reading, beside a running engine or without one. Raises StorageError.

    In the engine's own process, `Engine.reader()` is the way to it.
    """
    directory = DataDirectory(Path(path))
    return DataReader(directory, Environment(directory.existing_store(), readonly=True))
