"""SIGKILL at random moments: no acknowledged write is lost, and no effect is lost or repeated."""

from __future__ import annotations

from pathlib import Path

from engine_process import EngineUnderTest
from faults.reconciliation import APP, check, settled
from faults.writers import write_through_kills, written

WRITERS = 4
KILLS = 4
WRITES_BEFORE_A_KILL = (50, 500)


def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    with EngineUnderTest(APP, tmp_path / "data") as engine:
        writers = write_through_kills(engine, WRITERS, KILLS, WRITES_BEFORE_A_KILL)
        settled(tmp_path / "data")
        assert engine.stop() == 0
    assert written(writers) > KILLS * WRITES_BEFORE_A_KILL[0]
    assert [failure for writer in writers for failure in writer.failures] == []
    changes = check(tmp_path / "data")
    logged = [(change.keys["pk"], int(change.new["n"])) for change in changes if change.new]
    # A write that was asked for again changes nothing the second time.
    assert len(set(logged)) == len(logged)
    acknowledged = {write for writer in writers for write in writer.acknowledged}
    assert acknowledged <= set(logged)
    assert set(logged) <= {write for writer in writers for write in writer.attempted}
    for writer in writers:
        mine = [number for pk, number in logged if pk.startswith(f"{writer.name}-")]
        assert mine == sorted(mine)


def test_a_stopped_engine_ends_with_zero_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with EngineUnderTest(APP, tmp_path / "data") as engine:
        engine.put("things", pk="p", sk="1")
        assert engine.stop() == 0
        engine.start()
        engine.put("things", pk="p", sk="2")
        settled(tmp_path / "data")
        assert engine.stop() == 0
    assert [change.keys["sk"] for change in check(tmp_path / "data")] == ["1", "2"]
