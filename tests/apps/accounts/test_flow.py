"""The app as a whole, in one process: asked for the past, its event store lost, a write without its version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import afterwrite
from accounts import app
from afterwrite import Engine
from engine_process import wait_until

ARN = "arn:aws:events:us-east-1:000000000000"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with afterwrite.open_engine(tmp_path / "data", app.app) as engine:
        yield engine


def write(engine: Engine, version: int, balance: int, account_id: str = "A-1") -> None:
    engine.table(app.accounts).put({"accountId": account_id, "balanceCents": balance, "version": version})


def events(engine: Engine) -> list[dict[str, Any]]:
    return list(engine.table(app.event_store).scan())


def state(engine: Engine, **request: Any) -> Any:
    client = engine.boto3_session().client("lambda")
    answer = client.invoke(FunctionName="state_at", Payload=json.dumps(request))
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())


def test_an_account_as_it_was(engine: Engine) -> None:
    for version, balance in enumerate((100, 70, 20), start=1):
        write(engine, version, balance)
    engine.table(app.accounts).delete({"accountId": "A-1"})
    wait_until(lambda: len(events(engine)) == 4, what="every event")
    moments = [change.created_at_ms for change in engine.reader().changes(app.accounts.name)]
    assert [state(engine, accountId="A-1", version=version)["balanceCents"] for version in (1, 2, 3)] == [100, 70, 20]
    last = {"accountId": "A-1", "version": 4, "balanceCents": 20, "isOpen": False, "atMs": moments[-1]}
    assert state(engine, accountId="A-1") == state(engine, accountId="A-1", atMs=moments[-1]) == last
    assert state(engine, accountId="A-1", atMs=moments[0] - 1) is None


def test_a_lost_event_store_is_filled_again_from_the_journal(engine: Engine) -> None:
    for version in range(1, 13):
        write(engine, version, version * 5)
    wait_until(engine.reader().idle, what="an idle engine")
    before, snapshots = events(engine), list(engine.table(app.snapshots).scan())
    assert (len(before), len(snapshots)) == (12, 1)
    for table, lost in ((app.event_store, before), (app.snapshots, snapshots)):
        for item in lost:
            engine.table(table).delete({"accountId": item["accountId"], "version": item["version"]})
    client = engine.boto3_session().client("events")
    client.start_replay(
        ReplayName="again",
        EventSourceArn=f"{ARN}:archive/{app.journal.name}",
        EventStartTime=datetime.now(UTC) - timedelta(hours=1),
        EventEndTime=datetime.now(UTC) + timedelta(hours=1),
        Destination={"Arn": f"{ARN}:event-bus/{app.journal.name}"},
    )
    wait_until(lambda: client.describe_replay(ReplayName="again")["State"] == "COMPLETED", what="the replay's end")
    wait_until(engine.reader().idle, what="an idle engine")
    assert events(engine) == before
    assert list(engine.table(app.snapshots).scan()) == snapshots


def test_a_balance_changed_without_its_version_parks_its_account_and_no_other(engine: Engine) -> None:
    write(engine, 1, 100)
    write(engine, 1, 70)
    write(engine, 2, 60)
    write(engine, 1, 5, "A-2")
    wait_until(lambda: len(events(engine)) == 2, what="both accounts' first events")
    wait_until(lambda: any(engine.reader().parked_entries()), what="a parked event")
    (parked,) = {entry.lane for entry in engine.reader().parked_entries()}
    assert "A-1" in parked
    assert {(event["accountId"], event["version"]) for event in events(engine)} == {("A-1", 1), ("A-2", 1)}
