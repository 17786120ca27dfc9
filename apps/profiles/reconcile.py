"""Compares what was written with what the table and the two systems hold. Pure: values in, checks out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demonstration.checks import Check, same
from demonstration.inbox import Delivery, once, unlike
from profiles.news import MARKETING, SHIPPING, view
from profiles.people import Edit

Customer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change of the customers table's log."""

    id: str
    customer_id: str
    before: Customer | None
    after: Customer | None


@dataclass(frozen=True, slots=True)
class System:
    """A system as it was read back: the fields that it is for, what came, and what it holds."""

    name: str
    route: str
    fields: Sequence[str]
    arrivals: list[Delivery]
    state: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What was read back from every store."""

    changes: Sequence[LoggedChange]
    customers: Mapping[str, Customer]
    systems: Sequence[System]
    dead_letters: int
    leftovers: int


def systems(marketing: tuple[list[Delivery], Mapping[str, str]], shipping: Any) -> list[System]:
    """The two systems, with what was read back from each."""
    return [
        System("marketing", "propagate_to_marketing", MARKETING, *marketing),
        System("shipping", "propagate_to_shipping", SHIPPING, *shipping),
    ]


def expected_customers(edits: Iterable[Edit], removed: Iterable[str]) -> tuple[dict[str, Customer], int]:
    """The customers as the writes leave them, and how many of the writes changed something."""
    customers: dict[str, Customer] = {}
    changes = 0
    for edit in edits:
        before = customers.get(edit.customer_id, {"customerId": edit.customer_id} if edit.first else {})
        after = {**before, **edit.fields}
        changes += edit.first or after != before
        customers[edit.customer_id] = after
    for each in removed:
        changes += customers.pop(each, None) is not None
    return customers, changes


def reconcile(edits: Sequence[Edit], removed: Sequence[str], found: Found, *, repeats: Sequence[str]) -> list[Check]:
    """Every equation that must hold when all is done; `repeats` names the systems that may be told something twice."""
    customers, changes = expected_customers(edits, removed)
    return [
        Check("writes that changed something = changes", changes, len(found.changes), changes == len(found.changes)),
        same(
            "customers as written = the table's", map(_text, customers.values()), map(_text, found.customers.values())
        ),
        *(check for system in found.systems for check in _system(system, found, may_repeat=system.name in repeats)),
        Check("dead letters", 0, found.dead_letters, found.dead_letters == 0),
        Check("messages left over", 0, found.leftovers, found.leftovers == 0),
    ]


def _system(system: System, found: Found, *, may_repeat: bool) -> list[Check]:
    first, repeated = once(system.arrivals)
    concerns = [change for change in found.changes if _differs(change, system.fields)]
    wanted = {change.id: f"{change.id}/{system.route}/0" for change in concerns}
    otherwise = unlike(system.arrivals)
    held = {customer_id: json.loads(text) for customer_id, text in system.state.items()}
    return [
        same(f"{system.name}: changes that concern it = what it was told", wanted.values(), (a.key for a in first)),
        same(
            f"{system.name}: a customer's changes came in their order",
            _per_customer((change.customer_id, wanted[change.id]) for change in concerns),
            _per_customer((arrival.recipient, arrival.key) for arrival in first),
        ),
        same(
            f"{system.name}: what it holds = the table",
            ((key, _text(view(customer, system.fields))) for key, customer in found.customers.items()),
            ((key, _text(profile)) for key, profile in held.items()),
        ),
        Check(f"{system.name}: repetitions that say something else", 0, len(otherwise), not otherwise),
        *([] if may_repeat else [Check(f"{system.name}: repetitions", 0, len(repeated), not repeated)]),
    ]


def _differs(change: LoggedChange, fields: Sequence[str]) -> bool:
    return view(change.before, fields) != view(change.after, fields)


def _per_customer(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """For each customer one value: who it is, and the keys in their order."""
    keys: dict[str, list[str]] = {}
    for customer_id, key in pairs:
        keys.setdefault(customer_id, []).append(key)
    return [(customer_id, *in_order) for customer_id, in_order in keys.items()]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
