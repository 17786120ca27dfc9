"""Tables' backups, and copies that tables are restored from: files beside the store, written from one read of it.

<backup id>/backup.json    what the backup tells of itself and of its table
<backup id>/items          the table's items, in blocks
restoring/<name>           the blocks of a table that is being restored

A block is its length and its items, compressed: each line has an item's size, a space and its JSON text.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from afterwrite.errors import CorruptData
from afterwrite.store.copy_ids import is_id
from afterwrite.store.durable_files import (
    create_directory,
    removed_on_failure,
    storage_errors,
    sync_directory,
    write_file,
)

_NOTE: Final = "backup.json"
_ITEMS: Final = "items"
_RESTORING: Final = "restoring"
_LENGTH: Final = struct.Struct(">I")
# What one round of restoring puts: other writes wait for it some ten milliseconds.
_BLOCK_ITEMS: Final = 500
_BLOCK_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TableBackup:
    """A backup of a table: what it tells of itself, and its table as CreateTable would make it again."""

    id: str
    name: str
    created_at_ms: int
    size: int
    items: int
    table: Mapping[str, Any]
    features: Mapping[str, Any]
    creation: Mapping[str, Any]


class TableBackups:
    """The backups below one directory, which is made with the first of them. All methods raise StorageError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def keep(self, backup: TableBackup, items: Iterable[tuple[int, bytes]]) -> None:
        """Keep a backup with its items, each a size and a JSON text, whole or not at all."""
        partial = self.directory / f".{backup.id}"
        with removed_on_failure(partial), storage_errors(self.directory):
            create_directory(partial)
            _write_blocks(partial / _ITEMS, items)
            fields = {name: getattr(backup, name) for name in TableBackup.__slots__}
            write_file(partial / _NOTE, orjson.dumps(fields))
            sync_directory(partial)
            partial.rename(self.directory / backup.id)
            sync_directory(self.directory)

    def all(self) -> list[TableBackup]:
        """Every backup, the oldest first. Raises CorruptData."""
        if not self.directory.is_dir():
            return []
        names = sorted(path.name for path in self.directory.iterdir() if is_id(path.name))
        return [backup for backup in map(self.named, names) if backup is not None]

    def named(self, backup_id: str) -> TableBackup | None:
        """The backup with that id, None where there is none. Raises CorruptData."""
        if not is_id(backup_id):
            return None
        path = self.directory / backup_id / _NOTE
        try:
            return TableBackup(**orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (orjson.JSONDecodeError, TypeError):
            raise CorruptData(f"{path} is damaged: delete {path.parent}, and back the table up again") from None

    def delete(self, backup_id: str) -> None:
        """Delete a backup. What is being restored from it has the items as a file of its own."""
        with storage_errors(self.directory):
            gone = self.directory / f".{backup_id}"
            (self.directory / backup_id).rename(gone)
            sync_directory(self.directory)
            shutil.rmtree(gone)

    def items_of(self, backup_id: str) -> Path:
        """The file of a backup's items."""
        return self.directory / backup_id / _ITEMS

    def restored_from(self, name: str) -> Path:
        """The file that the restoring `name` reads."""
        return self.directory / _RESTORING / name

    def hold(self, name: str, items: Path) -> None:
        """Keep a file of items for the restoring `name`, whatever becomes of the backup."""
        held = self.restored_from(name)
        with storage_errors(self.directory):
            create_directory(held.parent)
            if not held.exists():
                os.link(items, held)
            sync_directory(held.parent)

    def held(self) -> list[str]:
        """The restorings that files of items are kept for."""
        try:
            return [path.name for path in (self.directory / _RESTORING).iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []

    def let_go(self, name: str) -> None:
        """Remove what the restoring `name` has read."""
        with storage_errors(self.directory):
            self.restored_from(name).unlink(missing_ok=True)

    @contextmanager
    def copied(self, items: Iterable[tuple[int, bytes]]) -> Iterator[Path]:
        """A file with these items, which is there until the block ends."""
        path = self.directory / _RESTORING / f".{os.urandom(8).hex()}"
        try:
            with storage_errors(self.directory):
                create_directory(path.parent)
                _write_blocks(path, items)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def sweep(self, restoring: Collection[str]) -> None:
        """Remove what a crash left: parts of backups, and copies for anything but `restoring`."""
        with storage_errors(self.directory):
            for path in self.directory.glob(".*"):
                shutil.rmtree(path)
            for path in self.directory.glob(f"{_RESTORING}/*"):
                if path.name not in restoring:
                    path.unlink()


def read_block(path: Path, offset: int) -> tuple[list[tuple[int, bytes]], int | None]:
    """The items, sizes and JSON texts, of the block at `offset`, and where the next is, None for no more.

    Raises CorruptData, FileNotFoundError.
    """
    with path.open("rb") as file:
        file.seek(offset)
        block = _next_block(path, file)
        end = file.tell()
        is_last = not file.read(1)
    return block, None if is_last else end


def _next_block(path: Path, file: BinaryIO) -> list[tuple[int, bytes]]:
    head = file.read(_LENGTH.size)
    if not head:
        return []
    try:
        lines = gzip.decompress(file.read(_LENGTH.unpack(head)[0])).splitlines()
        return [(int(size), text) for size, _, text in (line.partition(b" ") for line in lines)]
    except (struct.error, OSError, EOFError, ValueError):
        raise CorruptData(f"{path} is damaged: restore from another backup") from None


def _write_blocks(path: Path, items: Iterable[tuple[int, bytes]]) -> None:
    with path.open("wb") as file:
        for lines in _blocks(items):
            block = gzip.compress(lines, 1, mtime=0)
            file.write(_LENGTH.pack(len(block)) + block)
        file.flush()
        os.fsync(file.fileno())


def _blocks(items: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    lines: list[bytes] = []
    read_bytes = 0
    for size, text in items:
        lines.append(b"%d %b\n" % (size, text))
        read_bytes += len(text)
        if len(lines) == _BLOCK_ITEMS or read_bytes >= _BLOCK_BYTES:
            yield b"".join(lines)
            lines, read_bytes = [], 0
    if lines:
        yield b"".join(lines)
