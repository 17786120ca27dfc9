from __future__ import annotations

import json
from pathlib import Path

import afterwrite
from cli.conftest import Run
from engine_process import EngineProcess, wait_until

EVER = ("--from", "2020-01-01", "--to", "2100-01-01T00:00:00+02:00")


def put_and_settle(engine: EngineProcess, count: int) -> None:
    for number in range(count):
        engine.put("orders", PK=f"a-{number}", SK="good")
    with afterwrite.open_data(engine.data) as reader:
        wait_until(reader.idle)


def completions(data: Path) -> list[str]:
    with afterwrite.open_data(data) as reader:
        wait_until(reader.idle)
        return [each.message_id for each in reader.completions("succeed")]


def test_archived_events_are_delivered_again(engine: EngineProcess, cli: Run) -> None:
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


def test_only_the_time_range_is_delivered(engine: EngineProcess, cli: Run) -> None:
    put_and_settle(engine, 1)
    done = cli("replay", "events", "--from", "2020-01-01", "--to", "2020-01-02", "--data", engine.data)
    assert done.returncode == 0
    assert "replayed 0 events" in done.stdout
    assert done.stdout.endswith(": the archive has none of this time range\n")


def test_deliveries_are_told_and_events_that_match_no_rule(engine: EngineProcess, cli: Run) -> None:
    put_and_settle(engine, 2)
    done = cli("replay", "events", *EVER, "--data", engine.data)
    assert done.stdout.endswith(": 2 deliveries to targets of rules\n")
    assert engine.stop() == 0
    engine.app.write_text(engine.app.read_text().replace('{"detail-type": ["Ordered"]}', '{"detail-type": ["Sold"]}'))
    engine.start()
    done = cli("replay", "events", *EVER, "--data", engine.data)
    assert done.returncode == 0
    assert done.stdout.endswith(": they matched no rule of the bus, so nothing was delivered\n")


def test_what_the_engine_refuses_is_one_line(engine: EngineProcess, cli: Run) -> None:
    done = cli("replay", "nope", *EVER, "--data", engine.data)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "afterwrite: ResourceNotFoundException: Archive nope does not exist.\n"


def test_a_time_that_is_none(written: EngineProcess, cli: Run) -> None:
    done = cli("replay", "events", "--from", "yesterday", "--to", "2100-01-01", "--data", written.data)
    assert done.returncode == 2
    assert done.stderr.startswith("afterwrite: expected an ISO 8601 time as --from")


def test_needs_the_running_engine(tmp_path: Path, cli: Run) -> None:
    done = cli("replay", "events", *EVER, "--data", tmp_path)
    assert done.returncode == 2
    assert f"afterwrite run APP --data {tmp_path}" in done.stderr
