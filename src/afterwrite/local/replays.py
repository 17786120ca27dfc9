"""Replays of a bus's archive: the events of a time range are delivered again by the rules, with a `replay-name`.

A replay is worked off in portions, each one transaction with the replay's place in the archive, so that it goes
on after a crash where it was, and delivers nothing twice. One that is cancelled ends before its next portion. An
event is delivered in the lane that it was put in: those of a lane come in order, behind what waits there already.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from afterwrite.core.effects import PutEvent, StampedEffect
from afterwrite.core.uuids import uuid_of
from afterwrite.errors import DeclarationError
from afterwrite.local.fan_out import FanOut
from afterwrite.local.steps import put_all
from afterwrite.store import archive, replays
from afterwrite.store.archive import Archived
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.replays import Replay

_EVENTS_A_COMMIT: Final = 200


class ReplayWork:
    """The unit of work that carries replays out."""

    name = "replays"

    def __init__(self, environment: Environment, fan_out: FanOut) -> None:
        self._environment = environment
        self._fan_out = fan_out

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be something to do."""
        self._environment.signals.watch([replays.SIGNAL], event)

    def run_once(self) -> float | None:
        """Deliver the next portion of an unfinished replay, or end it; None where there is none."""
        with self._environment.read() as transaction:
            unfinished = replays.unfinished(transaction)
        if unfinished is None:
            return None
        name = unfinished.name
        try:
            self._environment.write(lambda transaction: self._go_on(transaction, name))
        except (DeclarationError, TypeError) as error:
            reason = str(error)
            self._environment.write(lambda transaction: _end(transaction, name, replays.FAILED, reason))
        return 0.0

    def _go_on(self, transaction: WriteTransaction, name: str) -> None:
        # As it is now: it may have been cancelled since it was looked for.
        replay = replays.described(transaction, name)
        if replay.state == replays.CANCELLING:
            _end(transaction, name, replays.CANCELLED)
        else:
            self._deliver(transaction, replay)

    def _deliver(self, transaction: WriteTransaction, replay: Replay) -> None:
        place = bytes.fromhex(replay.place)
        portion: list[Archived] = []
        for each in archive.read(transaction, replay.bus, replay.from_ms, replay.to_ms, after=place):
            portion.append(each)
            if len(portion) == _EVENTS_A_COMMIT:
                break
        deliveries = [self._deliver_event(transaction, replay, archived) for archived in portion]
        finished = len(portion) < _EVENTS_A_COMMIT
        moved = replace(
            replay,
            state=replays.COMPLETED if finished else replays.RUNNING,
            place=portion[-1].place.hex() if portion else replay.place,
            events=replay.events + len(portion),
            unmatched=replay.unmatched + deliveries.count(0),
            deliveries=replay.deliveries + sum(deliveries),
            ended_at_ms=transaction.now_ms if finished else None,
        )
        replays.keep(transaction, moved)

    def _deliver_event(self, transaction: WriteTransaction, replay: Replay, archived: Archived) -> int:
        """Deliver an event to the targets of the rules that match it; how many there were."""
        # Another delivery than the first, so another id of the message, and of the event as well (S30).
        event = archived.event
        delivery_id = f"{event['id']}/{replay.name}"
        replayed = _replayed(event, uuid_of(delivery_id), replay.name)
        stamped = StampedEffect(
            id=delivery_id,
            lane=archived.lane or f"{replay.bus}/{event['id']}",
            at_ms=transaction.now_ms,
            effect=PutEvent(replay.bus, event["source"], event["detail-type"], event["detail"]),
        )
        placements = list(self._fan_out.deliver_event(replay.bus, replayed, stamped, replay.rules))
        put_all(transaction, placements)
        return len(placements)


def _replayed(event: Mapping[str, Any], event_id: str, name: str) -> Mapping[str, Any]:
    """The event as a replay delivers it, its fields in the order in which the service has them."""
    replayed: dict[str, Any] = {}
    for field, value in event.items():
        replayed[field] = value
        if field == "region":
            replayed["replay-name"] = name
    return {**replayed, "id": event_id, "replay-name": name}


def _end(transaction: WriteTransaction, name: str, state: str, reason: str | None = None) -> None:
    """Record that a replay has ended before its end."""
    replay = replays.described(transaction, name)
    replays.keep(transaction, replace(replay, state=state, reason=reason, ended_at_ms=transaction.now_ms))
