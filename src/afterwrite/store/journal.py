"""The journal: what each commit writes, one after the other, made durable by one short fsync.

LMDB's pages lie all over its file, and bringing them to the disk at each commit takes ten times as long as the
few kilobytes that were written. So a commit is durable once its record is in the journal, LMDB's pages follow in
the background (`checkpoints`), and after a power cut the records since the last checkpoint are written again.

A record begins at a block of its own, so that no block that was answered for is ever written again. Records are
numbered without gaps, and each tells the checksum of the one before: so those of another journal, or of an older one,
are not taken for what is missing. Files are filled with zeros before they are used: writing into them changes no
metadata, which is what makes the fsync short. Records go past the system's page cache where it can be (O_DIRECT): what
is written there waits for its turn behind the pages that others have changed.
"""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from mmap import mmap
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from afterwrite.errors import CorruptData
from afterwrite.store.disk_write import DiskWrite
from afterwrite.store.durable_files import create_directory, sync_directory

BLOCK_BYTES: Final = 4096
SEGMENT_BYTES_MAX: Final = 16 << 20
_SEGMENT_BYTES_FIRST: Final = 256 << 10
_SEGMENT_GROWTH: Final = 4
_SUFFIX: Final = ".journal"
_SPARE: Final = "spare"
# How a record begins, by its first bytes: these, the CRC-32 of all that follows, the bytes of the entries, the record's
# number, the CRC-32 of the record before; the older form did not have that.
_HEADERS: Final = {b"AWJ1": struct.Struct(">4sIQQ"), b"AWJ2": struct.Struct(">4sIQQI")}
_MAGIC: Final = b"AWJ2"
_HEADER: Final = _HEADERS[_MAGIC]
_CHECKED_FROM: Final = 8
_UINT32: Final = struct.Struct(">I")
# Database, length of the key, length of the stored value; no entry is as long as what stands for a deletion.
_ENTRY: Final = struct.Struct(">BHI")
_DELETED: Final = 0xFFFFFFFF
_ZEROS: Final = bytes(256 << 10)
# A file that is made while records are written waits so long behind each piece: they go through the same disk.
_FILL_PAUSE_S: Final = 0.004
# A thousand items in one commit. It takes memory as far as it is used, and pages that are used again are not zeroed.
_BUFFERED_BYTES: Final = 4 << 20
# A smaller record is on the disk before anything else is worth beginning.
_BACKGROUND_BYTES_MIN: Final = 3 * BLOCK_BYTES


class Entry(NamedTuple):
    """What was done at one key of one database (by its number): set to `stored`, or deleted where that is None."""

    database: int
    key: bytes
    stored: bytes | None


class Record(NamedTuple):
    """A record that is read: its number, its entries, and its checksum."""

    number: int
    body: bytes
    checksum: int


class Known(NamedTuple):
    """A record that is in the store's file: the journal has it, or goes on behind it. None for one not remembered."""

    number: int
    checksum: int | None


def put_entry(database: int, key: bytes, stored: bytes) -> tuple[bytes, bytes, bytes]:
    """The pieces of an entry that sets `key`."""
    return _ENTRY.pack(database, len(key), len(stored)), key, stored


def put_entries(database: int, entries: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The pieces of entries that set keys, given with what is stored at them."""
    for key, stored in entries:
        yield _ENTRY.pack(database, len(key), len(stored))
        yield key
        yield stored


def deletion_entry(database: int, key: bytes) -> tuple[bytes, bytes]:
    """The pieces of an entry that deletes `key`."""
    return _ENTRY.pack(database, len(key), _DELETED), key


def entries(body: bytes) -> Iterator[Entry]:
    """The entries of a record."""
    at = 0
    while at < len(body):
        database, key_bytes, stored_bytes = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        key = body[at : at + key_bytes]
        at += key_bytes
        if stored_bytes == _DELETED:
            yield Entry(database, key, None)
        else:
            yield Entry(database, key, body[at : at + stored_bytes])
            at += stored_bytes


class Journal:
    """Writes records into `directory`. For one thread at a time, but for `prepare` and `forget`, which are another's.

    Its methods raise OSError.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # Of the last record. A journal that follows none begins as no other does.
        self.checksum = _UINT32.unpack(os.urandom(_UINT32.size))[0]
        self._checksum_before = self.checksum
        self._sparing = threading.Lock()  # the next file is made by whoever needs it first
        self._needed = threading.Event()  # and without pauses once it is needed
        self._descriptor = -1
        self._size = 0  # of the segment that is written to
        self._first = 0  # its first record
        self._end = 0  # of its last record
        self._last = 0  # where that record begins
        self._unsettled = False  # the last record is to be taken back
        self._next_size = _SEGMENT_BYTES_FIRST
        # What goes past the page cache has to begin at a page of the memory.
        self._blocks = mmap(-1, _BUFFERED_BYTES)
        self._background = DiskWrite(self._blocks)
        create_directory(directory)

    @property
    def is_filling(self) -> bool:
        """Whether more than half of the segment is used."""
        return self._end > self._size // 2

    def begin(self, number: int, pieces: Sequence[bytes]) -> bool:
        """Add the record `number`, the one after the last; it is durable once `finish` has returned.

        True where it is being written meanwhile, False where nothing is left to be waited for.
        """
        if self._unsettled:
            self.take_back()
        record = bytearray().join((bytes(_HEADER.size), *pieces))
        _HEADER.pack_into(record, 0, _MAGIC, 0, len(record) - _HEADER.size, number, self.checksum)
        checksum = crc32(memoryview(record)[_CHECKED_FROM:])
        _UINT32.pack_into(record, _CHECKED_FROM - _UINT32.size, checksum)
        if self._end + len(record) > self._size:
            self.begin_segment(number, len(record))
        self._last = self._end
        self._checksum_before, self.checksum = self.checksum, checksum
        blocks, size = self._laid_out(record)
        self._end = self._last + size
        is_worth_it = blocks is self._blocks and size >= _BACKGROUND_BYTES_MIN
        if is_worth_it and self._background.begin(self._descriptor, size, self._last):
            return True
        try:
            self._write(blocks, size)
        except OSError:
            self.take_back()
            raise
        return False

    def finish(self) -> None:
        """Wait until the record that was begun is durable."""
        if not self._background.end():
            self._write(self._blocks, self._end - self._last)  # once more, to be told what hinders it

    def take_back(self) -> None:
        """Make the record that was added last not have been, durably: what it says could not be done.

        Where that fails, nothing is added before it has succeeded: nothing may follow a record that is not to be.
        """
        self._background.end()
        self._end = self._last
        self.checksum = self._checksum_before
        self._unsettled = True
        self._write(*self._laid_out(bytes(_HEADER.size)))
        self._unsettled = False

    def _laid_out(self, content: bytes | bytearray) -> tuple[mmap, int]:
        """Blocks that begin with `content`, and how many bytes they are with the zeros to the end of the last one."""
        size = _aligned(len(content))
        blocks = self._blocks if size <= _BUFFERED_BYTES else mmap(-1, size)
        blocks[: len(content)] = content
        blocks[len(content) : size] = bytes(size - len(content))
        return blocks, size

    def _write(self, blocks: mmap, size: int) -> None:
        """Write the last record's blocks durably."""
        with memoryview(blocks) as view:
            _pwrite_all(self._descriptor, view[:size], self._last)
        os.fdatasync(self._descriptor)

    def begin_segment(self, number: int, record_bytes: int = 0) -> None:
        """Go on in a new file, whose first record is `number`."""
        if self._unsettled:
            self.take_back()
        least = max(_SEGMENT_BYTES_FIRST, _aligned(record_bytes))
        path = self._directory / f"{number:020d}{_SUFFIX}"
        spare = self._directory / f"{_SPARE}{_SUFFIX}"
        self._needed.set()
        try:
            with self._sparing:
                if not spare.exists() or spare.stat().st_size < least:
                    self._fill(max(self._next_size, least), least)
                if number == self._first:
                    self.close()
                spare.rename(path)  # one of that number holds no record
        finally:
            self._needed.clear()
        sync_directory(self._directory)
        descriptor = _open_to_write(path)
        self.close()
        self._descriptor, self._size = descriptor, os.fstat(descriptor).st_size
        self._first = number
        self._end = self._last = 0
        self._next_size = min(SEGMENT_BYTES_MAX, self._next_size * _SEGMENT_GROWTH)

    def prepare(self) -> None:
        """Have the next file ready before it is needed."""
        spare = self._directory / f"{_SPARE}{_SUFFIX}"
        with self._sparing:
            if not spare.exists():
                self._fill(self._next_size, _SEGMENT_BYTES_FIRST)

    def forget(self, number: int) -> None:
        """Delete the files all of whose records are older than `number`; one may become the next file."""
        segments = _segments(self._directory)
        spare = self._directory / f"{_SPARE}{_SUFFIX}"
        for (_, path), (follower, _) in pairwise(segments):
            if follower > number:
                break
            with self._sparing:
                if not spare.exists() and path.stat().st_size >= self._next_size:
                    # What it holds has lower numbers than any record that will be looked for in it.
                    path.rename(spare)
                else:
                    path.unlink()

    def close(self) -> None:
        """Close the file that is written to."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._size = self._end = 0

    def remove(self) -> None:
        """Close, and delete every file: all that they say is on the disk."""
        self.close()
        for _, path in _segments(self._directory):
            path.unlink()
        (self._directory / f"{_SPARE}{_SUFFIX}").unlink(missing_ok=True)
        sync_directory(self._directory)

    def _fill(self, size: int, least: int) -> None:
        """Make the next file, smaller where there is no room for `size`: deleting items has to be possible there."""
        while True:
            try:
                return self._fill_whole(size)
            except OSError:
                if size <= least:
                    raise
            size = max(least, size // _SEGMENT_GROWTH)

    def _fill_whole(self, size: int) -> None:
        spare = self._directory / f"{_SPARE}{_SUFFIX}"
        growing = spare.with_suffix(".tmp")
        descriptor = os.open(growing, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            for at in range(0, size, len(_ZEROS)):
                _pwrite_all(descriptor, _ZEROS[: size - at], at)
                os.fdatasync(descriptor)
                self._needed.wait(_FILL_PAUSE_S)
            os.fsync(descriptor)
        except OSError:
            growing.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        growing.rename(spare)


def records(directory: Path, after: int, known: Known | None = None, *, through: int = 0) -> Iterator[Record]:
    """The records of `directory` with higher numbers than `after`, in order.

    It ends at the last record that is whole. Raises CorruptData where whole records follow one that is not, since
    each was written only after the one before was durable; where the first ones are missing, or the last ones, up to
    `through`; and where the records are not those that follow the `known` one.
    """
    segments = _segments(directory)
    if not segments or segments[0][0] > after + 1:
        raise _missing(directory, after + 1, segments[0][0] if segments else None)
    expected = segments[0][0]
    before = known.checksum if known is not None and known.number == expected - 1 else None
    for first, path in segments:
        content = path.read_bytes()
        if first != expected:
            if _record(content, 0, first) is None:
                continue  # begun, and never written to
            raise CorruptData(f"expected the record {expected} before those of {path}: restore from a backup")
        at = 0
        while (found := _record(content, at, expected)) is not None:
            is_known = known is not None and known.number == expected and known.checksum is not None
            if not _is_same(found.before, before) or (is_known and known != (expected, found.checksum)):
                raise CorruptData(
                    f"expected the store's own record {expected} in {path}, found that of another journal, or of an "
                    "older one: put the file back that was there, or restore from a backup"
                )
            if expected > after:
                yield Record(expected, found.body, found.checksum)
            at, before = found.end, found.checksum
            expected += 1
        _refuse_gap(path, content, at, expected)
    if expected <= through:
        raise CorruptData(
            f"expected records up to {through} in the journal in {directory}, its last is {expected - 1}: it is an "
            "older one than the store's file; put the files back that were there, or restore from a backup"
        )


def checksum_of(directory: Path, number: int, known: Known) -> int | None:
    """The checksum of a record, the `known` one or one that follows it; None where the journal does not have it whole.

    Raises CorruptData.
    """
    if number == known.number and known.checksum is not None:
        return known.checksum
    segments = _segments(directory)
    if segments and segments[0][0] > known.number + 1:
        raise _missing(directory, known.number + 1, segments[0][0])
    if not segments or segments[0][0] > number:
        return None
    return next((record.checksum for record in records(directory, number - 1, known) if record.number == number), None)


def _missing(directory: Path, expected: int, first: int | None) -> CorruptData:
    return CorruptData(
        f"expected the record {expected} in the journal in {directory}, "
        + ("found no file: " if first is None else f"its first is {first}: ")
        + "a file of it was deleted, or it is another journal; restore from a backup"
    )


def _is_same(checksum: int | None, other: int | None) -> bool:
    return checksum is None or other is None or checksum == other


def _refuse_gap(path: Path, content: bytes, at: int, expected: int) -> None:
    for later in range(at, len(content), BLOCK_BYTES):
        header = _HEADERS.get(content[later : later + 4])
        if header is None:
            continue
        number = header.unpack_from(content, later)[3]
        if number > expected and _record(content, later, number) is not None:
            raise CorruptData(
                f"expected the record {expected} in {path} at byte {at}, found one that is damaged, and the record "
                f"{number} after it: restore from a backup"
            )


class _Found(NamedTuple):
    """A whole record in a file's content: the checksum of the one `before`, where it tells, and where it ends."""

    body: bytes
    checksum: int
    before: int | None
    end: int


def _record(content: bytes, at: int, expected: int) -> _Found | None:
    """The record `expected` at `at`; None where none is, or not a whole one."""
    header = _HEADERS.get(content[at : at + 4])
    if header is None or at + header.size > len(content):
        return None
    _, checksum, size, number, *before = header.unpack_from(content, at)
    body_from = at + header.size
    if number != expected or body_from + size > len(content):
        return None
    body = content[body_from : body_from + size]
    if crc32(body, crc32(content[at + _CHECKED_FROM : body_from])) != checksum:
        return None
    return _Found(body, checksum, before[0] if before else None, _aligned(body_from + size))


def _segments(directory: Path) -> list[tuple[int, Path]]:
    """The files and the numbers of their first records, in order."""
    return sorted((int(path.stem), path) for path in directory.glob(f"*{_SUFFIX}") if path.stem.isdecimal())


def _aligned(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _open_to_write(path: Path) -> int:
    """Open a file for writing blocks, past the page cache where the system and the disk can."""
    flags = os.O_RDWR | os.O_CLOEXEC
    if sys.platform == "linux":
        with suppress(OSError):
            descriptor = os.open(path, flags | os.O_DIRECT)
            try:
                os.preadv(descriptor, [mmap(-1, BLOCK_BYTES)], 0)
            except OSError:  # the disk's blocks are larger than ours
                os.close(descriptor)
            else:
                return descriptor
    return os.open(path, flags)


def _pwrite_all(descriptor: int, content: bytes | memoryview, at: int) -> None:
    done = 0
    while done < len(content):
        with memoryview(content)[done:] as rest:
            done += os.pwrite(descriptor, rest, at + done)
