"""Who calls a function on Lambda, and what it brings, by the documented forms of the events."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from afterwrite.core.changes import Change
from afterwrite.core.invocations import Message
from afterwrite.core.lambda_events import (
    Caller,
    Incoming,
    batch_answer,
    changes_of,
    invocation_of,
    invocations_of,
    lowest,
    recognise,
)
from lambda_events import dynamodb_record, kinesis_record, sns_notification, sqs_record

EVENT: dict[str, Any] = {
    "version": "0",
    "id": "e-1",
    "detail-type": "Paid",
    "source": "shop",
    "resources": ["arn:x", "afterwrite:effect/c/route/0"],
    "detail": {"order": 1},
}


@pytest.mark.parametrize(
    ("event", "caller", "by_pipe"),
    [
        ({"Records": [dynamodb_record(1, "a")]}, "dynamodb", False),
        ({"Records": [kinesis_record(1, "a", {})]}, "kinesis", False),
        ({"Records": [sqs_record("body")]}, "sqs", False),
        ({"Records": [{"EventSource": "aws:sns", "Sns": sns_notification("x")}]}, "sns", False),
        (EVENT, "eventbridge", False),
        ([dynamodb_record(1, "a")], "dynamodb", True),
        ({"afterwrite": {"redrive": {"table": "t"}}}, "redrive", False),
        ({"afterwrite": {"id": "i"}, "request": {}}, "invocation", False),
        ({"Records": [{"anything": 1}]}, "invocation", False),
        ([1, 2], "invocation", False),
        (None, "invocation", False),
    ],
)
def test_a_caller_is_known_by_the_form_of_its_event(event: Any, caller: Caller, by_pipe: bool) -> None:
    incoming = recognise(event)
    assert (incoming.caller, incoming.by_pipe) == (caller, by_pipe)


def lane_of(change: Change) -> str:
    return str(change.keys["pk"])


def test_a_stream_s_changes_come_in_order_under_the_declared_name_of_their_table() -> None:
    records = [dynamodb_record(number, "a", table="dev-orders") for number in (9, 10, 11)]
    delivery = changes_of(recognise({"Records": records}), lane_of, {"dev-orders": "orders"}.__getitem__)
    assert [(each.checkpoint, each.lane, each.change.table) for each in delivery.changes] == [
        (9, "a", "orders"),
        (10, "a", "orders"),
        (11, "a", "orders"),
    ]
    assert delivery.item_ids == {9: "9", 10: "10", 11: "11"}


def test_the_lowest_failure_is_the_checkpoint_as_an_integer_s1_s9() -> None:
    assert lowest([1_000, 999]) == 999
    assert batch_answer([]) == {"batchItemFailures": []}
    assert batch_answer(["7"]) == {"batchItemFailures": [{"itemIdentifier": "7"}]}


def test_a_pipe_s_items_are_named_by_event_id_s31() -> None:
    delivery = changes_of(recognise([dynamodb_record(5, "a")]), lane_of, str)
    assert delivery.item_ids == {5: f"{5:032x}"}


def test_changes_through_kinesis_are_ordered_by_time_and_taken_once_s26() -> None:
    later = kinesis_record(1, "a", {"id": "second", "at": 2_000})
    earlier = kinesis_record(2, "a", {"id": "first", "at": 1_000})
    again = kinesis_record(3, "a", {"id": "second", "at": 2_000})
    delivery = changes_of(recognise({"Records": [later, earlier, again]}), lane_of, str)
    assert [(each.change.id, each.checkpoint) for each in delivery.changes] == [("first", 2), ("second", 1)]


def test_changes_through_kinesis_of_one_time_are_linked_by_their_images_s26() -> None:
    made = [
        {"id": "first", "at": 1_000, "sk": "x", "attributes": {"n": 1}},
        {"id": "second", "at": 1_000, "sk": "x", "from": {"n": 1}, "attributes": {"n": 2}},
        {"id": "third", "at": 1_000, "sk": "x", "from": {"n": 2}, "attributes": {"n": 1}},
    ]
    records = [kinesis_record(number, "a", made[at]) for number, at in enumerate((2, 0, 1), 1)]
    delivery = changes_of(recognise({"Records": records}), lane_of, str)
    assert [each.change.id for each in delivery.changes] == ["first", "second", "third"]
    # Each has a version of its own, by which a view can keep the newest.
    assert len({each.change.version for each in delivery.changes}) == 3


def test_a_record_that_holds_no_change_is_named_and_the_others_are_taken() -> None:
    broken = kinesis_record(1, "a", {})
    broken["kinesis"]["data"] = base64.b64encode(b"[1]").decode()
    delivery = changes_of(recognise({"Records": [broken, kinesis_record(2, "a", {"id": "x", "at": 1})]}), lane_of, str)
    assert delivery.unreadable == [1]
    assert [each.checkpoint for each in delivery.changes] == [2]


def messages(*records: dict[str, Any], as_messages: bool = True) -> list[Any]:
    return invocations_of(Incoming("sqs", records), as_messages=as_messages)


def test_a_queue_s_message_is_given_as_it_was_sent() -> None:
    record = sqs_record('{"n":1}', attributes={"afterwrite-id": "c/r/0", "n": 3}, receive_count=2)
    (each,) = messages(record)
    assert each.payload == Message("c/r/0", {"n": 1}, 1_700_000_000_000, None, {"n": 3}, 2)
    assert (each.message_id, each.item_id, each.attempt) == ("c/r/0", record["messageId"], 2)


def test_a_text_stays_a_text_whatever_it_looks_like() -> None:
    (text,) = messages(sqs_record("12", attributes={"afterwrite-id": "i", "afterwrite-text": "1"}))
    (number,) = messages(sqs_record("12", attributes={"afterwrite-id": "i"}))
    assert (text.payload.body, number.payload.body) == ("12", 12)


def test_a_message_through_a_topic_keeps_its_subject_and_attributes() -> None:
    body = orjson.dumps(sns_notification('{"n":1}', subject="about", attributes={"afterwrite-id": "c/r/0", "l": ["x"]}))
    (each,) = messages(sqs_record(body.decode()))
    assert each.payload == Message("c/r/0", {"n": 1}, 1_700_000_000_000, "about", {"l": ["x"]}, 1)


def test_an_event_of_a_rule_is_the_body_and_named_by_its_effect() -> None:
    (each,) = messages(sqs_record(orjson.dumps(EVENT).decode()))
    assert (each.payload.id, each.payload.body) == ("c/route/0", EVENT)
    (as_request,) = messages(sqs_record(orjson.dumps(EVENT).decode()), as_messages=False)
    assert as_request.payload == EVENT


def test_a_replayed_event_is_another_message_s30() -> None:
    first, replayed = EVENT, {**EVENT, "replay-name": "again"}
    ids = [each.message_id for each in invocations_of(Incoming("eventbridge", [first, replayed]), as_messages=False)]
    assert ids == ["c/route/0", "c/route/0/again"]


def test_messages_of_a_group_share_a_lane() -> None:
    grouped = sqs_record("1")
    grouped["attributes"]["MessageGroupId"] = "g"
    assert [each.lane for each in messages(grouped, sqs_record("2"))] == ["g", None]


def test_an_invocation_is_named_by_its_effect_else_by_the_request_s35() -> None:
    named = invocation_of({"afterwrite": {"id": "c/r/0"}, "request": {"n": 1}}, "r-1")
    assert (named.message_id, named.payload) == ("c/r/0", {"n": 1})
    bare = invocation_of({"n": 1}, "r-1")
    assert (bare.message_id, bare.payload) == ("r-1", {"n": 1})
