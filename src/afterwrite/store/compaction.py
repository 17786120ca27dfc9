"""Writing the store's file anew, with what it holds now and nothing that it ever held.

Neither LMDB's free pages nor the journal's files are overwritten when something is deleted. So every entry is copied
into a new file, entry by entry, which takes the old one's place; then the old file's bytes, and the journal's, are
overwritten with zeros before the system gets the space back. (What a file system or a disk keeps of overwritten blocks
is theirs.)
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

import lmdb

from afterwrite.store.durable_files import create_directory, storage_errors, sync_directory
from afterwrite.store.environment import Environment
from afterwrite.store.transactions import DATABASES

_NEW: Final = "compacted"
_DATA: Final = "data.mdb"
_LOCK: Final = "lock.mdb"
_ENTRIES_A_TRANSACTION: Final = 50_000
_ZEROS: Final = bytes(1 << 20)


class Shredding:
    """Files whose bytes are overwritten once they are no longer needed, even if they have no name any more."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []

    def hold(self, path: Path) -> None:
        """Have the file at `path` overwritten by `shred`, whatever becomes of its name."""
        path.chmod(0o600)
        self._descriptors.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))

    def shred(self) -> None:
        """Overwrite what is held, and let it go."""
        try:
            for descriptor in self._descriptors:
                size = os.fstat(descriptor).st_size
                for at in range(0, size, len(_ZEROS)):
                    os.pwrite(descriptor, _ZEROS[: size - at], at)
                os.fsync(descriptor)
        finally:
            self.release()

    def release(self) -> None:
        """Let go of the files as they are."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()


def close_and_compact(environment: Environment, directory: Path) -> None:
    """Close the store in `directory`, and write its file anew. Nobody else may have it open.

    A crash leaves the old file or the new one. Raises StorageFull and StorageError.
    """
    old = Shredding()
    with storage_errors(directory):
        try:
            for path in sorted((directory / "journal").glob("*")):
                old.hold(path)
            environment.close()
            new = directory / _NEW
            if new.exists():
                shutil.rmtree(new)  # an earlier run was interrupted
            create_directory(new)
            _copy(directory, new)
            descriptor = os.open(new / _DATA, os.O_RDONLY | os.O_CLOEXEC)
            os.fsync(descriptor)
            os.close(descriptor)
            old.hold(directory / _DATA)
            (new / _DATA).replace(directory / _DATA)
            (directory / _LOCK).unlink(missing_ok=True)
            shutil.rmtree(new)
            sync_directory(directory)
            old.shred()
        finally:
            old.release()


def _copy(source: Path, target: Path) -> None:
    options: dict[str, Any] = {"max_dbs": len(DATABASES) + 8, "map_size": 1 << 40, "readahead": False}
    with (
        lmdb.open(os.fsencode(source), readonly=True, lock=False, **options) as old,
        lmdb.open(os.fsencode(target), sync=False, **options) as new,
    ):
        for name in DATABASES:
            _copy_database(old, new, name.encode())
        new.sync(True)


def _copy_database(old: lmdb.Environment, new: lmdb.Environment, name: bytes) -> None:
    source, target = old.open_db(name, create=False), new.open_db(name)
    with old.begin(db=source) as reading:
        entries = reading.cursor().iternext()
        while True:
            count = 0
            with new.begin(db=target, write=True) as writing:
                for key, value in entries:
                    writing.put(key, value, append=True)
                    count += 1
                    if count == _ENTRIES_A_TRANSACTION:
                        break
            if count < _ENTRIES_A_TRANSACTION:
                return
