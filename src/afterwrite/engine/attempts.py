"""One attempt of a function: its code is called, and what it returns must be JSON of a bounded size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from afterwrite.core import json_text
from afterwrite.core.invocations import Context

# What a function returns is for the records of what was done; a table is for data.
RESULT_BYTES_MAX: Final = 1 << 20


def attempt(handler: Callable[[Any, Context], Any], payload: Any, context: Context) -> bytes:
    """The JSON text of what the handler returns. Raises what it raises, and ValueError or TypeError for no result."""
    kept = json_text.dumps(handler(payload, context))
    if len(kept) > RESULT_BYTES_MAX:
        raise ValueError(f"expected a result of at most {RESULT_BYTES_MAX} bytes, got {len(kept)}: keep it in a table")
    return kept
