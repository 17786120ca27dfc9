"""A mapping's pure state machine, driven by hand: records arrive, invocations end, and what it asks for is kept."""

from __future__ import annotations

from typing import Any

from afterwrite.core.event_source_mapping.lane import Deliver, GiveUp
from afterwrite.core.event_source_mapping.mapping import (
    FINISHED,
    Action,
    Event,
    Failed,
    Fetch,
    Fetched,
    Listed,
    ListedShard,
    MappingState,
    OfLane,
    Returned,
    Throttled,
    Tick,
    kept_form,
    resumed,
    step,
)
from afterwrite.core.event_source_mapping.parameters import MappingSettings, SourceKind, settings_of
from afterwrite.core.event_source_mapping.records import Record
from afterwrite.core.event_source_mapping.responses import read_response
from afterwrite.core.json_text import dumps, loads

START_MS = 1_700_000_000_000


class Play:
    """A mapping with AWS's parameters on shards of which `deliver`ed batches are named by their records' positions."""

    def __init__(self, *, source: SourceKind = "dynamodb", shards: tuple[ListedShard, ...] = (), **parameters: Any):
        self.settings: MappingSettings = settings_of(parameters, source)  # type: ignore[arg-type]
        self.now_ms = START_MS
        self.records: dict[int, list[Record]] = {}
        self.closed: set[int] = set()
        self.page = 1_000
        self.state = MappingState()
        self.running: dict[tuple[int, int], Deliver] = {}
        self.deliveries: list[list[int]] = []
        self.given_up: list[tuple[list[int], GiveUp]] = []
        self.do(Listed(shards or (ListedShard(1, "shard-1", (), 0),)))

    def record(self, position: int, *, lane: int = 0, text: bytes = b"{}", admitted: bool = True) -> Record:
        return Record(position, lane, str(position), self.now_ms, text, admitted)

    def arrive(self, *positions: int, shard: int = 1, lane: int = 0, **how: Any) -> None:
        """Records are written, and read."""
        for position in positions:
            self.records.setdefault(shard, []).append(self.record(position, lane=lane, **how))
        self.tick()

    def tick(self, ms: int = 0) -> None:
        self.now_ms += ms
        self.do(Tick())

    def close(self, shard: int = 1) -> None:
        """The shard takes no more records."""
        self.closed.add(shard)
        self.tick()

    def do(self, event: Event) -> None:
        self.state, actions = step(self.settings, self.state, event, self.now_ms)
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        if isinstance(action, Fetch):
            self.do(self._read(action))
            return
        assert isinstance(action, OfLane)
        positions = [record.position for record in action.action.records]
        if isinstance(action.action, Deliver):
            place = (action.shard, action.lane)
            assert place not in self.running, "a lane delivers one piece at a time"
            self.running[place] = action.action
            self.deliveries.append(positions)
        else:
            self.given_up.append((positions, action.action))

    def _read(self, fetch: Fetch) -> Fetched:
        found = [record for record in self.records.get(fetch.shard, ()) if record.position > fetch.after]
        page, has_more = found[: self.page], len(found) > self.page
        is_ended = fetch.shard in self.closed and not has_more
        return Fetched(fetch.shard, page, page[-1].position if page else fetch.after, has_more, is_ended)

    def returns(self, response: Any = None, *, shard: int = 1, lane: int = 0) -> None:
        numbers = [record.sequence_number for record in self.running.pop((shard, lane)).records]
        self.do(Returned(shard, lane, read_response(self.settings, response, numbers)))

    def reports(self, *positions: Any, shard: int = 1, lane: int = 0) -> None:
        """The function returns these records' sequence numbers as failed."""
        failures = [{"itemIdentifier": str(position)} for position in positions]
        self.returns({"batchItemFailures": failures}, shard=shard, lane=lane)

    def fails(self, *, shard: int = 1, lane: int = 0) -> None:
        del self.running[shard, lane]
        self.do(Failed(shard, lane))

    def is_throttled(self, *, shard: int = 1, lane: int = 0) -> None:
        del self.running[shard, lane]
        self.do(Throttled(shard, lane))

    def wait(self) -> None:
        """Let the time pass until the mapping is to look again."""
        due_ms = self.state.due_ms
        assert due_ms is not None, "nothing is due"
        self.tick(max(0, due_ms - self.now_ms))

    def fails_until_it_ends(self, limit: int = 1_000) -> None:
        """Every invocation fails, for as long as there are any."""
        for _ in range(limit):
            if self.running:
                shard, lane = next(iter(self.running))
                self.fails(shard=shard, lane=lane)
            elif self.state.due_ms is not None:
                self.wait()
            else:
                return
        raise AssertionError("it does not end")

    def restart(self) -> None:
        """The engine dies with what it was running, and starts again with what was kept."""
        kept = {number: kept_form(shard) for number, shard in self.state.shards.items()}
        kept |= {number: dict(FINISHED) for number in self.state.finished}
        listed = self.state.listed
        self.state = resumed(self.settings, {number: loads(dumps(form)) for number, form in kept.items()})
        self.running.clear()
        self.do(Listed(listed))
        self.tick()
