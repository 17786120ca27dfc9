"""Profiles by DynamoDB Streams and by Kinesis, whose records come twice and in disorder: the same news, in order."""

from __future__ import annotations

import json
import runpy
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.processes import free_port

from afterwrite.app import StreamKind
from both_paths import running, settle
from demonstration import cdnow
from demonstration.certain_writes import CertainWrites, dynamodb_client
from demonstration.inbox import Delivery
from demonstration.writes import set_attributes
from profiles import app as profiles_app
from profiles import load, readback
from profiles.people import customer_id, edits
from profiles.reconcile import Found, reconcile
from profiles.system import System
from served import served

ORDERS = 200
CUSTOMERS = 8
LEAVING = [customer_id(str(number)) for number in (1, 4)]
SECRET = "the secret of the test"


def change(data: Path, monkeypatch: pytest.MonkeyPatch, stream: StreamKind) -> Found:
    """Changes of few customers, and what the systems were told; every equation of the demonstration holds."""
    data.mkdir()
    files = [data / f"{name}.sqlite" for name in ("marketing", "shipping")]
    marketing, shipping = (System(free_port(), path, SECRET) for path in files)
    for name, system in (("MARKETING", marketing), ("SHIPPING", shipping)):
        monkeypatch.setenv(f"PROFILES_{name}_URL", f"http://127.0.0.1:{system.server_port}/customers")
    monkeypatch.setenv("PROFILES_SECRET", SECRET)
    declared = runpy.run_path(str(Path(profiles_app.__file__)))
    table = declared["customers"]
    orders = [replace(order, customer_id=str(order.number % CUSTOMERS)) for order in cdnow.load(ORDERS)]
    written = list(edits(orders))
    with (
        served(marketing),
        served(shipping),
        running(declared["app"], table, data / "engine", stream) as (engine, disorder),
    ):
        host, port = engine.address
        with closing(dynamodb_client(f"http://{host}:{port}", threads=1)) as client:
            writes = CertainWrites(client)
            for edit in written:
                set_attributes(writes, table.name, {"customerId": edit.customer_id}, edit.fields)
            load.remove(writes, table.name, LEAVING)
        settle(engine, disorder)
        found = readback.read(engine.reader(), *files)
    for each in disorder:
        assert each.carried == len(found.changes)
        assert min(each.repeated, each.moved) > 20
    assert [check for check in reconcile(written, LEAVING, found, repeats=()) if not check.ok] == []
    return found


def told(arrivals: list[Delivery]) -> dict[str, list[Any]]:
    """What a system was told of each customer, in order."""
    by_customer: dict[str, list[Any]] = {}
    for each in arrivals:
        by_customer.setdefault(each.recipient, []).append(json.loads(each.body)["profile"])
    return by_customer


def versions(arrivals: list[Delivery]) -> dict[str, list[int]]:
    """The numbers by which a system that is told in disorder is to know what is newer, of each customer."""
    by_customer: dict[str, list[int]] = {}
    for each in arrivals:
        by_customer.setdefault(each.recipient, []).append(int(json.loads(each.body)["sequence"]))
    return by_customer


def test_the_news_is_the_same_by_both_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # S26: records may come twice and out of order.
    by_streams, by_kinesis = (change(tmp_path / kind, monkeypatch, kind) for kind in ("dynamodb", "kinesis"))
    assert by_kinesis.customers == by_streams.customers
    for first, second in zip(by_streams.systems, by_kinesis.systems, strict=True):
        assert told(second.arrivals) == told(first.arrivals)
        assert second.state == first.state
        assert len(first.arrivals) > ORDERS // 4
    for system in (*by_streams.systems, *by_kinesis.systems):
        assert all(each == sorted(set(each)) for each in versions(system.arrivals).values())
