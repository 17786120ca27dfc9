"""Signals: waking the loops that wait for something to be committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


class Signals:
    """Named signals; a loop's event is set whenever one of the names it watches is notified."""

    def __init__(self) -> None:
        self._watchers: dict[str, tuple[threading.Event, ...]] = {}
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Iterable[str]], None]] = []

    def forward(self, told: Callable[[Iterable[str]], None]) -> None:
        """Have one more listener hear of whatever is notified; its names, before anybody wakes."""
        self._listeners.append(told)

    @property
    def watched(self) -> frozenset[str]:
        """The names that are watched so far."""
        return frozenset(self._watchers)

    def watch(self, names: Iterable[str], event: threading.Event) -> None:
        """Set `event` whenever one of `names` is notified."""
        with self._lock:
            for name in names:
                self._watchers[name] = (*self._watchers.get(name, ()), event)

    def notify(self, names: Iterable[str]) -> bool:
        """Set the events that watch one of `names`; whether there are any."""
        found = False
        for told in self._listeners:
            told(names)
        for name in names:
            for event in self._watchers.get(name, ()):
                event.set()
                found = True
        return found
