"""`afterwrite replay`: events of a bus's archive are delivered again, by the running engine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from afterwrite import config
from afterwrite.cli.engine_client import EngineClient
from afterwrite.cli.parameters import Data, Flag, moment_ms
from afterwrite.cli.rendering import count_text, print_json, print_line
from afterwrite.core.times import iso_milliseconds
from afterwrite.errors import CommandError
from afterwrite.store.replays import CANCELLED, COMPLETED, FAILED

_POLL_S: Final = 0.1


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
    the targets of the bus's rules once more, marked with a `replay-name` and under another `id`, as on AWS; those of
    one key in order, behind what waits of that key. Needs the running engine; if that dies meanwhile, the replay goes
    on where it was when the engine starts again.

    Parameters
    ----------
    bus
        The bus, declared with `archive_days`.
    from_
        The time of the first event, in whole seconds, ISO 8601; UTC unless it has an offset.
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
    events = EngineClient(
        settings, target="AWSEvents", service="events", hint=": a replay that it has begun goes on when it runs again"
    )
    arn = f"arn:aws:events:{settings.identity.region}:{settings.identity.account_id}"
    times = {"EventStartTime": moment_ms("--from", from_) / 1000, "EventEndTime": moment_ms("--to", to) / 1000}
    if times["EventStartTime"] >= times["EventEndTime"]:
        raise CommandError(f"expected --from to be before --to, got {from_} and {to}")
    name = name or f"{bus}-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    events.call(
        "StartReplay",
        {
            "ReplayName": name,
            "EventSourceArn": f"{arn}:archive/{bus}",
            "Destination": {"Arn": f"{arn}:event-bus/{bus}"},
            **times,
        },
    )
    if not json:
        print_line(f"replaying {bus} as {name}")
    described = _follow(events, name, quiet=json)
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
        **{name: iso_milliseconds(round(described[field] * 1000)) for name, field in times.items()},
    }


def _follow(events: EngineClient, name: str, *, quiet: bool) -> dict[str, Any]:
    """The replay's description once it is completed. A line tells how far it is, once a second.

    Raises CommandError where it has failed or was cancelled.
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
        if described["State"] == CANCELLED:
            raise CommandError(
                f"the replay {name} was cancelled after {count_text(described['EventsReplayed'], 'event')}: "
                "start one with another name to deliver the rest"
            )
        if not quiet and time.monotonic() - told_at >= 1:
            told_at = time.monotonic()
            print_line(f"  {count_text(described['EventsReplayed'], 'event')} so far")
        time.sleep(_POLL_S)
