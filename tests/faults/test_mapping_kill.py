"""SIGKILL at random moments under an event source mapping: no record is lost, none is overtaken."""

from __future__ import annotations

from pathlib import Path

import afterwrite
from bounds import BOUND_S
from engine_process import EngineUnderTest, wait_until
from faults.reconciliation import check_log_is_table
from faults.writers import write_through_kills

APP = Path(__file__).with_name("mapping_app.py")
WRITERS = 2
KILLS = 3
WRITES_BEFORE_A_KILL = (50, 300)


def delivered(path: Path) -> dict[str, list[int]]:
    """Each key's numbers, in the order in which the function was done with them."""
    found: dict[str, list[int]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        key, number = line.split(" ")
        found.setdefault(key, []).append(int(number))
    return found


def test_every_record_is_delivered_in_order_per_key(tmp_path: Path) -> None:
    file = tmp_path / "delivered"
    with EngineUnderTest(APP, tmp_path / "data", environment={"DELIVERED": str(file)}) as engine:
        writers = write_through_kills(engine, WRITERS, KILLS, WRITES_BEFORE_A_KILL)
        last = {key: number for writer in writers for key, number in writer.acknowledged}
        wait_until(
            lambda: all(number in delivered(file).get(key, ()) for key, number in last.items()),
            what="the last records",
            bound_s=BOUND_S,
        )
        assert engine.stop() == 0
    with afterwrite.open_data(tmp_path / "data") as data:
        changes = check_log_is_table(data)
        assert list(data.messages("failed")) == []
    logged: dict[str, list[int]] = {}
    for change in changes:
        assert change.new is not None
        logged.setdefault(change.keys["pk"], []).append(int(change.new["n"]))
    first = {key: list(dict.fromkeys(numbers)) for key, numbers in delivered(file).items()}
    assert first == logged
