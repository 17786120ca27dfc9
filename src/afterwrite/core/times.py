"""Times (ms since the epoch) as ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_seconds(at_ms: int) -> str:
    """A time as `2030-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_milliseconds(at_ms: int) -> str:
    """A time as `2030-01-31T12:00:00.123Z`."""
    return iso_seconds(at_ms)[:-1] + f".{at_ms % 1000:03}Z"
