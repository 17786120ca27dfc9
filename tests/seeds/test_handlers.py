"""The handlers of a design document, word for word, under the event source mapping, against the local services.

`data/manga_assist_streams.md` is that document's text; its code is taken out here and run as it is. Its clients are
boto3's own, which reach the engine of this process and nothing else.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet
import pytest

import afterwrite
from afterwrite import App, Engine, Message, ModelRequest
from engine_process import wait_until

pytest.importorskip("afterwrite.server.sns", reason="the handlers publish to topics, buses and delivery streams")

TEXT = (Path(__file__).parent / "data/manga_assist_streams.md").read_text()
CODE = dict(re.findall(r"^## (.+?)\n\n```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))

TABLE = "manga-assist-sessions"
SUMMARY_FUNCTION = "manga-assist-summary-generator"
TOPIC = "manga-assist-handoffs"
FIREHOSE = "manga-assist-analytics"
BUS = "manga-assist-events"
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
ENVIRONMENT = {
    "SUMMARY_FUNCTION_NAME": SUMMARY_FUNCTION,
    "SNS_HANDOFF_TOPIC_ARN": f"arn:aws:sns:us-east-1:000000000000:{TOPIC}",
    "FIREHOSE_DELIVERY_STREAM": FIREHOSE,
    "EVENT_BUS_NAME": BUS,
    "SESSION_TABLE": TABLE,
    "AWS_DEFAULT_REGION": "us-east-1",
}


class MangaAssist:
    """The document's architecture: a table, its router, and everything that the router fans out to."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.handlers: dict[str, Any] = {}
        self.prompts: list[str] = []
        self.app = app = App("manga-assist")
        self.sessions = app.table(TABLE, partition_key="PK", sort_key="SK", ttl="ttl")
        self.failed = app.queue("router-failures")
        app.delivery_stream(FIREHOSE, buffer_seconds=0)
        bus = app.bus(BUS)
        dashboard, escalation = app.queue("agent-dashboard-queue"), app.queue("escalation-queue")
        topic = app.topic(TOPIC)
        topic.subscribe(dashboard, filter_policy={"event_type": ["handoff"]})
        topic.subscribe(escalation, filter_policy={"agent_id": ["agent-007"]})
        self.agents = app.queue("agent-notification-queue")
        bus.rule(
            "manga-assist-handoff-rule",
            {
                "source": ["mangaassist.sessions"],
                "detail-type": ["SessionStatusChanged"],
                "detail": {"new_status": ["handoff"]},
            },
            to=[self.agents],
        )

        summarize = self.handler("Summary Generator Code")
        summarize.__name__ = SUMMARY_FUNCTION
        app.function(retries=0)(summarize)

        @app.model(HAIKU)
        def haiku(request: ModelRequest) -> str:
            self.prompts.append(request.prompt)
            return f"Summary {len(self.prompts)}."

    def load(self, name: str, engine: Engine, monkeypatch: pytest.MonkeyPatch, **names: Any) -> dict[str, Any]:
        """Run the document's code as Lambda imports a module: its clients are made meanwhile."""
        for variable, value in ENVIRONMENT.items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", engine.boto3_session())
        module: dict[str, Any] = {"__name__": "lambda_function"}
        exec(CODE[name], module)
        module.update(names)
        self.handlers[name] = module["handler"]
        return module

    def handler(self, name: str) -> Callable[[Any, Any], Any]:
        """The document's handler, which is loaded once the engine runs."""

        def handler(event: Any, context: Any) -> Any:
            return self.handlers[name](event, context)

        return handler

    def messages(self, engine: Engine, queue: str) -> list[Message]:
        return list(engine.reader().messages(queue))

    def is_quiet(self, engine: Engine) -> bool:
        """Whether every asynchronous invocation has ended."""
        return not self.messages(engine, f"function-{SUMMARY_FUNCTION}")


@pytest.fixture
def assistant(tmp_path: Path) -> MangaAssist:
    return MangaAssist(tmp_path / "data")


@pytest.fixture
def routed(assistant: MangaAssist, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[MangaAssist, Engine]]:
    """The engine with the event router on the table's stream, as the document says."""
    assistant.sessions.event_source_mapping(
        assistant.handler("Event Router Code"),
        FunctionName="manga-assist-stream-router",
        BatchSize=100,
        MaximumRetryAttempts=2,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": assistant.failed}},
    )
    with afterwrite.open_engine(assistant.data, assistant.app) as engine:
        assistant.load("Event Router Code", engine, monkeypatch)
        assistant.load("Summary Generator Code", engine, monkeypatch)
        yield assistant, engine
        assert assistant.messages(engine, "router-failures") == []


def say(assistant: MangaAssist, engine: Engine, number: int) -> None:
    """A turn of the conversation: its count first, so that whoever sees the turn sees the count."""
    table = engine.table(assistant.sessions)
    table.put({"PK": "SESSION#abc", "SK": "META", "turn_count": number, "status": "active"})
    turn = {"PK": "SESSION#abc", "SK": f"TURN#{number:04}", "role": "user", "content_compressed": f"words {number}"}
    table.put(turn)


def wait_for_routing(assistant: MangaAssist, engine: Engine, changes: int) -> None:
    """Wait until the lake has a record of every change, and no invocation is left."""
    wait_until(lambda: len(lake(assistant)) >= changes and assistant.is_quiet(engine))


def lake(assistant: MangaAssist) -> list[dict[str, Any]]:
    files = sorted((assistant.data / "lake" / FIREHOSE).rglob("*.parquet"))
    return [row for path in files for row in pyarrow.parquet.read_table(path).to_pylist()]


def test_every_tenth_turn_leads_to_a_summary(routed: tuple[MangaAssist, Engine]) -> None:
    assistant, engine = routed
    for number in range(1, 21):
        say(assistant, engine, number)
        wait_until(lambda: assistant.is_quiet(engine))
        wait_for_routing(assistant, engine, 2 * number)
    wait_until(lambda: len(engine.table(TABLE).query("SESSION#abc", afterwrite.prefix("SUMMARY#"))) == 2)
    first, second = engine.table(TABLE).query("SESSION#abc", afterwrite.prefix("SUMMARY#"))
    assert (first["SK"], first["window_start"], first["window_end"]) == ("SUMMARY#1", "TURN#0001", "TURN#0010")
    assert (second["SK"], second["window_start"], second["window_end"]) == ("SUMMARY#2", "TURN#0011", "TURN#0020")
    assert (first["summary_text"], second["summary_text"]) == ("Summary 1.", "Summary 2.")
    assert first["turn_count_at_summary"] == 10
    assert first["ttl"] == first["created_at"] + 86_400 <= time.time() + 86_400
    assert "Previous summary" not in assistant.prompts[0]
    asked = "Previous summary: Summary 1.\n\nNew conversation segment:\nuser: words 11\n"
    assert assistant.prompts[1].startswith(asked)


def test_a_status_that_changes_is_an_event_on_the_bus(routed: tuple[MangaAssist, Engine]) -> None:
    assistant, engine = routed
    table = engine.table(assistant.sessions)
    table.put({"PK": "SESSION#abc", "SK": "META", "status": "active", "customer_id": "c-1", "updated_at": 7})
    table.put({"PK": "SESSION#abc", "SK": "META", "status": "active", "customer_id": "c-2", "updated_at": 8})
    table.put({"PK": "SESSION#abc", "SK": "META", "status": "handoff", "customer_id": "c-2", "updated_at": 9})
    table.put({"PK": "SESSION#abc", "SK": "META", "status": "disconnected", "customer_id": "c-2", "updated_at": 10})
    wait_for_routing(assistant, engine, 4)
    (message,) = assistant.messages(engine, "agent-notification-queue")
    assert message.body["source"] == "mangaassist.sessions"
    assert message.body["detail"] == {
        "session_id": "abc",
        "old_status": "active",
        "new_status": "handoff",
        "customer_id": "c-2",
        "timestamp": "9",
    }


def test_a_hand_off_notifies_those_who_subscribe_to_it(routed: tuple[MangaAssist, Engine]) -> None:
    assistant, engine = routed
    table = engine.table(assistant.sessions)
    table.put({"PK": "SESSION#abc", "SK": "HANDOFF#1", "agent_id": "agent-007", "reason": "escalated"})
    table.put({"PK": "SESSION#abd", "SK": "HANDOFF#1", "reason": "asked for it"})
    wait_for_routing(assistant, engine, 2)
    dashboard = assistant.messages(engine, "agent-dashboard-queue")
    assert sorted(as_json(message.body)["session_id"] for message in dashboard) == ["abc", "abd"]
    (escalated,) = assistant.messages(engine, "escalation-queue")
    assert as_json(escalated.body) == {"session_id": "abc", "agent_id": "agent-007", "reason": "escalated"}
    assert escalated.subject == "Chat Handoff: abc"


def as_json(body: Any) -> Any:
    return json.loads(body) if isinstance(body, str) else body


def test_every_change_reaches_the_analytics(routed: tuple[MangaAssist, Engine]) -> None:
    assistant, engine = routed
    table = engine.table(assistant.sessions)
    table.put({"PK": "SESSION#abc", "SK": "META", "status": "active"})
    table.put({"PK": "SESSION#abc", "SK": "SUMMARY#1", "summary_text": "x"})
    table.delete({"PK": "SESSION#abc", "SK": "META"})
    wait_for_routing(assistant, engine, 3)
    assert [row["event_name"] for row in lake(assistant)] == ["INSERT", "INSERT", "REMOVE"]


def test_of_a_batch_with_a_failing_record_that_one_and_what_follows_comes_again(
    assistant: MangaAssist, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document says that only the sixth record comes again; AWS does otherwise, and so does the mapping (S1)."""
    deliveries: list[list[str]] = []

    def handler(event: Any, context: Any) -> Any:
        deliveries.append([record["dynamodb"]["Keys"]["SK"]["S"] for record in event["Records"]])
        return assistant.handlers["Partial Batch Failure Code"](event, context)

    failures = iter([True, True])

    def handle_turn_event(record: Any) -> None:
        if record["dynamodb"]["Keys"]["SK"]["S"] == "TURN#06" and next(failures, False):
            raise RuntimeError("the sixth fails")

    assistant.sessions.event_source_mapping(
        handler,
        BatchSize=10,
        MaximumBatchingWindowInSeconds=300,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": assistant.failed}},
    )
    with afterwrite.open_engine(assistant.data, assistant.app) as engine:
        assistant.load("Partial Batch Failure Code", engine, monkeypatch, _handle_turn_event=handle_turn_event)
        table = engine.table(assistant.sessions)
        for number in range(1, 11):
            table.put({"PK": "SESSION#abc", "SK": f"TURN#{number:02}"})
        wait_until(lambda: len(deliveries) == 3)
        turns = [f"TURN#{number:02}" for number in range(1, 11)]
        assert deliveries == [turns, turns[5:], turns[5:]]
        assert assistant.messages(engine, "router-failures") == []


def test_a_record_that_fails_for_good_leaves_a_message_and_the_rest_goes_on(
    assistant: MangaAssist, monkeypatch: pytest.MonkeyPatch
) -> None:
    handled: list[str] = []

    def handle_turn_event(record: Any) -> None:
        sort_key = record["dynamodb"]["Keys"]["SK"]["S"]
        if sort_key == "TURN#06":
            raise RuntimeError("the sixth fails")
        handled.append(sort_key)

    assistant.sessions.event_source_mapping(
        assistant.handler("Partial Batch Failure Code"),
        FunctionName="manga-assist-stream-router",
        BatchSize=10,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=1,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": assistant.failed}},
    )
    with afterwrite.open_engine(assistant.data, assistant.app) as engine:
        assistant.load("Partial Batch Failure Code", engine, monkeypatch, _handle_turn_event=handle_turn_event)
        table = engine.table(assistant.sessions)
        for number in range(1, 11):
            table.put({"PK": "SESSION#abc", "SK": f"TURN#{number:02}"})
        wait_until(lambda: bool(assistant.messages(engine, "router-failures")) and "TURN#10" in handled)
        (message,) = assistant.messages(engine, "router-failures")
        assert message.body["DDBStreamBatchInfo"]["batchSize"] == 1
        assert {*handled} == {f"TURN#{number:02}" for number in range(1, 11) if number != 6}
