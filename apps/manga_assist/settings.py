"""What an operator sets, read from the environment once when the app is loaded.

MANGA_ASSIST_SMTP_URL          smtp://user:password@host:port or smtps://…; without it mail stays in the outbox
MANGA_ASSIST_MAIL_DOMAIN       the domain of customers' addresses
MANGA_ASSIST_SEARCH_URL        OpenSearch, https://user:password@host:port; without it the data directory has the index
MANGA_ASSIST_BUFFER_S          how long analytics rows are gathered before a file is written
MANGA_ASSIST_SUMMARIZER        extractive (the default), bedrock or openai
MANGA_ASSIST_SUMMARY_MODEL     the model's id: Bedrock's, an inference profile's ARN, or its name at the endpoint
MANGA_ASSIST_SUMMARY_URL       the OpenAI-compatible endpoint up to /v1
MANGA_ASSIST_SUMMARY_API_KEY   its key, if it wants one
MANGA_ASSIST_SUMMARY_PROMPT    a file with another prompt template
MANGA_ASSIST_SUMMARY_TIMEOUT_S how long a model may take
MANGA_ASSIST_SUMMARY_TOKENS_A_DAY, MANGA_ASSIST_SUMMARY_MONEY_A_DAY
                               the budget; money needs the prices
MANGA_ASSIST_SUMMARY_PRICE     INPUT/OUTPUT: what a million tokens of requests and of answers cost
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from afterwrite import DeclarationError

SUMMARIZERS: Final = ("extractive", "bedrock", "openai")
TOKENS_A_DAY: Final = 1_000_000
TIMEOUT_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class SummarySettings:
    """Who summarizes, and what that may cost; prices are for a million tokens of requests and of answers."""

    summarizer: str = "extractive"
    model: str = ""
    url: str = ""
    api_key: str | None = field(default=None, repr=False)
    prompt: Path | None = None
    timeout_s: float = TIMEOUT_S
    tokens_a_day: int = TOKENS_A_DAY
    money_a_day: Decimal | None = None
    price: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings."""

    smtp_url: str | None
    mail_domain: str
    buffer_s: int
    search_url: str | None = None
    summary: SummarySettings = SummarySettings()


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` gives. Raises DeclarationError."""
    return Settings(
        smtp_url=environment.get("MANGA_ASSIST_SMTP_URL") or None,
        mail_domain=environment.get("MANGA_ASSIST_MAIL_DOMAIN", "customers.example"),
        buffer_s=int(environment.get("MANGA_ASSIST_BUFFER_S", 60)),
        search_url=environment.get("MANGA_ASSIST_SEARCH_URL") or None,
        summary=_summary(environment),
    )


def _summary(environment: Mapping[str, str]) -> SummarySettings:
    given = {
        name.removeprefix("MANGA_ASSIST_SUMMARY_"): value
        for name, value in environment.items()
        if name.startswith("MANGA_ASSIST_SUMMARY_") and value
    }
    summarizer = environment.get("MANGA_ASSIST_SUMMARIZER") or SUMMARIZERS[0]
    if summarizer not in SUMMARIZERS:
        raise DeclarationError(
            f"expected MANGA_ASSIST_SUMMARIZER to be one of {', '.join(SUMMARIZERS)}, got {summarizer!r}"
        )
    needed = {"extractive": (), "bedrock": ("MODEL",), "openai": ("MODEL", "URL")}[summarizer]
    for name in needed:
        if name not in given:
            raise DeclarationError(
                f"expected MANGA_ASSIST_SUMMARY_{name} with MANGA_ASSIST_SUMMARIZER={summarizer}: set it"
            )
    try:
        before, _, after = given.get("PRICE", "0/0").partition("/")
        return SummarySettings(
            summarizer=summarizer,
            model=given.get("MODEL", ""),
            url=given.get("URL", ""),
            api_key=given.get("API_KEY"),
            prompt=Path(given["PROMPT"]) if "PROMPT" in given else None,
            timeout_s=float(given.get("TIMEOUT_S", TIMEOUT_S)),
            tokens_a_day=int(given.get("TOKENS_A_DAY", TOKENS_A_DAY)),
            money_a_day=Decimal(given["MONEY_A_DAY"]) if "MONEY_A_DAY" in given else None,
            price=(Decimal(before), Decimal(after)),
        )
    except (ValueError, InvalidOperation) as error:
        raise DeclarationError(
            "expected numbers in MANGA_ASSIST_SUMMARY_TIMEOUT_S, _TOKENS_A_DAY and _MONEY_A_DAY, and two of the form "
            f"INPUT/OUTPUT in _PRICE: {error}"
        ) from None
