"""Customers and orders: CDNOW's purchases as orders that move on from status to status, with made addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from demonstration.cdnow import Order

DECLINES_EMAIL_EVERY: Final = 9
DECLINES_TEXT_EVERY: Final = 7
QUIET_EVERY: Final = 5
CANCELLED_EVERY: Final = 12
REWRITTEN_EVERY: Final = 3
_OFFSETS_MINUTES: Final = (0, 60, -300, 330, 840)


@dataclass(frozen=True, slots=True)
class Step:
    """A write to an order: what is set; `rewrites`, where the status stays as it is."""

    order_id: str
    fields: dict[str, Any]
    rewrites: bool = False


def customers(orders: Iterable[Order]) -> Iterator[dict[str, Any]]:
    """The customers of the orders. Every ninth declines e-mails, every seventh texts."""
    for number in sorted({int(order.customer_id) for order in orders}):
        customer: dict[str, Any] = {
            "customerId": customer_id(number),
            "name": f"Customer {number}",
            "email": f"customer-{number}@example.com",
            "phone": f"+1555{number:07d}",
        }
        declined = [
            way
            for way, every in (("email", DECLINES_EMAIL_EVERY), ("text", DECLINES_TEXT_EVERY))
            if number % every == 0
        ]
        if declined:
            customer["declined"] = declined
        yield customer


def quiet_hours(number: int, until: datetime) -> dict[str, Any] | None:
    """Of every fifth customer the quiet hours: an hour that ends at `until`, in the customer's own time."""
    if number % QUIET_EVERY:
        return None
    offset = _OFFSETS_MINUTES[number // QUIET_EVERY % len(_OFFSETS_MINUTES)]
    ends = until.astimezone(UTC) + timedelta(minutes=offset)
    begins = ends - timedelta(hours=1)
    return {"from": f"{begins:%H:%M:%S}", "until": f"{ends:%H:%M:%S}", "utcOffsetMinutes": offset}


def steps(order: Order, number: int, quiet_until: datetime) -> list[Step]:
    """An order's life: placed, packed, shipped, delivered, or cancelled; some writes leave the status as it is.

    The order carries its customer's quiet hours, as they were when it was placed.
    """
    order_id = f"O-{order.number:05d}"
    placed: dict[str, Any] = {
        "customerId": customer_id(int(order.customer_id)),
        "status": "placed",
        "units": order.units,
        "cents": order.cents,
    }
    quiet = quiet_hours(int(order.customer_id), quiet_until)
    if quiet is not None:
        placed["quietHours"] = quiet
    life = [Step(order_id, placed)]
    if number % CANCELLED_EVERY == 0:
        return [*life, Step(order_id, {"status": "cancelled"})]
    life += [
        Step(order_id, {"status": "packed"}),
        Step(order_id, {"status": "shipped", "trackingNumber": f"TRACK-{number:06d}"}),
    ]
    if number % REWRITTEN_EVERY == 0:
        life.append(Step(order_id, {"status": "shipped", "lastSeen": "sorting centre"}, rewrites=True))
    life.append(Step(order_id, {"status": "delivered"}))
    if number % REWRITTEN_EVERY == 1:
        life.append(Step(order_id, {"status": "delivered", "signedBy": "neighbour"}, rewrites=True))
    return life


def customer_id(number: int) -> str:
    """A customer's key."""
    return f"C-{number:05d}"
