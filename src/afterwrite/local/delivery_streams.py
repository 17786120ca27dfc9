"""Delivery streams: records wait in a durable buffer and are written to the lake by time and size."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from afterwrite.app import DeliveryStream
from afterwrite.core import json_text
from afterwrite.errors import InvalidValue
from afterwrite.local import lake
from afterwrite.local.file_buffers import flush_at_ms, lake_buffer
from afterwrite.local.lake import FailedRecord, LakeRecord
from afterwrite.store import buffers
from afterwrite.store.buffers import Buffered
from afterwrite.store.environment import Environment

_LOG = logging.getLogger("afterwrite")
_MIB = 1 << 20
_SEPARATOR = os.urandom(8).hex()


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
                bytes_max = int(self._stream.buffer_mib * _MIB)
                plan = buffers.next_range(transaction, self._buffer, bytes_max=bytes_max)
        if plan is None:
            return 0
        first, last = plan
        self._environment.write(partial(buffers.set_plan, buffer=self._buffer, first=first, last=last))
        with self._environment.read() as transaction:
            buffered = buffers.read_range(transaction, self._buffer, first, last)
        self._write(first, last, buffered)
        return self._environment.write(partial(buffers.remove_through, buffer=self._buffer, last=last))

    def _write(self, first: int, last: int, buffered: Sequence[Buffered]) -> None:
        """Write the files of a range; a record that they cannot hold is kept beside them, and holds nobody up."""
        refusals: dict[int, str] = {}
        try:
            lake.write_batch(self._directory, self._stream.name, first, last, _records(buffered, refusals))
        except InvalidValue as error:
            records = list(_records(buffered, refusals))
            refused = lake.refusals(records)
            # Where each alone would do, but not all together, none is written.
            refusals |= refused or dict.fromkeys((each.sequence for each in records), str(error))
            records = [each for each in records if each.sequence not in refusals]
            lake.write_batch(self._directory, self._stream.name, first, last, records)
        if refusals:
            by_sequence = {each.sequence: each for each in buffered}
            failed = [_failed(by_sequence[sequence], reason) for sequence, reason in refusals.items()]
            path = lake.write_failed(self._directory, self._stream.name, first, last, failed)
            fields = {"stream": self._stream.name, "records": len(failed), "file": str(path), "error": failed[0].error}
            _LOG.error("records that the lake cannot hold", extra={"fields": fields})

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever the buffer may have to be flushed earlier."""
        self._environment.signals.watch([buffers.signal(self._buffer)], event)


def _records(buffered: Sequence[Buffered], refusals: dict[int, str]) -> Iterator[LakeRecord]:
    """The records with what their JSON texts hold; of one whose text is none `refusals` gets why, by its sequence."""
    for start in range(0, len(buffered), lake.ROWS_AT_ONCE):
        some = buffered[start : start + lake.ROWS_AT_ONCE]
        parsed = _parsed([each.text for each in some])
        for (sequence, at_ms, record_id, _), data in zip(some, parsed, strict=True):
            if isinstance(data, dict):
                yield LakeRecord(sequence, at_ms, record_id, data)
            elif isinstance(data, ValueError):
                refusals[sequence] = str(data)
            else:
                refusals[sequence] = "expected a JSON object, got another value: give each record as an object"


def _parsed(texts: Sequence[bytes]) -> list[Any]:
    """What the JSON texts hold, for one that is none its error."""
    try:
        return json_text.loads_each_exactly(texts, _SEPARATOR)
    except ValueError:
        return [_parsed_alone(text) for text in texts]


def _parsed_alone(text: bytes) -> Any:
    try:
        return json_text.loads_exactly(text)
    except ValueError as error:
        return error


def _failed(each: Buffered, error: str) -> FailedRecord:
    return FailedRecord(each.sequence, each.at_ms, each.id, each.text.decode(errors="backslashreplace"), error)
