"""The intake of changes that arrive through a Kinesis stream: read, put in order, handed on once each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from afterwrite.core.ports import Arrivals
from afterwrite.core.reordering import Reordering
from afterwrite.engine.telemetry import Telemetry

READ_MAX: Final = 1_000
_READ_BYTES_MAX: Final = 8 << 20
# A portion is one transaction, for which other writes wait.
_TAKEN_MAX: Final = 500
_WAITING_MAX: Final = 20_000


class Intake:
    """The unit of work that takes one table's changes from where they arrive.

    A change waits for `window_ms` after its arrival, for older ones that arrive later.
    """

    def __init__(
        self, table: str, arrivals: Arrivals, telemetry: Telemetry, *, window_ms: int, now_ms: Callable[[], int]
    ) -> None:
        self.name = f"intake-{table}"
        self._table = table
        self._arrivals = arrivals
        self._telemetry = telemetry
        self._window_us = window_ms * 1000
        self._now_ms = now_ms
        self._taken_through: int | None = None
        self._read_through = 0
        self._reordering = self._nothing_waits()

    def _nothing_waits(self) -> Reordering:
        return Reordering(window_us=self._window_us, waiting_max=_WAITING_MAX)

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to take."""
        self._arrivals.watch(event)

    def run_once(self) -> float | None:
        """Take one portion; 0 as long as there is more, else how long (s) until more may be taken."""
        before = self._taken_through
        if before is None:
            before = self._read_through = self._arrivals.taken_through()
            self._reordering = self._nothing_waits()
        read_to_us = self._now_ms() * 1000
        page = self._arrivals.read(self._read_through, limit=READ_MAX, bytes_max=_READ_BYTES_MAX)
        for sequence_number in page.unreadable:
            self._telemetry.arrival_unreadable(self._table, sequence_number)
        if page.is_cut:
            read_to_us = page.read_to_us
        self._reordering.add(page.arrivals)
        self._read_through = page.through
        changes = self._reordering.release(read_to_us, limit=_TAKEN_MAX)
        # What comes once more from before is known to the store.
        through = max(before, self._reordering.done_through(page.through))
        if changes or through != before:
            # Should this fail, it is for the store to say what was taken.
            self._taken_through = None
            self._arrivals.take(changes, before, through)
        self._taken_through = through
        if page.is_cut or len(changes) >= _TAKEN_MAX:
            return 0.0
        next_us = self._reordering.next_release_us
        return None if next_us is None else max(0.001, next_us / 1e6 - self._now_ms() / 1e3)
