"""What makes commits durable: a record in the journal for each, a checkpoint now and then.

    commit:      journal record, fsync  ->  LMDB's pages, into the system's memory  ->  answers
    a large one: both at a time         ->  seen by readers, answers
    checkpoint:  in the background, all of LMDB's pages to the disk; the journal before it is not needed any more

At the start the file is made what it was at the last checkpoint, if the machine went down since, and the journal's
records that are not in it are written again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import lmdb

from afterwrite.errors import CorruptData, StorageError
from afterwrite.store import checkpoints, journal, openings
from afterwrite.store.checkpoints import Checkpoint
from afterwrite.store.early_writing import begin_writing
from afterwrite.store.journal import Journal, Known
from afterwrite.store.settling import Settling
from afterwrite.store.transactions import ReadTransaction, WriteTransaction

_LOG = logging.getLogger("afterwrite")

_CHECKPOINT_S: Final = 5.0
_RETRY_S: Final = 1.0
# A commit waits for the disk behind what was changed in so long.
_EARLY_WRITING_S: Final = 0.05
_REPLAYED_BYTES_MAX: Final = 32 << 20


def prepare_file(directory: Path, *, readonly: bool) -> Checkpoint | None:
    """Make LMDB's file in `directory` one that can be opened; the checkpoint to go on from, None if it was closed.

    Raises CorruptData, StorageError where it would have to be mended and is opened for reading only, and OSError.
    """
    checkpoint = checkpoints.kept(directory)
    if checkpoint is None:
        return None
    if not (directory / "data.mdb").exists():
        raise CorruptData(f"expected {directory / 'data.mdb'}, found none: restore the store from a backup")
    if checkpoint.needs_restoring:
        if readonly:
            raise StorageError(
                f"the machine went down while {directory} was written to: start the engine on it once, which brings "
                "back every write that was answered"
            )
        checkpoints.restore(directory, checkpoint)
    return checkpoint


class WriteAhead:
    """The journal and the checkpoints of an open store. `file` is LMDB's environment, opened without its own syncs.

    With `relaxed_s` there is no journal: what is committed is on the disk within that time. `failure` is set once
    commits cannot be made durable any more. `opening` is the last one that wrote to the file (`store/openings`). Raises
    OSError, CorruptData and LMDB's errors.
    """

    def __init__(
        self,
        directory: Path,
        file: Any,
        databases: Sequence[Any],
        read: Callable[[], AbstractContextManager[ReadTransaction]],
        *,
        checkpoint: Checkpoint | None,
        relaxed_s: float | None,
    ) -> None:
        self._committing = threading.Lock()
        self._keeping = threading.Lock()  # the checkpoint to return to; taken within the other
        self.failure: StorageError | None = None
        with read() as transaction:
            self.opening, self._record = openings.of_file(transaction).last, transaction.counter(openings.COMMITS)
        self._directory = directory
        self._file = file
        self._databases = databases
        self._boot = checkpoints.boot_id()
        self._journals = relaxed_s is None
        self._checkpoint_s = _CHECKPOINT_S if relaxed_s is None else relaxed_s
        self._journal = Journal(directory / "journal")
        self._changed, self._urgent = threading.Event(), threading.Event()
        self._stopped = threading.Event()
        self._kept: Checkpoint | None = checkpoint
        # Keeps the pages of the checkpoint from being used again.
        self._reader = file.begin()
        if checkpoint is not None and checkpoint.journaled and self._replay(checkpoint):
            _LOG.info("the store was not closed; record %d of its journal is in its file", self._record)
            with read() as transaction:
                self.opening = openings.of_file(transaction).last
        self._take(rotate=self._journals)
        if not self._journals:
            self._journal.remove()
        self._pages = os.open(directory / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def commit(
        self, record: int, transaction: WriteTransaction, settling: Settling, meanwhile: Callable[[], None] | None
    ) -> None:
        """Commit `transaction`, and make it durable as `record`. Records are numbered without gaps.

        While the disk writes a large record `meanwhile` is called, which must not raise, and the commit goes into the
        file. Raises OSError, LMDB's errors, and StorageError where it cannot be made durable any more.
        """
        number = transaction.lmdb.id()
        with self._committing:
            goes_on = self._begin(record, transaction.entries)
            try:
                if goes_on:
                    if meanwhile is not None:
                        meanwhile()
                    settling.begin(number)
                transaction.commit()
            except BaseException:
                settling.end()
                self._take_back()
                raise
            try:
                self._finish()
            except BaseException:
                settling.give_up()
                raise
            settling.end()

    def _begin(self, record: int, entries: Sequence[bytes]) -> bool:
        """Begin to make `record` durable; whether that goes on, and is to be finished."""
        goes_on = self._journals and self._journal.begin(record, entries)
        self._record = record
        if not self._changed.is_set():
            self._changed.set()
        if self._journals and self._journal.is_filling and not self._urgent.is_set():
            self._urgent.set()
        return goes_on

    def _finish(self) -> None:
        """Wait until the record is durable. Where it cannot be made so, nothing goes on: its commit is in the file."""
        try:
            self._journal.finish()
        except Exception as error:
            self._take_back()
            raise self._fail(f"its journal cannot be written to ({error})") from error

    def _take_back(self) -> None:
        self._record -= 1
        if self._journals:
            try:
                self._journal.take_back()
            except OSError as error:
                _LOG.warning("a record cannot be taken out of the journal yet (%s): no commit before it is", error)

    def urge(self) -> None:
        """Take a checkpoint soon: it gives back the pages that were kept for the one before."""
        self._changed.set()
        self._urgent.set()

    def close(self) -> None:
        """Bring everything to the disk, and leave the file with a note beside it, without journal and checkpoint."""
        self._stopped.set()
        self._changed.set()
        self._urgent.set()
        self._thread.join()
        os.close(self._pages)
        self._reader.abort()
        with self._committing:  # who drives the store may not have come back from the disk
            if self.failure is not None:
                self._journal.close()
                return
            self._file.sync(True)
            try:
                openings.keep_note(self._directory, self.opening, self._record)
            except OSError as error:
                _LOG.warning(
                    "the store is closed as if it had been killed, with its checkpoint and journal (%s)", error
                )
                self._journal.close()
                return
            checkpoints.remove(self._directory)
            self._journal.remove()

    def _replay(self, checkpoint: Checkpoint) -> bool:
        """Write what the journal holds beyond the file; whether there was anything."""
        files, applied = self._directory / "journal", self._record
        checksum = journal.checksum_of(files, applied, Known(checkpoint.record, checkpoint.checksum))
        if checksum is not None:
            self._journal.checksum = checksum
        if not checkpoint.needs_restoring:
            # The file is whole in the system's memory. Before it changes it must be so on the disk.
            self._take(rotate=False)
        waiting: list[bytes] = []
        waiting_bytes = 0
        # That of the file's last commit may never have been written: nobody was answered.
        through = max(applied, checkpoint.record) - 1
        for record in journal.records(files, applied, Known(applied, checksum), through=through):
            waiting.append(record.body)
            waiting_bytes += len(record.body)
            self._record, self._journal.checksum = record.number, record.checksum
            if waiting_bytes > _REPLAYED_BYTES_MAX:
                self._write(waiting)
                waiting, waiting_bytes = [], 0
        if waiting:
            self._write(waiting)
        return self._record > applied

    def _write(self, bodies: Sequence[bytes]) -> None:
        with self._file.begin(write=True) as transaction:
            for body in bodies:
                for number, key, stored in journal.entries(body):
                    handle = self._databases[number]
                    if stored is None:
                        transaction.delete(key, db=handle)
                    else:
                        transaction.put(key, stored, db=handle)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._changed.wait()
            self._write_early(self._checkpoint_s)
            if self._stopped.is_set() or self.failure is not None:
                return
            self._urgent.clear()
            try:
                self._take(rotate=self._prepare())
            except OSError as error:
                # The one before still stands; the journal grows until the next one.
                _LOG.warning("no checkpoint could be written (%s): it is tried again", error)
                self._changed.set()
                self._stopped.wait(_RETRY_S)
            except StorageError:  # a commit could not be made durable meanwhile
                return
            except lmdb.Error as error:
                self._fail(f"its pages cannot be brought to the disk ({error})")
                return

    def _write_early(self, wait_s: float) -> None:
        """Wait until the next checkpoint is due, and let its pages go to the disk meanwhile, few at a time."""
        deadline_s = time.monotonic() + wait_s
        while (left_s := deadline_s - time.monotonic()) > 0 and not self._urgent.wait(min(left_s, _EARLY_WRITING_S)):
            begin_writing(self._pages)

    def _prepare(self) -> bool:
        """Whether the next checkpoint may begin a new file of the journal."""
        if not self._journals or not self._journal.is_filling:
            return False
        try:
            self._journal.prepare()
        except OSError as error:
            _LOG.warning("no new file of the journal could be made (%s): the present one goes on", error)
            return False
        return True

    def _take(self, *, rotate: bool) -> None:
        """Take a checkpoint of the last commit. Raises `failure`, after which there is none any more."""
        with self._committing:
            if self.failure is not None:
                raise self.failure
            self._changed.clear()
            reader = self._file.begin()
            try:
                metas = checkpoints.meta_pages(self._directory, self._file.stat()["psize"])
                root = checkpoints.root_checksum(self._directory, metas)
                record, checksum, opening = self._record, self._journal.checksum, self.opening
                if rotate:
                    self._journal.begin_segment(record + 1)
            except BaseException:
                reader.abort()
                raise
        try:
            self._file.sync(True)
            self._keep(Checkpoint(record, self._journals, self._boot, metas, checksum, opening, root), reader)
        except BaseException:
            reader.abort()
            raise
        if rotate:
            self._journal.forget(record + 1)

    def _keep(self, checkpoint: Checkpoint, reader: Any) -> None:
        """Make `checkpoint`, whose pages `reader` keeps, the one to return to."""
        with self._keeping:
            if self.failure is not None:
                raise self.failure
            checkpoints.keep(self._directory, checkpoint)
            self._reader.abort()
            self._reader, self._kept = reader, checkpoint

    def _fail(self, reason: str) -> StorageError:
        """Refuse every commit from now on, and let the next start go back to the checkpoint; the error that says so."""
        with self._keeping:
            self.failure = failure = StorageError(
                f"the store in {self._directory} cannot go on: {reason}; check the disk, then restart the engine"
            )
            _LOG.critical("%s", failure)
            if self._kept is not None:
                try:
                    checkpoints.keep(self._directory, replace(self._kept, boot=b""))
                except OSError as error:
                    _LOG.critical("and its checkpoint cannot be marked (%s)", error)
        return failure
