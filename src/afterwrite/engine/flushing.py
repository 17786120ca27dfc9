"""Flushing: taking records out of a buffer into files, when its limits of time and size say so."""

from __future__ import annotations

import threading
from collections.abc import Callable

from afterwrite.core.ports import Sink


class Flushing:
    """The unit of work of one sink."""

    def __init__(self, name: str, sink: Sink, now_ms: Callable[[], int]) -> None:
        self.name = name
        self._sink = sink
        self._now_ms = now_ms

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._sink.watch(event)

    def run_once(self) -> float | None:
        """Flush if it is due; how long (s) until it is."""
        now_ms = self._now_ms()
        at_ms = self._sink.next_flush_ms(now_ms)
        if at_ms is None:
            return None
        if at_ms > now_ms:
            return (at_ms - now_ms) / 1000
        self._sink.flush()
        return 0.0
