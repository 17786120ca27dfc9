"""What an operator sets, read from the environment once when the app is loaded.

INVENTORY_REDIS_URL    the cache: redis://user:password@host:port/database or rediss://…
INVENTORY_BUFFER_S     how long analytics rows are gathered before a file is written
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings."""

    redis_url: str
    buffer_s: int


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` gives."""
    return Settings(
        redis_url=environment.get("INVENTORY_REDIS_URL") or "redis://127.0.0.1:6379/0",
        buffer_s=int(environment.get("INVENTORY_BUFFER_S", 60)),
    )
