"""What a system outside has received, in an SQLite file of its own, and how it tells a repetition by its key."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, recipient TEXT NOT NULL, body TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS keys ON deliveries (key);
CREATE TABLE IF NOT EXISTS state (recipient TEXT PRIMARY KEY, body TEXT NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One arrival, in their order: its key, whom it is for or about, what it says, when it came."""

    key: str
    recipient: str
    body: str
    at_ms: int


class Inbox:
    """Every arrival is kept, also a repetition; what follows from one is done once for each key. For any thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        # What was answered outlives the process; a power cut is no part of the demonstration.
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def take(
        self, key: str, recipient: str, body: str, then: Callable[[sqlite3.Connection], object] | None = None
    ) -> bool:
        """Keep an arrival and, in the same transaction, do what follows; False, and nothing more, for a repetition."""
        row = (key, recipient, body, time.time_ns() // 1_000_000)
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            first = self._database.execute("SELECT 1 FROM deliveries WHERE key = ?", (key,)).fetchone() is None
            self._database.execute("INSERT INTO deliveries (key, recipient, body, at_ms) VALUES (?, ?, ?, ?)", row)
            if first and then is not None:
                then(self._database)
        return first


def deliveries(path: Path) -> list[Delivery]:
    """Every arrival, in order; none where there is no file yet."""
    return [Delivery(*row) for row in _rows(path, "SELECT key, recipient, body, at_ms FROM deliveries ORDER BY number")]


def state(path: Path) -> dict[str, str]:
    """What the system holds, by whom it is about."""
    return dict(_rows(path, "SELECT recipient, body FROM state"))


def count(path: Path) -> int:
    """How many arrivals there were so far, while more come."""
    rows: list[tuple[int]] = _rows(path, "SELECT count(*) FROM deliveries")
    return rows[0][0] if rows else 0


def once(arrivals: list[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """The first arrival of each key, in order, and the repetitions."""
    first: dict[str, Delivery] = {}
    repeated: list[Delivery] = []
    for arrival in arrivals:
        if arrival.key in first:
            repeated.append(arrival)
        else:
            first[arrival.key] = arrival
    return list(first.values()), repeated


def unlike(arrivals: list[Delivery]) -> list[Delivery]:
    """Repetitions that say something else, or to someone else, than the first arrival of their key."""
    first, repeated = once(arrivals)
    said = {each.key: (each.recipient, each.body) for each in first}
    return [each for each in repeated if said[each.key] != (each.recipient, each.body)]


def _rows(path: Path, query: str) -> list[tuple]:  # type: ignore[type-arg]
    if not path.exists():
        return []
    database = sqlite3.connect(path)
    try:
        return database.execute(query).fetchall()
    finally:
        database.close()
