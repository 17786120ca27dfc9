"""SQS: sends messages to a queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
from afterwrite.errors import InvalidValue
from afterwrite.targets.remote_target import (
    EntryError,
    RemoteTarget,
    attributes_size,
    deduplication_id,
    failed_ids,
    group_id,
    message_attributes,
    text_of,
)

DELAY_S_MAX: Final = 900


class SqsQueue(RemoteTarget):
    """A queue, standard or FIFO, by its URL. Of a FIFO queue the lane is the message group."""

    service: ClassVar[str] = "sqs"
    limits: ClassVar[Limits] = Limits(entries=10, request_bytes=1_048_576, entry_bytes=1_048_576)
    actions: ClassVar[tuple[str, ...]] = ("sqs:SendMessage",)

    def __init__(self, name: str, client: Callable[[], Any], queue_url: str) -> None:
        super().__init__(name, client)
        self._queue_url = queue_url
        self._fifo = queue_url.endswith(".fifo")

    def entry(self, stamped: StampedEffect) -> Entry:
        """The message. Raises InvalidValue for a delay that SQS does not have."""
        effect: Any = stamped.effect
        text, is_text = text_of(effect.body)
        attributes = message_attributes(stamped, {}, is_text=is_text)
        body: dict[str, Any] = {"MessageBody": text, "MessageAttributes": attributes}
        delay_s = -(-effect.delay_ms // 1000)
        if delay_s > DELAY_S_MAX or (delay_s and self._fifo):
            raise InvalidValue(
                f"expected a delay of at most {DELAY_S_MAX} s, and none for a FIFO queue, got {delay_s} s for "
                f"{self.name}: SQS has no longer one, use a schedule"
            )
        if self._fifo:
            body |= {"MessageGroupId": group_id(stamped), "MessageDeduplicationId": deduplication_id(stamped)}
        elif delay_s:
            body["DelaySeconds"] = delay_s
        return Entry(stamped.id, stamped.lane, body, len(text.encode()) + attributes_size(attributes))

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        answer = client.send_message_batch(
            QueueUrl=self._queue_url,
            Entries=[{"Id": str(number), **entry.body} for number, entry in enumerate(entries)],
        )
        return failed_ids(answer, len(entries))
