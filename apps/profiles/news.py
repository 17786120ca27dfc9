"""What a system is told of a customer's change: the fields that it is for, as they are now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from afterwrite import Change

MARKETING: Final = ("name", "email")
SHIPPING: Final = ("name", "address")


def view(customer: Mapping[str, Any] | None, fields: Sequence[str]) -> dict[str, Any] | None:
    """The fields of a customer that a system is for; None for a customer that is no more."""
    return None if customer is None else {name: customer[name] for name in fields if name in customer}


def news(change: Change, fields: Sequence[str]) -> dict[str, Any]:
    """The whole of what the system is to know now, so that applying it twice changes nothing."""
    return {
        "customerId": change.keys["customerId"],
        "sequence": change.version,
        "profile": view(change.new, fields),
    }
