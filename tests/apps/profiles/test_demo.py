"""The demonstration, small: the same processes, accidents and equations as `make demo APP=profiles`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from profiles import demo


def test_everything_is_there_once(demonstrated: Callable[..., Mapping[str, Any]]) -> None:
    found = demonstrated(demo.run, size=150, crash=1)
    assert found["writes planned = acknowledged"] == 150
    assert found["marketing: a customer's changes came in their order"] > 20
