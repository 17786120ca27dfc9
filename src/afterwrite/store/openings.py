"""Openings: by what a store's file is known to be the one that its journal and its checkpoint belong to.

Each opening for writing has an id. The file holds it, and the one before; what lies beside the file says for which
opening, and for which commit or a later one, it was written: the checkpoint while the store is open, a note once it is
closed. So another store's file, or an older copy, is not taken for the store's own: it would go on with numbers that
were given before, beside files of the lake and of audit logs that it does not know.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from afterwrite.errors import CorruptData
from afterwrite.store.checkpoints import NO_OPENING, Checkpoint
from afterwrite.store.durable_files import sync_directory, write_file
from afterwrite.store.transactions import ReadTransaction, WriteTransaction

# The counter of the commits, which is the number of the last one's record in the journal.
COMMITS: Final = "record"
_ID_BYTES: Final = len(NO_OPENING)
_KEY: Final = b"opening"
_NOTE_NAME: Final = "closed"


class Opening(NamedTuple):
    """The id of the last opening that wrote to the file, and that of the one before it."""

    last: bytes
    before: bytes


class _Note(NamedTuple):
    """What is said of a closed store's file: its last opening, its last commit."""

    opening: bytes
    commit: int


def new_id() -> bytes:
    """An id as no other opening has it."""
    return os.urandom(_ID_BYTES)


def of_file(transaction: ReadTransaction) -> Opening:
    """What the file holds; NO_OPENING where only versions that knew none have written to it."""
    stored = transaction.get("meta", _KEY)
    return Opening(NO_OPENING, NO_OPENING) if stored is None else Opening(stored[:_ID_BYTES], stored[_ID_BYTES:])


def begin(transaction: WriteTransaction, opening: bytes) -> None:
    """Let `opening` be the file's last one."""
    transaction.put("meta", _KEY, opening + of_file(transaction).last)


def keep_note(directory: Path, opening: bytes, commit: int) -> None:
    """Say beside the file what it is, as the store is being closed, durably. Raises OSError."""
    write_file(directory / _NOTE_NAME, orjson.dumps({"opening": opening.hex(), "commit": commit}))
    sync_directory(directory)


def remove_note(directory: Path) -> None:
    """Say nothing any more: the checkpoint does. Raises OSError."""
    note = directory / _NOTE_NAME
    if note.exists():
        note.unlink()
        sync_directory(directory)


def take_over(transaction: ReadTransaction, directory: Path) -> None:
    """Let the file in `directory`, which nothing lies beside, be a store of its own. Raises OSError."""
    opening = of_file(transaction).last
    if opening != NO_OPENING:
        keep_note(directory, opening, transaction.counter(COMMITS))


def refuse_other_file(
    transaction: ReadTransaction, directory: Path, checkpoint: Checkpoint | None, *, readonly: bool
) -> None:
    """Raise CorruptData where the file is not the one that the checkpoint, or else the note, was written for.

    Who only reads takes a file beside which nothing lies, as in a backup, and does so while an engine starts. Raises
    OSError.
    """
    opening, commit = of_file(transaction), transaction.counter(COMMITS)
    if checkpoint is not None:
        known = opening if checkpoint.opening in (None, *opening) else ()
        if not known or commit < checkpoint.record:
            raise _other_file(directory, "checkpoint", checkpoint.record, commit, is_older=bool(known))
    elif (note := _note(directory)) is not None:
        is_known = note.opening in (opening if readonly else opening[:1])
        if not is_known or commit < note.commit:
            raise _other_file(directory, _NOTE_NAME, note.commit, commit, is_older=is_known)
    elif opening.last != NO_OPENING and not readonly:
        raise CorruptData(
            f"expected {directory / 'checkpoint'} or {directory / _NOTE_NAME}, by which {directory / 'data.mdb'} is "
            "known to be whole and the store's own, found neither: put back what was there, or restore a whole backup "
            "into another directory (afterwrite restore BACKUP --data DIR); what is left of the store can be read, and "
            "backed up if it is whole (afterwrite backup)"
        )


def _note(directory: Path) -> _Note | None:
    """What was said of the file when the store was closed. Raises CorruptData and OSError."""
    path = directory / _NOTE_NAME
    try:
        found = orjson.loads(path.read_bytes())
        return _Note(bytes.fromhex(found["opening"]), found["commit"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise CorruptData(f"{path} is damaged: restore the store from a backup") from None


def _other_file(directory: Path, beside: str, expected: int, commit: int, *, is_older: bool) -> CorruptData:
    found = (
        f"an older copy of it, of the commit {commit}"
        if is_older
        else "another store's file, or a copy from before the store was last started"
    )
    return CorruptData(
        f"expected in {directory / 'data.mdb'} the file that {directory / beside} was written for, as of the commit "
        f"{expected} or a later one, found {found}: put the file back that was there, or restore a whole backup into "
        "another directory (afterwrite restore BACKUP --data DIR)"
    )
