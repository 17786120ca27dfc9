"""Moves orders on: several processes with several threads; an order's writes are one thread's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from demonstration import cdnow
from demonstration.certain_writes import CertainWrites, dynamodb_client
from demonstration.shares import Share
from demonstration.writes import set_attributes
from orders.shop import Step, customers, steps

if TYPE_CHECKING:
    from demonstration.writers import Count

RETRY_FOR_S: Final = 60.0
_CUSTOMER_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole of what is written: the customers first, then each order's life."""

    customers: list[dict[str, Any]]
    lives: list[list[Step]]

    @property
    def steps(self) -> list[Step]:
        """Every write to an order."""
        return [step for life in self.lives for step in life]


@dataclass(frozen=True, slots=True)
class OrdersShare(Share):
    """One process's part; the quiet hours of this day end `quiet_s` seconds after its first write."""

    quiet_s: float


def planned(orders: int | None, quiet_until: datetime) -> Plan:
    """The first `orders` orders, and their customers."""
    chosen = cdnow.load(orders)
    lives = [steps(order, number, quiet_until) for number, order in enumerate(chosen)]
    return Plan(list(customers(chosen)), lives)


def register(writes: CertainWrites, table_name: str, known: Iterable[dict[str, Any]]) -> None:
    """Write the customers."""

    def write(customer: dict[str, Any]) -> None:
        fields = {name: value for name, value in customer.items() if name != "customerId"}
        set_attributes(writes, table_name, {"customerId": customer["customerId"]}, fields)

    with ThreadPoolExecutor(_CUSTOMER_THREADS) as threads:
        list(threads.map(write, known))


def write_share(share: OrdersShare, written: Count) -> None:
    """Make the share's writes and write down how many were acknowledged."""
    writes = CertainWrites(dynamodb_client(share.endpoint_url, share.threads), retry_for_s=RETRY_FOR_S)
    quiet_until = (datetime.now(UTC) + timedelta(seconds=share.quiet_s)).replace(microsecond=0)
    lives = planned(share.size, quiet_until).lives[share.number :: share.of]

    def write(life: list[Step]) -> int:
        for step in life:
            set_attributes(writes, share.table_name, {"orderId": step.order_id}, step.fields)
            with written.get_lock():
                written.value += 1
        return len(life)

    with ThreadPoolExecutor(share.threads) as threads:
        acknowledged = sum(threads.map(write, lives))
    share.manifest.write_text(json.dumps({"acknowledged": acknowledged}))


def acknowledged(manifests: Iterable[Path]) -> int:
    """How many writes were acknowledged in all."""
    return sum(json.loads(path.read_text())["acknowledged"] for path in manifests)
