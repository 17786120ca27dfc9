"""EventBridge over boto3: replays of a declared bus's archive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import App, Change
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from engine_process import wait_until
from server.clients import events_client

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

ARN = "arn:aws:events:us-east-1:000000000000"
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    app = App("events-tests")
    things = app.table("things", partition_key="pk")
    out = app.queue("out")
    bus = app.bus("events", archive_days=1)
    app.bus("unarchived")
    bus.rule("all", {"source": ["events-tests"]}, to=[out])

    @things.on()
    def announce(change: Change) -> Any:
        return bus.put("Written", pk=change.keys["pk"])

    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        for number in range(5):
            engine.services.table("things").put({"pk": str(number)})
        yield engine


@pytest.fixture(scope="module")
def client(engine: Engine) -> EventBridgeClient:
    return events_client(f"http://{engine.address[0]}:{engine.address[1]}")


def start(client: EventBridgeClient, **fields: Any) -> Any:
    request: dict[str, Any] = {
        "ReplayName": "again",
        "EventSourceArn": f"{ARN}:archive/events",
        "EventStartTime": EPOCH,
        "EventEndTime": datetime.now(UTC) + timedelta(hours=1),
        "Destination": {"Arn": f"{ARN}:event-bus/events"},
        **fields,
    }
    return client.start_replay(**request)


def test_a_replay_runs_and_is_described_s30(client: EventBridgeClient, engine: Engine) -> None:
    data = engine.reader()
    wait_until(lambda: len(list(data.messages("out"))) == 5, what="the first delivery")
    answer = start(client)
    assert answer["State"] == "STARTING"
    assert answer["ReplayArn"] == f"{ARN}:replay/again"
    wait_until(lambda: client.describe_replay(ReplayName="again")["State"] == "COMPLETED", what="the replay's end")
    described = client.describe_replay(ReplayName="again")
    assert described["EventSourceArn"] == f"{ARN}:archive/events"
    assert described["EventStartTime"] == EPOCH
    assert described["ReplayEndTime"] >= described["ReplayStartTime"]
    bodies = [message.body for message in data.messages("out")]
    assert sorted(body["detail"]["pk"] for body in bodies if body.get("replay-name") == "again") == list("01234")
    with pytest.raises(client.exceptions.ResourceAlreadyExistsException):
        start(client)


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        (
            {"EventSourceArn": f"{ARN}:archive/nowhere"},
            "ValidationException",
            "Parameter EventSourceArn is not valid. Reason: Archive nowhere does not exist.",
        ),
        (
            {"EventSourceArn": f"{ARN}:archive/unarchived"},
            "ValidationException",
            "Parameter EventSourceArn is not valid. Reason: Archive unarchived does not exist.",
        ),
        (
            {"Destination": {"Arn": f"{ARN}:event-bus/unarchived"}},
            "ValidationException",
            "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.",
        ),
        (
            {"Destination": {"Arn": f"{ARN}:event-bus/other"}},
            "ResourceNotFoundException",
            "Event bus other does not exist.",
        ),
        (
            {"EventSourceArn": "nothing"},
            "ValidationException",
            "Parameter EventSourceArn is not valid. Reason: expected",
        ),
        (
            {"EventStartTime": datetime(2031, 1, 1, tzinfo=UTC)},
            "ValidationException",
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.",
        ),
        ({"EventStartTime": datetime(1960, 1, 1, tzinfo=UTC)}, "ValidationException", "expected seconds since"),
        ({"ReplayName": "no spaces"}, "ValidationException", "expected 1 to 64 letters"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(
    client: EventBridgeClient, fields: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError) as failure:
        start(client, **{"ReplayName": "refused", **fields})
    error = failure.value.response["Error"]
    assert error["Code"] == code
    assert error["Message"].startswith(message)


def test_what_is_not_there_or_not_offered_is_said(client: EventBridgeClient) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_replay(ReplayName="never")
    with pytest.raises(ClientError) as failure:
        client.list_rules()
    assert failure.value.response["Error"]["Code"] == "UnknownOperationException"
