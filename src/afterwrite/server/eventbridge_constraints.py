"""What EventBridge's service model asks of requests about buses, rules, archives and replays.

Names of archives and rules are asked for at the length that the app may give them, which is longer than on AWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from afterwrite.server import constraints
from afterwrite.server.constraints import Body, Member, Number, Structure, Text

REPLAY_STATES: Final = ("STARTING", "RUNNING", "CANCELLING", "COMPLETED", "CANCELLED", "FAILED")
ARCHIVE_STATES: Final = ("ENABLED", "DISABLED", "CREATING", "UPDATING", "CREATE_FAILED", "UPDATE_FAILED")
PAGE_MAX: Final = 100

_NAME: Final = r"[\.\-_A-Za-z0-9]+"
_DECLARED_LENGTH: Final = (1, 255)
_BUS_PATTERN: Final = r"(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?[/\.\-_A-Za-z0-9]+"
_ARN_PATTERN: Final = r"^arn:aws([a-z]|\-)*:events:([a-z]|\d|\-)*:([0-9]{12})?:.+\/.+$"
# Each part takes what leaves the others most, and is not tried again.
_ARN_MATCHED: Final = r"arn:aws[a-z-]*+:events:[a-z\d-]*+:(?>[0-9]{12})?:(?>.+/(?=.)).+"


def _arn(*, required: bool = False) -> Text:
    return Text(required=required, pattern=_ARN_PATTERN, matched=_ARN_MATCHED, length=(1, 1600))


def _name(*, required: bool = False, length: tuple[int, int] = _DECLARED_LENGTH) -> Text:
    return Text(required=required, pattern=_NAME, length=length)


_PAGE: Final[Mapping[str, Member]] = {"NextToken": Text(length=(1, 2048)), "Limit": Number((1, PAGE_MAX))}
_BUS: Final = Text(pattern=_BUS_PATTERN, length=(1, 1600))
_REPLAY_NAME: Final = _name(required=True, length=(1, 64))
_DESTINATION: Final[Mapping[str, Member]] = {"Arn": Text(required=True, length=(1, 1600))}
_MEMBERS: Final[Mapping[str, Mapping[str, Member]]] = {
    "StartReplay": {
        "ReplayName": _REPLAY_NAME,
        "Description": Text(pattern=".*", length=(0, 512)),
        "EventSourceArn": _arn(required=True),
        "Destination": Structure(_DESTINATION, required=True),
    },
    "DescribeReplay": {"ReplayName": _REPLAY_NAME},
    "CancelReplay": {"ReplayName": _REPLAY_NAME},
    "ListReplays": {
        "NamePrefix": _name(length=(1, 64)),
        "State": Text(allowed=REPLAY_STATES),
        "EventSourceArn": _arn(),
        **_PAGE,
    },
    "ListArchives": {
        "NamePrefix": _name(),
        "EventSourceArn": _arn(),
        "State": Text(allowed=ARCHIVE_STATES),
        **_PAGE,
    },
    "DescribeArchive": {"ArchiveName": _name(required=True)},
    "ListEventBuses": {"NamePrefix": Text(pattern=r"[/\.\-_A-Za-z0-9]+", length=(1, 256)), **_PAGE},
    "DescribeEventBus": {"Name": _BUS},
    "ListRules": {"NamePrefix": _name(), "EventBusName": _BUS, **_PAGE},
    "DescribeRule": {"Name": _name(required=True), "EventBusName": _BUS},
    "ListTargetsByRule": {"Rule": _name(required=True), "EventBusName": _BUS, **_PAGE},
    "ListRuleNamesByTarget": {"TargetArn": Text(required=True, length=(1, 1600)), "EventBusName": _BUS, **_PAGE},
    "TestEventPattern": {"EventPattern": Text(required=True, length=(0, 4096)), "Event": Text(required=True)},
}


def check(operation: str, body: Body) -> None:
    """Refuse a request that breaks the service model's constraints. Raises ServiceError."""
    constraints.check(_MEMBERS.get(operation, {}), body)
