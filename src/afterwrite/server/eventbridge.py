"""EventBridge on the wire: events put on the app's buses, and replays of a bus's archive.

Each archived bus has one archive, named like the bus. An event from outside is a lane of its own.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.core import json_text
from afterwrite.core.effects import PutEvent, StampedEffect
from afterwrite.core.placements import Placement
from afterwrite.errors import ServiceError
from afterwrite.server.placing import Placing
from afterwrite.store import replays
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.prepared import Prepared, Read, Write, unknown_operation
from afterwrite.store.replays import Replay
from afterwrite.store.tables import Catalog
from afterwrite.table import fields

_REPLAY_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIME_S_MAX: Final = 1 << 40
_ENTRIES_MAX: Final = 10
_ENTRIES_BYTES_MAX: Final = 1 << 20
_TIME_BYTES: Final = 14
_DETAIL_TYPE_CHARACTERS_MAX: Final = 128


class EventBridgeService:
    """AWSEvents. `archives` are the archived ones of `buses`; `now_ms` is the engine's clock."""

    target = "AWSEvents"
    error_prefix = ""
    content_type = "application/x-amz-json-1.1"

    def __init__(
        self,
        buses: Collection[str],
        archives: Collection[str],
        placing: Placing,
        identity: Identity,
        now_ms: Callable[[], int],
    ) -> None:
        self._buses = buses
        self._archives = archives
        self._placing = placing
        self._identity = identity
        self._now_ms = now_ms
        self._arn = f"arn:aws:events:{identity.region}:{identity.account_id}"

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared:
        """The operation `name` with its body. Raises ServiceError."""
        if name == "PutEvents":
            return self._put_events(body)
        if name == "StartReplay":
            return self._start(body)
        if name == "DescribeReplay":
            return self._describe(body)
        raise unknown_operation(name)

    def _put_events(self, body: Mapping[str, Any]) -> Write:
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
        detail = _detail(_entry_text(entry, "Detail"))
        bus = str(entry.get("EventBusName") or "default").rpartition("/")[2]
        if bus not in self._buses:
            raise _invalid_entry("EventBusName", f"Event bus {bus} does not exist: declare it in the app")
        at_ms = self._now_ms()
        event_ms = at_ms if entry.get("Time") is None else _entry_time_ms(entry)
        event = {
            "version": "0",
            "id": event_id,
            "detail-type": detail_type,
            "source": source,
            "account": self._identity.account_id,
            "time": datetime.fromtimestamp(event_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._identity.region,
            "resources": _resources(entry),
            "detail": detail,
        }
        stamped = StampedEffect(event_id, event_id, at_ms, PutEvent(bus, source, detail_type, detail))
        return self._placing.place_event(bus, event, stamped)

    def _start(self, body: Mapping[str, Any]) -> Write:
        name, archive = _replay_name(body), self._archive(body)
        from_ms, to_ms = _time_ms(body, "EventStartTime"), _time_ms(body, "EventEndTime")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            return self._description(replays.start(transaction, name, archive, from_ms, to_ms))

        return Write(run)

    def _archive(self, body: Mapping[str, Any]) -> str:
        """The archive to replay, of the bus that the request names as the destination."""
        arn = _text(body, "EventSourceArn")
        _, found, archive = arn.partition(":archive/")
        if not found:
            raise _invalid("EventSourceArn", f"expected an archive's ARN (…:archive/NAME), got {arn}")
        destination = body.get("Destination")
        destination_arn = destination.get("Arn") if isinstance(destination, Mapping) else None
        bus = str(destination_arn or "").rpartition("/")[2]
        if bus not in self._buses:
            raise ServiceError("ResourceNotFoundException", f"Event bus {bus} does not exist.")
        if archive not in self._archives:
            raise _invalid("EventSourceArn", f"Archive {archive} does not exist.")
        if archive != bus:
            raise _invalid("Destination.Arn", "Cross event bus replay is not permitted.")
        return archive

    def _describe(self, body: Mapping[str, Any]) -> Read:
        name = _text(body, "ReplayName")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            return orjson.dumps(self._description(replays.described(transaction, name)))

        return Read(run)

    def _description(self, replay: Replay) -> Mapping[str, Any]:
        description: dict[str, Any] = {
            "ReplayName": replay.name,
            "ReplayArn": f"{self._arn}:replay/{replay.name}",
            "State": replay.state,
            "EventSourceArn": f"{self._arn}:archive/{replay.bus}",
            "Destination": {"Arn": f"{self._arn}:event-bus/{replay.bus}"},
            "EventStartTime": replay.from_ms / 1000,
            "EventEndTime": replay.to_ms / 1000,
            "ReplayStartTime": replay.started_at_ms / 1000,
            # No members of AWS's: how many events of the archive have been taken so far, how many of them no rule
            # matched, and how often one went to a target.
            "EventsReplayed": replay.events,
            "EventsUnmatched": replay.unmatched,
            "Deliveries": replay.deliveries,
        }
        if replay.reason is not None:
            description["StateReason"] = replay.reason
        if replay.ended_at_ms is not None:
            description["ReplayEndTime"] = replay.ended_at_ms / 1000
        return description


def _text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise ServiceError("ValidationException", f"expected text as {field}, got {value!r}")
    return value


def _replay_name(body: Mapping[str, Any]) -> str:
    name = _text(body, "ReplayName")
    if not _REPLAY_NAME.fullmatch(name):
        raise ServiceError(
            "ValidationException", f"expected 1 to 64 letters, digits, '.', '-' or '_' as ReplayName, got {name!r}"
        )
    return name


def _time_ms(body: Mapping[str, Any], field: str) -> int:
    value = body.get(field)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < _TIME_S_MAX:
        raise ServiceError("ValidationException", f"expected seconds since the epoch as {field}, got {value!r}")
    return int(value * 1000)


def _invalid(field: str, reason: str) -> ServiceError:
    return ServiceError("ValidationException", f"Parameter {field} is not valid. Reason: {reason}")


def _entries(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
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
        return _time_ms(entry, "Time")
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
