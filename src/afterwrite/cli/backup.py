"""`afterwrite backup` and `afterwrite restore`: a data directory copied, as of one commit, and made again."""

from __future__ import annotations

from pathlib import Path

from afterwrite import backups
from afterwrite.backups import Backup
from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import bytes_text, count_text, print_json, print_line


def backup(out: Path, /, *, data: Data = None, json: Flag = False) -> None:
    """Back up the data directory, beside a running engine or from a stopped one.

    The backup is as of one commit: tables, changes, queues and positions, and the lake's and the audit logs' files to
    the same point. Files that functions keep are copied as they are found. Everything copied is read back and verified.

    Parameters
    ----------
    out
        The directory to make.
    json
        Print one JSON object.
    """
    _print("backed up", backups.back_up(data_directory(data), out), out, json=json)


def restore(source: Path, /, *, data: Data = None, json: Flag = False) -> None:
    """Make a data directory from a backup.

    The data directory must not be there yet, or be empty. Every file is checked against the backup's list. Routes,
    functions and files go on where the backup left them; new changes get sequence numbers and ids that none of the
    lost ones had.

    Parameters
    ----------
    source
        The backup's directory.
    json
        Print one JSON object.
    """
    target = data_directory(data)
    _print("restored", backups.restore(source, target), target, json=json)


def _print(what: str, done: Backup, out: Path, *, json: bool) -> None:
    if json:
        fields = {name: getattr(done, name) for name in ("taken_at", "entries", "files", "bytes", "tables")}
        print_json({"directory": str(out), **fields})
        return
    size = f"{count_text(len(done.tables), 'table')}, {count_text(done.files, 'file')}, {bytes_text(done.bytes)}"
    print_line(f"{what} to {out}: {size}, as of {done.taken_at}")
