"""Settling: a commit that is in the file and not yet on the disk is for nobody to see."""

from __future__ import annotations

import threading
import time
from mmap import mmap
from typing import Final

from afterwrite.errors import StorageError

_NUMBER: Final = 0
_IS_GIVEN_UP: Final = 1
# A commit takes the disk a few times the first nap; of a disk that takes longer nobody asks as often.
_NAP_S: Final = 0.0001
_NAP_S_MAX: Final = 0.005
# More than a disk takes for anything that it comes back from.
_WAIT_S_MAX: Final = 60.0
# Who waits for another's look looks this seldom himself: in a fork of the process nobody may be left to let him.
_TURN_S: Final = 0.05
# More commits than a thread is late for.
_TURNS: Final = 8


class Settling:
    """The commit that is settling, by the number of LMDB's transaction, in memory that forked processes share."""

    def __init__(self) -> None:
        # Aligned stores of eight bytes: who reads one finds the number before or the one after.
        self._shared = memoryview(mmap(-1, 16)).cast("Q")
        # One thread of a process looks, the others wait for it: dozens that look, on one core, leave the system no
        # time there to end the very write that they wait for. A lock a commit: who waits for one that has settled
        # must not wait for who looks for the next.
        self._looking = [threading.Lock() for _ in range(_TURNS)]

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
        number = self._shared[_NUMBER]
        if not 0 < number <= seen:
            return
        deadline_s = time.monotonic() + _WAIT_S_MAX
        nap_s = _NAP_S
        looking, looks = self._looking[number % _TURNS], False
        try:
            while self._shared[_NUMBER] == number:
                if self._shared[_IS_GIVEN_UP] or time.monotonic() > deadline_s:
                    raise StorageError(
                        "what was written last could not be made durable, and must not be read: check the disk, then "
                        "restart the engine"
                    )
                if looks:
                    time.sleep(nap_s)
                    nap_s = min(nap_s * 1.5, _NAP_S_MAX)
                else:
                    looks = looking.acquire(timeout=_TURN_S)
        finally:
            if looks:
                looking.release()
