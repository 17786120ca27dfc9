"""The sources in C, as one number: the library says which it was made of."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

_NUMBER_BYTES = 8


def number_of(folder: Path) -> int:
    """The number of the sources in `folder`; other sources have another one."""
    digest = blake2b(digest_size=_NUMBER_BYTES)
    for source in sorted(folder.glob("*.[ch]")):
        content = source.read_bytes()
        digest.update(b"%s %d " % (source.name.encode(), len(content)))
        digest.update(content)
    return int.from_bytes(digest.digest(), "big")
