"""Each equation fails, by its name, when what it is about differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from inventory.reconcile import Found, LoggedChange, Written, follow_on, reconcile
from inventory.stock import Movement

LISTING = Movement("l1", "listing", "A", 10, 0, "d1")
DELIVERY = Movement("r1", "restock", "A", 5, 0, "d2")
SALE = Movement("s1", "sale", "A", 7, 700, "d2")


def item(quantity: int, movement: Movement) -> dict[str, Any]:
    made = {name: getattr(movement, name) for name in ("id", "kind", "units", "cents", "day")}
    return {"quantity": quantity, "reorderThreshold": 8, "priceCents": 9, "lastModifiedBy": "x", "movement": made}


LISTED, DELIVERED, SOLD = item(10, LISTING), item(15, DELIVERY), item(8, SALE)
WRITTEN = Written([LISTING, DELIVERY, SALE], {"A": 9}, [])
FOUND = Found(
    changes=[
        LoggedChange("c1", "INSERT", 1, "A", None, LISTED),
        LoggedChange("c2", "MODIFY", 2, "A", LISTED, DELIVERED),
        LoggedChange("c3", "MODIFY", 3, "A", DELIVERED, SOLD),
    ],
    products={"A": SOLD},
    orders=[("c3", "A", 8, 8)],
    audited=[
        ("c1", "A", "INSERT", None, 10, 10, "x"),
        ("c2", "A", "MODIFY", 10, 15, 5, "x"),
        ("c3", "A", "MODIFY", 15, 8, -7, "x"),
    ],
    audit_in_order=True,
    analytics=[("c1", "A", 10), ("c2", "A", 5), ("c3", "A", -7)],
    sold=[("A", "d2", 7, 700)],
    cached={"product:A": SOLD, "stock:A": 8},
    dead_letters={},
    leftovers={},
)
STALE = item(15, DELIVERY)
BELOW_ZERO = LoggedChange("c4", "MODIFY", 4, "A", SOLD, {**SOLD, "quantity": -1})

FAULTS: dict[str, tuple[Callable[[Found], Found], str]] = {
    "a sale is lost": (lambda f: replace(f, changes=f.changes[:2]), "purchases made"),
    "a delivery is logged twice": (lambda f: replace(f, changes=[*f.changes, f.changes[1]]), "deliveries"),
    "a change is logged twice": (lambda f: replace(f, changes=[*f.changes, f.changes[1]]), "sequence numbers rise"),
    "the stock is wrong": (lambda f: replace(f, products={"A": {**SOLD, "quantity": 9}}), "stock in the table"),
    "the stock falls below zero": (
        lambda f: replace(f, changes=[*f.changes, BELOW_ZERO]),
        "changes that left less than nothing",
    ),
    "a price is wrong": (lambda f: replace(f, products={"A": {**SOLD, "priceCents": 8}}), "prices changed"),
    "an alert is lost": (lambda f: replace(f, orders=[]), "downward crossings"),
    "an alert comes twice": (lambda f: replace(f, orders=[*f.orders, ("c9", "A", 7, 9)]), "downward crossings"),
    "an audit row is lost": (lambda f: replace(f, audited=f.audited[:2]), "changes in the log = audit rows"),
    "audited amounts do not add up": (lambda f: replace(f, audited=f.audited[1:]), "audited amounts"),
    "audit rows do not follow on": (lambda f: replace(f, audit_in_order=False), "each product's audit rows"),
    "an analytics row is there twice": (
        lambda f: replace(f, analytics=[*f.analytics, f.analytics[0]]),
        "changes in the log = analytics rows",
    ),
    "money is counted wrongly": (lambda f: replace(f, sold=[("A", "d2", 7, 701)]), "units and money sold"),
    "the cache is stale": (lambda f: replace(f, cached={"product:A": STALE, "stock:A": 15}), "products and stock"),
    "the cache has lost a product": (lambda f: replace(f, cached={}), "products and stock"),
    "a message was given up": (lambda f: replace(f, dead_letters={"q-dead-letters": 1}), "dead letters"),
    "a message is left": (lambda f: replace(f, leftovers={"q": 1}), "messages left over"),
}


def test_all_is_well() -> None:
    assert [check for check in reconcile(WRITTEN, FOUND) if not check.ok] == []


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_found(case: str) -> None:
    spoil, name = FAULTS[case]
    assert any(check.name.startswith(name) for check in reconcile(WRITTEN, spoil(FOUND)) if not check.ok)


def test_rows_follow_on() -> None:
    assert follow_on([("A", None, 3), ("B", None, 1), ("A", 3, 2), ("B", 1, None), ("B", None, 4)])
    assert not follow_on([("A", None, 3), ("A", 2, 1)])
    assert not follow_on([("A", 3, 2)])
