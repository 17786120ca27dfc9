"""Moments that tests name to a server."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from engine_process import wait_until


def next_second() -> datetime:
    """A second that has begun, after all that was done before: SDKs send no parts of seconds."""
    at = math.ceil(time.time())
    # The server counts in milliseconds.
    wait_until(lambda: time.time() > at + 0.01, what="the second")
    return datetime.fromtimestamp(at, UTC)
