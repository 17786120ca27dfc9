from __future__ import annotations

import itertools
import json
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from afterwrite import App, open_engine
from bounds import BOUND_S
from cli.conftest import Run
from engine_process import EngineUnderTest, wait_until

# On a busy machine the interpreter alone takes long to start.


class Tail:
    """A running `afterwrite tail`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in cast("IO[str]", self.process.stdout):
            self._lines.put(line)

    def has_told(self) -> bool:
        """Whether it has printed a line that is not read yet."""
        return not self._lines.empty()

    def next(self) -> dict[str, Any]:
        """The next line's JSON object."""
        return cast("dict[str, Any]", json.loads(self._lines.get(timeout=BOUND_S)))

    def interrupt(self) -> tuple[int, str]:
        """Ctrl-C; the exit status and what it printed on standard error."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=BOUND_S)
        self._thread.join(timeout=BOUND_S)
        return status, cast("IO[str]", self.process.stderr).read()


@contextmanager
def tailing(*arguments: str | Path) -> Iterator[Tail]:
    command = [sys.executable, "-m", "afterwrite", "tail", *map(str, arguments), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        tail = Tail(process)
        try:
            yield tail
        finally:
            process.kill()


def fates(change: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Each effect by type and target, with the places it went to and what became of it there."""
    return {
        f"{effect['type']} {effect['target']}": [(fate["target"], fate["state"]) for fate in effect["fates"]]
        for effect in change["effects"]
    }


def test_every_outcome_is_told(written: EngineUnderTest, cli: Run) -> None:
    done = cli("tail", written.app, "--data", written.data, "--from-start", "--limit", "4", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    good, bad, parked, behind = map(json.loads, done.stdout.splitlines())

    assert (good["state"], good["event_name"], good["keys"]["SK"]) == ("processed", "INSERT", {"S": "good"})
    assert fates(good) == {
        "Invoke succeed": [("function-succeed", "done")],
        "Enqueue outside": [("outside", "waiting")],
        "Publish news": [],
        "PutEvent events": [("function-succeed", "done"), ("archive/events", "archived")],
        "Deliver lake": [("lake/lake", "written")],
        "Append trail": [("audit/trail", "written")],
    }
    ((letter,),) = [effect["fates"] for effect in bad["effects"]]
    assert (letter["state"], letter["attempts"]) == ("dead letter", 2)
    assert re.fullmatch(r"ValueError: no \x1b\[31mluck \(at watched_app\.py:\d+\)", letter["reason"])
    assert (parked["state"], parked["effects"]) == ("parked", None)
    assert re.fullmatch(r"RouteFailed: route park: KeyError: 'missing' \(at watched_app\.py:\d+\)", parked["error"])
    assert (behind["state"], behind["error"]) == ("parked", "waits behind an earlier change of its lane")


def test_item_contents_are_printed_only_when_asked_for(written: EngineUnderTest, cli: Run) -> None:
    arguments = ["tail", written.app, "--data", written.data, "--from-start", "--limit", "4"]
    assert "s3cret" not in cli(*arguments, "--json").stdout
    assert cli(*arguments, "--json", "--images").stdout.count("s3cret") == 4
    assert cli(*arguments, "--images").stdout.count("s3cret") == 4


def test_text_from_the_data_cannot_steer_a_terminal(written: EngineUnderTest, cli: Run) -> None:
    done = cli("tail", written.app, "--data", written.data, "--from-start", "--limit", "2")
    assert "\x1b" not in done.stdout
    assert "s3cret" not in done.stdout
    assert r"PK=bad\x1b[1m SK=bad  processed" in done.stdout
    assert r"function-fail dead letter after 2 attempts (ValueError: no \x1b[31mluck (at watched_app.py:" in done.stdout


def test_without_the_app_changes_are_told_without_effects(written: EngineUnderTest, cli: Run) -> None:
    done = cli("tail", "--data", written.data, "--from-start", "--limit", "1", "--json")
    (change,) = map(json.loads, done.stdout.splitlines())
    assert (change["state"], change["effects"]) == ("processed", None)


def test_a_change_that_goes_on_later_is_told_again(engine: EngineUnderTest) -> None:
    engine.put("orders", PK="a", SK="gated")
    with tailing(engine.app, "--data", engine.data, "--from-start") as tail:
        first = tail.next()
        assert not first["update"]
        assert [state for _, state in fates(first)["Invoke wait_for_gate"]] in (["waiting"], ["running"])
        engine.put("orders", PK="b", SK="good")
        second = tail.next()
        while second["update"]:  # waiting and running take turns until the gate opens
            second = tail.next()
        assert second["keys"]["PK"] == {"S": "b"}

        engine.app.with_name("gate").touch()
        update = tail.next()
        while fates(update).get("Invoke wait_for_gate") != [("function-wait_for_gate", "done")]:
            update = tail.next()
        assert update["update"]
        assert update["position"] == first["position"]
        assert tail.interrupt() == (0, "")


def test_a_buffered_record_is_told_at_once_and_again_when_it_is_written(engine: EngineUnderTest) -> None:
    with tailing(engine.app, "--data", engine.data, "--from-start") as tail:
        for number in range(20):
            engine.put("orders", PK=f"a{number}", SK="kept")
            first = tail.next()
            if fates(first)["Deliver slow-lake"] == [("lake/slow-lake", "buffered")]:
                break
            # On a busy machine it may be written by the time it is looked at; then it is told once.
            assert fates(first)["Deliver slow-lake"] == [("lake/slow-lake", "written")]
        second = tail.next()
        assert [each["update"] for each in (first, second)] == [False, True]
        assert second["position"] == first["position"]
        assert fates(second)["Deliver slow-lake"] == [("lake/slow-lake", "written")]


def test_waits_for_the_engine_of_a_stopped_directory(engine: EngineUnderTest) -> None:
    """It follows the directory, not the engine: a restart is no end of it."""
    engine.put("orders", PK="a", SK="good")
    with tailing("--data", engine.data, "--from-start") as tail:
        assert tail.next()["keys"]["PK"] == {"S": "a"}
        engine.kill()
        engine.start()
        engine.put("orders", PK="b", SK="good")
        assert tail.next()["keys"]["PK"] == {"S": "b"}
        assert tail.interrupt() == (0, "")


def test_begins_with_the_next_change(engine: EngineUnderTest) -> None:
    for number in range(100):
        engine.put("orders", PK=f"early-{number}", SK="good")
    with tailing("--data", engine.data) as tail:
        numbers = itertools.count()

        def put_until_told() -> bool:
            engine.put("orders", PK=f"late-{next(numbers)}", SK="good")
            return tail.has_told()

        wait_until(put_until_told, bound_s=BOUND_S)
        assert tail.next()["keys"]["PK"]["S"].startswith("late-")


def test_a_queue_that_the_app_declares_since_the_engine_started(
    written: EngineUnderTest, cli: Run, tmp_path: Path
) -> None:
    edited = tmp_path / "edited_app.py"
    edited.write_text(written.app.read_text().replace('app.queue("outside")', 'app.queue("elsewhere")'))
    done = cli("tail", edited, "--data", written.data, "--from-start", "--limit", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert fates(json.loads(done.stdout))["Enqueue elsewhere"] == [("elsewhere", "unknown")]


def test_a_table_that_is_not_there(written: EngineUnderTest, cli: Run) -> None:
    done = cli("tail", "--data", written.data, "--table", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: expected a table with a stream (orders), got 'nope'\n"


def test_tables_without_routes_are_told_where_functions_read_them_or_they_are_named(tmp_path: Path, cli: Run) -> None:
    app = App("mapped")
    app.table("read", partition_key="PK").event_source_mapping(lambda event, context: None, FunctionName="reads")
    app.table("left-alone", partition_key="PK")
    data = tmp_path / "data"
    with open_engine(data, app) as engine:
        for table in ("read", "left-alone"):
            engine.table(table).put_many([{"PK": "a"}, {"PK": "b"}])
    tail = ("tail", "--data", data, "--from-start", "--limit", "2", "--json")
    found = [json.loads(line) for line in cli(*tail).stdout.splitlines()]
    assert [(each["table"], each["keys"], each["state"]) for each in found] == [
        ("read", {"PK": {"S": "a"}}, "written"),
        ("read", {"PK": {"S": "b"}}, "written"),
    ]
    named = [json.loads(line) for line in cli(*tail, "--table", "left-alone").stdout.splitlines()]
    assert {each["table"] for each in named} == {"left-alone"}


def test_another_app_than_the_directorys_is_refused(written: EngineUnderTest, cli: Run, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("from afterwrite import App\napp = App('other')\n")
    done = cli("tail", tmp_path / "other.py", "--data", written.data, "--from-start")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: expected the app 'watched', to which the data directory belongs, got")


def test_a_directory_where_nothing_follows_has_nothing_to_show(tmp_path: Path, cli: Run) -> None:
    with open_engine(tmp_path / "data"):
        pass
    done = cli("tail", "--data", tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: expected a table with routes or Lambda functions, found none: name one")


def test_ends_quietly_when_nobody_reads_on(written: EngineUnderTest) -> None:
    command = [sys.executable, "-m", "afterwrite", "tail", "--data", str(written.data), "--from-start", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        cast("IO[bytes]", process.stdout).close()
        assert process.wait(timeout=BOUND_S) == 128 + signal.SIGPIPE
        assert cast("IO[bytes]", process.stderr).read() == b""
