"""Reads every store back: the table and the log with `open_data`, the boards with Redis's client."""

from __future__ import annotations

from typing import Any, Final

import redis

from afterwrite import Change
from leaderboard import app
from leaderboard.boards import BEST, board
from leaderboard.reconcile import Found, LoggedChange, Shown

_DAY: Final = board("")


def read(data: Any, shown: Shown, shown_after_rebuilding: Shown) -> Found:
    """What the stores of `data`, a view made by `open_data`, hold; with what was on the boards."""
    return Found(
        changes=[logged_change(change) for change in data.changes(app.scores.name)],
        scores=list(data.items(app.scores.name)),
        shown=shown,
        shown_after_rebuilding=shown_after_rebuilding,
        waiting={name: sum(depth) for name, depth in data.depths().items()},
    )


def logged_change(change: Change) -> LoggedChange:
    """The change with what the equations need."""
    return LoggedChange(
        change_id=change.id,
        sequence_number=int(change.sequence_number or 0),
        place=(change.keys["playerId"], change.keys["day"]),
        before=change.old,
        after=change.new,
    )


def shown(redis_url: str) -> Shown:
    """What is on the boards now."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        days = {key.removeprefix(_DAY): _scores(client, key) for key in client.scan_iter(f"{_DAY}*", count=1000)}
        return Shown(days, _scores(client, BEST))


def _scores(client: Any, key: str) -> dict[str, int]:
    return {player: int(score) for player, score in client.zrange(key, 0, -1, withscores=True)}
