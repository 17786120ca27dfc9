"""Apps deployed: the template through CloudFormation, the package as the functions, on a server not ours.

The server is ministack. What it does not do as AWS does is worked around here, and nowhere else:

- its CloudFormation does not know `AWS::Events::Archive`: the archive is taken out of the template;
- its CloudFormation makes buckets without their Object Lock: the lock is set after the bucket is made;
- its rules deliver nothing to delivery streams: a rule of the test's own shows the bus's events, in a queue;
- its tables put no removals by time to live into the stream: the test ends with the items' time to live set;
- its mappings take reported failures for done, and do not bisect: no change fails here;
- its Pipes know topics as targets, no filters and no enrichments: the other pipes are taken out of the template, and
  their enrichments invoked as a Pipe does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from afterwrite.synth import cloudformation, packaging
from afterwrite.synth.document import Template
from afterwrite.synth.stack import Options
from afterwrite.synth.template import synth
from bounds import BOUND_S
from lambda_events import dynamodb_record
from manga_assist.app import app
from manga_assist.sessions import Sessions
from synth import piping_app

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        importlib.util.find_spec("ministack") is None, reason="ministack is not installed (dependency group dev)"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = f"python3.{sys.version_info.minor}"
STACK = "manga"
PREFIX = "it-"
WAIT_S_MAX = 400.0
TURNS = (10, 2, 1)
"""Of each conversation: one has a window to summarize."""

ITEMS = 3 + sum(TURNS) + 2 + 1
"""META, turns, hand-offs, the summary."""


class Aws:
    """Clients of the server at `port`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._clients: dict[str, Any] = {}

    def __getattr__(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,  # type: ignore[call-overload]
                endpoint_url=self.url,
                region_name="us-east-1",
                aws_access_key_id="local",
                aws_secret_access_key="local",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def items(self, table: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.dynamodb.scan(TableName=PREFIX + table, ConsistentRead=True)["Items"]
        return found

    def keys(self, bucket: str) -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def object(self, bucket: str, key: str) -> bytes:
        content: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def waiting(self, queue: str) -> int:
        url = self.sqs.get_queue_url(QueueName=PREFIX + queue)["QueueUrl"]
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S_MAX
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {WAIT_S_MAX:.0f} s"
        time.sleep(0.2)


@contextlib.contextmanager
def ministack(directory: Path) -> Iterator[Aws]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "ERROR",
        "STATE_DIR": str(directory),
    }
    command = [sys.executable, "-m", "hypercorn", "ministack.app:app", "--bind", f"127.0.0.1:{port}"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--log-level", "ERROR"], env=environment, stdout=log, stderr=log)
    aws = Aws(port)

    def answers() -> bool:
        assert process.poll() is None, (directory / "log").read_text()
        try:
            aws.s3.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    try:
        wait_for("ministack answers", answers)
        yield aws
    finally:
        process.terminate()
        process.wait(BOUND_S)


def create(aws: Aws, directory: Path, entry: packaging.Entry, template: Template) -> dict[str, str]:
    """Package, upload, create the stack; its outputs."""
    packaging.package(entry, directory / "app.zip", packaging.Target(RUNTIME, "x86_64"))
    aws.s3.create_bucket(Bucket="artifacts")
    aws.s3.put_object(Bucket="artifacts", Key="app.zip", Body=(directory / "app.zip").read_bytes())
    aws.s3.put_object(Bucket="artifacts", Key="template.yaml", Body=cloudformation.render(template).encode())
    parameters = {"CodeBucket": "artifacts", "CodeKey": "app.zip", "NamePrefix": PREFIX, "BatchWindowSeconds": "0"}
    aws.cloudformation.create_stack(
        StackName=STACK,
        TemplateURL=f"{aws.url}/artifacts/template.yaml",
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    )

    def stack() -> Any:
        return aws.cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]

    wait_for("the stack is made", lambda: not stack()["StackStatus"].endswith("IN_PROGRESS"))
    events = aws.cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [
        (each["LogicalResourceId"], each.get("ResourceStatusReason"))
        for each in events
        if each["ResourceStatus"].endswith("FAILED")
    ]
    assert (stack()["StackStatus"], failed) == ("CREATE_COMPLETE", [])
    return {each["OutputKey"]: each["OutputValue"] for each in stack()["Outputs"]}


def deploy(aws: Aws, directory: Path) -> dict[str, str]:
    """MangaAssist as far as the server knows what is in its template."""
    template = synth(app, Options(runtime=RUNTIME))
    known = [each for each in template.resources if each.type != "AWS::Events::Archive"]
    entry = packaging.Entry(ROOT / "apps", "manga_assist.app", "app")
    outputs = create(aws, directory, entry, dataclasses.replace(template, resources=known))
    aws.s3.put_object_lock_configuration(
        Bucket=outputs["MangaAssistAuditBucketName"],
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 365}},
        },
    )
    return outputs


def watch_bus(aws: Aws) -> str:
    """A queue of the test's own with every event of the bus; its URL."""
    url: str = aws.sqs.create_queue(QueueName="seen")["QueueUrl"]
    aws.events.put_rule(
        Name="seen", EventBusName=f"{PREFIX}manga-assist-events", EventPattern='{"source": ["mangaassist.sessions"]}'
    )
    arn = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    aws.events.put_targets(
        Rule="seen", EventBusName=f"{PREFIX}manga-assist-events", Targets=[{"Id": "seen", "Arn": arn}]
    )
    return url


def consumers(aws: Aws, *, enabled: bool) -> None:
    for mapping in getattr(aws, "lambda").list_event_source_mappings()["EventSourceMappings"]:
        if ":sqs:" in mapping["EventSourceArn"]:
            getattr(aws, "lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)


def converse(aws: Aws) -> None:
    """Three conversations: escalated to an agent, handed to nobody in particular, and ended without a person."""
    sessions = Sessions(aws.dynamodb, f"{PREFIX}manga-assist-sessions")
    now_ms = int(time.time() * 1000)
    handoffs: list[tuple[str, str | None] | None] = [("escalated", "agent-007"), ("low_confidence", None), None]
    for number, handoff in enumerate(handoffs):
        name = f"s{number}"
        sessions.start(name, f"customer-{number}", now_ms)
        for turn in range(TURNS[number]):
            sessions.add_turn(name, "customer" if turn % 2 else "assistant", f"Where is volume {turn}?", now_ms + turn)
        if handoff is not None:
            reason, agent_id = handoff
            sessions.hand_off(name, reason, agent_id, now_ms + 100)
        sessions.disconnect(name, now_ms + 200)


def key_pairs(items: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((item["PK"]["S"], item["SK"]["S"].partition("-")[0]) for item in items)


def counters(aws: Aws) -> dict[str, int]:
    return {
        item["SK"]["S"]: int(item["value"]["N"])
        for item in aws.items("manga-assist-operations")
        if item["PK"]["S"] == "COUNTERS"
    }


def test_conversations_lead_to_everything_that_the_app_declares(tmp_path: Path) -> None:
    with ministack(tmp_path) as aws:
        outputs = deploy(aws, tmp_path)
        seen = watch_bus(aws)
        consumers(aws, enabled=False)
        converse(aws)
        waits_in_filtered_queues(aws)
        consumers(aws, enabled=True)
        summaries_are_written_and_sessions_cleaned_up(aws)
        consumers_did_their_work(aws)
        events_were_on_the_bus(aws, seen)
        copies_are_complete(aws, outputs)
        nothing_failed(aws, outputs)


def test_pipes_enrichments_and_mapped_functions_run_as_they_are_deployed(tmp_path: Path) -> None:
    template = synth(piping_app.app, Options(runtime=RUNTIME))
    known = [each for each in template.resources if each.type != "AWS::Pipes::Pipe" or each.id == "OrdersToNewsPipe"]
    entry = packaging.Entry(ROOT / "tests", "synth.piping_app", "app")
    with ministack(tmp_path) as aws:
        create(aws, tmp_path, entry, dataclasses.replace(template, resources=known))
        topic = next(each["TopicArn"] for each in aws.sns.list_topics()["Topics"])
        seen = aws.sqs.create_queue(QueueName="seen")["QueueUrl"]
        arn = aws.sqs.get_queue_attributes(QueueUrl=seen, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        aws.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        order = {"pk": {"S": "a"}, "sk": {"S": "1"}, "price": {"N": "5"}}
        aws.dynamodb.put_item(TableName=f"{PREFIX}orders", Item=order)
        functions = getattr(aws, "lambda")
        wait_for("the pipe to the topic", lambda: bool(aws.sqs.receive_message(QueueUrl=seen).get("Messages")))
        record = dynamodb_record(1, "a", table="orders", price=5)
        answers = {
            name: json.loads(
                functions.invoke(
                    FunctionName=f"{PREFIX}piping-pipe-orders-to-{name}", Payload=json.dumps([record]).encode()
                )["Payload"].read()
            )
            for name in ("given-up", "bill")
        }
        assert answers == {
            "given-up": [{"order": "a", "price": "5"}],
            "bill": [
                {
                    "afterwrite": {"function": "bill", "id": f"{record['eventID']}/orders-to-bill/0"},
                    "request": {"order": "a", "price": "5"},
                }
            ],
        }

        def results() -> set[str]:
            mappings = functions.list_event_source_mappings()["EventSourceMappings"]
            return {
                each["LastProcessingResult"]
                for each in mappings
                if each["FunctionArn"].endswith("mapped-count") and ":dynamodb:" in each["EventSourceArn"]
            }

        wait_for("the mapped function", lambda: results() == {"OK - 1 records"})


def waits_in_filtered_queues(aws: Aws) -> None:
    expected = {"agent-dashboard-queue": 1, "customer-notification-queue": 2, "escalation-queue": 1, "agent-queue": 2}
    wait_for(f"the queues hold {expected}", lambda: {name: aws.waiting(name) for name in expected} == expected)


def summaries_are_written_and_sessions_cleaned_up(aws: Aws) -> None:
    def done() -> bool:
        items = aws.items("manga-assist-sessions")
        return all("ttl" in item for item in items) and len(items) == ITEMS

    wait_for("the full window is summarized, and every item is to expire", done)
    summaries = [each for each in aws.items("manga-assist-sessions") if each["SK"]["S"].startswith("SUMMARY#")]
    assert [(each["PK"]["S"], each["window_end"]["S"]) for each in summaries] == [("SESSION#s0", "TURN#00000010")]


def consumers_did_their_work(aws: Aws) -> None:
    expected = {
        ("DASHBOARD#agent-007", "s0"): 1,
        ("ESCALATIONS", "s0"): 1,
        ("WAITING_SESSIONS", "s0"): 1,
        ("WAITING_SESSIONS", "s1"): 1,
        ("COUNTERS", "active_sessions"): 1,
        ("COUNTERS", "handoffs"): 1,
    }

    def found() -> dict[tuple[str, str], int]:
        pairs = key_pairs(aws.items("manga-assist-operations"))
        return {key: count for key, count in pairs.items() if not key[0].startswith("EVENT#")}

    wait_for("dashboards, escalations and waiting sessions", lambda: found() == expected)
    wait_for("counters", lambda: counters(aws) == {"active_sessions": 0, "handoffs": 2})


def events_were_on_the_bus(aws: Aws, seen: str) -> None:
    events = []
    while messages := aws.sqs.receive_message(QueueUrl=seen, MaxNumberOfMessages=10).get("Messages"):
        events += [json.loads(message["Body"]) for message in messages]
    changes = Counter((each["detail"]["session_id"], each["detail"]["new_status"]) for each in events)
    handed_off = [("s0", "handoff"), ("s1", "handoff")]
    assert changes == Counter(
        [(f"s{n}", status) for n in range(3) for status in ("active", "disconnected")] + handed_off
    )


def copies_are_complete(aws: Aws, outputs: dict[str, str]) -> None:
    """One row of the lake and one locked object for each change: the same changes."""
    audit, lake = outputs["MangaAssistAuditBucketName"], outputs["LakeBucketName"]
    # A turn and a hand-off come with an update of META, so does the end; each item is updated once to expire.
    changes = ITEMS + sum(TURNS) + 2 + 3 + ITEMS
    wait_for(f"{changes} audit objects", lambda: len(aws.keys(audit)) == changes)
    found: dict[str, list[dict[str, Any]]] = {}

    def by_id() -> dict[str, dict[str, Any]]:
        """The rows of the lake, each effect once: a delivery stream may get it again, under the same id."""
        for key in aws.keys(lake):
            if key not in found:
                found[key] = rows(aws.object(lake, key))
        return {row["id"]: row for read in found.values() for row in read}

    wait_for(f"{changes} rows", lambda: len(by_id()) == changes)
    entries = [json.loads(aws.object(audit, key)) for key in aws.keys(audit)]
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    frame = list(by_id().values())
    assert all(key.startswith(f"manga-assist-analytics/dt={today}/hour=") for key in aws.keys(lake))
    assert {row["event_id"] for row in frame} == {entry["entry"]["event_id"] for entry in entries}
    assert len({row["event_id"] for row in frame}) == changes
    assert Counter(row["item_type"] for row in frame)["summary"] == 2
    retention = aws.s3.get_object_retention(Bucket=audit, Key=aws.keys(audit)[0])["Retention"]
    assert retention["Mode"] == "COMPLIANCE"
    assert retention["RetainUntilDate"] > datetime.now(UTC) + timedelta(days=364)


def rows(parquet: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(parquet)).to_pylist()
    return found


def nothing_failed(aws: Aws, outputs: dict[str, str]) -> None:
    names = [url.rpartition("/")[2].removeprefix(PREFIX) for url in aws.sqs.list_queues()["QueueUrls"]]
    dead = {name: aws.waiting(name) for name in names if name.endswith("-dead-letters")}
    assert len(dead) == 10 and set(dead.values()) == {0}
    assert aws.items("manga-assist-parked") == []
    assert aws.keys(outputs["FailuresBucketName"]) == []
