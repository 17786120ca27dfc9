"""Replays orders as movements of the customers' accounts: several processes, each with several threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from accounts.bank import Bank, Movement
from demonstration import cdnow, shares
from demonstration.cdnow import Order
from demonstration.certain_writes import dynamodb_client
from demonstration.shares import Share

if TYPE_CHECKING:
    from demonstration.writers import Count

RETRY_FOR_S: Final = 60.0
DEPOSIT_STEP_CENTS: Final = 50_00
"""Customers pay in round sums."""


def orders(limit: int | None = None) -> list[Order]:
    """`limit` orders that cost something, all by default, in the order of their days: whole customers, one by one."""
    by_customer = sorted((order for order in cdnow.load() if order.cents), key=lambda each: each.number)
    return sorted(by_customer[:limit], key=lambda each: (each.day, each.number))


def write_share(share: Share, written: Count) -> None:
    """Pay the share's orders and write down every movement that was acknowledged."""
    client = dynamodb_client(share.endpoint_url, share.threads)
    bank = Bank(client, share.table_name, retry_for_s=RETRY_FOR_S)
    shares.write_share(share, orders(share.size), lambda order: pay(bank, order), written)


def pay(bank: Bank, order: Order) -> list[Movement]:
    """Pay an order from its customer's account, which is opened or filled up where it has to be. What moved, in order.

    Another writer may spend what was paid in: then it is tried again.
    """
    account_id, day, name = order.customer_id, order.day.isoformat(), f"order-{order.number:05d}"
    spending = Movement(name, "spending", account_id, order.cents, day)
    movements: list[Movement] = []
    for attempt in range(1_000):
        if bank.spend(spending):
            return [*movements, spending]
        balance_cents = bank.balance_cents(account_id)
        if balance_cents is None:
            opening = Movement(f"{name}-opening", "opening", account_id, _round_sum_cents(order.cents), day)
            movements += [opening] if bank.open(opening, owner=f"Customer {account_id}") else []
        elif balance_cents < order.cents:
            missing_cents = _round_sum_cents(order.cents - balance_cents)
            deposit = Movement(f"{name}-deposit-{attempt}", "deposit", account_id, missing_cents, day)
            movements += [deposit] if bank.deposit(deposit) else []
    raise AssertionError(f"{spending.id} was outrun by other orders 1,000 times")


def _round_sum_cents(cents: int) -> int:
    return -(-cents // DEPOSIT_STEP_CENTS) * DEPOSIT_STEP_CENTS
