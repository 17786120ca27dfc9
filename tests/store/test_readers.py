"""More threads read at once than the store's file has places for readers: those that find none wait for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from afterwrite.errors import StorageError
from afterwrite.store import environment as environments
from afterwrite.store import reading
from afterwrite.store.environment import Environment
from bounds import BOUND_S
from engine_process import wait_until

PLACES = 8
LOOKS = 50


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    monkeypatch.setattr(environments, "READERS_MAX", PLACES)
    environment = Environment(tmp_path / "store")
    yield environment
    environment.close()


def take_every_place(environment: Environment, taken: ExitStack) -> None:
    while environment.lmdb.info()["num_readers"] < PLACES:
        taken.enter_context(environment.read())


def test_a_reader_that_finds_no_place_waits_for_one(environment: Environment) -> None:
    seen: list[int] = []

    def read() -> None:
        with environment.read() as transaction:
            seen.append(transaction.counter("record"))

    with ExitStack() as taken:
        take_every_place(environment, taken)
        waiting = [threading.Thread(target=read, daemon=True) for _ in range(3 * PLACES)]
        for each in waiting:
            each.start()
        environment.write(lambda transaction: transaction.advance("puts"))
        assert seen == []
    for each in waiting:
        each.join(BOUND_S)
    assert seen == [1] * len(waiting)


def test_of_those_that_wait_for_a_place_one_looks(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    looking: list[int] = []
    looked = threading.Event()
    sleep = time.sleep

    def nap(seconds: float) -> None:
        looking.append(threading.get_ident())
        if len(looking) == LOOKS:
            looked.set()
        sleep(seconds)

    def read() -> None:
        with environment.read():
            pass

    with ExitStack() as taken:
        take_every_place(environment, taken)
        waiting = [threading.Thread(target=read, daemon=True) for _ in range(20)]
        with monkeypatch.context() as patched:
            patched.setattr(time, "sleep", nap)
            for each in waiting:
                each.start()
            assert looked.wait(BOUND_S)
            assert len(set(looking[:LOOKS])) == 1
    wait_until(lambda: not any(each.is_alive() for each in waiting))


def test_places_that_are_never_free_are_an_error(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_WAIT_S_MAX", 0.0)
    with ExitStack() as taken:
        take_every_place(environment, taken)
        with pytest.raises(StorageError, match="MDB_READERS_FULL"), environment.read():
            pass
