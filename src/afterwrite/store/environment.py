"""The LMDB environment: one writer thread that commits the requests that wait together (group commit).

An *operation* is a function of a `WriteTransaction`. Operations that wait together run in one LMDB transaction
and are made durable by one fsync; then each is answered. An operation that raises before it has written costs
nothing; one that raises after it has written would leave a trace, so the whole transaction is thrown away and
the other operations run again without it. An operation may therefore run more than once and must have no
effect but through its transaction.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import lmdb

from afterwrite.errors import CorruptData, StorageError, StorageFull
from afterwrite.store.data_directory import make_directory, sync_directory
from afterwrite.store.signals import Signals

T = TypeVar("T")

_LOG = logging.getLogger("afterwrite")

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
    "timeline",  # what the sweeper deletes, by the time it is due
    "indexes",  # secondary indexes: an entry's key to its item's
    "key_rests",  # what LMDB's keys cannot hold of long keys
    "streams",  # tables' streams: their state, and their numbers by table and label
    "kinesis",  # Kinesis streams by name
    "kinesis_records",
)
_FORMAT: Final = b"afterwrite 2"
_U64: Final = struct.Struct(">Q")
_BATCH_MAX: Final = 2048
# LMDB gives the system's words only. A write that found room for its first half is an I/O error to it.
_FULL_WORDS: Final = ("No space left", "File too large", "Disk quota exceeded", "Input/output error")


class ReadTransaction:
    """A consistent view of the store as of its start. For one thread at a time."""

    __slots__ = ("_environment", "lmdb")

    def __init__(self, environment: Environment, transaction: Any) -> None:
        self._environment = environment
        self.lmdb = transaction

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value at `key`."""
        return self.lmdb.get(key, db=self._environment.handles[database])  # type: ignore[no-any-return]

    def scan(
        self, database: str, low: bytes, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The entries with `low` <= key < `high` in order of their keys, or in the reverse order."""
        with self.lmdb.cursor(self._environment.handles[database]) as cursor:
            if not reverse:
                if cursor.set_range(low):
                    for key, value in cursor.iternext():
                        if high is not None and key >= high:
                            return
                        yield key, value
                return
            found = cursor.last() if high is None or not cursor.set_range(high) else cursor.prev()
            if found:
                for key, value in cursor.iterprev():
                    if key < low:
                        return
                    yield key, value

    def scan_wanted(
        self, database: str, low: bytes, high: bytes, wanted: Callable[[bytes], bool]
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """Like `scan`, but the values of keys that are not `wanted` are not read and are given as None."""
        with self.lmdb.cursor(self._environment.handles[database]) as cursor:
            if cursor.set_range(low):
                for key in cursor.iternext(values=False):
                    if key >= high:
                        return
                    yield key, cursor.value() if wanted(key) else None

    def first(self, database: str, low: bytes, high: bytes) -> tuple[bytes, bytes] | None:
        """The first entry with `low` <= key < `high`."""
        with self.lmdb.cursor(self._environment.handles[database]) as cursor:
            if cursor.set_range(low):
                key = cursor.key()
                if key < high:
                    return key, cursor.value()
        return None

    def counter(self, name: str) -> int:
        """The durable counter `name`, 0 where it was never set."""
        raw = self.get("meta", name.encode())
        return _U64.unpack(raw)[0] if raw else 0


class WriteTransaction(ReadTransaction):
    """The one writing transaction. `now_us` is the time of the commit, and never runs backwards."""

    __slots__ = ("_counters", "dirty", "now_us", "state", "touched")

    def __init__(self, environment: Environment, transaction: Any, now_us: int) -> None:
        super().__init__(environment, transaction)
        self.now_us = now_us
        self.dirty = False
        self.touched: set[str] = set()
        self.state: dict[str, Any] = dict(environment.state)
        self._counters: dict[str, int] = {}

    @property
    def now_ms(self) -> int:
        """The time of the commit in milliseconds since the epoch."""
        return self.now_us // 1000

    def put(self, database: str, key: bytes, value: bytes) -> None:
        """Set the value at `key`."""
        self.dirty = True
        self.lmdb.put(key, value, db=self._environment.handles[database])

    def delete(self, database: str, key: bytes) -> bool:
        """Delete the entry at `key`; whether there was one."""
        self.dirty = True
        return self.lmdb.delete(key, db=self._environment.handles[database])  # type: ignore[no-any-return]

    def counter(self, name: str) -> int:
        """The durable counter `name`, as this transaction has it."""
        value = self._counters.get(name)
        return super().counter(name) if value is None else value

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

    def write_counters(self) -> None:
        """Put the counters that changed into the file."""
        handle = self._environment.handles["meta"]
        for name, value in self._counters.items():
            self.lmdb.put(name.encode(), _U64.pack(value), db=handle)


class _Job(Generic[T]):
    __slots__ = ("error", "on_done", "operation", "result")

    def __init__(
        self,
        operation: Callable[[WriteTransaction], T],
        on_done: Callable[[T | None, BaseException | None], None],
    ) -> None:
        self.operation = operation
        self.on_done = on_done
        self.result: T | None = None
        self.error: BaseException | None = None


class Environment:
    """The store's file, its writer thread, and the in-memory state that follows the commits.

    `map_bytes_max` bounds the file; it is address space, not disk, until it is used. Opening for reading only
    works beside a running engine.
    """

    def __init__(
        self,
        directory: Path,
        *,
        readonly: bool = False,
        map_bytes_max: int = 1 << 40,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.signals = Signals()
        self.state: dict[str, Any] = {}
        self._clock_us = clock_us
        self._last_us = 0
        self._jobs: deque[_Job[Any]] = deque()
        self._waiting = threading.Condition(threading.Lock())
        self._closed = False
        self._after_commit: list[Callable[[], None]] = []
        if not readonly:
            make_directory(directory)
        try:
            self.lmdb = lmdb.open(
                str(directory),
                map_size=map_bytes_max,
                max_dbs=len(DATABASES) + 8,
                max_readers=512,
                readonly=readonly,
                create=not readonly,
                max_spare_txns=16,
                readahead=False,
            )
            self.handles: dict[str, Any] = {
                name: self.lmdb.open_db(name.encode(), create=not readonly) for name in DATABASES
            }
        except lmdb.Error as error:
            raise storage_error(error, directory) from error
        self._writer: threading.Thread | None = None
        if not readonly:
            self._check_format(directory)
            sync_directory(directory)
            sync_directory(directory.parent)
            self._writer = threading.Thread(target=self._write_loop, name="writer", daemon=True)
            self._writer.start()

    def _check_format(self, directory: Path) -> None:
        with self.lmdb.begin(write=True) as transaction:
            found = transaction.get(b"format", db=self.handles["meta"])
            if found is None:
                transaction.put(b"format", _FORMAT, db=self.handles["meta"])
            elif found != _FORMAT:
                raise CorruptData(
                    f"expected a store of the format {_FORMAT.decode()!r} in {directory}, found {found!r}: "
                    "use the version of afterwrite that wrote it"
                )

    @contextmanager
    def read(self) -> Iterator[ReadTransaction]:
        """A consistent view of what is committed."""
        with self.lmdb.begin() as transaction:
            yield ReadTransaction(self, transaction)

    def submit(
        self,
        operation: Callable[[WriteTransaction], T],
        on_done: Callable[[T | None, BaseException | None], None],
    ) -> None:
        """Run `operation` in the next commit; then `on_done(result, error)` is called on the writer's thread.

        `on_done` must not raise; if it does, that is logged and the writer goes on. Raises StorageError where the
        store is closed.
        """
        with self._waiting:
            if self._closed:
                raise StorageError("the store is closed: start the engine again")
            self._jobs.append(_Job(operation, on_done))
            if len(self._jobs) == 1:
                self._waiting.notify()

    def write(self, operation: Callable[[WriteTransaction], T]) -> T:
        """Run `operation` in the next commit and wait until it is durable. Raises what it raised."""
        answered = threading.Event()
        answer: list[Any] = []

        def on_done(result: T | None, error: BaseException | None) -> None:
            answer.extend((result, error))
            answered.set()

        self.submit(operation, on_done)
        answered.wait()
        if answer[1] is not None:
            raise answer[1]
        return answer[0]  # type: ignore[no-any-return]

    def after_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the writer's thread once after each commit's answers were handed out."""
        self._after_commit.append(listener)

    def release_dead_readers(self) -> int:
        """Forget the readers whose processes died reading; they would keep old pages for ever. How many there were."""
        return int(self.lmdb.reader_check())

    def close(self) -> None:
        """Commit what waits, stop the writer and close the file."""
        with self._waiting:
            if self._closed:
                return
            self._closed = True
            self._waiting.notify()
        if self._writer is not None:
            self._writer.join()
        self.lmdb.close()

    def _write_loop(self) -> None:
        while True:
            with self._waiting:
                while not self._jobs:
                    if self._closed:
                        return
                    self._waiting.wait()
                batch = [self._jobs.popleft() for _ in range(min(len(self._jobs), _BATCH_MAX))]
            self._commit(batch)
            for listener in self._after_commit:
                _call(listener)

    def _commit(self, batch: list[_Job[Any]]) -> None:
        touched: set[str] = set()
        remaining = batch
        while True:
            try:
                spoiler, touched = self._attempt(remaining)
            except Exception as error:  # noqa: BLE001 - whatever it is, every waiting request must hear of it
                failure = storage_error(error, Path(self.lmdb.path()))
                for job in remaining:
                    job.result, job.error = None, failure
                break
            if spoiler is None:
                break
            remaining = [job for job in remaining if job is not spoiler]
        for job in batch:
            _call(job.on_done, job.result, job.error)
        self.signals.notify(touched)

    def _attempt(self, jobs: list[_Job[Any]]) -> tuple[_Job[Any] | None, set[str]]:
        """Run and commit `jobs`; or throw all away and return the one that failed after it had written."""
        self._last_us = max(self._last_us, self._clock_us())
        transaction = WriteTransaction(self, self.lmdb.begin(write=True), self._last_us)
        try:
            for job in jobs:
                transaction.dirty = False
                try:
                    job.result, job.error = job.operation(transaction), None
                except Exception as error:
                    if isinstance(error, lmdb.Error) and not isinstance(error, lmdb.BadValsizeError):
                        raise  # the file's failure, not the request's
                    job.result, job.error = None, error
                    if transaction.dirty:
                        transaction.lmdb.abort()
                        return job, set()
            transaction.write_counters()
            transaction.lmdb.commit()
        except BaseException:
            transaction.lmdb.abort()
            raise
        self.state = transaction.state
        return None, transaction.touched


def _call(callback: Callable[..., None], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except Exception:  # noqa: BLE001 - the writer must outlive whatever it calls
        _LOG.exception("a callback of the store's writer failed")


def storage_error(error: BaseException, directory: Path) -> StorageError:
    """The StorageError that says what `error` of LMDB or the operating system means."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)) or any(words in str(error) for words in _FULL_WORDS):
        return StorageFull(
            f"no space left for {directory}, or its disk is failing ({error}): nothing of the request was kept; "
            "free space and send it again"
        )
    if isinstance(error, lmdb.PanicError):
        return StorageError(f"the store in {directory} cannot go on ({error}): check the disk, then restart the engine")
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)):
        return CorruptData(f"the store in {directory} is damaged ({error}): restore it from a backup")
    return StorageError(f"the store in {directory} failed ({type(error).__name__}: {error})")
