"""Notices: what a transition tells, by which way, in which words, and whether it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any, Final, Protocol

from afterwrite import Change

WAYS: Final = {"shipped": "email", "delivered": "text"}
"""By which way each status is told; its template is `templates/STATUS.txt`."""

ADDRESSES: Final = {"email": "email", "text": "phone"}
"""The customer's attribute that each way leads to."""

_TEMPLATES: Final = Path(__file__).with_name("templates")


class SendEmail(Protocol):
    """Sends an e-mail under an id."""

    def __call__(self, *, id: str, to: str, subject: str, text: str) -> object:
        """Raises what says how it failed."""


class SendText(Protocol):
    """Sends a text message under an id."""

    def __call__(self, *, id: str, to: str, text: str) -> object:
        """Raises what says how it failed."""


def notice(change: Change) -> dict[str, Any]:
    """What a transition has to tell."""
    order = change.new or {}
    return {
        "orderId": order["orderId"],
        "customerId": order["customerId"],
        "status": order["status"],
        "trackingNumber": order.get("trackingNumber"),
    }


def wanted(customer: Mapping[str, Any] | None, way: str) -> bool:
    """Whether the customer is to be told by this way: they can be reached by it, and have not declined it."""
    return bool(customer and customer.get(ADDRESSES[way]) and way not in customer.get("declined", ()))


def template(status: str) -> Template:
    """The words for a status."""
    return Template((_TEMPLATES / f"{status}.txt").read_text(encoding="utf-8"))


class Notifier:
    """Tells customers. The templates are read once, when it is made."""

    def __init__(self, send_email: SendEmail, send_text: SendText) -> None:
        self._send_email = send_email
        self._send_text = send_text
        self._templates = {status: template(status) for status in WAYS}

    def tell(self, id: str, notice: Mapping[str, Any], customer: Mapping[str, Any] | None) -> str:
        """Send the notice under `id`, if it is wanted; what was done: `email`, `text` or `not wanted`."""
        way = WAYS[notice["status"]]
        if customer is None or not wanted(customer, way):
            return "not wanted"
        said = self._templates[notice["status"]].substitute(
            order_id=notice["orderId"], name=customer["name"], tracking_number=notice["trackingNumber"] or "-"
        )
        to = customer[ADDRESSES[way]]
        if way == "email":
            subject, _, text = said.partition("\n\n")
            self._send_email(id=id, to=to, subject=subject, text=text)
        else:
            self._send_text(id=id, to=to, text=said.strip())
        return way
