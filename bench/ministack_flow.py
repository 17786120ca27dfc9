"""The peer's way from a write to its effect: a table's stream, an event source mapping, a Lambda function, SQS."""

from __future__ import annotations

import contextlib
import io
import textwrap
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
from bench import peers
from bench.wire import Credentials, System, create_table
from botocore.config import Config

# Sends as SQS allows, ten messages a call: one for each record, with the record's sort key as its body.
_FUNCTION = """
    import boto3, os
    sqs = boto3.client("sqs", endpoint_url=os.environ["ENDPOINT"], region_name="us-east-1",
                       aws_access_key_id="local", aws_secret_access_key="local")
    queue_url = os.environ["QUEUE_URL"]

    def handler(event, context):
        keys = [record["dynamodb"]["Keys"]["SK"]["S"] for record in event["Records"]]
        for start in range(0, len(keys), 10):
            entries = [{"Id": str(n), "MessageBody": key} for n, key in enumerate(keys[start : start + 10])]
            failed = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries).get("Failed")
            if failed:
                raise RuntimeError(failed)
"""


@dataclass(frozen=True)
class Flow:
    """A running ministack with the flow set up."""

    system: System
    sqs: Any
    queue_url: str

    def waiting(self) -> int:
        """How many messages wait in the queue."""
        name = "ApproximateNumberOfMessages"
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def receive(self, wait_s: int) -> list[str]:
        """The bodies of up to ten messages, waiting for the first."""
        answer = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
        return [message["Body"] for message in answer.get("Messages", [])]


@contextlib.contextmanager
def ministack_flow(table: str, *, batch_size: int) -> Iterator[Flow]:
    """Ministack with `table` and its flow. Raises Unavailable where ministack is not installed."""
    with peers.ministack() as system:
        sqs = client("sqs", system)
        # No message is received twice during a run.
        queue = sqs.create_queue(QueueName="bench-effects", Attributes={"VisibilityTimeout": "3600"})
        stream_arn = create_table(system, table, stream=True)
        functions = client("lambda", system)
        functions.create_function(
            FunctionName="bench-forward",
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/bench",
            Handler="function.handler",
            Code={"ZipFile": archive(_FUNCTION)},
            Timeout=60,
            Environment={"Variables": {"ENDPOINT": system.url, "QUEUE_URL": queue["QueueUrl"]}},
        )
        functions.get_waiter("function_active_v2").wait(FunctionName="bench-forward")
        functions.create_event_source_mapping(
            FunctionName="bench-forward",
            EventSourceArn=stream_arn,
            StartingPosition="TRIM_HORIZON",
            BatchSize=batch_size,
        )
        yield Flow(system, sqs, queue["QueueUrl"])


def archive(source: str) -> bytes:
    """The code of a function as Lambda takes it: `source` as function.py in a zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archived:
        archived.writestr("function.py", textwrap.dedent(source))
    return packed.getvalue()


def client(service: str, system: System) -> Any:
    """A client of one of the system's services, which tries nothing again."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=system.url,
        config=Config(read_timeout=60, retries={"total_max_attempts": 1}),
        **Credentials,
    )
