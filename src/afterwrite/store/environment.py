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
from typing import Any, ClassVar, Final, Generic, TypeVar

import lmdb

from afterwrite.errors import CorruptData, StorageError, StorageFull
from afterwrite.store.checksums import database_seed, seal, unseal
from afterwrite.store.clock import SteadyClock
from afterwrite.store.durable_files import create_directory, sync_directory
from afterwrite.store.file_size import check_file_size, refuse_empty_file
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
    "timeline",  # what upkeep deletes, by the time it is due
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

    # What is not found is looked for once more among its neighbours, in case only its key is damaged. A writing
    # transaction is spared that: it is where every microsecond counts.
    _checks_absence: ClassVar = True

    def __init__(self, environment: Environment, transaction: Any) -> None:
        self._environment = environment
        self.lmdb = transaction

    def get(self, database: str, key: bytes) -> bytes | None:
        """The value at `key`. Raises CorruptData."""
        handle, seed = self._environment.handles[database]
        sealed = self.lmdb.get(key, db=handle)
        if sealed is not None:
            return unseal(seed, key, sealed)
        if self._checks_absence:
            with self.lmdb.cursor(handle) as cursor:
                _check_around(cursor, key, seed)
        return None

    def scan(
        self, database: str, low: bytes, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The entries with `low` <= key < `high` in order of their keys, or in the reverse. Raises CorruptData."""
        handle, seed = self._environment.handles[database]
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
        handle, seed = self._environment.handles[database]
        with self.lmdb.cursor(handle) as cursor:
            if cursor.set_range(low):
                for key in cursor.iternext(values=False):
                    if key >= high:
                        return
                    yield key, unseal(seed, key, cursor.value()) if wanted(key) else None

    def first(self, database: str, low: bytes, high: bytes) -> tuple[bytes, bytes] | None:
        """The first entry with `low` <= key < `high`. Raises CorruptData."""
        handle, seed = self._environment.handles[database]
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


def _check_around(cursor: Any, key: bytes, seed: int) -> None:
    """Check the entries between which `key` would stand. Raises CorruptData."""
    if cursor.set_range(key):
        unseal(seed, cursor.key(), cursor.value())
        found = cursor.prev()
    else:
        found = cursor.last()
    if found:
        unseal(seed, cursor.key(), cursor.value())


class WriteTransaction(ReadTransaction):
    """The one writing transaction. `now_us` is the time of the commit, and never runs backwards."""

    __slots__ = ("_counters", "dirty", "now_us", "state", "touched")

    _checks_absence: ClassVar = False

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
        handle, seed = self._environment.handles[database]
        self.lmdb.put(key, seal(seed, key, value), db=handle)

    def delete(self, database: str, key: bytes) -> bool:
        """Delete the entry at `key`; whether there was one."""
        self.dirty = True
        return self.lmdb.delete(key, db=self._environment.handles[database][0])  # type: ignore[no-any-return]

    def counter(self, name: str) -> int:
        """The durable counter `name`, as this transaction has it."""
        value = self._counters.get(name)
        return super().counter(name) if value is None else value

    def advance(self, name: str, by: int = 1) -> int:
        """Add to the durable counter `name` and return its new value. Counters reach the file at commit."""
        self.dirty = True
        counters = self._counters
        value = counters.get(name)
        if value is None:
            value = super().counter(name)
        value += by
        counters[name] = value
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
        for name, value in self._counters.items():
            self.put("meta", name.encode(), _U64.pack(value))


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
    works beside a running engine. With `sync_interval_s` a commit is answered before it is on disk, where it is
    within that time: a killed process loses nothing, a power cut loses what was not there yet, and may damage the
    file, because the system writes its pages in any order.
    """

    def __init__(
        self,
        directory: Path,
        *,
        readonly: bool = False,
        map_bytes_max: int = 1 << 40,
        sync_interval_s: float | None = None,
        clock_us: Callable[[], int] | None = None,
    ) -> None:
        self.signals = Signals()
        self.state: dict[str, Any] = {}
        self._clock_us = clock_us or SteadyClock()
        self._last_us = 0
        self._jobs: deque[_Job[Any]] = deque()
        self._waiting = threading.Condition(threading.Lock())
        self._closed = False
        self._sync_interval_s = sync_interval_s
        self._sync_at_s: float | None = None  # when commits that are not on disk yet are to be put there
        self._after_commit: list[Callable[[], None]] = []
        self._watched: list[tuple[Path, int, int]] = []
        if not readonly:
            create_directory(directory)
        refuse_empty_file(directory)
        try:
            self.lmdb = lmdb.open(
                str(directory),
                map_size=map_bytes_max,
                max_dbs=len(DATABASES) + 8,
                max_readers=512,
                readonly=readonly,
                create=not readonly,
                sync=sync_interval_s is None,
                max_spare_txns=16,
                readahead=False,
            )
            check_file_size(self.lmdb, directory)
            self.handles: dict[str, tuple[Any, int]] = {
                name: (self.lmdb.open_db(name.encode(), create=not readonly), database_seed(name)) for name in DATABASES
            }
        except lmdb.Error as error:
            raise storage_error(error, directory) from error
        self._writer: threading.Thread | None = None
        self._check_format(directory, readonly=readonly)
        if not readonly:
            sync_directory(directory)
            sync_directory(directory.parent)
            self.watch_file(directory / "data.mdb")
            self._writer = threading.Thread(target=self._write_loop, name="writer", daemon=True)
            self._writer.start()

    def _check_format(self, directory: Path, *, readonly: bool) -> None:
        meta, seed = self.handles["meta"]
        expected = seal(seed, b"format", _FORMAT)
        with self.lmdb.begin(write=not readonly) as transaction:
            found = transaction.get(b"format", db=meta)
            if found is None and not readonly:
                transaction.put(b"format", expected, db=meta)
            elif found != expected:
                self.lmdb.close()
                raise CorruptData(
                    f"expected a store of the format {_FORMAT.decode()!r} in {directory}, found {found!r}: "
                    "use the version of afterwrite that wrote it"
                )

    def now_ms(self) -> int:
        """The time (ms since the epoch) by the clock of the commits."""
        return self._clock_us() // 1000

    def watch_file(self, path: Path) -> None:
        """Refuse every commit once another file, or none, is at `path`: the directory was deleted or moved."""
        found = path.stat()
        self._watched.append((path, found.st_dev, found.st_ino))

    def _check_files(self) -> None:
        for path, device, number in self._watched:
            try:
                found = path.stat()
            except OSError:
                found = None
            if found is None or (found.st_dev, found.st_ino) != (device, number):
                raise StorageError(
                    f"expected {path} as this engine opened it, found {'none' if found is None else 'another file'}: "
                    "the data directory was moved or deleted, nothing of the request was kept; "
                    "put the directory back, or restart the engine"
                )

    @contextmanager
    def read(self) -> Iterator[ReadTransaction]:
        """A consistent view of what is committed. Raises StorageError where LMDB cannot read it."""
        try:
            with self.lmdb.begin() as transaction:
                yield ReadTransaction(self, transaction)
        except lmdb.BadValsizeError:
            raise  # the caller's key, not the file's failure
        except lmdb.Error as error:
            raise storage_error(error, Path(self.lmdb.path())) from error

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

    def copy(self, directory: Path) -> None:
        """Copy the store as of one commit, without free pages, while writes go on. Raises StorageError."""
        try:
            self.lmdb.copy(str(directory), compact=True)
        except lmdb.Error as error:
            raise storage_error(error, directory) from error

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
        while batch := self._next_batch():
            self._commit(batch)
            for listener in self._after_commit:
                _call(listener)
            if self._sync_interval_s is not None:
                self._sync_when_due(self._sync_interval_s)
        if self._sync_at_s is not None:
            _call(self.lmdb.sync, True)

    def _next_batch(self) -> list[_Job[Any]]:
        """The jobs that wait, at least one; none once the store is closed."""
        while True:
            with self._waiting:
                timeout_s = None if self._sync_at_s is None else max(0.0, self._sync_at_s - time.monotonic())
                self._waiting.wait_for(lambda: self._jobs or self._closed, timeout_s)
                if self._jobs or self._closed:
                    return [self._jobs.popleft() for _ in range(min(len(self._jobs), _BATCH_MAX))]
            self._sync_when_due(0.0)

    def _sync_when_due(self, interval_s: float) -> None:
        now_s = time.monotonic()
        if self._sync_at_s is None:
            self._sync_at_s = now_s + interval_s
        elif now_s >= self._sync_at_s:
            _call(self.lmdb.sync, True)
            self._sync_at_s = None

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
        self._check_files()
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
