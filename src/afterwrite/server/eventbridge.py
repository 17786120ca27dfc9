"""EventBridge on the wire: events put on the app's buses. An event from outside is a lane of its own.

Replays are in `eventbridge_replays`; what the app declares is shown by `eventbridge_buses`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from afterwrite.app import Bus
from afterwrite.config import Identity
from afterwrite.core import json_text
from afterwrite.core.effects import RESERVED_SOURCE, PutEvent, StampedEffect
from afterwrite.core.placements import Placement
from afterwrite.core.times import iso_seconds
from afterwrite.errors import ServiceError
from afterwrite.server import eventbridge_constraints
from afterwrite.server.eventbridge_buses import Buses
from afterwrite.server.eventbridge_replays import Replays, time_ms
from afterwrite.server.eventbridge_requests import DEFAULT_BUS, Arns, Body, last_part
from afterwrite.server.placing import Placing
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.prepared import Prepared, Write, unknown_operation
from afterwrite.table import fields

_ENTRIES_MAX: Final = 10
_ENTRIES_BYTES_MAX: Final = 1 << 20
_TIME_BYTES: Final = 14
_DETAIL_TYPE_CHARACTERS_MAX: Final = 128


class EventBridgeService:
    """AWSEvents. `now_ms` is the engine's clock."""

    target = "AWSEvents"
    error_prefix = ""
    content_type = "application/x-amz-json-1.1"

    def __init__(
        self,
        buses: Sequence[Bus],
        placing: Placing,
        identity: Identity,
        now_ms: Callable[[], int],
    ) -> None:
        self._buses = {bus.name: bus for bus in buses}
        self._placing = placing
        self._identity = identity
        self._now_ms = now_ms
        arns = Arns(identity)
        self._by_name: Mapping[str, Callable[[Body], Prepared]] = {
            "PutEvents": self._put_events,
            **Replays(self._buses, arns).operations(),
            **Buses(self._buses, arns).operations(),
        }

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        operation = self._by_name.get(name)
        if operation is None:
            raise unknown_operation(name)
        eventbridge_constraints.check(name, body)
        return operation(body)

    def _put_events(self, body: Body) -> Write:
        entries = _entries(body)
        placements: list[Placement] = []
        results: list[Mapping[str, str]] = []
        for entry in entries:
            event_id = str(uuid.uuid4())
            try:
                placements.extend(self._placed(entry, event_id))
            except ServiceError as error:
                results.append({"ErrorCode": error.code, "ErrorMessage": error.message})
            else:
                results.append({"EventId": event_id})
        failed = sum("ErrorCode" in result for result in results)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            self._placing.put(transaction, placements)
            return {"FailedEntryCount": failed, "Entries": results}

        return Write(run)

    def _placed(self, entry: Mapping[str, Any], event_id: str) -> Sequence[Placement]:
        source, detail_type = _entry_text(entry, "Source"), _entry_text(entry, "DetailType")
        if len(detail_type) > _DETAIL_TYPE_CHARACTERS_MAX:
            raise _invalid_entry("DetailType", f"It has more than {_DETAIL_TYPE_CHARACTERS_MAX} characters")
        detail_text = _entry_text(entry, "Detail")
        if source.startswith(RESERVED_SOURCE):
            raise ServiceError("NotAuthorizedForSourceException", "Not authorized for the source.")
        detail = _detail(detail_text)
        bus = last_part(str(entry.get("EventBusName") or DEFAULT_BUS))
        if bus not in self._buses:
            # The service takes the event and drops it, which would hide a name that is wrong.
            raise _invalid_entry("EventBusName", f"Event bus {bus} does not exist: declare it in the app")
        at_ms = self._now_ms()
        event_ms = at_ms if entry.get("Time") is None else _entry_time_ms(entry)
        event = {
            "version": "0",
            "id": event_id,
            "detail-type": detail_type,
            "source": source,
            "account": self._identity.account_id,
            "time": iso_seconds(event_ms),
            "region": self._identity.region,
            "resources": _resources(entry),
            "detail": detail,
        }
        stamped = StampedEffect(event_id, event_id, at_ms, PutEvent(bus, source, detail_type, detail))
        try:
            return self._placing.place_event(bus, event, stamped)
        except TypeError as error:
            raise ServiceError("MalformedDetail", f"Detail is malformed: {error}.") from None


def _entries(body: Body) -> list[Mapping[str, Any]]:
    """The entries of PutEvents (S29). Raises what is wrong with all of them together."""
    entries = body.get("Entries")
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise ServiceError("ValidationException", "expected a list of entries as Entries")
    fields.check_length(len(entries), "Entries", 1, _ENTRIES_MAX, f"[{len(entries)} entries]")
    if sum(map(_size_bytes, entries)) > _ENTRIES_BYTES_MAX:
        raise ServiceError("ValidationException", "Total size of the entries in the request is over the limit.")
    return entries


def _size_bytes(entry: Mapping[str, Any]) -> int:
    texts = [entry.get(field) for field in ("Source", "DetailType", "Detail")]
    resources = entry.get("Resources")
    texts.extend(resources if isinstance(resources, list) else [])
    return sum(len(each.encode()) for each in texts if isinstance(each, str)) + _TIME_BYTES * ("Time" in entry)


def _invalid_entry(field: str, reason: str) -> ServiceError:
    return ServiceError("InvalidArgument", f"Parameter {field} is not valid. Reason: {reason}.")


def _entry_text(entry: Mapping[str, Any], field: str) -> str:
    value = entry.get(field)
    if not isinstance(value, str) or not value:
        raise _invalid_entry(field, f"{field} is a required argument")
    return value


def _entry_time_ms(entry: Mapping[str, Any]) -> int:
    try:
        return time_ms(entry, "Time")
    except ServiceError as error:
        raise _invalid_entry("Time", error.message) from None


def _detail(text: str) -> Mapping[str, Any]:
    try:
        detail = json_text.loads_exactly(text.encode())
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        raise ServiceError("MalformedDetail", "Detail is malformed.")
    return detail


def _resources(entry: Mapping[str, Any]) -> list[str]:
    resources = entry.get("Resources") or []
    if not isinstance(resources, list) or not all(isinstance(each, str) for each in resources):
        raise _invalid_entry("Resources", "expected a list of texts")
    return resources
