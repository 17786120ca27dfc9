"""Orders by DynamoDB Streams and by Kinesis, whose records come twice and in disorder: customers are told the same."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from bench.processes import free_port

from afterwrite import Email
from afterwrite.app import StreamKind
from both_paths import running, settle
from demonstration import cdnow
from demonstration.certain_writes import CertainWrites, dynamodb_client
from demonstration.writes import set_attributes
from orders import app, load, readback
from orders.mail_server import Mailbox
from orders.notices import Notifier
from orders.reconcile import Found, reconcile
from orders.shop import customers, steps
from text_messages import text_service

ORDERS = 60
CUSTOMERS = 30
QUIET_S = 3


def ship(data: Path, monkeypatch: pytest.MonkeyPatch, stream: StreamKind) -> Found:
    """Orders of few customers, and what these were told; every equation of the demonstration holds."""
    data.mkdir()
    emails, texts = data / "emails.sqlite", data / "texts.sqlite"
    chosen = [replace(order, customer_id=str(order.number % CUSTOMERS + 1)) for order in cdnow.load(ORDERS)]
    known = list(customers(chosen))
    mailbox = Mailbox(emails)
    mail_server = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    mail_server.start()
    by_email = Email(f"smtp://127.0.0.1:{mail_server.port}", sender="The Shop <orders@shop.example.com>")
    with text_service(texts) as by_text, running(app.app, app.orders, data / "engine", stream) as (engine, disorder):
        monkeypatch.setattr(app, "NOTIFIER", Notifier(by_email.send, by_text.send))
        host, port = engine.address
        with closing(dynamodb_client(f"http://{host}:{port}", threads=8)) as client:
            writes = CertainWrites(client)
            load.register(writes, app.customers.name, known)
            quiet_until = (datetime.now(UTC) + timedelta(seconds=QUIET_S)).replace(microsecond=0)
            plan = load.Plan(known, [steps(order, number, quiet_until) for number, order in enumerate(chosen)])
            for step in plan.steps:
                set_attributes(writes, app.orders.name, {"orderId": step.order_id}, step.fields)
        settle(engine, disorder)
        found = readback.read(engine.reader(), emails, texts)
    mail_server.stop(no_assert=True)
    mailbox.close()
    for each in disorder:
        assert each.carried == len(found.changes)
        assert min(each.repeated, each.moved) > 20
    assert [check for check in reconcile(plan.steps, known, found, repeats=()) if not check.ok] == []
    return found


def end_state(found: Found) -> dict[str, Any]:
    """What is the same however the changes came: everything but their ids and times."""
    mails = [(each.recipient, json.loads(each.body)) for each in found.emails]
    return {
        "orders": [{**order, "quietHours": "quietHours" in order} for order in found.orders.values()],
        "e-mails": Counter((to, mail["subject"], mail["text"]) for to, mail in mails),
        "texts": Counter((each.recipient, each.body) for each in found.texts),
    }


def test_customers_are_told_the_same_by_both_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # S26: records may come twice and out of order.
    by_streams, by_kinesis = (end_state(ship(tmp_path / kind, monkeypatch, kind)) for kind in ("dynamodb", "kinesis"))
    assert by_kinesis == by_streams
    assert by_streams["e-mails"].total() > ORDERS // 2
    assert by_streams["texts"].total() > ORDERS // 2
