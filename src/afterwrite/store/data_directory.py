"""The data directory: its layout, and the lock by which one engine at a time holds it.

engine.lock    who holds the directory: process, address, since when
store/         LMDB; the folder itself is locked, too
lake/          the delivery streams' Parquet files
audit/         the audit logs' files
keys/          the audit logs' keys
files/         what the app's functions write
backups/       tables' backups that were asked for by CreateBackup
buckets/       what requests export and import: a folder for each of S3's buckets
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite import forks
from afterwrite.errors import DataDirectoryInUse, StorageError
from afterwrite.store.durable_files import create_directory

# `holder` takes the lock for an instant: whoever starts then tries again for so long.
_LOCK_S_MAX: Final = 1.0
_LOCK_RETRY_S: Final = 0.002


class DataDirectory:
    """Paths within a data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "store"
        self.lake = path / "lake"
        self.audit = path / "audit"
        self.keys = path / "keys"
        self.files = path / "files"
        self.search = path / "search"
        self.backups = path / "backups"
        self.buckets = path / "buckets"
        self.lock_file = path / "engine.lock"

    def existing_store(self) -> Path:
        """Where the store is. Raises StorageError where there is none, as this is no data directory then."""
        if self.store.is_dir() and any(self.store.iterdir()):
            return self.store
        self.refuse_lost_store()
        inside = next((each.parent.parent for each in sorted(self.path.glob("*/store/*"))), None)
        raise StorageError(
            f"expected a data directory of afterwrite, found no store in {self.path}: "
            + ("name the one that the engine runs on" if inside is None else f"did you mean {inside}?")
        )

    def refuse_lost_store(self) -> None:
        """Raise StorageError where there are files of an engine and its store is gone: another would begin anew."""
        if (self.store / "data.mdb").exists():
            return
        left = [f"{each.name}/" for each in (self.lake, self.audit, self.search) if _holds_files(each)]
        if left:
            raise StorageError(
                f"expected the store that {' and '.join(left)} in {self.path} belong to, found none in {self.store}: "
                "put it back, or restore a backup into another directory (afterwrite restore BACKUP --data DIR); to "
                f"begin anew, choose another directory with --data, or move {' and '.join(left)} away"
            )

    def holder(self) -> Mapping[str, Any] | None:
        """What the running engine says of itself: `pid`, `listening`, `since`; None where none runs."""
        try:
            descriptor = os.open(self.lock_file, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return None if _try_lock(descriptor, fcntl.LOCK_SH) else _read_holder(descriptor)
        finally:
            os.close(descriptor)

    def refuse_if_held(self) -> None:
        """Raise DataDirectoryInUse where an engine runs on it; nothing is made where there is none."""
        try:
            holder = self.holder()
        except OSError:
            return  # whoever takes the lock is told what is wrong with it
        if holder is not None:
            raise _in_use(f"the data directory {self.path}", holder)


def _holds_files(directory: Path) -> bool:
    return any(not each.is_dir() for each in directory.rglob("*"))


def _read_holder(descriptor: int) -> Mapping[str, Any]:
    text = os.pread(descriptor, 4096, 0)
    try:
        holder = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _lock(descriptor: int) -> bool:
    """Take the lock; False where an engine holds it, not only somebody who looks who does."""
    deadline_s = time.monotonic() + _LOCK_S_MAX
    while not _try_lock(descriptor, fcntl.LOCK_EX):
        if not _try_lock(descriptor, fcntl.LOCK_SH) or time.monotonic() >= deadline_s:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_LOCK_RETRY_S)
    return True


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_folder(descriptor: int) -> bool:
    """Take the lock of a folder; False where another has it. Some file systems of a network lock none."""
    try:
        return _try_lock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return True


def _in_use(held: str, holder: Mapping[str, Any]) -> DataDirectoryInUse:
    if "pid" not in holder:
        return DataDirectoryInUse(
            f"{held} is held by an engine that is starting, or by a command that works on "
            "it, such as afterwrite parked: try again in a moment, or choose another directory with --data"
        )
    listening = f"listening on {holder['listening']}" if "listening" in holder else "on no socket"
    return DataDirectoryInUse(
        f"{held} is held by the process {holder['pid']} ({listening}, since "
        f"{holder.get('since', 'an unknown time')}): stop that engine, or choose another directory with --data"
    )


def _store_in_use(directory: DataDirectory) -> DataDirectoryInUse:
    store = directory.store.resolve()
    held = f"the store {directory.store}"
    if store.parent != directory.path.resolve():
        held += f" (which is {store})"
    holder = DataDirectory(store.parent).holder()
    if holder is not None and store.parent != directory.path.resolve():
        return _in_use(held, holder)
    return DataDirectoryInUse(
        f"{held} is held by another engine, on another data directory whose store is the same folder: stop that "
        "engine, or choose another directory with --data"
    )


class DirectoryLock:
    """Holds a data directory for this process until `release`; the operating system releases it if it dies.

    The folder of its store is held as well: that of another directory may be a link to it.
    """

    def __init__(self, directory: DataDirectory) -> None:
        with ExitStack() as closing:
            self._descriptor = self._open(directory, directory.lock_file, os.O_RDWR | os.O_CREAT)
            closing.callback(os.close, self._descriptor)
            if not _lock(self._descriptor):
                raise _in_use(f"the data directory {directory.path}", _read_holder(self._descriptor))
            self._store_descriptor = self._open(directory, directory.store, os.O_RDONLY | os.O_DIRECTORY)
            closing.callback(os.close, self._store_descriptor)
            if not _lock_folder(self._store_descriptor):
                raise _store_in_use(directory)
            closing.pop_all()
        for descriptor in self.descriptors:
            forks.withhold(descriptor)
        # What an engine that died has said of itself is no longer so.
        os.ftruncate(self._descriptor, 0)

    @staticmethod
    def _open(directory: DataDirectory, path: Path, flags: int) -> int:
        try:
            create_directory(path if flags & os.O_DIRECTORY else path.parent)
            return os.open(path, flags | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(
                f"the data directory {directory.path} cannot be used ({error}): choose one that can be written to"
            ) from error

    @property
    def descriptors(self) -> tuple[int, int]:
        """The descriptors that hold the directory; who is given them holds it, too."""
        return self._descriptor, self._store_descriptor

    def describe(self, holder: Mapping[str, Any]) -> None:
        """Say who holds the directory."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, orjson.dumps(holder), 0)

    def release(self) -> None:
        """Let the directory go."""
        os.ftruncate(self._descriptor, 0)
        for descriptor in reversed(self.descriptors):
            forks.let_go(descriptor)
            os.close(descriptor)
