"""The app's cache behind a running engine: on a real Redis that is flushed, killed and started again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Engine
from afterwrite.config import Settings
from bounds import BOUND_S
from demonstration.redis_process import RedisProcess
from engine_process import wait_until
from inventory import cache


@pytest.fixture
def shop(tmp_path: Path, redis_server: RedisProcess) -> Iterator[tuple[Engine, Any]]:
    app = App("shop")
    products = app.table("products", partition_key="productId")
    app.cache("shop", url=redis_server.url).view(products)(cache.entries)
    with Engine(app, Settings(tmp_path / "data", port=None)) as engine:
        yield engine, engine.table(products)


def put(products: Any, product_id: str, quantity: int) -> None:
    products.put({"productId": product_id, "name": "Blue", "quantity": quantity})


def test_products_are_shown_and_removed(shop: tuple[Engine, Any], view: Any) -> None:
    engine, products = shop
    put(products, "CD-1", 7)
    put(products, "CD-2", 8)
    wait_until(engine.reader().idle)
    assert json.loads(view.get("product:CD-1")) == {"name": "Blue", "productId": "CD-1", "quantity": 7}
    assert view.mget("stock:CD-1", "stock:CD-2") == ["7", "8"]
    products.delete({"productId": "CD-1"})
    wait_until(engine.reader().idle)
    assert view.keys("*:CD-1") == []
    assert len(view.keys("version:*")) == 2


def test_a_cache_that_was_flushed_is_filled_from_the_table(shop: tuple[Engine, Any], view: Any) -> None:
    engine, products = shop
    for number in range(600):
        put(products, f"CD-{number}", number)
    wait_until(engine.reader().idle)
    view.flushall()
    put(products, "CD-7", 70)
    wait_until(lambda: engine.reader().idle() and len(view.keys("stock:*")) == 600)
    assert view.mget("stock:CD-7", "stock:CD-599") == ["70", "599"]


def test_a_cache_that_is_away_gets_everything_when_it_is_back(
    shop: tuple[Engine, Any], view: Any, redis_server: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    engine, products = shop
    put(products, "CD-1", 1)
    wait_until(engine.reader().idle)
    redis_server.kill()
    put(products, "CD-1", 2)
    put(products, "CD-2", 2)
    wait_until(lambda: "invocation failed" in caplog.text)
    redis_server.start()
    wait_until(engine.reader().idle, bound_s=BOUND_S)
    assert view.mget("stock:CD-1", "stock:CD-2") == ["2", "2"]
