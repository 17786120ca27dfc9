"""`afterwrite replay`: events of a bus's archive are delivered again, by the running engine."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
from cyclopts import Parameter

from afterwrite import config
from afterwrite.cli.parameters import Data, Flag
from afterwrite.cli.rendering import count_text, print_json, print_line, time_text
from afterwrite.config import Settings
from afterwrite.errors import CommandError, ServiceError
from afterwrite.server import sigv4
from afterwrite.server.http_messages import Request
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.replays import COMPLETED, FAILED

_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1
_UNSIGNED: Final = "MissingAuthenticationTokenException"


def replay(
    bus: str,
    /,
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str,
    name: str | None = None,
    data: Data = None,
    credentials: Path | None = None,
    json: Flag = False,
) -> None:
    """Deliver the events of a bus's archive again.

    Returns when that is done, and says how many deliveries there were. Every archived event of the time range goes to
    the targets of the bus's rules once more, marked with a `replay-name` and under its own `id`, by which consumers
    know it again. Needs the running engine; if that dies meanwhile, the replay goes on where it was when the engine
    starts again.

    Parameters
    ----------
    bus
        The bus, declared with `archive_days`.
    from_
        The time of the first event, ISO 8601; UTC unless it has an offset.
    to
        The time before which the events end, as `--from`.
    name
        The replay's name, which no replay had before. Default: the bus and the time.
    credentials
        The file of access keys that the engine was started with, if it was: its first key signs the requests.
        Default: AFTERWRITE_CREDENTIALS
    json
        Print one JSON object at the end, and nothing before.
    """
    settings = config.load(data=data, credentials=credentials)
    events = _EventBridge(settings)
    arn = f"arn:aws:events:{settings.identity.region}:{settings.identity.account_id}"
    started = events.call(
        "StartReplay",
        {
            "ReplayName": name or f"{bus}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}",
            "EventSourceArn": f"{arn}:archive/{bus}",
            "Destination": {"Arn": f"{arn}:event-bus/{bus}"},
            "EventStartTime": _epoch_s("--from", from_),
            "EventEndTime": _epoch_s("--to", to),
        },
    )
    if not json:
        print_line(f"replaying {bus} as {started['ReplayName']}")
    described = _follow(events, started["ReplayName"], quiet=json)
    if json:
        print_json(_fields(bus, described))
        return
    took_s = described["ReplayEndTime"] - described["ReplayStartTime"]
    print_line(
        f"replayed {count_text(described['EventsReplayed'], 'event')} in {took_s:.1f} s: {_delivered(described)}"
    )


def _delivered(described: Mapping[str, Any]) -> str:
    events, unmatched, deliveries = (described[name] for name in ("EventsReplayed", "EventsUnmatched", "Deliveries"))
    if not events:
        return "the archive has none of this time range"
    if unmatched == events:
        return "they matched no rule of the bus, so nothing was delivered"
    rest = f"; {count_text(unmatched, 'event')} matched no rule" if unmatched else ""
    return f"{deliveries} {'delivery' if deliveries == 1 else 'deliveries'} to targets of rules{rest}"


def _fields(bus: str, described: Mapping[str, Any]) -> dict[str, Any]:
    times = {
        "from": "EventStartTime",
        "to": "EventEndTime",
        "started_at": "ReplayStartTime",
        "ended_at": "ReplayEndTime",
    }
    return {
        "bus": bus,
        "name": described["ReplayName"],
        "state": described["State"],
        "events": described["EventsReplayed"],
        "unmatched": described["EventsUnmatched"],
        "deliveries": described["Deliveries"],
        **{name: time_text(int(described[field] * 1000)) for name, field in times.items()},
    }


def _follow(events: _EventBridge, name: str, *, quiet: bool) -> dict[str, Any]:
    """The replay's description once it is completed. A line tells how far it is, once a second.

    Raises CommandError where it has failed.
    """
    told_at = time.monotonic()
    while True:
        described = events.call("DescribeReplay", {"ReplayName": name})
        if described["State"] == COMPLETED:
            return described
        if described["State"] == FAILED:
            raise CommandError(
                f"the replay {name} has failed after {count_text(described['EventsReplayed'], 'event')}: "
                f"{described['StateReason']}; then start one with another name"
            )
        if not quiet and time.monotonic() - told_at >= 1:
            told_at = time.monotonic()
            print_line(f"  {count_text(described['EventsReplayed'], 'event')} so far")
        time.sleep(_POLL_S)


def _epoch_s(option: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"expected an ISO 8601 time as {option}, such as 2026-11-21T17:00:00Z, got {text!r}"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class _EventBridge:
    """The running engine's EventBridge, over its wire protocol."""

    def __init__(self, settings: Settings) -> None:
        data = settings.data
        holder = DataDirectory(data).holder()
        if holder is None:
            raise CommandError(
                f"expected a running engine on {data}, found none: start it with afterwrite run APP --data {data}"
            )
        if "listening" not in holder:
            raise CommandError(
                f"the engine on {data} listens on no socket: start it with an address to listen on"
                if "pid" in holder
                else f"the engine on {data} is starting: try again in a moment"
            )
        self._address: str = holder["listening"]
        self._region = settings.identity.region
        self._credentials = settings.credentials

    def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's body. Raises ServiceError as the engine answers it, CommandError if it does not answer."""
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        request = self._request(f"AWSEvents.{operation}", orjson.dumps(body))
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers.items()}
        try:
            connection.request("POST", "/", request.body, headers)
            response = connection.getresponse()
            answer: dict[str, Any] = orjson.loads(response.read())
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
            raise CommandError(
                f"the engine on {self._address} does not answer ({error}): a replay that it has begun goes on "
                "when it runs again"
            ) from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            code = str(answer.get("__type", "")).rpartition("#")[2]
            if code == _UNSIGNED:
                raise CommandError(
                    f"the engine on {self._address} takes signed requests only: give the file of its access keys with "
                    "--credentials or AFTERWRITE_CREDENTIALS"
                )
            raise ServiceError(code, str(answer.get("message", "")), status=response.status)
        return answer

    def _request(self, target: str, body: bytes) -> Request:
        """The request for an operation, signed where there are credentials."""
        headers = {"host": self._address, "x-amz-target": target, "content-type": "application/x-amz-json-1.1"}
        request = Request(
            b"POST", b"/", {name.encode(): value.encode("latin-1") for name, value in headers.items()}, body, body
        )
        if self._credentials is None:
            return request
        key_id, secret = next(iter(self._credentials.items()))
        return sigv4.signed(request, key_id, secret, region=self._region, service="events", now_s=time.time())
