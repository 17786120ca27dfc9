"""The process's standard streams, where whoever started it has closed them, or has gone."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Open those that are closed, to nowhere: else a file that is opened later would have a stream's number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r" if name == "stdin" else "w"))


def silence_output() -> None:
    """Let what is still to be written to standard output go nowhere: Python tries that once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
