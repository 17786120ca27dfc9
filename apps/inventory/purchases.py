"""Real purchases to replay: CDNOW's, 69,659 orders of 23,570 customers in 1997 and 1998.

The data set is Fader and Hardie's; its file comes with the package `lifetimes`, of which nothing else is used. It says
who bought how many CDs when and for how much, but not which: each purchase is given a product by a fixed rule, some
products far more often than others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

PRODUCTS: Final = 200
_FILE: Final = "lifetimes/datasets/CDNOW_master.txt"
_HASH_MAX: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Purchase:
    """An order: `units` of one product for `cents` in all."""

    id: str
    customer_id: str
    product_id: str
    day: date
    units: int
    cents: int


def load(limit: int | None = None) -> list[Purchase]:
    """The first `limit` purchases, all by default, in the order of their days."""
    path = Path(str(distribution("lifetimes").locate_file(_FILE)))
    lines = path.read_text(encoding="ascii").splitlines()[1:]
    return sorted(map(purchase, range(len(lines)), lines), key=lambda each: (each.day, each.id))[:limit]


def purchase(number: int, line: str) -> Purchase:
    """The purchase in a line of the file, which holds customer, day, number of CDs and dollars."""
    customer_id, day, units, dollars = line.split()
    return Purchase(
        id=f"sale-{number:05d}",
        customer_id=customer_id,
        product_id=product_id(_popular(f"{number} {customer_id}")),
        day=date(int(day[:4]), int(day[4:6]), int(day[6:])),
        units=int(units),
        cents=int(Decimal(dollars) * 100),
    )


def product_id(number: int) -> str:
    """The id of the product of this number, counted from 0."""
    return f"CD-{number:04d}"


def _popular(seed: str) -> int:
    """A product's number: squaring the chance gives the low numbers the most of them."""
    chance = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big") / _HASH_MAX
    return int(chance * chance * PRODUCTS)
