"""What AWS does between services, for tests: mappings that poll queues, answers that are lost, entries that fail."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from faulty_proxy import Fault

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


class Routes:
    """The function that the mapping invokes: the handler of the routes. Of every third batch the answer is lost."""

    def __init__(self) -> None:
        self.deliveries = 0
        self.handle: Callable[[Any, Any], Any] | None = None

    def __call__(self, event: Any, context: Any) -> Any:
        self.deliveries += 1
        assert self.handle is not None
        answer = self.handle(event, context)
        if self.deliveries % 3 == 2:
            raise MemoryError
        return answer


def every_tenth_entry_fails_once() -> Callable[[str], Fault | None]:
    failed: set[int] = set()

    def fault_of(entry: str) -> Fault | None:
        # Without the number that the entry has in its request, which is another the next time.
        digest = zlib.crc32(orjson.dumps({**orjson.loads(entry), "Id": ""}))
        if digest % 10 or digest in failed:
            return None
        failed.add(digest)
        return "fails"

    return fault_of
