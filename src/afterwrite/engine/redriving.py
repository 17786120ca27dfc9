"""Parked lanes on AWS are run again: all that are named, or those of them whose failure may have passed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from afterwrite.core.failures import Failure
from afterwrite.engine.batches import BatchResult, Journal


@dataclass(slots=True)
class Redriven:
    """How many changes ran, and how many of the lanes are parked still."""

    performed: int = 0
    still_parked: int = 0


def redrive(
    journal: Journal,
    consumer: str,
    lanes: Sequence[str],
    run: Callable[[str], BatchResult],
    time_left_ms: Callable[[], int],
    *,
    only_what_may_pass: bool = False,
) -> Redriven:
    """Run parked lanes of a consumer again by `run`, one after the other, while there is time.

    With `only_what_may_pass`, lanes that failed on what another attempt does not change stay as they are; and where a
    target fails again, so do the other lanes that wait for it: one probes for all. Raises StorageError.
    """
    redriven = Redriven()
    failing: set[str] = set()
    for lane in lanes:
        result = None
        if time_left_ms() > 0 and not (only_what_may_pass and _stays(_why(journal, consumer, lane), failing)):
            with journal.redriving(consumer, lane, lease_ms=time_left_ms()) as is_ours:
                result = run(lane) if is_ours else None
        if result is not None:
            redriven.performed += result.performed
            if result.stopped_by is not None:
                failing.add(result.stopped_by.raised_by)
        redriven.still_parked += result is None or bool(result.again) or time_left_ms() <= 0
    return redriven


def _why(journal: Journal, consumer: str, lane: str) -> Failure | None:
    """Why the lane's first change failed, None where it has not been tried, or is not there any more."""
    heads = journal.parked_lanes.parked(consumer, lane, after=-1, limit=1, bytes_max=1)
    return heads[0].failure if heads else None


def _stays(failure: Failure | None, failing: set[str]) -> bool:
    return failure is not None and (not failure.directive.redelivered or failure.raised_by in failing)
