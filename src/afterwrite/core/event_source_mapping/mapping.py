"""A mapping's shards and their lanes: which shard is read next, what its records lead to, what is kept of it.

A shard begins when its parents are finished (S19), and is finished when it is read to its end and every lane is
empty. Its lanes divide its keys, ParallelizationFactor of them, so that the records of a key stay in order (S8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from afterwrite.core.event_source_mapping import lane as lanes
from afterwrite.core.event_source_mapping.lane import (
    Deliver,
    GiveUp,
    KeptPiece,
    Lane,
    LaneAction,
    Reading,
    TumblingWindow,
)
from afterwrite.core.event_source_mapping.parameters import MappingSettings
from afterwrite.core.event_source_mapping.records import Record
from afterwrite.core.event_source_mapping.responses import Verdict

# What is held of a shard before it is delivered: two batches a lane, and this many records at least.
SHARD_RECORDS_MIN: Final = 1_000
SHARD_BYTES_MAX: Final = 32 << 20
_UNREAD: Final = Reading()


@dataclass(frozen=True, slots=True)
class ListedShard:
    """A shard as its stream lists it: its number and id, its parents' numbers, and the position before its first."""

    number: int
    id: str
    parents: tuple[int, ...]
    after: int


@dataclass(frozen=True, slots=True)
class ShardState:
    """A shard that is being read, up to `read_through`; `may_have_more` says whether reading on may find records."""

    number: int
    lanes: tuple[Lane, ...]
    read_through: int
    reading: Reading = _UNREAD
    may_have_more: bool = True
    is_reading: bool = False
    due_ms: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing of it is left."""
        return self.reading.is_ended and all(lane.is_empty for lane in self.lanes)

    def has_room(self, settings: MappingSettings) -> bool:
        """Whether more of it may be held. What was in hand before the engine started is always read again."""
        if any(lane.kept for lane in self.lanes):
            return True
        records_max = max(SHARD_RECORDS_MIN, 2 * settings.batch_size * settings.parallelization_factor)
        return (
            sum(len(lane.waiting) for lane in self.lanes) < records_max
            and sum(lane.waiting_bytes for lane in self.lanes) < SHARD_BYTES_MAX
        )


@dataclass(frozen=True, slots=True)
class MappingState:
    """What a mapping knows: the shards that there are, those that are being read, those that are finished."""

    listed: tuple[ListedShard, ...] = ()
    shards: Mapping[int, ShardState] = field(default_factory=dict)
    finished: frozenset[int] = frozenset()

    @property
    def due_ms(self) -> int | None:
        """When to look again, None where only an event can tell."""
        return min((shard.due_ms for shard in self.shards.values() if shard.due_ms), default=None)


@dataclass(frozen=True, slots=True)
class Listed:
    """The stream's shards, oldest first: all that there are."""

    shards: tuple[ListedShard, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A shard's records after where it was read, up to `through`.

    `has_more` says that more are there already, `is_ended` that no more will come.
    """

    shard: int
    records: Sequence[Record]
    through: int
    has_more: bool = False
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    """A lane's invocation has returned, with this verdict on its records."""

    shard: int
    lane: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Failed:
    """A lane's invocation has raised, or has not ended in time."""

    shard: int
    lane: int


@dataclass(frozen=True, slots=True)
class Throttled:
    """A lane's invocation could not begin (S7)."""

    shard: int
    lane: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed, or there may be more to read."""


Event: TypeAlias = Listed | Fetched | Returned | Failed | Throttled | Tick


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read the shard after a position."""

    shard: int
    after: int


@dataclass(frozen=True, slots=True)
class OfLane:
    """An action of a shard's lane."""

    shard: int
    lane: int
    action: Deliver | GiveUp


Action: TypeAlias = Fetch | OfLane


def step(
    settings: MappingSettings, state: MappingState, event: Event, now_ms: int
) -> tuple[MappingState, list[Action]]:
    """What an event leads to."""
    before = state
    actions: list[Action] = []
    if isinstance(event, Listed):
        there = {shard.number for shard in event.shards}
        state = replace(state, listed=event.shards, finished=state.finished & there)
    elif isinstance(event, Tick):
        for shard in state.shards.values():
            state = _advance(settings, state, replace(shard, may_have_more=True), now_ms, actions)
    else:
        shard = state.shards[event.shard]
        if isinstance(event, Fetched):
            shard = _fetched(settings, shard, event, now_ms, actions)
        else:
            shard = _settled(settings, shard, event, now_ms, actions)
        state = _advance(settings, state, shard, now_ms, actions)
    if state.listed is not before.listed or state.finished is not before.finished:
        state = _open_ready(settings, state, now_ms, actions)
    return state, actions


def _fetched(
    settings: MappingSettings, shard: ShardState, event: Fetched, now_ms: int, actions: list[Action]
) -> ShardState:
    by_lane: dict[int, list[Record]] = {}
    for record in event.records:
        if record.is_admitted:
            by_lane.setdefault(record.lane, []).append(record)
    reading = Reading(shard.reading.at_tip_ms if event.has_more else now_ms, event.is_ended)
    changed = list(shard.lanes)
    for number, lane in enumerate(shard.lanes):
        lane = lanes.receive(settings, lane, by_lane.get(number, ()), now_ms)  # noqa: PLW2901
        changed[number], taken = lanes.take_up(settings, lane, reading, event.through, now_ms)
        actions.extend(_of_lane(shard.number, number, taken))
    return replace(
        shard,
        lanes=tuple(changed),
        read_through=event.through,
        reading=reading,
        may_have_more=event.has_more,
        is_reading=False,
    )


def _settled(
    settings: MappingSettings,
    shard: ShardState,
    event: Returned | Failed | Throttled,
    now_ms: int,
    actions: list[Action],
) -> ShardState:
    lane = shard.lanes[event.lane]
    given_up: list[LaneAction] = []
    if isinstance(event, Throttled):
        lane = lanes.throttle(lane, now_ms)
    elif isinstance(event, Failed):
        lane, given_up = lanes.fail_from(settings, lane, 0, now_ms, is_function_error=True)
    else:
        verdict = event.verdict
        if verdict.failed_from is None:
            lane = lanes.succeed(lane, now_ms, verdict.state)
        else:
            lane, given_up = lanes.fail_from(
                settings, lane, verdict.failed_from, now_ms, is_function_error=False, state=verdict.state
            )
    actions.extend(_of_lane(shard.number, event.lane, given_up))
    return replace(shard, lanes=(*shard.lanes[: event.lane], lane, *shard.lanes[event.lane + 1 :]))


def _advance(
    settings: MappingSettings, state: MappingState, shard: ShardState, now_ms: int, actions: list[Action]
) -> MappingState:
    """Deliver what can be delivered of a shard, read on where there may be more, finish it."""
    changed: list[Lane] = []
    dues: list[int] = []
    for index, before in enumerate(shard.lanes):
        lane, led_to, due_ms = lanes.advance(settings, before, shard.reading, now_ms)
        changed.append(lane)
        actions.extend(_of_lane(shard.number, index, led_to))
        if due_ms:
            dues.append(due_ms)
    shard = replace(shard, lanes=tuple(changed), due_ms=min(dues, default=0))
    if shard.is_finished:
        others = {number: each for number, each in state.shards.items() if number != shard.number}
        return replace(state, shards=others, finished=state.finished | {shard.number})
    if shard.may_have_more and not shard.is_reading and not shard.reading.is_ended and shard.has_room(settings):
        actions.append(Fetch(shard.number, shard.read_through))
        shard = replace(shard, is_reading=True)
    return replace(state, shards={**state.shards, shard.number: shard})


def _open_ready(settings: MappingSettings, state: MappingState, now_ms: int, actions: list[Action]) -> MappingState:
    """Begin with the shards whose parents are finished or gone."""
    there = {shard.number for shard in state.listed}
    for shard in state.listed:
        known = shard.number in state.shards or shard.number in state.finished
        if known or any(parent in there and parent not in state.finished for parent in shard.parents):
            continue
        opened = ShardState(shard.number, (Lane(),) * settings.parallelization_factor, shard.after)
        state = _advance(settings, state, opened, now_ms, actions)
    return state


def _of_lane(shard: int, lane: int, led_to: Iterable[LaneAction]) -> list[Action]:
    return [OfLane(shard, lane, action) for action in led_to]


FINISHED: Final[Mapping[str, Any]] = {"is_finished": True}
"""What is kept of a finished shard, so that its children begin and it does not begin again."""


def kept_form(shard: ShardState) -> dict[str, Any]:
    """What is kept of a shard while the engine is off, as values of JSON: positions and counts, no records."""
    return {"lanes": [_kept_lane(lane, shard.read_through) for lane in shard.lanes]}


def _kept_lane(lane: Lane, read_through: int) -> dict[str, Any]:
    pieces = lane.kept or tuple(
        KeptPiece(piece.records[-1].position if piece.records else 0, piece.retries, piece.invocations)
        for piece in lane.pieces
    )
    window = lane.window
    return {
        "through": lane.through if lane.kept else lane.done_through(read_through),
        "pieces": [[piece.through, piece.retries, piece.invocations] for piece in pieces],
        "is_running": lane.was_running if lane.kept else lane.is_running,
        "window": None if window is None else [window.start_ms, window.state.decode(), window.is_full],
        "iterator_age_ms": lane.iterator_age_ms,
    }


def resumed(settings: MappingSettings, kept: Mapping[int, Mapping[str, Any]]) -> MappingState:
    """The state to go on from, of what was kept of each shard by its number.

    With another ParallelizationFactor than before, a shard goes on where the lane that is furthest behind was.
    """
    shards: dict[int, ShardState] = {}
    for number, form in kept.items():
        if form == FINISHED:
            continue
        lanes_kept = [_lane_of(fields) for fields in form["lanes"]]
        if len(lanes_kept) != settings.parallelization_factor:
            through = min(lane.through for lane in lanes_kept)
            lanes_kept = [Lane(through)] * settings.parallelization_factor
        shards[number] = ShardState(number, tuple(lanes_kept), min(lane.through for lane in lanes_kept))
    return MappingState(shards=shards, finished=frozenset(kept) - frozenset(shards))


def _lane_of(fields: Mapping[str, Any]) -> Lane:
    window = fields["window"]
    return Lane(
        through=fields["through"],
        kept=tuple(KeptPiece(*piece) for piece in fields["pieces"]),
        was_running=fields["is_running"],
        window=None if window is None else TumblingWindow(window[0], window[1].encode(), window[2]),
        iterator_age_ms=fields["iterator_age_ms"],
    )


def started_at(settings: MappingSettings, through: int) -> dict[str, Any]:
    """What is kept of a shard that begins after a position."""
    return kept_form(ShardState(0, (Lane(through),) * settings.parallelization_factor, through))
