"""Functions behind the handler: queues, topics, buses, invocations and enrichments, each message done once."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from afterwrite import App, Context, Message, Put, aws_lambda
from afterwrite.aws_lambda import InvocationFailed
from afterwrite.errors import DeclarationError
from aws_lambda.conftest import Remaining
from aws_servers import AwsServer
from aws_tables import create_table
from lambda_events import dynamodb_record, kinesis_record, sns_notification, sqs_record


class Shop:
    """An app with a function and a consumer that note what they are given, and fail where they are told to."""

    def __init__(self, dynamodb: Any) -> None:
        self.app = App("shop")
        self.given: list[Any] = []
        self.failing: set[str] = set()
        self.app.table("orders", partition_key="pk", sort_key="sk")
        jobs = self.app.queue("jobs")
        self.resources = {"ledger": create_table(dynamodb, "pk"), "table/orders": create_table(dynamodb, "pk", "sk")}

        @jobs.consumer()
        def work(message: Message, context: Context) -> None:
            self._note(message.body, context, message.id)

        @self.app.function()
        def charge(request: Any, context: Context) -> Any:
            self._note(request, context, context.invocation_id)
            return {"charged": request}

    def _note(self, what: Any, context: Context, id: str) -> None:
        assert context.invocation_id == id
        if str(what) in self.failing:
            raise ValueError(f"cannot do {what}")
        self.given.append((id, what, context.attempt))

    def handler(self, function: str, *, ledger: bool = True, **environ: str) -> Any:
        resources = {key: where for key, where in self.resources.items() if ledger or key != "ledger"}
        environ |= {"AFTERWRITE_FUNCTION": function, "AFTERWRITE_RESOURCES": orjson.dumps(resources).decode()}
        return aws_lambda.handler(self.app, environ=environ)


@pytest.fixture
def shop(dynamodb_url: str, monkeypatch: pytest.MonkeyPatch) -> Shop:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", dynamodb_url)
    return Shop(AwsServer("ours", dynamodb_url).client("dynamodb"))


def message(body: str, id: str, **options: Any) -> dict[str, Any]:
    return sqs_record(body, attributes={"afterwrite-id": id}, **options)


def failed(*records: dict[str, Any]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in records]}


def test_a_queue_s_messages_that_fail_are_the_ones_that_come_again(shop: Shop) -> None:
    records = [message(f'"{body}"', body) for body in ("a", "b", "c")]
    shop.failing.add("b")
    handle = shop.handler("work")
    assert handle({"Records": records}, Remaining()) == failed(records[1])
    shop.failing.clear()
    assert handle({"Records": [records[1]]}, Remaining()) == failed()
    assert shop.given == [("a", "a", 1), ("c", "c", 1), ("b", "b", 2)]


def test_a_message_that_is_delivered_twice_is_done_once(shop: Shop) -> None:
    handle = shop.handler("work")
    twice = [message('"x"', "same"), message('"x"', "same")]
    assert handle({"Records": twice}, Remaining()) == failed()
    assert handle({"Records": [message('"x"', "same", receive_count=3)]}, Remaining()) == failed()
    assert shop.given == [("same", "x", 1)]


def test_without_a_ledger_a_message_that_is_delivered_twice_is_done_twice(shop: Shop) -> None:
    handle = shop.handler("work", ledger=False)
    handle({"Records": [message('"x"', "same")]}, Remaining())
    handle({"Records": [message('"x"', "same", receive_count=2)]}, Remaining())
    assert shop.given == [("same", "x", 1), ("same", "x", 2)]


def test_a_failed_message_stops_its_group_and_no_other(shop: Shop) -> None:
    records = []
    for number, group in enumerate("ababb"):
        record = message(f'"{group}{number}"', f"{group}{number}")
        record["attributes"]["MessageGroupId"] = group
        records.append(record)
    shop.failing.add("a0")
    assert shop.handler("work")({"Records": records}, Remaining()) == failed(records[0], records[2])
    assert [what for _, what, _ in shop.given] == ["b1", "b3", "b4"]


def test_messages_that_there_is_no_time_for_come_again(shop: Shop) -> None:
    records = [message('"a"', "a"), message('"b"', "b")]
    assert shop.handler("work")({"Records": records}, Remaining(ms=100)) == failed(*records)
    assert shop.given == []


def test_a_function_is_given_its_request_and_answers_a_repetition_with_the_result(shop: Shop) -> None:
    handle = shop.handler("charge")
    event = {"afterwrite": {"function": "charge", "id": "c/r/0", "at_ms": 1}, "request": {"order": "o"}}
    assert handle(event, Remaining()) == {"charged": {"order": "o"}}
    assert handle(event, Remaining(request_id="request-2")) == {"charged": {"order": "o"}}
    assert shop.given == [("c/r/0", {"order": "o"}, 1)]


def test_a_failed_invocation_raises_so_that_it_is_tried_again_and_does_not_say_what_it_was_given_s35(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = shop.handler("charge")
    shop.failing.add("secret-word")
    for _ in range(2):
        with pytest.raises(InvocationFailed, match=r"^charge failed: ValueError$") as raised:
            handle("secret-word", Remaining(request_id="r"))
        assert (raised.value.__cause__, raised.value.__context__) == (None, None)
    shop.failing.clear()
    handle("secret-word", Remaining(request_id="r"))
    assert shop.given == [("r", "secret-word", 3)]
    lines = capsys.readouterr().out.splitlines()
    assert [orjson.loads(line)["error"] for line in lines] == ["ValueError", "ValueError"]
    assert not any("secret-word" in line for line in lines)


def test_what_lambda_gave_up_runs_again_under_its_id_when_the_function_receives_its_dead_letters_s35(
    shop: Shop,
) -> None:
    handle = shop.handler("charge")
    shop.failing |= {"1", "2", str(EVENT)}
    request = {"afterwrite": {"function": "charge", "id": "c/r/0", "at_ms": 1}, "request": 1}
    for asked, request_id in ((request, "r-1"), (2, "r-2"), (EVENT, "r-3")):
        with pytest.raises(InvocationFailed):
            handle(asked, Remaining(request_id=request_id))
    records = [dead_letter(request, "r-1"), dead_letter(2, "r-2"), dead_letter(EVENT, "r-3")]
    assert handle({"Records": records}, Remaining()) == failed(*records), "they stay where they are"
    shop.failing.clear()
    for _ in range(2):
        assert handle({"Records": records}, Remaining()) == failed()
    assert shop.given == [("c/r/0", 1, 3), ("r-2", 2, 3), ("e/r/0", EVENT, 3)]


EVENT = {"id": "e", "detail-type": "Paid", "source": "shop", "detail": {}, "resources": ["afterwrite:effect/e/r/0"]}


def dead_letter(asked: Any, request_id: str) -> dict[str, Any]:
    """A message of the queue that Lambda sends to what an asynchronous invocation failed on."""
    context = {
        "requestId": request_id,
        "functionArn": "arn:aws:lambda:eu-west-1:111122223333:function:shop-charge:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    body = {"version": "1.0", "requestContext": context, "requestPayload": asked, "responsePayload": {"errorType": "E"}}
    return sqs_record(orjson.dumps(body).decode())


def test_a_queue_s_consumer_is_given_a_dead_letter_of_somebody_else_s_as_it_is(shop: Shop) -> None:
    record = dead_letter({"afterwrite": {"id": "c/r/0"}, "request": 1}, "r-1")
    assert shop.handler("work")({"Records": [record]}, Remaining()) == failed()
    ((id, body, _),) = shop.given
    assert (id, body["requestContext"]["requestId"]) == (record["messageId"], "r-1")


def test_an_event_of_a_bus_and_its_replay_are_two_messages_s30(shop: Shop) -> None:
    handle = shop.handler("charge")
    event = {"id": "e", "detail-type": "Paid", "source": "shop", "detail": {}, "resources": ["afterwrite:effect/c/r/0"]}
    handle(event, Remaining())
    handle(event, Remaining())
    handle({**event, "replay-name": "again"}, Remaining())
    assert [id for id, _, _ in shop.given] == ["c/r/0", "c/r/0/again"]


def test_a_notification_of_a_topic_is_given_as_a_message(shop: Shop) -> None:
    event = {"Records": [{"EventSource": "aws:sns", "Sns": sns_notification('{"n":1}', subject="s")}]}
    shop.handler("work")(event, Remaining())
    ((_, body, _),) = shop.given
    assert body == {"n": 1}


def test_a_pipe_s_enrichment_answers_with_an_item_for_each(shop: Shop) -> None:
    records = [dynamodb_record(1, "a"), dynamodb_record(2, "b")]
    answer = shop.handler("charge")(records, Remaining())
    assert [each["charged"]["eventID"] for each in answer] == [records[0]["eventID"], records[1]["eventID"]]


def test_records_of_a_kinesis_stream_stop_at_a_failure_of_their_key_s1(shop: Shop) -> None:
    values = ["a1", "b2", "a3", "b4"]
    records = [kinesis_record(number, value[0], {}) for number, value in enumerate(values, 1)]
    for value, record in zip(values, records, strict=True):
        record["kinesis"]["data"] = base64.b64encode(orjson.dumps(value)).decode()
    shop.failing.add("b2")
    answer = shop.handler("charge")({"Records": records}, Remaining())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert [what for _, what, _ in shop.given] == [values[0], values[2]]


def test_a_function_reads_and_writes_the_app_s_tables_by_their_declared_names(shop: Shop, dynamodb_url: str) -> None:
    orders = shop.app.tables[0]

    @shop.app.function()
    def book(request: Any, context: Context) -> Any:
        table = context.table(orders)
        table.put({"pk": request, "sk": "1", "data": b"\x00\xff", "tags": {"a"}})
        context.transact([Put(orders, {"pk": request, "sk": "2"}, condition="attribute_not_exists(pk)")])
        return len(table.query(request)) + len(table.get({"pk": request, "sk": "1"}) or {})

    assert shop.handler("book")("o-1", Remaining()) == 6
    items = AwsServer("ours", dynamodb_url).client("dynamodb").scan(TableName=shop.resources["table/orders"])["Items"]
    assert {"pk": {"S": "o-1"}, "sk": {"S": "1"}, "data": {"B": b"\x00\xff"}, "tags": {"SS": ["a"]}} in items


def test_settings_that_cannot_be_are_refused_when_the_handler_is_made(shop: Shop) -> None:
    with pytest.raises(DeclarationError, match=r"AFTERWRITE_FUNCTION to name a function.*got 'absent'.*work, charge"):
        shop.handler("absent")
    with pytest.raises(DeclarationError, match="expected AFTERWRITE_RESOURCES to be a JSON object"):
        aws_lambda.handler(shop.app, environ={"AFTERWRITE_RESOURCES": "[]"})
    with pytest.raises(DeclarationError, match="got an event of sqs: set AFTERWRITE_FUNCTION"):
        aws_lambda.handler(shop.app, environ={})({"Records": [message("1", "i")]}, Remaining())


def clicks(*values: str) -> dict[str, Any]:
    """A batch of plain records, a letter and a number each: the key, and where it is in the stream."""
    records = [kinesis_record(int(value[1:]), value[0], {}) for value in values]
    for value, record in zip(values, records, strict=True):
        record["eventID"] = f"shardId-0:{value}"
        record["kinesis"]["data"] = base64.b64encode(orjson.dumps(value)).decode()
    return {"Records": records}


def test_a_record_that_exhausts_its_attempts_is_parked_with_its_key_and_the_shard_moves_on(
    shop: Shop, dynamodb_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dynamodb = AwsServer("ours", dynamodb_url).client("dynamodb")
    shop.resources["parked"] = create_table(dynamodb, "pk", "sk")
    handle = shop.handler("charge")
    shop.failing |= {"a1", "b2"}
    batch = clicks("a1", "b2", "c3", "a4", "b5")
    again = {"batchItemFailures": [{"itemIdentifier": "1"}]}
    for _ in range(2):
        assert handle(batch, Remaining()) == again
    shop.failing.discard("b2")
    assert handle(batch, Remaining()) == {"batchItemFailures": []}, "the third attempt is the last"
    assert [what for _, what, _ in shop.given] == ["c3", "b2", "b5"]
    assert handle(clicks("a6", "c7"), Remaining()) == {"batchItemFailures": []}
    assert shop.given[-1][1] == "c7"
    redrive = {"afterwrite": {"redrive": {"table": "function/charge", "lanes": ["charge/a"]}}}
    assert handle(redrive, Remaining()) == {"performed": 0, "lanes": 1, "still_parked": 1}
    shop.failing.clear()
    assert handle({"afterwrite": {"redrive": {}}}, Remaining()) == {"performed": 3, "lanes": 1, "still_parked": 0}
    assert [what for _, what, _ in shop.given[-3:]] == ["a1", "a4", "a6"]
    assert handle(batch, Remaining()) == {"batchItemFailures": []}
    assert len(shop.given) == 7, "what has run is not run again"
    assert not any(value in capsys.readouterr().out for value in ('"a1"', "cannot do"))


def test_a_record_that_is_parked_is_parked_once_though_its_batch_comes_again_s1(shop: Shop, dynamodb_url: str) -> None:
    dynamodb = AwsServer("ours", dynamodb_url).client("dynamodb")
    shop.resources["parked"] = create_table(dynamodb, "pk", "sk")
    handle = shop.handler("charge")
    shop.failing |= {"a1", "b2"}
    for _ in range(2):
        handle(clicks("b2"), Remaining())
    batch = clicks("a1", "b2", "b3")
    assert handle(batch, Remaining()) == {"batchItemFailures": [{"itemIdentifier": "1"}]}, "b's lane is parked"
    redrive = {"afterwrite": {"redrive": {"lanes": ["charge/b"]}}}
    shop.failing.clear()
    assert handle(redrive, Remaining())["performed"] == 2
    assert handle(batch, Remaining()) == {"batchItemFailures": []}
    assert [what for _, what, _ in shop.given] == ["b2", "b3", "a1"]


def test_of_two_redrives_of_a_lane_at_one_time_one_runs(shop: Shop, dynamodb_url: str) -> None:
    dynamodb = AwsServer("ours", dynamodb_url).client("dynamodb")
    shop.resources["parked"] = create_table(dynamodb, "pk", "sk")
    redrive: dict[str, Any] = {"afterwrite": {"redrive": {}}}
    beside: list[Any] = []

    @shop.app.function(retries=0)
    def once(request: Any, context: Context) -> None:
        if "a1" in shop.failing:
            raise ValueError(request)
        beside.append(handle(redrive, Remaining()))

    handle = shop.handler("once")
    shop.failing.add("a1")
    assert handle(clicks("a1"), Remaining()) == {"batchItemFailures": []}
    shop.failing.clear()
    assert handle(redrive, Remaining()) == {"performed": 1, "lanes": 1, "still_parked": 0}
    assert beside == [{"performed": 0, "lanes": 1, "still_parked": 1}]
