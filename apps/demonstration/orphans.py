"""No orphans: a process of a demonstration ends when the one that has started it does."""

from __future__ import annotations

import ctypes
import signal
from typing import Final

_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


def end_with_starter() -> None:
    """Have the kernel end this process (SIGTERM) when the one that has started it ends, however it does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
