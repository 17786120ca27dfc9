"""Compares what the writers wrote with what the table and the boards hold. Pure: values in, checks out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from demonstration.checks import Check, logged_once, none, same
from leaderboard.game import Points

Item: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[str, str]
"""Player and day."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to the scores table, by the writers' own account, in this order."""

    points: Sequence[Points]
    corrected: Mapping[Place, int]
    disqualified: Sequence[Place]
    points_again: Sequence[Points]
    """Points for scores that had been taken away."""


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change of the scores table's log, with the item before and after it."""

    change_id: str
    sequence_number: int
    place: Place
    before: Item | None
    after: Item | None

    @property
    def points(self) -> tuple[Any, ...] | None:
        """The points that made the change: id, player, day, points."""
        if self.after is None or (self.before or {}).get("lastPoints") == self.after.get("lastPoints"):
            return None
        before = 0 if self.before is None else self.before["score"]
        return (self.after["lastPoints"], *self.place, self.after["score"] - before)


@dataclass(frozen=True, slots=True)
class Shown:
    """What Redis holds: each day's board, and that of all time, as player and score."""

    days: Mapping[str, Mapping[str, int]]
    best: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """What was read back from every store."""

    changes: Sequence[LoggedChange]
    scores: Sequence[Item]
    shown: Shown
    shown_after_rebuilding: Shown
    waiting: Mapping[str, int]
    """Messages still waiting or in flight, by queue; dead letters are in queues of their own."""


def reconcile(written: Written, found: Found) -> list[Check]:
    """Every equation that must hold when all is done."""
    return [
        *_log(written, found),
        same(
            "scores in the table = points added, corrected, taken away",
            _expected_scores(written).items(),
            (((item["playerId"], item["day"]), item["score"]) for item in found.scores),
        ),
        *_boards("boards in Redis", found, found.shown),
        *_boards("rebuilt from scratch, boards in Redis", found, found.shown_after_rebuilding),
        none("messages and dead letters left over", found.waiting),
    ]


def _log(written: Written, found: Found) -> list[Check]:
    return [
        same(
            "points added = their changes in the log",
            ((p.id, p.player_id, p.day, p.points) for p in (*written.points, *written.points_again)),
            (change.points for change in found.changes if change.points is not None),
        ),
        same(
            "scores corrected = their changes in the log",
            written.corrected.items(),
            (
                (change.place, change.after["score"])
                for change in found.changes
                if change.after is not None and change.points is None
            ),
        ),
        same(
            "scores taken away = REMOVE changes in the log",
            written.disqualified,
            (change.place for change in found.changes if change.after is None),
        ),
        logged_once([(change.change_id, change.sequence_number) for change in found.changes]),
        _versions_rise(found),
    ]


def _versions_rise(found: Found) -> Check:
    highest: dict[Place, int] = {}
    fell = 0
    for change in found.changes:
        if change.after is not None:
            fell += change.after["version"] <= highest.get(change.place, -1)
            highest[change.place] = change.after["version"]
    return Check("versions of a score that do not rise", 0, fell, fell == 0)


def _boards(name: str, found: Found, shown: Shown) -> list[Check]:
    best: dict[str, int] = {}
    for item in found.scores:
        best[item["playerId"]] = max(best.get(item["playerId"], 0), int(item["score"]))
    return [
        same(
            f"{name}, by day = the table's scores",
            ((item["day"], item["playerId"], item["score"]) for item in found.scores),
            ((day, player, score) for day, board in shown.days.items() for player, score in board.items()),
        ),
        same(f"{name}, of all time = each player's best day", best.items(), shown.best.items()),
    ]


def _expected_scores(written: Written) -> dict[Place, int]:
    scores: Counter[Place] = Counter()
    for points in written.points:
        scores[points.player_id, points.day] += points.points
    scores.update({place: score - scores[place] for place, score in written.corrected.items()})
    for place in written.disqualified:
        del scores[place]
    for points in written.points_again:
        scores[points.player_id, points.day] += points.points
    return dict(scores)
