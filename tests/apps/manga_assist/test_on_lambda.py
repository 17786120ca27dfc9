"""MangaAssist behind the Lambda handler: the same conversations, the same reconciliation as on the embedded engine.

The tables are the embedded engine's, written over the wire; its event source mapping runs the handler of the routes.
Topics, queues, the bus, delivery streams and the audit bucket are moto's. Functions are fed by queues. On the way to
moto entries of requests fail, answers of whole batches are lost, and every message is delivered twice.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from afterwrite import App, aws_lambda, open_engine
from afterwrite.app import DeliveryStream, Function, Queue
from aws_lambda.conftest import Remaining
from aws_lambda.driving import QueueMapping, Routes, every_tenth_entry_fails_once, received
from aws_servers import AwsServer, ask
from aws_tables import create_table
from bounds import BOUND_S
from demonstration.certain_writes import dynamodb_client
from demonstration.writers import counter
from faulty_proxy import FaultyProxy
from manga_assist import app as manga
from manga_assist import conversations, lifecycle, load, readback
from manga_assist.manifest import WrittenSession
from manga_assist.reconcile import Found, reconcile
from manga_assist.sessions import Sessions

# Of the load's fates: expires, handed to an agent; expires; handed to nobody and then escalated to an agent.
FATES = (0, 3, 8)
ALL_EVENTS = "all-events"


class Stack:
    """MangaAssist's resources: on moto, and the tables on our engine."""

    def __init__(self, moto: AwsServer, dynamodb: AwsServer) -> None:
        self.moto = moto
        self.dynamodb = dynamodb.client("dynamodb")
        self.sqs, self.s3 = moto.client("sqs"), moto.client("s3")
        self.queues: dict[str, str] = {}
        self.resources: dict[str, str] = {}
        self.resources |= {
            "ledger": create_table(self.dynamodb, "pk"),
            "parked": create_table(self.dynamodb, "pk", "sk"),
        }
        for queue in manga.app.queues:
            self.resources[f"queue/{queue.name}"] = self._queue(queue.name)
        for function in manga.app.functions:
            if function.queue is None:
                self.resources[f"function/{function.name}"] = self._queue(function.queue_name)
        self._topic()
        self._bus()
        self._files()

    def _queue(self, name: str) -> str:
        self.queues[name] = str(self.sqs.create_queue(QueueName=name)["QueueUrl"])
        return self.queues[name]

    def _arn(self, queue: str) -> str:
        url = self.queues[queue]
        return str(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])

    def _topic(self) -> None:
        sns, topic = self.moto.client("sns"), manga.handoff_topic
        policies: Mapping[str, Any] = {
            manga.dashboard_queue.name: {"agent_id": [{"exists": True}]},
            manga.escalation_queue.name: {"reason": ["escalated"]},
        }
        arn = self.resources[f"topic/{topic.name}"] = sns.create_topic(Name=topic.name)["TopicArn"]
        for subscription in topic.subscriptions:
            queue = subscription.queue.name
            attributes = {"FilterPolicy": orjson.dumps(policies[queue]).decode()} if queue in policies else {}
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self._arn(queue), Attributes=attributes)

    def _bus(self) -> None:
        events, bus = self.moto.client("events"), manga.bus
        events.create_event_bus(Name=bus.name)
        self.resources[f"bus/{bus.name}"] = bus.name
        self._queue(ALL_EVENTS)
        for rule in bus.rules:
            targets = [each for each in rule.targets if not isinstance(each, DeliveryStream)]
            queues = [each.name if isinstance(each, Queue) else each.queue_name for each in targets] or [ALL_EVENTS]
            pattern = {"source": ["mangaassist.sessions"]} | {
                "SessionStarted": lifecycle.pattern("active"),
                "SessionHandoff": lifecycle.pattern("handoff"),
                "SessionEnded": lifecycle.pattern("disconnected"),
            }.get(rule.name, {})
            events.put_rule(Name=rule.name, EventBusName=bus.name, EventPattern=orjson.dumps(pattern).decode())
            events.put_targets(
                Rule=rule.name, EventBusName=bus.name, Targets=[{"Id": name, "Arn": self._arn(name)} for name in queues]
            )

    def _files(self) -> None:
        self.s3.create_bucket(Bucket="lake")
        self.s3.create_bucket(Bucket="audit", ObjectLockEnabledForBucket=True)
        stream, role = manga.analytics.name, "arn:aws:iam::111122223333:role/delivery"
        destination = {"RoleARN": role, "BucketARN": "arn:aws:s3:::lake"}
        self.moto.client("firehose").create_delivery_stream(
            DeliveryStreamName=stream, ExtendedS3DestinationConfiguration=destination
        )
        self.resources |= {f"delivery_stream/{stream}": stream, f"audit_log/{manga.audit.name}": "audit"}

    def handler(self, function: Function | None = None) -> Callable[[Any, Any], Any]:
        """The handler of the routes, or of a function."""
        environ = {"AFTERWRITE_RESOURCES": orjson.dumps(self.resources).decode()}
        if function is not None:
            environ["AFTERWRITE_FUNCTION"] = function.name
        return aws_lambda.handler(manga.app, environ=environ)

    def consumers(self) -> list[QueueMapping]:
        """The mappings of all functions, each message delivered twice."""
        return [
            QueueMapping(self.sqs, self.queues[each.queue_name], self.handler(each), Remaining, twice=True)
            for each in manga.app.functions
        ]

    def objects(self, bucket: str) -> Iterator[bytes]:
        """What the objects of a bucket hold."""
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for each in page.get("Contents", []):
                yield self.s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()

    def events(self) -> list[Mapping[str, Any]]:
        """Every event that was on the bus, once."""
        found: dict[str, Mapping[str, Any]] = {}
        while records := list(received(self.sqs, self.queues[ALL_EVENTS])):
            for record in records:
                event = orjson.loads(record["body"])
                found[event["resources"][0]] = event
                self.sqs.delete_message(QueueUrl=self.queues[ALL_EVENTS], ReceiptHandle=record["receiptHandle"])
        return list(found.values())

    def ledger(self) -> list[str]:
        """The keys of what was done."""
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.resources["ledger"])
        return [item["pk"]["S"] for page in pages for item in page["Items"] if "done" in item]

    def parked(self) -> int:
        """How many items there are of parked lanes."""
        return int(self.dynamodb.scan(TableName=self.resources["parked"])["Count"])


def deployed(function: Routes) -> App:
    """The tables, as an app of their own whose sessions are mapped to the function."""
    app = App("tables-of-manga-assist")
    for declared in (manga.sessions, manga.operations):
        partition_key, sort_key = declared.partition_key, declared.sort_key
        table = app.table(declared.name, partition_key=partition_key, sort_key=sort_key, ttl=declared.ttl)
        if declared is manga.sessions:
            table.event_source_mapping(
                function,
                FunctionName="routes",
                FunctionResponseTypes=["ReportBatchItemFailures"],
                BisectBatchOnFunctionError=True,
                MaximumRetryAttempts=10,
            )
    return app


def write(url: str) -> list[WrittenSession]:
    sessions = Sessions(
        dynamodb_client(url, 1), manga.sessions.name, retention_s=load.RETENTION_S, retry_for_s=load.RETRY_FOR_S
    )
    shortest = sorted(conversations.load(load.MINIMUM_TURNS, 200), key=lambda each: len(each.turns))
    count = counter()
    return [
        load.write_conversation(sessions, each, load.plan(fate, len(each.turns)), count)
        for fate, each in zip(FATES, shortest, strict=False)
    ]


def found(stack: Stack, data: Any, outbox: Path) -> Found:
    """What the stores hold, each effect once by its id."""
    operations = list(data.items(manga.operations.name))
    rows = {row["id"]: row for text in stack.objects("lake") for row in map(orjson.loads, text.splitlines())}
    audited = [orjson.loads(text)["entry"]["event_id"] for text in stack.objects("audit")]
    events = [readback.status_event(event["detail"]) for event in stack.events()]
    done = stack.ledger()
    return Found(
        changes=[readback.logged_change(change) for change in data.changes(manga.sessions.name)],
        items=[readback.stored_item(item) for item in data.items(manga.sessions.name)],
        analytics=[(row["event_id"], row["event_name"], row["item_type"]) for row in rows.values()],
        audited=audited,
        audit_verified=len(audited),
        audit_faults=[],
        completions={
            queue: [key.removeprefix(f"{consumer}/") for key in done if key.startswith(f"{consumer}/")]
            for queue, consumer in readback.CONSUMERS.items()
        },
        dead_letters={},
        dashboard=[(row["agent_id"], row["SK"]) for row in operations if row["PK"].startswith("DASHBOARD#")],
        mails=[path.stem for path in outbox.glob("*.eml")],
        escalations=[row["SK"] for row in operations if row["PK"] == "ESCALATIONS" and row["state"] == "open"],
        offered=[row["session_id"] for row in operations if row["PK"] == "WAITING_SESSIONS"],
        archived=events,
        event_rows=events,
        counters={row["SK"]: int(row["value"]) for row in operations if row["PK"] == "COUNTERS"},
        markers=[(row["PK"].removeprefix("EVENT#"), row["SK"]) for row in operations if row["PK"].startswith("EVENT#")],
    )


def test_the_same_reconciliation_holds_through_partial_failures_and_repetitions(
    proxy: tuple[AwsServer, FaultyProxy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto, faults = proxy
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    routes = Routes()
    app = deployed(routes)
    with open_engine(tmp_path / "data", app, listen="127.0.0.1:0", durability="relaxed") as engine:
        url = f"http://127.0.0.1:{engine.address[1]}"
        ask(monkeypatch, faults.url, s3=moto.endpoint_url, dynamodb=url)
        stack = Stack(moto, AwsServer("ours", url))
        faults.fault_of = every_tenth_entry_fails_once()
        routes.handle = stack.handler()
        written = write(url)
        consumers = stack.consumers()
        expired = {session.session_id for session in written if session.expires}

        def is_over() -> bool:
            with engine.reader() as data:
                left = {readback.stored_item(item).session_id for item in data.items(manga.sessions.name)}
                (mapping,) = data.status().event_source_mappings
            busy = [work.run_once() for work in consumers]
            return not any(busy) and mapping.lag_records == 0 and not left & expired

        deadline_s = time.monotonic() + BOUND_S
        while not is_over():
            assert time.monotonic() < deadline_s, "the flows do not come to an end"
        with engine.reader() as data:
            checks = reconcile(written, found(stack, data, tmp_path / "afterwrite" / "outbox"))
        assert stack.parked() == 0
    assert [check for check in checks if not check.ok] == []
    assert routes.deliveries >= 3, "one of which came twice"
