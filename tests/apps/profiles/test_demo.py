"""The demonstration, small: the same processes, accidents and equations as `make demo APP=profiles`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profiles import demo


@pytest.mark.timeout(300)
def test_everything_is_there_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = demo.run(tmp_path / "data", size=150, crash=1, json=True)
    printed = capfd.readouterr()
    assert printed.out, printed.err
    result: dict[str, Any] = json.loads(printed.out)
    assert [check for check in result["checks"] if not check["ok"]] == []
    assert status == 0
    found = {check["name"]: check["found"] for check in result["checks"]}
    assert found["writes planned = acknowledged"] == 150
    assert found["marketing: a customer's changes came in their order"] > 20
