"""The data set, whole."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from demonstration.cdnow import order
from inventory import purchases
from inventory.purchases import Purchase


@pytest.fixture(scope="module")
def every() -> list[Purchase]:
    return purchases.load()


def test_every_purchase_of_cdnow_is_there(every: list[Purchase]) -> None:
    assert len(every) == len({purchase.id for purchase in every}) == 69_659
    assert len({purchase.customer_id for purchase in every}) == 23_570
    assert (every[0].day, every[-1].day) == (date(1997, 1, 1), date(1998, 6, 30))
    assert all(purchase.units >= 1 and purchase.cents >= 0 for purchase in every)


def test_some_products_are_bought_far_more_often(every: list[Purchase]) -> None:
    bought = Counter(purchase.product_id for purchase in every)
    assert len(bought) == purchases.PRODUCTS
    assert bought["CD-0000"] > 10 * bought["CD-0199"]


def test_a_line_of_the_file() -> None:
    bought = purchases.purchase(order(2, " 00002 19970112  5   77.00"))
    assert (bought.id, bought.customer_id, bought.day, bought.units, bought.cents) == (
        "sale-00002",
        "00002",
        date(1997, 1, 12),
        5,
        7700,
    )
