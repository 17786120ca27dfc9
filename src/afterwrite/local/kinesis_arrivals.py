"""A table's changes as they arrive in the Kinesis stream that feeds the table's own stream."""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from typing import Any, Final

import orjson

from afterwrite.core.changes import Change
from afterwrite.core.ports import ArrivalPage
from afterwrite.core.reordering import Arrival
from afterwrite.core.wire import from_kinesis_data
from afterwrite.errors import AfterwriteError, StorageError
from afterwrite.store import items, kinesis, kinesis_intake, tables
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.kinesis import KinesisRecord
from afterwrite.store.tables import Catalog, Table

_CREATED_US_END: Final = 1 << 63
_SIZE_BYTES_END: Final = 1 << 32


class KinesisArrivals:
    """The Arrivals of a table of the store whose stream is fed. Other tables' changes in the same stream are passed."""

    def __init__(self, environment: Environment, table: Table) -> None:
        self._environment = environment
        self._table = table
        self._stream = "" if table.stream is None else table.stream.fed_by or ""

    def taken_through(self) -> int:
        """The position up to which everything was taken."""
        with self._environment.read() as transaction:
            return kinesis_intake.taken_through(transaction, self._table.name)

    def read(self, after: int, *, limit: int, bytes_max: int) -> ArrivalPage:
        """What arrived after a position, at most `limit` changes of each shard, of `bytes_max` bytes."""
        with self._environment.read() as transaction:
            stream = kinesis.find(transaction, self._stream)
            if stream is None or self._found(self._environment.state["catalog"]) is None:
                return ArrivalPage((), after, 0, is_cut=False)
            page = kinesis.read_all(transaction, stream, after, limit=limit, bytes_max=bytes_max)
        arrivals: list[Arrival] = []
        unreadable: list[str] = []
        for record in page.records:
            try:
                change = self._change(record)
            except (AfterwriteError, ValueError, TypeError, KeyError, AttributeError):
                unreadable.append(kinesis.sequence_number(record.position))
                continue
            if change.table == self._table.name:
                arrivals.append(Arrival(record.position, record.arrived_at_us, change))
        through = after if page.after is None else page.after
        read_to_us = page.records[-1].arrived_at_us if page.records else 0
        return ArrivalPage(arrivals, through, read_to_us, page.more, unreadable)

    def take(self, changes: Sequence[Change], before: int, after: int) -> None:
        """Append changes to the table's stream, each once, and move the position. Raises StorageError."""

        def operation(transaction: WriteTransaction) -> None:
            table = self._found(tables.catalog(transaction))
            if table is None:
                raise StorageError(f"the table {self._table.name} was deleted: what was written to it leads to nothing")
            kinesis_intake.take(transaction, table, changes, before, after)

        self._environment.write(operation)

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever something may have arrived."""
        with self._environment.read() as transaction:
            stream = kinesis.find(transaction, self._stream)
        if stream is not None:
            self._environment.signals.watch([stream.signal], event)

    def _found(self, catalog: Catalog) -> Table | None:
        """The table as it is now, None where it was deleted, also where another has its name."""
        found = catalog.get(self._table.name)
        return found if found is not None and found.number == self._table.number else None

    def _change(self, record: KinesisRecord) -> Change:
        """The change that a record holds. Raises all kinds of errors for one that holds none."""
        data: Any = orjson.loads(base64.b64decode(record.data))
        change = from_kinesis_data(data)
        if change.table == self._table.name:
            items.place_of(self._table, change.keys_image)
        if not (0 <= change.created_at_us < _CREATED_US_END and 0 <= change.size_bytes < _SIZE_BYTES_END):
            raise ValueError("expected a time since the epoch and a size")
        return change
