"""Batches that a mapping has given up on: where their records are in the stream, and whether they may run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from afterwrite.core.event_source_mapping.failures import AGE_EXCEEDED, BATCH_INFO, Condition
from afterwrite.core.event_source_mapping.parameters import MappingSettings
from afterwrite.core.event_source_mapping.records import Record
from afterwrite.core.failures import Failure, failure

PAST_RETENTION: Final = "past its retention"
REPORTED: Final = "the function reported the records as failed"
_TOO_OLD: Final = "the records were older than the mapping may deliver"


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A batch that a function was not able to handle: `records` of a shard's lane, after a position up to another.

    `lanes` are as many as each shard had then. `lost` counts records of the batch that their stream keeps no longer.
    `attempts` are the invocations, `arrived_at_ms` is when the first record was written, `message` is what a failure
    destination is told (S14).
    """

    function: str
    source: str
    shard: int
    lane: int
    lanes: int
    after: int
    through: int
    records: int
    failure: Failure
    condition: str
    attempts: int
    arrived_at_ms: int
    at_ms: int
    message: Mapping[str, Any]
    lost: int = 0

    @property
    def message_about(self) -> Mapping[str, Any]:
        """What the message says of the batch: its shard and sequence numbers (S14)."""
        about: Mapping[str, Any] = next(self.message[name] for name in BATCH_INFO.values() if name in self.message)
        return about

    @property
    def shard_id(self) -> str:
        """The shard's id."""
        return str(self.message_about["shardId"])

    def to_json(self) -> Mapping[str, Any]:
        """The form in which it is kept."""
        return asdict(self)

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> GivenUp:
        """What is kept."""
        return GivenUp(**{**kept, "failure": Failure(**kept["failure"])})


def given_up(
    *,
    function: str,
    source: str,
    shard: int,
    lane: int,
    lanes: int,
    records: Sequence[Record],
    reason: str | None,
    condition: Condition,
    attempts: int,
    at_ms: int,
    message: Mapping[str, Any],
) -> GivenUp:
    """The batch of records, at least one; `reason` is what the function failed with last, None where it reported."""
    if condition == AGE_EXCEEDED:
        reason = _TOO_OLD if reason is None else f"{_TOO_OLD}; before: {reason}"
    return GivenUp(
        function=function,
        source=source,
        shard=shard,
        lane=lane,
        lanes=lanes,
        after=records[0].position - 1,
        through=records[-1].position,
        records=len(records),
        failure=failure("bug", reason or REPORTED, raised_by=function),
        condition=condition,
        attempts=attempts,
        arrived_at_ms=records[0].arrived_at_ms,
        at_ms=at_ms,
        message=message,
    )


def obstacle(batch: GivenUp, settings: MappingSettings) -> str | None:
    """Why the batch cannot be handed over again as its mapping is now, None where it can."""
    if settings.tumbling_window_ms:
        return "its tumbling window has ended, and with it the window's state"
    if batch.lanes != settings.parallelization_factor:
        return f"the mapping's ParallelizationFactor was {batch.lanes} then: declare that to run it again"
    return None


def begun(batch: GivenUp, found: Sequence[Record]) -> GivenUp:
    """The batch with those of its records that are still in the stream, about to be handed over again."""
    lost = batch.lost + max(0, batch.records - len(found))
    attempts = batch.attempts + (1 if found else 0)
    batch = replace(batch, records=len(found), lost=lost, attempts=attempts)
    return batch if found else replace(batch, condition=PAST_RETENTION)


def ended(batch: GivenUp, found: Sequence[Record], failed_from: int | None, reason: str | None) -> GivenUp | None:
    """What is left of a batch that was handed over again and failed `failed_from` a record on; None where nothing is.

    What was lost before is left, for somebody to see.
    """
    if failed_from is None:
        return replace(batch, after=batch.through, records=0, condition=PAST_RETENTION) if batch.lost else None
    left = found[failed_from:]
    failed = failure(batch.failure.kind, reason or REPORTED, raised_by=batch.function)
    return replace(batch, after=left[0].position - 1, records=len(left), failure=failed)


def refused(batch: GivenUp, reason: str) -> GivenUp:
    """The batch, not handed over again, and why."""
    return replace(batch, failure=failure("rejected", reason, raised_by=batch.function))
