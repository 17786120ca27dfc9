"""Taking documents out of an embedded search index's file: it is written anew with what it holds now.

Neither SQLite's free pages, nor its write-ahead log, nor the segments of the full-text index lose what is deleted when
it is. So the words are indexed anew, what is live is copied to a new file, which takes the old one's place, and the old
files' bytes are overwritten.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from afterwrite.errors import StorageError
from afterwrite.store.compaction import Shredding
from afterwrite.store.durable_files import storage_errors, sync_directory

_NEW: Final = ".compacted"
_BESIDE: Final = ("-wal", "-shm", "-journal")
_BUSY_S_MAX: Final = 10.0


def erase(path: Path, is_own: Callable[[str, str], bool], *, at_ms: int, dry_run: bool = False) -> int:
    """Erase the documents that `is_own(id, document)` says of from the index in the file `path`; how many there were.

    Each leaves its id and its version behind, as one that was deleted at `at_ms`, so that nothing late puts it back.
    The file is written anew also where there is none, as it may hold what was deleted before. Nobody else may have it
    open. A crash leaves the old file or the new one. Raises StorageFull and StorageError.
    """
    old = Shredding()
    new = path.with_name(path.name + _NEW)
    try:
        with storage_errors(path):
            with closing(sqlite3.connect(path, timeout=_BUSY_S_MAX, isolation_level=None)) as database:
                erased = _delete(database, is_own, at_ms, dry_run=dry_run)
                if dry_run:
                    return erased
                new.unlink(missing_ok=True)  # an earlier run was interrupted
                database.execute("VACUUM INTO ?", (str(new),))
                for beside in (path.with_name(path.name + suffix) for suffix in _BESIDE):
                    if beside.exists():
                        old.hold(beside)
            descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
            os.fsync(descriptor)
            os.close(descriptor)
            old.hold(path)
            new.replace(path)
            for suffix in _BESIDE:
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            sync_directory(path.parent)
            old.shred()
    except sqlite3.Error as error:
        raise StorageError(
            f"the search index {path} cannot be rewritten ({error}): delete the file, and it is made again from the "
            "tables"
        ) from error
    finally:
        old.release()
    return erased


def _delete(database: sqlite3.Connection, is_own: Callable[[str, str], bool], at_ms: int, *, dry_run: bool) -> int:
    rows = database.execute("SELECT number, id, document FROM documents WHERE document IS NOT NULL")
    own = [(at_ms, number) for number, id, document in rows if is_own(id, document)]
    if not dry_run:
        database.execute("BEGIN IMMEDIATE")
        database.executemany("DELETE FROM words WHERE rowid = ?", [(number,) for _, number in own])
        database.executemany("UPDATE documents SET document = NULL, deleted_at_ms = ? WHERE number = ?", own)
        # What is deleted is only marked so in the segments of the full-text index.
        database.execute("INSERT INTO words (words) VALUES ('rebuild')")
        database.execute("COMMIT")
    return len(own)
