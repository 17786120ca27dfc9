"""Each equation fails, by its name, when what it is about differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from leaderboard.game import Points
from leaderboard.reconcile import Found, LoggedChange, Shown, Written, reconcile

A1, A2, B1 = ("ann", "d1"), ("ann", "d2"), ("bob", "d1")


def points(id: str, place: tuple[str, str], of: int) -> Points:
    return Points(id, *place, of)


def item(place: tuple[str, str], version: int, score: int, last: str) -> dict[str, Any]:
    return {"playerId": place[0], "day": place[1], "version": version, "score": score, "lastPoints": last}


ANN, MORE, HALVED = item(A1, 11, 40, "o1"), item(A1, 12, 60, "o2"), item(A1, 13, 30, "o2")
SECOND, BOB, AGAIN = item(A2, 11, 50, "o3"), item(B1, 11, 9, "o4"), item(B1, 21, 7, "again")
WRITTEN = Written(
    points=[points("o1", A1, 40), points("o2", A1, 20), points("o3", A2, 50), points("o4", B1, 9)],
    corrected={A1: 30},
    disqualified=[B1],
    points_again=[points("again", B1, 7)],
)
SHOWN = Shown({"d1": {"ann": 30, "bob": 7}, "d2": {"ann": 50}}, {"ann": 50, "bob": 7})
FOUND = Found(
    changes=[
        LoggedChange("c1", 1, A1, None, ANN),
        LoggedChange("c2", 2, A1, ANN, MORE),
        LoggedChange("c3", 3, A2, None, SECOND),
        LoggedChange("c4", 4, B1, None, BOB),
        LoggedChange("c5", 5, A1, MORE, HALVED),
        LoggedChange("c6", 6, B1, BOB, None),
        LoggedChange("c7", 7, B1, None, AGAIN),
    ],
    scores=[HALVED, SECOND, AGAIN],
    shown=SHOWN,
    shown_after_rebuilding=SHOWN,
    waiting={"function-show_score": 0},
)
OLD = Shown({"d1": {"ann": 60, "bob": 7}, "d2": {"ann": 50}}, {"ann": 60, "bob": 7})

FAULTS: dict[str, tuple[Callable[[Found], Found], str]] = {
    "points are lost": (lambda f: replace(f, changes=[f.changes[0], *f.changes[2:]]), "points added"),
    "points count twice": (lambda f: replace(f, changes=[*f.changes, f.changes[1]]), "points added"),
    "a correction is lost": (lambda f: replace(f, changes=[*f.changes[:4], *f.changes[5:]]), "scores corrected"),
    "a removal is lost": (lambda f: replace(f, changes=[*f.changes[:5], f.changes[6]]), "scores taken away"),
    "a change is logged twice": (lambda f: replace(f, changes=[*f.changes, f.changes[1]]), "sequence numbers rise"),
    "a version falls": (
        lambda f: replace(f, changes=[*f.changes[:6], replace(f.changes[6], after={**AGAIN, "version": 11})]),
        "versions of a score",
    ),
    "a score is wrong": (lambda f: replace(f, scores=[MORE, SECOND, AGAIN]), "scores in the table"),
    "an old score came back": (lambda f: replace(f, shown=OLD), "boards in Redis, by day"),
    "an old best day is shown": (lambda f: replace(f, shown=replace(SHOWN, best=OLD.best)), "boards in Redis, of all"),
    "a board is lost": (lambda f: replace(f, shown=Shown({}, {})), "boards in Redis, by day"),
    "a rebuilt board lacks a day": (
        lambda f: replace(f, shown_after_rebuilding=replace(SHOWN, days={"d1": SHOWN.days["d1"]})),
        "rebuilt from scratch, boards in Redis, by day",
    ),
    "a rebuilt board has a stranger": (
        lambda f: replace(f, shown_after_rebuilding=replace(SHOWN, best={**SHOWN.best, "cid": 1})),
        "rebuilt from scratch, boards in Redis, of all",
    ),
    "a message was given up": (lambda f: replace(f, waiting={"q-dead-letters": 1}), "messages and dead letters"),
}


def test_all_is_well() -> None:
    assert [check for check in reconcile(WRITTEN, FOUND) if not check.ok] == []


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_found(case: str) -> None:
    spoil, name = FAULTS[case]
    assert any(check.name.startswith(name) for check in reconcile(WRITTEN, spoil(FOUND)) if not check.ok)
