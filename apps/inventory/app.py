"""Inventory: what follows from each change of the products table. Run it: `afterwrite run apps/inventory/app.py`.

Routes say what is to be done; functions and consumers, whose work is in the modules beside this one, do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterwrite import INSERT, MODIFY, App, Change, Context, Effect, Message
from inventory import alerts, cache, records, settings

SETTINGS = settings.read()

app = App("inventory")
products = app.table("inventory-products", partition_key="productId")
audit = app.table("inventory-audit", partition_key="productId", sort_key="sequence")
orders = app.table("inventory-purchase-orders", partition_key="productId", sort_key="alertId")

analytics = app.delivery_stream("inventory-analytics", buffer_seconds=SETTINGS.buffer_s, buffer_mib=5, key="product_id")
redis = app.cache("inventory", url=SETTINGS.redis_url)
purchasing = app.queue("inventory-purchasing", max_receives=5)
low_stock = app.topic("inventory-low-stock")
low_stock.subscribe(purchasing)


@app.function(retries=10, timeout_s=60, concurrency=32)
def record_audit(entry: Mapping[str, Any], context: Context) -> None:
    """Keep the entry; its key is the change's own, so a second attempt writes the same."""
    context.table(audit).put(entry)


@purchasing.consumer(concurrency=2)
def order_stock(message: Message, context: Context) -> None:
    """Open a purchase order for what the alert suggests."""
    alerts.open_order(context.table(orders), message.body)


@products.on(INSERT, MODIFY)
def warn_of_low_stock(change: Change) -> Effect | None:
    """One alert each time that a product's stock falls to its threshold."""
    if not alerts.falls_low(change):
        return None
    return low_stock.publish(alerts.message(change), subject=alerts.subject(change))


@redis.view(products)
def show_product(product: Mapping[str, Any]) -> Mapping[str, str]:
    """The cache shows each product and its stock, and nothing older than it did."""
    return cache.entries(product)


@products.on()
def keep_up(change: Change) -> list[Effect]:
    """Every change is audited and counted."""
    return [
        record_audit.later(**records.audit_entry(change)),
        analytics.put(records.analytics_row(change)),
    ]
