"""The process's standard streams: whose output is whose, and what becomes of it where nobody reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


def open_standard_streams() -> None:
    """Open those that are closed, to nowhere: else a file that is opened later would have a stream's number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))


@contextmanager
def own_output() -> Iterator[TextIO]:
    """What the app's code prints goes to standard error, and only what is written to the stream given to the output."""
    own = sys.stdout
    with redirect_stdout(sys.stderr):
        yield own


def silence_output() -> None:
    """Let what is still to be written to standard output go nowhere: Python tries that once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
