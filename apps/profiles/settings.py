"""What an operator sets, read from the environment once when the app is loaded.

PROFILES_MARKETING_URL, PROFILES_SHIPPING_URL    where the two systems take changes
PROFILES_SECRET                                  what the requests are signed with
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings."""

    marketing_url: str
    shipping_url: str
    secret: str | None = field(repr=False)


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` gives."""
    return Settings(
        marketing_url=environment.get("PROFILES_MARKETING_URL") or "http://127.0.0.1:8081/customers",
        shipping_url=environment.get("PROFILES_SHIPPING_URL") or "http://127.0.0.1:8082/customers",
        secret=environment.get("PROFILES_SECRET") or None,
    )
