"""The demonstration, small: the same processes, accidents and equations as `make demo APP=inventory`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inventory import demo
from inventory.purchases import PRODUCTS


@pytest.mark.timeout(240)
def test_everything_is_there_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = demo.run(tmp_path / "data", size=400, crash=2, json=True)
    printed = capfd.readouterr()
    assert printed.out, printed.err
    result: dict[str, Any] = json.loads(printed.out)
    assert [check for check in result["checks"] if not check["ok"]] == []
    assert status == 0
    found = {check["name"]: check["found"] for check in result["checks"]}
    assert found["purchases made = their changes in the log"] == 400
    assert found["downward crossings of the threshold = purchase orders"] > 0
    assert found["products and stock in Redis = the table's"] == 2 * (PRODUCTS - 10 + 5)
