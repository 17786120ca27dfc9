"""Transactions that read. Each has one of the places for readers that all processes share which have the file open."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Final

import lmdb

READERS_MAX: Final = 512
_NAP_S: Final = 0.001
_WAIT_S_MAX: Final = 60.0


class Places:
    """The places of a file: more threads than there are may read at once, and those that find none wait for one."""

    def __init__(self, file: lmdb.Environment) -> None:
        self._file = file
        self._looking = threading.Lock()

    def begin(self) -> lmdb.Transaction:
        """Begin to read. Raises lmdb.ReadersFullError where no place gets free for a minute."""
        try:
            return self._file.begin()
        except lmdb.ReadersFullError:
            return self._begin_late()

    def _begin_late(self) -> lmdb.Transaction:
        deadline_s = time.monotonic() + _WAIT_S_MAX
        with self._looking:  # one thread looks, the others wait for it
            while time.monotonic() < deadline_s:
                with suppress(lmdb.ReadersFullError):
                    return self._file.begin()
                time.sleep(_NAP_S)
        return self._file.begin()
