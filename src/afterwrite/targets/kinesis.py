"""Kinesis: hands records to a data stream, in order per lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
from afterwrite.targets.firehose import record_text
from afterwrite.targets.remote_target import EntryError, RemoteTarget, entry_errors, group_id


class KinesisStream(RemoteTarget):
    """A data stream, by its ARN, that takes a delivery stream's records; the lane is the partition key."""

    service: ClassVar[str] = "kinesis"
    limits: ClassVar[Limits] = Limits(entries=500, request_bytes=10 << 20, entry_bytes=10 << 20)
    actions: ClassVar[tuple[str, ...]] = ("kinesis:PutRecords",)

    def __init__(self, name: str, client: Callable[[], Any], stream_arn: str) -> None:
        super().__init__(name, client)
        self._stream_arn = stream_arn

    def entry(self, stamped: StampedEffect) -> Entry:
        """The record as a line of JSON."""
        text, key = record_text(stamped), group_id(stamped)
        return Entry(stamped.id, stamped.lane, {"Data": text, "PartitionKey": key}, len(text) + len(key))

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        answer = client.put_records(StreamARN=self._stream_arn, Records=[entry.body for entry in entries])
        return entry_errors(answer["Records"])
