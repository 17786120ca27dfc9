"""Accounts by DynamoDB Streams and by Kinesis, whose records come twice and in disorder: the same histories."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accounts import app, load, readback
from accounts.bank import Bank, Movement
from accounts.reconcile import Written, reconcile
from afterwrite.app import StreamKind
from both_paths import running, settle
from demonstration.certain_writes import dynamodb_client

ORDERS = 120
CUSTOMERS = 6
# What is another in each run: ids of changes, and when they were made.
OF_THE_RUN = frozenset({"eventId", "changeId", "atMs"})


def pay(data: Path, stream: StreamKind) -> dict[str, Any]:
    """Real orders of few customers; the accounts and their histories. Every equation of the demonstration holds."""
    with running(app.app, app.accounts, data, stream) as (engine, disorder):
        host, port = engine.address
        with closing(dynamodb_client(f"http://{host}:{port}", threads=1)) as client:
            bank = Bank(client, app.accounts.name)
            movements: list[Movement] = []
            for number, order in enumerate(load.orders(ORDERS)):
                movements += load.pay(bank, replace(order, customer_id=f"customer-{number % CUSTOMERS}"))
            renamed, closed = {"customer-1": "Heirs of customer 1"}, ["customer-0", "customer-3"]
            for customer, owner in renamed.items():
                bank.rename(customer, owner)
            for customer in closed:
                bank.close(customer)
        settle(engine, disorder)
        view = engine.reader()
        answers = readback.ask(f"http://{host}:{port}", view)
        found = readback.read(view, answers)
    for each in disorder:
        assert each.carried == len(found.changes)
        assert min(each.repeated, each.moved) > 20
    assert [check for check in reconcile(Written(movements, renamed, closed), found) if not check.ok] == []
    events = [{name: value for name, value in event.items() if name not in OF_THE_RUN} for event in found.events]
    return {"accounts": found.accounts, "events": sorted(events, key=lambda each: (each["accountId"], each["version"]))}


def test_the_histories_are_the_same_by_both_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # S26: records may come twice and out of order.
    monkeypatch.setattr(readback, "ASKED", 20)
    by_streams, by_kinesis = (pay(tmp_path / kind, kind) for kind in ("dynamodb", "kinesis"))
    assert by_kinesis == by_streams
    assert len(by_streams["events"]) > ORDERS
