"""SNS: publishes messages to a topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
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


class SnsTopic(RemoteTarget):
    """A topic, standard or FIFO, by its ARN. Of a FIFO topic the lane is the message group."""

    service: ClassVar[str] = "sns"
    limits: ClassVar[Limits] = Limits(entries=10, request_bytes=262_144, entry_bytes=262_144)
    actions: ClassVar[tuple[str, ...]] = ("sns:Publish",)

    def __init__(self, name: str, client: Callable[[], Any], topic_arn: str) -> None:
        super().__init__(name, client)
        self._topic_arn = topic_arn
        self._fifo = topic_arn.endswith(".fifo")

    def entry(self, stamped: StampedEffect) -> Entry:
        """The message with its attributes; what is no text is sent as JSON."""
        effect: Any = stamped.effect
        message, is_text = text_of(effect.message)
        attributes = message_attributes(stamped, effect.attributes, is_text=is_text)
        body: dict[str, Any] = {"Message": message, "MessageAttributes": attributes}
        if effect.subject is not None:
            body["Subject"] = effect.subject
        if self._fifo:
            body |= {"MessageGroupId": group_id(stamped), "MessageDeduplicationId": deduplication_id(stamped)}
        size_bytes = len(message.encode()) + len((effect.subject or "").encode()) + attributes_size(attributes)
        return Entry(stamped.id, stamped.lane, body, size_bytes)

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        answer = client.publish_batch(
            TopicArn=self._topic_arn,
            PublishBatchRequestEntries=[{"Id": str(number), **entry.body} for number, entry in enumerate(entries)],
        )
        return failed_ids(answer, len(entries))
