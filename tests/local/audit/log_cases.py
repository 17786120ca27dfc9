"""Entries that make an audit log of several segments: two days, and segments that fill up."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from afterwrite.local.audit.files import EMPTY_HEAD, AuditEntry, AuditFiles, AuditHead

AT_MS = 1_795_305_500_000  # 2026-11-21T23:58:20Z, 100 s before midnight
SEGMENT_BYTES_MAX = 1_500


def make_entry(number: int, *, at_ms: int | None = None) -> AuditEntry:
    """Entry `number`: ten seconds after the one before, some longer than others."""
    content = {
        "event_name": "MODIFY",
        "old": {"turn_count": Decimal(number - 1)},
        "new": {"turn_count": Decimal(number), "text": "é" * (number % 7)},
    }
    return AuditEntry(f"event-{number}/keep_records/1", AT_MS + number * 10_000 if at_ms is None else at_ms, content)


BATCHES = [[(number, make_entry(number)) for number in range(begin, begin + 8)] for begin in (1, 9, 17)]
ENTRIES = [entry for batch in BATCHES for _, entry in batch]


def write_log(directory: Path, entries: list[AuditEntry] | None = None) -> AuditHead:
    """A log of `entries` in batches of eight."""
    files = AuditFiles(directory, segment_bytes_max=SEGMENT_BYTES_MAX)
    files.open(EMPTY_HEAD)
    head = EMPTY_HEAD
    chosen = ENTRIES if entries is None else entries
    for begin in range(0, len(chosen), 8):
        head = files.append(chosen[begin : begin + 8])
    files.close()
    return head


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's content and permissions."""
    return {path.name: (path.read_bytes(), path.stat().st_mode & 0o777) for path in directory.iterdir()}
