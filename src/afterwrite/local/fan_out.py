"""Where effects go: a topic's subscriptions, a bus's rules and archive, queues, functions, buffers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, Final

from afterwrite.app import App, Bus, DeliveryStream, Function, Queue, Topic
from afterwrite.config import Identity
from afterwrite.core import json_text
from afterwrite.core.effects import (
    Append,
    Deliver,
    Enqueue,
    Index,
    Invoke,
    Publish,
    PutEvent,
    Show,
    StampedEffect,
    stamp,
)
from afterwrite.core.lanes import with_lane
from afterwrite.core.pipes import Pipe
from afterwrite.core.placements import Placement, ToArchive, ToBuffer, ToQueue
from afterwrite.core.ports import Delivery
from afterwrite.core.times import iso_seconds
from afterwrite.core.uuids import uuid_of
from afterwrite.errors import DeclarationError
from afterwrite.local.file_buffers import audit_buffer, lake_buffer
from afterwrite.store import queues

# What the class does when it is called, in half the time: most changes lead to a record or two.
_to_buffer: Final = partial(tuple.__new__, ToBuffer)


class FanOut:
    """An app's declaration, as the function from an effect to its placements."""

    def __init__(self, app: App, identity: Identity) -> None:
        self._identity = identity
        self._topics: Mapping[str, Topic] = {topic.name: topic for topic in app.topics}
        self._buses: Mapping[str, Bus] = {bus.name: bus for bus in app.buses}
        self._queues = {queue.name for queue in app.queues}
        self._functions: Mapping[str, Function] = {function.name: function for function in app.functions}
        self._streams = {stream.name: lake_buffer(stream.name) for stream in app.delivery_streams}
        self._logs = {log.name: (audit_buffer(log.name), log.forgettable) for log in app.audit_logs}
        self._indexes = {index.name: index.function.queue_name for index in app.search_indexes}
        self._caches = {cache.name: cache.function.queue_name for cache in app.caches}
        self._place_by_type: Mapping[type, Callable[[StampedEffect, Any], Sequence[Placement]]] = {
            Publish: self._publish,
            PutEvent: self._put_event,
            Enqueue: self._enqueue,
            Invoke: self._invoke,
            Deliver: self._deliver,
            Append: self._append,
            Show: self._show,
            Index: self._index,
        }

    def place(self, stamped: StampedEffect) -> Sequence[Placement]:
        """Where the effect goes. Raises DeclarationError for a target that the app does not declare."""
        return self._place_by_type[type(stamped.effect)](stamped, stamped.effect)

    def _publish(self, stamped: StampedEffect, effect: Publish) -> Sequence[Placement]:
        topic = _declared(self._topics, "topic", effect.topic)
        text: bytes | None = None
        placements: list[Placement] = []
        for subscription in topic.subscriptions:
            policy = subscription.filter_policy
            if policy is not None and not policy.matches(effect.attributes, effect.message):
                continue
            if text is None:
                text = _message(stamped, effect.message, subject=effect.subject, attributes=effect.attributes)
            placements.append(ToQueue(subscription.queue.name, stamped.lane, text))
        return placements

    def _put_event(self, stamped: StampedEffect, effect: PutEvent) -> Sequence[Placement]:
        event = {
            "version": "0",
            "id": uuid_of(stamped.id),
            "detail-type": effect.detail_type,
            "source": effect.source,
            "account": self._identity.account_id,
            "time": iso_seconds(stamped.at_ms),
            "region": self._identity.region,
            "resources": [],
            "detail": effect.detail,
        }
        return self.place_event(effect.bus, event, stamped)

    def place_event(self, bus_name: str, event: Mapping[str, Any], stamped: StampedEffect) -> Sequence[Placement]:
        """Where an event goes: by the bus's rules, and into its archive."""
        bus = _declared(self._buses, "bus", bus_name)
        text = json_text.dumps(event)
        placements: list[Placement] = list(self.deliver_event(bus.name, json_text.loads(text), stamped))
        if bus.archive_days is not None:
            # By the event's own time, which whoever put it may have set: a replay finds it by that (S30).
            time_ms = int(datetime.fromisoformat(event["time"]).timestamp()) * 1000
            # A lane of its own is told from the event.
            kept = text if stamped.lane == event["id"] else with_lane(stamped.lane, text)
            placements.append(ToArchive(bus.name, time_ms, kept, bus.archive_days))
        return placements

    def deliver_event(
        self, bus_name: str, event: Mapping[str, Any], stamped: StampedEffect, only: Sequence[str] = ()
    ) -> Iterator[Placement]:
        """Where an event goes by the bus's rules, or by those of them that are named in `only`, where any are.

        `stamped` gives the id, the lane and the time.
        """
        for rule in _declared(self._buses, "bus", bus_name).rules:
            if (only and rule.name not in only) or not rule.pattern.matches(event):
                continue
            for target in rule.targets:
                target_id = f"{stamped.id}/{rule.name}/{target.name}"
                if isinstance(target, DeliveryStream):
                    text = json_text.dumps(event)
                    yield ToBuffer(self._streams[target.name], target_id, stamped.at_ms, text)
                else:
                    queue = target.name if isinstance(target, Queue) else target.queue_name
                    text = _message(stamped, event, message_id=target_id)
                    yield ToQueue(queue, stamped.lane, text)

    def _enqueue(self, stamped: StampedEffect, effect: Enqueue) -> Sequence[Placement]:
        if effect.queue not in self._queues:
            raise _undeclared("queue", effect.queue)
        return [ToQueue(effect.queue, stamped.lane, _message(stamped, effect.body), effect.delay_ms)]

    def _invoke(self, stamped: StampedEffect, effect: Invoke) -> Sequence[Placement]:
        function = _declared(self._functions, "function", effect.function)
        return [ToQueue(function.queue_name, stamped.lane, _message(stamped, effect.request))]

    def _deliver(self, stamped: StampedEffect, effect: Deliver) -> Sequence[Placement]:
        buffer = _declared(self._streams, "delivery stream", effect.stream)
        return [_to_buffer((buffer, stamped.id, stamped.at_ms, json_text.dumps(effect.record)))]

    def _append(self, stamped: StampedEffect, effect: Append) -> Sequence[Placement]:
        buffer, forgettable = _declared(self._logs, "audit log", effect.log)
        text = json_text.dumps(effect.entry)
        if forgettable:
            text = with_lane(stamped.lane, text)
        return [_to_buffer((buffer, stamped.id, stamped.at_ms, text))]

    def _show(self, stamped: StampedEffect, effect: Show) -> Sequence[Placement]:
        queue = _declared(self._caches, "cache", effect.cache)
        return [ToQueue(queue, stamped.lane, _message(stamped, {**asdict(effect), "at_ms": stamped.at_ms}))]

    def _index(self, stamped: StampedEffect, effect: Index) -> Sequence[Placement]:
        queue = _declared(self._indexes, "search index", effect.index)
        return [ToQueue(queue, stamped.lane, _message(stamped, {**asdict(effect), "at_ms": stamped.at_ms}))]


def piped(pipe: Pipe, fan_out: FanOut) -> Callable[[Delivery, Any], Sequence[Placement]]:
    """The function from what a pipe's enrichment has answered to where that goes."""

    def leads_to(delivery: Delivery, enriched: Any) -> Sequence[Placement]:
        record = delivery.payload
        change_id, route, _ = delivery.message_id.rsplit("/", 2)
        effects = pipe.effects(record, enriched)
        at_ms = int(record["dynamodb"]["ApproximateCreationDateTime"] * 1000)
        stamped = stamp(effects, change_id=f"{change_id}/{route}", route="enriched", lane=delivery.lane, at_ms=at_ms)
        return [placement for each in stamped for placement in fan_out.place(each)]

    return leads_to


def _message(
    stamped: StampedEffect,
    body: Any,
    *,
    message_id: str | None = None,
    subject: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> bytes:
    return queues.encode(
        queues.Message(
            id=message_id or stamped.id,
            body=body,
            lane=stamped.lane,
            sent_at_ms=stamped.at_ms,
            subject=subject,
            attributes=attributes,
        )
    )


def _declared(declared: Mapping[str, Any], kind: str, name: str) -> Any:
    try:
        return declared[name]
    except KeyError:
        raise _undeclared(kind, name) from None


def _undeclared(kind: str, name: str) -> DeclarationError:
    return DeclarationError(f"expected a {kind} that this app declares, got {name!r}: declare it on the same App")
