"""UUIDs that are digests: the same text has the same one, wherever and whenever it is made."""

from __future__ import annotations

import hashlib


def uuid_of(text: str) -> str:
    """The UUID of a text."""
    return uuid_text(hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


def uuid_text(digits: str) -> str:
    """32 hexadecimal digits as a UUID is written."""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
