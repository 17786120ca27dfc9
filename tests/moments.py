"""Moments that tests name to a server."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime


def next_second() -> datetime:
    """A second that has begun, after all that was done before: SDKs send no parts of seconds."""
    at = math.ceil(time.time())
    while time.time() < at + 0.01:
        time.sleep(0.01)
    return datetime.fromtimestamp(at, UTC)
