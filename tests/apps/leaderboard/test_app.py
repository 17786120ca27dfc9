"""What is asked for after each change of a score: a transcript."""

from __future__ import annotations

from afterwrite import Effect
from afterwrite.testing import Playbook, delete, nothing, put
from leaderboard.app import app, scores, show_score


def shown(version: int, score: int | None) -> Effect:
    return show_score.later(player_id="p1", day="1997-01-02", version=version, score=score)


def test_each_change_of_a_score_is_shown_under_its_version() -> None:
    assert (
        Playbook(app)
        >> put(scores, playerId="p1", day="1997-01-02", score=10, version=1001)
        << shown(1001, 10)
        >> put(scores, playerId="p1", day="1997-01-02", score=25, version=1002)
        << shown(1002, 25)
        >> put(scores, playerId="p1", day="1997-01-02", score=25, version=1002)
        << nothing
        >> delete(scores, playerId="p1", day="1997-01-02")
        << shown(1003, None)
        >> put(scores, playerId="p1", day="1997-01-02", score=3, version=2001)
        << shown(2001, 3)
    )
