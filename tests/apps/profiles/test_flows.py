"""Profiles in a real engine, with the demonstration's two systems, of which one is down for a while."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.processes import free_port

from afterwrite import open_engine
from bounds import BOUND_S
from demonstration import inbox
from engine_process import wait_until
from profiles import app as profiles_app
from profiles.system import System
from served import served

SECRET = "the secret of the test"


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Where marketing and shipping are to be."""
    marketing, shipping = free_port(), free_port()
    monkeypatch.setenv("PROFILES_MARKETING_URL", f"http://127.0.0.1:{marketing}/customers")
    monkeypatch.setenv("PROFILES_SHIPPING_URL", f"http://127.0.0.1:{shipping}/customers")
    monkeypatch.setenv("PROFILES_SECRET", SECRET)
    return marketing, shipping


@pytest.fixture
def engine(ports: tuple[int, int], tmp_path: Path) -> Iterator[Any]:
    declared = runpy.run_path(str(Path(profiles_app.__file__)))
    with open_engine(tmp_path / "data", declared["app"]) as running:
        yield running


def emails(path: Path) -> list[str]:
    return [json.loads(each.body)["profile"]["email"] for each in inbox.deliveries(path)]


def test_one_system_goes_on_while_the_other_is_down_and_then_hears_all_in_order(
    engine: Any, ports: tuple[int, int], tmp_path: Path
) -> None:
    marketing, shipping = tmp_path / "marketing.sqlite", tmp_path / "shipping.sqlite"
    customers = engine.table("profiles-customers")
    with served(System(ports[1], shipping, SECRET)):
        for version in range(5):
            customer = {"customerId": "C-1", "name": "Ada", "email": f"{version}@example.com"}
            customers.put({**customer, "address": {"city": f"city {version}"}})
        wait_until(lambda: inbox.count(shipping) == 5, what="all that shipping is to hear")
        assert inbox.count(marketing) == 0
        with served(System(ports[0], marketing, SECRET)):
            wait_until(lambda: inbox.count(marketing) == 5, bound_s=BOUND_S, what="all that marketing is to hear")
    assert emails(marketing) == [f"{version}@example.com" for version in range(5)]
    assert json.loads(inbox.state(marketing)["C-1"]) == {"name": "Ada", "email": "4@example.com"}
    assert json.loads(inbox.state(shipping)["C-1"]) == {"name": "Ada", "address": {"city": "city 4"}}
    assert all(each.key.endswith("/propagate_to_marketing/0") for each in inbox.deliveries(marketing))


def test_what_a_system_refuses_waits_with_what_is_later_and_others_go_on(
    engine: Any, ports: tuple[int, int], tmp_path: Path
) -> None:
    marketing, shipping = tmp_path / "marketing.sqlite", tmp_path / "shipping.sqlite"
    customers = engine.table("profiles-customers")
    suspicious, trusting = System(ports[0], marketing, "another secret"), System(ports[1], shipping, SECRET)
    with served(suspicious), served(trusting):
        customers.put({"customerId": "C-1", "name": "Ada", "email": "1@example.com"})
        customers.put({"customerId": "C-1", "name": "Ada", "email": "2@example.com"})
        wait_until(lambda: len(list(engine.parked().entries())) == 1, what="the parked lane")
        wait_until(lambda: inbox.count(shipping) == 1, what="what shipping is to hear")
    assert inbox.count(marketing) == 0
    (parked,) = engine.parked().entries()
    assert "401" in str(parked)
