"""The audit log's files: appending to them, opening them after a crash, reading them, dropping old ones.

The caller keeps the log's `AuditHead` in its own transaction, together with the removal of the entries from
its queue. What the files hold beyond that head was never committed: `open` removes it, the caller appends the
same entries again, and the same files come out. Every decision (when a segment ends, what its seal says) is
taken from the entries alone. The format is in `segments`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterwrite.errors import CorruptData, StorageError
from afterwrite.local.audit.segments import (
    ANCHOR_NAME,
    DAY_MS,
    EMPTY_HEAD,
    ZERO_HASH,
    Anchor,
    AuditEntry,
    AuditHead,
    Seal,
    day_number,
    day_text,
    decode,
    decode_line,
    encode,
    encode_line,
    line_time,
    list_segments,
    read_anchor,
    seal_path,
    segment_name,
)
from afterwrite.store.durable_files import (
    create_directory,
    storage_errors,
    sync_directory,
    write_all,
    write_file,
)

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["EMPTY_HEAD", "AuditEntry", "AuditFiles", "AuditHead", "drop_before", "read_entries"]

SEGMENT_BYTES_MAX = 64 * 2**20
APPEND_ENTRIES_MAX = 10_000
READ_BYTES = 2**20


@dataclass(slots=True)
class _OpenSegment:
    """The segment that is appended to. Its day is that of its first entry; later entries may be older."""

    path: Path
    descriptor: int
    first: int
    first_prev: str
    day: int
    size: int = 0
    digest: _Hash = field(default_factory=hashlib.sha256)


class AuditFiles:
    """The log in `directory`: entries in one chain, in segments of at most `segment_bytes_max` bytes and a day.

    Order: as appended. Durability: what `append` has returned is on disk. Crash: whatever was appended and not
    committed with its head is removed by `open`. One process, one thread at a time.
    """

    def __init__(self, directory: Path, *, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        self._directory = directory
        self._segment_bytes_max = segment_bytes_max
        self._head: AuditHead | None = None
        self._segment: _OpenSegment | None = None
        self._previous_seal = ZERO_HASH

    def open(self, head: AuditHead) -> None:
        """Bring the files back to `head` (`EMPTY_HEAD` for a new log), so that `append` goes on from there.

        Raises CorruptData, having changed nothing, where the files hold less than the head says or something
        else, or so much more that the head must be older than they are.
        """
        self.close()
        with storage_errors(self._directory):
            if not head.number:
                create_directory(self._directory)
            segments = list_segments(self._directory)
            kept = [path for first, path in segments if first <= head.number]
            later = [path for first, path in segments if first > head.number]
            current = self._check_segment(kept, head) if head.number else None
            anchor = read_anchor(self._directory)
            self._refuse_old_head(segments, anchor, head)
            self._previous_seal = self._seal_before(kept, anchor, current)
            for path in reversed(later):
                _delete(path)
            if current is not None:
                seal_path(current.path).unlink(missing_ok=True)
                current.path.chmod(0o644)
                current.descriptor = os.open(current.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                self._segment = current
                os.ftruncate(current.descriptor, head.offset)
                os.fsync(current.descriptor)
            sync_directory(self._directory)
        self._head = head

    @property
    def is_open(self) -> bool:
        """Whether `append` goes on from a head. Not after an `append` whose way back to its head failed, too."""
        return self._head is not None

    def append(self, entries: Sequence[AuditEntry]) -> AuditHead:
        """Append `entries` (at most 10,000) in one write and one sync a segment; the log's new end.

        Raises InvalidValue, StorageFull or StorageError, and then nothing of `entries` is kept.
        """
        head = self._head
        if head is None:
            raise StorageError("expected an open audit log, got a closed one: call open(head) first")
        if len(entries) > APPEND_ENTRIES_MAX:
            raise ValueError(f"expected at most {APPEND_ENTRIES_MAX} entries a call, got {len(entries)}")
        try:
            with storage_errors(self._directory):
                self._head = self._append(head, entries)
        except BaseException:
            self.open(head)
            raise
        return self._head

    def close(self) -> None:
        """Let go of the files. `open` may be called again."""
        if self._segment is not None:
            os.close(self._segment.descriptor)
        self._segment = None
        self._head = None

    def _append(self, head: AuditHead, entries: Sequence[AuditEntry]) -> AuditHead:
        number, previous_hash, segment = head.number, head.hash, self._segment
        lines: list[bytes] = []
        size = head.offset
        created = False
        if segment is not None:
            _refuse_changed(segment)
        for entry in entries:
            line, line_hash = encode_line(number + 1, entry, previous_hash)
            day = entry.at_ms // DAY_MS
            if segment is None or day > segment.day or size + len(line) > self._segment_bytes_max:
                if segment is not None:
                    _write(segment, lines)
                    self._seal(segment, number, previous_hash)
                segment = self._segment = self._create_segment(number + 1, previous_hash, day)
                lines, size, created = [], 0, True
            lines.append(line)
            size += len(line)
            number += 1
            previous_hash = line_hash
        if segment is None:
            return head
        _write(segment, lines)
        os.fsync(segment.descriptor)
        if created:
            sync_directory(self._directory)
        return AuditHead(number, previous_hash, segment.path.name, segment.size)

    def _create_segment(self, first: int, first_prev: str, day: int) -> _OpenSegment:
        path = self._directory / segment_name(first)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return _OpenSegment(path, os.open(path, flags, 0o644), first, first_prev, day)

    def _seal(self, segment: _OpenSegment, last: int, last_hash: str) -> None:
        # The segment is whole and durable before its seal exists: a seal never promises more than there is.
        os.fchmod(segment.descriptor, 0o444)
        os.fsync(segment.descriptor)
        os.close(segment.descriptor)
        self._segment = None
        content = encode(
            Seal(
                segment=segment.path.name,
                day=day_text(segment.day),
                first=segment.first,
                last=last,
                count=last - segment.first + 1,
                first_prev=segment.first_prev,
                last_hash=last_hash,
                bytes=segment.size,
                sha256=segment.digest.hexdigest(),
                previous_seal=self._previous_seal,
            )
        )
        write_file(seal_path(segment.path), content, mode=0o444)
        sync_directory(self._directory)
        self._previous_seal = hashlib.sha256(content).hexdigest()

    def _check_segment(self, kept: Sequence[Path], head: AuditHead) -> _OpenSegment:
        """The head's segment as far as the head says, its last line checked against the head."""
        path = self._directory / head.segment
        if not kept or kept[-1] != path:
            raise CorruptData(
                f"expected the audit log to end in {path}, found {kept[-1].name if kept else 'no segment'} "
                "as the last segment: restore the log from a backup"
            )
        found = path.stat().st_size
        if found < head.offset:
            raise CorruptData(
                f"expected {head.offset} bytes in {path}, found {found}: entries up to number {head.number} "
                "were committed and are gone; restore the file from a backup"
            )
        segment: _OpenSegment | None = None
        line = b""
        position = 0
        with path.open("rb", buffering=READ_BYTES) as file:
            while position < head.offset and (line := file.readline(head.offset - position)):
                if segment is None:
                    begin = decode_line(line)
                    at = line_time(line)
                    if begin is None or not begin.intact or at is None:
                        break
                    segment = _OpenSegment(path, -1, begin.number, begin.previous_hash, day_number(at))
                segment.digest.update(line)
                position += len(line)
        last = decode_line(line)
        ends_in_head = last is not None and last.intact and (last.number, last.hash) == (head.number, head.hash)
        if segment is None or not ends_in_head:
            raise CorruptData(
                f"expected entry {head.number} with hash {head.hash} to end at byte {head.offset} of {path}, "
                f"found {line[-160:]!r}: the file was changed; run `afterwrite audit verify`, restore it"
            )
        segment.size = head.offset
        return segment

    def _refuse_old_head(self, segments: Sequence[tuple[int, Path]], anchor: Anchor, head: AuditHead) -> None:
        # One append is all that a crash can leave. More means that the head comes from an older backup than
        # the files, and removing what is beyond it would destroy evidence.
        first, path = segments[-1] if segments else (1, None)
        last = first - 1 + (_count_lines(path) if path else 0)
        beyond = max(last, anchor.number) - head.number
        if beyond > APPEND_ENTRIES_MAX or anchor.number > head.number:
            raise CorruptData(
                f"expected the audit log in {self._directory} to end with entry {head.number}, found {beyond} "
                "more: the store is older than the log; restore both from one backup, or move the log away"
            )

    def _seal_before(self, kept: Sequence[Path], anchor: Anchor, current: _OpenSegment | None) -> str:
        """The SHA-256 of the seal of the segment before `current`."""
        if current is None:
            return ZERO_HASH
        if anchor.number == current.first - 1:
            return anchor.seal
        seal = seal_path(kept[-2]) if len(kept) > 1 else None
        if seal is None or not seal.exists():
            raise CorruptData(
                f"expected a sealed segment before {current.path}, found "
                f"{f'no {seal.name}' if seal else 'no segment'}: restore the log from a backup"
            )
        return hashlib.sha256(seal.read_bytes()).hexdigest()


def read_entries(directory: Path, head: AuditHead | None = None) -> Iterator[dict[str, Any]]:
    """The log's entries in order, up to `head` where it is given; fractions come back as Decimal.

    Nothing is verified. A last line that is not finished is not returned.
    """
    return (json.loads(line, parse_float=Decimal) for line in read_lines(directory, head))


def read_lines(directory: Path, head: AuditHead | None = None) -> Iterator[bytes]:
    """The same, each entry as the bytes of its line."""
    start = read_anchor(directory).number
    for first, path in list_segments(directory):
        if first <= start or (head is not None and first > head.number):
            continue
        with path.open("rb", buffering=READ_BYTES) as file:
            for number, line in enumerate(file, first):
                if not line.endswith(b"\n"):
                    return
                yield line
                if head is not None and number == head.number:
                    return


def drop_before(directory: Path, day: date) -> int:
    """Delete the sealed segments of the days before `day` (UTC), oldest first; how many entries that were.

    The anchor records where the log begins now, before anything is deleted. A segment without a readable seal,
    and every one after it, stays. Call it after `AuditFiles.open`.
    """
    with storage_errors(directory):
        anchor = begin = read_anchor(directory)
        segments = list_segments(directory)
        for first, path in segments[:-1]:
            if first <= begin.number:
                continue
            try:
                content = seal_path(path).read_bytes()
                seal = decode(Seal, content)
            except (FileNotFoundError, CorruptData):
                break
            if date.fromisoformat(seal.day) >= day:
                break
            anchor = Anchor(seal.last, seal.last_hash, hashlib.sha256(content).hexdigest(), seal.day)
        if anchor != begin:
            write_file(directory / ANCHOR_NAME, encode(anchor))
            sync_directory(directory)
        # Those that an interrupted call has left are below the anchor as well.
        for first, path in segments:
            if first <= anchor.number:
                _delete(path)
        sync_directory(directory)
    return anchor.number - begin.number


def _refuse_changed(segment: _OpenSegment) -> None:
    """Raise CorruptData where the file is not as it was left: what is appended to a deleted one is lost with it."""
    own = os.fstat(segment.descriptor)
    try:
        found = segment.path.stat()
    except FileNotFoundError:
        found = None
    if found is None or not os.path.samestat(own, found) or own.st_size != segment.size:
        raise CorruptData(
            f"expected the audit log to end in {segment.path} after {segment.size} bytes, as it was written, found "
            f"{'no file' if found is None else f'another file, or {own.st_size} bytes'}: restore it from a backup; "
            "its entries wait until then"
        )


def _write(segment: _OpenSegment, lines: Sequence[bytes]) -> None:
    content = b"".join(lines)
    write_all(segment.descriptor, content)
    segment.digest.update(content)
    segment.size += len(content)


def _delete(segment: Path) -> None:
    # The seal goes first: a segment is found again after a crash, a seal alone would not be.
    seal_path(segment).unlink(missing_ok=True)
    segment.unlink()


def _count_lines(path: Path) -> int:
    with path.open("rb", buffering=READ_BYTES) as file:
        return sum(1 for _ in file)
