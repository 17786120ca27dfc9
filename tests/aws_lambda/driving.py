"""What AWS does between services, for tests: mappings that poll queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Handle = Callable[[Any, Any], Any]


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
