"""Firehose: hands records to a delivery stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.delivered_records import delivered_record
from afterwrite.core.effects import StampedEffect
from afterwrite.targets.remote_target import EntryError, RemoteTarget, entry_errors


def record_text(stamped: StampedEffect) -> bytes:
    """A record as a line of JSON: the record's fields, the effect's `id`, and the change's `time`."""
    effect: Any = stamped.effect
    return json_text.dumps(delivered_record(stamped.id, stamped.at_ms, effect.record)) + b"\n"


class FirehoseStream(RemoteTarget):
    """A delivery stream, by its name. It keeps no order; records carry the time of their change."""

    service: ClassVar[str] = "firehose"
    limits: ClassVar[Limits] = Limits(entries=500, request_bytes=4 << 20, entry_bytes=1_000 << 10)
    actions: ClassVar[tuple[str, ...]] = ("firehose:PutRecordBatch",)
    keeps_order: ClassVar[bool] = False

    def __init__(self, name: str, client: Callable[[], Any], stream: str) -> None:
        super().__init__(name, client)
        self._stream = stream

    def entry(self, stamped: StampedEffect) -> Entry:
        """The record as a line of JSON."""
        text = record_text(stamped)
        return Entry(stamped.id, stamped.lane, text, len(text))

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        answer = client.put_record_batch(
            DeliveryStreamName=self._stream, Records=[{"Data": entry.body} for entry in entries]
        )
        return entry_errors(answer["RequestResponses"])
