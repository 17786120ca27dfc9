"""Every interleaving of a few records and faults, and random ones of many.

Held in every state: a lane delivers one piece at a time, always the oldest records that are not settled yet, without
a gap; a record is settled once, by an acknowledgement or by giving up on it; nothing is left when nothing is due.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from afterwrite.core.event_source_mapping.lane import Deliver
from afterwrite.core.event_source_mapping.mapping import (
    Event,
    Failed,
    Fetch,
    Fetched,
    Listed,
    ListedShard,
    MappingState,
    Returned,
    ShardState,
    Throttled,
    Tick,
    kept_form,
    resumed,
    step,
)
from afterwrite.core.event_source_mapping.parameters import MappingSettings, settings_of
from afterwrite.core.event_source_mapping.records import Record
from afterwrite.core.event_source_mapping.responses import Verdict
from afterwrite.core.json_text import dumps, loads

START_MS = 1_700_000_000_000
SHARD = ListedShard(1, "shard", (), 0)
EVERY_SETTING: list[dict[str, Any]] = [
    {"ParallelizationFactor": factor, "BatchSize": size, "BisectBatchOnFunctionError": bisects}
    | {"MaximumRetryAttempts": retries, "FunctionResponseTypes": responses}
    for factor in (1, 2)
    for size in (2, 4)
    for bisects in (False, True)
    for retries in (0, 1)
    for responses in ([], ["ReportBatchItemFailures"])
]


@dataclass(frozen=True, slots=True)
class World:
    """A mapping and what has become of the records so far. `written` of `records` are there."""

    settings: MappingSettings
    records: tuple[Record, ...]
    written: int
    faults: int
    now_ms: int
    shards: tuple[ShardState, ...] = ()
    running: tuple[tuple[int, tuple[int, ...]], ...] = ()
    acknowledged: frozenset[int] = frozenset()
    given_up: frozenset[int] = frozenset()

    @property
    def state(self) -> MappingState:
        return MappingState((SHARD,), {shard.number: shard for shard in self.shards})

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return not self.running and self.state.due_ms is None and self.written == len(self.records)

    def unsettled(self, lane: int) -> list[int]:
        """The lane's admitted records that are written and not settled, in order."""
        settled = self.acknowledged | self.given_up
        return [
            record.position
            for record in self.records[: self.written]
            if record.lane == lane and record.is_admitted and record.position not in settled
        ]

    def after(self, event: Event) -> World:
        """The world after an event, with everything read that there is."""
        state, actions = step(self.settings, self.state, event, self.now_ms)
        world = replace(self, shards=tuple(state.shards.values()))
        fetches = []
        for action in actions:
            if isinstance(action, Fetch):
                fetches.append(action)
                continue
            positions = tuple(record.position for record in action.action.records)
            oldest = world.unsettled(action.lane)[: len(positions)]
            assert list(positions) == oldest, "the oldest records that are not settled, without a gap"
            if isinstance(action.action, Deliver):
                assert action.lane not in dict(world.running), "one piece at a time"
                world = replace(world, running=tuple(sorted((*world.running, (action.lane, positions)))))
            else:
                assert not world.given_up & set(positions)
                world = replace(world, given_up=world.given_up | set(positions))
        for fetch in fetches:
            found = [each for each in world.records[: world.written] if each.position > fetch.after]
            through = found[-1].position if found else fetch.after
            world = world.after(Fetched(1, found, through))
        return world

    def settled(self, lane: int, event: Event, acknowledged: tuple[int, ...], faults: int) -> World:
        """The world after a lane's invocation has ended, of which some records were acknowledged."""
        world = replace(
            self,
            running=tuple(each for each in self.running if each[0] != lane),
            acknowledged=self.acknowledged | set(acknowledged),
            faults=self.faults - faults,
        )
        return world.after(event)

    def restarted(self) -> World:
        kept = {shard.number: loads(dumps(kept_form(shard))) for shard in self.shards}
        state = resumed(self.settings, kept)
        world = replace(self, shards=tuple(state.shards.values()), running=(), faults=self.faults - 1)
        return world.after(Listed((SHARD,))).after(Tick())

    def next(self) -> Iterator[World]:
        """Every world that may come of this one."""
        if self.written < len(self.records):
            yield replace(self, written=self.written + 1).after(Tick())
        for lane, positions in self.running:
            yield self.settled(lane, Returned(1, lane, Verdict(None)), positions, 0)
            if self.faults:
                yield self.settled(lane, Failed(1, lane), (), 1)
                yield self.settled(lane, Throttled(1, lane), (), 1)
                if self.settings.reports_item_failures:
                    for index in range(len(positions)):
                        yield self.settled(lane, Returned(1, lane, Verdict(index)), positions[:index], 1)
        if self.faults:
            yield self.restarted()
        due_ms = self.state.due_ms
        if due_ms is not None:
            yield replace(self, now_ms=max(self.now_ms, due_ms)).after(Tick())

    def check_end(self) -> None:
        """Nothing happens any more: every record is settled, each once."""
        assert not self.acknowledged & self.given_up
        for lane in range(self.settings.parallelization_factor):
            assert self.unsettled(lane) == []
        assert self.shards[0].read_through == self.records[-1].position


def begin(parameters: dict[str, Any], lanes: list[int], admitted: list[bool], faults: int) -> World:
    settings = settings_of(parameters, "dynamodb")  # type: ignore[arg-type]
    records = tuple(
        Record(position, lane % settings.parallelization_factor, str(position), START_MS, b"{}", is_admitted)
        for position, (lane, is_admitted) in enumerate(zip(lanes, admitted, strict=True), 1)
    )
    return World(settings, records, 0, faults, START_MS).after(Listed((SHARD,)))


def explore(world: World) -> int:
    """Visit every world that may come of this one; how many there are."""
    seen = {world}
    waiting = [world]
    while waiting:
        here = waiting.pop()
        following = list(here.next())
        if here.is_over:
            here.check_end()
        for each in following:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return len(seen)


def test_every_interleaving_of_four_records_in_two_lanes_with_two_faults() -> None:
    states = sum(explore(begin(parameters, [0, 1, 0, 1], [True] * 4, 2)) for parameters in EVERY_SETTING)
    print(f"{states} states of {len(EVERY_SETTING)} settings")
    assert states > 20_000


def test_every_interleaving_with_records_that_the_filter_leaves_out() -> None:
    parameters = {"ParallelizationFactor": 2, "MaximumRetryAttempts": 0, "BisectBatchOnFunctionError": True}
    assert explore(begin(parameters, [0, 0, 1, 0], [True, False, False, True], 2)) > 50


@pytest.mark.parametrize("seed", range(40))
def test_random_worlds_of_many_records_come_to_an_end(seed: int) -> None:
    chosen = random.Random(seed)
    count = chosen.randrange(5, 60)
    parameters = chosen.choice(EVERY_SETTING) | {
        "BatchSize": chosen.randrange(1, 20),
        "ParallelizationFactor": chosen.randrange(1, 5),
        "MaximumRetryAttempts": chosen.randrange(0, 4),
    }
    lanes = [chosen.randrange(4) for _ in range(count)]
    world = begin(parameters, lanes, [chosen.random() < 0.9 for _ in range(count)], faults=30)
    for _ in range(5_000):
        following = list(world.next())
        if world.is_over and not world.faults:
            world.check_end()
            return
        world = chosen.choice(following) if following else replace(world, faults=0)
    raise AssertionError("it does not come to an end")
