"""Verifying an audit log: every line, every link, every seal, in one pass over the files, in constant memory.

A log that was changed and whose hashes were all made again is consistent in itself; only a head kept elsewhere
(in the store, or further away) shows that. So pass the head wherever there is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from afterwrite.errors import CorruptData, StorageError
from afterwrite.local.audit.digests import SignedState
from afterwrite.local.audit.faults import AuditFault, FaultKind
from afterwrite.local.audit.segments import (
    ANCHOR_NAME,
    EMPTY_ANCHOR,
    Anchor,
    AuditHead,
    Seal,
    decode,
    decode_line,
    encode,
    line_time,
    list_segments,
    read_anchor,
    seal_path,
    segment_name,
)
from afterwrite.store.durable_files import storage_errors

if TYPE_CHECKING:
    from hashlib import _Hash

FAULTS_MAX = 1_000
READ_BYTES = 2**20

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was found: entries read, segments, how many are sealed, the time of the first and last entry (ISO).

    `dropped` is the number of the last entry that retention has deleted, 0 if none was; `digests` how many signed
    ones were checked, `signed` the number of the last entry that one speaks of.
    """

    entries: int
    segments: int
    sealed: int
    first_at: str | None
    last_at: str | None
    dropped: int
    faults: list[AuditFault]
    head: AuditHead | None = field(default=None, compare=False)
    digests: int = 0
    signed: int = 0


def verify(
    directory: Path,
    head: AuditHead | None = None,
    progress: Progress | None = None,
    signed: SignedState | None = None,
) -> AuditReport:
    """Verify the log in `directory` up to `head`, or to its end; `progress` gets bytes done and bytes in all.

    It is held against what its digests say, `signed`, where that is given, and their faults are reported with it.

    Safe beside a running engine when the head was read before the call: what comes after it is left alone.
    Raises StorageError where the files cannot be read, and where there is neither a head nor a directory.
    """
    if head is None and not directory.is_dir():
        raise StorageError(f"expected an audit log in {directory}, found no such directory: check the path")
    with storage_errors(directory):
        while True:
            anchor, faults = _read_anchor(directory)
            signed = signed or SignedState()
            verification = _Verification(directory, anchor, head, progress, [*faults, *signed.faults], signed)
            # Retention moves the anchor before it deletes: what is missing may have been dropped meanwhile.
            try:
                verification.run()
            except FileNotFoundError:
                if _read_anchor(directory)[0] == anchor:
                    raise
                continue
            if not verification.faults or _read_anchor(directory)[0] == anchor:
                return verification.report()


def _read_anchor(directory: Path) -> tuple[Anchor, list[AuditFault]]:
    try:
        return read_anchor(directory), []
    except CorruptData as error:
        return EMPTY_ANCHOR, [AuditFault("changed_anchor", ANCHOR_NAME, 0, str(error))]


class _TooManyFaults(Exception):
    """There is no use in naming more."""


@dataclass(slots=True)
class _Segment:
    """What reading a segment's lines told of it."""

    path: Path
    first: int
    first_prev: str = ""
    first_line: bytes = b""
    lines: int = 0
    bytes: int = 0
    digest: _Hash = field(default_factory=hashlib.sha256)
    clean: bool = True


@dataclass(slots=True)
class _Verification:
    """One pass. `expected` is the next entry's number; `link` the hash it must name, None where that is unknown.

    `changed` counts the changed lines just before: each may have been an entry, or put in between.
    """

    directory: Path
    anchor: Anchor
    head: AuditHead | None
    progress: Progress | None
    faults: list[AuditFault]
    signed: SignedState
    expected: int = 1
    link: str | None = None
    changed: int = 0
    previous_seal: str | None = None
    entries: int = 0
    segments: int = 0
    sealed: int = 0
    first_line: bytes = b""
    last_line: bytes = b""
    bytes_done: int = 0
    bytes_total: int = 0

    def run(self) -> None:
        """Go through the files."""
        self.expected = self.anchor.number + 1
        self.link, self.previous_seal = self.anchor.hash, self.anchor.seal
        end = self.head.number if self.head else None
        segments = [
            (first, path)
            for first, path in list_segments(self.directory)
            if first > self.anchor.number and (end is None or first <= end)
        ]
        self.bytes_total = sum(path.stat().st_size for _, path in segments)
        try:
            for first, path in segments:
                self._check_segment(first, path, is_last=path == segments[-1][1])
            self._check_end([path for _, path in segments])
        except _TooManyFaults:
            message = f"stopped after {FAULTS_MAX} faults: restore the log from a backup"
            self.faults.append(AuditFault("too_many_faults", str(self.directory), 0, message))
        self._report_progress()

    def report(self) -> AuditReport:
        """What the pass found."""
        return AuditReport(
            entries=self.entries,
            segments=self.segments,
            sealed=self.sealed,
            first_at=line_time(self.first_line) if self.first_line else None,
            last_at=line_time(self.last_line) if self.last_line else None,
            dropped=self.anchor.number,
            faults=self.faults,
            head=self.head,
            digests=self.signed.digests,
            signed=self.signed.through,
        )

    def _fault(self, kind: FaultKind, path: Path, line: int, message: str) -> None:
        if len(self.faults) >= FAULTS_MAX:
            raise _TooManyFaults
        self.faults.append(AuditFault(kind, path.name, line, message))

    def _check_segment(self, first: int, path: Path, *, is_last: bool) -> None:
        if first > self.expected + self.changed:
            self._fault(
                "missing_segment",
                self.directory / segment_name(self.expected),
                0,
                f"expected a segment that begins with entry {self.expected}, found {path.name} next: "
                f"entries {self.expected} to {first - 1} are missing",
            )
            self.link = self.previous_seal = None
        if first >= self.expected:
            self.expected, self.changed = first, 0
        before = len(self.faults)
        segment = self._read_lines(first, path)
        segment.clean = len(self.faults) == before
        self.segments += 1
        if self.head is not None and path.name == self.head.segment:
            self._check_head(self.head, segment)
        else:
            self._check_seal(segment, required=self.head is not None or not is_last)

    def _read_lines(self, first: int, path: Path) -> _Segment:
        segment = _Segment(path, first)
        end = self.head.number if self.head else None
        with path.open("rb", buffering=READ_BYTES) as file:
            for line in file:
                if end is not None and self.expected + self.changed > end:
                    break
                if not line.endswith(b"\n"):
                    if end is None:
                        self._fault(
                            "partial_entry",
                            path,
                            segment.lines + 1,
                            f"expected entry {self.expected + self.changed}, found only {len(line)} bytes of it; "
                            "opening the log removes them",
                        )
                    break
                segment.lines += 1
                segment.bytes += len(line)
                segment.digest.update(line)
                self._check_line(segment, line)
                if self.bytes_done // READ_BYTES != (self.bytes_done + len(line)) // READ_BYTES:
                    self._report_progress()
                self.bytes_done += len(line)
        return segment

    def _check_line(self, segment: _Segment, line: bytes) -> None:
        self.entries += 1
        decoded = decode_line(line)
        if decoded is None or not decoded.intact:
            expected = self.expected + self.changed
            message = f"expected entry {expected}, found a line whose bytes do not give its hash: it was changed"
            self._fault("changed_entry", segment.path, segment.lines, message)
            self.changed += 1
            self.link = None
            return
        if not segment.first_line:
            segment.first_line, segment.first_prev = line, decoded.previous_hash
        self.first_line = self.first_line or line
        self.last_line = line
        if decoded.number < self.expected:
            message = f"expected entry {self.expected}, found entry {decoded.number} again or out of order"
            self._fault("misplaced_entry", segment.path, segment.lines, message)
            return
        if decoded.number > self.expected + self.changed:
            message = f"expected entry {self.expected + self.changed}, found entry {decoded.number}"
            self._fault("missing_entry", segment.path, segment.lines, message)
        elif self.link is not None and decoded.previous_hash != self.link:
            message = (
                f"expected entry {decoded.number} to follow the hash {self.link}, found that it follows "
                f"{decoded.previous_hash}: the entry, or those before it, were replaced"
            )
            self._fault("broken_link", segment.path, segment.lines, message)
        self.expected, self.changed, self.link = decoded.number + 1, 0, decoded.hash
        said = self.signed.hashes.get(decoded.number)
        if said is not None and said[0] != decoded.hash:
            message = (
                f"expected entry {decoded.number} with the hash {said[0]}, as {said[1]} says, found {decoded.hash}: "
                "the log was made again up to there"
            )
            self._fault("digest_mismatch", segment.path, segment.lines, message)

    def _check_seal(self, segment: _Segment, *, required: bool) -> None:
        path = seal_path(segment.path)
        computed = self._compute_seal(segment) if segment.clean and segment.lines else None
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if required:
                self._fault("missing_seal", path, 0, f"expected a seal of {segment.path.name}, found none")
            self.previous_seal = _seal_hash(computed)
            return
        self.sealed += 1
        self._check_signed_seal(segment, path, content)
        last = self.expected - 1 + self.changed
        try:
            seal = decode(Seal, content)
        except CorruptData as error:
            self._fault("changed_seal", path, 0, str(error))
            self.previous_seal = _seal_hash(computed)
            return
        if seal.last > last and seal.bytes > segment.bytes:
            message = f"expected entries up to {seal.last}, as the seal says, found them up to {last}"
            self._fault("truncated_segment", segment.path, segment.lines, message)
            self.expected, self.changed, self.link = seal.last + 1, 0, seal.last_hash
            computed = None
        elif computed is not None:
            if self.previous_seal is None:
                computed = replace(computed, previous_seal=seal.previous_seal)
            if content != encode(computed):
                message = f"expected the seal {computed}, found {content[:1000]!r}: it does not fit the segment"
                self._fault("changed_seal", path, 0, message)
        self.previous_seal = _seal_hash(computed) or hashlib.sha256(content).hexdigest()

    def _check_signed_seal(self, segment: _Segment, path: Path, content: bytes) -> None:
        said = self.signed.seals.get(segment.path.name)
        if said is not None and said[0] != hashlib.sha256(content).hexdigest():
            message = f"expected the seal with the SHA-256 {said[0]}, as {said[1]} says, found another"
            self._fault("digest_mismatch", path, 0, message)

    def _compute_seal(self, segment: _Segment) -> Seal:
        return Seal(
            segment=segment.path.name,
            day=(line_time(segment.first_line) or "")[:10],
            first=segment.first,
            last=self.expected - 1,
            count=segment.lines,
            first_prev=segment.first_prev,
            last_hash=self.link or "",
            bytes=segment.bytes,
            sha256=segment.digest.hexdigest(),
            previous_seal=self.previous_seal or "",
        )

    def _check_head(self, head: AuditHead, segment: _Segment) -> None:
        last = self.expected - 1 + self.changed
        if last < head.number:
            message = f"expected entries up to the head, number {head.number}, found them up to {last}"
            self._fault("truncated_tail", segment.path, segment.lines, message)
        elif segment.clean and (self.link, segment.bytes) != (head.hash, head.offset):
            message = (
                f"expected entry {head.number} with hash {head.hash} to end at byte {head.offset}, "
                f"found hash {self.link} ending at byte {segment.bytes}"
            )
            self._fault("changed_head", segment.path, segment.lines, message)

    def _check_end(self, segments: list[Path]) -> None:
        """What only the whole tells: the head's segment is there, what is signed too, no seal without its segment."""
        head = self.head
        last = self.expected - 1 + self.changed
        if self.signed.through > last and not any(fault.kind == "truncated_tail" for fault in self.faults):
            file = self.signed.hashes[self.signed.through][1]
            message = f"expected entries up to {self.signed.through}, as {file} says, found them up to {last}"
            self._fault("truncated_tail", segments[-1] if segments else self.directory, 0, message)
        if head is not None and head.number < self.anchor.number:
            message = f"expected a head not before entry {self.anchor.number}, where the log begins, got {head}"
            self._fault("changed_head", self.directory / ANCHOR_NAME, 0, message)
        elif head is not None and head.number and self.directory / head.segment not in segments:
            message = f"expected the segment of the head, entry {head.number}, found none"
            self._fault("missing_segment", self.directory / head.segment, 0, message)
        elif head is None:
            for seal in sorted(self.directory.glob("audit-*.seal.json")):
                segment = seal.with_name(seal.name.replace(".seal.json", ".jsonl"))
                if segment > max(segments, default=segment.with_name(segment_name(self.anchor.number))):
                    message = f"expected the segment that {seal.name} seals, found none"
                    self._fault("missing_segment", segment, 0, message)

    def _report_progress(self) -> None:
        if self.progress is not None:
            self.progress(self.bytes_done, self.bytes_total)


def _seal_hash(seal: Seal | None) -> str | None:
    return hashlib.sha256(encode(seal)).hexdigest() if seal else None
