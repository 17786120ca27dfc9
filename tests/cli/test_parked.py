from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import afterwrite
from afterwrite import App
from afterwrite.cli.rendering import printable
from afterwrite.core.parked import ParkedEntry
from cli.conftest import Run
from engine_process import EngineUnderTest, wait_until

POISONED = "park\x1b[1m"


def lines(done: Any) -> list[dict[str, Any]]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def parked(data: Path) -> list[ParkedEntry]:
    with afterwrite.open_data(data) as reader:
        return list(reader.parked_entries())


def test_what_failed_is_listed_with_what_waits_behind_it(written: EngineUnderTest, cli: Run) -> None:
    change, letter = lines(cli("parked", "list", "--data", written.data, "--json"))
    assert (change["kind"], change["in"], change["by"], change["behind"]) == ("change", "orders", "park", 1)
    assert (letter["kind"], letter["in"], letter["by"]) == ("dead letter", "function-fail", "fail")
    assert (letter["attempts"], letter["behind"]) == (2, 0)
    assert "payload" not in change


def test_payload_reason_and_traceback_are_shown(written: EngineUnderTest, cli: Run) -> None:
    (letter,) = lines(cli("parked", "show", "--in", "function-fail", "--data", written.data, "--json"))
    assert letter["payload"] == {"body": {"key": "bad\x1b[1m", "card": "4111"}}
    assert re.fullmatch(r"ValueError: no \x1b\[31mluck \(at watched_app\.py:\d+\)", letter["reason"])
    assert letter["traceback"].endswith(" in fail\nValueError")
    assert (letter["error_kind"], letter["condition"], letter["newer_delivered"]) == ("bug", "attempts exhausted", 0)
    assert letter["id"].endswith("/bad/0")
    (change,) = lines(cli("parked", "show", f"orders/{POISONED}", "--data", written.data, "--json"))
    assert change["payload"]["dynamodb"]["NewImage"]["secret"] == {"S": "s3cret"}


def test_what_failed_reads_as_what_why_how_often_what_waits_and_what_to_type(
    written: EngineUnderTest, cli: Run
) -> None:
    change, letter = (
        cli("parked", "show", *arguments, "--data", written.data).stdout.splitlines()
        for arguments in (("--in", "orders"), ("--in", "function-fail"))
    )
    fingerprint = lines(cli("parked", "list", "--in", "orders", "--data", written.data, "--json"))[0]["error"]
    assert "  failed    route park, on a change of the table orders (INSERT)" in change
    assert any(
        re.fullmatch(r"  reason    RouteFailed: route park: KeyError: 'missing' \(.+\)", each) for each in change
    )
    assert f"  error     {fingerprint}, bug; --error {fingerprint} means all that failed so" in change
    assert "  tried     once; it is tried again whenever the engine starts" in change
    assert "  waiting   1 later change of the lane, in order behind it" in change
    assert '        "Keys": {"PK":{"S":"park\\u001b[1m"},"SK":{"S":"park"}},' in change
    # A key that no terminal shows as it is is not to be typed.
    meant = f"--in orders --error {fingerprint} --data {written.data}"
    assert f"  run again afterwrite parked redrive {meant}" in change
    assert f"  give up   afterwrite parked drop {meant} --dry-run, then without --dry-run" in change

    assert "  failed    function fail, on a message of the queue function-fail" in letter
    assert "  tried     2 times, and has no attempt left" in letter
    assert "  waiting   nothing: the lane has gone on without it" in letter
    assert '  payload   {"body":{"key":"bad\\u001b[1m","card":"4111"}}' in letter


def test_the_command_that_is_told_does_what_it_says(engine: EngineUnderTest, cli: Run) -> None:
    engine.put("orders", PK="a key's", SK="park")
    wait_until(lambda: len(parked(engine.data)) == 1)
    shown = cli("parked", "show", "--data", engine.data).stdout.splitlines()
    (told,) = (each.removeprefix("  give up   ") for each in shown if each.startswith("  give up"))
    program, *arguments = shlex.split(told.partition(", then")[0])
    assert program == "afterwrite"
    assert "1 failure would be deleted" in cli(*arguments).stdout
    assert "dropped: 1 failure" in cli(*arguments[:-1]).stdout


def test_text_that_comes_from_the_data_does_not_steer_a_terminal(written: EngineUnderTest, cli: Run) -> None:
    for command in ("list", "show"):
        done = cli("parked", command, "--data", written.data)
        assert "no \\x1b[31mluck" in done.stdout
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", ["list", "show", "redrive", "drop"])
def test_a_name_that_nothing_is_parked_under_does_not_read_as_if_all_were_well(
    command: str, written: EngineUnderTest, cli: Run
) -> None:
    done = cli("parked", command, "--in", "ordres", "--data", written.data)
    assert done.returncode == 0
    assert done.stdout.startswith("nothing of that is parked, but orders/")
    assert done.stdout.endswith(" is: afterwrite parked list shows everything\n")


def test_a_key_without_its_table_s_name_leads_to_its_lane(written: EngineUnderTest, cli: Run) -> None:
    listed = cli("parked", "list", "--json", "--data", written.data).stdout.splitlines()
    lanes = {json.loads(line)["lane"] for line in listed}
    assert len(lanes) > 1
    for lane in lanes:
        done = cli("parked", "show", lane.partition("/")[2], "--data", written.data)
        assert done.stdout.startswith(f"nothing of that is parked, but {printable(lane)} is:")


def test_where_nothing_is_parked_that_is_said(engine: EngineUnderTest, cli: Run) -> None:
    assert cli("parked", "list", "--in", "orders", "--data", engine.data).stdout == "nothing is parked\n"
    assert cli("parked", "drop", "--all", "--data", engine.data).stdout == "nothing is parked\n"


def test_a_dry_run_changes_nothing(written: EngineUnderTest, cli: Run) -> None:
    before = parked(written.data)
    for command in ("redrive", "drop"):
        done = cli("parked", command, "--by", "park", "--dry-run", "--data", written.data)
        assert done.returncode == 0
        assert f"1 failure would {'run again' if command == 'redrive' else 'be deleted'}" in done.stdout
        assert "warning" not in done.stdout or command == "redrive"
    assert parked(written.data) == before


def test_a_running_engine_drops_a_failure_and_its_lane_goes_on(engine: EngineUnderTest, cli: Run) -> None:
    for sort_key in ("park", "good"):
        engine.put("orders", PK="a", SK=sort_key)
    wait_until(lambda: [each.behind for each in parked(engine.data)] == [1])
    assert lines(cli("parked", "drop", "orders/a", "--data", engine.data, "--json")) == [{"dropped": 1}]
    with afterwrite.open_data(engine.data) as reader:
        wait_until(lambda: [each.body for each in reader.messages("outside")] == [{"key": "a"}])
    assert parked(engine.data) == []


def test_a_running_engine_redrives_a_dead_letter_with_a_warning_where_newer_ones_were_delivered(
    engine: EngineUnderTest, cli: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sort_key in ("bad", "good"):
        engine.put("orders", PK="a", SK=sort_key)
    wait_until(lambda: len(parked(engine.data)) == 1)
    with afterwrite.open_data(engine.data) as reader:
        wait_until(reader.idle)
    (first,) = parked(engine.data)
    done = cli("parked", "redrive", "--by", "fail", "--data", engine.data)
    assert done.returncode == 0
    assert "warning: orders/a: 1 newer change of the lane has been delivered since" in done.stdout
    assert "redriven: 1 failure; what fails again is parked again" in done.stdout
    # It fails again, with all its attempts.
    wait_until(lambda: [each.parked_at_ms > first.parked_at_ms for each in parked(engine.data)] == [True])
    (again,) = parked(engine.data)
    assert (again.attempts, again.id, again.payload) == (2, first.id, first.payload)
    # Of many, the first are named.
    monkeypatch.setattr("afterwrite.cli.parked._WARNINGS_MAX", 0)
    done = cli("parked", "redrive", "--by", "fail", "--data", engine.data)
    assert done.stdout.startswith("warning: so it is with 1 more failure: --dry-run names each\nredriven: 1 failure")


def test_a_stopped_engines_directory_is_worked_on_itself(engine: EngineUnderTest, cli: Run) -> None:
    for key, sort_key in (("a", "park"), ("a", "good"), ("b", "bad"), ("c", "park")):
        engine.put("orders", PK=key, SK=sort_key)
    wait_until(lambda: len(parked(engine.data)) == 3)
    assert engine.stop() == 0
    assert lines(cli("parked", "drop", "orders/a", "--data", engine.data, "--json")) == [{"dropped": 1}]
    assert lines(cli("parked", "redrive", "--in", "function-fail", "--data", engine.data, "--json")) == [
        {"redriven": 1, "behind_newer": 0}
    ]
    assert [each.kind for each in parked(engine.data)] == ["change", "change"]
    # Mended and started again, everything that waits runs.
    engine.app.write_text(engine.app.read_text().replace('raise KeyError("missing")', "return None"))
    engine.start()
    with afterwrite.open_data(engine.data) as reader:
        wait_until(lambda: [each.body for each in reader.messages("outside")] == [{"key": "a"}])
        wait_until(lambda: [each.kind for each in reader.parked_entries()] == ["dead letter"])


@pytest.mark.parametrize("arguments", [(), ("orders/a", "--all")])
def test_what_is_meant_must_be_said(arguments: tuple[str, ...], written: EngineUnderTest, cli: Run) -> None:
    done = cli("parked", "drop", *arguments, "--data", written.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("afterwrite: expected what is meant: a lane, --in, ")


def test_the_wire_lists_in_pages_and_refuses_what_it_does_not_know(written: EngineUnderTest) -> None:
    first = written.call("ListParked", {"Limit": 1}, service="Afterwrite")
    assert [each["kind"] for each in first["Entries"]] == ["change"]
    rest = written.call("ListParked", {"After": first["Next"]}, service="Afterwrite")
    assert [each["kind"] for each in rest["Entries"]] == ["dead letter"]
    assert rest["Next"] is None
    nothing = written.call("RedriveParked", {"Selection": {"Lane": "nowhere"}}, service="Afterwrite")
    assert nothing == {"Count": 0, "Next": None}
    for wrong in ({"Selection": {"Nope": "x"}}, {"After": "x"}, {"Limit": 0}):
        status, answer = written.exchange("DropParked", wrong, service="Afterwrite")
        assert (status, answer["__type"].rpartition("#")[2]) == (400, "ValidationException")
        assert answer["message"].startswith("expected a")


def test_records_of_a_stream_that_a_function_was_not_able_to_handle_are_listed_shown_and_redriven(
    tmp_path: Path, cli: Run
) -> None:
    failing = [True]

    def handler(event: Any, context: Any) -> None:
        if failing:
            raise ValueError("no mail today")

    app = App("shop")
    orders = app.table("orders", partition_key="PK")
    orders.event_source_mapping(handler, FunctionName="mail", MaximumRetryAttempts=0, BatchSize=1)
    data = tmp_path / "data"
    with afterwrite.open_engine(data, app, listen="127.0.0.1:0") as engine:
        engine.table("orders").put({"PK": "a"})
        wait_until(lambda: len(list(engine.parked().entries())) == 1)
        (entry,) = engine.parked().entries()
        engine.stop()
        checked = cli("status", "--check", "--data", data)
        assert checked.returncode == 1
        assert "1 record of orders that the function mail was not able to handle" in checked.stdout
        listed = cli("parked", "list", "--data", data).stdout
        assert listed.startswith(f"{entry.lane}  1 record in orders, function mail, error ")
        shown = cli("parked", "show", "--by", "mail", "--data", data).stdout
        assert "  failed    function mail, on 1 record of the stream of orders" in shown
        assert "  tried     once, and has no retry left" in shown
        assert "  waiting   nothing: the shard has gone on without them" in shown
        redriven = cli("parked", "redrive", "--by", "mail", "--data", data).stdout
        assert redriven.endswith("redriven: 1 failure; all of it runs when the engine next starts\n")
        failing.clear()
        engine.start()
        wait_until(lambda: not list(engine.parked().entries()))
        engine.stop()
    assert cli("status", "--check", "--data", data).returncode == 0


def test_the_command_that_is_told_of_records_means_those_of_one_function(tmp_path: Path, cli: Run) -> None:
    def handler(event: Any, context: Any) -> None:
        raise ValueError("no mail today")

    app = App("shop")
    orders = app.table("orders", partition_key="PK")
    for name in ("mail", "print"):
        orders.event_source_mapping(handler, FunctionName=name, MaximumRetryAttempts=0, BatchSize=1)
    data = tmp_path / "data"
    with afterwrite.open_engine(data, app) as engine:
        engine.table("orders").put({"PK": "a"})
        wait_until(lambda: len(list(engine.parked().entries())) == 2)
    shown = cli("parked", "show", "--by", "mail", "--data", data).stdout.splitlines()
    (told,) = (each.removeprefix("  give up   ") for each in shown if each.startswith("  give up"))
    _, *arguments = shlex.split(told.partition(" --dry-run, then")[0])
    assert cli(*arguments).stdout == "dropped: 1 failure\n"
    assert "function print" in cli("parked", "list", "--data", data).stdout
