"""What follows from one change: a transcript."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite import Change
from afterwrite.core.effects import Show
from afterwrite.core.values import encode_item
from inventory import app, records
from inventory.cache import as_json


def product(quantity: int, **more: Any) -> dict[str, Any]:
    fields = {"productId": "CD-1", "name": "Blue", "sku": "SKU-1", "quantity": quantity, "reorderThreshold": 20}
    return {**fields, "lastModifiedBy": "customer-7", **more}


def change(name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Change:
    return Change(
        id="c1",
        table="inventory-products",
        event_name=name,
        keys={"productId": {"S": "CD-1"}},
        old_image=None if old is None else encode_item(old),
        new_image=None if new is None else encode_item(new),
        sequence_number="412000000000000000001",
        created_at_us=1_700_000_000_123_456,
    )


def shown(change: Change) -> Any:
    """What the cache is to show after the change."""
    (route,) = [route for route in app.products.routes if route.name == "show_product"]
    return route.handler(change)


@pytest.mark.parametrize(
    ("old", "new", "alerts"),
    [
        (21, 20, True),
        (30, 3, True),
        (20, 19, False),
        (21, 21, False),
        (5, 40, False),
        (None, 25, False),
        (None, 20, True),
    ],
)
def test_an_alert_is_for_falling_to_the_threshold(old: int | None, new: int, alerts: bool) -> None:
    before = None if old is None else product(old)
    effect = app.warn_of_low_stock(change("INSERT" if old is None else "MODIFY", before, product(new)))
    assert (effect is not None) is alerts


def test_a_threshold_that_is_raised_above_the_stock_alerts() -> None:
    raised = change("MODIFY", product(25), product(25, reorderThreshold=30))
    assert app.warn_of_low_stock(raised) is not None


@pytest.mark.parametrize(("more", "suggested"), [({}, 2 * 20 - 18), ({"reorderQuantity": 90}, 90)])
def test_an_alert_says_what_to_order(more: dict[str, Any], suggested: int) -> None:
    effect = app.warn_of_low_stock(change("MODIFY", product(30, **more), product(18, **more)))
    assert effect == app.low_stock.publish(
        {
            "alertId": "c1",
            "productId": "CD-1",
            "name": "Blue",
            "sku": "SKU-1",
            "currentQuantity": 18,
            "reorderThreshold": 20,
            "suggestedOrderQuantity": suggested,
        },
        subject="Low stock: Blue (SKU-1)",
    )


def test_a_sale_is_audited_and_counted() -> None:
    sale = {"id": "s1", "kind": "sale", "units": 3, "cents": 4197, "day": "1997-03-04"}
    sold = change("MODIFY", product(3, movement={"id": "s0"}), product(0, movement=sale))
    effects: Any = app.keep_up(sold)
    audit, row = effects
    assert audit == app.record_audit.later(
        productId="CD-1",
        sequence="412000000000000000001".zfill(40),
        changeId="c1",
        eventType="MODIFY",
        oldQuantity=3,
        newQuantity=0,
        changeAmount=-3,
        user="customer-7",
        timestamp="2023-11-14T22:13:20.123+00:00",
    )
    assert row == app.analytics.put(
        event_id="c1",
        event_name="MODIFY",
        product_id="CD-1",
        kind="sale",
        day="1997-03-04",
        quantity_change=-3,
        quantity=0,
        cents=4197,
        sold_out=True,
        at_ms=1_700_000_000_123,
    )


def test_a_removed_product_leaves_the_cache_and_takes_its_stock_along() -> None:
    gone = change("REMOVE", product(5, movement={"id": "s0", "kind": "sale", "cents": 999}), None)
    assert shown(gone) == Show(
        "inventory", "inventory-products/CD-1", "412000000000000000001", {}, ("product:CD-1", "stock:CD-1")
    )
    entry, row = records.audit_entry(gone), records.analytics_row(gone)
    assert (entry["oldQuantity"], entry["newQuantity"], entry["changeAmount"], entry["user"]) == (5, None, -5, None)
    assert (row["quantity_change"], row["kind"], row["cents"], row["sold_out"]) == (-5, None, 0, False)


def test_a_sale_shows_the_product_and_its_stock() -> None:
    sold = change("MODIFY", product(3), product(0))
    values = {"product:CD-1": as_json(product(0)), "stock:CD-1": "0"}
    assert shown(sold) == Show("inventory", "inventory-products/CD-1", "412000000000000000001", values)


def test_an_item_that_json_cannot_hold_is_named() -> None:
    with pytest.raises(TypeError, match=r"expected text, numbers, lists and maps in a product, got \{1\}"):
        as_json({"productId": "CD-1", "tags": {1}})


def test_an_edit_is_no_movement() -> None:
    movement = {"id": "s0", "kind": "sale", "cents": 999, "day": "1997-03-04"}
    edited = change("MODIFY", product(5, movement=movement), product(5, movement=movement, priceCents=1))
    row = records.analytics_row(edited)
    assert (row["kind"], row["quantity_change"], row["cents"], row["day"]) == (None, 0, 0, "2023-11-14")
