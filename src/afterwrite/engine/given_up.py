"""What a mapping gave up on, handed to its function again when an operator asks, in the order of the stream.

A batch is one invocation. What fails again stays where it was: nothing is tried twice by itself. That an invocation
has begun is kept before it runs, so one that ends the process does not run again at the next start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.core.event_source_mapping.failures import MappingIdentity
from afterwrite.core.event_source_mapping.given_up import GivenUp, begun, ended, obstacle, refused
from afterwrite.core.event_source_mapping.ports import RECORDS_READ_MAX, GivenUpBatches, ShardSource
from afterwrite.core.event_source_mapping.records import Record
from afterwrite.core.event_source_mapping.responses import read_response
from afterwrite.core.ports import Services
from afterwrite.engine.handler_threads import Ended, HandlerThreads
from afterwrite.engine.mapped_function import MappedFunction
from afterwrite.engine.telemetry import Telemetry

_THROTTLED_S: Final = 1.0


class GivenUpWork:
    """The unit of work that hands over again what a mapping gave up on, a batch at a time."""

    def __init__(
        self,
        mapping: EventSourceMapping,
        identity: MappingIdentity,
        source: ShardSource,
        batches: GivenUpBatches,
        services: Services,
        telemetry: Telemetry,
        *,
        now_ms: Callable[[], int],
        new_id: Callable[[], str],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"given-up-{mapping.function_name}-{mapping.source_name}"
        self._mapping = mapping
        self._source = source
        self._batches = batches
        self._telemetry = telemetry
        self._new_id = new_id
        self._function = MappedFunction(mapping, identity, services, now_ms, monotonic_s)
        self._threads = HandlerThreads(self.name, mapping.timeout_s, monotonic_s)
        # What runs: its key, the batch as it began, and its records.
        self._running: tuple[str, GivenUp, tuple[Record, ...]] | None = None
        # What has become of it, until that is kept.
        self._to_keep: tuple[str, GivenUp | None] | None = None

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._threads.watch(event)
        self._batches.watch(event)

    def run_once(self) -> float | None:
        """Settle the invocation that has ended, and begin the next; how long (s) until that times out."""
        for each in self._threads.ended():
            self._settle(each)
        if self._to_keep is not None:
            self._batches.keep(*self._to_keep)
            self._to_keep = None
        if self._running is not None:
            return self._threads.due_s()
        asked = self._batches.next_asked()
        if asked is None:
            return None
        if not self._threads.may_run(self.name):
            return _THROTTLED_S
        self._begin(*asked)
        return 0.0

    def stop(self) -> None:
        """End the threads that are idle."""
        self._threads.stop()

    def _begin(self, key: str, batch: GivenUp) -> None:
        reason = obstacle(batch, self._mapping.settings)
        if reason is not None:
            self._batches.keep(key, refused(batch, reason))
            return
        found = self._read(batch)
        batch = begun(batch, found)
        self._batches.keep(key, batch)
        if not found:
            self._telemetry.records_trimmed(self._mapping.function_name, batch.shard_id)
            return
        self._running = key, batch, found
        call = self._function.call(found, None, shard_id=batch.shard_id, request_id=self._new_id())
        self._threads.run(self.name, call)

    def _read(self, batch: GivenUp) -> tuple[Record, ...]:
        """The records of the batch that are still in the stream."""
        found: list[Record] = []
        # Those of other lanes, and those that the filter leaves out, lie between them.
        after, limit = batch.after, max(1, batch.records)
        while after < batch.through:
            page = self._source.fetch(batch.shard, after, limit=min(limit, RECORDS_READ_MAX))
            limit *= 2
            found += [
                record
                for record in page.records
                if record.lane == batch.lane and record.is_admitted and record.position <= batch.through
            ]
            if page.through <= after or page.is_ended:
                break
            after = page.through
        return tuple(found)

    def _settle(self, invocation: Ended) -> None:
        if self._running is None:
            return
        (key, batch, records), self._running = self._running, None
        reason, failed_from = invocation.failure, 0 if invocation.failure is not None else None
        if invocation.failure is None:
            numbers = [record.sequence_number for record in records]
            verdict = read_response(self._mapping.settings, invocation.value, numbers)
            failed_from, reason = verdict.failed_from, verdict.fault
        if failed_from is not None:
            first = records[failed_from].sequence_number
            left = len(records) - failed_from
            told = reason or "reported as failed"
            self._telemetry.batch_failed(self._mapping.function_name, batch.shard_id, first, left, told)
        if failed_from != 0:
            handled = len(records) if failed_from is None else failed_from
            self._telemetry.records_handled(self._mapping.function_name, batch.shard_id, handled)
        self._to_keep = key, ended(batch, records, failed_from, reason)
