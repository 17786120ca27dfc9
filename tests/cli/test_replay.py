from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import afterwrite
from afterwrite.cli import main
from afterwrite.cli.loading import load_app
from afterwrite.errors import DeclarationError
from afterwrite.local.fan_out import FanOut
from afterwrite.store import replays
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.replays import Replay
from cli.conftest import Run
from engine_process import EngineUnderTest, wait_until

EVER = ("--from", "2020-01-01", "--to", "2100-01-01T00:00:00+02:00")


def put_and_settle(engine: EngineUnderTest, count: int) -> None:
    for number in range(count):
        engine.put("orders", PK=f"a-{number}", SK="good")
    with afterwrite.open_data(engine.data) as reader:
        wait_until(reader.idle)


def completions(data: Path) -> list[str]:
    with afterwrite.open_data(data) as reader:
        wait_until(reader.idle)
        return [each.message_id for each in reader.completions("succeed")]


def test_archived_events_are_delivered_again(engine: EngineUnderTest, cli: Run) -> None:
    put_and_settle(engine, 3)
    before = completions(engine.data)
    done = cli("replay", "events", *EVER, "--data", engine.data, "--name", "again", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["bus"], found["name"], found["state"], found["events"]) == ("events", "again", "COMPLETED", 3)
    assert (found["deliveries"], found["unmatched"]) == (3, 0)
    assert (found["from"], found["to"]) == ("2020-01-01T00:00:00.000Z", "2099-12-31T22:00:00.000Z")
    added = set(completions(engine.data)) - set(before)
    assert len(added) == 3
    assert all("/again/" in message_id for message_id in added)


def test_only_the_time_range_is_delivered(engine: EngineUnderTest, cli: Run) -> None:
    put_and_settle(engine, 1)
    done = cli("replay", "events", "--from", "2020-01-01", "--to", "2020-01-02", "--data", engine.data)
    assert done.returncode == 0
    assert "replayed 0 events" in done.stdout
    assert done.stdout.endswith(": the archive has none of this time range\n")


def test_deliveries_are_told_and_events_that_match_no_rule(engine: EngineUnderTest, cli: Run) -> None:
    put_and_settle(engine, 2)
    done = cli("replay", "events", *EVER, "--data", engine.data)
    assert done.stdout.endswith(": 2 deliveries to targets of rules\n")
    assert engine.stop() == 0
    engine.app.write_text(engine.app.read_text().replace('{"detail-type": ["Ordered"]}', '{"detail-type": ["Sold"]}'))
    engine.start()
    done = cli("replay", "events", *EVER, "--data", engine.data)
    assert done.returncode == 0
    assert done.stdout.endswith(": they matched no rule of the bus, so nothing was delivered\n")


def test_what_the_engine_refuses_is_one_line(engine: EngineUnderTest, cli: Run) -> None:
    done = cli("replay", "nope", *EVER, "--data", engine.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: ResourceNotFoundException: Event bus nope does not exist.\n"


def test_a_time_that_is_none(written: EngineUnderTest, cli: Run) -> None:
    done = cli("replay", "events", "--from", "yesterday", "--to", "2100-01-01", "--data", written.data)
    assert done.returncode == 2
    assert done.stderr.startswith("afterwrite: expected an ISO 8601 time as --from")


def test_times_in_the_wrong_order(written: EngineUnderTest, cli: Run) -> None:
    done = cli("replay", "events", "--from", "2026-11-22", "--to", "2026-11-21", "--data", written.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: expected --from to be before --to, got 2026-11-22 and 2026-11-21\n"


def test_needs_the_running_engine(tmp_path: Path, cli: Run) -> None:
    done = cli("replay", "events", *EVER, "--data", tmp_path)
    assert done.returncode == 2
    assert f"afterwrite run APP --data {tmp_path}" in done.stderr


def refused_here(data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says on standard error in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["replay", "events", *EVER, "--data", str(data), "--name", "again"])
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_replay_that_fails_ends_the_command(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def undeclared(*_: object) -> Iterator[object]:
        raise DeclarationError("expected a bus that this app declares, got 'events': declare it on the same App")

    with afterwrite.open_engine(tmp_path / "data", load_app(app), listen="127.0.0.1:0") as engine:
        engine.table("orders").put({"PK": "a", "SK": "good"})
        wait_until(engine.reader().idle)
        monkeypatch.setattr(FanOut, "deliver_event", undeclared)
        said = refused_here(tmp_path / "data", capsys)
    assert said.startswith("afterwrite: the replay again has failed after 0 events: expected a bus")


def test_a_replay_that_is_cancelled_ends_the_command(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = replays.start

    def start_and_cancel(transaction: WriteTransaction, replay: Replay) -> None:
        start(transaction, replay)
        replays.cancel(transaction, replay.name)

    monkeypatch.setattr(replays, "start", start_and_cancel)
    with afterwrite.open_engine(tmp_path / "data", load_app(app), listen="127.0.0.1:0"):
        said = refused_here(tmp_path / "data", capsys)
    assert said.startswith("afterwrite: the replay again was cancelled after 0 events: start one with another name")


def test_an_engine_that_listens_on_no_socket(app: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with afterwrite.open_engine(tmp_path / "data", load_app(app)):
        said = refused_here(tmp_path / "data", capsys)
    assert "listens on no socket" in said


def test_an_engine_that_checks_signatures_is_asked_with_its_key(app: Path, tmp_path: Path, cli: Run) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"AKID": "secret"}')
    with EngineUnderTest(app, tmp_path / "data", environment={"AFTERWRITE_CREDENTIALS": str(keys)}) as engine:
        asked = ("replay", "events", *EVER, "--data", engine.data)
        unsigned = cli(*asked)
        signed = cli(*asked, "--credentials", keys)
    assert (unsigned.returncode, unsigned.stdout) == (2, "")
    assert "takes signed requests only: give the file of its access keys with --credentials" in unsigned.stderr
    assert (signed.returncode, signed.stderr) == (0, "")
    assert "replayed 0 events" in signed.stdout
