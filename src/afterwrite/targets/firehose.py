"""Firehose: hands records to a delivery stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
from afterwrite.targets.remote_target import EntryError, RemoteTarget, entry_errors

_OWN_FIELDS: Final = frozenset(("id", "time", "dt", "hour"))


def record_text(stamped: StampedEffect) -> bytes:
    """A record as a line of JSON: the record's fields, the effect's `id`, and the change's `time` as events have it.

    A field of the record that is called so, or as the partitions of the lake are, gets an underscore in front.
    """
    effect: Any = stamped.effect
    fields = {_field_name(name): value for name, value in effect.record.items()}
    time = datetime.fromtimestamp(stamped.at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json_text.dumps({"id": stamped.id, "time": time, **fields}) + b"\n"


def _field_name(name: str) -> str:
    return f"_{name}" if name.lstrip("_").lower() in _OWN_FIELDS else name


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
