"""The purchases to replay: CDNOW's orders, each of one product.

The data set does not say which CDs were bought: each order is given a product by a fixed rule, some products far more
often than others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from typing import Final

from demonstration import cdnow
from demonstration.cdnow import Order

PRODUCTS: Final = 200
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
    return [purchase(order) for order in cdnow.load(limit)]


def purchase(order: Order) -> Purchase:
    """The order as a purchase of its product."""
    return Purchase(
        id=f"sale-{order.number:05d}",
        customer_id=order.customer_id,
        product_id=product_id(_popular(f"{order.number} {order.customer_id}")),
        day=order.day,
        units=order.units,
        cents=order.cents,
    )


def product_id(number: int) -> str:
    """The id of the product of this number, counted from 0."""
    return f"CD-{number:04d}"


def _popular(seed: str) -> int:
    """A product's number: squaring the chance gives the low numbers the most of them."""
    chance = int.from_bytes(blake2b(seed.encode(), digest_size=8).digest(), "big") / _HASH_MAX
    return int(chance * chance * PRODUCTS)
