"""Files that are written whole or not at all, and stay written."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Put `content` at `path`, replacing what is there; after the return it survives a power loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The same name for every attempt, so that one cut short leaves nothing for good.
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
