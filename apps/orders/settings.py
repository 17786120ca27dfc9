"""What an operator sets, read from the environment once when the app is loaded.

ORDERS_MAIL_URL       how e-mail is sent: smtp://HOST:PORT, smtps://USER:PASSWORD@HOST:PORT, ses://
ORDERS_MAIL_SENDER    whom it is from
ORDERS_TEXT_SENDER    whom text messages are from, where the country shows it

Text messages go through SNS, which boto3 finds by its own variables (AWS_REGION, AWS_ENDPOINT_URL_SNS, …).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The app's settings."""

    mail_url: str
    mail_sender: str
    text_sender: str


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` gives."""
    return Settings(
        mail_url=environment.get("ORDERS_MAIL_URL") or "smtp://127.0.0.1:25",
        mail_sender=environment.get("ORDERS_MAIL_SENDER") or "The Shop <orders@shop.example.com>",
        text_sender=environment.get("ORDERS_TEXT_SENDER") or "TheShop",
    )
