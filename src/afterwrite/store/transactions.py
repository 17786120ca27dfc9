"""Transactions: one consistent view of the store, and the one that writes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from afterwrite.errors import CorruptData
from afterwrite.store.checksums import seal, seal_all, unseal
from afterwrite.store.journal import deletion_entry, put_entries, put_entry

# Their places are their numbers in the journal.
DATABASES: Final = (
    "meta",  # counters and format
    "catalog",  # tables by name
    "names",  # numbers given to names
    "items",
    "expirations",  # when which item expires
    "changes",  # the change log
    "messages",  # queues: every message, by lane
    "ready",  # queues: each lane's head, by the time it may run
    "buffers",
    "ledger",  # positions, plans, heads
    "parked",
    "completions",
    "archive",
    "timeline",  # what upkeep deletes, by the time it is due
    "indexes",  # secondary indexes: an entry's key to its item's
    "key_rests",  # what LMDB's keys cannot hold of long keys
    "streams",  # tables' streams: their state, and their numbers by table and label
    "kinesis",  # Kinesis streams by name
    "kinesis_records",
)
# What is put into these is gathered and goes into the file together, in the order of the keys: one call instead of one
# an entry, and neighbours on a page one after the other.
_GATHERED: Final = (
    "meta",
    "items",
    "expirations",
    "changes",
    "ledger",
    "completions",
    "timeline",
    "indexes",
    "kinesis_records",
)
# What LMDB allows. A key that it does not is put at once, for its own request to fail and not the whole commit.
_KEY_BYTES_MAX: Final = 511
_U64: Final = struct.Struct(">Q")


class Database(NamedTuple):
    """A database of the store: LMDB's handle, where its checksums start, and its number in the journal."""

    handle: Any
    seed: int
    number: int


class Opened(Protocol):
    """What a transaction needs to know of the store it is of."""

    @property
    def databases(self) -> Mapping[str, Database]:
        """The databases by name."""
        ...

    @property
    def state(self) -> dict[str, Any]:
        """The in-memory state that follows the commits."""
        ...

    @property
    def counters(self) -> dict[str, int]:
        """The durable counters as of the last commit, as far as they are known."""
        ...


class ReadTransaction:
    """A consistent view of the store as of its start. For one thread at a time."""

    __slots__ = ("_databases", "lmdb")

    # What is not found is looked for once more among its neighbours, in case only its key is damaged. A writing
    # transaction is spared that: it is where every microsecond counts.
    _checks_absence: ClassVar = True

    def __init__(self, opened: Opened, transaction: Any) -> None:
        self._databases = opened.databases
        self.lmdb = transaction

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value at `key`. Raises CorruptData."""
        handle, seed, _ = self._databases[database]
        sealed = self.lmdb.get(key, db=handle)
        if sealed is not None:
            return unseal(seed, key, sealed)
        if self._checks_absence:
            with self.lmdb.cursor(handle) as cursor:
                _check_around(cursor, key, seed, is_absent=True)
        return None

    def scan(
        self, database: str, low: bytes, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The entries with `low` <= key < `high` in order of their keys, or in the reverse. Raises CorruptData."""
        handle, seed, _ = self._databases[database]
        with self.lmdb.cursor(handle) as cursor:
            if self._checks_absence:
                # An entry whose key is damaged stands where it stood: at an end of the range it would be left out.
                _check_around(cursor, low, seed)
                if high is not None:
                    _check_around(cursor, high, seed)
            if not reverse:
                if cursor.set_range(low):
                    for key, sealed in cursor.iternext():
                        if high is not None and key >= high:
                            return
                        yield key, unseal(seed, key, sealed)
                return
            found = cursor.last() if high is None or not cursor.set_range(high) else cursor.prev()
            if found:
                for key, sealed in cursor.iterprev():
                    if key < low:
                        return
                    yield key, unseal(seed, key, sealed)

    def scan_wanted(
        self, database: str, low: bytes, high: bytes, wanted: Callable[[bytes], bool]
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Like `scan`, but the values of keys that are not `wanted` are not read and are given as None."""
        handle, seed, _ = self._databases[database]
        with self.lmdb.cursor(handle) as cursor:
            if cursor.set_range(low):
                for key in cursor.iternext(values=False):
                    if key >= high:
                        return
                    yield key, unseal(seed, key, cursor.value()) if wanted(key) else None

    def first(self, database: str, low: bytes, high: bytes) -> tuple[bytes, bytes] | None:
        """The first entry with `low` <= key < `high`. Raises CorruptData."""
        handle, seed, _ = self._databases[database]
        with self.lmdb.cursor(handle) as cursor:
            if cursor.set_range(low):
                key = cursor.key()
                if key < high:
                    return key, unseal(seed, key, cursor.value())
        return None

    def counter(self, name: str) -> int:
        """The durable counter `name`, 0 where it was never set."""
        raw = self.get("meta", name.encode())
        return _U64.unpack(raw)[0] if raw else 0


def _check_around(cursor: Any, key: bytes, seed: int, *, is_absent: bool = False) -> None:
    """Check the entries between which `key` stands or would stand, and that it does. Raises CorruptData.

    Where the way to them is damaged, the search ends at another place, and the entries there are whole.
    """
    if cursor.set_range(key):
        unseal(seed, cursor.key(), cursor.value())
        in_order = cursor.key() > key or (cursor.key() == key and not is_absent)
        found = cursor.prev()
    else:
        in_order = True
        found = cursor.last()
    if found:
        unseal(seed, cursor.key(), cursor.value())
        in_order = in_order and cursor.key() < key
    if not in_order:
        raise CorruptData(
            f"the store is damaged: the way to an entry (its key is {key[:64].hex()}) ends at another place; run "
            "`afterwrite check`, and restore from a backup"
        )


class WriteTransaction(ReadTransaction):
    """The one writing transaction. `now_us` is the time of the commit, and never runs backwards.

    `entries` is what it has written, as the journal keeps it; it is complete after `complete`.
    """

    __slots__ = ("_committed", "_counters", "_gathered", "dirty", "entries", "now_us", "state", "touched")

    _checks_absence: ClassVar = False

    def __init__(self, opened: Opened, transaction: Any, now_us: int) -> None:
        super().__init__(opened, transaction)
        self.now_us = now_us
        self.dirty = False
        self.entries: list[bytes] = []
        self.touched: set[str] = set()
        self.state: dict[str, Any] = dict(opened.state)
        self._committed = opened.counters
        self._counters: dict[str, int] = {}
        self._gathered: dict[str, dict[bytes, bytes]] = {name: {} for name in _GATHERED}

    def databases(self, *names: str) -> list[Database]:
        """The databases with these names."""
        return [self._databases[name] for name in names]

    @property
    def now_ms(self) -> int:
        """The time of the commit in milliseconds since the epoch."""
        return self.now_us // 1000

    def put(self, database: str, key: bytes, value: bytes) -> None:
        """Set the value at `key`."""
        self.dirty = True
        gathered = self._gathered.get(database)
        if gathered is not None and 0 < len(key) <= _KEY_BYTES_MAX:
            gathered[key] = value
            return
        handle, seed, number = self._databases[database]
        stored = seal(seed, key, value)
        self.lmdb.put(key, stored, db=handle)
        self.entries += put_entry(number, key, stored)

    def delete(self, database: str, key: bytes) -> bool:
        """Delete the entry at `key`; whether there was one."""
        self.dirty = True
        gathered = self._gathered.get(database)
        was_gathered = gathered is not None and gathered.pop(key, None) is not None
        handle, _, number = self._databases[database]
        if not self.lmdb.delete(key, db=handle):
            return was_gathered
        self.entries += deletion_entry(number, key)
        return True

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value at `key`. Raises CorruptData."""
        gathered = self._gathered.get(database)
        if gathered and (value := gathered.get(key)) is not None:
            return value
        handle, seed, _ = self._databases[database]
        sealed = self.lmdb.get(key, db=handle)
        return None if sealed is None else unseal(seed, key, sealed)

    def scan(
        self, database: str, low: bytes, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The entries with `low` <= key < `high` in order of their keys, or in the reverse. Raises CorruptData.

        What is put while they are read may be among them or not.
        """
        self._write_gathered(database)
        return super().scan(database, low, high, reverse=reverse)

    def scan_wanted(
        self, database: str, low: bytes, high: bytes, wanted: Callable[[bytes], bool]
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Like `scan`, but the values of keys that are not `wanted` are not read and are given as None."""
        self._write_gathered(database)
        return super().scan_wanted(database, low, high, wanted)

    def first(self, database: str, low: bytes, high: bytes) -> tuple[bytes, bytes] | None:
        """The first entry with `low` <= key < `high`. Raises CorruptData."""
        self._write_gathered(database)
        return super().first(database, low, high)

    def sealed(self, database: str, keys: Sequence[bytes]) -> list[bytes]:
        """What is stored at each of `keys`, with its checksum, which is not looked at; empty where nothing is."""
        self._write_gathered(database)
        with self.lmdb.cursor(self._databases[database].handle) as cursor:
            found = dict(cursor.getmulti(sorted(set(keys))))
        return [found.get(key, b"") for key in keys]

    def put_sealed(self, entries: Mapping[str, Sequence[tuple[bytes, bytes]]], journaled: bytes) -> None:
        """Set what is stored at keys, with its checksums, by database; `journaled` is the same for the journal."""
        self.dirty = True
        for database, each in entries.items():
            self._write_gathered(database)
            with self.lmdb.cursor(self._databases[database].handle) as cursor:
                cursor.putmulti(each)
        self.entries.append(journaled)

    def counter(self, name: str) -> int:
        """The durable counter `name`, as this transaction has it."""
        value = self._counters.get(name, self._committed.get(name))
        if value is None:
            value = self._committed[name] = super().counter(name)
        return value

    def advance(self, name: str, by: int = 1) -> int:
        """Add to the durable counter `name` and return its new value. Counters reach the file at commit."""
        self.dirty = True
        value = self._counters[name] = self.counter(name) + by
        return value

    def remember(self, name: str, value: Any) -> None:
        """Change the in-memory state that follows the commits; it is seen by others once this commits."""
        self.dirty = True
        self.state[name] = value

    def touch(self, signal: str) -> None:
        """Wake who waits for `signal`, after the commit."""
        self.touched.add(signal)

    @property
    def has_written(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.entries or self._counters or any(self._gathered.values()))

    def commit(self) -> None:
        """Commit what was completed."""
        self.lmdb.commit()
        self._committed.update(self._counters)

    def complete(self) -> None:
        """Bring what was gathered, and the counters that changed, into the file; it is to be committed then."""
        for name, value in self._counters.items():
            self.put("meta", name.encode(), _U64.pack(value))
        for database, gathered in self._gathered.items():
            if gathered:
                self._write_gathered(database)

    def _write_gathered(self, database: str) -> None:
        gathered = self._gathered.get(database)
        if not gathered:
            return
        handle, seed, number = self._databases[database]
        entries = seal_all(seed, sorted(gathered.items()))
        with self.lmdb.cursor(handle) as cursor:
            cursor.putmulti(entries)
        self.entries += put_entries(number, entries)
        gathered.clear()
