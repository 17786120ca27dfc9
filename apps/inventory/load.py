"""Replays purchases into the products table: several processes, each with several threads, all on the same products."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from demonstration import shares
from demonstration.certain_writes import dynamodb_client
from demonstration.shares import Share
from inventory import purchases
from inventory.alerts import suggested_order_quantity
from inventory.purchases import Purchase, product_id
from inventory.stock import Movement, Stock

if TYPE_CHECKING:
    from demonstration.writers import Count

RETRY_FOR_S: Final = 60.0
OPENING_DAY: Final = "1997-01-01"


def listing(number: int, *, again: bool = False) -> Movement:
    """The movement that puts a product's first units on the shelf."""
    again_mark = "-again" if again else ""
    return Movement(f"list-{number:04d}{again_mark}", "listing", product_id(number), 40 + number % 60, 0, OPENING_DAY)


def open_shop(stock: Stock, numbers: Iterable[int], *, again: bool = False) -> list[Movement]:
    """List the products of these numbers. Every third has a reorder quantity of its own."""
    listings = [listing(number, again=again) for number in numbers]
    for number, each in zip(numbers, listings, strict=True):
        stock.list_product(
            each,
            name=f"Album {number}",
            sku=f"SKU-{number:06d}",
            price_cents=999 + number,
            threshold=15 + number % 20,
            reorder=90 if number % 3 == 0 else None,
            by="catalogue",
        )
    return listings


def write_share(share: Share, written: Count) -> None:
    """Make the share's purchases and write down every movement that was acknowledged."""
    client = dynamodb_client(share.endpoint_url, share.threads)
    stock = Stock(client, share.table_name, retry_for_s=RETRY_FOR_S)
    shares.write_share(share, purchases.load(share.size), lambda purchase: sell(stock, purchase), written)


def sell(stock: Stock, purchase: Purchase) -> list[Movement]:
    """Make a purchase; where too few are in stock, once a delivery has come. What moved, in order.

    Another writer may sell what the delivery brought, or have one come first: then it is tried again.
    """
    day = purchase.day.isoformat()
    sale = Movement(purchase.id, "sale", purchase.product_id, purchase.units, purchase.cents, day)
    movements: list[Movement] = []
    for attempt in range(1_000):
        if stock.sell(sale, by=f"customer-{purchase.customer_id}"):
            return [*movements, sale]
        item = stock.get(purchase.product_id)
        if item is None:
            raise AssertionError(f"{purchase.product_id} is not offered: list it before it is sold")
        numbers = {name: int(value["N"]) for name, value in item.items() if "N" in value}
        if numbers["quantity"] >= purchase.units:
            continue
        units = suggested_order_quantity(numbers) + purchase.units
        delivery = Movement(f"{purchase.id}-restock-{attempt}", "restock", purchase.product_id, units, 0, day)
        if stock.restock(delivery, by="warehouse", below=purchase.units):
            movements.append(delivery)
    raise AssertionError(f"{purchase.id} was outrun by other purchases 1,000 times")
