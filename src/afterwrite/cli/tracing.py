"""What became of a change: whether its routes have run, and where each of their effects has come to.

A route is pure, so what it asked for is known by running it again; where that went, the store tells. Every look goes
from where something is at first to where it goes next, so that what moves meanwhile is never missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from afterwrite.app import App, lanes_of
from afterwrite.config import Identity
from afterwrite.core import json_text
from afterwrite.core.changes import Change
from afterwrite.core.effects import StampedEffect
from afterwrite.core.placements import Placement, ToArchive, ToBuffer
from afterwrite.core.routes import Router
from afterwrite.inspection import DataReader
from afterwrite.local.fan_out import FanOut

ChangeState: TypeAlias = Literal["waiting", "processed", "parked", "written"]
"""Its routes have not had it yet; they have run; one failed on it, or on an earlier change of its lane; its table has
none."""

FateState: TypeAlias = Literal[
    "waiting", "running", "done", "dead letter", "unknown", "buffered", "written", "archived"
]
"""Of a message: waits, is worked on, is done, failed for good, or has no record any more. Of a record that goes to
files: waits in the buffer, is in the files. Of an event: is in the archive."""


@dataclass(frozen=True, slots=True)
class Fate:
    """One place that an effect went to, and where it has come to there.

    `attempts` counts those of a function, where its record says; `reason` is a dead letter's.
    """

    target: str
    state: FateState
    attempts: int | None = None
    reason: str | None = None
    consumed: bool = True

    @property
    def moving(self) -> bool:
        """Whether more is expected within moments: the engine works on it."""
        return self.state in ("waiting", "running") and self.consumed

    @property
    def settled(self) -> bool:
        """Whether nothing more is expected: done, failed for good, or waiting for somebody outside."""
        return not self.moving and self.state != "buffered"


@dataclass(frozen=True, slots=True)
class TracedEffect:
    """An effect of a change: its id, its type, what it was for, and what became of it at each place."""

    id: str
    type: str
    target: str
    fates: tuple[Fate, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """What became of a change. `effects` is None where that cannot be said; `error` tells why the change is parked,
    or why its effects cannot be told."""

    state: ChangeState
    error: str | None = None
    effects: tuple[TracedEffect, ...] | None = None

    @property
    def moving(self) -> bool:
        """Whether more is expected within moments. What is buffered for files may wait for minutes."""
        return self.state == "waiting" or any(fate.moving for fate in self._fates())

    @property
    def settled(self) -> bool:
        """Whether nothing more is expected."""
        return self.state != "waiting" and all(fate.settled for fate in self._fates())

    def _fates(self) -> Iterator[Fate]:
        return (fate for effect in self.effects or () for fate in effect.fates)


class Tracer:
    """Traces changes; `app` is what runs in the engine, None where effects are of no interest."""

    def __init__(self, reader: DataReader, app: App | None, identity: Identity) -> None:
        self._reader = reader
        self._routers: Mapping[str, tuple[Router, Callable[[Change], str]]] = {}
        self._place: Callable[[StampedEffect], Sequence[Placement]] | None = None
        if app is not None:
            self._routers = {table.name: (table.router(), lanes_of(table)) for table in app.tables}
            self._place = FanOut(app, identity).place
        self._routed = frozenset(reader.positions())
        self._functions = {each.name: each.function for each in reader.status().queues}
        self._dead_letter_queues = {each.name: each.dead_letter_queue for each in reader.status().queues}
        self.refresh()

    def refresh(self) -> None:
        """Look at the store anew; until the next time, positions, parked changes and buffers are taken as they are."""
        self._positions: dict[str, int] = {}
        self._parked: dict[str, Mapping[int, str | None]] = {}
        self._buffered: dict[str, frozenset[str]] = {}

    def trace(self, position: int, change: Change) -> Trace:
        """What has become of the change at `position` of the log."""
        table = change.table
        if table not in self._routed:
            return Trace("written")
        if table not in self._positions:
            self._positions[table] = self._reader.position(table)
        if position > self._positions[table]:
            return Trace("waiting")
        if table not in self._parked:
            self._parked[table] = {each.position: each.error for each in self._reader.parked(table)}
        if position in self._parked[table]:
            return Trace("parked", self._parked[table][position] or "waits behind an earlier change of its lane")
        if self._place is None or table not in self._routers:
            return Trace("processed")
        router, lane_of = self._routers[table]
        lane = lane_of(change)
        try:
            planned = [(stamped, self._place(stamped)) for stamped in router.plan(change, lane)]
        except Exception as error:  # noqa: BLE001 - the app's code, which may have changed since
            return Trace("processed", f"the app's routes as they are now fail on it: {type(error).__name__}: {error}")
        return Trace("processed", None, tuple(self._effect(*each) for each in planned))

    def _effect(self, stamped: StampedEffect, placements: Iterable[Placement]) -> TracedEffect:
        # An effect's first field is its target: a topic, a bus, a queue, a delivery stream, a log, a function.
        target = getattr(stamped.effect, fields(stamped.effect)[0].name)
        fates = tuple(self._fate(placement) for placement in placements)
        return TracedEffect(stamped.id, type(stamped.effect).__name__, target, fates)

    def _fate(self, placement: Placement) -> Fate:
        if isinstance(placement, ToArchive):
            return Fate(f"archive/{placement.bus}", "archived")
        if isinstance(placement, ToBuffer):
            buffer = placement.buffer
            if buffer not in self._buffered:
                self._buffered[buffer] = frozenset(self._reader.buffered_ids(buffer))
            return Fate(buffer, "buffered" if placement.id in self._buffered[buffer] else "written")
        message: Mapping[str, Any] = json_text.loads(placement.text)
        return self._message(placement.queue, placement.lane, message["id"])

    def _message(self, queue: str, lane: str, message_id: str) -> Fate:
        function = self._functions.get(queue)
        if queue not in self._dead_letter_queues:  # the app may declare more than the engine that runs
            return Fate(queue, "unknown")
        if any(message.id == message_id for message in self._reader.messages(queue, lane)):
            record = None if function is None else self._reader.completion(function, message_id)
            if record is not None and not record.done:
                return Fate(queue, "running", record.attempts)
            return Fate(queue, "waiting", consumed=function is not None)
        for message in self._reader.messages(self._dead_letter_queues[queue], lane):
            if message.id == message_id:
                attributes = message.attributes
                attempts, reason = attributes.get("dead_letter_receive_count"), attributes.get("dead_letter_reason")
                return Fate(queue, "dead letter", attempts, reason)
        record = None if function is None else self._reader.completion(function, message_id)
        return Fate(queue, "unknown") if record is None else Fate(queue, "done", record.attempts)
