"""EventBridge over boto3: replays of a declared bus's archive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import App, Change
from afterwrite.config import Settings
from afterwrite.local import replays as replays_work
from afterwrite.local.replays import ReplayWork
from afterwrite.wiring import Engine
from bounds import BOUND_S
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
    assert answer.keys() == {"ReplayArn", "ReplayStartTime", "State", "ResponseMetadata"}
    wait_until(lambda: client.describe_replay(ReplayName="again")["State"] == "COMPLETED", what="the replay's end")
    described = client.describe_replay(ReplayName="again")
    assert described["EventSourceArn"] == f"{ARN}:archive/events"
    assert described["EventStartTime"] == EPOCH
    assert described["ReplayEndTime"] >= described["ReplayStartTime"]
    bodies = [message.body for message in data.messages("out")]
    assert sorted(body["detail"]["pk"] for body in bodies if body.get("replay-name") == "again") == list("01234")
    with pytest.raises(client.exceptions.ResourceAlreadyExistsException):
        start(client)


def test_what_is_wrong_with_an_entry_is_told_of_it_alone(client: EventBridgeClient) -> None:
    entry: Any = {"EventBusName": "unarchived", "Source": "outside", "DetailType": "Told", "Detail": "{}"}
    changes = [{}, {"Detail": "{"}, {"Detail": "[]"}, {"Source": "aws.iam"}, {"Source": ""}, {"EventBusName": "none"}]
    answer = client.put_events(Entries=[entry | change for change in changes])
    first, *others = answer["Entries"]
    assert (answer["FailedEntryCount"], *first) == (5, "EventId")
    assert [(each["ErrorCode"], each["ErrorMessage"]) for each in others] == [
        ("MalformedDetail", "Detail is malformed."),
        ("MalformedDetail", "Detail is malformed."),
        ("NotAuthorizedForSourceException", "Not authorized for the source."),
        ("InvalidArgument", "Parameter Source is not valid. Reason: Source is a required argument."),
        (
            "InvalidArgument",
            "Parameter EventBusName is not valid. Reason: Event bus none does not exist: declare it in the app.",
        ),
    ]


def test_a_replay_takes_the_events_whose_own_time_is_in_its_range_s30(
    client: EventBridgeClient, engine: Engine
) -> None:
    at = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
    entry: Any = {"EventBusName": "events", "Source": "events-tests", "DetailType": "Old", "Detail": '{"pk": "old"}'}
    entry["Time"] = at
    client.put_events(Entries=[entry])
    second = timedelta(seconds=1)
    # Its start is in the range, its end is not; both are in whole seconds.
    for name, from_, to in [
        ("before", at - second, at),
        ("from", at + second / 2, at + second),
        ("after", at + second, at + 2 * second),
    ]:
        start(client, ReplayName=name, EventStartTime=from_, EventEndTime=to)
        wait_until(
            lambda name=name: client.describe_replay(ReplayName=name)["State"] == "COMPLETED",  # type: ignore[misc]
            what="the replay's end",
        )
    described = client.describe_replay(ReplayName="from")
    assert (described["EventStartTime"], described["EventLastReplayedTime"]) == (at, at.replace(second=0))
    bodies = [message.body for message in engine.reader().messages("out") if message.body["detail"]["pk"] == "old"]
    assert sorted(body.get("replay-name", "") for body in bodies) == ["", "from"]


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
            {"EventSourceArn": f"{ARN}:event-bus/events"},
            "ValidationException",
            "Parameter EventSourceArn is not valid. Reason: expected an archive's ARN",
        ),
        (
            {"EventSourceArn": "nothing"},
            "ValidationException",
            "1 validation error detected: Value 'nothing' at 'eventSourceArn' failed to satisfy constraint: Member "
            "must satisfy regular expression pattern: ^arn:aws",
        ),
        (
            {"Destination": {"Arn": f"{ARN}:event-bus/events", "FilterArns": [f"{ARN}:rule/events/none"]}},
            "ValidationException",
            f"Parameter Destination.FilterArns is not valid. Reason: Rule {ARN}:rule/events/none does not exist on "
            "EventBus events.",
        ),
        (
            {"EventStartTime": datetime(2031, 1, 1, tzinfo=UTC)},
            "ValidationException",
            "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.",
        ),
        ({"EventStartTime": datetime(1960, 1, 1, tzinfo=UTC)}, "ValidationException", "expected seconds since"),
        (
            {"ReplayName": "no spaces", "Description": "x" * 513},
            "ValidationException",
            "2 validation errors detected: Value 'no spaces' at 'replayName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [\\.\\-_A-Za-z0-9]+; Value 'xxx",
        ),
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


class Portions:
    """Holds the engine's replays: each takes as many portions as are allowed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._allowed = threading.Semaphore(0)
        run_once = ReplayWork.run_once

        def held(work: ReplayWork) -> float | None:
            assert self._allowed.acquire(timeout=BOUND_S)
            return run_once(work)

        monkeypatch.setattr(ReplayWork, "run_once", held)
        monkeypatch.setattr(replays_work, "_EVENTS_A_COMMIT", 2)

    def allow(self, portions: int = 1) -> None:
        self._allowed.release(portions)


@pytest.fixture
def portions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Portions]:
    portions = Portions(monkeypatch)
    yield portions
    portions.allow(1_000)


def wait_for(client: EventBridgeClient, name: str, state: str) -> None:
    wait_until(lambda: client.describe_replay(ReplayName=name)["State"] == state, what=f"a replay that is {state}")


def test_a_replay_is_cancelled_while_it_runs(client: EventBridgeClient, engine: Engine, portions: Portions) -> None:
    start(client, ReplayName="half")
    portions.allow()
    wait_for(client, "half", "RUNNING")
    answer = client.cancel_replay(ReplayName="half")
    assert (answer["State"], answer["ReplayArn"]) == ("CANCELLING", f"{ARN}:replay/half")
    portions.allow(1_000)
    wait_for(client, "half", "CANCELLED")
    described = client.describe_replay(ReplayName="half")
    delivered = [each for each in engine.reader().messages("out") if each.body.get("replay-name") == "half"]
    assert len(delivered) == 2
    assert described["ReplayEndTime"] >= described["EventLastReplayedTime"]
    with pytest.raises(client.exceptions.IllegalStatusException, match="Replay half is not in a valid state for this"):
        client.cancel_replay(ReplayName="half")


def test_what_is_not_there_is_not_cancelled(client: EventBridgeClient) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Replay never does not exist"):
        client.cancel_replay(ReplayName="never")


def test_replays_are_listed_by_name_page_by_page(client: EventBridgeClient) -> None:
    for name in ("list-c", "list-a", "list-b"):
        start(client, ReplayName=name)
        wait_for(client, name, "COMPLETED")
    first = client.list_replays(NamePrefix="list-", Limit=2)
    assert [each["ReplayName"] for each in first["Replays"]] == ["list-a", "list-b"]
    second = client.list_replays(NamePrefix="list-", Limit=2, NextToken=first["NextToken"])
    assert [each["ReplayName"] for each in second["Replays"]] == ["list-c"]
    assert "NextToken" not in second
    assert {*first["Replays"][0]} == {
        *("ReplayName", "EventSourceArn", "State"),
        *("EventStartTime", "EventEndTime", "EventLastReplayedTime", "ReplayStartTime", "ReplayEndTime"),
    }
    completed = client.list_replays(State="COMPLETED")["Replays"]
    assert {"list-a", "list-b", "list-c"} <= {each["ReplayName"] for each in completed}
    assert client.list_replays(State="FAILED")["Replays"] == []
    assert len(client.list_replays(EventSourceArn=f"{ARN}:archive/events")["Replays"]) >= 3
    assert client.list_replays(EventSourceArn=f"{ARN}:archive/other")["Replays"] == []


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        (
            {"NamePrefix": "x", "State": "FAILED"},
            "ValidationException",
            "At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix.",
        ),
        (
            {"State": "ENDED"},
            "ValidationException",
            "1 validation error detected: Value 'ENDED' at 'state' failed to satisfy constraint: Member must satisfy "
            "enum value set: [STARTING, RUNNING, CANCELLING, COMPLETED, CANCELLED, FAILED]",
        ),
        (
            {"Limit": 101},
            "ValidationException",
            "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value "
            "less than or equal to 100",
        ),
        ({"NextToken": "?"}, "InvalidToken", "The NextToken is none that was given."),
    ],
)
def test_a_list_that_cannot_be_is_refused(
    client: EventBridgeClient, fields: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError) as failure:
        client.list_replays(**fields)
    assert failure.value.response["Error"] == {"Code": code, "Message": message}


def test_a_replay_tells_its_description_and_the_rules_it_is_for(client: EventBridgeClient) -> None:
    destination = {"Arn": f"{ARN}:event-bus/events", "FilterArns": [f"{ARN}:rule/events/all"]}
    start(client, ReplayName="told", Description="after the mend", Destination=destination)
    described = client.describe_replay(ReplayName="told")
    assert (described["Description"], described["Destination"]) == ("after the mend", destination)


def test_what_is_not_there_or_not_offered_is_said(client: EventBridgeClient) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_replay(ReplayName="never")
    with pytest.raises(ClientError) as failure:
        client.list_connections()
    assert failure.value.response["Error"]["Code"] == "UnknownOperationException"
