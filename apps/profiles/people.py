"""Customers and their changes: CDNOW's customers, as their purchases make them known, with made names and addresses.

Whatever is made up comes from a digest of the customer's number and of how often it has changed, so that the same
orders give the same people each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from demonstration.cdnow import Order

_FIRST: Final = ("Ada", "Alan", "Barbara", "Edsger", "Grace", "Jean", "John", "Katherine", "Margaret", "Niklaus")
_LAST: Final = ("Allen", "Backus", "Hamilton", "Hopper", "Johnson", "Liskov", "Lovelace", "McCarthy", "Turing", "Wirth")
_STREETS: Final = ("Ash", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Lime", "Maple", "Oak", "Pine")
_CITIES: Final = ("Ashford", "Brookfield", "Clayton", "Dover", "Easton", "Fairview", "Georgetown", "Hudson")


@dataclass(frozen=True, slots=True)
class Edit:
    """A write to a customer: what is set. The first one of a customer makes it known."""

    customer_id: str
    first: bool
    fields: dict[str, Any]


def edits(orders: Iterable[Order]) -> Iterator[Edit]:
    """A customer's first purchase makes a profile; of the later ones, some come with a new address or e-mail.

    Each sets the day of the purchase as well, of which no other system is told.
    """
    known: dict[str, int] = {}
    for order in orders:
        number, version = order.customer_id, known.get(order.customer_id, -1) + 1
        known[number] = version
        fields: dict[str, Any] = {"lastOrder": order.day.isoformat()}
        if version == 0:
            fields |= {"name": name(number), "email": email(number, 0), "address": address(number, 0)}
        else:
            kind = _number(number, version, "kind") % 4
            if kind in (0, 1):
                fields["email"] = email(number, version)
            if kind in (1, 2):
                fields["address"] = address(number, version)
        yield Edit(customer_id(number), version == 0, fields)


def customer_id(number: str) -> str:
    """A customer's key."""
    return f"C-{number}"


def name(number: str) -> str:
    """A customer's name."""
    return f"{_one(_FIRST, number, 'first')} {_one(_LAST, number, 'last')}"


def email(number: str, version: int) -> str:
    """A customer's e-mail address, another one for each version."""
    return f"{name(number).lower().replace(' ', '.')}.{number}.{version}@example.com"


def address(number: str, version: int) -> dict[str, str]:
    """A customer's postal address, another one for each version."""
    house = _number(number, version, "house") % 200 + 1
    return {
        "street": f"{house} {_one(_STREETS, number, version, 'street')} Street, no. {version}",
        "city": _one(_CITIES, number, version, "city"),
        "postcode": f"{_number(number, version, 'postcode') % 100_000:05d}",
    }


def _one(of: tuple[str, ...], *seed: object) -> str:
    return of[_number(*seed) % len(of)]


def _number(*seed: object) -> int:
    return int.from_bytes(blake2b(" ".join(map(str, seed)).encode(), digest_size=4).digest(), "big")
