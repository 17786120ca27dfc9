"""Delivery streams: records wait in a durable buffer and are written to the lake by time and size."""

from __future__ import annotations

import threading
from pathlib import Path

from afterwrite.app import DeliveryStream
from afterwrite.core import json_text
from afterwrite.local import lake
from afterwrite.local.fan_out import lake_buffer
from afterwrite.store import buffers
from afterwrite.store.buffers import Fill
from afterwrite.store.environment import Environment

_MIB = 1 << 20


def flush_at_ms(fill: Fill, *, buffer_seconds: float, buffer_bytes: float, now_ms: int) -> int | None:
    """When a buffer is to be flushed: at once when it is full, else when its oldest record has waited long enough."""
    if fill.oldest_ms is None:
        return None
    # A record from the future was added before the clock was set back and the engine started again.
    if fill.bytes >= buffer_bytes or fill.oldest_ms > now_ms:
        return now_ms
    return fill.oldest_ms + int(buffer_seconds * 1000)


class LakeSink:
    """The Sink of a delivery stream: a range of its buffer becomes Parquet files, exactly once.

    The range is recorded before the files are written and names them, so that after a crash the same files are
    written again; the removal from the buffer ends it.
    """

    def __init__(self, environment: Environment, stream: DeliveryStream, directory: Path) -> None:
        self._environment = environment
        self._stream = stream
        self._buffer = lake_buffer(stream.name)
        self._directory = directory
        lake.clean(directory)

    def next_flush_ms(self, now_ms: int) -> int | None:
        """When the buffer is to be flushed by its limits of time and size, None where it is empty."""
        with self._environment.read() as transaction:
            if buffers.plan(transaction, self._buffer) is not None:
                return now_ms
            fill = buffers.fill(transaction, self._buffer)
        return flush_at_ms(
            fill,
            buffer_seconds=self._stream.buffer_seconds,
            buffer_bytes=self._stream.buffer_mib * _MIB,
            now_ms=now_ms,
        )

    def flush(self) -> int:
        """Write what waits, at most one batch of the buffer's size; how many records that was."""
        with self._environment.read() as transaction:
            plan = buffers.plan(transaction, self._buffer)
            if plan is None:
                waiting = [
                    each.sequence
                    for each in buffers.read(transaction, self._buffer, bytes_max=int(self._stream.buffer_mib * _MIB))
                ]
                if not waiting:
                    return 0
                plan = (waiting[0], waiting[-1])
        first, last = plan
        self._environment.write(lambda transaction: buffers.set_plan(transaction, self._buffer, first, last))
        with self._environment.read() as transaction:
            records = [
                lake.LakeRecord(each.sequence, each.at_ms, each.id, json_text.loads_exactly(each.text))
                for each in buffers.read_range(transaction, self._buffer, first, last)
            ]
        lake.write_batch(self._directory, self._stream.name, first, last, records)
        return self._environment.write(lambda transaction: buffers.remove_through(transaction, self._buffer, last))

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever the buffer may have to be flushed earlier."""
        self._environment.signals.watch([buffers.signal(self._buffer)], event)
