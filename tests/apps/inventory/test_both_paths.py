"""Inventory by DynamoDB Streams and by Kinesis, whose records come twice and in disorder: the same end state."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from afterwrite.app import StreamKind
from both_paths import running, settle
from demonstration.certain_writes import dynamodb_client
from demonstration.redis_process import RedisProcess
from inventory import app, load, purchases, readback
from inventory.purchases import product_id
from inventory.reconcile import Found, Written, reconcile
from inventory.stock import Stock

PURCHASES = 150
PRODUCTS = 6
GONE, AGAIN, DEARER = range(0, 6, 3), range(0, 6, 6), range(1, 3)


def shop(data: Path, redis_url: str, stream: StreamKind) -> Found:
    """Purchases by one writer, and what the stores hold when all is done; every equation of the demonstration holds."""
    with running(app.app, app.products, data, stream) as (engine, disorder):
        host, port = engine.address
        with closing(dynamodb_client(f"http://{host}:{port}", threads=1)) as client:
            stock = Stock(client, app.products.name)
            movements = load.open_shop(stock, range(PRODUCTS))
            for number, purchase in enumerate(purchases.load(PURCHASES)):
                movements += load.sell(stock, replace(purchase, product_id=product_id(number % PRODUCTS)))
            for number in DEARER:
                stock.set_price(product_id(number), 1499 + number, by="catalogue")
            for number in GONE:
                stock.discontinue(product_id(number))
            movements += load.open_shop(stock, AGAIN, again=True)
        settle(engine, disorder)
        found = readback.read(engine.reader(), redis_url)
    for each in disorder:
        assert each.carried == len(found.changes)
        assert min(each.repeated, each.moved) > 20
    gone = [(product_id(number), number in AGAIN) for number in GONE]
    prices = {product_id(number): 1499 + number for number in DEARER}
    assert [check for check in reconcile(Written(movements, prices, gone), found) if not check.ok] == []
    return found


def end_state(found: Found) -> dict[str, Any]:
    """What is the same however the changes came: everything but their ids."""
    return {
        "products": found.products,
        "cached": found.cached,
        "orders": Counter(order[1:] for order in found.orders),
        "audited": [row[1:] for row in found.audited],
        "analytics": Counter(row[1:] for row in found.analytics),
        "sold": Counter(found.sold),
        "dead letters": sum(found.dead_letters.values()),
    }


def test_the_end_state_is_the_same_by_both_streams(
    redis_server: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S26: records may come twice and out of order.
    monkeypatch.setattr(app.app, "caches", [replace(app.redis, url=redis_server.url)])
    by_streams = end_state(shop(tmp_path / "by-streams", redis_server.url, "dynamodb"))
    redis_server.flush()
    by_kinesis = end_state(shop(tmp_path / "by-kinesis", redis_server.url, "kinesis"))
    assert by_kinesis == by_streams
    assert by_streams["cached"] and by_streams["orders"]
