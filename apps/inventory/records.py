"""What is kept of every change of a product: an audit entry, and a flat row for analytics. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from afterwrite import INSERT, Change

_SEQUENCE_DIGITS_MAX: Final = 40


def quantity_of(product: Mapping[str, Any] | None) -> int:
    """The stock of a product, none where there is no product."""
    return 0 if product is None else int(product["quantity"])


def audit_entry(change: Change) -> dict[str, Any]:
    """Who changed the stock when, from what to what. Its sort key puts a product's entries in their order (S9)."""
    product = change.new or change.old or {}
    return {
        "productId": product["productId"],
        "sequence": change.version.zfill(_SEQUENCE_DIGITS_MAX),
        "changeId": change.id,
        "eventType": change.event_name,
        "oldQuantity": None if change.old is None else quantity_of(change.old),
        "newQuantity": None if change.new is None else quantity_of(change.new),
        "changeAmount": quantity_of(change.new) - quantity_of(change.old),
        "user": None if change.new is None else product.get("lastModifiedBy"),
        "timestamp": _moment(change).isoformat(timespec="milliseconds"),
    }


def analytics_row(change: Change) -> dict[str, Any]:
    """The change in numbers: units, money, and whether it emptied the shelf, on the day of the movement."""
    movement = movement_of(change)
    left, before = quantity_of(change.new), quantity_of(change.old)
    return {
        "event_id": change.id,
        "event_name": change.event_name,
        "product_id": change.keys["productId"],
        "kind": movement.get("kind"),
        "day": movement.get("day") or _moment(change).date().isoformat(),
        "quantity_change": left - before,
        "quantity": left,
        "cents": int(movement.get("cents", 0)),
        "sold_out": before > 0 and left == 0 and change.new is not None,
        "at_ms": change.created_at_ms,
    }


def movement_of(change: Change) -> Mapping[str, Any]:
    """The movement of stock that made the change; none for an edited or a removed product."""
    if change.new is None or not (change.event_name == INSERT or change.changed("movement")):
        return {}
    movement: Mapping[str, Any] = change.new.get("movement", {})
    return movement


def _moment(change: Change) -> datetime:
    return datetime.fromtimestamp(change.created_at_ms / 1000, UTC)
