"""The demonstration, small: the same processes and the same equations as `make demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manga_assist import demo


@pytest.mark.timeout(240)
@pytest.mark.parametrize("crash", [0, 3])
def test_everything_is_there_once(tmp_path: Path, crash: int, capfd: pytest.CaptureFixture[str]) -> None:
    status = demo.run(tmp_path / "data", size=40, crash=crash, json=True)
    printed = capfd.readouterr()
    assert printed.out, printed.err
    result: dict[str, Any] = json.loads(printed.out)
    assert [check for check in result["checks"] if not check["ok"]] == []
    assert status == 0
    found = {check["name"]: check["found"] for check in result["checks"]}
    assert found["sessions started = META inserts in the log"] == 40
    assert found["expired items = REMOVE changes by time to live"] > 0


def test_a_directory_with_files_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "precious"
    kept.touch()
    assert demo.run(tmp_path, size=1, crash=0, json=False) == 2
    assert "expected a new or empty directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [kept]
