"""EventBridge's operations on replays of archives: started, looked at, cancelled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from afterwrite.app import Bus
from afterwrite.errors import ServiceError
from afterwrite.server import eventbridge_requests as requests
from afterwrite.server.eventbridge_requests import Arns, Body, invalid, last_part, not_found
from afterwrite.store import archive, replays
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.prepared import Prepared, Read, Write
from afterwrite.store.replays import Replay
from afterwrite.store.tables import Catalog
from afterwrite.table import fields

# The end of the year 9999: no event can tell of a later time.
_TIME_S_MAX: Final = 253_402_300_800


class Replays:
    """The replays that the wire knows, of the archives of `buses`."""

    def __init__(self, buses: Mapping[str, Bus], arns: Arns) -> None:
        self._buses = buses
        self._arns = arns

    def operations(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations by name."""
        return {
            "StartReplay": self._start,
            "DescribeReplay": self._describe,
            "ListReplays": self._list,
            "CancelReplay": self._cancel,
        }

    def _start(self, body: Body) -> Write:
        name, bus = body["ReplayName"], self._bus(body)
        # The service counts in whole seconds, as its events' times do.
        from_ms, to_ms = (time_ms(body, field) // 1000 * 1000 for field in ("EventStartTime", "EventEndTime"))
        description, rules = fields.text(body, "Description"), self._rules(bus, body["Destination"])

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            now_ms = transaction.now_ms
            replay = Replay(name, bus.name, from_ms, to_ms, now_ms, description=description, rules=rules)
            replays.start(transaction, replay)
            return {"ReplayArn": self._arns.replay(name), "ReplayStartTime": now_ms / 1000, "State": replay.state}

        return Write(run)

    def _bus(self, body: Body) -> Bus:
        """The bus that the request names as the destination, which the archive has to be of."""
        arn = body["EventSourceArn"]
        _, found, source = arn.partition(":archive/")
        if not found:
            raise invalid("EventSourceArn", f"expected an archive's ARN (…:archive/NAME), got {arn}")
        bus = self._buses.get(last_part(body["Destination"]["Arn"]))
        if bus is None:
            raise not_found(f"Event bus {last_part(body['Destination']['Arn'])}")
        if source not in self._buses or self._buses[source].archive_days is None:
            raise invalid("EventSourceArn", f"Archive {source} does not exist.")
        if source != bus.name:
            raise invalid("Destination.Arn", "Cross event bus replay is not permitted.")
        return bus

    def _rules(self, bus: Bus, destination: Body) -> Sequence[str]:
        """The names of the rules that the replay is for; none for all of them."""
        by_arn = {self._arns.rule(bus.name, rule.name): rule.name for rule in bus.rules}
        wanted = fields.texts(destination, "FilterArns") or []
        for arn in wanted:
            if arn not in by_arn:
                raise invalid("Destination.FilterArns", f"Rule {arn} does not exist on EventBus {bus.name}.")
        return [by_arn[arn] for arn in wanted]

    def _describe(self, body: Body) -> Read:
        name = body["ReplayName"]

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            return orjson.dumps(self._description(replays.described(transaction, name)))

        return Read(run)

    def _list(self, body: Body) -> Read:
        requests.check_one_filter("ListReplays", body)
        state, source = fields.text(body, "State"), fields.text(body, "EventSourceArn")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> Mapping[str, Any]:
            wanted = {
                replay.name: replay
                for replay in replays.started(transaction)
                if state in (None, replay.state) and source in (None, self._arns.archive(replay.bus))
            }
            found, token = requests.page_by_prefix(body, wanted)
            return {"Replays": [self._summary(replay) for replay in found], **token}

        return Read(run)

    def _cancel(self, body: Body) -> Write:
        name = body["ReplayName"]

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            replay = replays.cancel(transaction, name)
            return {"ReplayArn": self._arns.replay(name), "State": replay.state}

        return Write(run)

    def _summary(self, replay: Replay) -> dict[str, Any]:
        """What a list says of a replay."""
        times_ms = {
            "EventStartTime": replay.from_ms,
            "EventEndTime": replay.to_ms,
            "EventLastReplayedTime": _minute_ms(replay.place) if replay.place else None,
            "ReplayStartTime": replay.started_at_ms,
            "ReplayEndTime": replay.ended_at_ms,
        }
        return {
            "ReplayName": replay.name,
            "EventSourceArn": self._arns.archive(replay.bus),
            "State": replay.state,
            **({} if replay.reason is None else {"StateReason": replay.reason}),
            **{name: at_ms / 1000 for name, at_ms in times_ms.items() if at_ms is not None},
        }

    def _description(self, replay: Replay) -> Mapping[str, Any]:
        destination: dict[str, Any] = {"Arn": self._arns.bus(replay.bus)}
        if replay.rules:
            destination["FilterArns"] = [self._arns.rule(replay.bus, name) for name in replay.rules]
        return {
            **self._summary(replay),
            **({} if replay.description is None else {"Description": replay.description}),
            "ReplayArn": self._arns.replay(replay.name),
            "Destination": destination,
            # No members of AWS's: how many events of the archive have been taken so far, how many of them no rule
            # matched, and how often one went to a target.
            "EventsReplayed": replay.events,
            "EventsUnmatched": replay.unmatched,
            "Deliveries": replay.deliveries,
        }


def _minute_ms(place: str) -> int:
    """The minute of the event at a place of an archive: the service replays minute by minute."""
    return archive.time_ms(bytes.fromhex(place)) // 60_000 * 60_000


def time_ms(body: Body, field: str) -> int:
    """A required time."""
    value = body.get(field)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < _TIME_S_MAX:
        raise ServiceError("ValidationException", f"expected seconds since the epoch as {field}, got {value!r}")
    return int(value * 1000)
