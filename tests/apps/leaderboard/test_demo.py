"""The demonstration, small: the same processes, accidents and equations as `make demo APP=leaderboard`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leaderboard import demo


def test_everything_is_there_once(demonstrated: Callable[..., Mapping[str, Any]]) -> None:
    found = demonstrated(demo.run, size=150, crash=1)
    assert found["points added = their changes in the log"] > 150
    assert found["scores taken away = REMOVE changes in the log"] > 0
    assert found["rebuilt from scratch, boards in Redis, of all time = each player's best day"] > 30
