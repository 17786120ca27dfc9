"""An event source mapping on the store: what a function gets, what is kept, what is said of what failed."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

import afterwrite
from afterwrite import App
from afterwrite.app import Table
from afterwrite.config import Identity
from afterwrite.core.event_source_mapping.declaration import KinesisStream
from afterwrite.core.event_source_mapping.mapping import Fetched
from afterwrite.core.parked import EVERYTHING
from afterwrite.core.wire import StoredChange, streams_record_text
from afterwrite.errors import DeclarationError, StorageError
from afterwrite.local.mapping_ledger import EmbeddedMappingLedger
from afterwrite.sources.shards import KinesisShards
from afterwrite.store import given_up, kinesis, parked, streams
from bounds import BOUND_S
from engine_process import wait_until
from mapped import Mapped

REPORTS = ["ReportBatchItemFailures"]


def keys_of(event: dict[str, Any]) -> list[str]:
    return [record["dynamodb"]["Keys"]["pk"]["S"] for record in event["Records"]]


class Recorder:
    """A Lambda function that keeps its events, and does with each what it is told."""

    def __init__(self, then: Callable[[dict[str, Any]], Any] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.contexts: list[Any] = []
        self.name = "recorder"
        self._then = then

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        self.events.append(orjson.loads(orjson.dumps(event)))
        self.contexts.append(context)
        return None if self._then is None else self._then(event)

    @property
    def batches(self) -> list[list[str]]:
        return [keys_of(event) for event in self.events]

    @property
    def keys(self) -> list[str]:
        return [key for batch in self.batches for key in batch]


class Shop:
    """An app with a table, a stream, and what may take failure messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.app = App("shop")
        self.things: Table = self.app.table("things", partition_key="pk", sort_key="sk")
        self.clicks: KinesisStream = self.app.kinesis_stream("clicks")
        self.dead = self.app.queue("dead")
        self.news = self.app.topic("news")
        self.news.subscribe(self.dead)

        @self.app.function()
        def inspect(request: Any, context: Any) -> None: ...

        self.inspect = inspect
        self._mapped: Mapped | None = None

    @property
    def mapped(self) -> Mapped:
        if self._mapped is None:
            self._mapped = Mapped(self.app, self.path)
        return self._mapped

    def put(self, *keys: str) -> None:
        for key in keys:
            self.mapped.dynamo.put("things", pk=key, sk="1", value=self.mapped.clock.now_us)

    def click(self, data: bytes, partition_key: str = "k", *, stream_name: str = "clicks") -> None:
        def run(transaction: Any) -> None:
            stream = kinesis.find(transaction, stream_name)
            assert stream is not None
            kinesis.put(transaction, stream, partition_key, base64.b64encode(data))

        self.mapped.environment.write(run)

    def close(self) -> None:
        if self._mapped is not None:
            self._mapped.environment.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def test_a_function_gets_records_as_lambda_delivers_them(shop: Shop) -> None:
    function = Recorder()
    shop.things.event_source_mapping(function, timeout_s=30)
    shop.mapped.dynamo.put("things", pk="a", sk="1", n=1)
    shop.mapped.dynamo.put("things", pk="a", sk="1", n=2)
    shop.mapped.deliver(shop.mapped.work(shop.things))
    first, second = function.events[0]["Records"]
    arn = first["eventSourceARN"]
    assert arn.startswith("arn:aws:dynamodb:us-east-1:000000000000:table/things/stream/")
    assert (first["eventName"], first["eventSource"], first["eventVersion"]) == ("INSERT", "aws:dynamodb", "1.1")
    assert second["dynamodb"]["OldImage"]["n"] == {"N": "1"}
    assert second["dynamodb"]["NewImage"]["n"] == {"N": "2"}
    assert second["dynamodb"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert int(first["dynamodb"]["SequenceNumber"]) < int(second["dynamodb"]["SequenceNumber"])


def test_a_function_gets_a_context_as_lambda_gives_it(shop: Shop) -> None:
    function = Recorder()
    shop.things.event_source_mapping(function, FunctionName="route", timeout_s=30)
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    (context,) = function.contexts
    assert (context.function_name, context.function_version, context.memory_limit_in_mb) == ("route", "$LATEST", "128")
    assert context.invoked_function_arn == "arn:aws:lambda:us-east-1:000000000000:function:route"
    assert len(context.aws_request_id) == 36
    assert 0 < context.get_remaining_time_in_millis() <= 30_000
    assert context.log_group_name == "/aws/lambda/route"
    assert context.log_stream_name.startswith("[$LATEST]")
    assert (context.identity, context.client_context) == (None, None)


def test_a_batch_that_comes_again_has_the_request_id_that_it_had_and_its_parts_have_their_own_s5(shop: Shop) -> None:
    function = Recorder(lambda event: fail(event) if "bad" in keys_of(event) else None)
    shop.things.event_source_mapping(function, BisectBatchOnFunctionError=True, MaximumRetryAttempts=2)
    shop.put("bad", "good")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.batches == [["bad", "good"], ["bad"], ["bad"], ["bad"], ["good"]]
    both, *alone, good = [context.aws_request_id for context in function.contexts]
    assert len(set(alone)) == 1
    assert len({both, *alone, good}) == 3


def test_what_expired_was_deleted_by_the_service_s25(shop: Shop) -> None:
    stored = StoredChange("REMOVE", b"{}", None, b"{}", 0, 1, by_ttl=True)
    text = streams_record_text(
        stored, id="1", sequence_number="2", region="r", view_type="KEYS_ONLY", stream_arn="arn:x"
    )
    record = orjson.loads(text)
    assert record["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert record["eventSourceARN"] == "arn:x"


def test_each_record_is_delivered_once_and_not_again_after_a_restart(shop: Shop) -> None:
    function = Recorder()
    shop.things.event_source_mapping(function, BatchSize=7)
    keys = [f"k{number}" for number in range(50)]
    shop.put(*keys)
    shop.mapped.deliver(shop.mapped.work(shop.things))
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.keys == keys
    assert max(map(len, function.batches)) == 7


def test_an_engine_that_died_delivers_what_it_was_running_again(shop: Shop) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(event: Any) -> None:
        if not entered.is_set():
            entered.set()
            leave.wait(BOUND_S)

    function = Recorder(hang)
    shop.things.event_source_mapping(function, MaximumRetryAttempts=1)
    shop.put("a")
    died = shop.mapped.work(shop.things)
    shop.mapped.deliver(died, until=entered.is_set)
    shop.mapped.deliver(shop.mapped.work(shop.things))
    leave.set()
    assert function.batches == [["a"], ["a"]]


def test_stopping_gives_back_what_runs_too_long_without_counting_it(shop: Shop) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(event: Any) -> None:
        entered.set()
        leave.wait(BOUND_S)

    function = Recorder(hang)
    shop.things.event_source_mapping(function, MaximumRetryAttempts=0, DestinationConfig=to(shop.dead))
    shop.put("a")
    work = shop.mapped.work(shop.things)
    shop.mapped.deliver(work, until=entered.is_set)
    work.stop(wait_s=0.05)
    leave.set()
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.batches == [["a"], ["a"]]
    assert shop.mapped.bodies("dead") == []


def test_stopping_settles_what_ends_in_time(shop: Shop) -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(event: Any) -> None:
        entered.set()
        leave.wait(BOUND_S)

    function = Recorder(wait)
    shop.things.event_source_mapping(function)
    shop.put("a")
    work = shop.mapped.work(shop.things)
    shop.mapped.deliver(work, until=entered.is_set)
    leave.set()
    work.stop(wait_s=BOUND_S)
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.batches == [["a"]]


def to(destination: Any) -> dict[str, Any]:
    return {"OnFailure": {"Destination": destination}}


def fail(event: Any) -> None:
    raise ValueError("no")


def test_a_failure_message_reaches_a_queue_without_the_payload_s14(shop: Shop) -> None:
    function = Recorder(fail)
    shop.things.event_source_mapping(function, MaximumRetryAttempts=1, DestinationConfig=to(shop.dead))
    shop.put("a", "b")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    records = function.events[0]["Records"]
    (message,) = shop.mapped.bodies("dead")
    assert message["requestContext"]["requestId"] == function.contexts[-1].aws_request_id
    assert message["requestContext"]["approximateInvokeCount"] == 2
    about = message["DDBStreamBatchInfo"]
    assert about["startSequenceNumber"] == records[0]["dynamodb"]["SequenceNumber"]
    assert about["endSequenceNumber"] == records[-1]["dynamodb"]["SequenceNumber"]
    assert about["streamArn"] == records[0]["eventSourceARN"]
    assert about["batchSize"] == 2
    assert about["shardId"].startswith("shardId-")
    assert "payload" not in message


def test_records_that_were_never_delivered_have_a_request_id_of_their_own_s15(shop: Shop) -> None:
    function = Recorder(lambda event: shop.mapped.clock.advance(s=120))
    shop.things.event_source_mapping(
        function, BatchSize=1, MaximumRecordAgeInSeconds=60, DestinationConfig=to(shop.dead)
    )
    shop.put("a", "b")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    (message,) = shop.mapped.bodies("dead")
    (context,) = function.contexts
    assert message["requestContext"]["condition"] == "RecordAgeExceeded"
    assert message["requestContext"]["requestId"] != context.aws_request_id


@pytest.mark.parametrize("arn", [False, True])
@pytest.mark.parametrize(("kind", "queue"), [("dead", "dead"), ("news", "dead"), ("inspect", "function-inspect")])
def test_failure_messages_go_to_queues_topics_and_functions(shop: Shop, kind: str, queue: str, arn: bool) -> None:
    service = {"dead": "sqs", "news": "sns", "inspect": "lambda"}[kind]
    resource = f"function:{kind}" if service == "lambda" else kind
    destination = f"arn:aws:{service}:us-east-1:000000000000:{resource}" if arn else getattr(shop, kind)
    shop.things.event_source_mapping(Recorder(fail), MaximumRetryAttempts=0, DestinationConfig=to(destination))
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    (message,) = shop.mapped.bodies(queue)
    assert message["requestContext"]["condition"] == "RetryAttemptsExhausted"


def test_a_failure_message_in_a_file_has_the_payload_s14(shop: Shop) -> None:
    function = Recorder(fail)
    shop.things.event_source_mapping(function, MaximumRetryAttempts=0, DestinationConfig=to("arn:aws:s3:::failures"))
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    (path,) = (path for path in (shop.path / "files").rglob("*") if path.is_file())
    message = orjson.loads(path.read_bytes())
    assert orjson.loads(message["payload"]) == function.events[0]
    uuid = shop.things.event_source_mappings[0].uuid
    shard_id = message["DDBStreamBatchInfo"]["shardId"]
    assert str(path).startswith(f"{shop.path}/files/failures/aws/lambda/{uuid}/{shard_id}/2023/11/14/2023-11-14T22.13.")


@pytest.mark.parametrize("destination", ["arn:aws:sqs:us-east-1:000000000000:other", "arn:aws:s3:::.x", 7])
def test_a_destination_that_the_app_has_not_is_refused(shop: Shop, destination: Any) -> None:
    shop.things.event_source_mapping(Recorder(), DestinationConfig=to(destination))
    with pytest.raises(DeclarationError, match="failure destination"):
        shop.mapped.work(shop.things)


def test_without_a_destination_giving_up_is_logged(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.things.event_source_mapping(Recorder(fail), MaximumRetryAttempts=0)
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert "records given up" in caplog.text


def test_positions_and_messages_are_kept_together(shop: Shop) -> None:
    """A commit that fails is made again, whole: the message is sent once, and no record is delivered meanwhile."""
    shop.things.event_source_mapping(Recorder(fail), MaximumRetryAttempts=0, DestinationConfig=to(shop.dead))
    (mapping,) = shop.things.event_source_mappings
    inner = shop.mapped.ledger(mapping)
    failures = iter([False, False, True, True, False])

    class Failing(EmbeddedMappingLedger):
        def __init__(self) -> None: ...

        load = staticmethod(inner.load)

        def commit(self, kept: Any, notices: Any) -> None:
            if next(failures, False):
                raise StorageError("the disk is full")
            inner.commit(kept, notices)

    shop.put("a")
    work = shop.mapped.work(shop.things, ledger=Failing())
    for _ in range(2):
        with pytest.raises(StorageError):
            shop.mapped.deliver(work)
    shop.mapped.deliver(work)
    assert len(shop.mapped.bodies("dead")) == 1


def test_only_what_the_filter_admits_is_delivered_s17(shop: Shop) -> None:
    function = Recorder()
    criteria = {"Filters": [{"Pattern": '{"dynamodb": {"Keys": {"pk": {"S": [{"prefix": "a"}]}}}}'}]}
    shop.things.event_source_mapping(function, FilterCriteria=criteria)
    shop.put("a1", "b1", "a2", "b2")
    work = shop.mapped.work(shop.things)
    shop.mapped.deliver(work)
    assert function.keys == ["a1", "a2"]


def test_a_filter_sees_what_describes_a_record_s17(shop: Shop) -> None:
    function = Recorder()
    pattern = {"eventName": ["INSERT"], "eventSource": ["aws:dynamodb"], "awsRegion": ["us-east-1"]}
    shop.things.event_source_mapping(function, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    shop.put("a", "b", "a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.keys == ["a", "b"]


def test_latest_begins_with_what_is_written_from_now_on_s13(shop: Shop) -> None:
    function = Recorder()
    shop.things.event_source_mapping(function, StartingPosition="LATEST")
    shop.put("before")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    shop.put("after")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.keys == ["after"]


def test_a_child_of_a_shard_begun_at_latest_is_read_from_its_beginning_s19(shop: Shop) -> None:
    function = Recorder()
    shop.things.event_source_mapping(function, StartingPosition="LATEST")
    shop.put("before")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    shop.mapped.roll_over(shop.things)
    shop.put("after")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.keys == ["after"]


def test_order_holds_through_rolled_over_and_split_shards_s19(shop: Shop) -> None:
    function = Recorder()
    shop.things.event_source_mapping(function, BatchSize=3, ParallelizationFactor=3)
    for generation in range(4):
        for number in range(10):
            shop.mapped.dynamo.put("things", pk=f"k{number}", sk="1", generation=generation)
        if generation < 2:
            shop.mapped.roll_over(shop.things)
        elif generation == 2:
            shop.mapped.split(shop.things, 2)
    shop.mapped.deliver(shop.mapped.work(shop.things))
    seen: dict[str, list[int]] = {}
    for event in function.events:
        for record in event["Records"]:
            image = record["dynamodb"]["NewImage"]
            seen.setdefault(image["pk"]["S"], []).append(int(image["generation"]["N"]))
    assert seen == {f"k{number}": [0, 1, 2, 3] for number in range(10)}


def test_lanes_run_beside_each_other_and_a_key_stays_in_its_lane_s8(shop: Shop) -> None:
    running: set[int] = set()
    all_run = threading.Event()

    def meet(event: Any) -> None:
        running.add(threading.get_ident())
        if len(running) == len(lanes):
            all_run.set()
        assert all_run.wait(BOUND_S)

    function = Recorder(meet)
    shop.things.event_source_mapping(function, ParallelizationFactor=10, BatchSize=1)
    keys = [f"k{number}" for number in range(8)]
    shop.put(*keys)
    shop.mapped.clock.advance(ms=1)
    shop.put(*keys)
    lane_of: dict[str, set[int]] = {}
    for record in shop.mapped.source(shop.things.event_source_mappings[0]).fetch(0, 0).records:
        lane_of.setdefault(orjson.loads(record.text)["dynamodb"]["Keys"]["pk"]["S"], set()).add(record.lane)
    assert all(len(found) == 1 for found in lane_of.values())
    lanes = set().union(*lane_of.values())
    assert len(lanes) > 2
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert sorted(function.keys) == sorted(keys * 2)


def test_what_the_stream_keeps_no_longer_is_given_up_on_s8(shop: Shop) -> None:
    shop.things.event_source_mapping(Recorder(fail), DestinationConfig=to(shop.dead))
    shop.put("a")
    started_ms = shop.mapped.clock.now_ms
    work = shop.mapped.work(shop.things)
    shop.mapped.deliver(work, until=lambda: shop.mapped.clock.now_ms > started_ms + 60_000)
    shop.mapped.clock.advance(s=86_400 - 150)
    shop.mapped.deliver(work)
    (message,) = shop.mapped.bodies("dead")
    assert message["requestContext"]["condition"] == "RecordAgeExceeded"
    assert shop.mapped.clock.now_ms == started_ms + 24 * 3_600_000


def test_what_was_trimmed_unread_is_said(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.things.event_source_mapping(Recorder())
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    shop.put("b")
    shop.mapped.clock.advance(s=25 * 3600)
    shop.mapped.environment.write(lambda transaction: streams.run_due(transaction, lambda _: None, 100))
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert "records trimmed unread" in caplog.text


def test_a_shard_that_could_not_be_read_is_read_again_and_holds_up_no_other(shop: Shop) -> None:
    function = Recorder()
    many = shop.app.kinesis_stream("many", shard_count=4)
    many.event_source_mapping(function, StartingPosition="TRIM_HORIZON")
    (mapping,) = many.event_source_mappings

    class Failing(KinesisShards):
        fails: ClassVar[set[int]] = set()

        def fetch(self, shard: int, after: int, *, limit: int = 100) -> Fetched:
            if shard in self.fails:
                raise StorageError("the disk does not answer")
            return super().fetch(shard, after, limit=limit)

    work = shop.mapped.work(many, source=Failing(shop.mapped.environment, "many", Identity(), mapping.settings))
    shop.mapped.deliver(work)
    for number in range(20):
        shop.click(b"data", f"key-{number}", stream_name="many")
    listed = sorted(shard.number for shard in shop.mapped.source(mapping).listed())
    Failing.fails = set(listed[:-1])

    def shards() -> set[str]:
        return {record["eventID"].partition(":")[0] for event in function.events for record in event["Records"]}

    for _ in range(2):
        with pytest.raises(StorageError, match="does not answer"):
            work.run_once()
    wait_until(lambda: len(shards()) == 1, what="the last shard's batch")
    Failing.fails = set()
    shop.mapped.deliver(work)
    assert len(shards()) == len(listed)
    assert sum(len(event["Records"]) for event in function.events) == 20


def test_an_invocation_that_takes_too_long_has_failed(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    leave = threading.Event()
    function = Recorder(lambda event: leave.wait(BOUND_S))
    shop.things.event_source_mapping(function, timeout_s=0.05, MaximumRetryAttempts=0, DestinationConfig=to(shop.dead))
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things), until=lambda: bool(shop.mapped.bodies("dead")))
    leave.set()
    assert "batch failed" in caplog.text


def test_a_lane_with_two_hanging_invocations_starts_no_third_s7(shop: Shop) -> None:
    leave = threading.Event()
    function = Recorder(lambda event: leave.wait(BOUND_S))
    shop.things.event_source_mapping(function, timeout_s=60)
    shop.put("a")
    clock = shop.mapped.clock
    work = shop.mapped.work(shop.things, monotonic_s=lambda: clock.now_ms / 1000)

    def rounds(seconds: int) -> None:
        for _ in range(seconds):
            work.run_once()
            clock.advance(s=1)

    rounds(200)
    wait_until(lambda: len(function.events) == 2)
    rounds(600)
    assert len(function.events) == 2
    leave.set()
    # The threads need a moment of this machine's to end, in which the mapping's clock must not run far.

    def is_called_again() -> bool:
        rounds(1)
        return len(function.events) == 3

    wait_until(is_called_again)


@pytest.mark.parametrize("response", [{1, 2}, b"bytes", object(), "x" * (7 << 20)])
def test_a_response_that_is_no_json_or_too_large_is_an_error_of_the_function(shop: Shop, response: Any) -> None:
    shop.things.event_source_mapping(
        Recorder(lambda event: response), MaximumRetryAttempts=0, DestinationConfig=to(shop.dead)
    )
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    (message,) = shop.mapped.bodies("dead")
    assert message["responseContext"]["functionError"] == "Unhandled"


def test_an_event_that_the_function_changes_comes_again_as_it_was(shop: Shop) -> None:
    def spoil(event: Any) -> None:
        event["Records"].clear()
        raise ValueError("no")

    function = Recorder(spoil)
    shop.things.event_source_mapping(function, MaximumRetryAttempts=2)
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert function.batches == [["a"], ["a"], ["a"]]


def test_reported_failures_are_read_from_what_the_function_returns_s1(shop: Shop) -> None:
    tried: list[str] = []

    def report(event: Any) -> Any:
        failed = []
        for record in event["Records"]:
            key = record["dynamodb"]["Keys"]["pk"]["S"]
            tried.append(key)
            if key == "c" and tried.count("c") < 3:
                failed.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
        return {"batchItemFailures": failed}

    shop.things.event_source_mapping(Recorder(report), FunctionResponseTypes=REPORTS)
    shop.put("a", "b", "c", "d")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert tried == ["a", "b", "c", "d", "c", "d", "c", "d"]


def test_what_is_malformed_in_a_response_is_said_wherever_its_records_are_told_of(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Any] = [{"batchItemFailures": "all"}, {"batchItemFailures": [{"id": "1"}]}]
    function = Recorder(lambda _: answers.pop(0))
    shop.things.event_source_mapping(function, FunctionResponseTypes=REPORTS, MaximumRetryAttempts=1)
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    reasons = [
        f"expected of the function's response {expected}: the whole batch has failed"
        for expected in (
            "a list as its batchItemFailures, got 'all'",
            "objects with a record's sequence number as itemIdentifier in its batchItemFailures, got {'id': '1'}",
        )
    ]
    failed = [record.__dict__["fields"] for record in caplog.records if record.__dict__["event"] == "batch failed"]
    assert [(each["records"], each["reason"]) for each in failed] == [(1, reason) for reason in reasons]
    with shop.mapped.environment.read() as transaction:
        (entry,) = parked.entries(transaction, EVERYTHING)
    assert entry.failure is not None
    assert entry.failure.reason == reasons[-1]


def test_a_kinesis_stream_s_records_as_lambda_delivers_them(shop: Shop) -> None:
    function = Recorder()
    shop.clicks.event_source_mapping(function, FilterCriteria={"Filters": [{"Pattern": {"data": {"page": ["home"]}}}]})
    shop.click(b'{"page": "home"}')
    shop.click(b'{"page": "cart"}')
    shop.click(b"no JSON")
    shop.mapped.deliver(shop.mapped.work(shop.clicks))
    ((record,),) = [event["Records"] for event in function.events]
    assert record["kinesis"]["data"] == "eyJwYWdlIjogImhvbWUifQ=="
    assert record["eventSource"] == "aws:kinesis"
    assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"


def test_a_filter_on_kinesis_data_leaves_out_what_is_no_json_s17(shop: Shop) -> None:
    function = Recorder()
    pattern = {"data": {"page": [{"exists": False}]}}
    shop.clicks.event_source_mapping(function, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    for data in (b"no JSON", b"\xff", b'{"page": "cart"}', b'{"item": 1}'):
        shop.click(data)
    shop.mapped.deliver(shop.mapped.work(shop.clicks))
    ((record,),) = [event["Records"] for event in function.events]
    assert base64.b64decode(record["kinesis"]["data"]) == b'{"item": 1}'


def test_kinesis_from_a_time_on(shop: Shop) -> None:
    function = Recorder()
    at_s = shop.mapped.clock.now_ms / 1000 + 5
    shop.clicks.event_source_mapping(function, StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=at_s)
    shop.click(b"1")
    shop.mapped.clock.advance(s=10)
    shop.click(b"2")
    shop.mapped.deliver(shop.mapped.work(shop.clicks))
    assert [record["kinesis"]["data"] for event in function.events for record in event["Records"]] == ["Mg=="]


def test_kinesis_failures_name_the_kinesis_batch_s14(shop: Shop) -> None:
    shop.clicks.event_source_mapping(Recorder(fail), MaximumRetryAttempts=0, DestinationConfig=to(shop.dead))
    shop.click(b"1")
    shop.mapped.deliver(shop.mapped.work(shop.clicks))
    (message,) = shop.mapped.bodies("dead")
    assert message["KinesisBatchInfo"]["shardId"] == "shardId-000000000000"
    assert message["KinesisBatchInfo"]["streamArn"] == "arn:aws:kinesis:us-east-1:000000000000:stream/clicks"


def test_a_tumbling_window_counts_over_its_invocations_s11(shop: Shop) -> None:
    finals: list[Any] = []

    def count(event: Any) -> Any:
        if event["isFinalInvokeForWindow"]:
            finals.append((event["window"], event["state"]))
            return {"state": {}}
        return {"state": {"count": event["state"].get("count", 0) + len(event["Records"])}}

    function = Recorder(count)
    shop.things.event_source_mapping(function, TumblingWindowInSeconds=60, BatchSize=2)
    shop.put("a", "b", "c", "d", "e")
    shop.mapped.clock.advance(s=60)
    shop.put("f")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    assert [state for _, state in finals] == [{"count": 5}, {"count": 1}]
    assert finals[0][0] == {"start": "2023-11-14T22:13:00Z", "end": "2023-11-14T22:14:00Z"}


def test_a_window_whose_last_invocation_fails_is_told_with_its_state_s14(shop: Shop) -> None:
    def count(event: Any) -> Any:
        if event["isFinalInvokeForWindow"]:
            raise ValueError("no")
        return {"state": {"count": event["state"].get("count", 0) + len(event["Records"])}}

    function = Recorder(count)
    shop.things.event_source_mapping(
        function,
        TumblingWindowInSeconds=60,
        MaximumRetryAttempts=0,
        DestinationConfig=to("arn:aws:s3:::failures"),
    )
    shop.put("a", "b")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    (path,) = (path for path in (shop.path / "files").rglob("*") if path.is_file())
    message = orjson.loads(path.read_bytes())
    assert orjson.loads(message["payload"]) == function.events[-1]
    assert function.events[-1]["state"] == {"count": 2}
    assert message["timeWindowInfo"]["window"] == function.events[-1]["window"]
    assert set(message["DDBStreamBatchInfo"]) == {"shardId", "streamArn"}
    # No record was given up on, so there is nothing that an operator could run again.
    with shop.mapped.environment.read() as transaction:
        assert given_up.mappings(transaction) == []


def test_records_of_a_window_that_are_given_up_on_are_told_with_its_state_s14(shop: Shop) -> None:
    function = Recorder(lambda event: fail(event) if event["Records"] else {"state": {}})
    shop.things.event_source_mapping(
        function,
        TumblingWindowInSeconds=60,
        MaximumRetryAttempts=0,
        DestinationConfig=to("arn:aws:s3:::failures"),
    )
    shop.put("a")
    shop.mapped.deliver(shop.mapped.work(shop.things))
    (path,) = (path for path in (shop.path / "files").rglob("*") if path.is_file())
    message = orjson.loads(path.read_bytes())
    assert orjson.loads(message["payload"]) == function.events[0]
    assert message["timeWindowInfo"]["isFinalInvokeForWindow"] is False


def test_two_mappings_of_one_function_need_two_names(shop: Shop) -> None:
    function = Recorder()
    shop.things.event_source_mapping(function)
    with pytest.raises(DeclarationError, match="FunctionName"):
        shop.things.event_source_mapping(function)
    assert shop.things.event_source_mapping(function, FunctionName="other").uuid != (
        shop.things.event_source_mappings[0].uuid
    )


@pytest.mark.parametrize(("handler", "timeout_s"), [("no function", 1), (lambda event, context: None, 901)])
def test_what_is_no_function_or_may_take_too_long_is_refused(shop: Shop, handler: Any, timeout_s: float) -> None:
    with pytest.raises(DeclarationError):
        shop.things.event_source_mapping(handler, timeout_s=timeout_s)


def test_the_status_says_how_far_a_mapping_is(tmp_path: Path) -> None:
    leave = threading.Event()
    function = Recorder(lambda event: leave.wait(BOUND_S) and None)
    app = App("shop")
    things = app.table("things", partition_key="pk", sort_key="sk")
    things.event_source_mapping(function, FunctionName="route")
    with afterwrite.open_engine(tmp_path / "data", app) as engine:
        reader = engine.reader()
        engine.table(things).put({"pk": "a", "sk": "1"})
        wait_until(lambda: bool(function.events))
        (found,) = reader.status().event_source_mappings
        assert (found.function, found.source, found.lag_records, found.batches_in_hand) == ("route", "things", 1, 1)
        assert not reader.idle()
        leave.set()
        wait_until(reader.idle)
        (found,) = reader.status().event_source_mappings
        assert (found.lag_records, found.batches_in_hand) == (0, 0)
        assert found.iterator_age_ms is not None


def test_the_status_says_how_far_a_mapping_on_a_kinesis_stream_is(tmp_path: Path) -> None:
    leave = threading.Event()
    function = Recorder(lambda event: leave.wait(BOUND_S) and None)
    app = App("shop")
    clicks = app.kinesis_stream("clicks", shard_count=2)
    clicks.event_source_mapping(function, FunctionName="route", StartingPosition="TRIM_HORIZON", BatchSize=1)
    with afterwrite.open_engine(tmp_path / "data", app) as engine:
        reader, kinesis_client = engine.reader(), engine.boto3_session().client("kinesis")
        for key in ("a", "b", "c"):
            kinesis_client.put_record(StreamName="clicks", PartitionKey=key, Data=b"{}")
        wait_until(lambda: bool(function.events))
        (found,) = reader.status().event_source_mappings
        assert (found.function, found.kind, found.source, found.lag_records) == ("route", "kinesis", "clicks", 3)
        assert found.time_to_loss_ms is not None and 86_300_000 < found.time_to_loss_ms <= 86_400_000
        assert not reader.idle()
        shard = kinesis_client.list_shards(StreamName="clicks")["Shards"][0]
        middle = (int(shard["HashKeyRange"]["StartingHashKey"]) + int(shard["HashKeyRange"]["EndingHashKey"])) // 2
        kinesis_client.split_shard(StreamName="clicks", ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
        leave.set()
        wait_until(reader.idle)
        (found,) = reader.status().event_source_mappings
        assert (found.lag_records, found.batches_in_hand, found.oldest_age_ms) == (0, 0, 0)
