"""The real command line on a real terminal (a pseudo-terminal)."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from bounds import BOUND_S


def run_on_terminal(*arguments: str) -> tuple[int, str]:
    """Run `afterwrite` with its output on a terminal; its exit status and what it printed there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "afterwrite", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        output = bytearray()
        try:
            while part := os.read(ours, 65_536):
                output += part
        except OSError:
            pass  # the terminal's other side is closed: the process has ended
        status = process.wait(timeout=BOUND_S)
    os.close(ours)
    return status, output.decode()
