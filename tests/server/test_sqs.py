"""SQS over boto3: producers and consumers of an app's queues that are no part of the app."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from afterwrite import App, Change, Context, Message, Selection
from afterwrite.config import Settings
from afterwrite.store import queues
from afterwrite.wiring import Engine
from bounds import BOUND_S
from engine_process import wait_until
from server.aws_clients import client

ACCOUNT = "000000000000"
CONSUMED: list[Message] = []


def declare() -> App:
    app = App("sqs-tests")
    things = app.table("things", partition_key="pk", sort_key="sk")
    out = app.queue("out", max_receives=2)
    for name in ("plain", "short", "polled", "purged", "kept", "batches", "settings"):
        app.queue(name)
    app.queue("orders.fifo")
    consumed = app.queue("consumed")

    @consumed.consumer()
    def consume(message: Message, context: Context) -> None:
        CONSUMED.append(message)
        if message.body == "poison":
            raise ValueError("poison")

    @app.function(retries=0)
    def broken(request: Any, context: Context) -> None:
        raise ValueError("broken")

    @things.on(sort_key="out")
    def announce(change: Change) -> Any:
        return out.send({"n": change.new and change.new["n"]})

    @things.on(sort_key="call")
    def call(change: Change) -> Any:
        return broken.later(pk=change.keys["pk"])

    return app


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(declare(), Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        yield engine


@pytest.fixture(scope="module")
def sqs(engine: Engine) -> Any:
    return client(engine, "sqs")


def url(sqs: Any, name: str) -> str:
    found: str = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return found


def receive(sqs: Any, queue: str, **fields: Any) -> list[Any]:
    request: dict[str, Any] = {
        "MaxNumberOfMessages": 10,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
        **fields,
    }
    found: list[Any] = sqs.receive_message(QueueUrl=url(sqs, queue), **request).get("Messages", [])
    return found


def delete(sqs: Any, queue: str, *messages: Any) -> None:
    for each in messages:
        sqs.delete_message(QueueUrl=url(sqs, queue), ReceiptHandle=each["ReceiptHandle"])


def attributes(sqs: Any, queue: str) -> dict[str, str]:
    found: dict[str, str] = sqs.get_queue_attributes(QueueUrl=url(sqs, queue), AttributeNames=["All"])["Attributes"]
    return found


def test_what_is_sent_is_received_as_it_was_and_deleted(sqs: Any) -> None:
    sent_attributes = {
        "text": {"DataType": "String", "StringValue": "ä"},
        "n": {"DataType": "Number.int", "StringValue": "1.50"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    # boto3 checks both digests of what it receives.
    sent = sqs.send_message(QueueUrl=url(sqs, "plain"), MessageBody='{ "a" : 1.0 }', MessageAttributes=sent_attributes)
    (message,) = receive(sqs, "plain")
    assert message["Body"] == '{ "a" : 1.0 }'
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MessageAttributes"] == sent_attributes
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageId"] == sent["MessageId"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert attributes(sqs, "plain")["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert receive(sqs, "plain") == []
    delete(sqs, "plain", message)
    assert attributes(sqs, "plain")["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_digests_are_those_of_the_documented_algorithm() -> None:
    from afterwrite.server.message_attributes import md5
    from afterwrite.server.sqs_requests import md5_of_text

    assert md5_of_text("This is a test message") == "fafb00f5732ab283681e124bf8747ed1"
    # AWS's own example of two attributes, as its SDKs compute it.
    given = {
        "timestamp": {"DataType": "Number", "StringValue": "1493147359900"},
    }
    assert md5(given) == "235c5c510d26fb653d073faed50ae77c"


def test_only_the_attributes_asked_for_are_shown(sqs: Any) -> None:
    given = {name: {"DataType": "String", "StringValue": "x"} for name in ("a.one", "a.two", "b")}
    sqs.send_message(QueueUrl=url(sqs, "kept"), MessageBody="x", MessageAttributes=given)
    (message,) = receive(
        sqs, "kept", MessageAttributeNames=["a.*"], MessageSystemAttributeNames=["SentTimestamp"], VisibilityTimeout=0
    )
    assert set(message["MessageAttributes"]) == {"a.one", "a.two"}
    assert set(message["Attributes"]) == {"SentTimestamp"}
    sqs.purge_queue(QueueUrl=url(sqs, "kept"))


def test_effects_of_routes_reach_consumers_outside_in_the_order_of_their_items(engine: Engine, sqs: Any) -> None:
    table = engine.table("things")
    for number in range(3):
        table.put({"pk": "a", "sk": "out", "n": number})
    table.put({"pk": "b", "sk": "out", "n": 10})
    seen: list[str] = []
    while len(seen) < 4:
        messages = receive(sqs, "out", WaitTimeSeconds=20)
        # One message of each item at a time.
        groups = [each["Attributes"]["MessageGroupId"] for each in messages]
        assert len(set(groups)) == len(groups)
        seen += [each["Body"] for each in messages]
        delete(sqs, "out", *messages)
    assert [body for body in seen if body != '{"n":10}'] == ['{"n":0}', '{"n":1}', '{"n":2}']


def test_a_message_that_is_not_deleted_comes_again_and_then_is_a_dead_letter_s33(engine: Engine, sqs: Any) -> None:
    sent = sqs.send_message(QueueUrl=url(sqs, "out"), MessageBody="unwanted")
    counts = []
    for _ in range(2):
        (message,) = receive(sqs, "out", WaitTimeSeconds=20, VisibilityTimeout=0)
        counts.append(message["Attributes"]["ApproximateReceiveCount"])
    assert counts == ["1", "2"]
    wait_until(lambda: receive(sqs, "out") == [] and attributes(sqs, "out")["ApproximateNumberOfMessages"] == "0")
    (dead,) = receive(sqs, "out-dead-letters")
    assert (dead["MessageId"], dead["Body"]) == (sent["MessageId"], "unwanted")
    assert dead["Attributes"]["DeadLetterQueueSourceArn"] == f"arn:aws:sqs:us-east-1:{ACCOUNT}:out"
    assert dead["MessageAttributes"]["dead_letter_reason"]["StringValue"] == "received 2 times and not deleted"
    delete(sqs, "out-dead-letters", dead)


def test_an_operator_s_redrive_sends_a_dead_letter_as_it_came(engine: Engine, sqs: Any) -> None:
    given = {"n": {"DataType": "Number", "StringValue": "1.50"}}
    sqs.send_message(QueueUrl=url(sqs, "out"), MessageBody='{ "a" : 1.0 }', MessageAttributes=given)
    for _ in range(2):
        assert len(receive(sqs, "out", WaitTimeSeconds=20, VisibilityTimeout=0)) == 1
    wait_until(lambda: receive(sqs, "out") == [] and attributes(sqs, "out")["ApproximateNumberOfMessages"] == "0")
    (entry,) = engine.parked().entries(Selection(held_in="out"))
    assert (entry.kind, entry.condition, entry.attempts) == ("dead letter", "received too often", 2)
    assert engine.parked().redrive(Selection(held_in="out"), limit=10).entries == 1
    (message,) = receive(sqs, "out", WaitTimeSeconds=20)
    assert (message["Body"], message["MessageAttributes"]) == ('{ "a" : 1.0 }', given)
    delete(sqs, "out", message)


def test_visibility_is_changed_for_the_message_in_hand(engine: Engine, sqs: Any) -> None:
    sqs.send_message(QueueUrl=url(sqs, "short"), MessageBody="x")
    (message,) = receive(sqs, "short", VisibilityTimeout=600)
    assert visible_in_s(engine, "short") <= 600
    handle = {"QueueUrl": url(sqs, "short"), "ReceiptHandle": message["ReceiptHandle"]}
    sqs.change_message_visibility(**handle, VisibilityTimeout=3600)
    sqs.change_message_visibility(**handle, VisibilityTimeout=7200)
    assert 3600 < visible_in_s(engine, "short") <= 7200
    assert receive(sqs, "short") == []
    sqs.change_message_visibility(**handle, VisibilityTimeout=0)
    (again,) = receive(sqs, "short")
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    # The first handle is overtaken: it changes nothing, and deletes nothing without an error.
    with pytest.raises(sqs.exceptions.MessageNotInflight):
        sqs.change_message_visibility(**handle, VisibilityTimeout=10)
    sqs.delete_message(**handle)
    assert attributes(sqs, "short")["ApproximateNumberOfMessagesNotVisible"] == "1"
    delete(sqs, "short", again)


def visible_in_s(engine: Engine, queue: str) -> float:
    environment = engine._environment
    with environment.read() as transaction:
        ready_ms = queues.next_ready_ms(transaction, queue)
    assert ready_ms is not None
    return (ready_ms - environment.now_ms()) / 1000


def test_a_long_poll_answers_as_soon_as_there_is_something(engine: Engine, sqs: Any) -> None:
    found: list[Any] = []
    waiting = [
        threading.Thread(target=lambda: found.extend(receive(client(engine, "sqs"), "polled", WaitTimeSeconds=20)))
        for _ in range(3)
    ]
    began_s = time.monotonic()
    for thread in waiting:
        thread.start()
    wait_until(lambda: polls_waiting(engine, "polled") == 3)
    # One delayed, which nobody announces, and two at once.
    sqs.send_message(QueueUrl=url(sqs, "polled"), MessageBody="later", DelaySeconds=1)
    for body in ("now", "too"):
        sqs.send_message(QueueUrl=url(sqs, "polled"), MessageBody=body)
    for thread in waiting:
        thread.join(BOUND_S)
    assert sorted(each["Body"] for each in found) == ["later", "now", "too"]
    assert time.monotonic() - began_s < 20, "at its end a poll looks, too"
    delete(sqs, "polled", *found)


def polls_waiting(engine: Engine, queue: str) -> int:
    line = engine._polls._lines.get(queue)
    return 0 if line is None else len(line.waiting)


def test_a_long_poll_that_finds_nothing_ends_in_time_and_costs_nothing(
    engine: Engine, sqs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Mock(wraps=engine._polls._try)
    monkeypatch.setattr(engine._polls, "_try", look)
    began_s = time.monotonic()
    assert receive(sqs, "polled", WaitTimeSeconds=1) == []
    assert time.monotonic() - began_s >= 1
    assert look.call_count <= 2


def test_a_delayed_message_waits(sqs: Any) -> None:
    sqs.send_message(QueueUrl=url(sqs, "plain"), MessageBody="x", DelaySeconds=900)
    assert receive(sqs, "plain") == []
    assert attributes(sqs, "plain")["ApproximateNumberOfMessagesDelayed"] == "1"
    sqs.purge_queue(QueueUrl=url(sqs, "plain"))
    sqs.send_message(QueueUrl=url(sqs, "plain"), MessageBody="y", DelaySeconds=1)
    (message,) = receive(sqs, "plain", WaitTimeSeconds=20)
    assert message["Body"] == "y"
    delete(sqs, "plain", message)


def test_a_batch_has_a_result_for_each_entry_s28(sqs: Any) -> None:
    queue = url(sqs, "batches")
    entries = [
        {"Id": "good", "MessageBody": "1"},
        {"Id": "empty", "MessageBody": ""},
        {"Id": "control", "MessageBody": "\x01"},
        {"Id": "late", "MessageBody": "2", "DelaySeconds": 901},
        {"Id": "fine", "MessageBody": "2"},
    ]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["good", "fine"]
    assert {each["Id"]: each["Code"] for each in answer["Failed"]} == {
        "empty": "MissingParameter",
        "control": "InvalidMessageContents",
        "late": "InvalidParameterValue",
    }
    messages = receive(sqs, "batches")
    handles = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
    wrong = {"Id": "wrong", "ReceiptHandle": "nonsense"}
    changes = [{**each, "VisibilityTimeout": 60} for each in [*handles, wrong]]
    changed = sqs.change_message_visibility_batch(QueueUrl=queue, Entries=changes)
    assert [each["Id"] for each in changed["Successful"]] == ["0", "1"]
    assert [(each["Id"], each["Code"]) for each in changed["Failed"]] == [("wrong", "ReceiptHandleIsInvalid")]
    deleted = sqs.delete_message_batch(QueueUrl=queue, Entries=[*handles, wrong])
    assert [each["Id"] for each in deleted["Successful"]] == ["0", "1"]
    assert [each["Id"] for each in deleted["Failed"]] == ["wrong"]
    assert attributes(sqs, "batches")["ApproximateNumberOfMessagesNotVisible"] == "0"


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "AWS.SimpleQueueService.EmptyBatchRequest"),
        (
            [{"Id": str(n), "MessageBody": "x"} for n in range(11)],
            "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        ),
        ([{"Id": "a", "MessageBody": "x"}] * 2, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "AWS.SimpleQueueService.InvalidBatchEntryId"),
        (
            [{"Id": str(n), "MessageBody": "x" * 600_000} for n in range(2)],
            "AWS.SimpleQueueService.BatchRequestTooLong",
        ),
    ],
)
def test_a_batch_that_is_wrong_as_a_whole_is_refused_s29(sqs: Any, entries: list[Any], code: str) -> None:
    with pytest.raises(ClientError) as failure:
        sqs.send_message_batch(QueueUrl=url(sqs, "batches"), Entries=entries)
    assert failure.value.response["Error"]["Code"] == code


def test_a_message_may_have_a_mebibyte_and_no_more_s29(sqs: Any) -> None:
    queue = url(sqs, "plain")
    sqs.send_message(QueueUrl=queue, MessageBody="x" * (1 << 20))
    (message,) = receive(sqs, "plain")
    assert len(message["Body"]) == 1 << 20
    delete(sqs, "plain", message)
    attribute = {"a": {"DataType": "String", "StringValue": "x"}}
    with pytest.raises(ClientError) as failure:
        sqs.send_message(QueueUrl=queue, MessageBody="x" * ((1 << 20) - 7), MessageAttributes=attribute)
    assert failure.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_a_fifo_queue_orders_groups_and_knows_a_message_again_s33(sqs: Any) -> None:
    queue = url(sqs, "orders.fifo")
    first = sqs.send_message(QueueUrl=queue, MessageBody="1", MessageGroupId="g", MessageDeduplicationId="d1")
    again = sqs.send_message(QueueUrl=queue, MessageBody="other", MessageGroupId="g", MessageDeduplicationId="d1")
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    second = sqs.send_message(QueueUrl=queue, MessageBody="2", MessageGroupId="g", MessageDeduplicationId="d2")
    assert int(second["SequenceNumber"]) > int(first["SequenceNumber"])
    sqs.send_message(QueueUrl=queue, MessageBody="3", MessageGroupId="h", MessageDeduplicationId="d3")
    messages = receive(sqs, "orders.fifo")
    assert [each["Body"] for each in messages] == ["1", "3"]
    assert messages[0]["Attributes"]["MessageDeduplicationId"] == "d1"
    assert receive(sqs, "orders.fifo") == []
    delete(sqs, "orders.fifo", *messages)
    (last,) = receive(sqs, "orders.fifo")
    assert (last["Body"], last["Attributes"]["MessageGroupId"]) == ("2", "g")
    delete(sqs, "orders.fifo", last)


def test_a_fifo_queue_deduplicates_by_content_if_told_so_s33(sqs: Any) -> None:
    queue = url(sqs, "orders.fifo")
    for missing in ({}, {"MessageGroupId": "g"}, {"MessageGroupId": "g", "DelaySeconds": 1}):
        with pytest.raises(ClientError):
            sqs.send_message(QueueUrl=queue, MessageBody="x", **missing)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"ContentBasedDeduplication": "true"})
    sent = [sqs.send_message(QueueUrl=queue, MessageBody="same", MessageGroupId="g")["MessageId"] for _ in range(2)]
    assert sent[0] == sent[1]
    (message,) = receive(sqs, "orders.fifo")
    delete(sqs, "orders.fifo", message)


def test_the_apps_own_consumer_gets_what_comes_from_outside(engine: Engine, sqs: Any) -> None:
    attribute = {"level": {"DataType": "Number", "StringValue": "3"}}
    sqs.send_message(QueueUrl=url(sqs, "consumed"), MessageBody='{"a": [1]}', MessageAttributes=attribute)
    sqs.send_message(QueueUrl=url(sqs, "consumed"), MessageBody="17")
    wait_until(lambda: len(CONSUMED) >= 2)
    found = {str(message.body): dict(message.attributes) for message in CONSUMED}
    assert found == {"{'a': [1]}": {"level": 3}, "17": {}}


def test_dead_letters_are_moved_back_to_where_they_came_from(engine: Engine, sqs: Any) -> None:
    engine.table("things").put({"pk": "p", "sk": "call", "n": 1})
    dead_letters = "function-broken-dead-letters"
    wait_until(lambda: attributes(sqs, dead_letters)["ApproximateNumberOfMessages"] == "1")
    arn = attributes(sqs, dead_letters)["QueueArn"]
    handle = sqs.start_message_move_task(SourceArn=arn)["TaskHandle"]
    wait_until(lambda: sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "COMPLETED")
    (task,) = sqs.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"]
    assert (task["ApproximateNumberOfMessagesMoved"], task["ApproximateNumberOfMessagesToMove"]) == (1, 1)
    # It is as broken as before: it comes back.
    wait_until(lambda: attributes(sqs, dead_letters)["ApproximateNumberOfMessages"] == "1")
    destination = attributes(sqs, "kept")["QueueArn"]
    sqs.start_message_move_task(SourceArn=arn, DestinationArn=destination, MaxNumberOfMessagesPerSecond=5)
    messages = receive(sqs, "kept", WaitTimeSeconds=20)
    assert [each["Body"] for each in messages] == ['{"pk":"p"}']
    assert "MessageAttributes" not in messages[0]
    delete(sqs, "kept", *messages)
    with pytest.raises(sqs.exceptions.ResourceNotFoundException):
        sqs.cancel_message_move_task(TaskHandle=handle)
    with pytest.raises(ClientError):
        sqs.start_message_move_task(SourceArn=destination)


def test_a_move_that_is_slow_can_be_cancelled(engine: Engine, sqs: Any) -> None:
    # More than a second's, so that it is not done by the time it is cancelled, however busy the machine is.
    count = 100
    engine.table("things").put_many({"pk": f"slow{number}", "sk": "call", "n": number} for number in range(count))
    dead_letters = "function-broken-dead-letters"
    wait_until(lambda: int(attributes(sqs, dead_letters)["ApproximateNumberOfMessages"]) >= count)
    arn, kept = attributes(sqs, dead_letters)["QueueArn"], attributes(sqs, "purged")["QueueArn"]
    request = {"SourceArn": arn, "DestinationArn": kept, "MaxNumberOfMessagesPerSecond": 1}
    handle = sqs.start_message_move_task(**request)["TaskHandle"]
    with pytest.raises(ClientError):
        sqs.start_message_move_task(**request)
    assert sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] < count
    assert sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["Status"] == "CANCELLED"
    sqs.purge_queue(QueueUrl=url(sqs, dead_letters))
    wait_until(lambda: attributes(sqs, dead_letters)["ApproximateNumberOfMessages"] == "0")


def test_a_purge_takes_what_was_there_and_nothing_later(sqs: Any) -> None:
    queue = url(sqs, "purged")
    sqs.purge_queue(QueueUrl=queue)
    wait_until(lambda: attributes(sqs, "purged")["ApproximateNumberOfMessages"] == "0")
    for number in range(5):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number), MessageGroupId="group")
    assert len(receive(sqs, "purged")) == 1
    sqs.purge_queue(QueueUrl=queue)
    sqs.send_message(QueueUrl=queue, MessageBody="later", MessageGroupId="group")
    (message,) = receive(sqs, "purged", WaitTimeSeconds=20)
    assert message["Body"] == "later"
    delete(sqs, "purged", message)


def test_queues_are_listed_and_found(sqs: Any, engine: Engine) -> None:
    listed = sqs.list_queues()["QueueUrls"]
    host, port = engine.address
    assert f"http://{host}:{port}/{ACCOUNT}/out" in listed
    assert len([each for each in listed if each.endswith("-dead-letters")]) * 2 - 1 == len(listed)
    pages = list(sqs.get_paginator("list_queues").paginate(QueueNamePrefix="o", PaginationConfig={"PageSize": 1}))
    found = [each.rpartition("/")[2] for page in pages for each in page.get("QueueUrls", [])]
    assert found == ["orders.fifo", "orders.fifo-dead-letters", "out", "out-dead-letters"]
    assert sqs.create_queue(QueueName="out")["QueueUrl"] == url(sqs, "out")
    sources = sqs.list_dead_letter_source_queues(QueueUrl=url(sqs, "out-dead-letters"))
    assert sources["queueUrls"] == [url(sqs, "out")]
    assert sqs.list_queues(QueueNamePrefix="zzz").get("QueueUrls") is None


def test_attributes_say_what_the_app_declares_and_some_can_be_set(sqs: Any) -> None:
    found = attributes(sqs, "out")
    assert found["QueueArn"] == f"arn:aws:sqs:us-east-1:{ACCOUNT}:out"
    assert found["VisibilityTimeout"] == "30"
    assert '"maxReceiveCount":2' in found["RedrivePolicy"]
    queue = url(sqs, "settings")
    sqs.set_queue_attributes(
        QueueUrl=queue, Attributes={"VisibilityTimeout": "1", "ReceiveMessageWaitTimeSeconds": "20"}
    )
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    assert len(receive(sqs, "settings")) == 1
    (again,) = receive(sqs, "settings")
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    delete(sqs, "settings", again)
    only = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["DelaySeconds", "Policy"])["Attributes"]
    assert only == {"DelaySeconds": "0"}


@pytest.mark.parametrize(
    ("operation", "fields", "code"),
    [
        ("get_queue_url", {"QueueName": "nowhere"}, "AWS.SimpleQueueService.NonExistentQueue"),
        (
            "send_message",
            {"QueueUrl": "http://x/0/nowhere", "MessageBody": "x"},
            "AWS.SimpleQueueService.NonExistentQueue",
        ),
        ("send_message", {"QueueUrl": "out"}, "MissingParameter"),
        ("send_message", {"QueueUrl": "out", "MessageBody": 1}, "SerializationException"),
        ("send_message", {"QueueUrl": "out", "MessageBody": "x", "DelaySeconds": -1}, "InvalidParameterValue"),
        ("send_message", {"QueueUrl": "out", "MessageBody": "x", "MessageGroupId": "a b"}, "InvalidParameterValue"),
        (
            "send_message",
            {"QueueUrl": "out", "MessageBody": "x", "MessageAttributes": {"AWS.x": {"DataType": "String"}}},
            "InvalidParameterValue",
        ),
        (
            "send_message",
            {
                "QueueUrl": "out",
                "MessageBody": "x",
                "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "NaN"}},
            },
            "InvalidParameterValue",
        ),
        ("receive_message", {"QueueUrl": "out", "MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ("receive_message", {"QueueUrl": "out", "WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ("delete_message", {"QueueUrl": "out", "ReceiptHandle": "x"}, "ReceiptHandleIsInvalid"),
        ("change_message_visibility", {"QueueUrl": "out", "ReceiptHandle": "AAAA"}, "ReceiptHandleIsInvalid"),
        ("set_queue_attributes", {"QueueUrl": "out", "Attributes": {"Nothing": "1"}}, "InvalidAttributeName"),
        ("set_queue_attributes", {"QueueUrl": "out", "Attributes": {"DelaySeconds": "901"}}, "InvalidAttributeValue"),
        (
            "set_queue_attributes",
            {"QueueUrl": "out", "Attributes": {"RedrivePolicy": "{}"}},
            "AWS.SimpleQueueService.UnsupportedOperation",
        ),
        ("get_queue_attributes", {"QueueUrl": "out", "AttributeNames": ["Nothing"]}, "InvalidAttributeName"),
        ("create_queue", {"QueueName": "new"}, "AWS.SimpleQueueService.UnsupportedOperation"),
        ("delete_queue", {"QueueUrl": "out"}, "AWS.SimpleQueueService.UnsupportedOperation"),
        ("list_queues", {"NextToken": "?"}, "InvalidParameterValue"),
        ("tag_queue", {"QueueUrl": "out", "Tags": {}}, "AWS.SimpleQueueService.UnsupportedOperation"),
    ],
)
def test_errors_have_the_names_that_sdks_know(sqs: Any, operation: str, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as failure:
        getattr(sqs, operation)(**fields)
    assert failure.value.response["Error"]["Code"] == code
    status = 404 if code == "ReceiptHandleIsInvalid" else 400
    assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_an_exception_of_the_shape_is_raised(sqs: Any) -> None:
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="nowhere")


def test_a_receipt_outlives_a_restart_and_a_stopping_engine_answers_who_waits(tmp_path_factory: Any) -> None:
    data = tmp_path_factory.mktemp("engine") / "data"
    found: list[Any] = []
    with Engine(declare(), Settings(data)) as engine:
        sqs = engine.boto3_session().client("sqs")
        sqs.send_message(QueueUrl="plain", MessageBody="x")
        (message,) = sqs.receive_message(QueueUrl="plain", VisibilityTimeout=3600)["Messages"]
        over_the_wire = client(engine, "sqs")
        waiting = threading.Thread(target=lambda: found.append(receive(over_the_wire, "short", WaitTimeSeconds=20)))
        waiting.start()
        wait_until(lambda: polls_waiting(engine, "short") == 1)
    waiting.join(BOUND_S)
    assert found == [[]]
    with Engine(declare(), Settings(data)) as engine:
        sqs = engine.boto3_session().client("sqs")
        assert "Messages" not in sqs.receive_message(QueueUrl="plain")
        sqs.delete_message(QueueUrl="plain", ReceiptHandle=message["ReceiptHandle"])
        assert list(engine.reader().messages("plain")) == []
