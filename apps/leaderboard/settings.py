"""What an operator sets, read from the environment once when the app is loaded.

LEADERBOARD_REDIS_URL    where the boards are: redis://user:password@host:port/database or rediss://…
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings."""

    redis_url: str


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` gives."""
    return Settings(redis_url=environment.get("LEADERBOARD_REDIS_URL") or "redis://127.0.0.1:6379/0")
