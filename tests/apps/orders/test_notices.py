"""What follows from one change of an order, and what a notice becomes: transcripts."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite import Change
from afterwrite.core.values import encode_item
from orders import app
from orders.notices import WAYS, Notifier, template

CUSTOMER = {"customerId": "C-1", "name": "Ada", "email": "ada@example.com", "phone": "+15550100123"}


def order(status: str, **more: Any) -> dict[str, Any]:
    return {"orderId": "O-1", "customerId": "C-1", "status": status, **more}


def change(old: dict[str, Any] | None, new: dict[str, Any] | None) -> Change:
    return Change(
        id="c1",
        table="orders-orders",
        event_name="INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
        keys={"orderId": {"S": "O-1"}},
        old_image=None if old is None else encode_item(old),
        new_image=None if new is None else encode_item(new),
        sequence_number="1",
        created_at_us=1_700_000_000_000_000,  # 22:13:20 UTC
    )


def planned(old: dict[str, Any] | None, new: dict[str, Any] | None) -> list[Any]:
    return [each.effect for each in app.orders.router().plan(change(old, new), "O-1")]


def test_each_transition_that_is_told_is_a_notice() -> None:
    (shipped,) = planned(order("packed"), order("shipped", trackingNumber="T1"))
    told = {"orderId": "O-1", "customerId": "C-1", "status": "shipped", "trackingNumber": "T1"}
    assert shipped == app.notices.send(told, delay_s=0)
    (delivered,) = planned(order("shipped", trackingNumber="T1"), order("delivered", trackingNumber="T1"))
    assert delivered.body["status"] == "delivered"
    assert len(planned(None, order("shipped"))) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (order("shipped"), order("shipped", lastSeen="sorting centre")),
        (order("delivered"), order("delivered", signedBy="neighbour")),
        (None, order("placed")),
        (order("placed"), order("packed")),
        (order("placed"), order("cancelled")),
        (order("shipped"), None),
    ],
)
def test_a_rewrite_of_a_status_and_another_transition_tell_nothing(old: Any, new: Any) -> None:
    assert planned(old, new) == []


def test_a_notice_in_quiet_hours_is_held_until_they_end() -> None:
    quiet = {"from": "22:00", "until": "07:00"}
    (effect,) = planned(order("packed", quietHours=quiet), order("shipped", quietHours=quiet))
    assert effect.delay_ms == (8 * 60 + 46) * 60_000 + 40_000


class Sent:
    """What was sent, as it was sent."""

    def __init__(self) -> None:
        self.emails: list[dict[str, Any]] = []
        self.texts: list[dict[str, Any]] = []
        self.notifier = Notifier(
            lambda **email: self.emails.append(email),
            lambda **text: self.texts.append(text),
        )

    def tell(self, status: str, customer: dict[str, Any] | None) -> str:
        notice = {"orderId": "O-1", "customerId": "C-1", "status": status, "trackingNumber": "T1"}
        return self.notifier.tell("id-1", notice, customer)


def test_shipped_is_an_e_mail_with_the_tracking_number() -> None:
    sent = Sent()
    assert sent.tell("shipped", CUSTOMER) == "email"
    ((email,), texts) = (sent.emails, sent.texts)
    assert (email["id"], email["to"], texts) == ("id-1", "ada@example.com", [])
    assert email["subject"] == "Your order O-1 is on its way"
    assert "Hello Ada," in email["text"] and "T1" in email["text"]


def test_delivered_is_a_text() -> None:
    sent = Sent()
    assert sent.tell("delivered", CUSTOMER) == "text"
    assert sent.texts == [{"id": "id-1", "to": "+15550100123", "text": "The Shop: your order O-1 has been delivered."}]
    assert sent.emails == []


@pytest.mark.parametrize(
    ("status", "customer"),
    [
        ("shipped", {**CUSTOMER, "declined": ["email"]}),
        ("delivered", {**CUSTOMER, "declined": ["text"]}),
        ("shipped", {"customerId": "C-1", "name": "Ada", "phone": "+15550100123"}),
        ("delivered", {"customerId": "C-1", "name": "Ada", "email": "ada@example.com"}),
        ("shipped", None),
    ],
)
def test_what_is_declined_or_has_no_address_is_not_sent(status: str, customer: dict[str, Any] | None) -> None:
    sent = Sent()
    assert sent.tell(status, customer) == "not wanted"
    assert (sent.emails, sent.texts) == ([], [])


def test_who_declines_one_way_is_told_by_the_other() -> None:
    sent = Sent()
    assert sent.tell("delivered", {**CUSTOMER, "declined": ["email"]}) == "text"


@pytest.mark.parametrize("status", sorted(WAYS))
def test_every_status_that_is_told_has_a_template_of_known_names(status: str) -> None:
    assert set(template(status).get_identifiers()) <= {"order_id", "name", "tracking_number"}
