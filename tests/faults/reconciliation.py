"""What must hold of a data directory after any fault: the log is the table, and every effect happened once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from afterwrite.core.changes import Change
from afterwrite.inspection import DataReader, open_data
from afterwrite.local import lake
from bounds import BOUND_S
from engine_process import wait_until

APP = Path(__file__).with_name("ledger_app.py")


def settled(path: Path) -> None:
    """Wait until the running engine has nothing left to do."""
    with open_data(path) as data:
        wait_until(data.idle, bound_s=BOUND_S, what="the engine's rest")


def check_log_is_table(data: DataReader) -> list[Change]:
    """Replaying the changes from empty gives exactly the items; the changes."""
    changes = list(data.changes("things"))
    replayed: dict[tuple[Any, Any], Any] = {}
    for change in changes:
        key = (change.keys["pk"], change.keys["sk"])
        assert change.old == replayed.get(key)
        replayed[key] = change.new
    items = {(item["pk"], item["sk"]): item for item in data.items("things")}
    assert items == {key: item for key, item in replayed.items() if item is not None}
    return changes


def check_effects(data: DataReader, path: Path, changes: list[Change]) -> None:
    """Each change had its effect on each embedded service exactly once, in order; on the function at least once."""
    ids = [change.id for change in changes]
    assert len(set(ids)) == len(ids)
    assert list(data.parked("things")) == []
    once = Counter(ids)
    assert Counter(event["detail"]["id"] for event in data.archived_events("events")) == once
    assert Counter(message.body["id"] for message in data.messages("out")) == once
    assert Counter(row["change"] for row in lake.read(path / "lake", "facts")) == once
    assert [entry["entry"]["change"] for entry in data.audit_entries("trail")] == ids
    assert not list(data.verify_audit("trail").faults)
    counted = {item["pk"]: item["n"] for item in data.items("counts")}
    assert set(counted) == set(ids)
    assert all(number >= 1 for number in counted.values())
    places = {change.id: (change.keys["pk"], place) for place, change in enumerate(changes)}
    lanes: dict[str, list[int]] = {}
    for message in data.messages("out"):
        lane, place = places[message.body["id"]]
        lanes.setdefault(lane, []).append(place)
    assert all(lane == sorted(lane) for lane in lanes.values())


def check(path: Path) -> list[Change]:
    """All of it; the changes."""
    with open_data(path) as data:
        changes = check_log_is_table(data)
        check_effects(data, path, changes)
        return changes
