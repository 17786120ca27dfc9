"""The demonstration, small: the same processes and equations as `make demo APP=accounts`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accounts import demo


@pytest.mark.timeout(240)
def test_everything_is_there_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = demo.run(tmp_path / "data", size=120, crash=1, json=True)
    printed = capfd.readouterr()
    assert printed.out, printed.err
    result: dict[str, Any] = json.loads(printed.out)
    assert [check for check in result["checks"] if not check["ok"]] == []
    assert status == 0
    found = {check["name"]: check["found"] for check in result["checks"]}
    assert found["orders paid = their changes in the log"] == 120
    assert found["accounts closed = REMOVE changes in the log"] > 0
    assert found["a snapshot after every 10 events = the account then"] > 0
