"""The LMDB environment: one writer that commits the requests that wait together (group commit).

An *operation* is a function of a `WriteTransaction`. Operations that wait together run in one LMDB transaction
and are made durable by one fsync; then each is answered. An operation that raises before it has written costs
nothing; one that raises after it has written would leave a trace, so the whole transaction is thrown away and
the other operations run again without it. An operation may therefore run more than once and must have no
effect but through its transaction. A *follower* is an operation that stands by: it runs at the end of each
transaction that touches the signal it follows, so what it does to what was written needs no commit of its own.

The writer is a thread of the store's own, or whoever offers to be it (`drive`): the event loop of a server, whose
requests then change no thread on their way to the file and back.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import lmdb

from afterwrite.errors import CorruptData, StorageError, StorageFull
from afterwrite.store import openings
from afterwrite.store.checkpoints import Checkpoint
from afterwrite.store.checksums import database_seed, seal
from afterwrite.store.clock import SteadyClock
from afterwrite.store.durable_files import create_directory, sync_directory
from afterwrite.store.file_errors import storage_error
from afterwrite.store.file_size import check_file_size, refuse_empty_file
from afterwrite.store.reading import READERS_MAX, Places
from afterwrite.store.settling import Settling
from afterwrite.store.signals import Signals
from afterwrite.store.transactions import DATABASES, Database, ReadTransaction, WriteTransaction
from afterwrite.store.write_ahead import WriteAhead, prepare_file

__all__ = ["Environment", "ReadTransaction", "WriteTransaction"]

T = TypeVar("T")

_LOG = logging.getLogger("afterwrite")

_FORMAT: Final = b"afterwrite 3"
_BATCH_MAX: Final = 2048


class _Job(Generic[T]):
    __slots__ = ("error", "on_done", "operation", "requests", "result")

    def __init__(
        self,
        operation: Callable[[WriteTransaction], T],
        on_done: Callable[[T | None, BaseException | None], None],
        requests: int = 1,
    ) -> None:
        self.operation = operation
        self.on_done = on_done
        self.requests = requests
        self.result: T | None = None
        self.error: BaseException | None = None


class Environment:
    """The store's file, its writer, and the in-memory state that follows the commits.

    `map_bytes_max` bounds the file; it is address space, not disk, until it is used. Opening for reading only
    works beside a running engine. With `sync_interval_s` a commit is answered before it is on disk, where it is
    within that time: a killed process loses nothing, a power cut loses what was not there yet.
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
        self._process = os.getpid()
        self._opening = openings.new_id()
        self._directory = directory
        self.state: dict[str, Any] = {}
        self.counters: dict[str, int] = {}
        self._clock_us = clock_us or SteadyClock()
        self._last_us = 0
        self._jobs: deque[_Job[Any]] = deque()
        self._requests = 0  # that the jobs are for
        self._followers: dict[str, tuple[_Job[Any], ...]] = {}
        self._waiting = threading.Condition(threading.Lock())
        self._driver: Callable[[], None] | None = None
        self._meanwhile: Callable[[], None] | None = None
        self._settling = Settling()
        self._writing = threading.Lock()
        self._closed = False
        self._after_commit: list[Callable[[], None]] = []
        self._watched: list[tuple[str, int, int]] = []
        if not readonly:
            create_directory(directory)
        refuse_empty_file(directory)
        checkpoint = prepare_file(directory, readonly=readonly)
        try:
            self.lmdb = lmdb.open(
                os.fsencode(directory),
                map_size=map_bytes_max,
                max_dbs=len(DATABASES) + 8,
                max_readers=READERS_MAX,
                readonly=readonly,
                create=not readonly,
                sync=False,  # the journal is what makes commits durable
                max_spare_txns=16,
                readahead=False,
            )
            check_file_size(self.lmdb, directory)
            self.databases = self._open_databases(readonly=readonly)
        except lmdb.Error as error:
            raise storage_error(error, directory) from error
        self._places = Places(self.lmdb)
        self._ahead: WriteAhead
        self._readonly = readonly
        self._check_format(directory, readonly=readonly)
        self._check_parts(directory, checkpoint)
        if not readonly:
            self._begin_writing(directory, checkpoint, sync_interval_s)

    def _open_databases(self, *, readonly: bool) -> Mapping[str, Database]:
        """Open every database, or make them all: one that is missing among others was lost, and is not made anew."""
        is_new = not readonly and self.lmdb.stat()["entries"] == 0
        with self.lmdb.begin(write=True) if is_new else nullcontext() as transaction:
            return {
                name: Database(
                    self.lmdb.open_db(name.encode(), transaction, create=is_new), database_seed(name), number
                )
                for number, name in enumerate(DATABASES)
            }

    def _begin_writing(self, directory: Path, checkpoint: Checkpoint | None, sync_interval_s: float | None) -> None:
        sync_directory(directory)
        sync_directory(directory.parent)
        self.watch_file(directory / "data.mdb")
        handles = [database.handle for database in self.databases.values()]
        try:
            self._ahead = WriteAhead(
                directory, self.lmdb, handles, self.read, checkpoint=checkpoint, relaxed_s=sync_interval_s
            )
            openings.remove_note(directory)
        except (lmdb.Error, OSError) as error:
            self.lmdb.close()
            raise storage_error(error, directory) from error
        except CorruptData:
            self.lmdb.close()
            raise
        self._writer = threading.Thread(target=self._write_loop, name="writer", daemon=True)
        self._writer.start()

    def _check_parts(self, directory: Path, checkpoint: Checkpoint | None) -> None:
        try:
            with self.read() as transaction:
                openings.refuse_other_file(transaction, directory, checkpoint, readonly=self._readonly)
        except CorruptData:
            self.lmdb.close()
            raise

    def _check_format(self, directory: Path, *, readonly: bool) -> None:
        meta, seed, _ = self.databases["meta"]
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

    def now_us(self) -> int:
        """The same in microseconds."""
        return self._clock_us()

    def catch_up(self, other_us: int) -> None:
        """Let the clock be at least as late as that of another process of the engine."""
        if isinstance(self._clock_us, SteadyClock):
            self._clock_us.catch_up(other_us)

    def watch_file(self, path: Path) -> None:
        """Refuse every commit once another file, or none, is at `path`: the directory was deleted or moved."""
        found = path.stat()
        self._watched.append((str(path), found.st_dev, found.st_ino))

    def _check_files(self) -> None:
        for path, device, number in self._watched:
            try:
                found = os.stat(path)  # noqa: PTH116 - Path.stat takes twice as long, at every commit
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
        """A consistent view of what is committed and durable. Raises StorageError where LMDB cannot read it."""
        try:
            with self._places.begin() as transaction:
                self._settling.wait(transaction.id())
                yield ReadTransaction(self, transaction)
        except lmdb.BadValsizeError:
            raise  # the caller's key, not the file's failure
        except lmdb.Error as error:
            raise storage_error(error, self._directory) from error

    def submit(
        self,
        operation: Callable[[WriteTransaction], T],
        on_done: Callable[[T | None, BaseException | None], None],
        *,
        requests: int = 1,
    ) -> None:
        """Run `operation`, which is what `requests` ask for, in the next commit.

        Then `on_done(result, error)` is called on the writer's thread. It must not raise; if it does, that is logged
        and the writer goes on. Raises StorageError where the store is closed, and in a fork of its process.
        """
        self._refuse_in_fork()
        with self._waiting:
            if self._closed:
                raise StorageError("the store is closed: start the engine again")
            self._jobs.append(_Job(operation, on_done, requests))
            self._requests += requests
            if len(self._jobs) == 1:
                self._wake_writer()

    def _refuse_in_fork(self) -> None:
        """Raise StorageError in a fork of the process, which has no writer, and another's memory and connection."""
        if os.getpid() != self._process:
            raise StorageError("expected a write by the engine's process, not by a fork of it: write where it was made")

    def write(self, operation: Callable[[WriteTransaction], T], meanwhile: Callable[[], None] | None = None) -> T:
        """Run `operation` in the next commit and wait until it is durable. Raises what it raised.

        `meanwhile` is called before the wait, and must not raise. Not to be called on the thread of who drives the
        store, which would wait for itself.
        """
        answer: T = self._wait(partial(self.submit, operation), meanwhile)
        return answer

    @staticmethod
    def _wait(
        ask: Callable[[Callable[[Any, BaseException | None], None]], None],
        meanwhile: Callable[[], None] | None = None,
    ) -> Any:
        """What `ask` is answered, which it is on another thread. Raises what the answer raises."""
        answered = threading.Lock()
        answered.acquire()
        answer: list[Any] = []

        def on_done(result: Any, error: BaseException | None) -> None:
            answer.extend((result, error))
            answered.release()

        ask(on_done)
        if meanwhile is not None:
            meanwhile()
        answered.acquire()
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def follow(
        self,
        signals: Iterable[str],
        operation: Callable[[WriteTransaction], T],
        on_done: Callable[[T | None, BaseException | None], None],
    ) -> bool:
        """Run `operation` at the end of every transaction that touches one of `signals`, as a part of it.

        Each time it was committed, or has failed, `on_done(result, error)` is called as by `submit`, before the
        transaction's requests are answered. Where it fails they are committed without it; where they cannot be
        committed, it has not been. What other followers touch does not call it. False where this process is not the
        writer's, and nothing follows.
        """
        if self._readonly:
            return False
        follower = _Job(operation, on_done)
        with self._writing:
            for signal in signals:
                self._followers[signal] = (*self._followers.get(signal, ()), follower)
        return True

    @property
    def waiting(self) -> int:
        """How many requests wait for the next commit."""
        return self._requests

    def share(self, settling: Settling) -> None:
        """Say by `settling`, which other processes have, too, what they must not see yet."""
        with self._writing:
            self._settling = settling

    def drive(self, wake: Callable[[], None], meanwhile: Callable[[], None] | None = None) -> None:
        """Be the writer from now on: `wake` is called, on any thread, whenever `commit_waiting` has work.

        `meanwhile` is called within `commit_waiting` while the disk writes. It sees the store as of the commit before,
        and what it submits is in the next one.
        """
        with self._waiting:
            self._driver, self._meanwhile = wake, meanwhile
            if self._jobs:
                self._wake_writer()

    def stop_driving(self) -> None:
        """Give the writing back to the store's own thread."""
        with self._waiting:
            self._driver = self._meanwhile = None
            self._wake_writer()

    def commit_waiting(self) -> bool:
        """Commit the requests that wait, and answer them; whether others were woken. For one thread: the driver's.

        It gives those others a turn before the next commit, for what they have to write to be in it.
        """
        with self._waiting:
            batch = self._next_batch()
            if self._jobs:
                self._wake_writer()
        return self._commit(batch) if batch else False

    def after_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the writer's thread once after each commit's answers were handed out."""
        self._after_commit.append(listener)

    def release_dead_readers(self) -> int:
        """Forget the readers whose processes died reading; they would keep old pages for ever. How many there were."""
        return int(self.lmdb.reader_check())

    def copy(self, directory: Path) -> None:
        """Copy the store as of one commit, without free pages, while writes go on. Raises StorageError."""
        try:
            self.lmdb.copy(os.fsencode(directory), compact=True)  # type: ignore[arg-type]  # its stub: no bytes
        except lmdb.Error as error:
            raise storage_error(error, directory) from error
        with self.read():  # what is seen now is durable, so what was copied is
            pass

    def close(self) -> None:
        """Commit what waits, bring everything to the disk and close the file."""
        with self._waiting:
            if self._closed:
                return
            self._closed = True
            self._driver = self._meanwhile = None
            self._waiting.notify()
        try:
            if not self._readonly:
                self._writer.join()
                self._ahead.close()
        except (lmdb.Error, OSError) as error:
            raise storage_error(error, self._directory) from error
        finally:
            self.lmdb.close()

    def _wake_writer(self) -> None:
        if self._driver is None:
            self._waiting.notify()
        else:
            self._driver()

    def _write_loop(self) -> None:
        while True:
            with self._waiting:
                self._waiting.wait_for(lambda: (self._jobs and self._driver is None) or self._closed)
                batch = self._next_batch()
            if not batch:
                return
            if self._commit(batch):
                os.sched_yield()

    def _next_batch(self) -> list[_Job[Any]]:
        batch = [self._jobs.popleft() for _ in range(min(len(self._jobs), _BATCH_MAX))]
        self._requests -= sum(job.requests for job in batch)
        return batch

    def _commit(self, batch: Sequence[_Job[Any]]) -> bool:
        """Commit `batch` and answer it; whether somebody waited for what it says."""
        with self._writing:
            followers, touched = self._commit_each(batch)
        for job in (*followers, *batch):
            _call(job.on_done, job.result, job.error)
        woken = self.signals.notify(touched)
        for listener in self._after_commit:
            _call(listener)
        return woken

    def _commit_each(self, batch: Sequence[_Job[Any]]) -> tuple[Sequence[_Job[Any]], set[str]]:
        """Commit `batch` without those that would spoil it; its followers, and the signals of what was committed."""
        remaining = batch
        spoilers: list[_Job[Any]] = []
        while True:
            try:
                spoiler, followers, touched = self._attempt(remaining, spoilers)
            except Exception as error:  # noqa: BLE001 - whatever it is, every waiting request must hear of it
                failure = storage_error(error, self._directory)
                if isinstance(failure, StorageFull):
                    self._ahead.urge()
                for job in remaining:
                    job.result, job.error = None, failure
                spoiler, followers, touched = None, [], set()
            if spoiler is None:
                return [*followers, *(job for job in spoilers if job not in batch)], touched
            spoilers.append(spoiler)
            remaining = [job for job in remaining if job is not spoiler]

    def _attempt(
        self, jobs: Sequence[_Job[Any]], spoilers: Sequence[_Job[Any]]
    ) -> tuple[_Job[Any] | None, Sequence[_Job[Any]], set[str]]:
        """Run and commit `jobs` and their followers, or throw all away for the one that failed after it had written.

        That one, None where they were committed; the followers that ran, but for `spoilers`; and the signals.
        """
        if self._ahead.failure is not None:
            raise self._ahead.failure
        self._check_files()
        self._last_us = max(self._last_us, self._clock_us())
        transaction = WriteTransaction(self, self.lmdb.begin(write=True), self._last_us)
        try:
            spoiler = _run(jobs, transaction)
            followers: Sequence[_Job[Any]] = ()
            if spoiler is None and not self._followers.keys().isdisjoint(transaction.touched):
                called = (job for signal in transaction.touched for job in self._followers.get(signal, ()))
                followers = [job for job in dict.fromkeys(called) if job not in spoilers]
                spoiler = _run(followers, transaction)
            if spoiler is not None:
                transaction.lmdb.abort()
                return spoiler, (), set()
            self._make_durable(transaction)
        except BaseException:
            transaction.lmdb.abort()
            raise
        self.state = transaction.state
        return None, followers, transaction.touched

    def _make_durable(self, transaction: WriteTransaction) -> None:
        if not transaction.has_written:
            transaction.lmdb.abort()
            return
        is_first = self._ahead.opening != self._opening
        if is_first:
            openings.begin(transaction, self._opening)
        record = transaction.advance(openings.COMMITS)
        transaction.complete()
        meanwhile = self._meanwhile  # which another thread may take away
        beside = None if meanwhile is None else partial(_call, meanwhile)
        self._ahead.commit(record, transaction, self._settling, beside)
        if is_first:
            self._ahead.opening = self._opening


def _run(jobs: Iterable[_Job[Any]], transaction: WriteTransaction) -> _Job[Any] | None:
    """Run the operations; the one that failed after it had written, at which this ends, else None."""
    for job in jobs:
        transaction.dirty = False
        try:
            job.result, job.error = job.operation(transaction), None
        except Exception as error:
            if isinstance(error, lmdb.Error) and not isinstance(error, lmdb.BadValsizeError):
                raise  # the file's failure, not the request's
            job.result, job.error = None, error
            if transaction.dirty:
                return job
    return None


def _call(callback: Callable[..., None], *arguments: Any) -> None:
    try:
        callback(*arguments)
    except Exception:  # noqa: BLE001 - the writer must outlive whatever it calls
        _LOG.exception("a callback of the store's writer failed")
