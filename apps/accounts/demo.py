"""The demonstration: real orders move customers' money, and every account's history is read back and reconciled.

The engine and the writers are processes of their own. On request the engine is killed at random moments of the load.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from accounts import app, load, readback
from accounts.bank import Bank, Movement
from accounts.reconcile import Written, reconcile
from afterwrite import open_data
from demonstration import shares
from demonstration.certain_writes import dynamodb_client
from demonstration.checks import Check
from demonstration.course import Course
from demonstration.server_process import DemoEngine
from demonstration.stage import Display, moments, perform

WRITERS: Final = 2
THREADS: Final = 8
_RENAMED_EVERY: Final = 50
_CLOSED_EVERY: Final = 20


def run(data: Path, size: int | None, crash: int, json: bool) -> int:
    """Pay `size` orders, all by default, in the new directory `data`; 0 if all is reconciled.

    The engine is killed `crash` times. `data` gets the engine's data directory `engine`, its log, and the writers'
    manifests.
    """
    return perform(data, lambda display: _play(data, size, crash, display), json=json)


def _play(data: Path, size: int | None, crashes: int, display: Display) -> list[Check]:
    orders = load.orders(size)
    manifests = [data / f"written-{number}.jsonl" for number in range(WRITERS)]
    engine = DemoEngine(Path(app.__file__), data / "engine")
    course = Course(engine, display, len(orders))
    with ExitStack() as stack:
        stack.callback(engine.kill)
        engine.start()
        display.say(f"The engine listens on {engine.url}, its data is in {data / 'engine'}.")
        view = stack.enter_context(open_data(data / "engine"))
        began = time.monotonic()
        course.load(
            load.write_share,
            course.shares(manifests, app.accounts.name, THREADS),
            course.crashes(moments(crashes, len(orders))),
            f"Paying {len(orders)} orders",
        )
        client = dynamodb_client(engine.url, threads=1)
        stack.callback(client.close)
        bank = Bank(client, app.accounts.name)
        customers = sorted({order.customer_id for order in orders})
        renamed = {customer: f"Heirs of customer {customer}" for customer in customers[1::_RENAMED_EVERY]}
        closed = customers[::_CLOSED_EVERY]
        for customer, owner in renamed.items():
            bank.rename(customer, owner)
        for customer in closed:
            bank.close(customer)
        course.settle(view)
        took_s = time.monotonic() - began
        answers = readback.ask(engine.url, view)
        engine.stop()
        found = readback.read(view, answers)
        display.say(
            f"{len(found.changes)} changes with all that follows in {took_s:.0f} s, "
            f"{len(found.changes) / took_s:.0f} a second. Read the stores back."
        )
        movements = [Movement(**fields) for fields in shares.read(manifests)]
        open_renamed = {customer: owner for customer, owner in renamed.items() if customer not in closed}
        return reconcile(Written(movements, open_renamed, closed), found)
