"""What an error of LMDB or of the operating system means for who asked, and what the operator is to do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

import lmdb

from afterwrite.errors import CorruptData, StorageError, StorageFull

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
# LMDB gives the system's words only. A write that found room for its first half is an I/O error to it.
_NO_DESCRIPTOR_WORDS: Final = "Too many open files"
_FULL_WORDS: Final = ("No space left", "File too large", "Disk quota exceeded", "Input/output error")


def storage_error(error: BaseException, directory: Path) -> StorageError:
    """The StorageError that says what `error` of LMDB or the operating system means."""
    if isinstance(error, StorageError):
        return error
    if isinstance(error, (lmdb.MapFullError, lmdb.DiskError)) or any(words in str(error) for words in _FULL_WORDS):
        return StorageFull(
            f"no space left for {directory}, or its disk is failing ({error}): nothing of the request was kept; "
            "free space and send it again"
        )
    if getattr(error, "errno", None) in _NO_DESCRIPTOR or _NO_DESCRIPTOR_WORDS in str(error):
        return StorageError(
            f"no file descriptor is left for {directory}, connections have taken all ({error}): nothing of the request "
            "was kept; close connections, or let the process have more descriptors (ulimit -n), and send it again"
        )
    if isinstance(error, lmdb.MemoryError):
        return StorageError(
            f"the system gives no memory for {directory} ({error}): let the process have more, and more than 1 TiB of "
            "address space, which the file takes and hardly uses (ulimit -v)"
        )
    if isinstance(error, lmdb.PanicError):
        return StorageError(f"the store in {directory} cannot go on ({error}): check the disk, then restart the engine")
    if isinstance(error, lmdb.ReadonlyError):
        return StorageError(
            f"expected to be allowed to write {directory / 'lock.mdb'}, where readers are entered ({error}): "
            "use the engine's user"
        )
    if isinstance(error, lmdb.NotFoundError):
        return CorruptData(f"the store in {directory} is damaged, a part of it is missing: restore it from a backup")
    if isinstance(error, (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError)):
        return CorruptData(f"the store in {directory} is damaged ({error}): restore it from a backup")
    if isinstance(error, lmdb.BadTxnError):
        return StorageError(
            f"the store in {directory} cannot be read on, as a page before could not be ({error}): look for damage "
            "with afterwrite check, and restore it from a backup"
        )
    return StorageError(f"the store in {directory} failed ({type(error).__name__}: {error})")
