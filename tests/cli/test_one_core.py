"""The engine's threads share a core, and leave it to others where it is not needed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from afterwrite.cli import one_core
from afterwrite.cli.one_core import OneCore, core_to_use

on_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)

SETTLED = """
import os, threading
from afterwrite.cli.one_core import OneCore
allowed = os.sched_getaffinity(0)
keeper = OneCore()
sum(range(3_000_000))
keeper.settle()
seen = []
thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
thread.start()
thread.join()
print(len(os.sched_getaffinity(0)), seen[0] == os.sched_getaffinity(0), os.sched_getaffinity(0) <= allowed)
"""


def test_the_first_core_is_the_idlest() -> None:
    assert core_to_use(-1, {0: 0.5, 1: 0.1, 2: 0.3}, own=0.0) == 1


@pytest.mark.parametrize(
    ("current", "busy", "expected"),
    [
        (-1, {0: 0.0, 1: 0.9}, 1),  # at first, too
        (0, {0: 0.0, 1: 0.9, 2: 0.5}, 2),
        (1, {0: 0.0, 1: 1.0}, 1),  # however idle it is
        (0, {0: 0.9}, 0),  # there is no other
    ],
)
def test_the_core_of_the_other_process_is_left_to_it(current: int, busy: dict[int, float], expected: int) -> None:
    assert core_to_use(current, busy, own=0.0, taken={0}) == expected


@pytest.mark.parametrize(
    ("busy", "own", "expected"),
    [
        ({0: 1.0, 1: 0.1}, 1.0, 0),  # it is this process that keeps it busy
        ({0: 1.0, 1: 0.1}, 0.4, 1),  # others do
        ({0: 1.0, 1: 0.9}, 0.4, 0),  # and the other core is no better
        ({0: 0.2, 1: 0.0}, 0.0, 0),  # they do not disturb
        ({1: 0.9, 2: 0.8}, 0.5, 2),  # it may not be used any more
    ],
)
def test_a_core_is_left_when_others_need_it_and_another_is_free(
    busy: dict[int, float], own: float, expected: int
) -> None:
    assert core_to_use(0, busy, own) == expected


@on_two_cores
def test_threads_start_where_the_process_has_settled() -> None:
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True", "True"]


@on_two_cores
def test_threads_that_are_in_place_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[tuple[int, set[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: placed.append((thread, cores)))
    chosen = iter([0, 0, 0, 1])
    monkeypatch.setattr(one_core, "core_to_use", lambda *_: next(chosen))
    idle = threading.Event()
    threads = [threading.Thread(target=idle.wait, daemon=True) for _ in range(50)]
    for thread in threads[:-1]:
        thread.start()
    keeper = OneCore()

    def settled() -> list[tuple[int, set[int]]]:
        placed.clear()
        keeper.settle()
        return list(placed)

    assert len(settled()) >= 50
    assert settled() == []
    threads[-1].start()
    assert settled() == [(threads[-1].native_id, {0})]
    assert len(settled()) >= 51
    idle.set()


@on_two_cores
@pytest.mark.parametrize("name", ["_STATISTICS", "_THREADS"])
def test_a_system_that_does_not_say_what_it_does_ends_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[int] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, _: placed.append(thread))
    keeper = OneCore()
    with monkeypatch.context() as patch:
        patch.setattr(one_core, name, tmp_path / "missing")
        keeper.settle()
        assert placed == []
    keeper.settle()
    keeper.settle()
    assert placed
