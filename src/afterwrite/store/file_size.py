"""Whether the store's file is as long as its pages need. Reading a page that is not there would kill the process.

LMDB maps the file and believes its header. A file can be shorter for a good reason too: pages at its end that were
freed before they were ever written. So a short file is walked, entry by entry, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from afterwrite.errors import CorruptData

_FILE_NAME: Final = "data.mdb"
_JOURNAL: Final = "journal"
# Every entry is read through the map as the engine would, with LMDB alone: what it holds is checked when it is used.
# The list of free pages, which the next write needs, is read by a compacting copy, and that into nothing.
_WALK: Final = """
import os, sys, lmdb
environment = lmdb.open(os.fsencode(sys.argv[1]), readonly=True, max_dbs=64, lock=False, readahead=False)
with environment.begin() as transaction:
    for name, _ in transaction.cursor():
        with transaction.cursor(environment.open_db(name, txn=transaction, create=False)) as cursor:
            for key, value in cursor:
                len(key) + len(value)
environment.copyfd(os.open(os.devnull, os.O_WRONLY), compact=True)
"""


def refuse_empty_file(directory: Path) -> None:
    """Raise CorruptData where the file is empty, or was there: LMDB would begin anew, and everything would be gone."""
    try:
        size = (directory / _FILE_NAME).stat().st_size
    except FileNotFoundError:
        # Made when the file is durable, and never before.
        if (directory / _JOURNAL).exists():
            raise CorruptData(
                f"expected {directory / _FILE_NAME} beside {_JOURNAL}/, found none: restore the store from a backup"
            ) from None
        return
    if size == 0:
        raise CorruptData(
            f"expected a store in {directory / _FILE_NAME}, found an empty file: restore it from a backup; delete it "
            "only if nothing was ever written there"
        )


def check_file_size(environment: Any, directory: Path) -> None:
    """Raise CorruptData where pages that are in use are not in the file of an open LMDB environment."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    path = directory / _FILE_NAME
    found = path.stat().st_size
    if found >= needed:
        return
    walk = subprocess.run(  # noqa: S603 - this interpreter, on a program of our own
        [sys.executable, "-c", _WALK, str(directory)], capture_output=True, check=False
    )
    if walk.returncode != 0:
        environment.close()
        raise CorruptData(
            f"expected {needed} bytes in {path}, found {found}: the file was cut off; restore it from a backup"
        )
