"""A large commit goes into the file while its record is written: nobody sees it before that is durable."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from afterwrite.errors import StorageError
from afterwrite.store.disk_write import DiskWrite
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.journal import Journal
from bounds import BOUND_S
from engine_process import wait_until

LARGE = b"x" * 20_000


def put(key: bytes, value: bytes = LARGE) -> Callable[[WriteTransaction], bytes]:
    def operation(transaction: WriteTransaction) -> bytes:
        transaction.put("ledger", key, value)
        return key

    return operation


def keys(environment: Environment) -> list[bytes]:
    with environment.read() as transaction:
        return [key for key, _ in transaction.scan("ledger", b"")]


class SlowDisk:
    """A disk whose writes of large records end when they are let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.let = threading.Event()
        self._is_begun = False
        monkeypatch.setattr(DiskWrite, "begin", lambda *_: self._begin())
        monkeypatch.setattr(DiskWrite, "end", lambda _: self._end())

    def _begin(self) -> bool:
        self._is_begun = True
        return True

    def _end(self) -> bool:
        if not self._is_begun:
            return True
        self._is_begun = False
        assert self.let.wait(BOUND_S)
        return False  # it was not written, so the journal does it now


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    return SlowDisk(monkeypatch)


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except StorageError as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, results


def is_in_file(environment: Environment, key: bytes) -> bool:
    with environment.lmdb.begin() as transaction:
        return transaction.get(key, db=environment.databases["ledger"].handle) is not None


def test_a_reader_waits_for_what_it_sees_to_be_durable(tmp_path: Path, disk: SlowDisk) -> None:
    environment = Environment(tmp_path)
    writing, answers = in_thread(lambda: environment.write(put(b"a")))
    wait_until(lambda: is_in_file(environment, b"a"))
    reading, seen = in_thread(lambda: keys(environment))
    reading.join(0.05)
    assert seen == answers == []
    disk.let.set()
    reading.join(BOUND_S)
    writing.join(BOUND_S)
    assert seen == [[b"a"]]
    assert answers == [b"a"]
    environment.close()


def test_what_cannot_be_made_durable_is_never_read_and_gone_at_the_next_start(
    tmp_path: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment(tmp_path)
    environment.write(put(b"small", b"x"))
    writing, answers = in_thread(lambda: environment.write(put(b"large")))
    wait_until(lambda: is_in_file(environment, b"large"))

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "fdatasync", fail)
        disk.let.set()
        writing.join(BOUND_S)
    assert "its journal cannot be written to" in str(answers[0])
    for attempt in (lambda: keys(environment), lambda: environment.write(put(b"next", b"x"))):
        with pytest.raises(StorageError, match="restart the engine"):
            attempt()
    environment.close()
    again = Environment(tmp_path)
    assert keys(again) == [b"small"]
    assert again.write(put(b"next", b"x")) == b"next"
    again.close()


class SlowSync:
    """LMDB's file, of which a sync ends when it is let."""

    def __init__(self, file: Any) -> None:
        self.begun, self.let = threading.Event(), threading.Event()
        self.begin, self.stat = file.begin, file.stat
        self._file = file

    def sync(self, force: bool) -> None:
        self.begun.set()
        assert self.let.wait(BOUND_S)
        self._file.sync(force)


@pytest.mark.parametrize("in_its_sync", [True, False])
def test_a_checkpoint_under_way_brings_nothing_back_that_was_refused(
    tmp_path: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch, in_its_sync: bool
) -> None:
    environment = Environment(tmp_path)
    environment.write(put(b"small", b"x"))
    ahead, due, file = environment._ahead, threading.Event(), SlowSync(environment.lmdb)
    monkeypatch.setattr(ahead, "_file", file)

    def fail(journal: Journal) -> None:
        journal._background.end()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Journal, "finish", fail)

    def prepare() -> bool:
        due.set()
        return True

    monkeypatch.setattr(ahead, "_prepare", prepare)
    if in_its_sync:
        ahead.urge()
        assert file.begun.wait(BOUND_S)
    writing, answers = in_thread(lambda: environment.write(put(b"large")))
    wait_until(lambda: is_in_file(environment, b"large"))
    if not in_its_sync:
        ahead.urge()
        assert due.wait(BOUND_S)
        time.sleep(0.05)  # it waits for the commit
    disk.let.set()
    writing.join(BOUND_S)
    assert "its journal cannot be written to" in str(answers[0])
    file.let.set()
    environment.close()
    again = Environment(tmp_path)
    assert keys(again) == [b"small"]
    again.close()


def test_closing_waits_for_the_commit_that_is_under_way(tmp_path: Path, disk: SlowDisk) -> None:
    environment = Environment(tmp_path)
    environment.drive(lambda: None)
    answers: list[Any] = []
    environment.submit(put(b"large"), lambda *answer: answers.append(answer))
    committing, _ = in_thread(environment.commit_waiting)
    wait_until(lambda: is_in_file(environment, b"large"))
    closing, _ = in_thread(environment.close)
    closing.join(0.1)
    disk.let.set()
    committing.join(BOUND_S)
    closing.join(BOUND_S)
    assert answers == [(b"large", None)]
    assert not any((tmp_path / "journal").iterdir())
    again = Environment(tmp_path)
    assert keys(again) == [b"large"]
    again.close()


def test_a_copy_holds_nothing_that_is_not_durable(tmp_path: Path, disk: SlowDisk) -> None:
    environment = Environment(tmp_path / "store")
    writing, _ = in_thread(lambda: environment.write(put(b"a")))
    wait_until(lambda: is_in_file(environment, b"a"))
    (tmp_path / "copy").mkdir()
    copying, _ = in_thread(lambda: environment.copy(tmp_path / "copy"))
    copying.join(0.1)
    assert copying.is_alive()
    disk.let.set()
    copying.join(BOUND_S)
    writing.join(BOUND_S)
    environment.close()


def test_a_commit_that_fails_meanwhile_is_taken_back(
    tmp_path: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Environment(tmp_path)
    disk.let.set()

    def fail(_transaction: WriteTransaction) -> None:
        raise lmdb.DiskError("No space left on device")

    with monkeypatch.context() as failing:
        failing.setattr(WriteTransaction, "commit", fail)
        with pytest.raises(StorageError, match="no space left"):
            environment.write(put(b"a"))
    assert keys(environment) == []
    assert environment.write(put(b"b")) == b"b"
    environment.close()
    again = Environment(tmp_path)
    assert keys(again) == [b"b"]
    again.close()


def test_who_drives_the_store_does_something_else_meanwhile(tmp_path: Path, disk: SlowDisk) -> None:
    environment = Environment(tmp_path)
    disk.let.set()
    answers: list[Any] = []
    found: list[list[bytes]] = []

    def meanwhile() -> None:
        found.append(keys(environment))
        environment.submit(put(b"next", b"x"), lambda *_: answers.append("next"))
        raise ValueError("what fails here is logged, and the commit goes on")

    environment.drive(lambda: None, meanwhile)
    environment.submit(put(b"large"), lambda *_: answers.append("large"))
    environment.commit_waiting()
    assert found == [[]]
    assert answers == ["large"]
    environment.commit_waiting()
    assert answers == ["large", "next"]
    assert keys(environment) == [b"large", b"next"]
    environment.close()


def test_a_small_commit_leaves_no_time_for_anything_else(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    called: list[None] = []
    environment.drive(lambda: None, lambda: called.append(None))
    environment.submit(put(b"a", b"x"), lambda *_: None)
    environment.commit_waiting()
    assert called == []
    environment.close()
