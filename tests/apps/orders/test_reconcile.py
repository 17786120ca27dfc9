"""The equations: each is broken once, and found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from demonstration.inbox import Delivery
from orders.reconcile import Found, LoggedChange, reconcile
from orders.shop import Step

CUSTOMER = {"customerId": "C-1", "name": "Ada", "email": "a@example.com", "phone": "+1555"}
QUIET = {"from": "00:00", "until": "00:01"}
STEPS = [
    Step("O-1", {"status": "placed"}),
    Step("O-1", {"status": "shipped", "trackingNumber": "T1"}),
    Step("O-1", {"status": "shipped", "lastSeen": "here"}, rewrites=True),
    Step("O-1", {"status": "delivered"}),
]


def images() -> list[dict[str, Any]]:
    item: dict[str, Any] = {"orderId": "O-1", "customerId": "C-1", "quietHours": QUIET}
    found = []
    for step in STEPS:
        item = {**item, **step.fields}
        found.append(item)
    return found


def email(effect: str = "c1/tell_customer/0", **changed: Any) -> Delivery:
    body = json.dumps({"key": effect, "subject": "s", "text": "T1"})
    return replace(Delivery("<1@shop>", "a@example.com", body, 60_000), **changed)


def sms(**changed: Any) -> Delivery:
    return replace(Delivery("c3/tell_customer/0", "+1555", "order O-1", 60_000), **changed)


def found() -> Found:
    items = images()
    changes = [
        LoggedChange(f"c{number}", 1_000, items[number - 1] if number else None, item)
        for number, item in enumerate(items)
    ]
    return Found(changes, {"O-1": items[-1]}, [email()], [sms()], 0, 0)


def differing(broken: Found, repeats: tuple[str, ...] = ()) -> set[str]:
    return {check.name for check in reconcile(STEPS, [CUSTOMER], broken, repeats=repeats) if not check.ok}


def test_all_is_well() -> None:
    assert differing(found()) == set()


EMAILS_GOT = "e-mails wanted = got: for whom, about what"
TEXTS_GOT = "texts wanted = got: for whom, about what"
BROKEN: dict[str, tuple[Callable[[Found], Found], str]] = {
    "an e-mail is missing": (lambda f: replace(f, emails=[]), EMAILS_GOT),
    "an e-mail for a rewrite": (
        lambda f: replace(f, emails=[email(), email("c2/tell_customer/0", key="<2@shop>")]),
        EMAILS_GOT,
    ),
    "an e-mail to another": (lambda f: replace(f, emails=[email(recipient="b@example.com")]), EMAILS_GOT),
    "an e-mail without the tracking number": (
        lambda f: replace(f, emails=[email(body=email().body.replace("T1", "T2"))]),
        EMAILS_GOT,
    ),
    "an e-mail in quiet hours": (
        lambda f: replace(f, emails=[email(at_ms=59_999)]),
        "e-mails that came before quiet hours ended",
    ),
    "an e-mail twice": (lambda f: replace(f, emails=[email(), email()]), "e-mails: repetitions"),
    "an e-mail twice, with another id": (
        lambda f: replace(f, emails=[email(), email(key="<2@shop>")]),
        EMAILS_GOT,
    ),
    "a text twice, with other words": (
        lambda f: replace(f, texts=[sms(), sms(body="order O-1!")]),
        "texts: repetitions that say something else",
    ),
    "a text to nobody's order": (lambda f: replace(f, texts=[sms(key="c9/tell_customer/0")]), TEXTS_GOT),
    "a change too few": (lambda f: replace(f, changes=f.changes[1:]), "writes = changes in the log"),
    "another order": (lambda f: replace(f, orders={}), "orders as written = the table's"),
    "a dead letter": (lambda f: replace(f, dead_letters=1), "dead letters"),
    "something left over": (lambda f: replace(f, leftovers=1), "messages left over"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found(case: str) -> None:
    broke, name = BROKEN[case]
    assert name in differing(broke(found()))


def test_a_repetition_may_be_where_a_kill_has_swallowed_an_answer() -> None:
    assert differing(replace(found(), emails=[email(), email()]), repeats=("e-mails",)) == set()
