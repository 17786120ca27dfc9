"""Each fault on a real engine: it happens where the rule says, and the engine survives it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from afterwrite import App, Change, Context, Engine
from afterwrite.config import Settings
from afterwrite.errors import DeclarationError
from afterwrite.testing import (
    AnswerLost,
    At,
    ClockJump,
    Crash,
    DiskFull,
    Duplicate,
    FaultyEngine,
    PartialBatch,
    Poison,
    Rejected,
    Reorder,
    Slow,
    Throttled,
)
from afterwrite.testing.installing import Injector
from engine_process import wait_until


class Counted:
    """An app whose one function notes what it gets, and whose one route feeds it and a lake."""

    def __init__(self, **options: Any) -> None:
        self.ran: list[str] = []
        self.app = App("counted")
        things = self.app.table("things", partition_key="pk", sort_key="sk")
        out = self.app.queue("out")
        facts = self.app.delivery_stream("facts", buffer_seconds=0.02)
        self.app.bus("bus")

        @self.app.function(**{"retries": 3, "backoff_s": 0.01, **options})
        def work(request: Any, context: Context) -> None:
            self.ran.append(request["sk"])

        @things.on()
        def spread(change: Change) -> Any:
            sk = change.keys["sk"]
            return [work.later(sk=sk), out.send(sk), facts.put(sk=sk)]


def put(engine: Engine, *sort_keys: str, pk: str = "a") -> None:
    for sk in sort_keys:
        engine.table("things").put({"pk": pk, "sk": sk})


def settle(engine: Engine) -> None:
    wait_until(engine.reader().idle, what="rest")


def names(engine: FaultyEngine) -> Counter[str]:
    return Counter(type(each.fault).__name__ for each in engine.happened)


@pytest.mark.parametrize(
    ("fault", "ran"),
    [
        (Throttled(), ["1", "2"]),
        (AnswerLost(), ["1", "1", "2"]),
        (Duplicate(), ["1", "1", "2"]),
        (Slow(0.01), ["1", "2"]),
        (ClockJump(7200), ["1", "2"]),
        (ClockJump(-7200), ["1", "2"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_of_a_function(tmp_path: Path, fault: Any, ran: list[str]) -> None:
    counted = Counted()
    with FaultyEngine(tmp_path / "data", counted.app, [At("function:work", fault)]) as engine:
        put(engine, "1", "2")
        settle(engine)
        assert [(each.point, each.fault) for each in engine.happened] == [("function:work", fault)]
        assert [message.body for message in engine.reader().messages("out")] == ["1", "2"]
    assert counted.ran == ran


def test_poison_goes_to_the_dead_letters_and_its_lane_goes_on(tmp_path: Path) -> None:
    counted = Counted(retries=1)
    with FaultyEngine(tmp_path / "data", counted.app, [At("function:*", Poison('"sk":"2"'))]) as engine:
        put(engine, "1", "2", "3")
        settle(engine)
        assert [dead.body for dead in engine.reader().messages("function-work-dead-letters")] == [{"sk": "2"}]
        assert names(engine)["Poison"] >= 1
    assert counted.ran == ["1", "3"]


def test_poison_is_poison_to_an_engine_that_starts_or_stops(tmp_path: Path) -> None:
    # What was to be run when an engine was killed runs again before the next one has started.
    counted = Counted(retries=1)
    rules = [At("function:*", Poison('"sk":"1"'))]
    injector = Injector(rules, counted.app)
    with Engine(counted.app, Settings(tmp_path / "data", port=None), seams=injector.seams()) as engine:
        put(engine, "1", "2")
        settle(engine)
        assert [dead.body for dead in engine.reader().messages("function-work-dead-letters")] == [{"sk": "1"}]
    assert counted.ran == ["2"]


@pytest.mark.parametrize("point", ["step:things", "flush:lake-facts"])
@pytest.mark.parametrize("fault", [Rejected(), AnswerLost(), DiskFull(), Slow(0.01)], ids=str)
def test_faults_of_steps_and_files_repeat_nothing_and_lose_nothing(tmp_path: Path, point: str, fault: Any) -> None:
    counted = Counted()
    with FaultyEngine(tmp_path / "data", counted.app, [At(point, fault, nth=2), At(point, fault)]) as engine:
        put(engine, "1")
        settle(engine)
        put(engine, "2", "3")
        settle(engine)
        assert [message.body for message in engine.reader().messages("out")] == ["1", "2", "3"]
        assert len(engine.happened) == 2
        from afterwrite.local import lake

        assert [row["sk"] for row in lake.read(engine.reader().lake("facts").parent, "facts")] == ["1", "2", "3"]
    assert counted.ran == ["1", "2", "3"]


def test_a_full_disk_refuses_and_the_engine_goes_on(tmp_path: Path) -> None:
    counted = Counted()
    with FaultyEngine(tmp_path / "data", counted.app, [At("commit", DiskFull(), times=3)]) as engine:
        wait_until(lambda: names(engine)["DiskFull"] == 3, what="the full disk")
        put(engine, "1")
        settle(engine)
    assert counted.ran == ["1"]


def test_reordered_deliveries_keep_the_order_of_their_lanes(tmp_path: Path) -> None:
    counted = Counted(concurrency=1)
    with FaultyEngine(tmp_path / "data", counted.app, [At("deliveries:work", Reorder(), times=None)]) as engine:
        for number in range(5):
            put(engine, f"a{number}", pk="a")
            put(engine, f"b{number}", pk="b")
        settle(engine)
        assert names(engine)["Reorder"] > 0
    for lane in "ab":
        assert [sk for sk in counted.ran if sk[0] == lane] == [f"{lane}{number}" for number in range(5)]


def boto3_client(engine: FaultyEngine, service: str, attempts: int = 1) -> Any:
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"})
    return engine.boto3_session().client(service, config=config)  # type: ignore[call-overload]


@pytest.mark.parametrize("listen", [None, "127.0.0.1:0"])
def test_faults_of_requests(tmp_path: Path, listen: str | None) -> None:
    rules = [
        At("request:*.PutItem", Rejected(), nth=1),
        At("request:*.PutItem", Throttled(), nth=2),
        At("request:*.PutItem", AnswerLost(), nth=3),
        At("request:*.PutItem", Slow(0.3), nth=4),
    ]
    counted = Counted()
    with FaultyEngine(tmp_path / "data", counted.app, rules, listen=listen) as engine:
        client = boto3_client(engine, "dynamodb")
        if listen is not None:
            from server.aws_clients import client as over_the_wire

            client = over_the_wire(engine, "dynamodb")
        codes = []
        for number in range(3):
            with pytest.raises(ClientError) as failure:
                client.put_item(TableName="things", Item={"pk": {"S": "a"}, "sk": {"S": str(number)}})
            codes.append(failure.value.response["Error"]["Code"])
        assert codes == ["InternalServerError", "ThrottlingException", "InternalServerError"]
        began_s = time.monotonic()
        client.put_item(TableName="things", Item={"pk": {"S": "a"}, "sk": {"S": "3"}})
        assert time.monotonic() - began_s >= 0.3
        # Only the lost answer's write is there, besides the slow one's.
        assert [item["sk"] for item in engine.reader().items("things")] == ["2", "3"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Throttled(), "ThrottlingException"),
        (Rejected("InternalError"), "InternalError"),
        (AnswerLost(), "InternalServerError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_faults_of_a_service_that_answers_in_xml(tmp_path: Path, fault: Any, code: str) -> None:
    app = App("news")
    news = app.topic("news")
    news.subscribe(app.queue("out"))
    rules = [At("request:SNS.Publish", fault), At("request:SNS.Publish", PartialBatch())]
    topic = "arn:aws:sns:us-east-1:000000000000:news"
    with FaultyEngine(tmp_path / "data", app, rules) as engine:
        client = boto3_client(engine, "sns")
        with pytest.raises(ClientError) as failure:
            client.publish(TopicArn=topic, Message="1")
        assert failure.value.response["Error"]["Code"] == code
        client.publish(TopicArn=topic, Message="2")  # no batch: it happens whole
        sent = sorted(message.body for message in engine.reader().messages("out"))
        assert sent == (["1", "2"] if isinstance(fault, AnswerLost) else ["2"])


def test_a_sdk_survives_what_it_retries(tmp_path: Path) -> None:
    rules = [At("request:*", Throttled()), At("request:*", AnswerLost()), At("request:*", Duplicate())]
    with FaultyEngine(tmp_path / "data", Counted().app, rules) as engine:
        client = boto3_client(engine, "dynamodb", attempts=5)
        client.put_item(TableName="things", Item={"pk": {"S": "a"}, "sk": {"S": "1"}})
        assert sum(1 for _ in engine.reader().changes("things")) == 1
        assert len(engine.happened) == 3


def test_a_batch_fails_in_part_s28(tmp_path: Path) -> None:
    rules = [At("request:*", PartialBatch((0, 2)), times=None)]
    with FaultyEngine(tmp_path / "data", Counted().app, rules) as engine:
        events = [{"EventBusName": "bus", "Source": "s", "DetailType": "t", "Detail": "{}"}] * 3
        answer = boto3_client(engine, "events").put_events(Entries=events)
        assert [each.get("ErrorCode") for each in answer["Entries"]] == ["InternalFailure", None, "InternalFailure"]
        assert answer["FailedEntryCount"] == 2
        records = [{"Data": b'{"sk": "x"}'}] * 3
        put_records = boto3_client(engine, "firehose").put_record_batch
        assert put_records(DeliveryStreamName="facts", Records=records)["FailedPutCount"] == 2
        assert put_records(DeliveryStreamName="facts", Records=records[:1])["FailedPutCount"] == 1
        sqs = boto3_client(engine, "sqs")
        entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(3)]
        sent = sqs.send_message_batch(QueueUrl="out", Entries=entries)
        assert [each["Id"] for each in sent["Successful"]] == ["1"]
        assert [each["Id"] for each in sent["Failed"]] == ["0", "2"]
        assert [message.body for message in engine.reader().messages("out")] == ["1"]
        puts = [{"PutRequest": {"Item": {"pk": {"S": "a"}, "sk": {"S": str(number)}}}} for number in range(3)]
        client = boto3_client(engine, "dynamodb")
        left = client.batch_write_item(RequestItems={"things": puts})["UnprocessedItems"]["things"]
        assert left == [puts[0], puts[2]]
        assert client.list_tables()["TableNames"] == ["things"]


def test_a_crash_needs_a_process(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="EngineProcess"):
        FaultyEngine(tmp_path / "data", None, [At("commit", Crash())])
