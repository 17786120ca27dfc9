"""The demonstration's edges; the whole of it runs as `make demo`."""

from __future__ import annotations

from pathlib import Path

import pytest

from manga_assist import demo


def test_a_directory_with_files_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "precious"
    kept.touch()
    assert demo.run(tmp_path, conversations=1, crash=0, json=False) == 2
    assert "expected a new or empty directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [kept]
