"""What AWS does between services, for tests: a mapping that reads a table's stream, and ones that poll queues.

A stream's batch comes again from the lowest failure that its handler reports (S1), whole where the handler raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from afterwrite.remote.dynamodb_client import from_boto3

Handle = Callable[[Any, Any], Any]


class StreamMapping:
    """Reads the one shard of a table's stream from its beginning, and invokes a handler with batches.

    `interrupted` is asked for each batch, by its number: an interrupted one is run, but its answer is lost, so that it
    comes again.
    """

    def __init__(
        self,
        streams: Any,
        stream_arn: str,
        handle: Handle,
        context: Callable[[], Any],
        *,
        batch_size: int = 100,
        interrupted: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._streams = streams
        self._stream_arn = stream_arn
        self._handle = handle
        self._context = context
        self._batch_size = batch_size
        self._interrupted = interrupted
        self._waiting: list[dict[str, Any]] = []
        self.deliveries = 0
        self.partial_failures = 0
        (shard,) = streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"]
        self._iterator: str = streams.get_shard_iterator(
            StreamArn=stream_arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def run_once(self) -> bool:
        """Deliver one batch; False where there is none."""
        if len(self._waiting) < self._batch_size:
            answer = self._streams.get_records(ShardIterator=self._iterator, Limit=1_000)
            self._iterator = answer["NextShardIterator"]
            self._waiting += [self._as_lambda_has_it(record) for record in answer["Records"]]
        batch = self._waiting[: self._batch_size]
        if not batch:
            return False
        self.deliveries += 1
        answer = self._handle({"Records": batch}, self._context())
        if self._interrupted(self.deliveries):
            return True
        failed = [int(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]]
        self.partial_failures += bool(failed)
        done = [record for record in batch if not failed or int(record["dynamodb"]["SequenceNumber"]) < min(failed)]
        del self._waiting[: len(done)]
        return True

    def _as_lambda_has_it(self, record: Mapping[str, Any]) -> dict[str, Any]:
        dynamodb = {**record["dynamodb"]}
        dynamodb["ApproximateCreationDateTime"] = dynamodb["ApproximateCreationDateTime"].timestamp()
        found = {**record, "dynamodb": from_boto3(dynamodb), "eventSourceARN": self._stream_arn}
        if (identity := record.get("userIdentity")) is not None:
            found["userIdentity"] = {"type": identity["Type"], "principalId": identity["PrincipalId"]}
        return found


class QueueMapping:
    """Polls a queue and invokes a handler with its messages; `twice` delivers each message two times."""

    def __init__(self, sqs: Any, url: str, handle: Handle, context: Callable[[], Any], *, twice: bool = False) -> None:
        self._sqs = sqs
        self._url = url
        self._handle = handle
        self._context = context
        self._twice = twice

    def run_once(self) -> bool:
        """Deliver the messages that are there; False where there are none."""
        records = list(received(self._sqs, self._url))
        if not records:
            return False
        for _ in range(2 if self._twice else 1):
            answer = self._handle({"Records": records}, self._context())
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        for record in records:
            if record["messageId"] in failed:
                receipt = record["receiptHandle"]
                self._sqs.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=0)
            else:
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=record["receiptHandle"])
        return True


def received(sqs: Any, url: str) -> Iterator[dict[str, Any]]:
    """Messages of a queue as Lambda has them, at most ten."""
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"]
    )
    for each in answer.get("Messages", []):
        yield {
            "messageId": each["MessageId"],
            "receiptHandle": each["ReceiptHandle"],
            "body": each["Body"],
            "attributes": each["Attributes"],
            "messageAttributes": {
                name: {member[0].lower() + member[1:]: content for member, content in value.items()}
                for name, value in each.get("MessageAttributes", {}).items()
            },
            "eventSource": "aws:sqs",
        }
