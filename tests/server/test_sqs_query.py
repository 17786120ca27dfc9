"""SQS by the query protocol: forms as SDKs of before November 2023 send them, and the XML that they read."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.testing import At, FaultyEngine, Throttled
from afterwrite.wiring import Engine
from server.aws_clients import client, post

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
ARN = "arn:aws:sqs:us-east-1:000000000000"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    app = App("sqs-by-query")
    for name in ("plain", "batches", "settings", "empty", "path", "refused", "orders.fifo"):
        app.queue(name)
    with Engine(app, Settings(tmp_path_factory.mktemp("engine") / "data")) as engine:
        yield engine


class Form(dict[str, Any]):
    """The answer to a form: its status, and the members of its result by their paths, in lists."""

    def __init__(self, status: int, text: bytes) -> None:
        super().__init__()
        self.status = status
        self.root = ET.fromstring(text)
        result = next((each for each in self.root if each.tag.endswith(("Result", "Error"))), None)
        for element in () if result is None else result:
            self._add("", element)

    def _add(self, path: str, element: ET.Element) -> None:
        path += element.tag.removeprefix(NAMESPACE)
        self.setdefault(path, []).append(element.text or "")
        for member in element:
            self._add(f"{path}.", member)


def ask(engine: Engine, action: str, path: str = "/", **fields: str) -> Form:
    """Send a form; a field's name may have `__` for its dots."""
    form = {name.replace("__", "."): value for name, value in fields.items()}
    body = urlencode({"Action": action, "Version": "2012-11-05", **form})
    answer = post(engine, body, FORM, path)
    return Form(answer.status, answer.body)


def test_a_message_comes_back_as_it_was_sent(engine: Engine) -> None:
    url = ask(engine, "GetQueueUrl", QueueName="plain")["QueueUrl"][0]
    body, binary = "<a>\r\n&amp; ä 😀", base64.b64encode(b"\x00\xff").decode()
    sent = ask(
        engine,
        "SendMessage",
        QueueUrl=url,
        MessageBody=body,
        MessageAttribute__1__Name="text",
        MessageAttribute__1__Value__DataType="String",
        MessageAttribute__1__Value__StringValue="1 < 2\r",
        MessageAttribute__2__Name="raw",
        MessageAttribute__2__Value__DataType="Binary",
        MessageAttribute__2__Value__BinaryValue=binary,
        MessageSystemAttribute__1__Name="AWSTraceHeader",
        MessageSystemAttribute__1__Value__DataType="String",
        MessageSystemAttribute__1__Value__StringValue="Root=1",
    )
    assert sent.root.tag == f"{NAMESPACE}SendMessageResponse"
    received = ask(
        engine,
        "ReceiveMessage",
        QueueUrl=url,
        AttributeName__1="All",
        MessageAttributeName__1="All",
        WaitTimeSeconds="9",
    )
    assert received["Message.Body"] == [body]
    for name in ("MessageId", "MD5OfMessageAttributes"):
        assert received[f"Message.{name}"] == sent[name]
    assert received["Message.MD5OfBody"] == sent["MD5OfMessageBody"]
    assert received["Message.MessageAttribute.Name"] == ["text", "raw"]
    assert received["Message.MessageAttribute.Value.StringValue"] == ["1 < 2\r"]
    assert received["Message.MessageAttribute.Value.BinaryValue"] == [binary]
    shown = dict(zip(received["Message.Attribute.Name"], received["Message.Attribute.Value"], strict=True))
    assert (shown["AWSTraceHeader"], shown["ApproximateReceiveCount"]) == ("Root=1", "1")
    handle = {"QueueUrl": url, "ReceiptHandle": received["Message.ReceiptHandle"][0]}
    for settled in (
        ask(engine, "ChangeMessageVisibility", **handle, VisibilityTimeout="60"),
        ask(engine, "DeleteMessage", **handle),
    ):
        assert settled.status == 200
        assert [each.tag for each in settled.root] == [f"{NAMESPACE}ResponseMetadata"]


def test_batches_have_a_result_for_each_s28(engine: Engine) -> None:
    sent = ask(
        engine,
        "SendMessageBatch",
        QueueUrl="batches",
        SendMessageBatchRequestEntry__1__Id="a",
        SendMessageBatchRequestEntry__1__MessageBody="1",
        SendMessageBatchRequestEntry__1__DelaySeconds="0",
        SendMessageBatchRequestEntry__2__Id="b",
        SendMessageBatchRequestEntry__2__MessageBody="\x01",
        SendMessageBatchRequestEntry__3__Id="c",
        SendMessageBatchRequestEntry__3__MessageBody="3",
        SendMessageBatchRequestEntry__3__MessageAttribute__1__Name="n",
        SendMessageBatchRequestEntry__3__MessageAttribute__1__Value__DataType="Number",
        SendMessageBatchRequestEntry__3__MessageAttribute__1__Value__StringValue="1",
    )
    assert sent["SendMessageBatchResultEntry.Id"] == ["a", "c"]
    assert (sent["BatchResultErrorEntry.Id"], sent["BatchResultErrorEntry.SenderFault"]) == (["b"], ["true"])
    assert sent["BatchResultErrorEntry.Code"] == ["InvalidMessageContents"]
    received = ask(engine, "ReceiveMessage", QueueUrl="batches", MaxNumberOfMessages="10", MessageAttributeName="n")
    assert received["Message.Body"] == ["1", "3"]
    assert received["Message.MessageAttribute.Value.StringValue"] == ["1"]
    handles = received["Message.ReceiptHandle"]
    name = "ChangeMessageVisibilityBatchRequestEntry__1__"
    entry = {f"{name}Id": "x", f"{name}ReceiptHandle": handles[0], f"{name}VisibilityTimeout": "60"}
    changed = ask(engine, "ChangeMessageVisibilityBatch", QueueUrl="batches", **entry)
    assert changed["ChangeMessageVisibilityBatchResultEntry.Id"] == ["x"]
    entries = {
        f"DeleteMessageBatchRequestEntry__{n}__{field}": value
        for n, handle in enumerate([*handles, "none"], start=1)
        for field, value in (("Id", f"i{n}"), ("ReceiptHandle", handle))
    }
    deleted = ask(engine, "DeleteMessageBatch", QueueUrl="batches", **entries)
    assert deleted["DeleteMessageBatchResultEntry.Id"] == ["i1", "i2"]
    assert deleted["BatchResultErrorEntry.Code"] == ["ReceiptHandleIsInvalid"]


def test_queues_are_found_and_set(engine: Engine) -> None:
    listed = ask(engine, "ListQueues", QueueNamePrefix="settings")
    assert [each.rpartition("/")[2] for each in listed["QueueUrl"]] == ["settings", "settings-dead-letters"]
    assert ask(engine, "ListQueues", QueueNamePrefix="none") == {}
    assert set(ask(engine, "ListQueues", MaxResults="1")) == {"QueueUrl", "NextToken"}
    wanted = {"Attribute__1__Name": "DelaySeconds", "Attribute__1__Value": "3"}
    assert ask(engine, "SetQueueAttributes", QueueUrl="settings", **wanted).status == 200
    shown = ask(engine, "GetQueueAttributes", QueueUrl="settings", AttributeName__1="DelaySeconds")
    assert shown == {"Attribute": [""], "Attribute.Name": ["DelaySeconds"], "Attribute.Value": ["3"]}
    assert ask(engine, "CreateQueue", QueueName="settings", **wanted)["QueueUrl"] == listed["QueueUrl"][:1]
    other = ask(engine, "CreateQueue", QueueName="settings", **{**wanted, "Attribute__1__Value": "4"})
    assert (other.status, other["Code"]) == (400, ["QueueAlreadyExists"])
    sources = ask(engine, "ListDeadLetterSourceQueues", QueueUrl="settings-dead-letters")
    assert sources["QueueUrl"] == listed["QueueUrl"][:1]
    assert ask(engine, "PurgeQueue", QueueUrl="settings").status == 200
    source = f"{ARN}:settings-dead-letters"
    assert ask(engine, "StartMessageMoveTask", SourceArn=source, MaxNumberOfMessagesPerSecond="5")["TaskHandle"]
    tasks = ask(engine, "ListMessageMoveTasks", SourceArn=source)
    assert tasks["ListMessageMoveTasksResultEntry.MaxNumberOfMessagesPerSecond"] == ["5"]


def test_a_queue_may_be_named_by_the_address_of_the_request(engine: Engine) -> None:
    ask(engine, "SendMessage", path="/000000000000/path", MessageBody="x")
    assert ask(engine, "ReceiveMessage", path="/000000000000/path", WaitTimeSeconds="9")["Message.Body"] == ["x"]


def test_a_receive_waits_and_finds_nothing(engine: Engine) -> None:
    began_s = time.monotonic()
    found = ask(engine, "ReceiveMessage", QueueUrl="empty", WaitTimeSeconds="1")
    assert time.monotonic() - began_s >= 1
    assert found == {}
    assert f"{NAMESPACE}ReceiveMessageResult" in [each.tag for each in found.root]


@pytest.mark.parametrize(
    ("action", "fields", "status", "code", "message"),
    [
        ("FooBar", {}, 400, "InvalidAction", "The action FooBar is not valid for this endpoint."),
        ("TagQueue", {}, 400, "InvalidAction", "The action TagQueue is not valid for this endpoint."),
        ("SendMessage", {}, 400, "MissingParameter", "The request must contain the parameter MessageBody."),
        (
            "SendMessage",
            {"QueueUrl": "nowhere", "MessageBody": "x"},
            400,
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist for this wsdl version.",
        ),
        (
            "SendMessage",
            {"QueueUrl": "orders.fifo", "MessageBody": "x"},
            400,
            "MissingParameter",
            "The request must contain the parameter MessageGroupId.",
        ),
        (
            "ReceiveMessage",
            {"MaxNumberOfMessages": "11"},
            400,
            "InvalidParameterValue",
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.",
        ),
        (
            "ReceiveMessage",
            {"WaitTimeSeconds": "soon"},
            400,
            "InvalidParameterValue",
            "Value soon for parameter WaitTimeSeconds is invalid. Reason: Must be an integer.",
        ),
        (
            "ReceiveMessage",
            {"WaitTimeSeconds": "9" * 5_000},
            400,
            "InvalidParameterValue",
            f"Value {'9' * 5_000} for parameter WaitTimeSeconds is invalid. Reason: Must be an integer.",
        ),
        (
            "GetQueueAttributes",
            {"AttributeName.1": "Foobar"},
            400,
            "InvalidAttributeName",
            "Unknown Attribute Foobar.",
        ),
        (
            "DeleteMessage",
            {"ReceiptHandle": "x"},
            404,
            "ReceiptHandleIsInvalid",
            'The input receipt handle "x" is not a valid receipt handle.',
        ),
    ],
)
def test_refusals_have_the_names_of_this_protocol(
    engine: Engine, action: str, fields: dict[str, str], status: int, code: str, message: str
) -> None:
    found = ask(engine, action, **{"QueueUrl": "refused", **fields})
    assert (found.status, found["Type"], found["Code"], found["Message"]) == (status, ["Sender"], [code], [message])


@pytest.mark.parametrize(
    "fields",
    [
        {"Entries__1": "x"},
        {"MessageAttribute__1": "x"},
        {"MessageBody__1": "x"},
        {"MessageBody": "x", f"MessageAttribute__{'9' * 5_000}__Name": "x"},
        {"MessageBody": "x", "__".join("a" * 100_000): "x"},
    ],
    ids=lambda fields: max(fields)[:20],
)
def test_a_form_that_makes_no_sense_is_refused(engine: Engine, fields: dict[str, str]) -> None:
    for action in ("SendMessage", "SendMessageBatch"):
        assert ask(engine, action, QueueUrl="refused", **fields).status == 400


def test_a_form_has_to_be_signed_where_requests_have_to_be(tmp_path: Path) -> None:
    app = App("sqs-signed")
    app.queue("plain")
    with Engine(app, Settings(tmp_path / "data", credentials={"AKID": "secret"})) as engine:
        unsigned = ask(engine, "SendMessage", QueueUrl="plain", MessageBody="x")
        assert (unsigned.status, unsigned["Code"]) == (400, ["MissingAuthenticationTokenException"])
        host, port = engine.address
        body = urlencode({"Action": "SendMessage", "Version": "2012-11-05", "QueueUrl": "plain", "MessageBody": "x"})
        request = AWSRequest("POST", f"http://{host}:{port}/", FORM, body)
        SigV4Auth(Credentials("AKID", "secret"), "sqs", "us-east-1").add_auth(request)
        assert post(engine, body, dict(request.headers)).status == 200


def test_a_fault_of_a_request_is_one_of_both_protocols(tmp_path: Path) -> None:
    app = App("sqs-faulty")
    app.queue("plain")
    rules = [At("request:AmazonSQS.SendMessage", Throttled(), times=2)]
    with FaultyEngine(tmp_path / "data", app, rules, listen="127.0.0.1:0") as engine:
        refused = ask(engine, "SendMessage", QueueUrl="plain", MessageBody="x")
        assert (refused.status, refused["Code"]) == (400, ["ThrottlingException"])
        sqs = client(engine, "sqs")
        with pytest.raises(sqs.exceptions.ClientError, match="ThrottlingException"):
            sqs.send_message(QueueUrl="plain", MessageBody="x")
