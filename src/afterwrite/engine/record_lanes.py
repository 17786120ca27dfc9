"""Records of a Kinesis stream for one function: those of a key that fails for good are parked, as changes are.

A record that is parked is kept as the insertion of an item: its partition key, and its data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from afterwrite.core.changes import Change
from afterwrite.core.failures import Failure, failure_of
from afterwrite.core.lambda_events import Invocation, kinesis_members, kinesis_value
from afterwrite.core.ports import ParkedChange
from afterwrite.engine.batches import BatchResult, BatchTelemetry, Journal
from afterwrite.engine.invocations import KEPT_MS, Invocations, NotDone

CONSUMER: Final = "function/"
"""How the name begins under which a function's records are parked; the function's name follows."""
_KEY: Final = "partitionKey"
_DATA: Final = "data"
_REDRIVEN_RECORDS: Final = 100
_REDRIVEN_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class RecordLanes:
    """A function's batches of records. `attempts_max` is how often one is tried before its lane is parked."""

    runner: Invocations
    attempts_max: int
    journal: Journal
    telemetry: BatchTelemetry

    @property
    def consumer(self) -> str:
        """The name under which lanes are parked."""
        return CONSUMER + self.runner.name

    def run(self, records: Sequence[tuple[Any, Invocation]]) -> BatchResult:
        """Run what is neither done nor parked; `again` are the numbers of the records to be delivered again.

        Raises StorageError where the journal does not answer.
        """
        result, ledger, lanes = BatchResult(), self.journal.ledger, self.journal.parked_lanes
        ids = [invocation.message_id for _, invocation in records]
        done, kept = ledger.look(self.runner.name, ids), ledger.look(self.consumer, ids)
        settled = {id for found in (done, kept) for id, record in found.items() if record.done}
        fresh = {number: record for number, (record, each) in enumerate(records) if each.message_id not in settled}
        result.skipped = len(records) - len(fresh)
        by_lane: dict[str, list[int]] = {}
        for number in fresh:
            by_lane.setdefault(self._lane(records[number][1]), []).append(number)
        parked: list[int] = []
        following = lanes.parked_lanes(self.consumer, set(by_lane))
        for lane in following:
            numbers = by_lane.pop(lane)
            if lanes.follow(self.consumer, [self._parked(*records[number], None) for number in numbers]):
                parked += numbers
            else:  # it was released a moment ago: these run when they are delivered again
                result.again += numbers
        numbers = sorted(number for lane in by_lane.values() for number in lane)
        _, failures = self.runner.run([records[number][1] for number in numbers])
        failed = {each.invocation.item_id: each for each in failures}
        result.performed = len(numbers) - len(failed)
        for lane, all_of_lane in by_lane.items():
            waiting = [number for number in all_of_lane if records[number][1].item_id in failed]
            if not waiting:
                continue
            head = failed[records[waiting[0]][1].item_id]
            failure = self._final(head)
            if failure is None:
                result.again += waiting
                continue
            behind = [self._parked(*records[number], None) for number in waiting[1:]]
            lanes.park(self.consumer, [self._parked(*records[waiting[0]], failure, head.attempt), *behind])
            self.telemetry.lane_parked(self.consumer, lane, failure.reason)
            result.parked_lanes += 1
            result.failures[failure.kind] = result.failures.get(failure.kind, 0) + 1
            parked += waiting
        result.parked_changes = len(parked)
        result.again.sort()
        # Everything behind the first that comes again does, and is then parked already (S1).
        if result.again and parked:
            ledger.complete_all(self.consumer, [ids[number] for number in parked], keep_ms=KEPT_MS)
        return result

    def redrive(self, lane: str) -> BatchResult:
        """Run a parked lane's records, in order, until none is left, one fails, or the time is up.

        Raises StorageError.
        """
        result, lanes = BatchResult(), self.journal.parked_lanes
        while self.runner.time_left_ms() > 0:
            page = lanes.parked(self.consumer, lane, after=-1, limit=_REDRIVEN_RECORDS, bytes_max=_REDRIVEN_BYTES)
            if not page:
                break
            _, failures = self.runner.run([_invocation(lane, each) for each in page])
            failed = {each.invocation.item_id: each for each in failures}
            for each in page:
                if (stopped := failed.get(str(each.position))) is not None:
                    if stopped.error is not None:
                        result.stopped_by = failure_of(stopped.error, raised_by=self.runner.name)
                        lanes.note_failure(self.consumer, lane, each.position, result.stopped_by)
                    result.again.append(each.position)
                    return result
                lanes.release(self.consumer, lane, each.position)
                result.performed += 1
        return result

    def _lane(self, invocation: Invocation) -> str:
        return f"{self.runner.name}/{invocation.lane}"

    def _final(self, head: NotDone) -> Failure | None:
        """Why a lane's first record has failed for good, None where it may be delivered again."""
        if head.error is None:
            return None
        failure = failure_of(head.error, raised_by=self.runner.name)
        may_pass = failure.directive.retried or failure.directive.redelivered
        return None if may_pass and head.attempt < self.attempts_max else failure

    def _parked(self, record: Any, invocation: Invocation, failure: Failure | None, attempts: int = 0) -> ParkedChange:
        members = kinesis_members(record)
        image = {_KEY: {"S": str(members["partitionKey"])}, _DATA: {"B": str(members["data"])}}
        change = Change(
            id=invocation.message_id,
            table=self.consumer,
            event_name="INSERT",
            keys={_KEY: image[_KEY]},
            new_image=image,
            sequence_number=str(members["sequenceNumber"]),
            created_at_us=int(float(members.get("approximateArrivalTimestamp", 0)) * 1_000_000),
            size_bytes=len(image[_DATA]["B"]),
        )
        return ParkedChange(int(members["sequenceNumber"]), self._lane(invocation), change, failure, attempts)


def _invocation(lane: str, parked: ParkedChange) -> Invocation:
    image = parked.change.new_image or {}
    return Invocation(parked.change.id, kinesis_value({"data": image[_DATA]["B"]}), str(parked.position), lane)
