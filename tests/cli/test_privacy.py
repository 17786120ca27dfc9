"""What commands show of private attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Change, open_engine
from afterwrite.cli import main
from engine_process import wait_until


def test_tail_parked_and_history_show_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = App("club")
    members = app.table("members", partition_key="PK", private=("email", "home.street"))
    lake = app.delivery_stream("lake")

    @members.on(new={"kind": "bad"})
    def fail(change: Change) -> None:
        raise ValueError(f"cannot do {change!r} {change.new}")

    @members.on()
    def keep(change: Change) -> Any:
        return lake.put(item=change.new)

    with open_engine(tmp_path / "data", app) as engine:
        for key, kind in (("m-1", "good"), ("m-2", "bad")):
            item = {
                "PK": key,
                "email": "ada@example.org",
                "home": {"street": "1 Main St", "city": "Rome"},
                "kind": kind,
            }
            engine.table(members).put(item)
        reader = engine.reader()
        wait_until(lambda: len(list(reader.parked("members"))) == 1)
    for command in (
        ["tail", "--images", "--from-start", "--limit", "2"],
        ["tail", "--images", "--from-start", "--limit", "2", "--json"],
        ["parked", "show"],
        ["parked", "show", "--json"],
        ["audit", "history", "m-1"],
    ):
        with pytest.raises(SystemExit):
            main([*command, "--data", str(tmp_path / "data")])
        printed = capsys.readouterr().out
        assert "***" in printed, command
        assert "Rome" in printed, command
        assert "example.org" not in printed, command
        assert "Main St" not in printed, command
