"""The demonstration, small: the same processes and the same equations as `make demo`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from afterwrite import AfterwriteError
from manga_assist import demo


def test_everything_is_there_once(demonstrated: Callable[..., Mapping[str, Any]]) -> None:
    found = demonstrated(demo.run, size=40, crash=3)
    assert found["sessions started = META inserts in the log"] == 40
    assert found["expired items = REMOVE changes by time to live"] > 0


def test_a_directory_with_files_is_refused_and_kept(tmp_path: Path) -> None:
    kept = tmp_path / "precious"
    kept.touch()
    with pytest.raises(AfterwriteError, match="expected a new or empty directory"):
        demo.run(tmp_path, size=1, crash=0, json=False)
    assert list(tmp_path.iterdir()) == [kept]
