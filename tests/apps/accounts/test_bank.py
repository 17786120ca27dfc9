"""Movements of money over the wire: never below zero, never twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from accounts import app, load
from accounts.bank import Bank, Kind, Movement
from afterwrite.wiring import Engine
from demonstration.cdnow import Order
from losing_client import LosingClient


def movement(kind: Kind, cents: int, id: str) -> Movement:
    return Movement(id, kind, "A-1", cents, "1997-01-01")


def account(engine: Engine) -> tuple[int, int] | None:
    """Balance and version."""
    item = engine.table(app.accounts.name).get({"accountId": "A-1"})
    return None if item is None else (int(item["balanceCents"]), int(item["version"]))


@pytest.fixture
def opened(bank: Bank) -> Bank:
    assert bank.open(movement("opening", 100, "o"), owner="Ann")
    return bank


def test_each_movement_raises_the_version(opened: Bank, engine: Engine) -> None:
    assert not opened.open(movement("opening", 100, "o2"), owner="Bob")
    assert opened.deposit(movement("deposit", 50, "d"))
    assert opened.spend(movement("spending", 150, "s1"))
    assert not opened.spend(movement("spending", 1, "s2"))
    opened.rename("A-1", "Bob")
    assert (account(engine), opened.balance_cents("A-1")) == ((0, 3), 0)
    opened.close("A-1")
    assert (account(engine), opened.balance_cents("A-1")) == (None, None)
    assert not opened.deposit(movement("deposit", 50, "d2"))


def test_many_writers_spend_what_there_is_and_no_more(opened: Bank, engine: Engine) -> None:
    with ThreadPoolExecutor(8) as threads:
        spent = list(threads.map(lambda n: opened.spend(movement("spending", 30, f"s{n}")), range(10)))
    assert (sum(spent), account(engine)) == (3, (10, 4))


def test_a_spending_whose_answer_was_lost_happens_once(opened: Bank, engine: Engine, dynamodb_client: Any) -> None:
    losing = LosingClient(dynamodb_client)
    assert Bank(losing, app.accounts.name).spend(movement("spending", 30, "s"))  # type: ignore[arg-type]
    assert (len(losing.lost), account(engine)) == (1, (70, 2))


def test_an_order_opens_the_account_and_fills_it_up(bank: Bank, engine: Engine) -> None:
    first, second = (Order(number, "A-1", date(1997, 1, 1), 1, 30_00) for number in (1, 2))
    assert [(m.kind, m.cents) for m in load.pay(bank, first)] == [("opening", 50_00), ("spending", 30_00)]
    assert [(m.kind, m.cents) for m in load.pay(bank, second)] == [("deposit", 50_00), ("spending", 30_00)]
    assert account(engine) == (40_00, 4)


def test_a_movement_of_nothing_is_refused(opened: Bank) -> None:
    with pytest.raises(ValueError, match="expected a movement of at least 1 cent, got 0 for d"):
        opened.deposit(movement("deposit", 0, "d"))


def test_the_orders_of_few_customers_are_all_of_theirs() -> None:
    chosen = load.orders(100)
    assert (len(chosen), len({order.customer_id for order in chosen})) == (100, 32)
    assert [order.day for order in chosen] == sorted(order.day for order in chosen)
    assert len(load.orders()) == 69_579
