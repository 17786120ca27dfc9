"""What an attempt of a function leaves: its result as JSON text, of a bounded size."""

from __future__ import annotations

from typing import Any, Final

from afterwrite.core import json_text

# What a function returns is for the records of what was done; a table is for data.
RESULT_BYTES_MAX: Final = 1 << 20


def kept_text(result: Any) -> bytes:
    """The JSON text of what a function has returned. Raises ValueError or TypeError for what is no result."""
    kept = json_text.dumps(result)
    if len(kept) > RESULT_BYTES_MAX:
        raise ValueError(f"expected a result of at most {RESULT_BYTES_MAX} bytes, got {len(kept)}: keep it in a table")
    return kept
