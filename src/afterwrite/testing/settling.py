"""Waiting, in a test, until everything that was written has led to all that follows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Final

from afterwrite.errors import AfterwriteError
from afterwrite.inspection import open_data
from afterwrite.inspection.status import Status
from afterwrite.testing.processes import EngineProcess
from afterwrite.wiring import Engine

_LOOKS_EVERY_S: Final = 0.01


def settle(engine: Engine | EngineProcess, *, files: bool = True, timeout_s: float = 30.0) -> None:
    """Wait until what was written so far has been through routes, functions, mappings, and into files.

    Files of delivery streams are written after their `buffer_seconds`: with `files=False` they are not waited for. What
    is parked, or a dead letter, is not waited for either, nor what time alone brings: an item's expiry, the end of a
    tumbling window. Raises AfterwriteError after `timeout_s`, with what is still to come, and what
    `EngineProcess.check` raises.
    """
    deadline_s = time.monotonic() + timeout_s
    with nullcontext(engine.reader()) if isinstance(engine, Engine) else open_data(engine.data) as data:
        while left := list(_to_come(data.status(), files=files)):
            if isinstance(engine, EngineProcess):
                engine.check()
            if time.monotonic() > deadline_s:
                raise AfterwriteError(f"expected rest within {timeout_s:g} s, still to come are {', '.join(left)}")
            time.sleep(_LOOKS_EVERY_S)


def _to_come(status: Status, *, files: bool) -> Iterator[str]:
    for consumer in status.consumers:
        if consumer.lag_records:
            yield f"changes of {consumer.table} ({consumer.lag_records})"
    for mapping in status.event_source_mappings:
        if mapping.lag_records + mapping.batches_in_hand:
            yield f"records of {mapping.source} for {mapping.function} ({mapping.lag_records})"
    for queue in status.queues:
        if queue.function is not None and queue.waiting + queue.in_flight:
            yield f"messages for {queue.function} ({queue.waiting + queue.in_flight})"
    for buffer in status.buffers:
        if files and buffer.declared and buffer.records:
            yield f"records for the files of {buffer.name} ({buffer.records})"
