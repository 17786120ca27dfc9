"""Backups: as of one commit while the engine writes, whole or not there, and restored to an engine that goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Change, open_data, open_engine
from afterwrite.backups import back_up, restore
from afterwrite.cli.backup import backup as backup_command
from afterwrite.errors import CommandError, CorruptData
from afterwrite.local import lake
from bounds import BOUND_S
from engine_process import wait_until

TABLE = "orders"


def shop() -> App:
    """Every change goes to the lake and to the audit log."""
    app = App("shop")
    orders = app.table(TABLE, partition_key="id")
    analytics = app.delivery_stream("analytics", buffer_seconds=0.05)
    audit = app.audit_log("trail")

    @orders.on()
    def keep(change: Change) -> list[Any]:
        assert change.new is not None
        number = int(change.new["n"])
        return [analytics.put(n=number), audit.append(n=number)]

    return app


def kept(data: Path) -> tuple[list[int], list[int], list[int]]:
    """The numbers in the table, in the lake and in the audit log, which must be whole."""
    with open_data(data) as reader:
        assert not reader.verify_audit("trail").faults
        return (
            sorted(int(item["n"]) for item in reader.items(TABLE)),
            sorted(row["n"] for row in lake.read(reader.lake("analytics").parent, "analytics")),
            [entry["entry"]["n"] for entry in reader.audit_entries("trail")],
        )


def test_a_backup_under_load_restores_to_one_moment_and_the_rest_happens_once(tmp_path: Path) -> None:
    stop = threading.Event()
    numbers = iter(range(1_000_000))
    with open_engine(tmp_path / "data", shop()) as engine:
        table = engine.table(TABLE)

        def write() -> None:
            while not stop.is_set():
                table.put({"id": f"{(number := next(numbers)):06d}", "n": number})

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for round_number in range(2):
                reached = sum(1 for _ in engine.reader().items(TABLE))
                wait_until(lambda least=reached + 150: sum(1 for _ in engine.reader().items(TABLE)) >= least)  # type: ignore[misc]
                engine.back_up(tmp_path / f"backup{round_number}")
        finally:
            stop.set()
            writer.join()
    for round_number in range(2):
        restored = tmp_path / f"restored{round_number}"
        restore(tmp_path / f"backup{round_number}", restored)
        # What the store knew of at that commit is there, and nothing that it did not.
        items, rows, entries = kept(restored)
        assert items == list(range(len(items)))
        assert len(items) >= 150
        assert rows == list(range(len(rows)))
        assert entries == list(range(len(entries)))
        with open_engine(restored, shop()) as engine:
            reader = engine.reader()
            wait_until(reader.idle, what="everything having had its effects")
        assert kept(restored) == (items, items, items)


def test_what_functions_keep_comes_along(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()) as engine:
        (engine.services.directory("mail") / "one.txt").write_text("hello")
        command = [sys.executable, "-m", "afterwrite", "backup", str(tmp_path / "backup"), "--data"]
        subprocess.run([*command, str(tmp_path / "data")], check=True, timeout=BOUND_S)
    done = restore(tmp_path / "backup", tmp_path / "restored")
    assert (tmp_path / "restored" / "files" / "mail" / "one.txt").read_text() == "hello"
    assert done.tables == [TABLE]


def test_a_backup_is_not_made_over_something_and_no_restore_either(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()):
        pass
    back_up(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(CommandError, match="choose another"):
        back_up(tmp_path / "data", tmp_path / "backup")
    with pytest.raises(CommandError, match="choose another"):
        restore(tmp_path / "backup", tmp_path / "data")
    with pytest.raises(CommandError, match="no store"):
        back_up(tmp_path / "nothing", tmp_path / "other")
    with pytest.raises(CommandError, match=r"no backup\.json"):
        restore(tmp_path / "data", tmp_path / "other")
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "backup", tmp_path / "empty")


def test_a_damaged_backup_is_not_restored(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()):
        pass
    back_up(tmp_path / "data", tmp_path / "backup")
    file = tmp_path / "backup" / "store" / "data.mdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptData, match="not what was backed up"):
        restore(tmp_path / "backup", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_damaged_store_is_not_backed_up(tmp_path: Path) -> None:
    with open_engine(tmp_path / "data", shop()) as engine:
        engine.table(TABLE).put({"id": "here-it-stands", "n": 1})
        wait_until(engine.reader().idle)
    file = tmp_path / "data" / "store" / "data.mdb"
    file.write_bytes(file.read_bytes().replace(b"here-it-stands", b"here-it-Stands"))
    with pytest.raises(CorruptData, match="nothing was backed up"):
        back_up(tmp_path / "data", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_an_interrupted_backup_is_begun_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_engine(tmp_path / "data", shop()):
        pass
    (tmp_path / "backup.partial" / "store").mkdir(parents=True)
    (tmp_path / "backup.partial" / "store" / "data.mdb").write_bytes(b"half")
    backup_command(tmp_path / "backup", data=tmp_path / "data")
    assert "1 table" in capsys.readouterr().out
    assert not (tmp_path / "backup.partial").exists()
