"""What waits for an operator in a DynamoDB table of parked lanes: listed, redriven, dropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from afterwrite.core.parked import EVERYTHING, ParkedEntry, Portion, Selection
from afterwrite.core.uuids import uuid_of
from afterwrite.core.wire import to_streams_record
from afterwrite.remote.dynamodb_parked_lanes import DynamoDBParkedLanes

RunAgain: TypeAlias = Callable[[str, str], None]
"""Lets a table's parked lane run again: what runs routes on AWS is a Lambda function."""

_DROPPED_CHANGES: Final = 100


class DynamoDBParkedWork:
    """The ParkedWork of an app on Lambda. An entry is the first change of a lane; each is a request of its own.

    Without `run_again` nothing can be redriven, and what waits behind a dropped change goes on waiting. All that is
    parked in the table is named in memory. Raises StorageError.
    """

    def __init__(self, lanes: DynamoDBParkedLanes, run_again: RunAgain | None = None) -> None:
        self._lanes = lanes
        self._run_again = run_again

    def entries(self, selection: Selection = EVERYTHING, *, after: str = "") -> Iterator[ParkedEntry]:
        """The entries that are meant, in the order of their places, from the lane after a place's."""
        found = sorted(
            (f"{consumer}/{uuid_of(lane)}", consumer, lane, count) for consumer, lane, count in self._lanes.lanes()
        )
        after_lane = after.rpartition("/")[0]
        for place, consumer, lane, count in found:
            is_named = selection.lane in (None, lane) and selection.held_in in (None, consumer)
            if not is_named or place <= after_lane:
                continue
            for head in self._lanes.parked(consumer, lane, after=-1, limit=1, bytes_max=1):
                entry = ParkedEntry(
                    place=f"{place}/{head.position}",
                    kind="change",
                    held_in=consumer,
                    lane=lane,
                    id=head.change.id,
                    failure=head.failure,
                    condition="given up" if head.failure is not None else "its predecessor was dropped",
                    attempts=head.attempts,
                    created_at_ms=head.change.created_at_us // 1000,
                    parked_at_ms=head.at_ms or 0,
                    behind=count - 1,
                    payload=to_streams_record(head.change, region=""),
                )
                if selection.admits(entry):
                    yield entry

    def redrive(self, selection: Selection = EVERYTHING, *, after: str = "", limit: int) -> Portion:
        """Let the lanes of at most `limit` entries run again. Raises ValueError without `run_again`."""
        run_again = self._run_again
        if run_again is None:
            raise ValueError("expected a function that runs lanes again")
        return self._each(selection, after, limit, lambda entry: run_again(entry.held_in, entry.lane))

    def drop(
        self, selection: Selection = EVERYTHING, *, after: str = "", limit: int, whole_lane: bool = False
    ) -> Portion:
        """Delete at most `limit` entries; what waits behind them runs, or is deleted as well."""

        def drop(entry: ParkedEntry) -> None:
            self._lanes.release(entry.held_in, entry.lane, int(entry.place.rpartition("/")[2]))
            if whole_lane:
                self._empty(entry.held_in, entry.lane)
            elif entry.behind and self._run_again is not None:
                self._run_again(entry.held_in, entry.lane)

        return self._each(selection, after, limit, drop)

    def _each(self, selection: Selection, after: str, limit: int, act: Callable[[ParkedEntry], None]) -> Portion:
        count, place = 0, after
        for entry in self.entries(selection, after=after):
            if count == limit:
                return Portion(count, place)
            act(entry)
            count, place = count + 1, entry.place
        return Portion(count, None)

    def _empty(self, consumer: str, lane: str) -> None:
        while page := self._lanes.parked(consumer, lane, after=-1, limit=_DROPPED_CHANGES, bytes_max=4 << 20):
            for each in page:
                self._lanes.release(consumer, lane, each.position)
