"""Backups: a data directory as of one commit, copied beside a running engine or from a stopped one.

The store is copied first, in one read transaction. The files of the lake and of the audit logs are named and ended
by what the store knows, so they are brought to the same commit afterwards: a lake file of records that still wait
in the copy's buffer is left out (the restored engine writes it again, under the same name), and an audit log is
cut off at the copy's head. What functions keep in `files/`, the audit logs' keys and tables' backups are
copied as they are found.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite.errors import CommandError, CorruptData
from afterwrite.local.audit import digests
from afterwrite.local.audit.files import AuditFiles
from afterwrite.local.audit.logs import head_of
from afterwrite.local.audit.segments import ANCHOR_NAME
from afterwrite.local.file_buffers import lake_buffer
from afterwrite.store import buffers, openings, tables
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.durable_files import (
    TEMPORARY_SUFFIX,
    create_directory,
    removed_on_failure,
    storage_errors,
    sync_directory,
    write_file,
)
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.store.restoring import leave_numbers_out
from afterwrite.store.verification import verify

MANIFEST_NAME: Final = "backup.json"
_FORMAT: Final = "afterwrite backup 1"
_PARTIAL_SUFFIX: Final = ".partial"
_LAKE_FILE: Final = re.compile(r".+-(\d{20})-(\d{20})\.(?:parquet|jsonl)")
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    path: Path
    taken_at: str
    entries: int
    files: int
    bytes: int
    tables: list[str]


def back_up(data: Path, out: Path, environment: Environment | None = None) -> Backup:
    """Copy the data directory `data` to `out`, which is made, whole or not at all.

    In the engine's own process its `environment` is needed: LMDB opens a file once a process. The copy is read back
    and every entry of its store verified. Raises CommandError where `out` is there already or within `data`,
    CorruptData where the store is damaged, StorageFull and StorageError.
    """
    source = DataDirectory(data)
    source.existing_store()
    if out.resolve().is_relative_to(data.resolve()):
        raise CommandError(f"expected a directory outside of {data}, got {out}: what ends the one would end the other")
    with _partial(out) as partial, storage_errors(partial):
        copy = DataDirectory(partial)
        taken_at_s = _copy_store(source.store, copy.store, environment)
        found = verify(copy.store)
        if found.damage:
            raise CorruptData(
                f"the store in {data} is damaged ({found.damage[0]}): nothing was backed up; run `afterwrite check`, "
                "and restore from an earlier backup"
            )
        copied = Environment(copy.store, readonly=True)
        try:
            with copied.read() as transaction:
                names = sorted(tables.load_catalog(transaction))
                _copy_lake(transaction, source.lake, copy.lake)
                _copy_audit_logs(transaction, source.audit, copy.audit)
        finally:
            copied.close()
        (copy.store / "lock.mdb").unlink(missing_ok=True)
        for kept, copied_to in (
            (source.files, copy.files),
            (source.keys, copy.keys),
            (source.backups, copy.backups),
        ):
            if kept.is_dir():
                _copy_as_found(kept, copied_to)
        files = [_described(partial, path) for path in _files(partial)]
        taken_at = datetime.fromtimestamp(taken_at_s, UTC).isoformat(timespec="seconds")
        manifest = {"format": _FORMAT, "taken_at": taken_at, "entries": found.entries, "tables": names, "files": files}
        write_file(partial / MANIFEST_NAME, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
        _finish(partial, out)
    return Backup(out, taken_at, found.entries, len(files), sum(file["bytes"] for file in files), names)


def restore(backup: Path, data: Path) -> Backup:
    """Make the data directory `data`, which must not be there or be empty, from a backup, whole or not at all.

    Changes that are written there get numbers, ids and versions that none had which was written after the backup and is
    lost. Raises CommandError where there is no backup or `data` holds something, CorruptData where the backup's files
    are not what was backed up, StorageFull and StorageError.
    """
    try:
        manifest = orjson.loads((backup / MANIFEST_NAME).read_bytes())
    except FileNotFoundError:
        raise CommandError(f"expected a backup, found no {MANIFEST_NAME} in {backup}: check the path") from None
    except orjson.JSONDecodeError:
        raise CorruptData(f"{backup / MANIFEST_NAME} is damaged: use another backup") from None
    if manifest.get("format") != _FORMAT:
        raise CommandError(
            f"expected a backup of the format {_FORMAT!r} in {backup}, found {manifest.get('format')!r}: "
            "use the version of afterwrite that made it"
        )
    with _partial(data) as partial, storage_errors(partial):
        for file in manifest["files"]:
            target = partial / file["path"]
            create_directory(target.parent)
            _copy_file(backup / file["path"], target)
            if _described(partial, target) != file:
                raise CorruptData(f"{backup / file['path']} is not what was backed up: use another backup")
        store = DataDirectory(partial).store
        _take_over(store)
        environment = Environment(store)
        try:
            environment.write(leave_numbers_out)
        finally:
            environment.close()
        _finish(partial, data)
    total = sum(file["bytes"] for file in manifest["files"])
    return Backup(backup, manifest["taken_at"], manifest["entries"], len(manifest["files"]), total, manifest["tables"])


def _take_over(store: Path) -> None:
    copied = Environment(store, readonly=True)
    try:
        with copied.read() as transaction:
            openings.take_over(transaction, store)
    finally:
        copied.close()


@contextmanager
def _partial(out: Path) -> Iterator[Path]:
    """Where `out` is made until it is whole; it takes no room any more where that fails."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CommandError(f"expected a directory that is not there yet, or is empty, got {out}: choose another")
    partial = out.with_name(out.name + _PARTIAL_SUFFIX)
    with storage_errors(partial):
        if partial.exists():
            shutil.rmtree(partial)  # an earlier run was interrupted
        create_directory(partial)
    with removed_on_failure(partial):
        yield partial


def _finish(partial: Path, out: Path) -> None:
    with storage_errors(out):
        for folder, _, names in os.walk(partial):
            for name in names:
                _sync_file(Path(folder) / name)
            sync_directory(Path(folder))
        partial.replace(out)
        sync_directory(out.parent)


def _copy_store(source: Path, target: Path, environment: Environment | None) -> float:
    """Copy the store as of one commit, without its free pages; when that was."""
    create_directory(target)
    opened = environment or Environment(source, readonly=True)
    try:
        taken_at_s = time.time()
        opened.copy(target)
    finally:
        if environment is None:
            opened.close()
    return taken_at_s


def _copy_lake(transaction: ReadTransaction, source: Path, target: Path) -> None:
    for stream in sorted(path for path in source.glob("*") if path.is_dir()):
        waiting_from = buffers.first_waiting(transaction, lake_buffer(stream.name))
        for path in sorted([*stream.glob("*/*/*.parquet"), *stream.glob("_failed/*.jsonl")]):
            named = _LAKE_FILE.fullmatch(path.name)
            if named is not None and int(named[2]) < waiting_from:
                copied = target / path.relative_to(source)
                create_directory(copied.parent)
                _copy_file(path, copied)


def _copy_audit_logs(transaction: ReadTransaction, source: Path, target: Path) -> None:
    for log in sorted(path for path in source.glob("*") if path.is_dir()):
        copied = target / log.name
        create_directory(copied)
        # The anchor comes last: whatever retention removes meanwhile is before the anchor that is copied.
        for path in sorted(log.iterdir(), key=lambda path: (path.name == ANCHOR_NAME, path.name)):
            if not path.name.endswith(TEMPORARY_SUFFIX):
                try:
                    _copy_file(path, copied / path.name)
                except FileNotFoundError:
                    continue
        head = head_of(transaction, log.name)
        digests.drop_after(copied, head.number)
        files = AuditFiles(copied)
        files.open(head)
        files.close()


def _copy_as_found(source: Path, target: Path) -> None:
    """Copy folders, files and links; what is renamed or deleted meanwhile, or is no file, is left out."""
    try:
        shutil.copytree(source, target, symlinks=True, ignore=_no_files, copy_function=_copy_if_there)
    except shutil.Error as error:
        if any(os.path.lexists(path) for path, _, _ in error.args[0]):
            raise


def _no_files(folder: str, names: list[str]) -> list[str]:
    """Those of a folder's entries that are neither file nor folder nor link, such as pipes and sockets."""
    paths = [Path(folder) / name for name in names]
    return [path.name for path in paths if not (path.is_symlink() or path.is_file() or path.is_dir())]


def _copy_if_there(source: str, target: str) -> None:
    with suppress(FileNotFoundError):
        _copy_file(Path(source), Path(target))


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    shutil.copystat(source, target)


def _sync_file(path: Path) -> None:
    if path.is_symlink():
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _described(directory: Path, path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
            size += len(piece)
    return {"path": str(path.relative_to(directory)), "bytes": size, "sha256": digest.hexdigest()}
