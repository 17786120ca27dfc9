"""The change source of the embedded engine: a table's stream in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from afterwrite.core.changes import Change
from afterwrite.core.lanes import lanes_by
from afterwrite.core.ports import ReadChange
from afterwrite.errors import DeclarationError
from afterwrite.store import change_log
from afterwrite.store.environment import Environment
from afterwrite.store.tables import Table

# What the class does when it is called, in half the time.
_read_change: Final = partial(tuple.__new__, ReadChange)


class EmbeddedSource:
    """The ChangeSource of one table of the store. Nothing unread is trimmed, so nothing is lost.

    `lane_of` says what stays in order, by default the partition key.
    """

    def __init__(self, environment: Environment, table: Table, lane_of: Callable[[Change], str] | None = None) -> None:
        if table.stream is None:
            raise DeclarationError(f"the table {table.name} has no stream: declare it in the app, or enable its stream")
        self._environment = environment
        self._stream = table.stream
        self._lane_of = lane_of or lanes_by("partition_key", table.schema.partition_key, None)

    def read(self, after: int, *, limit: int, bytes_max: int) -> Sequence[ReadChange]:
        """The changes after a position, at most `limit`, of `bytes_max` bytes in all; empty where there are none yet.

        One change is given whatever its size.
        """
        lane_of = self._lane_of
        with self._environment.read() as transaction:
            changes = change_log.read(transaction, self._stream, after, limit, bytes_max=bytes_max)
            return [_read_change((position, lane_of(change), change)) for position, change in changes]

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to read."""
        self._environment.signals.watch([self._stream.signal], event)
