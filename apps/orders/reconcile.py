"""Compares what was written with what the table holds and what the customers got. Pure: values in, checks out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demonstration.checks import Check, same
from demonstration.inbox import Delivery, once, unlike
from orders.notices import ADDRESSES, WAYS, wanted
from orders.quiet import wait_s
from orders.shop import Step

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change of the orders table's log."""

    id: str
    at_ms: int
    before: Item | None
    after: Item | None

    @property
    def status(self) -> str | None:
        """The status that the order came to by this change, if it changed."""
        status = (self.after or {}).get("status")
        return None if status == (self.before or {}).get("status") else status


@dataclass(frozen=True, slots=True)
class Found:
    """What was read back: the log, the orders, e-mails by Message-ID, texts by their id."""

    changes: Sequence[LoggedChange]
    orders: Mapping[str, Item]
    emails: list[Delivery]
    texts: list[Delivery]
    dead_letters: int
    leftovers: int


@dataclass(frozen=True, slots=True)
class Expected:
    """A message that has to be there: its key, whom it is for, what it has to name, and when it may come."""

    key: str
    to: str
    names: str
    from_ms: int
    is_held: bool


def reconcile(steps: Sequence[Step], customers: Iterable[Item], found: Found, *, repeats: Sequence[str]) -> list[Check]:
    """Every equation that must hold when all is done; `repeats` names what may have come twice: e-mails, texts."""
    known = {customer["customerId"]: customer for customer in customers}
    emails, texts = expected(found.changes, known, "email"), expected(found.changes, known, "text")
    rewrites = [change for change in found.changes if change.before is not None and change.status is None]
    transitions = sum(change.status in WAYS for change in found.changes)
    told = sum(step.fields["status"] in WAYS and not step.rewrites for step in steps)
    return [
        Check("writes = changes in the log", len(steps), len(found.changes), len(steps) == len(found.changes)),
        same("orders as written = the table's", _last(steps).items(), _statuses(found.orders)),
        Check(
            "writes that left the status as it was, of which nothing is told",
            sum(step.rewrites for step in steps),
            len(rewrites),
            sum(step.rewrites for step in steps) == len(rewrites),
        ),
        Check("orders shipped and delivered = transitions in the log", told, transitions, told == transitions),
        *_messages(
            "e-mails", emails, [(_email_key(each), each) for each in found.emails], may_repeat="e-mails" in repeats
        ),
        same(
            "e-mails: one Message-ID for each transition",
            (each.key for each in emails),
            {each.key: _email_key(each) for each in found.emails}.values(),
        ),
        *_messages("texts", texts, [(each.key, each) for each in found.texts], may_repeat="texts" in repeats),
        Check("dead letters", 0, found.dead_letters, found.dead_letters == 0),
        Check("messages left over", 0, found.leftovers, found.leftovers == 0),
    ]


def expected(changes: Iterable[LoggedChange], customers: Mapping[str, Item], way: str) -> list[Expected]:
    """The messages that the transitions of the log lead to, by this way."""
    messages = []
    for change in changes:
        if change.status is None or WAYS.get(change.status) != way:
            continue
        order = change.after or {}
        customer = customers[order["customerId"]]
        if wanted(customer, way):
            held_ms = int(wait_s(order.get("quietHours"), change.at_ms) * 1000)
            names = order["trackingNumber"] if way == "email" else order["orderId"]
            to = customer[ADDRESSES[way]]
            messages.append(Expected(f"{change.id}/tell_customer/0", to, names, change.at_ms + held_ms, held_ms > 0))
    return messages


def _messages(
    what: str, wanted_messages: Sequence[Expected], arrivals: Sequence[tuple[str, Delivery]], *, may_repeat: bool
) -> list[Check]:
    first, repeated = once([each for _, each in arrivals])
    keys = {each.key: key for key, each in arrivals}
    by_key = {message.key: message for message in wanted_messages}
    early = [arrival for key, arrival in arrivals if key in by_key and arrival.at_ms < by_key[key].from_ms]
    otherwise = unlike([each for _, each in arrivals])
    return [
        same(
            f"{what} wanted = got: for whom, about what",
            ((message.key, message.to, True) for message in wanted_messages),
            (
                (keys[each.key], each.recipient, keys[each.key] in by_key and by_key[keys[each.key]].names in each.body)
                for each in first
            ),
        ),
        Check(f"{what} that came before quiet hours ended", 0, len(early), not early),
        Check(f"{what}: repetitions that say something else", 0, len(otherwise), not otherwise),
        *([] if may_repeat else [Check(f"{what}: repetitions", 0, len(repeated), not repeated)]),
    ]


def _email_key(arrival: Delivery) -> str:
    key: str = json.loads(arrival.body)["key"]
    return key


def _last(steps: Iterable[Step]) -> dict[str, str]:
    return {step.order_id: step.fields["status"] for step in steps}


def _statuses(orders: Mapping[str, Item]) -> list[tuple[str, str]]:
    return [(order_id, order["status"]) for order_id, order in orders.items()]
