"""Low stock: when purchasing is told, what it is told, and the order that it opens. Pure but for the last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from afterwrite import Change


def is_low(product: Mapping[str, Any] | None) -> bool:
    """Whether the product's stock is at its reorder threshold or below."""
    return product is not None and bool(product["quantity"] <= product["reorderThreshold"])


def falls_low(change: Change) -> bool:
    """Whether this change made the stock low: it is now, and was not before.

    The later sales of a product that is low already say nothing new.
    """
    return is_low(change.new) and not is_low(change.old)


def suggested_order_quantity(product: Mapping[str, Any]) -> int:
    """What to order: the product's reorder quantity, else what fills its stock up to twice the threshold."""
    return int(product.get("reorderQuantity") or product["reorderThreshold"] * 2 - product["quantity"])


def message(change: Change) -> dict[str, Any]:
    """What purchasing is told of a product whose stock fell low."""
    product = change.new or {}
    return {
        "alertId": change.id,
        "productId": product["productId"],
        "name": product["name"],
        "sku": product["sku"],
        "currentQuantity": int(product["quantity"]),
        "reorderThreshold": int(product["reorderThreshold"]),
        "suggestedOrderQuantity": suggested_order_quantity(product),
    }


def subject(change: Change) -> str:
    """The alert's subject line."""
    product = change.new or {}
    return f"Low stock: {product['name']} ({product['sku']})"


class Table(Protocol):
    """What opening an order needs of a table's client."""

    def put(self, item: Mapping[str, Any]) -> Any:
        """Write the item."""


def open_order(orders: Table, alert: Mapping[str, Any]) -> None:
    """Open a purchase order under the alert's own id, so that an alert told twice opens it once."""
    orders.put({**alert, "state": "open"})
