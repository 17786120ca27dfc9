"""Movements of stock over the wire: never below zero, never twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from afterwrite.wiring import Engine
from demonstration.cdnow import order
from inventory import load
from inventory.app import products
from inventory.purchases import Purchase, product_id, purchase
from inventory.stock import Kind, Movement, Stock
from losing_client import LosingClient


def movement(kind: Kind, units: int, id: str = "m1") -> Movement:
    return Movement(id, kind, product_id(1), units, units * 100, "1997-01-01")


def quantity(engine: Engine) -> int:
    item = engine.table(products).get({"productId": product_id(1)})
    assert item is not None
    return int(item["quantity"])


@pytest.fixture
def shop(stock: Stock) -> Stock:
    """A shop with 41 units of its one product."""
    load.open_shop(stock, [1])
    return stock


def test_what_is_not_in_stock_is_not_sold(shop: Stock, engine: Engine) -> None:
    assert shop.sell(movement("sale", 40), by="c1")
    assert not shop.sell(movement("sale", 2, "m2"), by="c2")
    assert quantity(engine) == 1
    assert shop.restock(movement("restock", 10, "m3"), by="w", below=2)
    assert not shop.restock(movement("restock", 10, "m4"), by="w", below=2)
    assert quantity(engine) == 11
    assert not shop.sell(Movement("m5", "sale", "CD-none", 1, 1, "1997-01-01"), by="c1")


def test_many_writers_sell_what_there_is_and_no_more(shop: Stock, engine: Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        sold = list(threads.map(lambda n: shop.sell(movement("sale", 3, f"m{n}"), by="c"), range(20)))
    assert (sum(sold), quantity(engine)) == (13, 2)


def test_a_sale_whose_answer_was_lost_happens_once(shop: Stock, engine: Engine, dynamodb_client: Any) -> None:
    losing = LosingClient(dynamodb_client)
    assert Stock(losing, products.name).sell(movement("sale", 5), by="c1")  # type: ignore[arg-type]
    assert len(losing.lost) == 1
    assert quantity(engine) == 36


def test_a_purchase_waits_for_a_delivery(shop: Stock, engine: Engine) -> None:
    bought = purchase(order(7, "00002 19970112 45 77.00"))
    large = Purchase("sale-7", bought.customer_id, product_id(1), bought.day, bought.units, bought.cents)
    delivery, sale = load.sell(shop, large)
    assert (delivery.kind, sale.kind, sale.units) == ("restock", "sale", 45)
    # 41 in stock; the threshold is 16, so 2 * 16 - 41 is suggested, and the customer's 45 come with it.
    assert delivery.units == 2 * 16 - 41 + 45
    assert quantity(engine) == 41 + delivery.units - 45


def test_a_purchase_that_another_delivery_served_orders_none(shop: Stock, engine: Engine) -> None:
    class Outrun:
        """A stock that is refilled, by someone else, between a refused sale and the look at what is there."""

        def __init__(self) -> None:
            self.refused = False

        def sell(self, sale: Movement, by: str) -> bool:
            if not self.refused:
                self.refused = True
                return False
            return shop.sell(sale, by)

        def __getattr__(self, name: str) -> Any:
            return getattr(shop, name)

    day = order(7, "00002 19970112 1 77.00").day
    moved = load.sell(Outrun(), Purchase("sale-7", "c1", product_id(1), day, 1, 999))  # type: ignore[arg-type]
    assert [each.kind for each in moved] == ["sale"]
    assert quantity(engine) == 40


def test_a_movement_of_nothing_is_refused(shop: Stock) -> None:
    with pytest.raises(ValueError, match="expected a movement of at least 1 unit, got 0 for m1"):
        shop.sell(movement("sale", 0), by="c1")
