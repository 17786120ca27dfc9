"""The demonstration, small: the same processes, accidents and equations as `make demo APP=orders`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from orders import demo


def test_everything_is_there_once(
    demonstrated: Callable[..., Mapping[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "QUIET_S", 2)
    found = demonstrated(demo.run, size=60, crash=1)
    assert found["orders shipped and delivered = transitions in the log"] == 2 * (60 - 5)
    assert found["e-mails: one Message-ID for each transition"] > 40
