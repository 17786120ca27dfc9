"""SNS, EventBridge and Firehose over boto3, and without a socket: what comes from outside goes where effects go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from afterwrite import App, Context
from afterwrite.config import Settings
from afterwrite.local import lake
from afterwrite.wiring import Engine
from engine_process import wait_until
from server.aws_clients import client, post

SNS = "arn:aws:sns:us-east-1:000000000000:"
EVENTS: list[Any] = []


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    app = App("open-ends")
    everything, loud, cheap = app.queue("everything"), app.queue("loud"), app.queue("cheap")
    news = app.topic("news")
    news.subscribe(everything)
    news.subscribe(loud, filter_policy={"level": [{"numeric": [">", 5]}]})
    news.subscribe(cheap, filter_policy={"price": [{"numeric": ["<", 10]}]}, scope="MessageBody")
    facts = app.delivery_stream("facts", buffer_seconds=0.1)
    bus = app.bus("bus", archive_days=1)

    @app.function()
    def note(event: Any, context: Context) -> None:
        EVENTS.append(event)

    bus.rule("paid", {"detail-type": ["Paid"]}, to=[note])
    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        yield engine
        assert facts.name == "facts"


@pytest.fixture(scope="module", params=["socket", "in process"])
def aws(engine: Engine, request: pytest.FixtureRequest) -> Any:
    if request.param == "socket":
        return lambda service: client(engine, service)
    session = engine.boto3_session()
    return session.client


def taken(aws: Any, queue: str) -> list[Any]:
    """The queue's messages, received and deleted."""
    sqs = aws("sqs")
    request = {"QueueUrl": queue, "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
    messages: list[Any] = sqs.receive_message(**request, MessageSystemAttributeNames=["All"]).get("Messages", [])
    for each in messages:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=each["ReceiptHandle"])
    return messages


def code_of(failure: pytest.ExceptionInfo[ClientError]) -> str:
    return str(failure.value.response["Error"]["Code"])


def test_a_message_goes_to_the_subscriptions_whose_policy_lets_it_through_s32(aws: Any) -> None:
    sns = aws("sns")
    given = {
        "level": {"DataType": "Number", "StringValue": "9"},
        "tags": {"DataType": "String.Array", "StringValue": '["a", "b"]'},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    published = sns.publish(TopicArn=SNS + "news", Message='{ "price": 5 }', Subject="s & <t>", MessageAttributes=given)
    for queue in ("everything", "loud", "cheap"):
        (message,) = taken(aws, queue)
        assert (message["MessageId"], message["Body"]) == (published["MessageId"], '{ "price": 5 }')
        assert message["MessageAttributes"] == given
    sns.publish(TargetArn=SNS + "news", Message="no JSON", MessageGroupId="g")
    (message,) = taken(aws, "everything")
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert taken(aws, "loud") == taken(aws, "cheap") == []


def test_a_message_may_have_a_form_for_each_protocol(aws: Any) -> None:
    sns = aws("sns")
    sns.publish(TopicArn=SNS + "news", Message='{"default": "d", "sqs": "q"}', MessageStructure="json")
    assert [each["Body"] for each in taken(aws, "everything")] == ["q"]
    with pytest.raises(sns.exceptions.InvalidParameterException):
        sns.publish(TopicArn=SNS + "news", Message="x", MessageStructure="json")


def test_a_batch_of_messages_has_a_result_for_each_s28(aws: Any) -> None:
    sns = aws("sns")
    entries = [{"Id": each, "Message": each, "MessageGroupId": "g"} for each in "ab"]
    answer = sns.publish_batch(TopicArn=SNS + "news", PublishBatchRequestEntries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["a", "b"]
    assert answer["Failed"] == []
    assert [each["Body"] for each in [*taken(aws, "everything"), *taken(aws, "everything")]] == ["a", "b"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"MessageAttributes": {"n": {"DataType": "Number", "StringValue": "x"}}}, "ParameterValueInvalid"),
        ({"Message": '{"sqs": "q"}', "MessageStructure": "json"}, "InvalidParameter"),
        ({"Message": ""}, "InvalidParameter"),
        ({"MessageDeduplicationId": "d"}, "InvalidParameter"),
    ],
)
def test_a_batch_with_one_wrong_message_is_refused_as_a_whole(aws: Any, wrong: dict[str, Any], code: str) -> None:
    entries = [{"Id": "good", "Message": "x"}, {"Id": "wrong", "Message": "x", **wrong}]
    with pytest.raises(ClientError) as failure:
        aws("sns").publish_batch(TopicArn=SNS + "news", PublishBatchRequestEntries=entries)
    assert code_of(failure) == code
    assert "Messages" not in aws("sqs").receive_message(QueueUrl="everything")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"TopicArn": "news"}, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"),
        ({"TopicArn": "arn:news"}, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 2"),
        (
            {"Message": "{", "MessageStructure": "json"},
            "Invalid parameter: Message Structure - JSON message body failed to parse",
        ),
        (
            {"Message": '{"default": {}}', "MessageStructure": "json"},
            "Invalid parameter: Message Structure - No default entry in JSON message body",
        ),
        (
            {"MessageDeduplicationId": "d", "MessageGroupId": "g"},
            "Invalid parameter: MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter "
            "that is not valid for this topic type",
        ),
        (
            {"MessageAttributes": {"a": {"DataType": "String", "StringValue": ""}}},
            "The message attribute 'a' must contain non-empty message attribute value for message attribute type "
            "'String'.",
        ),
        (
            {"MessageAttributes": {"a": {"DataType": "Number", "BinaryValue": b"1"}}},
            "The message attribute 'a' with type 'Number' must use field 'String'.",
        ),
        (
            {"MessageAttributes": {"a": {"DataType": "Binary", "StringValue": "1"}}},
            "The message attribute 'a' with type 'Binary' must use field 'Binary'.",
        ),
        (
            {"MessageAttributes": {"a": {"DataType": "Stringy", "StringValue": "1"}}},
            "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is "
            "Binary, Number, and String.",
        ),
        (
            {"MessageAttributes": {"a^": {"DataType": "String", "StringValue": "1"}}},
            "Invalid non-alphanumeric character '#x5E' was found in the message attribute name. Can only include "
            "alphanumeric characters, hyphens, underscores, or dots.",
        ),
        (
            {"MessageAttributes": {"a..b": {"DataType": "String", "StringValue": "1"}}},
            "Message attribute name can not have successive '.' character.",
        ),
    ],
)
def test_sns_says_what_is_wrong_with_a_message(aws: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError) as failure:
        aws("sns").publish(**{"TopicArn": SNS + "news", "Message": "x", **fields})
    assert failure.value.response["Error"]["Message"] == message


def test_an_attribute_without_a_type_is_refused_with_the_place_where_it_is(engine: Engine) -> None:
    sns = client(engine, "sns")
    message = {"Message": "x", "MessageAttributes": {"a": {"StringValue": "1"}}}
    with pytest.raises(ClientError) as alone:
        sns.publish(TopicArn=SNS + "news", **message)
    with pytest.raises(ClientError) as second:
        entries = [{"Id": "1", "Message": "x"}, {"Id": "2", **message}]
        sns.publish_batch(TopicArn=SNS + "news", PublishBatchRequestEntries=entries)
    for failure, where in ((alone, ""), (second, "publishBatchRequestEntries.2.member.")):
        found = failure.value.response["Error"]
        assert (found["Code"], found["Message"]) == (
            "ValidationError",
            f"1 validation error detected: Value null at '{where}messageAttributes.a.member.dataType' failed to "
            "satisfy constraint: Member must not be null",
        )


@pytest.mark.parametrize(
    ("operation", "fields", "code"),
    [
        ("publish", {"TopicArn": SNS + "nothing", "Message": "x"}, "NotFound"),
        ("publish", {"Message": "x"}, "InvalidParameter"),
        ("publish", {"PhoneNumber": "+1", "Message": "x"}, "InvalidParameter"),
        ("publish", {"TargetArn": SNS + "endpoint/APNS/app/1", "Message": "x"}, "InvalidParameter"),
        ("publish", {"TopicArn": SNS + "news", "Message": "x" * ((256 << 10) + 1)}, "InvalidParameter"),
        ("publish", {"TopicArn": SNS + "news", "Message": "x", "Subject": "two\nlines"}, "InvalidParameter"),
        (
            "publish_batch",
            {
                "TopicArn": SNS + "news",
                "PublishBatchRequestEntries": [{"Id": str(n), "Message": "x" * 140_000} for n in range(2)],
            },
            "BatchRequestTooLong",
        ),
        (
            "publish_batch",
            {"TopicArn": SNS + "news", "PublishBatchRequestEntries": [{"Id": "a", "Message": "x"}] * 2},
            "BatchEntryIdsNotDistinct",
        ),
        (
            "publish_batch",
            {
                "TopicArn": SNS + "news",
                "PublishBatchRequestEntries": [{"Id": str(n), "Message": "x"} for n in range(11)],
            },
            "TooManyEntriesInBatchRequest",
        ),
        ("create_topic", {"Name": "other"}, "InvalidParameter"),
        ("list_subscriptions", {}, "InvalidAction"),
    ],
)
def test_sns_refuses_in_its_own_words_s29(aws: Any, operation: str, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as failure:
        getattr(aws("sns"), operation)(**fields)
    assert code_of(failure) == code


def test_who_subscribes_is_told_how_it_is_declared(aws: Any) -> None:
    with pytest.raises(ClientError, match=r"Subscribe is not offered: .* with topic\.subscribe\(queue"):
        aws("sns").subscribe(TopicArn=SNS + "news", Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:1:mail")


def test_topics_are_listed(aws: Any) -> None:
    assert aws("sns").list_topics()["Topics"] == [{"TopicArn": SNS + "news"}]
    assert aws("sns").create_topic(Name="news")["TopicArn"] == SNS + "news"


def test_events_from_outside_go_by_the_rules_and_into_the_archive_s28(aws: Any, engine: Engine) -> None:
    EVENTS.clear()
    entries: list[Any] = [
        {
            "EventBusName": "arn:aws:events:us-east-1:000000000000:event-bus/bus",
            "Source": "shop",
            "DetailType": "Paid",
            "Detail": '{"amount": 12345678901234567890.5}',
            "Resources": ["arn:x"],
            "Time": datetime(2024, 5, 1, tzinfo=UTC),
        },
        {"EventBusName": "bus", "Source": "shop", "DetailType": "Paid", "Detail": "[1]"},
        {"EventBusName": "bus", "Source": "shop", "Detail": "{}"},
        {"EventBusName": "nowhere", "Source": "shop", "DetailType": "Paid", "Detail": "{}"},
        {"EventBusName": "bus", "Source": "shop", "DetailType": "Unmatched", "Detail": "{}"},
    ]
    answer = aws("events").put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 3
    codes = [each.get("ErrorCode") for each in answer["Entries"]]
    assert codes == [None, "MalformedDetail", "InvalidArgument", "InvalidArgument", None]
    wait_until(lambda: len(EVENTS) == 1)
    event = dict(EVENTS[0])
    assert event.pop("id") == answer["Entries"][0]["EventId"]
    assert event == {
        "version": "0",
        "detail-type": "Paid",
        "source": "shop",
        "account": "000000000000",
        "time": "2024-05-01T00:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:x"],
        "detail": {"amount": 12345678901234567890.5},
    }
    archived = {each["id"] for each in engine.reader().archived_events("bus")}
    assert {answer["Entries"][0]["EventId"], answer["Entries"][4]["EventId"]} <= archived


@pytest.mark.parametrize(
    "detail",
    [
        f'{{"n": {"9" * 400}}}',
        '{"n": 1e400, "m": 12345678901234567890}',
        f'{{"n": {"[" * 300}{"]" * 300}}}',
        f'{{"m": 12345678901234567890, "n": {"[" * 100_000}{"]" * 100_000}}}',
    ],
    ids=["integer", "double", "deep", "deeper"],
)
def test_an_event_that_cannot_be_kept_fails_alone(aws: Any, detail: str) -> None:
    entry = {"EventBusName": "bus", "Source": "shop", "DetailType": "Unmatched", "Detail": "{}"}
    answer = aws("events").put_events(Entries=[{**entry, "Detail": detail}, entry])
    assert [each.get("ErrorCode") for each in answer["Entries"]] == ["MalformedDetail", None]


def test_an_event_may_hold_an_integer_of_more_than_64_bits(aws: Any, engine: Engine) -> None:
    entry = {"EventBusName": "bus", "Source": "shop", "DetailType": "Unmatched"}
    answer = aws("events").put_events(Entries=[{**entry, "Detail": '{"n": 123456789012345678901234567890}'}])
    event_id = answer["Entries"][0]["EventId"]
    archived = {each["id"]: each["detail"] for each in engine.reader().archived_events("bus")}
    assert archived[event_id] == {"n": 123456789012345678901234567890.0}, "as a double keeps it"


def test_events_that_are_too_many_or_too_large_are_refused_together_s29(aws: Any) -> None:
    entry = {"EventBusName": "bus", "Source": "s", "DetailType": "t", "Detail": "{}"}
    large = {**entry, "Detail": '{"a": "' + "x" * 600_000 + '"}'}
    too_many = "at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10"
    too_large = "Total size of the entries in the request is over the limit."
    for entries, message in (([entry] * 11, too_many), ([large] * 2, too_large)):
        with pytest.raises(ClientError, match=message) as failure:
            aws("events").put_events(Entries=entries)
        assert code_of(failure) == "ValidationException"


def test_records_from_outside_become_rows_of_the_lake(aws: Any, engine: Engine) -> None:
    firehose = aws("firehose")
    one = firehose.put_record(DeliveryStreamName="facts", Record={"Data": b'{"a": 1}\n'})
    many = firehose.put_record_batch(
        DeliveryStreamName="facts", Records=[{"Data": b'{"a": 2}'}, {"Data": b"no JSON"}, {"Data": b'{"a": 3}'}]
    )
    assert many["FailedPutCount"] == 0
    ids = {one["RecordId"], *(each["RecordId"] for each in many["RequestResponses"])}
    assert len(ids) == 4

    def rows() -> list[Any]:
        return list(lake.read(engine.reader().lake("facts").parent, "facts"))

    wait_until(lambda: engine.reader().status().buffers[0].records == 0, what="the files")
    found = {row["id"]: row["a"] for row in rows() if row["id"] in ids}
    # Of the one that is no JSON the buffer is rid, too, but it is no row.
    assert sorted(found.values()) == [1, 2, 3]
    assert firehose.list_delivery_streams()["DeliveryStreamNames"] == ["facts"]


@pytest.mark.parametrize(
    ("operation", "fields", "code"),
    [
        ("put_record", {"DeliveryStreamName": "nothing", "Record": {"Data": b"x"}}, "ResourceNotFoundException"),
        ("put_record", {"DeliveryStreamName": "facts", "Record": {"Data": b"x" * 1_024_001}}, "ValidationException"),
        ("put_record_batch", {"DeliveryStreamName": "facts", "Records": [{"Data": b"x"}] * 501}, "ValidationException"),
        (
            "put_record_batch",
            {"DeliveryStreamName": "facts", "Records": [{"Data": b"x" * 900_000}] * 5},
            "InvalidArgumentException",
        ),
        ("create_delivery_stream", {"DeliveryStreamName": "facts"}, "UnknownOperationException"),
    ],
)
def test_firehose_refuses_in_its_own_words_s29(aws: Any, operation: str, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as failure:
        getattr(aws("firehose"), operation)(**fields)
    assert code_of(failure) == code


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/x-www-form-urlencoded", b"Action=Publish&Version=1999-01-01", "InvalidAction"),
        ("application/x-www-form-urlencoded", b"\xff=1", "MalformedInput"),
        ("application/x-www-form-urlencoded", b"a=1&a.b=2", "MalformedInput"),
        ("application/x-www-form-urlencoded", b"a", "MalformedInput"),
    ],
)
def test_a_form_that_is_none_is_refused(engine: Engine, content_type: str, body: bytes, code: str) -> None:
    answer = post(engine, body, {"Content-Type": content_type})
    assert (answer.status, f"<Code>{code}</Code>" in answer.body.decode()) == (400, True)
