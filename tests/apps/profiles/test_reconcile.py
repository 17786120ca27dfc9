"""The equations: each is broken once, and found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from demonstration.inbox import Delivery
from profiles.people import Edit
from profiles.reconcile import Found, LoggedChange, System, reconcile, systems

ADA = {"customerId": "C-1", "name": "Ada", "email": "a@x", "address": {"city": "Dover"}}
MOVED = {**ADA, "address": {"city": "Easton"}}
BOB = {"customerId": "C-2", "name": "Bob", "email": "b@x", "address": {"city": "Dover"}}
EDITS = [
    Edit("C-1", True, {key: ADA[key] for key in ("name", "email", "address")}),
    Edit("C-2", True, {key: BOB[key] for key in ("name", "email", "address")}),
    Edit("C-1", False, {"address": {"city": "Easton"}}),
    Edit("C-1", False, {"email": "a@x"}),
]
CHANGES = [
    LoggedChange("c1", "C-1", None, ADA),
    LoggedChange("c2", "C-2", None, BOB),
    LoggedChange("c3", "C-1", ADA, MOVED),
    LoggedChange("c4", "C-2", BOB, None),
]


def arrival(change: str, customer: str, system: str) -> Delivery:
    return Delivery(f"{change}/propagate_to_{system}/0", customer, change, 0)


def found() -> Found:
    marketing = [arrival(*each, "marketing") for each in (("c1", "C-1"), ("c2", "C-2"), ("c4", "C-2"))]
    shipping = [arrival(*each, "shipping") for each in (("c2", "C-2"), ("c1", "C-1"), ("c4", "C-2"), ("c3", "C-1"))]
    held: list[dict[str, Any]] = [{"name": "Ada", "email": "a@x"}, {"name": "Ada", "address": {"city": "Easton"}}]
    told = systems((marketing, {"C-1": json.dumps(held[0])}), (shipping, {"C-1": json.dumps(held[1])}))
    return Found(CHANGES, {"C-1": MOVED}, told, 0, 0)


def differing(broken: Found, repeats: tuple[str, ...] = ()) -> set[str]:
    return {check.name for check in reconcile(EDITS, ["C-2"], broken, repeats=repeats) if not check.ok}


def with_shipping(broken: Found, change: Callable[[System], System]) -> Found:
    marketing, shipping = broken.systems
    return replace(broken, systems=[marketing, change(shipping)])


def test_all_is_well() -> None:
    assert differing(found()) == set()


BROKEN: dict[str, tuple[Callable[[System], System], str]] = {
    "it was not told something": (
        lambda s: replace(s, arrivals=s.arrivals[:-1]),
        "shipping: changes that concern it = what it was told",
    ),
    "it was told what does not concern it": (
        lambda s: replace(s, arrivals=[*s.arrivals, arrival("c9", "C-1", "shipping")]),
        "shipping: changes that concern it = what it was told",
    ),
    "it was told in another order": (
        lambda s: replace(s, arrivals=s.arrivals[::-1]),
        "shipping: a customer's changes came in their order",
    ),
    "it was told twice": (
        lambda s: replace(s, arrivals=[*s.arrivals, s.arrivals[0]]),
        "shipping: repetitions",
    ),
    "it was told twice, and other things": (
        lambda s: replace(s, arrivals=[*s.arrivals, replace(s.arrivals[0], body="else")]),
        "shipping: repetitions that say something else",
    ),
    "it holds what is old": (
        lambda s: replace(s, state={"C-1": json.dumps({"name": "Ada", "address": {"city": "Dover"}})}),
        "shipping: what it holds = the table",
    ),
    "it holds who is no more": (
        lambda s: replace(s, state={**s.state, "C-2": "{}"}),
        "shipping: what it holds = the table",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found(case: str) -> None:
    broke, name = BROKEN[case]
    assert name in differing(with_shipping(found(), broke))


def test_the_table_s_own_faults_are_found() -> None:
    assert "writes that changed something = changes" in differing(replace(found(), changes=CHANGES[1:]))
    assert "customers as written = the table's" in differing(replace(found(), customers={"C-1": ADA}))
    assert "dead letters" in differing(replace(found(), dead_letters=1))
    assert "messages left over" in differing(replace(found(), leftovers=1))


def test_a_repetition_may_be_where_a_kill_has_swallowed_an_answer() -> None:
    twice = with_shipping(found(), lambda s: replace(s, arrivals=[*s.arrivals, s.arrivals[0]]))
    assert differing(twice, repeats=("shipping",)) == set()
