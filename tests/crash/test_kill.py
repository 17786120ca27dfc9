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
from crash.indexes import TABLE, check_indexes, index_names, pages
from crash.load import CREATE, TIME_TO_LIVE, Load, kill_moments
from engine_process import EngineUnderTest, wait_until

KILLS = int(os.environ.get("AFTERWRITE_CRASH_KILLS", "5"))
LOAD_S_MAX = 0.8
# Reading every entry takes longer with every kill.
KILLS_BETWEEN_VERIFICATIONS = 10
# The last kill waits for it: a slow machine gets little done until the others.
ACKNOWLEDGED_MIN = KILLS * 5
SEED = int(os.environ.get("AFTERWRITE_CRASH_SEED", "20240601"))


def kill(engine: EngineUnderTest, load: Load, acknowledged_min: int) -> None:
    """Kill the engine once so many requests were acknowledged."""
    try:
        wait_until(lambda: load.acknowledged >= acknowledged_min, what="acknowledged requests")
    finally:
        engine.kill()


@pytest.mark.timeout(600 + 10 * KILLS)
def test_every_acknowledged_write_survives_every_kill(tmp_path: Path) -> None:
    load = Load()
    source = random.Random(SEED)
    data = tmp_path / "data"
    with EngineUnderTest(None, data) as engine:
        engine.call("CreateTable", CREATE)
        engine.call("UpdateTimeToLive", TIME_TO_LIVE)
        for number, after_s in enumerate(kill_moments(LOAD_S_MAX, KILLS, iter(source.random, None)), 1):
            before = load.acknowledged
            threads = load.start(engine.address)
            killer = threading.Timer(after_s, kill, [engine, load, ACKNOWLEDGED_MIN if number == KILLS else 0])
            killer.start()
            for thread in [*threads, killer]:
                thread.join()
            load.check(data)
            if number % KILLS_BETWEEN_VERIFICATIONS == 0:
                assert verify(data / "store").damage == []
            engine.start()
            load.reindexing.check_catalog(index_names(engine.call))
            compared = check_indexes(engine.call, but="expiring")
            print(
                f"kill {number} after {after_s:.3f} s: {load.acknowledged - before} requests acknowledged, "
                f"{compared} index entries compared"
            )
        # The last one to start finds everything whole, and lets what has expired go.
        wait_until(
            lambda: all("ttl" not in item for item in pages(engine.call, "Scan", TableName=TABLE)),
            what="the end of all that has expired",
        )
        assert check_indexes(engine.call) > 0
        engine.stop()
    load.check(data)
    print(f"{KILLS} kills, seed {SEED}: {load.acknowledged} requests acknowledged, {load.changes} changes replayed")
    assert load.acknowledged >= ACKNOWLEDGED_MIN
    verified = verify(data / "store")
    assert verified.damage == verified.figures == []
