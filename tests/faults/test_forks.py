"""Functions that fork: a fork holds nothing of the engine, and never goes on as one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_process import EngineUnderTest, wait_until

APP = Path(__file__).with_name("forking_app.py")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineUnderTest]:
    with EngineUnderTest(APP, tmp_path / "data") as started:
        yield started


def kept(engine: EngineUnderTest, name: str) -> dict[str, int]:
    """What a function has kept of its fork, once it has."""

    def found() -> dict[str, dict[str, str]]:
        answer = engine.call("GetItem", {"TableName": "forks", "Key": {"pk": {"S": name}}, "ConsistentRead": True})
        item: dict[str, dict[str, str]] = answer.get("Item", {})
        return item

    wait_until(lambda: bool(found()), what=f"the fork of {name}")
    item = found()
    return {"pid": int(item["pid"]["N"]), "by": int(item["by"]["N"])}


@pytest.fixture
def living(engine: EngineUnderTest) -> Iterator[dict[str, dict[str, int]]]:
    """Forks that live, by whose they are."""
    engine.put("things", pk="a", do="live")
    found = {name: kept(engine, f"live/{name}") for name in ("work", "mapped")}
    yield found
    for each in found.values():
        os.kill(each["pid"], signal.SIGKILL)


def test_a_killed_engine_starts_again_beside_the_forks_that_it_has_left(
    engine: EngineUnderTest, living: dict[str, dict[str, int]]
) -> None:
    assert living["mapped"]["by"] == engine.pid
    engine.kill()
    wait_until(lambda: ended(living["work"]["by"]), what="the end of the app's process")
    engine.start()
    engine.put("things", pk="b", do="return")
    assert kept(engine, "return/work")["pid"] == 0


def test_the_engine_ends_with_the_app_s_process_whose_fork_lives_on(
    engine: EngineUnderTest, living: dict[str, dict[str, int]]
) -> None:
    assert living["work"]["by"] != engine.pid
    os.kill(living["work"]["by"], signal.SIGKILL)
    wait_until(lambda: ended(engine.pid), what="the end of the engine")


@pytest.mark.parametrize(("do", "status"), [("exit", 3), ("raise", 1), ("return", 0)])
def test_a_fork_that_comes_back_from_its_function_ends_there(engine: EngineUnderTest, do: str, status: int) -> None:
    engine.put("things", pk="a", do=do)
    assert kept(engine, f"{do}/work")["pid"] == status


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
