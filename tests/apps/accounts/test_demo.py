"""The demonstration, small: the same processes and equations as `make demo APP=accounts`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accounts import demo


def test_everything_is_there_once(demonstrated: Callable[..., Mapping[str, Any]]) -> None:
    found = demonstrated(demo.run, size=120, crash=1)
    assert found["orders paid = their changes in the log"] == 120
    assert found["accounts closed = REMOVE changes in the log"] > 0
    assert found["a snapshot after every 10 events = the account then"] > 0
