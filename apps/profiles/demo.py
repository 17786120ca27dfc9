"""The demonstration: customers change, two systems are told over HTTP, and everything is read back and reconciled.

The engine, the writers and the two systems are processes of their own. In the middle of the load the marketing system
is killed, and started again when the shipping system has gone on for a while. On request the engine is killed at random
moments, too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from afterwrite import open_data
from demonstration import inbox
from demonstration.certain_writes import CertainWrites, dynamodb_client
from demonstration.checks import Check
from demonstration.course import Accident, Course
from demonstration.server_process import DemoEngine, ModuleProcess
from demonstration.stage import Display, moments, perform
from profiles import app, load, readback
from profiles.reconcile import reconcile

PURCHASES: Final = 6_000
WRITERS: Final = 2
THREADS: Final = 4
_SECRET: Final = "whsec-of-the-demonstration"  # noqa: S105 - of two processes of this machine
_WENT_ON_S_MAX: Final = 60.0
_POLL_S: Final = 0.1


def run(data: Path, size: int | None, crash: int, json: bool) -> int:
    """Replay `size` purchases' changes of customers, in the new directory `data`; 0 if all is reconciled.

    The engine is killed `crash` times. `data` gets the engine's data directory `engine`, the logs, the writers'
    manifests, and the systems' files.
    """
    return perform(data, lambda display: _Demo(data, size or PURCHASES, crash, display).run(), json=json)


class _Demo:
    def __init__(self, data: Path, size: int, crashes: int, display: Display) -> None:
        self._data = data
        self._display = display
        self._edits = load.planned(size)
        self._crashes = moments(crashes, len(self._edits))
        self._marketing_file, self._shipping_file = data / "marketing.sqlite", data / "shipping.sqlite"
        secret = {"PROFILES_SECRET": _SECRET}
        self._marketing = ModuleProcess("profiles.system", [str(self._marketing_file)], data / "marketing.log", secret)
        self._shipping = ModuleProcess("profiles.system", [str(self._shipping_file)], data / "shipping.log", secret)
        settings = {
            **secret,
            "PROFILES_MARKETING_URL": f"http://{self._marketing.address}/customers",
            "PROFILES_SHIPPING_URL": f"http://{self._shipping.address}/customers",
        }
        self._engine = DemoEngine(Path(app.__file__), data / "engine", settings)
        self._manifests = [data / f"written-{number}.json" for number in range(WRITERS)]
        self._told_before = self._went_on = 0

    def run(self) -> list[Check]:
        with ExitStack() as stack:
            for process in (self._marketing, self._shipping, self._engine):
                stack.callback(process.kill)
                process.start()
            self._display.say(f"The engine listens on {self._engine.url}, its data is in {self._data / 'engine'}.")
            view = stack.enter_context(open_data(self._data / "engine"))
            began = time.monotonic()
            course = Course(self._engine, self._display, len(self._edits))
            course.load(
                load.write_share,
                course.shares(self._manifests, app.customers.name, THREADS),
                [*self._outage(), *course.crashes(self._crashes)],
                f"Making {len(self._edits)} changes",
            )
            client = dynamodb_client(self._engine.url, threads=1)
            stack.callback(client.close)
            leaving = load.removed(self._edits)
            load.remove(CertainWrites(client), app.customers.name, leaving)
            course.settle(view)
            took_s = time.monotonic() - began
            self._engine.stop()
            found = readback.read(view, self._marketing_file, self._shipping_file)
            told = sum(len(system.arrivals) for system in found.systems)
            self._display.say(
                f"{len(found.changes)} changes, {told} requests to the systems in {took_s:.0f} s. Read the stores back."
            )
            acknowledged = load.acknowledged(self._manifests)
            return [
                Check(
                    "writes planned = acknowledged", len(self._edits), acknowledged, acknowledged == len(self._edits)
                ),
                Check("shipping was told more while marketing was down", 1, self._went_on, self._went_on > 0),
                # Whoever is killed in the middle of a request leaves what it was about in doubt: it is made again.
                *reconcile(
                    self._edits, leaving, found, repeats=("marketing", "shipping") if self._crashes else ("marketing",)
                ),
            ]

    def _outage(self) -> list[Accident]:
        total = len(self._edits)
        return [(total // 3, self._take_down), (total * 2 // 3, self._bring_back)]

    def _take_down(self) -> str:
        self._marketing.kill()
        self._told_before = inbox.count(self._shipping_file)
        return "Killed the marketing system"

    def _bring_back(self) -> str:
        deadline = time.monotonic() + _WENT_ON_S_MAX
        while (told := inbox.count(self._shipping_file)) <= self._told_before and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._went_on = told - self._told_before
        self._marketing.start()
        return f"Started the marketing system again; shipping was told {self._went_on} times meanwhile,"
