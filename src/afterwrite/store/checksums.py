"""A checksum in every entry of the store, because LMDB's pages have none.

An entry's stored value ends in the CRC-32 of its database, its key and its value. It is checked whenever the entry
is read, so that a flipped byte, a page that was written elsewhere and a torn write are errors, and never data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final
from zlib import crc32

from afterwrite.errors import CorruptData

_CHECKSUM: Final = struct.Struct(">I")
CHECKSUM_BYTES: Final = _CHECKSUM.size


def database_seed(database: str) -> int:
    """Where the checksums of a database start, so that no entry is good in two of them."""
    return crc32(database.encode())


def seal(seed: int, key: bytes, value: bytes) -> bytes:
    """What is stored for `value`."""
    return value + _CHECKSUM.pack(crc32(value, crc32(key, seed)))


def seal_all(seed: int, entries: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The keys of `entries`, each with what is stored for its value."""
    pack = _CHECKSUM.pack
    return [(key, value + pack(crc32(value, crc32(key, seed)))) for key, value in entries]


def unseal(seed: int, key: bytes, stored: bytes) -> bytes:
    """The value in what is stored. Raises CorruptData where it is not what was written."""
    value = stored[:-CHECKSUM_BYTES]
    if stored[-CHECKSUM_BYTES:] != _CHECKSUM.pack(crc32(value, crc32(key, seed))):
        raise CorruptData(
            f"an entry of the store is damaged (its key is {key[:64].hex()}, its checksum does not fit): run "
            "`afterwrite check` to find every damaged one, and restore from a backup"
        )
    return value
