"""SIGKILL at random moments under concurrent load: what was acknowledged is there, and nothing is half there.

`AFTERWRITE_CRASH_KILLS` says how often (`make soak`: 200).
"""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from afterwrite.store.verification import verify
from crash.load import CREATE, TIME_TO_LIVE, Load, kill_moments
from engine_process import EngineProcess

KILLS = int(os.environ.get("AFTERWRITE_CRASH_KILLS", "5"))
LOAD_S_MAX = 0.8
SEED = int(os.environ.get("AFTERWRITE_CRASH_SEED", "20240601"))


@pytest.mark.timeout(60 + 6 * KILLS)
def test_every_acknowledged_write_survives_every_kill(tmp_path: Path) -> None:
    load = Load()
    source = random.Random(SEED)
    with EngineProcess(None, tmp_path / "data") as engine:
        engine.call("CreateTable", CREATE)
        engine.call("UpdateTimeToLive", TIME_TO_LIVE)
        for number, after_s in enumerate(kill_moments(LOAD_S_MAX, KILLS, iter(source.random, None))):
            before = load.acknowledged
            threads = load.start(engine.address)
            killer = threading.Timer(after_s, engine.kill)
            killer.start()
            for thread in [*threads, killer]:
                thread.join()
            load.check(tmp_path / "data")
            print(f"kill {number + 1} after {after_s:.3f} s: {load.acknowledged - before} writes acknowledged")
            engine.start()
            load.check_index(lambda body: engine.call("Scan", body))
        # The restarted engine serves what it was found with, and the last one to start finds everything whole.
        assert engine.call("Scan", {"TableName": "things", "Select": "COUNT"})["Count"] > 0
        engine.stop()
    load.check(tmp_path / "data")
    assert load.acknowledged > KILLS * 5
    assert verify(tmp_path / "data" / "store").damage == []
