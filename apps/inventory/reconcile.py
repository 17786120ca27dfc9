"""Compares what the writers wrote with what the stores hold. Pure: values in, checks out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demonstration.checks import Check, logged_once, none, same
from inventory.stock import Movement

Product = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to the products table, by the writers' own account."""

    movements: Sequence[Movement]
    prices: Mapping[str, int]
    """The prices that were changed, in cents by product."""
    discontinued: Sequence[tuple[str, bool]]
    """The products that were taken out of the shop, and whether they were listed again."""


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change of the products table's log, with the item before and after it."""

    event_id: str
    event_name: str
    sequence_number: int
    product_id: str
    before: Product | None
    after: Product | None

    @property
    def quantity_change(self) -> int:
        """By how many units the stock changed."""
        return _quantity(self.after) - _quantity(self.before)

    @property
    def movement(self) -> tuple[Any, ...] | None:
        """The movement that made the change: id, kind, product, units, cents, day."""
        if self.after is None or (self.before is not None and self.before["movement"] == self.after["movement"]):
            return None
        made = self.after["movement"]
        return (made["id"], made["kind"], self.product_id, int(made["units"]), int(made["cents"]), made["day"])


@dataclass(frozen=True, slots=True)
class Found:
    """What was read back from every store."""

    changes: Sequence[LoggedChange]
    products: Mapping[str, Product]
    orders: Sequence[tuple[str, str, int, int]]
    """Purchase orders: alert, product, the stock that the alert told of, what it suggested."""
    audited: Sequence[tuple[Any, ...]]
    """Rows of the audit table: change, product, event name, old quantity, new quantity, change amount, user."""
    audit_in_order: bool
    """Whether each product's rows follow on from one another: what one leaves the next begins with."""
    analytics: Sequence[tuple[str, str, int]]
    """Rows of the lake: change, product, quantity change."""
    sold: Sequence[tuple[str, str, int, int]]
    """The lake asked for sales: product, day, units, cents."""
    cached: Mapping[str, Any]
    """What Redis has: `product:…` and `stock:…` keys, decoded."""
    dead_letters: Mapping[str, int]
    leftovers: Mapping[str, int]
    """Messages still waiting or in flight, by queue."""


def reconcile(written: Written, found: Found) -> list[Check]:
    """Every equation that must hold when all is done."""
    return [
        *_log(written, found),
        *_stock(written, found),
        *_alerts(found),
        *_audit(found),
        *_analytics(written, found),
        *_cache(found),
        none("dead letters", found.dead_letters),
        none("messages left over", found.leftovers),
    ]


def _log(written: Written, found: Found) -> list[Check]:
    logged = [change.movement for change in found.changes]
    checks = []
    for kind, name in (("sale", "purchases made"), ("restock", "deliveries"), ("listing", "products listed")):
        checks.append(
            same(
                f"{name} = their changes in the log",
                ((m.id, m.kind, m.product_id, m.units, m.cents, m.day) for m in written.movements if m.kind == kind),
                (each for each in logged if each is not None and each[1] == kind),
            )
        )
    return [
        *checks,
        same(
            "products discontinued = REMOVE changes in the log",
            (product for product, _ in written.discontinued),
            (change.product_id for change in found.changes if change.event_name == "REMOVE"),
        ),
        logged_once([(change.event_id, change.sequence_number) for change in found.changes]),
    ]


def _stock(written: Written, found: Found) -> list[Check]:
    expected: Counter[str] = Counter()
    gone = {product for product, _ in written.discontinued}
    for movement in written.movements:
        expected[movement.product_id] += -movement.units if movement.kind == "sale" else movement.units
    again = {m.product_id: m.units for m in written.movements if m.product_id in gone and m.id.endswith("-again")}
    for product in gone:
        expected.pop(product, None)
    below = sum(_quantity(change.after) < 0 for change in found.changes)
    return [
        same(
            "stock in the table = listed + delivered - sold",
            [*expected.items(), *again.items()],
            ((product, _quantity(item)) for product, item in found.products.items()),
        ),
        Check("changes that left less than nothing in stock", 0, below, below == 0),
        same(
            "prices changed = prices in the table",
            written.prices.items(),
            ((product, int(found.products[product]["priceCents"])) for product in written.prices),
        ),
    ]


def _alerts(found: Found) -> list[Check]:
    crossings = [
        (change.event_id, change.product_id, _quantity(change.after), _suggested(change.after))
        for change in found.changes
        if change.after is not None and _low(change.after) and not _low(change.before)
    ]
    return [same("downward crossings of the threshold = purchase orders", crossings, found.orders)]


def _audit(found: Found) -> list[Check]:
    changed: Counter[str] = Counter()
    for row in found.audited:
        changed[row[1]] += row[5]
    return [
        same(
            "changes in the log = audit rows: old, new, amount, who",
            (
                (
                    change.event_id,
                    change.product_id,
                    change.event_name,
                    None if change.before is None else _quantity(change.before),
                    None if change.after is None else _quantity(change.after),
                    change.quantity_change,
                    None if change.after is None else change.after["lastModifiedBy"],
                )
                for change in found.changes
            ),
            found.audited,
        ),
        same(
            "audited amounts add up to the stock in the table",
            ((product, _quantity(item)) for product, item in found.products.items()),
            ((product, units) for product, units in changed.items() if product in found.products or units),
        ),
        Check(
            "each product's audit rows follow on from one another",
            len(found.audited),
            len(found.audited),
            found.audit_in_order,
            "a row begins with another quantity than the row before it has left",
        ),
    ]


def _analytics(written: Written, found: Found) -> list[Check]:
    sales: dict[tuple[str, str], list[int]] = {}
    for movement in written.movements:
        if movement.kind == "sale":
            units, cents = sales.setdefault((movement.product_id, movement.day), [0, 0])
            sales[movement.product_id, movement.day] = [units + movement.units, cents + movement.cents]
    return [
        same(
            "changes in the log = analytics rows in the lake",
            ((change.event_id, change.product_id, change.quantity_change) for change in found.changes),
            found.analytics,
        ),
        same(
            "units and money sold, by product and day",
            ((product, day, units, cents) for (product, day), (units, cents) in sales.items()),
            found.sold,
        ),
    ]


def _cache(found: Found) -> list[Check]:
    expected = {f"product:{product}": _frozen(item) for product, item in found.products.items()}
    expected |= {f"stock:{product}": _quantity(item) for product, item in found.products.items()}
    return [
        same(
            "products and stock in Redis = the table's",
            expected.items(),
            ((key, _frozen(value) if isinstance(value, dict) else value) for key, value in found.cached.items()),
        )
    ]


def _frozen(value: Any) -> Any:
    """A map as something that can be counted."""
    return tuple(sorted((name, _frozen(each)) for name, each in value.items())) if isinstance(value, Mapping) else value


def _quantity(product: Product | None) -> int:
    return 0 if product is None else int(product["quantity"])


def _low(product: Product | None) -> bool:
    return product is not None and bool(product["quantity"] <= product["reorderThreshold"])


def _suggested(product: Product) -> int:
    return int(product.get("reorderQuantity") or 2 * product["reorderThreshold"] - product["quantity"])


def follow_on(rows: Iterable[tuple[str, int | None, int | None]]) -> bool:
    """Whether rows of product, old and new quantity, in their order, follow on from one another in each product."""
    left: dict[str, int | None] = {}
    for product, old, new in rows:
        if left.get(product) != old:
            return False
        left[product] = new
    return True
