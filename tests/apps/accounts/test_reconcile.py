"""Each equation fails, by its name, when what it is about differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from accounts.bank import Kind, Movement
from accounts.reconcile import Found, LoggedChange, Written, reconcile


def movement(id: str, kind: Kind, cents: int) -> Movement:
    return Movement(id, kind, "A", cents, "1997-01-01")


OPENING, SPENDING, DEPOSIT = movement("o", "opening", 100), movement("s", "spending", 30), movement("d", "deposit", 50)
OTHER = Movement("p", "opening", "B", 10, "1997-01-01")


def item(account: str, version: int, balance: int, made: Movement) -> dict[str, Any]:
    fields = {name: getattr(made, name) for name in ("id", "kind", "cents", "day")}
    return {"accountId": account, "owner": "x", "version": version, "balanceCents": balance, "movement": fields}


def event(kind: str, change: str, account: str, at_ms: int, version: int, **cents: int) -> dict[str, Any]:
    identity = {"changeId": change, "accountId": account, "atMs": at_ms, "version": version}
    return {"eventType": kind, **identity, **cents}


A1, A2, A3 = item("A", 1, 100, OPENING), item("A", 2, 70, SPENDING), item("A", 3, 120, DEPOSIT)
B1 = item("B", 1, 10, OTHER)
EVENTS = [
    event("ACCOUNT_CREATED", "c1", "A", 1, 1, initialBalanceCents=100),
    event("BALANCE_CHANGED", "c2", "A", 2, 2, oldBalanceCents=100, newBalanceCents=70, differenceCents=-30),
    event("ACCOUNT_CREATED", "c3", "B", 3, 1, initialBalanceCents=10),
    event("BALANCE_CHANGED", "c4", "A", 4, 3, oldBalanceCents=70, newBalanceCents=120, differenceCents=50),
    event("ACCOUNT_CLOSED", "c5", "B", 5, 2, finalBalanceCents=10),
]
WRITTEN = Written([OPENING, SPENDING, OTHER, DEPOSIT], {"A": "x"}, ["B"])
TOLD = {"accountId": "A", "version": 2, "balanceCents": 70, "isOpen": True, "atMs": 2}
FOUND = Found(
    changes=[
        LoggedChange("c1", 1, "A", 1, None, A1),
        LoggedChange("c2", 2, "A", 2, A1, A2),
        LoggedChange("c3", 3, "B", 3, None, B1),
        LoggedChange("c4", 4, "A", 4, A2, A3),
        LoggedChange("c5", 5, "B", 5, B1, None),
    ],
    accounts={"A": A3},
    journal=EVENTS,
    events=EVENTS,
    snapshots=[],
    answers=[("A", 3, TOLD), ("B", 5, {**TOLD, "accountId": "B", "isOpen": False})],
    waiting={"function-append_event": 0},
)
WRONG = {**EVENTS[1], "newBalanceCents": 71, "differenceCents": -29}
BELOW = LoggedChange("c6", 6, "A", 6, A3, item("A", 4, -1, SPENDING))

FAULTS: dict[str, tuple[Callable[[Found], Found], str]] = {
    "an order is lost": (lambda f: replace(f, changes=[f.changes[0], *f.changes[2:]]), "orders paid"),
    "a deposit is logged twice": (lambda f: replace(f, changes=[*f.changes, f.changes[3]]), "deposits"),
    "an opening is lost": (lambda f: replace(f, changes=f.changes[1:]), "accounts opened"),
    "a closing is lost": (lambda f: replace(f, changes=f.changes[:4]), "accounts closed"),
    "an owner is wrong": (lambda f: replace(f, accounts={"A": {**A3, "owner": "y"}}), "accounts renamed"),
    "a change is logged twice": (lambda f: replace(f, changes=[*f.changes, f.changes[1]]), "sequence numbers rise"),
    "an event is lost": (lambda f: replace(f, journal=EVENTS[1:]), "changes of a balance = events"),
    "an event is there twice": (lambda f: replace(f, journal=[*EVENTS, EVENTS[0]]), "changes of a balance = events"),
    "an event is not appended": (lambda f: replace(f, events=EVENTS[:4]), "events in the journal = events"),
    "a difference is wrong": (lambda f: replace(f, journal=[*EVENTS[:1], WRONG, *EVENTS[2:]]), "changes of a balance"),
    "a history has a gap": (lambda f: replace(f, events=[EVENTS[0], *EVENTS[2:]]), "each account's events follow on"),
    "a state is wrong": (lambda f: replace(f, events=[EVENTS[0], *EVENTS[2:]]), "the account after each"),
    "a balance is wrong": (lambda f: replace(f, accounts={"A": {**A3, "balanceCents": 121}}), "accounts rebuilt"),
    "a snapshot is there too early": (lambda f: replace(f, snapshots=[TOLD]), "a snapshot after every 10"),
    "an answer is of another time": (
        lambda f: replace(f, answers=[("A", 3, {**TOLD, "balanceCents": 120})]),
        "asked for accounts",
    ),
    "an account is not known": (lambda f: replace(f, answers=[("A", 3, None)]), "asked for accounts"),
    "money is lost": (lambda f: replace(f, accounts={"A": {**A3, "balanceCents": 119}}), "cents paid in"),
    "a balance falls below zero": (lambda f: replace(f, changes=[*f.changes, BELOW]), "changes that left less"),
    "a message was given up": (lambda f: replace(f, waiting={"q-dead-letters": 1}), "messages and dead letters"),
}


def test_all_is_well() -> None:
    assert [check for check in reconcile(WRITTEN, FOUND) if not check.ok] == []


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_found(case: str) -> None:
    spoil, name = FAULTS[case]
    assert any(check.name.startswith(name) for check in reconcile(WRITTEN, spoil(FOUND)) if not check.ok)
