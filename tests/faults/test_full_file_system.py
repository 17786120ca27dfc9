"""A file system without room, a real one: nothing half is kept, indexes agree, and the engine serves on afterwards."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwrite.store.verification import verify
from crash.indexes import check_indexes
from crash.load import CREATE, Coming, Load, Pair, Single, Updated, Writer
from engine_process import EngineUnderTest, wait_until

DISK_BYTES = 6 << 20
LEFT_BYTES = 300_000
REFUSALS = 12


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs Linux and root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def write(engine: EngineUnderTest, writer: Writer) -> bool:
    """Write the writer's next version; whether it was kept. One that is refused has not been sent."""
    operation, body = writer.request(writer.sent + 1)
    status, answer = engine.exchange(operation, body)
    if status == 500:
        assert "no space left" in answer["message"]
        return False
    assert status == 200, answer
    writer.sent += 1
    writer.acknowledged = writer.sent
    return True


def test_no_half_write_is_kept_and_indexes_agree(disk: Path) -> None:
    load = Load()
    load.writers = [Single("single"), Updated("updated"), Coming("coming"), Pair("pair")]
    ballast = disk / "ballast"
    with EngineUnderTest(None, disk / "data") as engine:
        engine.call("CreateTable", CREATE)
        assert all(write(engine, writer) for writer in load.writers)
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - LEFT_BYTES))
        kept = refused = 0
        for writer in itertools.cycle(load.writers):
            if write(engine, writer):
                kept += 1
            else:
                refused += 1
                if refused == REFUSALS:
                    break
        assert kept
        load.check(disk / "data")
        assert check_indexes(engine.call) > 0
        ballast.unlink()
        wait_until(lambda: write(engine, load.writers[0]), what="the engine's recovery")
        for _ in range(5):
            assert all(write(engine, writer) for writer in load.writers)
        assert check_indexes(engine.call) > 0
        assert engine.stop() == 0
    load.check(disk / "data")
    assert verify(disk / "data" / "store").damage == []
