"""The demonstration, small: the same processes, accidents and equations as `make demo APP=inventory`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inventory import demo
from inventory.purchases import PRODUCTS


def test_everything_is_there_once(demonstrated: Callable[..., Mapping[str, Any]]) -> None:
    found = demonstrated(demo.run, size=400, crash=2)
    assert found["purchases made = their changes in the log"] == 400
    assert found["downward crossings of the threshold = purchase orders"] > 0
    assert found["products and stock in Redis = the table's"] == 2 * (PRODUCTS - 10 + 5)
