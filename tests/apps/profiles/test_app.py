"""What follows from one change of a customer: a transcript."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite import Change
from afterwrite.core.values import encode_item
from profiles import app

ADA = {
    "customerId": "C-1",
    "name": "Ada",
    "email": "a@example.com",
    "address": {"city": "Dover"},
    "lastOrder": "1997-01-01",
}


def planned(
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
    sequence_number: str | None = "412000000000000000001",
    created_at_us: int = 1_700_000_000_123_456,
) -> dict[str, Any]:
    """What each queue is sent."""
    change = Change(
        id="c1",
        table="profiles-customers",
        event_name="INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
        keys={"customerId": {"S": "C-1"}},
        old_image=None if old is None else encode_item(old),
        new_image=None if new is None else encode_item(new),
        sequence_number=sequence_number,
        created_at_us=created_at_us,
    )
    effects: list[Any] = [each.effect for each in app.customers.router().plan(change, "C-1")]
    return {effect.queue: effect.body for effect in effects}


def told(profile: dict[str, Any] | None) -> dict[str, Any]:
    return {"customerId": "C-1", "sequence": "412000000000000000001", "profile": profile}


def test_each_system_hears_of_a_new_customer_what_it_is_for() -> None:
    assert planned(None, ADA) == {
        "profiles-marketing": told({"name": "Ada", "email": "a@example.com"}),
        "profiles-shipping": told({"name": "Ada", "address": {"city": "Dover"}}),
    }


@pytest.mark.parametrize(
    ("changed", "queues"),
    [
        ({"email": "b@example.com"}, {"profiles-marketing"}),
        ({"address": {"city": "Easton"}}, {"profiles-shipping"}),
        ({"name": "Ada L."}, {"profiles-marketing", "profiles-shipping"}),
        ({"lastOrder": "1998-01-01"}, set()),
    ],
)
def test_a_change_goes_to_those_that_it_concerns(changed: dict[str, Any], queues: set[str]) -> None:
    assert set(planned(ADA, {**ADA, **changed})) == queues


def test_each_system_hears_that_a_customer_is_no_more() -> None:
    assert planned(ADA, None) == {"profiles-marketing": told(None), "profiles-shipping": told(None)}


def test_a_change_without_a_sequence_number_has_a_number_that_rises() -> None:
    # S26: a record of Kinesis has none.
    moments = (1_700_000_000_123_456, 1_700_000_000_123_457, 1_800_000_000_000_000)
    news = [planned(ADA, None, sequence_number=None, created_at_us=at_us)["profiles-marketing"] for at_us in moments]
    numbers = [int(each["sequence"]) for each in news]
    assert numbers == sorted(set(numbers))
