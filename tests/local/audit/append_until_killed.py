"""Append the batches of `log_cases` in processes that die by SIGKILL, at every step on the disk in turn.

Usage: python -m local.audit.append_until_killed DIRECTORY. For each step three processes work on one log: the first
dies at that step, the second early, the third at none. One line of JSON a step says which were killed, and the
last head. The head's file stands for the caller's transaction.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from afterwrite.local.audit.files import EMPTY_HEAD, AuditFiles, AuditHead
from local.audit.log_cases import BATCHES, SEGMENT_BYTES_MAX

STEPS = ("open", "write", "fsync", "fchmod", "replace", "unlink", "ftruncate", "chmod")
AN_EARLY_STEP = 2
NO_STEP = 0


def read_head(head_file: Path) -> AuditHead:
    return AuditHead(**json.loads(head_file.read_text())) if head_file.exists() else EMPTY_HEAD


def die_at(dies_at: int) -> None:
    """Kill this process at its `dies_at`th step on the disk; a write that it dies in is half done."""
    step = 0
    write = os.write
    # SIGKILL loses nothing that was written: the sync counts as a step, and waiting for the disk is saved.
    os.fsync = lambda fd: None

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal step
            step += 1
            if step == dies_at:
                if real is write:
                    write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def append_all(directory: Path, head_file: Path) -> None:
    head = read_head(head_file)
    files = AuditFiles(directory, segment_bytes_max=SEGMENT_BYTES_MAX)
    files.open(head)
    for batch in BATCHES:
        entries = [entry for number, entry in batch if number > head.number]
        if entries:
            head = files.append(entries)
            temporary = head_file.with_suffix(".tmp")
            temporary.write_text(json.dumps(asdict(head)))
            temporary.rename(head_file)
    files.close()


def is_killed(directory: Path, head_file: Path, dies_at: int) -> bool:
    process = os.fork()
    if process == 0:
        die_at(dies_at)
        append_all(directory, head_file)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status not in (0, -signal.SIGKILL):
        raise RuntimeError(f"expected the child to finish or to be killed, got status {status}")
    return status != 0


def main(directory: Path) -> None:
    step = 0
    killed = [True]
    while killed[0]:
        step += 1
        log, head_file = directory / f"{step}", directory / f"{step}.head"
        killed = [is_killed(log, head_file, dies_at) for dies_at in (step, AN_EARLY_STEP, NO_STEP)]
        print(
            json.dumps({"directory": str(log), "killed": killed, "head": asdict(read_head(head_file))}),
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
