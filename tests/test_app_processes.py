"""An app in processes of its own: it does what it does in one, and no process outlives another."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterwrite import App, config, errors, forks, open_data
from afterwrite.local import lake
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.other_processes import (
    Committed,
    EnvironmentElsewhere,
    FirstProcess,
    Frames,
    Raised,
    Shared,
    as_error,
    frame,
    raised,
)
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


def process(engine: EngineUnderTest, which: str) -> int:
    """The pid of the process that writes ("first"), runs the app's functions ("flows"), or writes its "files"."""
    if which == "first":
        return engine.pid
    if which == "flows":
        return int(found_after(engine, f"asked-of-{engine.pid}", "conflict")["pid"]["N"])
    engine.put("things", PK=f"written-by-{engine.pid}", do="conflict")
    wait_until(lambda: bool(with_the_log_open(engine)), what="an open audit log")
    (pid,) = with_the_log_open(engine)
    return pid


def with_the_log_open(engine: EngineUnderTest) -> list[int]:
    return [pid for pid in (engine.pid, *engine.forked) if has_open(pid, DataDirectory(engine.data).audit)]


def has_open(pid: int, directory: Path) -> bool:
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            if each.readlink().is_relative_to(directory):
                return True
    return False


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def none_is_alive(pids: Iterable[int]) -> bool:
    return not any(map(is_alive, pids))


def put_things(engine: EngineUnderTest, keys: Iterable[str]) -> None:
    for key in keys:
        engine.put("things", PK=key, do="conflict")


def in_files(engine: EngineUnderTest, things: int) -> None:
    """Wait until all is done, and expect each of the things once in the lake and once in the audit log."""
    with open_data(engine.data) as reader:
        wait_until(lambda: all(found(engine, f"thing-{number}") for number in range(things)) and reader.idle())
        entries = [entry["entry"]["key"] for entry in reader.audit_entries("trail")]
    rows = [row["key"] for row in lake.read(DataDirectory(engine.data).lake, "lake")]
    assert sorted(rows) == sorted(entries) == sorted({*entries})
    assert {f"thing-{number}" for number in range(things)} <= {*entries}


@on_two_cores
def test_functions_read_and_write_from_their_process_and_are_refused_in_the_same_words(
    engine: EngineUnderTest,
) -> None:
    assert found_after(engine, "a", "conflict")["found"] == {"S": "ConditionalCheckFailedException"}
    assert found_after(engine, "b", "cancel")["found"] == {"L": [{"S": "None"}, {"S": "ConditionalCheckFailed"}]}
    assert int(found_after(engine, "c", "count")["found"]["N"]) >= 1500
    assert found_after(engine, "d", "large")["found"] == {"M": {"1": {"N": "300000"}, "2": {"N": "390000"}}}


@on_two_cores
@pytest.mark.parametrize(
    ("processes", "same"),
    [
        ("one", [["first", "flows", "files"]]),
        ("two", [["first"], ["flows", "files"]]),
        ("three", [["first"], ["flows"], ["files"]]),
        ("auto", [["first"], ["flows"], ["files"]]),
    ],
)
def test_an_app_runs_in_as_many_processes_as_are_asked_for(
    tmp_path: Path, processes: str, same: list[list[str]]
) -> None:
    with EngineUnderTest(APP, tmp_path / "data", options=["--processes", processes]) as engine:
        put_things(engine, ["thing-0"])
        in_files(engine, 1)
        pids = [{process(engine, which) for which in together} for together in same]
        assert [len(each) for each in pids] == [1] * len(same)
        assert set[int]().union(*pids) == {engine.pid, *engine.forked}
        assert len(engine.forked) == len(same) - 1


@on_two_cores
def test_who_writes_and_who_runs_functions_are_on_different_cores_and_who_writes_files_is_left_to_the_system(
    engine: EngineUnderTest,
) -> None:
    first, flows, files = (os.sched_getaffinity(process(engine, which)) for which in ("first", "flows", "files"))
    assert len(first) == len(flows) == 1
    assert first != flows
    assert files == os.sched_getaffinity(0)


@on_two_cores
def test_a_clean_stop_ends_all_and_leaves_nothing_undone(engine: EngineUnderTest) -> None:
    forked = engine.forked
    put_things(engine, (f"thing-{number}" for number in range(20)))
    assert engine.stop() == 0
    assert none_is_alive(forked)
    assert DataDirectory(engine.data).holder() is None
    engine.start()
    in_files(engine, 20)


@on_two_cores
def test_what_ends_the_functions_process_ends_the_others_in_the_same_way(engine: EngineUnderTest) -> None:
    forked = engine.forked
    engine.put("things", PK="x", do="crash")
    assert engine._ended(engine._running()) == 7
    assert "the app's process has ended" in engine.log.read_text()
    wait_until(lambda: none_is_alive(forked) and DataDirectory(engine.data).holder() is None)


@on_two_cores
@pytest.mark.parametrize("which", ["first", "flows", "files"])
def test_a_process_that_is_killed_takes_the_others_with_it_and_the_next_start_goes_on(
    engine: EngineUnderTest, which: str
) -> None:
    things = 0
    for _ in range(3):
        forked, killed = engine.forked, process(engine, which)
        assert len(forked) == 2
        put_things(engine, (f"thing-{number}" for number in range(things, things + 20)))
        things += 20
        os.kill(killed, signal.SIGKILL)
        assert engine._ended(engine._running()) == -signal.SIGKILL
        wait_until(partial(none_is_alive, forked))
        wait_until(lambda: DataDirectory(engine.data).holder() is None)
        engine.start()
    in_files(engine, things)


@on_two_cores
def test_without_the_first_a_process_ends_while_another_does_not(engine: EngineUnderTest) -> None:
    for which in ("flows", "files"):
        stopped = process(engine, which)
        others = [pid for pid in engine.forked if pid != stopped]
        os.kill(stopped, signal.SIGSTOP)
        engine.kill()
        wait_until(partial(none_is_alive, others))
        os.kill(stopped, signal.SIGKILL)
        wait_until(lambda: DataDirectory(engine.data).holder() is None)
        engine.start()


@on_two_cores
@pytest.mark.parametrize("processes", ["one", "two", "three"])
def test_a_file_that_cannot_be_opened_is_told_at_the_start_and_no_function_has_run(
    tmp_path: Path, processes: str
) -> None:
    data = tmp_path / "data"
    with EngineUnderTest(APP, data) as engine:
        put_things(engine, ["thing-0"])
        in_files(engine, 1)
        engine.stop()
    with EngineUnderTest(None, data) as engine:
        put_things(engine, ["thing-1"])
        engine.stop()
    (segment,) = DataDirectory(data).audit.rglob("*.jsonl")
    content = segment.read_bytes()
    segment.chmod(0o644)
    segment.write_bytes(b"")
    command = [sys.executable, "-m", "afterwrite", "run", str(APP)]
    done = subprocess.run(
        [*command, "--data", str(data), "--listen", "127.0.0.1:0", "--processes", processes],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"expected {len(content)} bytes in {segment}, found 0" in done.stderr
    assert DataDirectory(data).holder() is None
    with EngineUnderTest(None, data) as engine:
        assert found(engine, "thing-1") is None
        engine.stop()
    segment.write_bytes(content)
    with EngineUnderTest(APP, data) as engine:
        in_files(engine, 2)


KILLED_BEFORE_ITS_BEGIN = """
import os, signal, sys, time
from dataclasses import replace
from pathlib import Path
from afterwrite import App, config
from afterwrite.wiring import Engine
from afterwrite.wiring.app_processes import AppProcesses
from afterwrite.wiring.works import Part

app = App("killed")
settings = replace(config.load(), data=Path(sys.argv[1]), port=0)
processes = AppProcesses(app, settings, {frozenset([part]): lambda: None for part in Part})
killed = processes.pid_of(Part[sys.argv[2]])
os.kill(killed, signal.SIGKILL)
while os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
    time.sleep(0.01)
Engine(app, settings, processes=processes).start()
"""


@on_two_cores
@pytest.mark.parametrize("part", Part)
def test_a_process_that_is_killed_before_it_begins_ends_the_engine_in_the_same_way(tmp_path: Path, part: Part) -> None:
    command = [sys.executable, "-c", KILLED_BEFORE_ITS_BEGIN, str(tmp_path / "data"), part.name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "the app's process has ended" in done.stderr
    assert DataDirectory(tmp_path / "data").holder() is None


def test_a_process_is_told_of_what_it_waits_for_and_of_nothing_else(tmp_path: Path) -> None:
    environment = open_store(tmp_path / "store", Clock())
    environment.state["catalog"] = {}
    told: list[list[Committed]] = [[], []]

    def process_that_is_told(told: list[Committed]) -> FirstProcess:
        return FirstProcess(environment, lambda name, body: None, lambda sent: told.extend(Frames().take(sent)))

    processes = [process_that_is_told(each) for each in told]

    def write(*signals: str, tables: Mapping[str, Any] | None = None) -> None:
        def touch(transaction: WriteTransaction) -> None:
            transaction.advance("count")
            for name in signals:
                transaction.touch(name)
            if tables is not None:
                transaction.state["catalog"] = tables

        environment.write(touch)
        environment.write(lambda transaction: None)  # after the commit before was told of

    write("a", "b")
    assert [[each.signals for each in to] for to in told] == [[{"a", "b"}], [{"a", "b"}]]
    processes[0].tell_only(frozenset("a"), catalog=False)
    processes[1].tell_only(frozenset("bc"), catalog=True)
    write("a")
    write("b", "c")
    write(tables={"things": None})
    assert [(each.signals, each.catalog) for each in told[0][1:]] == [({"a"}, None)]
    assert [(each.signals, each.catalog) for each in told[1][1:]] == [({"b", "c"}, None), (set(), {"things": None})]
    environment.close()


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


@pytest.mark.parametrize(("value", "kind"), [("text", bytes), (UUID(int=1), dict), ("half \ud800", dict), (0.5, dict)])
def test_a_body_is_sent_as_json_text_where_that_says_the_same(tmp_path: Path, value: Any, kind: type) -> None:
    open_store(tmp_path / "store", Clock()).close()
    connection, first = socket.socketpair()
    elsewhere = EnvironmentElsewhere(tmp_path / "store", connection, Shared(Settling()))
    elsewhere.begin(on_stop=lambda: None, on_lost=lambda: None)
    bodies: list[Any] = []

    def answer() -> None:
        (asked,) = Frames().take(first.recv(1 << 16))
        bodies.append(asked.body)
        first.sendall(frame(Committed(0, [(asked.number, {}, None)], set(), None)))

    body = {"Item": {"pk": {"S": value}}}
    with connection, first:
        answering = threading.Thread(target=answer)
        answering.start()
        assert elsewhere.carry_out("PutItem", body) == {}
        answering.join(BOUND_S)
    elsewhere.close()
    assert [type(each) for each in bodies] == [kind]
    assert (json.loads(bodies[0]) if kind is bytes else bodies[0]) == body


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
