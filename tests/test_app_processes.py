"""An app in a second process: it does what it does in one, and neither process outlives the other."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite import App, config, errors, forks, open_data
from afterwrite.local import lake
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.other_processes import EnvironmentElsewhere, Frames, Raised, Shared, as_error, frame, raised
from afterwrite.store.ring_buffer import RingBuffer
from afterwrite.store.settling import Settling
from afterwrite.wiring import app_processes as wired
from afterwrite.wiring.app_processes import AppProcesses
from afterwrite.wiring.works import Part
from bounds import BOUND_S
from embedded import Clock, open_store
from engine_process import EngineUnderTest, wait_until

APP = Path(__file__).with_name("processes_app.py")

on_two_cores = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineUnderTest]:
    with EngineUnderTest(APP, tmp_path / "data") as started:
        yield started


def found(engine: EngineUnderTest, key: str) -> dict[str, Any] | None:
    """What the function has kept for the thing, in the wire form."""
    item = engine.call("GetItem", {"TableName": "results", "Key": {"PK": {"S": f"found/{key}"}}}).get("Item")
    assert item is None or isinstance(item, dict)
    return item


def found_after(engine: EngineUnderTest, key: str, do: str) -> dict[str, Any]:
    engine.put("things", PK=key, do=do)
    wait_until(lambda: found(engine, key) is not None, what=f"the result of {do}")
    item = found(engine, key)
    assert item is not None
    return item


def second(engine: EngineUnderTest) -> int:
    """The pid of the process that runs the app's functions."""
    return int(found_after(engine, "who", "conflict")["pid"]["N"])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@on_two_cores
def test_functions_read_and_write_from_the_second_process_and_are_refused_in_the_same_words(
    engine: EngineUnderTest,
) -> None:
    assert found_after(engine, "a", "conflict")["found"] == {"S": "ConditionalCheckFailedException"}
    assert found_after(engine, "b", "cancel")["found"] == {"L": [{"S": "None"}, {"S": "ConditionalCheckFailed"}]}
    assert int(found_after(engine, "c", "count")["found"]["N"]) >= 1500
    assert found_after(engine, "d", "large")["found"] == {"M": {"1": {"N": "300000"}, "2": {"N": "390000"}}}
    assert second(engine) != engine.pid


@on_two_cores
def test_the_two_processes_are_on_different_cores(engine: EngineUnderTest) -> None:
    first, other = os.sched_getaffinity(engine.pid), os.sched_getaffinity(second(engine))
    assert len(first) == len(other) == 1
    assert first != other


@on_two_cores
def test_a_clean_stop_ends_both_and_leaves_nothing_undone(engine: EngineUnderTest) -> None:
    pid = second(engine)
    for number in range(20):
        engine.put("things", PK=f"thing-{number}", do="conflict")
    assert engine.stop() == 0
    assert not is_alive(pid)
    assert DataDirectory(engine.data).holder() is None
    engine.start()
    with open_data(engine.data) as reader:
        wait_until(lambda: all(found(engine, f"thing-{number}") for number in range(20)) and reader.idle())
        entries = [entry["entry"]["key"] for entry in reader.audit_entries("trail")]
    rows = [row["key"] for row in lake.read(DataDirectory(engine.data).lake, "lake")]
    assert sorted(rows) == sorted(entries) == sorted({*entries})


@on_two_cores
def test_what_ends_the_second_process_ends_the_first_in_the_same_way(engine: EngineUnderTest) -> None:
    engine.put("things", PK="x", do="crash")
    assert engine._ended(engine._running()) == 7
    assert "the app's process has ended" in engine.log.read_text()
    assert DataDirectory(engine.data).holder() is None


@on_two_cores
@pytest.mark.parametrize("which", ["first", "second"])
def test_a_process_that_is_killed_takes_the_other_with_it_and_the_next_start_goes_on(
    engine: EngineUnderTest, which: str
) -> None:
    other = second(engine)
    os.kill(engine.pid if which == "first" else other, signal.SIGKILL)
    assert engine._ended(engine._running()) == -signal.SIGKILL
    wait_until(lambda: not is_alive(other) and DataDirectory(engine.data).holder() is None)
    engine.start()
    assert found_after(engine, "after", "conflict")["found"] == {"S": "ConditionalCheckFailedException"}


ERRORS = [
    errors.ConditionalCheckFailed({"PK": {"S": "x"}}),
    errors.TransactionCanceled([{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": {}}]),
    errors.EmptyKey("One is empty"),
    errors.ServiceError("ResourceNotFoundException", "none", status=404, fields={"a": 1}),
    errors.Throttled("slower", retry_after_s=3.0),
    errors.StorageFull("no space"),
    KeyError("a"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_on_the_other_side(error: BaseException) -> None:
    arrived = as_error(pickle.loads(pickle.dumps(raised(error))))
    assert type(arrived) is type(error)
    assert (arrived.args, str(arrived), vars(arrived)) == (error.args, str(error), vars(error))


@pytest.mark.parametrize(
    "error",
    [
        UnicodeEncodeError("utf-8", "half \ud800", 5, 6, "surrogates not allowed"),
        OSError(28, "No space left on device"),
        KeyError("name"),
        SystemExit(3),
    ],
)
def test_an_error_of_the_language_has_its_words_on_the_other_side(error: BaseException) -> None:
    arrived = as_error(pickle.loads(pickle.dumps(raised(error))))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    error = errors.StorageError("stuck")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    assert raised(error) == Raised(RuntimeError, ("StorageError: stuck",), {})


@given(st.lists(st.binary(max_size=200), max_size=8), st.data())
def test_frames_arrive_whole_however_they_are_cut(contents: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(map(frame, contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    frames = Frames()
    arrived = [
        each for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True) for each in frames.take(sent[start:end])
    ]
    assert arrived == contents


@given(st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=8))
def test_what_is_in_shared_memory_arrives_in_its_place(contents: list[tuple[bytes, bool]]) -> None:
    memory = RingBuffer(4096)
    sent = b""
    for content, is_shared in contents:
        piece = memory.write(pickle.dumps(content)) if is_shared else None
        sent += frame(content if piece is None else piece)
    assert list(Frames(memory).take(sent)) == [content for content, _ in contents]


@on_two_cores
def test_a_process_that_does_not_end_is_killed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    signals: list[int] = []
    kill = os.kill

    def killed_late(pid: int, number: int) -> None:
        signals.append(number)
        threading.Timer(0.1, kill, (pid, number)).start()

    settings = replace(config.load(), data=tmp_path)
    processes = AppProcesses(App("stopped"), settings, {frozenset(Part): lambda: None})
    kill(processes.pid_of(Part.FLOWS), signal.SIGSTOP)
    monkeypatch.setattr(os, "kill", killed_late)
    monkeypatch.setattr(wired, "_END_S_MAX", 0.0)
    processes.stop()
    assert signals == [signal.SIGKILL]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_fork_is_refused_to_write_and_spoils_nothing_that_is_on_its_way(tmp_path: Path, size: int) -> None:
    open_store(tmp_path / "store", Clock()).close()
    shared = Shared(Settling())
    connection, first = socket.socketpair()
    elsewhere = EnvironmentElsewhere(tmp_path / "store", connection, shared)
    forks.withhold(connection.fileno())
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.read(told, 1)
            elsewhere.write(partial(max, "b" * size))
        except errors.StorageError:
            status = 3
        finally:
            os._exit(status)
    elsewhere.submit(partial(max, "a" * size), lambda result, error: None)
    os.write(tell, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    (arrived,) = Frames(shared.sent).take(first.recv(1 << 20))
    assert arrived.run.args == ("a" * size,)
    forks.let_go(connection.fileno())
    for each in (connection, first):
        each.close()
    for descriptor in (told, tell):
        os.close(descriptor)
    elsewhere.close()


def test_a_first_process_that_is_not_understood_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_store(tmp_path / "store", Clock()).close()
    connection, first = socket.socketpair()
    elsewhere = EnvironmentElsewhere(tmp_path / "store", connection, Shared(Settling()))
    lost = threading.Event()
    elsewhere.begin(on_stop=lambda: None, on_lost=lost.set)
    first.sendall(frame("no commit"))
    assert lost.wait(BOUND_S)
    assert "is not understood" in caplog.text
    for each in (connection, first):
        each.close()
    elsewhere.close()
