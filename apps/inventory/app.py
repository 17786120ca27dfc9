"""Inventory: what follows from each change of the products table. Run it: `afterwrite run apps/inventory/app.py`.

Routes say what is to be done; functions and consumers, whose work is in the modules beside this one, do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterwrite import INSERT, MODIFY, App, Change, Context, Effect, Message
from inventory import alerts, records, settings
from inventory.cache import Cache, Refresh

SETTINGS = settings.read()
CACHE = Cache(SETTINGS.redis_url)

app = App("inventory")
products = app.table("inventory-products", partition_key="productId")
audit = app.table("inventory-audit", partition_key="productId", sort_key="sequence")
orders = app.table("inventory-purchase-orders", partition_key="productId", sort_key="alertId")

analytics = app.delivery_stream("inventory-analytics", buffer_seconds=SETTINGS.buffer_s, buffer_mib=5, key="product_id")
purchasing = app.queue("inventory-purchasing", max_receives=5)
low_stock = app.topic("inventory-low-stock")
low_stock.subscribe(purchasing)


# A cache that is down is waited for, however long: what it has missed it gets in order.
@app.function(retries=100_000, timeout_s=60, concurrency=4)
def refresh_cache(request: Mapping[str, Any], context: Context) -> None:
    """Show the product in the cache as the change left it; fill the cache first if it has lost everything."""
    CACHE.refresh(Refresh.from_request(request), context.table(products).scan)


@app.function(retries=10, timeout_s=60, concurrency=4)
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


@products.on()
def keep_up(change: Change) -> list[Effect]:
    """Every change is shown in the cache, audited and counted."""
    return [
        refresh_cache.later(**Refresh.of(change).to_request()),
        record_audit.later(**records.audit_entry(change)),
        analytics.put(**records.analytics_row(change)),
    ]
