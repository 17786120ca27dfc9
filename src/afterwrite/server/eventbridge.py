"""EventBridge on the wire: replays of a bus's archive. Each archived bus has one archive, named like the bus."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store import replays
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.operations import Prepared, Read, Write
from afterwrite.store.replays import Replay
from afterwrite.store.tables import Catalog

_REPLAY_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIME_S_MAX: Final = 1 << 40


class EventBridgeService:
    """AWSEvents."""

    target = "AWSEvents"
    error_prefix = ""
    content_type = "application/x-amz-json-1.1"

    def __init__(self, archives: Collection[str], identity: Identity) -> None:
        self._archives = archives
        self._arn = f"arn:aws:events:{identity.region}:{identity.account_id}"

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared:
        """The operation `name` with its body. Raises ServiceError."""
        if name == "StartReplay":
            return self._start(body)
        if name == "DescribeReplay":
            return self._describe(body)
        raise ServiceError("UnknownOperationException", f"The operation {name} is not offered")

    def _start(self, body: Mapping[str, Any]) -> Write:
        name, archive = _replay_name(body), _archive(body)
        if archive not in self._archives:
            raise ServiceError("ResourceNotFoundException", f"Archive {archive} does not exist.")
        from_ms, to_ms = _time_ms(body, "EventStartTime"), _time_ms(body, "EventEndTime")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            return self._description(replays.start(transaction, name, archive, from_ms, to_ms))

        return Write(run)

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


def _archive(body: Mapping[str, Any]) -> str:
    arn = _text(body, "EventSourceArn")
    _, found, name = arn.partition(":archive/")
    destination = body.get("Destination")
    if not found or not isinstance(destination, Mapping) or not str(destination.get("Arn", "")).endswith(f"/{name}"):
        raise ServiceError(
            "ValidationException",
            f"expected an archive's ARN (…:archive/NAME) as EventSourceArn and its own bus as Destination, got {arn!r}",
        )
    return name
