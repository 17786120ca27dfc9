"""Leaderboard: boards in Redis that follow the scores table. Run it: `afterwrite run apps/leaderboard/app.py`.

A score is what a player has reached on a day. There is a board for each day, and one of all time with each player's
best day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterwrite import App, Change, Context, Effect
from leaderboard import settings
from leaderboard.boards import Boards, Score

BOARDS = Boards(settings.read().redis_url)

app = App("leaderboard")
scores = app.table("leaderboard-scores", partition_key="playerId", sort_key="day")


# Boards that are down are waited for, however long: what they have missed they get in order.
@app.function(retries=100_000, timeout_s=300, concurrency=4)
def show_score(request: Mapping[str, Any], context: Context) -> None:
    """Put the score on the boards as the change left it; fill them first if they have lost everything."""
    BOARDS.show(Score.from_request(request), context.table(scores).scan)


@app.function(timeout_s=300, concurrency=1)
def rebuild(_request: Mapping[str, Any], context: Context) -> dict[str, int]:
    """Throw the boards away and make them from the table, beside the changes that go on; how many scores it had."""
    return {"scores": BOARDS.rebuild(context.table(scores).scan)}


@scores.on()
def follow(change: Change) -> Effect:
    """Every change of a score is shown."""
    return show_score.later(**Score.of(change).to_request())
