"""What attempts of a function leave: a result as JSON text, of a bounded size, and since when a message fails."""

from __future__ import annotations

from typing import Any, Final

from afterwrite.core import json_text

# What a function returns is for the records of what was done; a table is for data.
RESULT_BYTES_MAX: Final = 1 << 20
_FAILING_MAX: Final = 10_000


class FailingSince:
    """Since when messages fail. Of more than 10,000 those that began first are forgotten, and so begin anew.

    In memory only: after a restart waits begin short again, and a message is tried some ten to twenty times more until
    they are long; the breaker and the concurrency bound what its target gets of that.
    """

    def __init__(self) -> None:
        self._since_ms: dict[str, int] = {}

    def failing_ms(self, message_id: str, now_ms: int) -> int:
        """How long it is since the message's first failure, which this may be."""
        since_ms = self._since_ms.setdefault(message_id, now_ms)
        if len(self._since_ms) > _FAILING_MAX:
            del self._since_ms[next(iter(self._since_ms))]
        return now_ms - since_ms

    def ended(self, message_id: str) -> None:
        """The message is done, or given up."""
        self._since_ms.pop(message_id, None)


def kept_text(result: Any) -> bytes:
    """The JSON text of what a function has returned. Raises ValueError or TypeError for what is no result."""
    kept = json_text.dumps(result)
    if len(kept) > RESULT_BYTES_MAX:
        raise ValueError(f"expected a result of at most {RESULT_BYTES_MAX} bytes, got {len(kept)}: keep it in a table")
    return kept
