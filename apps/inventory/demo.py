"""The demonstration: real purchases move a shop's stock, and every store is read back and reconciled.

The engine, the writers and Redis are processes of their own. In the middle of the load Redis is flushed once, and
killed and started again without anything once. On request the engine is killed at random moments, too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from afterwrite import open_data
from demonstration.checks import Check
from demonstration.engine_process import EngineProcess
from demonstration.stage import DemoFailed, Display, moments, perform
from demonstration.writers import Writers
from inventory import app, load, purchases, readback
from inventory.purchases import PRODUCTS, product_id
from inventory.reconcile import Written, reconcile
from inventory.redis_process import RedisProcess
from inventory.stock import Stock

WRITERS: Final = 2
THREADS: Final = 8
BUFFER_S: Final = 5
SETTLED_S_MAX: Final = 600.0
PRICES_CHANGED: Final = range(0, PRODUCTS, 7)
DISCONTINUED: Final = range(3, PRODUCTS, 20)
LISTED_AGAIN: Final = range(3, PRODUCTS, 40)
_FLUSH_AT: Final = 1 / 3
_RESTART_AT: Final = 2 / 3
_POLL_S: Final = 0.1


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
        self._size = size
        self._sales = len(purchases.load(size))
        self._crashes = moments(crashes, self._sales)
        self._redis = RedisProcess(data / "redis.log")
        settings = {"INVENTORY_BUFFER_S": str(BUFFER_S), "INVENTORY_REDIS_URL": self._redis.url}
        self._engine = EngineProcess(Path(app.__file__), data / "engine", data / "engine.log", settings)
        self._manifests = [data / f"written-{number}.jsonl" for number in range(WRITERS)]

    def run(self) -> list[Check]:
        with ExitStack() as stack:
            stack.callback(self._redis.kill)
            self._redis.start()
            stack.callback(self._engine.kill)
            self._engine.start()
            self._display.say(f"The engine listens on {self._engine.url}, its data is in {self._data / 'engine'}.")
            client = load.client(self._engine.url, threads=1)
            stack.callback(client.close)
            stock = Stock(client, app.products.name)
            view = stack.enter_context(open_data(self._data / "engine"))
            listed = load.open_shop(stock, range(PRODUCTS))
            began = time.monotonic()
            self._load()
            for number in PRICES_CHANGED:
                stock.set_price(product_id(number), _new_price_cents(number), by="catalogue")
            for number in DISCONTINUED:
                stock.discontinue(product_id(number))
            listed += load.open_shop(stock, LISTED_AGAIN, again=True)
            written = Written(
                movements=[*listed, *load.read(self._manifests)],
                prices={product_id(n): _new_price_cents(n) for n in PRICES_CHANGED if n not in DISCONTINUED},
                discontinued=[(product_id(number), number in LISTED_AGAIN) for number in DISCONTINUED],
            )
            self._settle(view)
            took_s = time.monotonic() - began
            self._engine.stop()
            found = readback.read(view, self._redis.url)
            self._display.say(
                f"{len(found.changes)} changes with all that follows in {took_s:.0f} s, "
                f"{len(found.changes) / took_s:.0f} a second. Read the stores back."
            )
            return reconcile(written, found)

    def _load(self) -> None:
        accidents = [(int(self._sales * _FLUSH_AT), self._flush), (int(self._sales * _RESTART_AT), self._restart)]
        accidents = sorted([*accidents, *((moment, self._crash) for moment in self._crashes)], key=lambda each: each[0])
        shares = [self._share(number) for number in range(WRITERS)]
        with (
            Writers(load.write_share, shares) as writers,
            self._display.progress(f"Making {self._sales} purchases", self._sales) as show,
        ):
            while writers.at_work():
                time.sleep(_POLL_S)
                show(writers.written)
                while accidents and writers.written >= accidents[0][0]:
                    _, happen = accidents.pop(0)
                    self._display.say(f"{happen()} after {writers.written} purchases.")
                self._engine.check()
            show(writers.written)
        for _, happen in accidents:  # a small load may be over before its last ones
            self._display.say(f"{happen()} after the last purchase.")

    def _flush(self) -> str:
        self._redis.flush()
        return "Flushed Redis"

    def _restart(self) -> str:
        self._redis.kill()
        self._redis.start()
        return "Killed Redis, with all that it held, and started it again"

    def _crash(self) -> str:
        self._engine.kill()
        self._engine.start()
        return "Killed the engine and started it again"

    def _share(self, number: int) -> load.Share:
        return load.Share(
            number=number,
            of=WRITERS,
            endpoint_url=self._engine.url,
            table_name=app.products.name,
            purchases=self._size,
            threads=THREADS,
            manifest=self._manifests[number],
        )

    def _settle(self, view: Any) -> None:
        """Wait until all that follows from the writes is done."""
        behind = _behind(view)
        deadline = time.monotonic() + SETTLED_S_MAX
        with self._display.progress("What follows: what was still to do when the load ended", behind) as show:
            while not view.idle():
                show(max(0, behind - _behind(view)))
                if time.monotonic() > deadline:
                    raise DemoFailed(f"not all was done after {SETTLED_S_MAX:.0f} s: {view.depths()}")
                self._engine.check()
                time.sleep(_POLL_S)
            show(behind)


def _behind(view: Any) -> int:
    """How many changes are before the routes, and messages before the functions."""
    status = view.status()
    behind: int = sum(consumer.lag_records for consumer in status.consumers) + sum(
        queue.waiting + queue.in_flight for queue in status.queues
    )
    return behind


def _new_price_cents(number: int) -> int:
    return 1499 + number
