"""SQS's answers beside recorded ones of AWS's: words, statuses, what a receipt is good for when its time is up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.store.environment import Environment
from afterwrite.wiring import Engine
from afterwrite.wiring.seams import Seams
from embedded import Clock
from engine_process import wait_until
from server.aws_clients import client

ARN = "arn:aws:sqs:us-east-1:000000000000"


@pytest.fixture(scope="module")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    app = App("sqs-answers")
    for name in ("any", "attributes", "named", "late", "orders.fifo", "late.fifo", "purged.fifo", "kinds.fifo"):
        app.queue(name)
    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        yield client(engine, "sqs")


def refusal(operation: Any, **fields: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as failure:
        operation(**fields)
    response = failure.value.response
    return {**response["Error"], "Status": response["ResponseMetadata"]["HTTPStatusCode"]}


def receive(sqs: Any, queue: str, **fields: Any) -> Any:
    found = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, AttributeNames=["All"], **fields)["Messages"]
    assert len(found) == 1
    return found[0]


def is_visible(sqs: Any, queue: str) -> bool:
    wanted = ["ApproximateNumberOfMessages"]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=wanted)["Attributes"]
    return bool(found["ApproximateNumberOfMessages"] == "1")


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ({"DataType": "String", "StringValue": ""}, "Message (user) attribute 'a' must contain a non-empty value"),
        ({"DataType": "Binary", "StringValue": "x"}, "must contain a non-empty value of type 'Binary'."),
        ({"DataType": "string", "StringValue": "x"}, "The type of message (user) attribute 'a' is invalid."),
        ({"DataType": "Number", "StringValue": "x"}, "Can't cast the value of message (user) attribute 'a'"),
        ({"DataType": "String", "StringValue": "x\x08"}, "Invalid character '#x8' was found in the value"),
    ],
)
def test_an_attribute_that_is_wrong_is_refused_in_sqs_words(sqs: Any, attribute: Any, message: str) -> None:
    found = refusal(sqs.send_message, QueueUrl="any", MessageBody="x", MessageAttributes={"a": attribute})
    assert found["Code"] == "InvalidParameterValue"
    assert message in found["Message"]


@pytest.mark.parametrize("name", ["a§", "a b", ".a", "a.", "a..b", "AWS.a", "amazon.a", "x" * 257])
def test_an_attribute_s_name_has_letters_digits_and_little_else(sqs: Any, name: str) -> None:
    attribute = {"DataType": "String", "StringValue": "x"}
    found = refusal(sqs.send_message, QueueUrl="any", MessageBody="x", MessageAttributes={name: attribute})
    assert found["Code"] == "InvalidParameterValue"


def test_letters_of_any_language_may_name_an_attribute(sqs: Any) -> None:
    given = {"größe.1": {"DataType": "String", "StringValue": "x"}}
    sqs.send_message(QueueUrl="named", MessageBody="x", MessageAttributes=given)
    assert receive(sqs, "named", MessageAttributeNames=["All"])["MessageAttributes"] == given


def test_attributes_are_chosen_by_beginnings_without_a_dot_and_by_a_star(sqs: Any) -> None:
    given = {name: {"DataType": "String", "StringValue": "x"} for name in ("order", "order.id", "other")}
    sqs.send_message(QueueUrl="attributes", MessageBody="x", MessageAttributes=given)
    shown = [
        set(receive(sqs, "attributes", MessageAttributeNames=[asked], VisibilityTimeout=0).get("MessageAttributes", ()))
        for asked in ("*", "ord.*")
    ]
    assert shown == [{"order", "order.id", "other"}, {"order", "order.id"}]


def test_a_message_says_when_it_was_received_first_also_later(sqs: Any) -> None:
    sqs.send_message(QueueUrl="any", MessageBody="x")
    first, second = (receive(sqs, "any", VisibilityTimeout=0)["Attributes"] for _ in range(2))
    assert (first["ApproximateReceiveCount"], second["ApproximateReceiveCount"]) == ("1", "2")
    assert second["ApproximateFirstReceiveTimestamp"] == first["ApproximateFirstReceiveTimestamp"]
    assert int(first["ApproximateFirstReceiveTimestamp"]) >= int(first["SentTimestamp"])


def test_after_its_time_a_receipt_still_hides_and_in_a_fifo_queue_no_longer(sqs: Any) -> None:
    sqs.send_message(QueueUrl="late", MessageBody="x")
    sqs.send_message(QueueUrl="late.fifo", MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    receipts = {queue: receive(sqs, queue, VisibilityTimeout=1)["ReceiptHandle"] for queue in ("late", "late.fifo")}
    wait_until(lambda: all(is_visible(sqs, queue) for queue in receipts))

    late = {"QueueUrl": "late", "ReceiptHandle": receipts["late"]}
    sqs.change_message_visibility(**late, VisibilityTimeout=600)
    assert "Messages" not in sqs.receive_message(QueueUrl="late")
    sqs.delete_message(**late)
    sqs.delete_message(**late)
    gone = refusal(sqs.change_message_visibility, **late, VisibilityTimeout=600)
    assert gone["Code"] == "InvalidParameterValue"
    assert gone["Message"].endswith("Message does not exist or is not available for visibility timeout change.")

    fifo = {"QueueUrl": "late.fifo", "ReceiptHandle": receipts["late.fifo"]}
    expired = refusal(sqs.delete_message, **fifo)
    assert expired["Code"] == "InvalidParameterValue"
    reason = f"Value {receipts['late.fifo']} for parameter ReceiptHandle is invalid. Reason: The receipt handle has"
    assert expired["Message"] == f"{reason} expired."
    later = refusal(sqs.change_message_visibility, **fifo, VisibilityTimeout=600)
    assert later["Code"] == "AWS.SimpleQueueService.MessageNotInflight"
    again = receive(sqs, "late.fifo")
    sqs.delete_message(QueueUrl="late.fifo", ReceiptHandle=again["ReceiptHandle"])
    sqs.delete_message(QueueUrl="late.fifo", ReceiptHandle=again["ReceiptHandle"])


def test_a_message_is_hidden_for_at_most_twelve_hours_after_its_receive_s33(tmp_path: Path, clock: Clock) -> None:
    app = App("sqs-hidden")
    app.queue("hidden")
    with Engine(app, Settings(tmp_path), seams=Seams(open_store=partial(Environment, clock_us=clock))) as engine:
        sqs = engine.boto3_session().client("sqs")
        sqs.send_message(QueueUrl="hidden", MessageBody="x")
        held = {"QueueUrl": "hidden", "ReceiptHandle": receive(sqs, "hidden")["ReceiptHandle"]}
        sqs.change_message_visibility(**held, VisibilityTimeout=43_200)
        clock.advance(ms=11 * 3_600_000)
        sqs.change_message_visibility(**held, VisibilityTimeout=3_600)
        found = refusal(sqs.change_message_visibility, **held, VisibilityTimeout=3_601)
        assert found["Code"] == "InvalidParameterValue"
        assert found["Message"].endswith("Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")


def sent_at(tmp_path: Path, clock: Clock, *ids: str) -> list[str]:
    """The ids of the messages that come of a start of the engine and sending with these deduplication ids."""
    app = App("sqs-deduplicated")
    app.queue("once.fifo")
    with Engine(app, Settings(tmp_path), seams=Seams(open_store=partial(Environment, clock_us=clock))) as engine:
        sqs = engine.boto3_session().client("sqs")
        message = {"QueueUrl": "once.fifo", "MessageBody": "x", "MessageGroupId": "g"}
        return [sqs.send_message(**message, MessageDeduplicationId=each)["MessageId"] for each in ids]


@pytest.mark.parametrize("set_back_s", [60, 600, 86_400, 86_407])
def test_a_message_is_known_again_for_five_minutes_whatever_the_clock_is_set_back_to_s33(
    tmp_path: Path, clock: Clock, set_back_s: int
) -> None:
    (first,) = sent_at(tmp_path, clock, "a")
    clock.advance(s=200)
    (second,) = sent_at(tmp_path, clock, "b")
    clock.advance(s=-set_back_s)
    assert sent_at(tmp_path, clock, "a", "b") == [first, second]
    clock.advance(s=99)
    assert sent_at(tmp_path, clock, "a", "b") == [first, second]
    clock.advance(s=2)
    (first_again, still_second) = sent_at(tmp_path, clock, "a", "b")
    assert first_again != first
    assert still_second == second
    clock.advance(s=200)
    (still_first, second_again) = sent_at(tmp_path, clock, "a", "b")
    assert still_first == first_again
    assert second_again != second
    # When the clock is where it was before, nothing is left of then: what is taken for sent before is lost.
    clock.advance(s=max(0, set_back_s - 301))
    later = sent_at(tmp_path, clock, "a", "b")
    assert {first, second}.isdisjoint(later)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ({"MessageDeduplicationId": "2"}, "The request must contain the parameter MessageGroupId."),
        ({"MessageGroupId": "g"}, "The queue should either have ContentBasedDeduplication enabled or"),
    ],
)
def test_a_batch_for_a_fifo_queue_is_refused_as_a_whole(sqs: Any, lacking: dict[str, str], message: str) -> None:
    whole = {"Id": "1", "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "1"}
    entries = [whole, {"Id": "2", "MessageBody": "x", **lacking}]
    found = refusal(sqs.send_message_batch, QueueUrl="orders.fifo", Entries=entries)
    assert found["Code"] == "InvalidParameterValue"
    assert found["Message"].startswith(message)
    assert "Messages" not in sqs.receive_message(QueueUrl="orders.fifo")


def test_what_was_purged_may_be_sent_again_at_once(sqs: Any) -> None:
    message = {"QueueUrl": "purged.fifo", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    sqs.send_message(MessageBody="1", **message)
    sqs.purge_queue(QueueUrl="purged.fifo")
    sent = sqs.send_message(MessageBody="2", **message)
    again = sqs.send_message(MessageBody="3", **message)
    assert again["MessageId"] == sent["MessageId"]
    # A purge takes its time, as SQS's does.
    wait_until(lambda: is_visible(sqs, "purged.fifo"))
    assert receive(sqs, "purged.fifo")["Body"] == "2"


def test_a_queue_stays_of_its_kind(sqs: Any) -> None:
    wanted = {"FifoQueue": "true"}
    sqs.set_queue_attributes(QueueUrl="kinds.fifo", Attributes=wanted)
    assert refusal(sqs.set_queue_attributes, QueueUrl="any", Attributes=wanted)["Code"] == "InvalidAttributeName"
    found = refusal(sqs.set_queue_attributes, QueueUrl="kinds.fifo", Attributes={"FifoQueue": "false"})
    assert found["Code"] == "InvalidAttributeValue"
    assert found["Message"].endswith("Reason: Modifying queue type is not supported.")
    shown = sqs.get_queue_attributes(QueueUrl="kinds.fifo", AttributeNames=["All"])["Attributes"]
    assert (shown["DeduplicationScope"], shown["FifoThroughputLimit"]) == ("queue", "perQueue")


POLICY = '{"maxReceiveCount": "%s", "deadLetterTargetArn": "' + ARN + ':any-dead-letters"}'


@pytest.mark.parametrize(
    ("queue", "same", "other"),
    [
        ("any", {"DelaySeconds": "0"}, {"DelaySeconds": "1"}),
        ("any", {"VisibilityTimeout": "30"}, {"VisibilityTimeout": "60"}),
        ("any", {"RedrivePolicy": POLICY % 3}, {"RedrivePolicy": POLICY % 4}),
        ("any", {"MessageRetentionPeriod": "60"}, {"RedrivePolicy": "none"}),
        ("orders.fifo", {"FifoQueue": "true"}, {"ContentBasedDeduplication": "true"}),
    ],
)
def test_a_queue_is_found_with_the_attributes_that_it_has(
    sqs: Any, queue: str, same: dict[str, str], other: dict[str, str]
) -> None:
    assert sqs.create_queue(QueueName=queue, Attributes=same)["QueueUrl"].endswith(f"/{queue}")
    found = refusal(sqs.create_queue, QueueName=queue, Attributes={**same, **other})
    (name,) = other
    assert (found["Code"], found["QueryErrorCode"]) == ("QueueAlreadyExists", "QueueNameExists")
    what = "A queue already exists with the same name and a different value for attribute"
    assert found["Message"] == f"{what} {name}"
    unknown = refusal(sqs.create_queue, QueueName=queue, Attributes={"Nothing": "1"})
    assert (unknown["Code"], unknown["Message"]) == ("InvalidAttributeName", "Unknown Attribute Nothing.")


@pytest.mark.parametrize(
    ("operation", "fields", "found"),
    [
        (
            "send_message",
            {"QueueUrl": "orders.fifo", "MessageBody": "x"},
            {"Code": "MissingParameter", "QueryErrorCode": "MissingRequiredParameterException"},
        ),
        (
            "send_message",
            {"QueueUrl": "any", "MessageBody": "x", "MessageGroupId": "a b"},
            {
                "Message": "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include "
                "alphanumeric and punctuation characters. 1 to 128 in length."
            },
        ),
        (
            "send_message",
            {"QueueUrl": "any", "MessageBody": "x", "MessageDeduplicationId": "d"},
            {"Code": "InvalidParameterValue"},
        ),
        (
            "send_message",
            {"QueueUrl": "any", "MessageBody": "x", "DelaySeconds": 901},
            {
                "Message": "Value 901 for parameter DelaySeconds is invalid. "
                "Reason: DelaySeconds must be >= 0 and <= 900."
            },
        ),
        (
            "receive_message",
            {"QueueUrl": "any", "WaitTimeSeconds": 21},
            {
                "Message": "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if "
                "provided."
            },
        ),
        (
            "send_message",
            {
                "QueueUrl": "any",
                "MessageBody": "x",
                "MessageSystemAttributes": {"Trace": {"DataType": "String", "StringValue": "x"}},
            },
            {"Code": "InvalidParameterValue", "Message": "Message system attribute name 'Trace' is invalid."},
        ),
        (
            "send_message",
            {
                "QueueUrl": "any",
                "MessageBody": "x",
                "MessageAttributes": {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(11)},
            },
            {"Message": "Number of message attributes [11] exceeds the allowed maximum [10]."},
        ),
        (
            "send_message_batch",
            {"QueueUrl": "any", "Entries": [{"Id": each, "MessageBody": "x" * 600_000} for each in "ab"]},
            {"Message": "Batch requests cannot be longer than 1048576 bytes. You have sent 1200000 bytes."},
        ),
        (
            "send_message",
            {"QueueUrl": "any", "MessageBody": "x\x01\uffff"},
            {
                "Code": "InvalidMessageContents",
                "Message": "Invalid binary character '#x1' was found in the message body, the set of allowed "
                "characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF].",
            },
        ),
        *(
            (
                operation,
                {"QueueUrl": "any", "Entries": []},
                {
                    "Code": "AWS.SimpleQueueService.EmptyBatchRequest",
                    "Message": f"There should be at least one {named}RequestEntry in the request.",
                },
            )
            for operation, named in (
                ("send_message_batch", "SendMessageBatch"),
                ("delete_message_batch", "DeleteMessageBatch"),
                ("change_message_visibility_batch", "ChangeMessageVisibilityBatch"),
            )
        ),
        (
            "delete_message_batch",
            {"QueueUrl": "any", "Entries": [{"Id": "", "ReceiptHandle": "x"}]},
            {
                "Code": "AWS.SimpleQueueService.InvalidBatchEntryId",
                "Message": "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can "
                "be at most 80 letters long.",
            },
        ),
        (
            "delete_message",
            {"QueueUrl": "any", "ReceiptHandle": "x"},
            {"Code": "ReceiptHandleIsInvalid", "Status": 404},
        ),
        (
            "start_message_move_task",
            {"SourceArn": f"{ARN}:any-dead-letters", "DestinationArn": f"{ARN}:nowhere"},
            {
                "Code": "ResourceNotFoundException",
                "Message": "The resource that you specified for the DestinationArn parameter doesn't exist.",
                "Status": 404,
            },
        ),
        (
            "start_message_move_task",
            {"SourceArn": f"{ARN}:any"},
            {"Message": "Source queue must be configured as a Dead Letter Queue."},
        ),
        (
            "cancel_message_move_task",
            {"TaskHandle": "nonsense"},
            {"Code": "InvalidParameterValue", "Message": "Value for parameter TaskHandle is invalid."},
        ),
        (
            "cancel_message_move_task",
            {"TaskHandle": "bm93aGVyZS8x"},
            {"Message": "The resource that you specified for the SourceArn parameter doesn't exist."},
        ),
        (
            "cancel_message_move_task",
            {"TaskHandle": "YW55LWRlYWQtbGV0dGVycy83"},
            {"Code": "ResourceNotFoundException", "Message": "Task does not exist."},
        ),
    ],
)
def test_refusals_are_worded_as_aws_words_them(
    sqs: Any, operation: str, fields: dict[str, Any], found: dict[str, Any]
) -> None:
    refused = refusal(getattr(sqs, operation), **fields)
    assert {name: refused.get(name) for name in found} == found


def test_a_dead_letter_that_is_moved_back_is_sent_anew(tmp_path: Path, clock: Clock) -> None:
    app = App("sqs-moved")
    app.queue("tried", max_receives=1)
    with Engine(app, Settings(tmp_path), seams=Seams(open_store=partial(Environment, clock_us=clock))) as engine:
        sqs = engine.boto3_session().client("sqs")
        sqs.send_message(QueueUrl="tried", MessageBody="x")
        before = receive(sqs, "tried", VisibilityTimeout=1)
        clock.advance(ms=2_000)
        assert "Messages" not in sqs.receive_message(QueueUrl="tried")
        dead = receive(sqs, "tried-dead-letters", VisibilityTimeout=1)
        assert dead["Attributes"]["SentTimestamp"] == before["Attributes"]["SentTimestamp"]
        clock.advance(ms=2_000)
        sqs.start_message_move_task(SourceArn=f"{ARN}:tried-dead-letters")
        again = receive(sqs, "tried")
        waited_ms = int(again["Attributes"]["SentTimestamp"]) - int(before["Attributes"]["SentTimestamp"])
        assert (again["MessageId"], again["Attributes"]["ApproximateReceiveCount"]) == (before["MessageId"], "1")
        assert waited_ms >= 4_000
