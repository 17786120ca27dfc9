"""Forks of an engine's process, which functions may make: what they do not get, and where they end.

A fork has every descriptor of the process it comes from. As long as it lived, the directory's lock would be held, the
address taken and the connections between the engine's processes open, so that nobody would see that the engine has
ended, and none could start. So `withhold` names what a fork finds closed.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

_withheld: set[int] = set()


def withhold(descriptor: int) -> None:
    """Have forks of this process find `descriptor` closed, until it is given to `let_go`."""
    _withheld.add(descriptor)


def let_go(descriptor: int) -> None:
    """Forget a descriptor that is going to be closed: its number may be another file's then."""
    _withheld.discard(descriptor)


@contextmanager
def ending_forks() -> Iterator[None]:
    """End a fork that the user's code inside has made, and that comes back from it: its process goes on with nothing.

    The fork's exit status is that of a SystemExit, 0 where the code has returned, else 1.
    """
    begun_in = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != begun_in:
            _end(error)
        raise
    if os.getpid() != begun_in:
        _end(None)


def _end(error: BaseException | None) -> NoReturn:
    status = 0
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        status = error.code or 0
    elif error is not None:
        traceback.print_exception(error)
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status & 0xFF)


def _close_withheld() -> None:
    """Put nothing in the descriptors' places, so that whoever closes their numbers later closes nothing else."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in _withheld:
        with suppress(OSError):
            os.dup2(nothing, descriptor, inheritable=False)
    _withheld.clear()
    os.close(nothing)


os.register_at_fork(after_in_child=_close_withheld)
