"""EventBridge over boto3: what the app declares is looked at, and not changed; patterns are tried out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.core import json_text
from afterwrite.wiring import Engine
from bounds import BOUND_S
from server.clients import events_client

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

OF = "us-east-1:000000000000"
ARN = f"arn:aws:events:{OF}"
PATTERN = {"source": ["looked-at"], "detail": {"amount": [{"numeric": [">", 100]}]}}
EVENT = {
    "id": "1",
    "account": "000000000000",
    "source": "looked-at",
    "time": "2026-11-22T09:15:00Z",
    "region": "us-east-1",
    "resources": [],
    "detail-type": "Ordered",
    "detail": {"amount": 120},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventBridgeClient]:
    app = App("looked-at")
    mail, lake = app.queue("mail"), app.delivery_stream("lake")
    work = app.queue("work")

    @app.function()
    def count(request: Any, context: Any) -> None:
        """Take an event, and do nothing with it."""

    @work.consumer()
    def consume(message: Any, context: Any) -> None:
        """Take an event, and do nothing with it."""

    shop = app.bus("shop", archive_days=30)
    shop.rule("large", PATTERN, to=[mail, count, lake])
    shop.rule("all", {"source": ["looked-at"]}, to=[lake, consume])
    app.bus("default", archive_days=7).rule("default-rule", {"source": ["looked-at"]}, to=[mail])
    app.bus("stock")
    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        yield events_client(f"http://{engine.address[0]}:{engine.address[1]}")


def test_buses_are_listed_page_by_page(client: EventBridgeClient) -> None:
    first = client.list_event_buses(Limit=2)
    assert [each["Name"] for each in first["EventBuses"]] == ["default", "shop"]
    second = client.list_event_buses(Limit=2, NextToken=first["NextToken"])
    assert second["EventBuses"] == [{"Name": "stock", "Arn": f"{ARN}:event-bus/stock"}]
    assert "NextToken" not in second
    assert [each["Name"] for each in client.list_event_buses(NamePrefix="s")["EventBuses"]] == ["shop", "stock"]


@pytest.mark.parametrize("name", ["shop", f"{ARN}:event-bus/shop"])
def test_a_bus_is_described_by_its_name_or_arn(client: EventBridgeClient, name: str) -> None:
    described = client.describe_event_bus(Name=name)
    assert (described["Name"], described["Arn"]) == ("shop", f"{ARN}:event-bus/shop")


def test_without_a_name_the_default_bus_is_meant(client: EventBridgeClient) -> None:
    assert client.describe_event_bus()["Name"] == "default"
    (rule,) = client.list_rules()["Rules"]
    assert (rule["Name"], rule["Arn"]) == ("default-rule", f"{ARN}:rule/default-rule")


def test_an_archive_is_described_with_what_is_in_it(client: EventBridgeClient) -> None:
    assert client.describe_archive(ArchiveName="shop")["EventCount"] == 0
    entry: Any = {"Source": "looked-at", "DetailType": "Ordered", "Detail": "{}", "EventBusName": "shop"}
    assert client.put_events(Entries=[entry, entry])["FailedEntryCount"] == 0
    described: Any = client.describe_archive(ArchiveName="shop")
    del described["ResponseMetadata"]
    assert 200 < described.pop("SizeBytes") < 2_000
    assert described == {
        "ArchiveName": "shop",
        "ArchiveArn": f"{ARN}:archive/shop",
        "EventSourceArn": f"{ARN}:event-bus/shop",
        "State": "ENABLED",
        "RetentionDays": 30,
        "EventCount": 2,
    }


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["default", "shop"]),
        ({"NamePrefix": "s"}, ["shop"]),
        ({"EventSourceArn": f"{ARN}:event-bus/shop"}, ["shop"]),
        ({"EventSourceArn": f"{ARN}:event-bus/stock"}, []),
        ({"State": "ENABLED"}, ["default", "shop"]),
        ({"State": "CREATING"}, []),
        ({"Limit": 1}, ["default"]),
    ],
)
def test_archives_are_listed(client: EventBridgeClient, filters: dict[str, Any], names: list[str]) -> None:
    answer = client.list_archives(**filters)
    assert [each["ArchiveName"] for each in answer["Archives"]] == names
    assert ("NextToken" in answer) == ("Limit" in filters)


def test_a_rule_is_described(client: EventBridgeClient) -> None:
    described = client.describe_rule(Name="large", EventBusName="shop")
    assert json.loads(described["EventPattern"]) == PATTERN
    assert described["Arn"] == f"{ARN}:rule/shop/large"
    assert (described["State"], described["EventBusName"], described["CreatedBy"]) == ("ENABLED", "shop", OF[-12:])
    rules = client.list_rules(EventBusName=f"{ARN}:event-bus/shop")["Rules"]
    assert [rule["Name"] for rule in rules] == ["all", "large"]
    assert {*rules[0]} == {"Name", "Arn", "EventPattern", "State", "EventBusName"}
    assert [rule["Name"] for rule in client.list_rules(EventBusName="shop", NamePrefix="al")["Rules"]] == ["all"]


def test_a_rule_s_targets_are_listed(client: EventBridgeClient) -> None:
    pages = client.get_paginator("list_targets_by_rule").paginate(
        Rule="large", EventBusName="shop", PaginationConfig={"PageSize": 2}
    )
    assert [page["Targets"] for page in pages] == [
        [
            {"Id": "deliverystream-lake", "Arn": f"arn:aws:firehose:{OF}:deliverystream/lake"},
            {"Id": "function-count", "Arn": f"arn:aws:lambda:{OF}:function:count"},
        ],
        [{"Id": "queue-mail", "Arn": f"arn:aws:sqs:{OF}:mail"}],
    ]


@pytest.mark.parametrize(
    ("arn", "names"),
    [
        (f"arn:aws:firehose:{OF}:deliverystream/lake", ["all", "large"]),
        (f"arn:aws:lambda:{OF}:function:count", ["large"]),
        (f"arn:aws:sqs:{OF}:work", ["all"]),
        (f"arn:aws:sqs:{OF}:other", []),
    ],
)
def test_the_rules_of_a_target_are_listed(client: EventBridgeClient, arn: str, names: list[str]) -> None:
    assert client.list_rule_names_by_target(TargetArn=arn, EventBusName="shop")["RuleNames"] == names


@pytest.mark.parametrize(
    ("operation", "fields", "message"),
    [
        ("describe_event_bus", {"Name": "none"}, "Event bus none does not exist."),
        ("list_rules", {"EventBusName": "none"}, "Event bus none does not exist."),
        ("describe_rule", {"Name": "large"}, "Rule large does not exist on EventBus default."),
        ("list_targets_by_rule", {"Rule": "x", "EventBusName": "shop"}, "Rule x does not exist on EventBus shop."),
        ("describe_archive", {"ArchiveName": "stock"}, "Archive stock does not exist."),
        ("list_archives", {"EventSourceArn": f"{ARN}:event-bus/none"}, "Event bus none does not exist."),
    ],
)
def test_what_is_not_there_is_not_found(
    client: EventBridgeClient, operation: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException) as failure:
        getattr(client, operation)(**fields)
    assert failure.value.response["Error"]["Message"] == message


@pytest.mark.parametrize(
    ("operation", "fields", "message"),
    [
        (
            "list_archives",
            {"State": "ENABLED", "NamePrefix": "s"},
            "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix.",
        ),
        (
            "list_archives",
            {"State": "on"},
            "1 validation error detected: Value 'on' at 'state' failed to satisfy constraint: Member must satisfy enum "
            "value set: [ENABLED, DISABLED, CREATING, UPDATING, CREATE_FAILED, UPDATE_FAILED]",
        ),
        (
            "list_rules",
            {"Limit": 101, "NamePrefix": "?"},
            "2 validation errors detected: Value '?' at 'namePrefix' failed to satisfy constraint: Member must satisfy "
            r"regular expression pattern: [\.\-_A-Za-z0-9]+; Value '101' at 'limit' failed to satisfy constraint: "
            "Member must have value less than or equal to 100",
        ),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    client: EventBridgeClient, operation: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError) as failure:
        getattr(client, operation)(**fields)
    assert failure.value.response["Error"] == {"Code": "ValidationException", "Message": message}


@pytest.mark.parametrize(("amount", "matches"), [(120, True), (100, False)])
def test_a_pattern_is_tried_out(client: EventBridgeClient, amount: int, matches: bool) -> None:
    event = {**EVENT, "detail": {"amount": amount}}
    assert client.test_event_pattern(EventPattern=json.dumps(PATTERN), Event=json.dumps(event))["Result"] is matches


def test_others_are_answered_while_a_pattern_is_tried_out(
    client: EventBridgeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    loads = json_text.loads

    def wait_and_load(text: str) -> Any:
        begun.set()
        assert go_on.wait(BOUND_S)
        return loads(text)

    monkeypatch.setattr(json_text, "loads", wait_and_load)
    found: list[bool] = []

    def try_out() -> None:
        found.append(client.test_event_pattern(EventPattern=json.dumps(PATTERN), Event=json.dumps(EVENT))["Result"])

    trying = threading.Thread(target=try_out)
    trying.start()
    try:
        assert begun.wait(BOUND_S)
        assert client.describe_event_bus(Name="shop")["Name"] == "shop"
    finally:
        go_on.set()
        trying.join(BOUND_S)
    assert found == [True]


@pytest.mark.parametrize(
    ("operation", "named"),
    [("ListTargetsByRule", {"Rule": "all"}), ("ListRuleNamesByTarget", {"TargetArn": f"arn:aws:sqs:{OF}:mail"})],
)
@pytest.mark.parametrize("prefix", ["none-begins-so", 1])
def test_targets_and_their_rules_are_not_listed_by_prefix(
    client: EventBridgeClient, operation: str, named: dict[str, str], prefix: Any
) -> None:
    body = {"EventBusName": "shop", **named}
    assert raw(client, operation, {**body, "NamePrefix": prefix}) == raw(client, operation, body)


def raw(client: EventBridgeClient, operation: str, body: dict[str, Any]) -> Any:
    """The answer to a request that the SDK would not send."""
    request = Request(client.meta.endpoint_url, json.dumps(body).encode(), {"X-Amz-Target": f"AWSEvents.{operation}"})
    with urlopen(request) as answer:
        return json.load(answer)


def test_a_time_of_which_no_event_can_tell_is_refused(client: EventBridgeClient) -> None:
    entry = {"EventBusName": "shop", "Source": "me", "DetailType": "Said", "Detail": "{}"}
    last_s = 253_402_300_799
    answer = raw(client, "PutEvents", {"Entries": [{**entry, "Time": last_s}, {**entry, "Time": last_s + 1}]})
    assert (answer["FailedEntryCount"], answer["Entries"][1]["ErrorCode"]) == (1, "InvalidArgument")


def test_an_event_needs_no_resources_to_be_tried_out(client: EventBridgeClient) -> None:
    event = {name: value for name, value in EVENT.items() if name not in ("resources", "detail")}
    pattern = '{"detail-type": ["Ordered"]}'
    assert client.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"] is True


@pytest.mark.parametrize("pattern", ["{", '{"source": "looked-at"}', '{"source": []}', '{"source": [{"PREFIX": "x"}]}'])
def test_a_pattern_that_is_none_is_refused(client: EventBridgeClient, pattern: str) -> None:
    with pytest.raises(client.exceptions.InvalidEventPatternException, match=r"Event pattern is not valid\. Reason: "):
        client.test_event_pattern(EventPattern=pattern, Event=json.dumps(EVENT))


@pytest.mark.parametrize("time", [1, None, "not-a-time"])
def test_an_event_without_a_time_that_can_be_read_is_refused(client: EventBridgeClient, time: Any) -> None:
    with pytest.raises(ClientError) as failure:
        client.test_event_pattern(EventPattern='{"source": ["looked-at"]}', Event=json.dumps({**EVENT, "time": time}))
    error = failure.value.response["Error"]
    assert error == {"Code": "ValidationException", "Message": "Parameter Event is not valid. Reason: Invalid time."}


@pytest.mark.parametrize("left_out", ["version", "resources", "detail"])
def test_an_event_may_do_without_what_the_service_does_without(client: EventBridgeClient, left_out: str) -> None:
    event = {name: value for name, value in EVENT.items() if name != left_out}
    pattern = json.dumps({"source": [EVENT["source"]]})
    assert client.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))["Result"]


@pytest.mark.parametrize("event", ["", "plain text", '"text"', "[]", '{"source": "looked-at"}', "[" * 100_000])
def test_an_event_that_is_none_is_refused(client: EventBridgeClient, event: str) -> None:
    with pytest.raises(ClientError) as failure:
        client.test_event_pattern(EventPattern='{"source": ["looked-at"]}', Event=event)
    error = failure.value.response["Error"]
    assert error == {"Code": "ValidationException", "Message": "Parameter Event is not valid."}


@pytest.mark.parametrize(
    ("operation", "fields", "declared"),
    [
        ("create_event_bus", {"Name": "new"}, "app.bus(name)"),
        ("delete_event_bus", {"Name": "shop"}, "app.bus(name)"),
        ("put_rule", {"Name": "new", "EventPattern": "{}"}, "bus.rule("),
        ("disable_rule", {"Name": "large"}, "bus.rule("),
        ("put_targets", {"Rule": "large", "Targets": [{"Id": "x", "Arn": "arn"}]}, "bus.rule("),
        ("delete_rule", {"Name": "large"}, "bus.rule("),
        ("create_archive", {"ArchiveName": "new", "EventSourceArn": f"{ARN}:event-bus/shop"}, "archive_days"),
        ("delete_archive", {"ArchiveName": "shop"}, "archive_days"),
    ],
)
def test_what_the_app_declares_is_not_changed_over_the_wire(
    client: EventBridgeClient, operation: str, fields: dict[str, Any], declared: str
) -> None:
    with pytest.raises(client.exceptions.OperationDisabledException) as failure:
        getattr(client, operation)(**fields)
    message = failure.value.response["Error"]["Message"]
    assert "is not offered: the app declares its" in message
    assert declared in message
