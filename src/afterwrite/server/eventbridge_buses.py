"""What the app declares, as EventBridge shows it: buses, their archives, rules and targets; and patterns tried out.

Nothing of it is changed over the wire: the app declares it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from afterwrite.app import Bus, DeliveryStream, Function, Queue, Rule
from afterwrite.core import json_text
from afterwrite.core.patterns import EVENTBRIDGE, compile
from afterwrite.errors import InvalidPattern, ServiceError
from afterwrite.server import eventbridge_requests as requests
from afterwrite.server.eventbridge_requests import DEFAULT_BUS, Arns, Body, last_part, not_found
from afterwrite.store import archive
from afterwrite.store.environment import ReadTransaction
from afterwrite.store.prepared import Prepared, Read
from afterwrite.store.tables import Catalog
from afterwrite.table import fields

_BUSES: Final = "its buses, with app.bus(name)"
_ARCHIVES: Final = "its archives, with app.bus(name, archive_days=…)"
_RULES: Final = "its rules and their targets, with bus.rule(name, pattern, to=[…])"
_DECLARED: Final = {
    **dict.fromkeys(("CreateEventBus", "UpdateEventBus", "DeleteEventBus"), _BUSES),
    **dict.fromkeys(("CreateArchive", "UpdateArchive", "DeleteArchive"), _ARCHIVES),
    **dict.fromkeys(("PutRule", "DeleteRule", "EnableRule", "DisableRule", "PutTargets", "RemoveTargets"), _RULES),
}
_ENABLED: Final = "ENABLED"
# The service wants these of an event, and not its resources, which its documentation names as well.
_EVENT_FIELDS: Final = frozenset(("id", "account", "source", "time", "region", "detail-type"))


class Buses:
    """The buses that the wire knows."""

    def __init__(self, buses: Mapping[str, Bus], arns: Arns) -> None:
        self._buses = buses
        self._arns = arns

    def operations(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations by name."""
        return {
            "ListEventBuses": self._list_buses,
            "DescribeEventBus": self._describe_bus,
            "ListArchives": self._list_archives,
            "DescribeArchive": self._describe_archive,
            "ListRules": self._list_rules,
            "DescribeRule": self._describe_rule,
            "ListTargetsByRule": self._list_targets,
            "ListRuleNamesByTarget": self._list_rule_names,
            "TestEventPattern": _test_pattern,
            **{name: _refusal(name, what) for name, what in _DECLARED.items()},
        }

    # --- buses

    def _list_buses(self, body: Body) -> Read:
        found, token = requests.page_by_prefix(body, self._buses)
        return _constant({"EventBuses": [self._shown_bus(bus) for bus in found], **token})

    def _describe_bus(self, body: Body) -> Read:
        return _constant(self._shown_bus(self._bus(body, "Name")))

    def _bus(self, body: Body, field: str = "EventBusName") -> Bus:
        """The bus that the request names, or the default one."""
        name = last_part(fields.text(body, field) or DEFAULT_BUS)
        if name not in self._buses:
            raise not_found(f"Event bus {name}")
        return self._buses[name]

    def _shown_bus(self, bus: Bus) -> Mapping[str, Any]:
        return {"Name": bus.name, "Arn": self._arns.bus(bus.name)}

    # --- archives

    def _list_archives(self, body: Body) -> Read:
        requests.check_one_filter("ListArchives", body)
        state, source = fields.text(body, "State"), fields.text(body, "EventSourceArn")
        if source is not None and last_part(source) not in self._buses:
            raise not_found(f"Event bus {last_part(source)}")
        wanted = {
            bus.name: bus
            for bus in self._archived()
            if state in (None, _ENABLED) and source in (None, self._arns.bus(bus.name))
        }
        found, token = requests.page_by_prefix(body, wanted)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> Mapping[str, Any]:
            return {"Archives": [self._shown_archive(transaction, bus) for bus in found], **token}

        return Read(run, is_long=True)

    def _describe_archive(self, body: Body) -> Read:
        name = body["ArchiveName"]
        bus = next((bus for bus in self._archived() if bus.name == name), None)
        if bus is None:
            raise not_found(f"Archive {name}")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> Mapping[str, Any]:
            return {**self._shown_archive(transaction, bus), "ArchiveArn": self._arns.archive(name)}

        return Read(run, is_long=True)

    def _archived(self) -> Iterable[Bus]:
        return (bus for bus in self._buses.values() if bus.archive_days is not None)

    def _shown_archive(self, transaction: ReadTransaction, bus: Bus) -> Mapping[str, Any]:
        count, size_bytes = archive.size(transaction, bus.name)
        return {
            "ArchiveName": bus.name,
            "EventSourceArn": self._arns.bus(bus.name),
            "State": _ENABLED,
            "RetentionDays": bus.archive_days,
            "EventCount": count,
            "SizeBytes": size_bytes,
        }

    # --- rules and targets

    def _list_rules(self, body: Body) -> Read:
        bus = self._bus(body)
        found, token = requests.page_by_prefix(body, {rule.name: rule for rule in bus.rules})
        return _constant({"Rules": [self._shown_rule(bus, rule) for rule in found], **token})

    def _describe_rule(self, body: Body) -> Read:
        bus = self._bus(body)
        rule = _rule(bus, body["Name"])
        return _constant({**self._shown_rule(bus, rule), "CreatedBy": self._arns.identity.account_id})

    def _shown_rule(self, bus: Bus, rule: Rule) -> Mapping[str, Any]:
        return {
            "Name": rule.name,
            "Arn": self._arns.rule(bus.name, rule.name),
            "EventPattern": json_text.dumps(rule.source).decode(),
            "State": _ENABLED,
            "EventBusName": bus.name,
        }

    def _list_targets(self, body: Body) -> Read:
        rule = _rule(self._bus(body), body["Rule"])
        targets = {
            f"{type(target).__name__.lower()}-{target.name}": self._target_arn(target) for target in rule.targets
        }
        found, token = requests.page(body, {id_: {"Id": id_, "Arn": arn} for id_, arn in targets.items()})
        return _constant({"Targets": found, **token})

    def _list_rule_names(self, body: Body) -> Read:
        wanted = body["TargetArn"]
        names = {
            rule.name: rule.name
            for rule in self._bus(body).rules
            if any(self._target_arn(target) == wanted for target in rule.targets)
        }
        found, token = requests.page(body, names)
        return _constant({"RuleNames": found, **token})

    def _target_arn(self, target: Queue | Function | DeliveryStream) -> str:
        if isinstance(target, DeliveryStream):
            return self._arns.of("firehose", f"deliverystream/{target.name}")
        queue = target if isinstance(target, Queue) else target.queue
        # A queue's consumer gets the event through its queue, as any other message.
        return self._arns.of("lambda", f"function:{target.name}") if queue is None else self._arns.of("sqs", queue.name)


def _rule(bus: Bus, name: str) -> Rule:
    for rule in bus.rules:
        if rule.name == name:
            return rule
    raise ServiceError("ResourceNotFoundException", f"Rule {name} does not exist on EventBus {bus.name}.")


def _test_pattern(body: Body) -> Read:
    try:
        pattern = compile(body["EventPattern"], EVENTBRIDGE)
    except InvalidPattern as error:
        message = f"Event pattern is not valid. Reason: {error}"
        raise ServiceError("InvalidEventPatternException", message) from None
    text = body["Event"]

    def run(_transaction: ReadTransaction, _catalog: Catalog) -> Mapping[str, Any]:
        return {"Result": pattern.matches(_event(text))}

    return Read(run, is_long=True)


def _event(text: str) -> Mapping[str, Any]:
    try:
        event = json_text.loads(text)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict) or not event.keys() >= _EVENT_FIELDS:
        raise ServiceError("ValidationException", "Parameter Event is not valid.")
    try:
        datetime.fromisoformat(event["time"])
    except (TypeError, ValueError):
        raise ServiceError("ValidationException", "Parameter Event is not valid. Reason: Invalid time.") from None
    return event


def _refusal(name: str, what: str) -> Callable[[Body], Prepared]:
    """The operation `name`, which would change what the app declares."""

    def refuse(_body: Body) -> Prepared:
        message = f"{name} is not offered: the app declares {what}; change it there and start the engine again"
        raise ServiceError("OperationDisabledException", message)

    return refuse


def _constant(body: Mapping[str, Any]) -> Read:
    return Read(lambda _transaction, _catalog: body)
