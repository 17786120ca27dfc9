"""The demonstration: real purchases move a shop's stock, and every store is read back and reconciled.

The engine, the writers and Redis are processes of their own. In the middle of the load Redis is flushed once, and
killed and started again without anything once. On request the engine is killed at random moments, too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from afterwrite import open_data
from demonstration import shares
from demonstration.certain_writes import dynamodb_client
from demonstration.checks import Check
from demonstration.course import Course
from demonstration.redis_process import RedisProcess
from demonstration.server_process import DemoEngine
from demonstration.stage import Display, moments, perform
from inventory import app, load, purchases, readback
from inventory.purchases import PRODUCTS, product_id
from inventory.reconcile import Written, reconcile
from inventory.stock import Movement, Stock

WRITERS: Final = 2
THREADS: Final = 8
BUFFER_S: Final = 5
PRICES_CHANGED: Final = range(0, PRODUCTS, 7)
DISCONTINUED: Final = range(3, PRODUCTS, 20)
LISTED_AGAIN: Final = range(3, PRODUCTS, 40)


def run(data: Path, size: int | None, crash: int, json: bool) -> int:
    """Make `size` purchases, all by default, in the new directory `data`; 0 if all is reconciled.

    The engine is killed `crash` times. `data` gets the engine's data directory `engine`, the logs, and the writers'
    manifests.
    """
    return perform(data, lambda display: _Demo(data, size, crash, display).run(), json=json)


class _Demo:
    def __init__(self, data: Path, size: int | None, crashes: int, display: Display) -> None:
        self._data = data
        self._display = display
        self._sales = len(purchases.load(size))
        self._crashes = moments(crashes, self._sales)
        self._redis = RedisProcess(data / "redis.log")
        settings = {"INVENTORY_BUFFER_S": str(BUFFER_S), "INVENTORY_REDIS_URL": self._redis.url}
        self._engine = DemoEngine(Path(app.__file__), data / "engine", settings)
        self._manifests = [data / f"written-{number}.jsonl" for number in range(WRITERS)]

    def run(self) -> list[Check]:
        with ExitStack() as stack:
            stack.callback(self._redis.kill)
            self._redis.start()
            stack.callback(self._engine.kill)
            self._engine.start()
            self._display.say(f"The engine listens on {self._engine.url}, its data is in {self._data / 'engine'}.")
            course = Course(self._engine, self._display, self._sales)
            client = dynamodb_client(self._engine.url, threads=1)
            stack.callback(client.close)
            stock = Stock(client, app.products.name)
            view = stack.enter_context(open_data(self._data / "engine"))
            listed = load.open_shop(stock, range(PRODUCTS))
            began = time.monotonic()
            course.load(
                load.write_share,
                course.shares(self._manifests, app.products.name, THREADS),
                [*course.losses(self._redis), *course.crashes(self._crashes)],
                f"Making {self._sales} purchases",
            )
            for number in PRICES_CHANGED:
                stock.set_price(product_id(number), _new_price_cents(number), by="catalogue")
            for number in DISCONTINUED:
                stock.discontinue(product_id(number))
            listed += load.open_shop(stock, LISTED_AGAIN, again=True)
            written = Written(
                movements=[*listed, *(Movement(**fields) for fields in shares.read(self._manifests))],
                prices={product_id(n): _new_price_cents(n) for n in PRICES_CHANGED if n not in DISCONTINUED},
                discontinued=[(product_id(number), number in LISTED_AGAIN) for number in DISCONTINUED],
            )
            course.settle(view)
            took_s = time.monotonic() - began
            self._engine.stop()
            found = readback.read(view, self._redis.url)
            self._display.say(
                f"{len(found.changes)} changes with all that follows in {took_s:.0f} s, "
                f"{len(found.changes) / took_s:.0f} a second. Read the stores back."
            )
            return reconcile(written, found)


def _new_price_cents(number: int) -> int:
    return 1499 + number
