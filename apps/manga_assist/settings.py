"""What an operator sets, read from the environment once when the app is loaded.

MANGA_ASSIST_SMTP_URL          smtp://user:password@host:port or smtps://…; without it mail stays in the outbox
MANGA_ASSIST_MAIL_DOMAIN       the domain of customers' addresses
MANGA_ASSIST_SEARCH_URL        OpenSearch, https://user:password@host:port; without it the data directory has the index
MANGA_ASSIST_BUFFER_S          how long analytics rows are gathered before a file is written
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings."""

    smtp_url: str | None
    mail_domain: str
    buffer_s: int
    search_url: str | None = None


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` gives."""
    return Settings(
        smtp_url=environment.get("MANGA_ASSIST_SMTP_URL") or None,
        mail_domain=environment.get("MANGA_ASSIST_MAIL_DOMAIN", "customers.example"),
        buffer_s=int(environment.get("MANGA_ASSIST_BUFFER_S", 60)),
        search_url=environment.get("MANGA_ASSIST_SEARCH_URL") or None,
    )
