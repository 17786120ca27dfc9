"""The demonstration, small: the same processes, accidents and equations as `make demo APP=orders`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orders import demo


@pytest.mark.timeout(300)
def test_everything_is_there_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "QUIET_S", 2)
    status = demo.run(tmp_path / "data", size=60, crash=1, json=True)
    printed = capfd.readouterr()
    assert printed.out, printed.err
    result: dict[str, Any] = json.loads(printed.out)
    assert [check for check in result["checks"] if not check["ok"]] == []
    assert status == 0
    found = {check["name"]: check["found"] for check in result["checks"]}
    assert found["orders shipped and delivered = transitions in the log"] == 2 * (60 - 5)
    assert found["e-mails: one Message-ID for each transition"] > 40
