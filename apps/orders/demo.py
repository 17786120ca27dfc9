"""The demonstration: orders move on, customers get e-mails and texts, and everything is read back and reconciled.

The engine, the writers, the mail server and the double of SNS are processes of their own. In the middle of the load the
mail server is killed and started again. On request the engine is killed at random moments, too.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from afterwrite import open_data
from demonstration.certain_writes import CertainWrites, dynamodb_client
from demonstration.checks import Check
from demonstration.course import Course
from demonstration.server_process import DemoEngine, ModuleProcess
from demonstration.stage import Display, moments, perform
from orders import app, load, readback
from orders.reconcile import expected, reconcile

ORDERS: Final = 2_000
WRITERS: Final = 2
THREADS: Final = 4
QUIET_S: Final = 15


def run(data: Path, size: int | None, crash: int, json: bool) -> int:
    """Move `size` orders through their statuses, in the new directory `data`; 0 if all is reconciled.

    The engine is killed `crash` times. `data` gets the engine's data directory `engine`, the logs, the writers'
    manifests, and the files of the mail server and of the text service.
    """
    return perform(data, lambda display: _Demo(data, size or ORDERS, crash, display).run(), json=json)


class _Demo:
    def __init__(self, data: Path, size: int, crashes: int, display: Display) -> None:
        self._data = data
        self._display = display
        self._size = size
        self._crashes = crashes
        self._emails, self._texts = data / "emails.sqlite", data / "texts.sqlite"
        self._mail_server = ModuleProcess("orders.mail_server", [str(self._emails)], data / "mail-server.log")
        self._text_service = ModuleProcess("orders.text_service", [str(self._texts)], data / "text-service.log")
        settings = {
            "ORDERS_MAIL_URL": f"smtp://{self._mail_server.address}",
            "AWS_ENDPOINT_URL_SNS": f"http://{self._text_service.address}",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        }
        self._engine = DemoEngine(Path(app.__file__), data / "engine", settings)
        self._manifests = [data / f"written-{number}.json" for number in range(WRITERS)]

    def run(self) -> list[Check]:
        with ExitStack() as stack:
            for process in (self._mail_server, self._text_service, self._engine):
                stack.callback(process.kill)
                process.start()
            plan = load.planned(self._size, datetime.now(UTC))
            self._display.say(f"The engine listens on {self._engine.url}, its data is in {self._data / 'engine'}.")
            view = stack.enter_context(open_data(self._data / "engine"))
            client = dynamodb_client(self._engine.url, threads=8)
            stack.callback(client.close)
            load.register(CertainWrites(client), app.customers.name, plan.customers)
            began = time.monotonic()
            total = len(plan.steps)
            course = Course(self._engine, self._display, total)
            course.load(
                load.write_share,
                [self._share(number) for number in range(WRITERS)],
                [(total // 2, self._restart_mail_server), *course.crashes(moments(self._crashes, total))],
                f"Making {total} writes to {self._size} orders",
            )
            course.settle(view)
            took_s = time.monotonic() - began
            self._engine.stop()
            found = readback.read(view, self._emails, self._texts)
            known = {customer["customerId"]: customer for customer in plan.customers}
            held = sum(m.is_held for way in ("email", "text") for m in expected(found.changes, known, way))
            self._display.say(
                f"{len(found.changes)} changes, {len(found.emails)} e-mails and {len(found.texts)} texts in "
                f"{took_s:.0f} s; {held} were held until quiet hours ended. Read the stores back."
            )
            acknowledged = load.acknowledged(self._manifests)
            steps = plan.steps
            return [
                Check("writes planned = acknowledged", len(steps), acknowledged, acknowledged == len(steps)),
                # The mail server is killed, too: an e-mail that it kept and did not answer comes again.
                *reconcile(
                    steps, plan.customers, found, repeats=("e-mails", "texts") if self._crashes else ("e-mails",)
                ),
            ]

    def _restart_mail_server(self) -> str:
        self._mail_server.kill()
        self._mail_server.start()
        return "Killed the mail server and started it again"

    def _share(self, number: int) -> load.OrdersShare:
        return load.OrdersShare(
            number=number,
            of=WRITERS,
            endpoint_url=self._engine.url,
            table_name=app.orders.name,
            size=self._size,
            quiet_s=QUIET_S,
            threads=THREADS,
            manifest=self._manifests[number],
        )
