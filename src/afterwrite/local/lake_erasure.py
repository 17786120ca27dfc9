"""Taking records out of the lake's files: each file that holds any is written anew, under its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from afterwrite.core.erasure import Subject
from afterwrite.local.lake import reading
from afterwrite.store.compaction import Shredding
from afterwrite.store.durable_files import storage_errors, sync_directory, write_file


def erase(lake: Path, subject: Subject, *, dry_run: bool = False) -> int:
    """Erase the subject's records from every delivery stream's files; how many there were.

    A record is the subject's if it followed from one of its changes, or if a name of its is a whole value in it. Raises
    StorageFull and StorageError, and CorruptData for a file that cannot be read.
    """
    erased = 0
    with storage_errors(lake):
        for path in sorted(lake.glob("*/*/*/*.parquet")):
            with reading(path):
                table = pq.read_table(path, partitioning=None)
            kept = [not own for own in _own_rows(table, subject)]
            if not all(kept):
                erased += len(kept) - sum(kept)
                if not dry_run:
                    _replace(path, _parquet(table.filter(pa.array(kept))) if any(kept) else None)
        for path in sorted(lake.glob("*/_failed/*.jsonl")):
            lines = path.read_bytes().splitlines(keepends=True)
            others = [line for line in lines if not _is_own_line(line, subject)]
            if len(others) < len(lines):
                erased += len(lines) - len(others)
                if not dry_run:
                    _replace(path, b"".join(others) or None)
    return erased


def _own_rows(table: pa.Table, subject: Subject) -> list[bool]:
    own = [subject.has_id(str(each)) for each in table.column("id").to_pylist()]
    for column in table.columns:
        if not pa.types.is_string(column.type):
            continue
        for name in subject.names:
            # Few values hold a name somewhere: only these are looked at.
            for row in _rows_with(column, name):
                text = column[row].as_py()
                own[row] = own[row] or text == name or subject.is_named_in(text.encode())
    return own


def _rows_with(column: pa.ChunkedArray[Any], name: str) -> Iterator[int]:
    contained = pc.match_substring(column, name)
    return (row for row, found in enumerate(contained.to_pylist()) if found)


def _is_own_line(line: bytes, subject: Subject) -> bool:
    return subject.has_id(orjson.loads(line)["id"]) or subject.is_named_in(line)


def _parquet(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=False)
    return memoryview(sink.getvalue())


def _replace(path: Path, content: bytes | memoryview | None) -> None:
    """Put `content` in the file's place, or nothing, and overwrite what it was."""
    old = Shredding()
    try:
        old.hold(path)
        if content is None:
            path.unlink()
        else:
            write_file(path, content)
        sync_directory(path.parent)
        old.shred()
    finally:
        old.release()
