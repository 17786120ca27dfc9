"""Each target against servers that are not ours: what arrives, what is refused, and what a refusal means."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import orjson
import pytest
from botocore.exceptions import ClientError

from afterwrite.core.batching import requests
from afterwrite.core.effects import Append, Deliver, Effect, Enqueue, Invoke, Publish, PutEvent, StampedEffect
from afterwrite.core.lambda_events import Incoming, invocations_of
from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import InvalidValue, StorageError
from afterwrite.targets.eventbridge import EventBus
from afterwrite.targets.firehose import FirehoseStream
from afterwrite.targets.kinesis import KinesisStream
from afterwrite.targets.lambda_function import FunctionQueue, LambdaFunction
from afterwrite.targets.remote_target import RemoteTarget
from afterwrite.targets.s3 import S3AuditLog
from afterwrite.targets.s3_anchors import S3Anchors
from afterwrite.targets.sns import SnsTopic
from afterwrite.targets.sqs import SqsQueue
from aws_servers import AwsServer
from bounds import BOUND_S
from faulty_proxy import faulty_proxy

AT_MS = 1_700_000_000_123
_numbers = count()
T = TypeVar("T")


def name(of: str) -> str:
    return f"{of}-{next(_numbers)}"


def stamped(effect: Effect, number: int = 0, *, lane: str = "orders/a", at_ms: int = AT_MS) -> StampedEffect:
    return StampedEffect(f"change-{number}/route/0", lane, at_ms, effect)


def client(server: AwsServer, service: str) -> Callable[[], Any]:
    return lambda: server.client(service)


def send(target: RemoteTarget, *effects: Effect) -> Sequence[TargetFailure | None]:
    """Perform effects in as many requests as they take; what became of each."""
    entries = [target.entry(stamped(effect, number)) for number, effect in enumerate(effects)]
    return [failure for request in requests(entries, target.limits) for failure in target.send(request)]


def failure_of(target: RemoteTarget, effect: Effect) -> TargetFailure:
    (failure,) = send(target, effect)
    assert failure is not None
    return failure


def until(look: Callable[[], T | None]) -> T:
    """What `look` gives, as soon as it gives something."""
    deadline_s = time.monotonic() + BOUND_S
    while time.monotonic() < deadline_s:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing came within 20 s")


def queue(server: AwsServer, *, fifo: bool = False) -> tuple[str, str]:
    """A new queue; its URL and its ARN."""
    sqs, attributes = server.client("sqs"), {"FifoQueue": "true"} if fifo else {}
    url = sqs.create_queue(QueueName=name("queue") + (".fifo" if fifo else ""), Attributes=attributes)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


def received(server: AwsServer, url: str, wanted: int) -> list[dict[str, Any]]:
    """Messages of a queue in the form in which Lambda gets them."""
    sqs, records = server.client("sqs"), list[dict[str, Any]]()

    def look() -> bool:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
        )
        for each in answer.get("Messages", []):
            attributes = {
                key: {member[0].lower() + member[1:]: content for member, content in value.items()}
                for key, value in each.get("MessageAttributes", {}).items()
            }
            records.append(
                {
                    "messageId": each["MessageId"],
                    "body": each["Body"],
                    "attributes": each["Attributes"],
                    "messageAttributes": attributes,
                    "eventSource": "aws:sqs",
                }
            )
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return len(records) >= wanted

    until(look)
    return records


def messages(server: AwsServer, url: str, wanted: int) -> list[Any]:
    """What a consumer of the queue is given."""
    incoming = Incoming("sqs", received(server, url, wanted))
    return [each.payload for each in invocations_of(incoming, as_messages=True)]


def test_a_topic_s_messages_reach_its_queue_with_subject_attributes_and_id(server: AwsServer) -> None:
    url, queue_arn = queue(server)
    sns = server.client("sns")
    arn = sns.create_topic(Name=name("topic"))["TopicArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)
    topic = SnsTopic("topic/t", client(server, "sns"), arn)
    effects = [
        Publish("t", {"n": number}, "about", {"kind": "order", "size": 3, "tags": ["a", "b"]}) for number in range(12)
    ]
    assert send(topic, *effects, Publish("t", "plain text")) == [None] * 13
    given = {each.id: each for each in messages(server, url, 13)}
    first = given["change-0/route/0"]
    assert (first.body, first.subject) == ({"n": 0}, "about")
    assert first.attributes == {"kind": "order", "size": 3, "tags": ["a", "b"]}
    assert given["change-12/route/0"].body == "plain text"


def test_a_queue_s_messages_arrive_as_they_were_sent(server: AwsServer) -> None:
    url, _ = queue(server)
    target = SqsQueue("queue/q", client(server, "sqs"), url)
    assert send(target, *(Enqueue("q", {"n": number}) for number in range(11)), Enqueue("q", "12")) == [None] * 12
    given = {each.id: each.body for each in messages(server, url, 12)}
    assert given["change-10/route/0"] == {"n": 10}
    assert given["change-11/route/0"] == "12"


def test_a_fifo_queue_keeps_a_lane_s_order_and_knows_an_effect_again_s33(server: AwsServer) -> None:
    url, _ = queue(server, fifo=True)
    target = SqsQueue("queue/q", client(server, "sqs"), url)
    entries = [target.entry(stamped(Enqueue("q", number), number)) for number in range(5)]
    for entry in [*entries, entries[2], entries[4]]:
        assert target.send([entry]) == [None]
    assert [each.body for each in messages(server, url, 5)] == [0, 1, 2, 3, 4]


def test_a_bus_s_events_carry_their_effect_s_id_and_the_change_s_time(server: AwsServer) -> None:
    url, queue_arn = queue(server)
    events, bus = server.client("events"), name("bus")
    events.create_event_bus(Name=bus)
    events.put_rule(Name="rule", EventBusName=bus, EventPattern='{"detail-type":["Paid"]}')
    events.put_targets(Rule="rule", EventBusName=bus, Targets=[{"Id": "1", "Arn": queue_arn}])
    target = EventBus("bus/b", client(server, "events"), bus)
    effects = [PutEvent("b", "shop", "Paid", {"n": number}) for number in range(11)]
    assert send(target, *effects, PutEvent("b", "shop", "Other", {})) == [None] * 12
    given = {each.id: each.body for each in messages(server, url, 11)}
    assert len(given) == 11
    event = given["change-10/route/0"]
    assert (event["detail"], event["source"]) == ({"n": 10}, "shop")
    if server.name == "moto":  # ministack has the time of arrival, whatever was sent
        assert event["time"] == "2023-11-14T22:13:20Z"


def test_a_delivery_stream_s_records_are_lines_with_id_and_time(server: AwsServer) -> None:
    s3, bucket, stream = server.client("s3"), name("lake"), name("stream")
    s3.create_bucket(Bucket=bucket)
    server.client("firehose").create_delivery_stream(
        DeliveryStreamName=stream,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::111122223333:role/delivery",
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "BufferingHints": {"IntervalInSeconds": 0, "SizeInMBs": 1},
        },
    )
    target = FirehoseStream("delivery_stream/d", client(server, "firehose"), stream)
    assert send(target, *(Deliver("d", {"n": number, "id": "own"}) for number in range(501))) == [None] * 501

    def lines() -> list[bytes] | None:
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        texts = [s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read() for each in found]
        written = b"".join(texts).splitlines()
        return written if len(written) >= 501 else None

    rows = sorted((orjson.loads(line) for line in until(lines)), key=lambda row: int(row["n"]))
    assert rows[0] == {"id": "change-0/route/0", "time": "2023-11-14T22:13:20Z", "n": 0, "_id": "own"}
    assert [row["n"] for row in rows] == list(range(501))


def test_a_kinesis_stream_s_records_keep_a_lane_s_order(server: AwsServer) -> None:
    kinesis, stream = server.client("kinesis"), name("kinesis")
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    described = kinesis.describe_stream(StreamName=stream)["StreamDescription"]
    target = KinesisStream("delivery_stream/k", client(server, "kinesis"), described["StreamARN"])
    assert send(target, *(Deliver("k", {"n": number}) for number in range(20))) == [None] * 20
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=described["Shards"][0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator, Limit=100)["Records"]
    assert [orjson.loads(each["Data"])["n"] for each in records] == list(range(20))
    assert len({each["PartitionKey"] for each in records}) == 1
    assert "orders" not in records[0]["PartitionKey"], "the lane's key is not shown"


def test_a_function_is_invoked_later_with_its_request_and_id(ministack: AwsServer) -> None:
    """Of moto's, functions need Docker."""
    url, _ = queue(ministack)
    code = io.BytesIO()
    source = (
        "import boto3, json\n"
        f"def handler(event, context):\n    boto3.client('sqs', endpoint_url={ministack.endpoint_url!r}, "
        "region_name='us-east-1', aws_access_key_id='x', aws_secret_access_key='x')"
        f".send_message(QueueUrl={url!r}, MessageBody=json.dumps(event))\n"
    )
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("code.py", source)
    function = name("function")
    ministack.client("lambda").create_function(
        FunctionName=function,
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/function",
        Handler="code.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=20,
    )
    target = LambdaFunction("function/f", client(ministack, "lambda"), function)
    assert send(target, Invoke("f", {"order": "o-1"})) == [None]
    (record,) = received(ministack, url, 1)
    (given,) = invocations_of(Incoming("sqs", [record]), as_messages=False)
    assert (given.message_id, given.payload) == ("change-0/route/0", {"order": "o-1"})


def test_a_function_s_queue_carries_its_invocations(server: AwsServer) -> None:
    url, _ = queue(server, fifo=True)
    target = FunctionQueue("function/f", client(server, "sqs"), url)
    for number in range(3):
        assert target.send([target.entry(stamped(Invoke("f", {"n": number}), number))]) == [None]
    given = invocations_of(Incoming("sqs", received(server, url, 3)), as_messages=False)
    assert [(each.message_id, each.payload) for each in given] == [
        (f"change-{number}/route/0", {"n": number}) for number in range(3)
    ]
    assert len({each.lane for each in given}) == 1


def audit_bucket(server: AwsServer) -> str:
    bucket = name("audit")
    server.client("s3").create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    return bucket


@pytest.fixture(params=["moto", "seaweedfs"])
def s3_server(request: pytest.FixtureRequest) -> AwsServer:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, AwsServer)
    return found


def test_an_audit_entry_is_one_object_however_often_it_is_sent(s3_server: AwsServer) -> None:
    bucket, s3 = audit_bucket(s3_server), s3_server.client("s3")
    log = S3AuditLog("audit_log/a", client(s3_server, "s3"), bucket, log="orders", retain_days=30)
    now_ms = time.time_ns() // 1_000_000
    entry = log.entry(stamped(Append("a", {"before": None, "after": {"n": 1}}), at_ms=now_ms))
    assert log.send([entry]) == [None]
    assert log.send([entry]) == [None], "its answer was lost, and it is sent again"
    (version,) = s3.list_object_versions(Bucket=bucket)["Versions"]
    day = datetime.fromtimestamp(now_ms / 1000, UTC)
    assert version["Key"].startswith(f"orders/dt={day:%Y-%m-%d}/")
    kept = orjson.loads(s3.get_object(Bucket=bucket, Key=version["Key"])["Body"].read())
    assert (kept["id"], kept["entry"]) == ("change-0/route/0", {"before": None, "after": {"n": 1}})


def test_an_audit_object_can_be_neither_deleted_nor_held_shorter_s38(seaweedfs: AwsServer) -> None:
    bucket, s3 = audit_bucket(seaweedfs), seaweedfs.client("s3")
    log = S3AuditLog("audit_log/a", client(seaweedfs, "s3"), bucket, log="orders", retain_days=30)
    now = datetime.now(UTC)
    assert log.send([log.entry(stamped(Append("a", {"n": 1}), at_ms=int(now.timestamp() * 1000)))]) == [None]
    (version,) = s3.list_object_versions(Bucket=bucket)["Versions"]
    its = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
    kept = s3.get_object_retention(**its)["Retention"]
    assert kept["Mode"] == "COMPLIANCE"
    sent_within, held = datetime.now(UTC) - now, kept["RetainUntilDate"] - (now + timedelta(days=30))
    assert timedelta(seconds=-2) < held < sent_within + timedelta(seconds=2)
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(**its)
    shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": now + timedelta(days=1)}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object_retention(**its, Retention=shorter)
    s3.put_object(Bucket=bucket, Key=version["Key"], Body=b"another")
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert len(versions) == 2, "writing over it makes a version beside it"
    assert orjson.loads(s3.get_object(**its)["Body"].read())["entry"] == {"n": 1}


def test_an_audit_entry_that_waited_for_longer_than_it_is_kept_is_kept_from_now_on(seaweedfs: AwsServer) -> None:
    """S3 refuses a lock that has ended; a lane that was parked for so long could never be redriven."""
    bucket, s3 = audit_bucket(seaweedfs), seaweedfs.client("s3")
    log = S3AuditLog("audit_log/a", client(seaweedfs, "s3"), bucket, log="orders", retain_days=1)
    now = datetime.now(UTC)
    changed_at = now - timedelta(days=3)
    entry = log.entry(stamped(Append("a", {"n": 1}), at_ms=int(changed_at.timestamp() * 1000)))
    assert log.send([entry]) == [None]
    (version,) = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert version["Key"].startswith(f"orders/dt={changed_at:%Y-%m-%d}/")
    its = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
    until = s3.get_object_retention(**its)["Retention"]["RetainUntilDate"]
    assert until > now + timedelta(hours=23)


def test_a_digest_is_anchored_once_and_its_first_version_counts_s38(seaweedfs: AwsServer) -> None:
    bucket, s3 = audit_bucket(seaweedfs), seaweedfs.client("s3")
    s3.put_object_lock_configuration(
        Bucket=bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}},
        },
    )
    anchors = S3Anchors(client(seaweedfs, "s3"), bucket, "site-1")
    assert anchors.latest("orders") is None
    for number in (1, 2, 2):
        anchors.put("orders", number, b"digest %d" % number)
    anchors.put("others", 9, b"another log's")
    assert anchors.latest("orders") == b"digest 2"
    versions = s3.list_object_versions(Bucket=bucket, Prefix="site-1/orders/")["Versions"]
    assert len(versions) == 2, "what is there is not put again"
    last = max(versions, key=lambda version: str(version["Key"]))
    until(lambda: time.time() > last["LastModified"].timestamp() + 1)
    s3.put_object(Bucket=bucket, Key=last["Key"], Body=b"forged")
    assert anchors.latest("orders") == b"digest 2"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key=last["Key"], VersionId=last["VersionId"])
    with pytest.raises(StorageError, match="expected to read and write digests in the bucket absent"):
        S3Anchors(client(seaweedfs, "s3"), "absent").put("orders", 1, b"digest")


def test_what_is_not_there_is_missing(moto: AwsServer) -> None:
    account = "arn:aws:{}:us-east-1:123456789012:{}"
    cases: list[tuple[RemoteTarget, Effect]] = [
        (SnsTopic("t", client(moto, "sns"), account.format("sns", "absent")), Publish("t", "x")),
        (SqsQueue("q", client(moto, "sqs"), f"{moto.endpoint_url}/123456789012/absent"), Enqueue("q", "x")),
        (FirehoseStream("d", client(moto, "firehose"), "absent"), Deliver("d", {})),
        (KinesisStream("k", client(moto, "kinesis"), account.format("kinesis", "stream/absent")), Deliver("k", {})),
        (S3AuditLog("a", client(moto, "s3"), "absent", log="a", retain_days=None), Append("a", {})),
        (LambdaFunction("f", client(moto, "lambda"), "absent"), Invoke("f", {})),
    ]
    for target, effect in cases:
        failure = failure_of(target, effect)
        assert (failure.target, failure.kind) == (target.name, "missing"), failure


def test_each_entry_of_a_request_has_its_own_result_s28(moto: AwsServer) -> None:
    """What fails on the way has not arrived, what does not has."""
    url, _ = queue(moto)
    bus, stream, kinesis_name = name("bus"), name("stream"), name("kinesis")
    moto.client("events").create_event_bus(Name=bus)
    moto.client("s3").create_bucket(Bucket=stream)
    moto.client("firehose").create_delivery_stream(
        DeliveryStreamName=stream,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::111122223333:role/delivery",
            "BucketARN": f"arn:aws:s3:::{stream}",
        },
    )
    moto.client("kinesis").create_stream(StreamName=kinesis_name, ShardCount=1)
    described = moto.client("kinesis").describe_stream(StreamName=kinesis_name)["StreamDescription"]
    with faulty_proxy(moto.endpoint_url) as proxy:
        server = AwsServer("moto, behind a proxy", proxy.url)
        cases: list[tuple[RemoteTarget, Callable[[int], Effect]]] = [
            (SqsQueue("q", client(server, "sqs"), url), lambda number: Enqueue("q", {"n": number})),
            (EventBus("b", client(server, "events"), bus), lambda number: PutEvent("b", "shop", "Paid", {"n": number})),
            (FirehoseStream("d", client(server, "firehose"), stream), lambda number: Deliver("d", {"n": number})),
            (
                KinesisStream("k", client(server, "kinesis"), described["StreamARN"]),
                lambda number: Deliver("k", {"n": number}),
            ),
        ]
        for target, effect in cases:
            asked = iter(range(5))
            proxy.fault_of = lambda _, asked=asked: "fails" if next(asked) in (1, 3) else None  # type: ignore[misc]
            failures = send(target, *(effect(number) for number in range(5)))
            kinds = [failure and (failure.target, failure.kind) for failure in failures]
            assert kinds == [None, (target.name, "unavailable"), None, (target.name, "unavailable"), None]
    assert sorted(each.body["n"] for each in messages(moto, url, 3)) == [0, 2, 4]
    (written,) = moto.client("s3").list_objects_v2(Bucket=stream)["Contents"]
    lines = moto.client("s3").get_object(Bucket=stream, Key=written["Key"])["Body"].read().splitlines()
    assert [orjson.loads(line)["n"] for line in lines] == [0, 2, 4]


def test_a_server_that_cannot_be_reached_is_a_failure_that_may_pass() -> None:
    nowhere = AwsServer("nothing", "http://127.0.0.1:9")
    failure = failure_of(SqsQueue("q", client(nowhere, "sqs"), "http://127.0.0.1:9/1/q"), Enqueue("q", "x"))
    assert (failure.kind, failure.code) == ("unavailable", "EndpointConnectionError")


def test_an_entry_too_large_is_refused_and_the_others_of_its_request_are_not_s29(moto: AwsServer) -> None:
    url, _ = queue(moto)
    target = SqsQueue("q", client(moto, "sqs"), url)
    failures = send(target, Enqueue("q", "small"), Enqueue("q", "x" * 1_048_576), Enqueue("q", "small"))
    assert [failure and (failure.kind, failure.code) for failure in failures] == [
        None,
        ("rejected", "EntryTooLarge"),
        None,
    ]
    assert len(messages(moto, url, 2)) == 2


def test_a_delay_that_sqs_does_not_have_is_refused_before_anything_is_sent(moto: AwsServer) -> None:
    target = SqsQueue("queue/q", client(moto, "sqs"), "https://sqs/q")
    with pytest.raises(InvalidValue, match=r"at most 900 s.*got 901 s for queue/q"):
        target.entry(stamped(Enqueue("q", "x", 900.5)))
