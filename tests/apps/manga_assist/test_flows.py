"""The whole app on an engine: what its subscribers and rules do when one fails, and when the archive is replayed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from afterwrite import open_data
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from bounds import BOUND_S
from demonstration.certain_writes import dynamodb_client
from manga_assist import app, handoffs, lifecycle
from manga_assist.sessions import Sessions

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

_POLL_S = 0.02


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def engine(data: Path) -> Iterator[Engine]:
    with Engine(app.app, Settings(data)) as engine:
        yield engine


@pytest.fixture
def url(engine: Engine) -> str:
    host, port = engine.address
    return f"http://{host}:{port}"


@pytest.fixture
def sessions(url: str) -> Iterator[Sessions]:
    client = dynamodb_client(url, threads=1)
    yield Sessions(client, app.sessions.name, retention_s=3_600)
    client.close()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {BOUND_S:.0f} s: {what}"
        time.sleep(_POLL_S)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def counters(engine: Engine) -> dict[str, int]:
    rows = engine.table(app.operations).query("COUNTERS")
    return {row["SK"]: int(row["value"]) for row in rows}


def test_a_failing_subscriber_leaves_the_others_alone(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # S33: after maxReceiveCount receives a message moves to the dead letter queue.
    received: list[str] = []

    def fail(_outbox: Path, handoff: handoffs.Handoff, _settings: Any) -> Path:
        received.append(handoff.session_id)
        raise ConnectionError("no mail server")

    monkeypatch.setattr(handoffs, "write_to_customer", fail)
    with Engine(app.app, Settings(data)) as engine:
        host, port = engine.address
        client = dynamodb_client(f"http://{host}:{port}", threads=1)
        sessions = Sessions(client, app.sessions.name)
        for session_id in ("s1", "s2"):
            sessions.start(session_id, "c1", now_ms())
            sessions.hand_off(session_id, "escalated", "agent-1", now_ms())
        operations = engine.table(app.operations)
        wait_until(lambda: len(received) == 6, "six receives")
        wait_until(lambda: len(operations.query("DASHBOARD#agent-1")) == 2, "dashboard")
        wait_until(lambda: len(operations.query("ESCALATIONS")) == 2, "escalations")
        wait_until(engine.reader().idle, "the dead letters")
        client.close()

    assert sorted(received) == ["s1"] * 3 + ["s2"] * 3
    with open_data(data) as view:
        letters = {m.body["session_id"]: m for m in view.messages("customer-notification-queue-dead-letters")}
        assert set(letters) == {"s1", "s2"}
        assert handoffs.from_message(letters["s1"].body).reason == "escalated"
        assert letters["s1"].attributes["event_type"] == "handoff"
        assert {name: depth for name, depth in view.depths().items() if any(depth)} == {
            "customer-notification-queue-dead-letters": (2, 0)
        }
        assert list(view.completions("mail_customer")) == []


def test_a_replay_of_the_archive_does_nothing_twice(
    sessions: Sessions, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S30: a replayed event carries its replay's name.
    replayed: list[tuple[str, bool]] = []
    cleaned: list[int] = []
    count, clean_up = lifecycle.count, lifecycle.clean_up

    def observed(context: Any, operations: Any, counter: str, event: Any, step: int) -> bool:
        counted = count(context, operations, counter, event, step)
        if "replay-name" in event:
            replayed.append((event["replay-name"], counted))
        return counted

    monkeypatch.setattr(lifecycle, "count", observed)
    monkeypatch.setattr(lifecycle, "clean_up", lambda *given: cleaned.append(clean_up(*given)))
    for session_id in ("s1", "s2", "s3"):
        sessions.start(session_id, "c1", now_ms())
    sessions.hand_off("s1", "refund", None, now_ms())
    sessions.disconnect("s2", now_ms())
    wait_until(lambda: cleaned == [1], "clean-up of the one item")
    wait_until(lambda: counters(engine) == {"active_sessions": 2, "handoffs": 1}, "counters")
    before = sorted(engine.table(app.sessions).query("SESSION#s2"), key=str)

    events: EventBridgeClient = boto3.client(
        "events",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    events.start_replay(
        ReplayName="once-more",
        EventSourceArn=f"arn:aws:events:us-east-1:000000000000:archive/{app.bus.name}",
        Destination={"Arn": f"arn:aws:events:us-east-1:000000000000:event-bus/{app.bus.name}"},
        EventStartTime=datetime.now(UTC) - timedelta(minutes=1),
        EventEndTime=datetime.now(UTC) + timedelta(seconds=1),
    )
    wait_until(lambda: len(replayed) == 5, "the replay's five countings")
    wait_until(lambda: cleaned == [1, 0], "a second clean-up with nothing to do")
    events.close()

    assert replayed == [("once-more", False)] * 5
    assert counters(engine) == {"active_sessions": 2, "handoffs": 1}
    assert sorted(engine.table(app.sessions).query("SESSION#s2"), key=str) == before


def test_summaries_follow_a_conversation_that_does_not_wait(sessions: Sessions, engine: Engine) -> None:
    sessions.start("s1", "c1", now_ms())
    for n in range(35):
        sessions.add_turn("s1", "customer" if n % 2 == 0 else "assistant", f"Sentence {n} about volumes.", now_ms())
    table = engine.table(app.sessions)
    wait_until(lambda: len(table.query("SESSION#s1", {"prefix": "SUMMARY#"})) == 3, "three summaries")
    sessions.disconnect("s1", now_ms())
    wait_until(lambda: all("ttl" in item for item in table.query("SESSION#s1")), "every item's time to live")
    summaries = table.query("SESSION#s1", {"prefix": "SUMMARY#"})
    assert [summary["turns"][0] for summary in summaries] == ["TURN#00000001", "TURN#00000011", "TURN#00000021"]
    assert {summary["method"] for summary in summaries} == {"extractive"}
