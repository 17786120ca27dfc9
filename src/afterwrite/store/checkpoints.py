"""Checkpoints: the commit from which the journal goes on, should the machine lose its memory.

Between checkpoints LMDB's pages reach the disk whenever the system likes, in any order, so after a power cut its
file may point at pages that were never written. A checkpoint is a commit all of whose pages are on the disk and
stay there: an open reader keeps LMDB from giving them to anybody else, and LMDB's two meta pages, which the next
commits overwrite, are kept beside. Putting them back makes the file what it was at that commit.

After a killed process nothing needs to be put back: what it wrote is in the system's memory, whole and in order.
The boot's id tells the two apart.
"""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from afterwrite.errors import CorruptData
from afterwrite.store.durable_files import sync_directory, write_all, write_file

_FILE_NAME: Final = "checkpoint"
_DATA_NAME: Final = "data.mdb"
NO_OPENING: Final = bytes(16)
# How it begins, by its first bytes: these, the last journal record that is in the file, whether more follow, length of
# the boot's id, the record's checksum, the opening's id, the checksum of the root's page; older forms do not have the
# last ones. Then boot, metas, CRC-32.
_HEADERS: Final = {
    b"AWC1": struct.Struct(">4sQ?H"),
    b"AWC2": struct.Struct(">4sQ?HI"),
    b"AWC3": struct.Struct(">4sQ?HI16sI"),
}
_MAGIC: Final = b"AWC3"
_CHECKSUM_BYTES: Final = 4
# Where LMDB's meta pages say which page is the root, and which of the two is the later one.
_ROOT: Final = struct.Struct("=Q")
_ROOT_AT: Final = 128
_COMMIT_AT: Final = 144
_BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commit: the number and the checksum of its record, the boot it was made in, LMDB's meta pages as of it.

    `opening` is the id of the opening (`store/openings`) that the file held, `root` the checksum of the page that the
    meta pages lead to. What an older version did not write down is None. `journaled` says whether the commits after it
    are in the journal.
    """

    record: int
    journaled: bool
    boot: bytes
    metas: bytes
    checksum: int | None
    opening: bytes | None
    root: int | None

    @property
    def needs_restoring(self) -> bool:
        """Whether the system may have lost what was written after it."""
        return self.boot == b"" or self.boot != boot_id()


def boot_id() -> bytes:
    """What is the same as long as the system's memory is; nothing where the system does not tell."""
    try:
        return _BOOT_ID_FILE.read_bytes().strip()
    except OSError:
        pass
    try:
        told = subprocess.run(  # macOS
            ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return b""
    return told.stdout.strip()


def meta_pages(directory: Path, page_bytes: int) -> bytes:
    """LMDB's meta pages as they are now. To be called while nothing is committed."""
    descriptor = os.open(directory / _DATA_NAME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, 2 * page_bytes, 0)
    finally:
        os.close(descriptor)


def root_checksum(directory: Path, metas: bytes) -> int:
    """The CRC-32 of the page that `metas` lead to, which every commit writes anew and a checkpoint keeps."""
    page_bytes = len(metas) // 2
    latest = max((0, page_bytes), key=lambda page: _ROOT.unpack_from(metas, page + _COMMIT_AT))
    (root,) = _ROOT.unpack_from(metas, latest + _ROOT_AT)
    descriptor = os.open(directory / _DATA_NAME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return crc32(os.pread(descriptor, page_bytes, root * page_bytes))
    finally:
        os.close(descriptor)


def keep(directory: Path, checkpoint: Checkpoint) -> None:
    """Make `checkpoint` the one to return to, durably. Its pages must be on the disk. Raises OSError."""
    optional = [each for each in (checkpoint.checksum, checkpoint.opening, checkpoint.root) if each is not None]
    magic = {0: b"AWC1", 1: b"AWC2"}.get(len(optional), _MAGIC)
    fields = checkpoint.record, checkpoint.journaled, len(checkpoint.boot), *optional
    content = _HEADERS[magic].pack(magic, *fields) + checkpoint.boot + checkpoint.metas
    write_file(directory / _FILE_NAME, content + crc32(content).to_bytes(_CHECKSUM_BYTES, "big"))
    sync_directory(directory)


def kept(directory: Path) -> Checkpoint | None:
    """The checkpoint to return to; None where the store was closed, or is new. Raises CorruptData and OSError."""
    path = directory / _FILE_NAME
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    expected = crc32(body).to_bytes(_CHECKSUM_BYTES, "big")
    header = _HEADERS.get(body[:4])
    if header is None or len(body) < header.size or checksum != expected:
        raise CorruptData(f"{path} is damaged: restore the store from a backup")
    _, record, journaled, boot_bytes, *known = header.unpack_from(body)
    metas_from = header.size + boot_bytes
    known += [None] * (3 - len(known))
    return Checkpoint(record, journaled, body[header.size : metas_from], body[metas_from:], *known)


def restore(directory: Path, checkpoint: Checkpoint) -> None:
    """Make LMDB's file what it was at `checkpoint`. Nobody may have it open. Raises CorruptData and OSError."""
    path = directory / _DATA_NAME
    if not path.exists():
        raise CorruptData(f"expected {path}, found none: restore the store from a backup")
    if checkpoint.root is not None and root_checksum(directory, checkpoint.metas) != checkpoint.root:
        raise CorruptData(
            f"expected in {path} the pages of the commit {checkpoint.record} that {directory / _FILE_NAME} was written "
            "for, found others: it is another store's file, an older copy, or damaged; put the file back that was "
            "there, or restore a whole backup into another directory (afterwrite restore BACKUP --data DIR)"
        )
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        write_all(descriptor, checkpoint.metas)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(directory: Path) -> None:
    """Have no checkpoint: the file itself is whole."""
    (directory / _FILE_NAME).unlink(missing_ok=True)
    sync_directory(directory)
