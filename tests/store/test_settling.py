"""What is in the file and not on the disk yet is waited for, by processes that were forked, too."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from afterwrite.errors import StorageError
from afterwrite.store import settling
from afterwrite.store.settling import Settling
from bounds import BOUND_S

NAPS = 30


def test_who_sees_nothing_of_it_waits_for_nothing() -> None:
    commits = Settling()
    commits.wait(7)
    commits.begin(8)
    commits.wait(7)
    commits.end()
    commits.wait(8)


def test_who_sees_it_waits_until_it_is_durable() -> None:
    commits = Settling()
    commits.begin(8)
    seen = threading.Event()

    def wait() -> None:
        commits.wait(8)
        seen.set()

    threading.Thread(target=wait, daemon=True).start()
    assert not seen.wait(0.05)
    commits.end()
    assert seen.wait(BOUND_S)


def test_what_will_never_be_durable_is_refused_and_what_was_before_is_not() -> None:
    commits = Settling()
    commits.begin(8)
    commits.give_up()
    commits.wait(7)
    with pytest.raises(StorageError, match="restart the engine"):
        commits.wait(8)


def test_a_disk_that_never_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_WAIT_S_MAX", 0.01)
    commits = Settling()
    commits.begin(8)
    with pytest.raises(StorageError, match="check the disk"):
        commits.wait(9)


def test_a_forked_process_knows_of_it() -> None:
    commits = Settling()
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.read(told, 1)
            commits.wait(8)
        except StorageError:
            os._exit(3)
        os._exit(0)
    commits.begin(8)
    commits.give_up()
    os.write(tell, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    os.close(told)
    os.close(tell)


def test_of_many_who_wait_one_looks_and_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[tuple[int, float]] = []
    napped = threading.Event()
    sleep = time.sleep

    def nap(seconds: float) -> None:
        naps.append((threading.get_ident(), seconds))
        if len(naps) == NAPS:
            napped.set()
        sleep(seconds)

    commits = Settling()
    commits.begin(8)
    monkeypatch.setattr(time, "sleep", nap)
    waiting = [threading.Thread(target=commits.wait, args=(8,), daemon=True) for _ in range(40)]
    for each in waiting:
        each.start()
    assert napped.wait(BOUND_S)
    commits.end()
    for each in waiting:
        each.join(BOUND_S)
    assert not any(each.is_alive() for each in waiting)
    threads, seconds = {thread for thread, _ in naps[:NAPS]}, [each for _, each in naps[:NAPS]]
    assert len(threads) == 1
    assert seconds == sorted(seconds)
    assert seconds[-1] >= 10 * seconds[0]


def test_who_waits_for_one_commit_does_not_wait_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    commits = Settling()
    looks = threading.Event()
    sleep, monotonic = time.sleep, time.monotonic
    late = threading.Thread(target=commits.wait, args=(8,), daemon=True)
    next_one = threading.Thread(target=commits.wait, args=(9,), daemon=True)

    def nap(seconds: float) -> None:
        looks.set()
        sleep(seconds)

    def held_up() -> float:
        """`late` has seen commit 8 and comes to wait for it when others look for commit 9."""
        if threading.current_thread() is late and not next_one.ident:
            commits.end()
            commits.begin(9)
            next_one.start()
            assert looks.wait(BOUND_S)
        return monotonic()

    monkeypatch.setattr(time, "sleep", nap)
    monkeypatch.setattr(time, "monotonic", held_up)
    commits.begin(8)
    late.start()
    late.join(10)
    assert not late.is_alive() and next_one.is_alive()
    commits.end()
    next_one.join(BOUND_S)


def test_a_process_forked_while_somebody_looks_waits_no_longer_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    commits = Settling()
    commits.begin(8)
    looks = threading.Event()
    sleep, monotonic = time.sleep, time.monotonic

    def nap(seconds: float) -> None:
        looks.set()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", nap)
    looker = threading.Thread(target=commits.wait, args=(8,), daemon=True)
    looker.start()
    assert looks.wait(BOUND_S)
    waits, tell = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            monkeypatch.setattr(time, "monotonic", lambda: (os.write(tell, b"."), monotonic())[1])
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)  # which ends a process that waits for ever
            commits.wait(8)
            status = 0
        finally:
            os._exit(status)
    assert os.read(waits, 1) == b"."
    commits.end()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    looker.join(BOUND_S)
    os.close(waits)
    os.close(tell)
