"""Shard iterators: opaque text that says where in which shard a reader is, and since when.

Nothing is kept of them, so they outlive a restart of the engine.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

_FIELDS: Final = struct.Struct(">BIIQQ?")
_VERSION: Final = 1
_CHECK_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class ShardIterator:
    """Reads the shard with the number of the stream with the number, after a position.

    `at_horizon` says that its reader asked for whatever is oldest, so that trimming takes nothing from it.
    """

    stream: int
    shard: int
    after: int
    created_at_ms: int
    at_horizon: bool = False

    def to_text(self, prefix: str = "") -> str:
        """The iterator as clients pass it on; `prefix` is for who looks at it."""
        body = _FIELDS.pack(_VERSION, self.stream, self.shard, self.after, self.created_at_ms, self.at_horizon)
        return prefix + base64.b64encode(body + _check(body)).decode()

    @classmethod
    def from_text(cls, text: str) -> ShardIterator | None:
        """The iterator that `to_text` gave, None where the text is none."""
        try:
            raw = base64.b64decode(text.rpartition("|")[2], validate=True)
        except (binascii.Error, ValueError):
            return None
        body, check = raw[: _FIELDS.size], raw[_FIELDS.size :]
        if len(body) != _FIELDS.size or check != _check(body) or body[0] != _VERSION:
            return None
        return cls(*_FIELDS.unpack(body)[1:])

    def expired(self, now_ms: int, lifetime_ms: int) -> bool:
        """Whether its time is over."""
        return now_ms > self.created_at_ms + lifetime_ms


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES, person=b"shard-iterator").digest()
