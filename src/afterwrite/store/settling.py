"""Settling: a commit that is in the file and not yet on the disk is for nobody to see."""

from __future__ import annotations

import time
from mmap import mmap
from typing import Final

from afterwrite.errors import StorageError

_NUMBER: Final = 0
_IS_GIVEN_UP: Final = 1
_POLL_S: Final = 0.0001
# More than a disk takes for anything that it comes back from.
_WAIT_S_MAX: Final = 60.0


class Settling:
    """The commit that is settling, by the number of LMDB's transaction, in memory that forked processes share."""

    def __init__(self) -> None:
        # Aligned stores of eight bytes: who reads one finds the number before or the one after.
        self._shared = memoryview(mmap(-1, 16)).cast("Q")

    def begin(self, number: int) -> None:
        """The transaction `number` is about to be in the file before it is durable."""
        self._shared[_NUMBER] = number

    def end(self) -> None:
        """It is durable, or not in the file."""
        self._shared[_NUMBER] = 0

    def give_up(self) -> None:
        """It will never be durable."""
        self._shared[_IS_GIVEN_UP] = 1

    def wait(self, seen: int) -> None:
        """Wait until all that the transaction `seen` sees is durable. Raises StorageError where it does not get so."""
        if not 0 < self._shared[_NUMBER] <= seen:
            return
        deadline_s = time.monotonic() + _WAIT_S_MAX
        while 0 < self._shared[_NUMBER] <= seen:
            if self._shared[_IS_GIVEN_UP] or time.monotonic() > deadline_s:
                raise StorageError(
                    "what was written last could not be made durable, and must not be read: check the disk, then "
                    "restart the engine"
                )
            time.sleep(_POLL_S)
