"""Replays orders as points: what a customer spends on a day, in cents, is the player's score of that day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from demonstration import cdnow, shares
from demonstration.cdnow import Order
from demonstration.certain_writes import dynamodb_client
from demonstration.shares import Share
from leaderboard.game import Game, Points

if TYPE_CHECKING:
    from demonstration.writers import Count

RETRY_FOR_S: Final = 60.0


def orders(limit: int | None = None) -> list[Order]:
    """`limit` orders, all by default, in the order of their days: whole customers, one by one."""
    by_customer = sorted(cdnow.load(), key=lambda each: each.number)
    return sorted(by_customer[:limit], key=lambda each: (each.day, each.number))


def write_share(share: Share, written: Count) -> None:
    """Add the share's points and write down those that were acknowledged."""
    client = dynamodb_client(share.endpoint_url, share.threads)
    game = Game(client, share.table_name, retry_for_s=RETRY_FOR_S)
    shares.write_share(share, orders(share.size), lambda order: [_add(game, order)], written)


def _add(game: Game, order: Order) -> Points:
    points = Points(f"order-{order.number:05d}", order.customer_id, order.day.isoformat(), order.cents)
    game.add(points)
    return points
