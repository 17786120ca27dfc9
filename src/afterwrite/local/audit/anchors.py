"""An anchor store in a file: digests of audit logs, one a line, appended to and never changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from afterwrite.errors import CorruptData
from afterwrite.store.durable_files import create_directory, storage_errors, sync_directory, write_all


class FileAnchors:
    """The AnchorStore in a file, best on another machine's disk, or one that can only be appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, log: str, number: int, digest: bytes) -> None:
        """Append the digest, unless it is there."""
        latest = self._latest(log)
        if latest is not None and latest[0] >= number:
            return
        with storage_errors(self._path):
            create_directory(self._path.parent)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                # What a full disk has left of a digest is ended before the digest comes once more.
                write_all(descriptor, (b"" if self._is_ended() else b"\n") + digest)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            sync_directory(self._path.parent)

    def _is_ended(self) -> bool:
        content = self._path.read_bytes()
        return not content or content.endswith(b"\n")

    def latest(self, log: str) -> bytes | None:
        """The log's last digest."""
        latest = self._latest(log)
        return None if latest is None else latest[1]

    def _latest(self, log: str) -> tuple[int, bytes] | None:
        latest: tuple[int, bytes] | None = None
        with storage_errors(self._path):
            try:
                lines = self._path.read_bytes().splitlines(keepends=True)
            except FileNotFoundError:
                return None
        for number, line in enumerate(lines, 1):
            if _is_unfinished(line, lines[number:]):
                continue
            try:
                digest = orjson.loads(line)
                if digest["log"] == log and (latest is None or digest["number"] > latest[0]):
                    latest = digest["number"], line
            except (ValueError, TypeError, KeyError):
                raise CorruptData(
                    f"expected a digest on line {number} of {self._path}, got {line[:80]!r}: restore the file"
                ) from None
        return latest


def _is_unfinished(line: bytes, later: Sequence[bytes]) -> bool:
    """Whether a line is the beginning of a digest that nobody was told is kept: the file's last, or written again."""
    begun = line.removesuffix(b"\n")
    if not later:
        return not line.endswith(b"\n")
    return len(begun) < len(later[0]) - 1 and later[0].startswith(begun)
