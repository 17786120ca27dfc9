"""Quiet hours: the part of a customer's day in which nothing is sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from typing import Any, Final

DAY_MS: Final = 86_400_000


def wait_s(quiet_hours: Mapping[str, Any] | None, now_ms: int) -> Decimal:
    """How long (s) until the quiet hours that `now_ms` (since the epoch) is in end; 0 outside of them.

    `{"from": "22:00", "until": "07:00", "utcOffsetMinutes": 60}`: times of the customer's day, to the second where
    that is given; the first is in the quiet hours, the second is not. Raises ValueError for what is no time.
    """
    if quiet_hours is None:
        return Decimal(0)
    begins_ms, ends_ms = _of_day_ms(quiet_hours["from"]), _of_day_ms(quiet_hours["until"])
    here_ms = (now_ms + int(quiet_hours.get("utcOffsetMinutes", 0)) * 60_000) % DAY_MS
    is_quiet = (here_ms - begins_ms) % DAY_MS < (ends_ms - begins_ms) % DAY_MS
    return Decimal((ends_ms - here_ms) % DAY_MS if is_quiet else 0) / 1000


def _of_day_ms(text: str) -> int:
    at = time.fromisoformat(text)
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1000
