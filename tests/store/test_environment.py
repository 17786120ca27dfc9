"""Group commit: one durable transaction for the requests that wait together, each isolated from the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest

from afterwrite.errors import CorruptData, StorageError, StorageFull
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.file_errors import storage_error
from bounds import BOUND_S
from embedded import Clock, open_store
from engine_process import wait_until


def put(key: bytes, value: bytes = b"v") -> Callable[[WriteTransaction], bytes]:
    def operation(transaction: WriteTransaction) -> bytes:
        transaction.put("ledger", key, value)
        transaction.advance("puts")
        return key

    return operation


def keys(environment: Environment) -> list[bytes]:
    with environment.read() as transaction:
        return [key for key, _ in transaction.scan("ledger", b"")]


def puts(environment: Environment) -> int:
    with environment.read() as transaction:
        return transaction.counter("puts")


def commit_together(environment: Environment, *operations: Callable[[WriteTransaction], Any]) -> list[Any]:
    """Submit all operations while the writer is busy, so that one commit takes them; their results or errors."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: WriteTransaction) -> None:
        entered.set()
        assert go_on.wait(BOUND_S)

    answers: list[Any] = [None] * len(operations)
    answered = threading.Semaphore(0)

    def answer(index: int) -> Callable[[Any, BaseException | None], None]:
        def on_done(result: Any, error: BaseException | None) -> None:
            answers[index] = result if error is None else error
            answered.release()

        return on_done

    environment.submit(hold, lambda *_: None)
    assert entered.wait(BOUND_S)
    for index, operation in enumerate(operations):
        environment.submit(operation, answer(index))
    go_on.set()
    for _ in operations:
        assert answered.acquire(timeout=BOUND_S)
    return answers


class Follower:
    """Notes what its operation found and what it was told."""

    def __init__(self, environment: Environment, signals: Sequence[str]) -> None:
        self.told: list[Any] = []
        self.fails: Exception | None = None
        environment.follow(signals, self._run, self._done)

    def _run(self, transaction: WriteTransaction) -> list[bytes]:
        found = [key for key, _ in transaction.scan("ledger", b"")]
        put(b"followed")(transaction)
        if self.fails is not None:
            raise self.fails
        return found

    def _done(self, result: list[bytes] | None, error: BaseException | None) -> None:
        self.told.append(result if error is None else error)


def touching(signal: str, key: bytes) -> Callable[[WriteTransaction], bytes]:
    def operation(transaction: WriteTransaction) -> bytes:
        transaction.touch(signal)
        return put(key)(transaction)

    return operation


def test_a_fork_is_refused_to_write_and_does_not_wait_for_ever(environment: Environment) -> None:
    child = os.fork()
    if not child:
        status = 1
        try:
            environment.write(put(b"a"))
        except StorageError:
            status = 3
        finally:
            os._exit(status)
    statuses: list[int] = []

    def ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        statuses.append(os.waitstatus_to_exitcode(status))
        return bool(pid)

    try:
        wait_until(ended, what="the end of the fork")
    except AssertionError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    assert statuses[-1] == 3
    assert keys(environment) == []


def test_a_directory_whose_name_the_locale_cannot_write_is_as_good_as_any(tmp_path: Path) -> None:
    code = (
        "import os, sys, afterwrite; from pathlib import Path\n"
        "with afterwrite.open_engine(Path(sys.argv[1])) as engine: engine.back_up(Path(sys.argv[2]))\n"
    )
    places = [os.fsencode(tmp_path / name) for name in ("daten-für-später", "kopie-für-später")]
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ran = subprocess.run([sys.executable, "-c", code, *places], env=plain, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()


def test_a_follower_runs_once_at_the_end_of_a_commit_that_touches_what_it_follows(environment: Environment) -> None:
    follower = Follower(environment, ["a", "b"])
    environment.write(touching("c", b"0"))
    assert follower.told == []
    commit_together(environment, touching("a", b"1"), touching("b", b"2"), put(b"3"))
    assert follower.told == [[b"0", b"1", b"2", b"3"]]
    assert keys(environment) == [b"0", b"1", b"2", b"3", b"followed"]


def test_a_follower_that_fails_leaves_the_commit_alone_and_leaves_no_trace(environment: Environment) -> None:
    follower = Follower(environment, ["a"])
    follower.fails = ValueError("no")
    assert commit_together(environment, touching("a", b"1"), put(b"2")) == [b"1", b"2"]
    assert follower.told == [follower.fails]
    assert keys(environment) == [b"1", b"2"]
    assert puts(environment) == 2


def test_a_follower_is_not_told_of_a_commit_that_failed(environment: Environment) -> None:
    def fail(transaction: WriteTransaction) -> None:
        touching("a", b"1")(transaction)
        raise lmdb.DiskError("no")

    follower = Follower(environment, ["a"])
    with pytest.raises(StorageError):
        environment.write(fail)
    assert follower.told == []
    environment.write(touching("a", b"2"))
    assert follower.told == [[b"2"]]


def test_requests_that_wait_together_are_one_commit(environment: Environment, clock: Clock) -> None:
    times: list[int] = []

    def note_time(transaction: WriteTransaction) -> int:
        clock.advance(ms=1)
        times.append(transaction.now_us)
        return transaction.now_us

    commit_together(environment, note_time, note_time, note_time)
    assert len(set(times)) == 1


def test_a_request_that_fails_before_it_writes_leaves_the_others_alone(environment: Environment) -> None:
    runs: list[str] = []

    def refuse(_: WriteTransaction) -> None:
        runs.append("refuse")
        raise ValueError("no")

    first, failure, last = commit_together(environment, put(b"a"), refuse, put(b"b"))
    assert (first, last) == (b"a", b"b")
    assert isinstance(failure, ValueError)
    assert keys(environment) == [b"a", b"b"]
    assert runs == ["refuse"]


def test_a_request_that_fails_after_it_has_written_leaves_no_trace(environment: Environment) -> None:
    runs: list[str] = []

    def spoil(transaction: WriteTransaction) -> None:
        transaction.put("ledger", b"spoilt", b"")
        transaction.advance("puts", 100)
        transaction.remember("spoilt", True)
        raise ValueError("after writing")

    def counted(transaction: WriteTransaction) -> int:
        runs.append("counted")
        return transaction.advance("puts")

    answers = commit_together(environment, put(b"a"), counted, spoil, put(b"b"))
    assert answers[0] == b"a"
    assert answers[1] == 2
    assert isinstance(answers[2], ValueError)
    assert keys(environment) == [b"a", b"b"]
    assert puts(environment) == 3
    assert "spoilt" not in environment.state
    # The others ran again, without it.
    assert runs == ["counted", "counted"]


def test_every_spoiler_is_thrown_out_whatever_stands_beside_it(environment: Environment) -> None:
    def spoil(transaction: WriteTransaction) -> None:
        transaction.put("ledger", b"spoilt", b"")
        raise KeyError("spoilt")

    answers = commit_together(environment, spoil, put(b"a"), spoil, spoil, put(b"b"), spoil)
    assert [isinstance(answer, KeyError) for answer in answers] == [True, False, True, True, False, True]
    assert keys(environment) == [b"a", b"b"]


def test_a_key_that_the_file_cannot_hold_fails_its_own_request_only(environment: Environment) -> None:
    failure, other = commit_together(environment, put(b"k" * 600), put(b"a"))
    assert isinstance(failure, lmdb.BadValsizeError)
    assert other == b"a"
    assert keys(environment) == [b"a"]


def test_operations_of_one_commit_see_each_others_writes_and_counters(environment: Environment) -> None:
    def read(transaction: WriteTransaction) -> tuple[bytes | None, int]:
        return transaction.get("ledger", b"a"), transaction.counter("puts")

    _, seen = commit_together(environment, put(b"a", b"1"), read)
    assert seen == (b"1", 1)


def test_state_is_seen_by_others_once_it_is_committed(environment: Environment) -> None:
    def remember(transaction: WriteTransaction) -> Any:
        transaction.remember("kept", 1)
        return transaction.state["kept"], environment.state.get("kept")

    assert environment.write(remember) == (1, None)
    assert environment.state["kept"] == 1


def test_signals_wake_after_the_commit_and_only_who_watches(environment: Environment) -> None:
    watched, other = threading.Event(), threading.Event()
    environment.signals.watch(["mine"], watched)
    environment.signals.watch(["yours"], other)

    def touch(transaction: WriteTransaction) -> None:
        transaction.touch("mine")
        assert not watched.is_set()

    environment.write(touch)
    assert watched.wait(BOUND_S)
    assert not other.is_set()


def test_a_signal_of_a_request_that_failed_wakes_nobody(environment: Environment) -> None:
    watched = threading.Event()
    environment.signals.watch(["mine"], watched)

    def touch_and_fail(transaction: WriteTransaction) -> None:
        transaction.put("ledger", b"x", b"")
        transaction.touch("mine")
        raise ValueError

    commit_together(environment, touch_and_fail, put(b"a"))
    environment.write(put(b"b"))
    assert not watched.is_set()


def test_many_threads_lose_nothing_and_number_nothing_twice(environment: Environment) -> None:
    results: list[int] = []

    def work(name: int) -> None:
        for number in range(100):
            if number % 10 == 0:
                with pytest.raises(ValueError, match="spoilt"):
                    environment.write(spoil)
            results.append(environment.write(partial(numbered, f"{name}-{number}".encode())))

    def spoil(transaction: WriteTransaction) -> None:
        transaction.advance("puts")
        raise ValueError("spoilt")

    def numbered(key: bytes, transaction: WriteTransaction) -> int:
        transaction.put("ledger", key, b"")
        return transaction.advance("puts")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert sorted(results) == list(range(1, 801))
    assert len(keys(environment)) == 800
    assert puts(environment) == 800


def test_the_writer_outlives_an_answer_that_raises(environment: Environment) -> None:
    def on_done(*_: object) -> None:
        raise RuntimeError("the one who asked is gone")

    environment.submit(put(b"a"), on_done)
    environment.after_commit(on_done)
    assert environment.write(put(b"b")) == b"b"
    assert environment.write(put(b"c")) == b"c"
    assert keys(environment) == [b"a", b"b", b"c"]


def test_listeners_hear_of_each_commit_after_its_answers(environment: Environment) -> None:
    heard: list[str] = []
    done = threading.Event()

    def listen() -> None:
        heard.append("commit")
        done.set()

    environment.after_commit(listen)
    environment.submit(put(b"a"), lambda *_: heard.append("answer"))
    assert done.wait(BOUND_S)
    assert heard == ["answer", "commit"]


def test_time_never_runs_backwards(environment: Environment, clock: Clock) -> None:
    before = environment.write(lambda transaction: transaction.now_us)
    clock.advance(s=-3600)
    assert environment.write(lambda transaction: transaction.now_us) == before
    clock.advance(s=7200)
    assert environment.write(lambda transaction: transaction.now_us) > before


def test_what_is_committed_is_there_after_opening_again(tmp_path: Path, clock: Clock) -> None:
    first = open_store(tmp_path / "s", clock)
    first.write(put(b"a"))
    first.close()
    again = open_store(tmp_path / "s", clock)
    assert keys(again) == [b"a"]
    assert again.write(lambda transaction: transaction.advance("puts")) == 2
    again.close()


def test_close_commits_what_waits_and_refuses_what_comes_later(tmp_path: Path, clock: Clock) -> None:
    environment = open_store(tmp_path / "s", clock)
    answers: list[object] = []
    for number in range(50):
        environment.submit(put(b"%d" % number), lambda result, error: answers.append(error or result))
    environment.close()
    environment.close()
    assert len(answers) == 50
    assert all(isinstance(answer, bytes) for answer in answers)
    with pytest.raises(StorageError, match="closed"):
        environment.write(put(b"late"))


def test_who_drives_the_store_commits_on_its_own_thread(environment: Environment) -> None:
    woken = threading.Semaphore(0)
    environment.drive(woken.release)
    answers: list[tuple[Any, str]] = []

    def on_done(result: Any, error: BaseException | None) -> None:
        answers.append((result or error, threading.current_thread().name))

    environment.submit(put(b"a"), on_done)
    environment.submit(put(b"b"), on_done)
    assert woken.acquire(timeout=BOUND_S)
    assert answers == []
    environment.commit_waiting()
    assert answers == [(b"a", threading.current_thread().name), (b"b", threading.current_thread().name)]
    assert not woken.acquire(blocking=False)


def test_the_store_writes_by_itself_again_when_nobody_drives_it(environment: Environment) -> None:
    environment.drive(lambda: None)
    answered = threading.Event()
    environment.submit(put(b"a"), lambda *_: answered.set())
    environment.stop_driving()
    assert answered.wait(BOUND_S)
    assert environment.write(put(b"b")) == b"b"
    assert keys(environment) == [b"a", b"b"]


def test_a_reader_sees_one_commit_and_scans_both_ways(environment: Environment) -> None:
    for key in (b"a", b"b", b"c", b"d"):
        environment.write(put(key))
    with environment.read() as transaction:
        environment.write(put(b"e"))
        assert [key for key, _ in transaction.scan("ledger", b"")] == [b"a", b"b", b"c", b"d"]
        assert [key for key, _ in transaction.scan("ledger", b"b", b"d")] == [b"b", b"c"]
        assert [key for key, _ in transaction.scan("ledger", b"b", b"d", reverse=True)] == [b"c", b"b"]
        assert [key for key, _ in transaction.scan("ledger", b"", reverse=True)] == [b"d", b"c", b"b", b"a"]
        assert [key for key, _ in transaction.scan("ledger", b"x", b"z", reverse=True)] == []
        assert transaction.first("ledger", b"bb", b"z") == (b"c", b"v")
        assert transaction.first("ledger", b"e", b"z") is None


def test_a_store_of_another_format_is_refused(tmp_path: Path, clock: Clock) -> None:
    environment = open_store(tmp_path / "s", clock)
    environment.write(lambda transaction: transaction.put("meta", b"format", b"afterwrite 999"))
    environment.close()
    with pytest.raises(CorruptData, match="afterwrite 999"):
        open_store(tmp_path / "s", clock)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "data.mdb").write_bytes(b"something else" * 1000)
    with pytest.raises(StorageError, match=str(tmp_path)):
        open_store(tmp_path, clock)


def until_there_is_room(environment: Environment, operation: Callable[[WriteTransaction], Any]) -> None:
    deadline_s = time.monotonic() + BOUND_S
    while True:
        try:
            environment.write(operation)
        except StorageFull:
            assert time.monotonic() < deadline_s
        else:
            return


def test_a_full_map_fails_cleanly_and_serves_again_when_there_is_room(tmp_path: Path, clock: Clock) -> None:
    environment = open_store(tmp_path / "s", clock, map_bytes_max=1 << 20)
    kept = []
    with pytest.raises(StorageFull, match="nothing of the request was kept"):
        for number in range(1000):
            environment.write(put(b"%04d" % number, b"x" * 20_000))
            kept.append(b"%04d" % number)
    assert keys(environment) == kept
    assert puts(environment) == len(kept)

    def drop(transaction: WriteTransaction) -> None:
        for key in kept[:20]:
            transaction.delete("ledger", key)

    until_there_is_room(environment, drop)
    # Pages that a commit frees are there for the next but one, after a checkpoint, which a full file asks for.
    until_there_is_room(environment, put(kept[20]))
    until_there_is_room(environment, put(b"again", b"x" * 20_000))
    assert keys(environment) == [*kept[20:], b"again"]
    environment.close()


FULL_DISK = """
import os, resource, sys
from pathlib import Path
from afterwrite.errors import StorageFull
from afterwrite.store.environment import Environment

directory = Path(sys.argv[1])
environment = Environment(directory)
acknowledged = []
def put(number):
    environment.write(lambda transaction: transaction.put("ledger", b"%06d" % number, b"x" * 3000))
    acknowledged.append(number)
for number in range(50):
    put(number)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
failures = 0
# Limits at odd places: a write that finds room for its first half is the disk's way of being full, too.
for room in (100, 5000, 70_000):
    size = os.path.getsize(directory / "data.mdb")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    for number in range(1000, 1100):
        try:
            put(number * 10 + failures)
        except StorageFull:
            failures += 1
            if failures % 5 == 0:
                break
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for number in range(50):
    put(900_000 + number)
environment.close()
found = Environment(directory)
with found.read() as transaction:
    keys = sorted(int(key) for key, _ in transaction.scan("ledger", b""))
found.close()
print(failures, keys == sorted(set(acknowledged)), len(keys))
"""


def test_a_disk_that_fills_up_fails_cleanly_and_serves_again_when_space_returns(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 0, done.stderr
    failures, exact, count = done.stdout.split()
    assert int(failures) >= 3
    assert exact == "True"
    assert int(count) >= 100


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (lmdb.MapFullError("mdb_put"), StorageFull),
        (lmdb.DiskError("mdb_txn_commit: No space left on device"), StorageFull),
        (lmdb.Error("mdb_txn_commit: Disk quota exceeded"), StorageFull),
        (lmdb.CorruptedError("mdb_get"), CorruptData),
        (lmdb.PanicError("mdb_txn_begin"), StorageError),
        (lmdb.MemoryError("mdb_env_open: Cannot allocate memory"), StorageError),
        (lmdb.Error("anything"), StorageError),
    ],
)
def test_failures_of_the_file_are_classified_once(failure: Exception, kind: type[StorageError]) -> None:
    error = storage_error(failure, Path("/data/store"))
    assert type(error) is kind
    assert "/data/store" in str(error)


@pytest.mark.parametrize(
    "failure", [OSError(24, "Too many open files"), OSError(23, ""), lmdb.Error("mdb_env_open: Too many open files")]
)
def test_whoever_finds_no_descriptor_free_is_told_that_and_what_to_do(failure: Exception) -> None:
    error = storage_error(failure, Path("/data/store"))
    assert type(error) is StorageError
    assert "nothing of the request was kept; close connections, or let the process have more" in str(error)


def test_a_reader_that_may_not_write_is_told_where_it_has_to() -> None:
    error = storage_error(lmdb.ReadonlyError("/data/store: Permission denied"), Path("/data/store"))
    assert str(error).startswith("expected to be allowed to write /data/store/lock.mdb")


def test_dead_readers_are_forgotten(tmp_path: Path, clock: Clock) -> None:
    environment = open_store(tmp_path / "s", clock)
    environment.write(put(b"a"))
    die_reading = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from afterwrite.store.environment import Environment\n"
        "with Environment(Path(sys.argv[1]), readonly=True).read() as transaction:\n"
        "    assert transaction.get('ledger', b'a')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", die_reading, str(tmp_path / "s")], timeout=BOUND_S, check=False)
    assert done.returncode == -9
    assert environment.release_dead_readers() == 1
    environment.close()
