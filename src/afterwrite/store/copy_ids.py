"""Ids of copies of tables: of backups, exports and imports. They are in the order in which they were made."""

from __future__ import annotations

import os
import re
from typing import Final

_FORM: Final = re.compile(r"\d{14}-[0-9a-f]{8}")


def new_id(now_ms: int) -> str:
    """An id that no other copy has."""
    return f"{now_ms:014d}-{os.urandom(4).hex()}"


def is_id(text: str) -> bool:
    """Whether it is such an id, and so may be a file's name."""
    return _FORM.fullmatch(text) is not None
