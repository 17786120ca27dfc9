"""Early writing: a file's changed pages on their way to the disk before they are synced.

A sync that finds many of them fills the disk's queue, and whoever needs the disk for a moment waits behind it.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

_WRITE: Final = 2  # SYNC_FILE_RANGE_WRITE


def _system_call() -> Any:
    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


_sync_file_range: Final = _system_call()


def begin_writing(descriptor: int) -> None:
    """Have the system begin to write the file's changed pages. It waits for none of them, and promises nothing.

    Does nothing where the system has no such call (Linux has it). What fails here fails in the sync that follows.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, 0, 0, _WRITE)
