"""Files that survive a power cut: written under a temporary name, synced, renamed, their directories synced.

Operating system errors become the project's: a full disk (or quota, or file size limit) is `StorageFull`,
every other one `StorageError`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from afterwrite.errors import StorageError, StorageFull

TEMPORARY_SUFFIX = ".tmp"

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise the project's error for an OSError that writing or reading below `path` meets."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StorageFull(f"no space to write below {path} ({reason}): free space or raise the limit") from error
        raise StorageError(
            f"expected to write and read below {path}, got: {reason}; check the disk and the permissions"
        ) from error


@contextmanager
def removed_on_failure(directory: Path) -> Iterator[None]:
    """Delete `directory`, with all that is in it, where what makes it fails: half of it would take room for nothing."""
    try:
        yield
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write the whole of `content`, however many bytes the system takes at once."""
    view = memoryview(content)
    while len(view):
        view = view[os.write(descriptor, view) :]


def write_file(path: Path, content: bytes | memoryview, *, mode: int = 0o644) -> None:
    """Make `path` hold `content`, whole or not at all; the caller syncs the directory.

    The temporary file has a hidden name in the same directory, and is removed if writing fails.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    try:
        # One that a crash left may be read-only, and is not to be appended to.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, content)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_directory(path: Path) -> None:
    """Make the directory `path`, its parents where they are missing, and their names durable."""
    if path.is_dir():
        return
    create_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)
