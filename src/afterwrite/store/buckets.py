"""Folders that stand for S3's buckets: what requests export goes there, and what they import comes from there.

<bucket>/<key>        an object
.exports/<id>.json    what an export tells of itself
.imports/<id>.json    the same of an import
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

import orjson

from afterwrite.errors import CorruptData, InvalidValue
from afterwrite.store.copy_ids import is_id
from afterwrite.store.durable_files import create_directory, storage_errors, sync_directory, write_file
from afterwrite.table import wording

Kind: TypeAlias = Literal["export", "import"]


class Buckets:
    """The buckets below one directory, which is made with the first of them. All methods raise StorageError."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def has(self, bucket: str) -> bool:
        """Whether the bucket is there."""
        return (self.directory / bucket).is_dir()

    def place(self, bucket: str, prefix: str) -> Path:
        """The folder of the keys that begin with `prefix` and a slash. Raises ServiceError for one outside."""
        key = PurePosixPath(prefix)
        if key.is_absolute() or ".." in key.parts or "\0" in prefix:
            raise wording.invalid_parameter(f"Expected an S3 prefix within the bucket, got {prefix}")
        return self.directory / bucket / key

    def objects(self, bucket: str, prefix: str) -> list[Path]:
        """The files whose keys begin with `prefix`, in order. Raises ServiceError for one outside."""
        parent = self.place(bucket, prefix.rpartition("/")[0])
        start = prefix.rpartition("/")[2]
        with storage_errors(self.directory):
            return sorted(
                path for path in parent.rglob("*") if path.is_file() and str(path.relative_to(parent)).startswith(start)
            )

    def keep(self, kind: Kind, number: str, note: Mapping[str, Any]) -> None:
        """Keep what an export or import tells of itself."""
        path = self._note(kind, number)
        with storage_errors(self.directory):
            create_directory(path.parent)
            write_file(path, orjson.dumps(note))
            sync_directory(path.parent)

    def note(self, kind: Kind, number: str) -> dict[str, Any] | None:
        """What the export or import tells, None where there is none. Raises CorruptData."""
        if not is_id(number):
            return None
        path = self._note(kind, number)
        try:
            return orjson.loads(path.read_bytes())  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None
        except orjson.JSONDecodeError:
            raise CorruptData(f"{path} is damaged: delete it") from None

    def notes(self, kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every export or import by its number, the oldest first. Raises CorruptData."""
        for path in sorted((self.directory / f".{kind}s").glob("*.json")):
            note = self.note(kind, path.stem)
            if note is not None:
                yield path.stem, note

    def _note(self, kind: Kind, number: str) -> Path:
        return self.directory / f".{kind}s" / f"{number}.json"


def lines(path: Path, *, compressed: bool) -> Iterator[bytes]:
    """The lines of an object. Raises InvalidValue where it is not compressed as it should be."""
    try:
        with gzip.open(path, "rb") if compressed else path.open("rb") as file:
            yield from (line for line in file if line.strip())
    except (gzip.BadGzipFile, zlib.error, EOFError):
        raise InvalidValue(f"The object {path.name} is not compressed with GZIP") from None
