"""Pipes: from a table's changes to one target, through a filter, an enrichment and a transformation (S31).

    change -> record -> filter -> (enrichment) -> transformation -> effect on the target

All but the enrichment is pure. A pipe without one is a route; one with it is a route that asks for the enrichment's
function, and what the function returns leads to the effects when it is settled. On AWS it is an EventBridge Pipe, as
far as that can do it (`Pipe.shaped_by`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias, cast

from afterwrite.core import json_text
from afterwrite.core.changes import Change
from afterwrite.core.delivered_records import delivered_record
from afterwrite.core.effects import Append, Deliver, Effect, Enqueue, Invoke, Publish, PutEvent
from afterwrite.core.input_templates import InputTemplate, Variables, ingestion_time
from afterwrite.core.patterns import PIPES, Pattern
from afterwrite.core.patterns import compile as compile_pattern
from afterwrite.core.routes import Guard, Route
from afterwrite.core.wire import to_streams_record
from afterwrite.errors import DeclarationError, InvalidValue

PATTERNS_MAX: Final = 5
_ENTRIES_MAX: Final[Mapping[str, int]] = {"Queue": 10, "Topic": 10, "Bus": 10, "DeliveryStream": 500}
"""How many items an EventBridge Pipe hands over to a target at a time."""

TargetKind: TypeAlias = Literal["Queue", "Topic", "Bus", "DeliveryStream", "AuditLog", "Function"]
Shaper: TypeAlias = Literal["pipe", "enrichment", "routes"]
Filter: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
Transform: TypeAlias = str | Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a table's changes come from, as records say it."""

    region: str
    stream_arn: str


@dataclass(frozen=True, slots=True)
class PipeTarget:
    """Where a pipe leads. `arn` has {region} and {account} in it; `send` makes the effect of a payload."""

    kind: TargetKind
    name: str
    arn: str
    send: Callable[[Any], Effect]


@dataclass(frozen=True, eq=False)
class Pipe:
    """A pipe from a table to a target.

    `filter` are the patterns as declared, of which a record must match one, if there are any; `enrichment` names the
    function that is invoked with each record that the filter lets through, None where there is none.
    """

    name: str
    table: str
    filter: tuple[Mapping[str, Any], ...]
    patterns: tuple[Pattern, ...]
    enrichment: str | None
    transform: InputTemplate | Callable[[Any], Any] | None
    target: PipeTarget

    @property
    def shaped_by(self) -> Shaper:
        """What makes the target's payload on AWS.

        The EventBridge Pipe itself, by its input template; else the enrichment's function, which answers with the
        payload. Without an enrichment the pipe is a route there, too: the table's routes' function performs it.
        """
        if callable(self.transform) or self.target.kind in ("DeliveryStream", "AuditLog"):
            return "routes" if self.enrichment is None else "enrichment"
        # The template cannot name the change once an enrichment's answer has taken its place.
        return "enrichment" if self.target.kind == "Function" and self.enrichment is not None else "pipe"

    def input_template(self) -> str | None:
        """The input template of the EventBridge Pipe, None where the payload is what goes in."""
        if self.shaped_by != "pipe":
            return None
        template = self.transform if isinstance(self.transform, InputTemplate) else None
        if self.target.kind != "Function":
            return None if template is None else template.text
        request = "<aws.pipes.event.json>" if template is None else template.as_json()
        named = f'{{"function":{_quoted(self.target.name)},"id":"<$.eventID>/{self.name}/0"}}'
        return f'{{"afterwrite":{named},"request":{request}}}'

    def route(self, origin: Origin) -> Route:
        """The route that begins the pipe."""
        return Route(self.name, self.table, Guard(), partial(self._begin, origin))

    def _begin(self, origin: Origin, change: Change) -> Effect | Sequence[Effect] | None:
        record = self._record(origin, change)
        if self.patterns:
            # As a route's guard, the filter sees what the pipe does not pass on.
            seen = record if change.clear is change else self._record(origin, change.clear)
            if not any(pattern.matches(seen) for pattern in self.patterns):
                return None
        if self.enrichment is not None:
            return Invoke(self.enrichment, record)
        return self.target.send(self._transformed(record, record))

    def _record(self, origin: Origin, change: Change) -> dict[str, Any]:
        return to_streams_record(change, region=origin.region, stream_arn=origin.stream_arn)

    def effects(self, record: Mapping[str, Any], enriched: Any) -> list[Effect]:
        """What an enrichment's answer leads to: nothing for an empty one, one effect for each member of a list."""
        return [self.target.send(self._transformed(item, record)) for item in _items(enriched)]

    def answers(self, record: Mapping[str, Any], enriched: Any) -> list[Any]:
        """What the enrichment's function answers an EventBridge Pipe for a record: what goes on to the target.

        Raises ValueError for more than the target takes at a time, which the service would leave undelivered.
        """
        items = _items(enriched)
        most = _ENTRIES_MAX.get(self.target.kind, len(items))
        if len(items) > most:
            raise ValueError(
                f"expected at most {most} members in what {self.enrichment} answers for the target {self.target.name}, "
                f"got {len(items)}: answer with fewer, or declare a route"
            )
        if self.shaped_by != "enrichment":
            return items
        return [self._payload(item, number, record) for number, item in enumerate(items)]

    def _payload(self, item: Any, number: int, record: Mapping[str, Any]) -> Any:
        shaped, id = self._transformed(item, record), f"{record['eventID']}/{self.name}/{number}"
        if self.target.kind == "Function":
            return {"afterwrite": {"function": self.target.name, "id": id}, "request": shaped}
        if self.target.kind == "DeliveryStream":
            at_ms = int(record["dynamodb"]["ApproximateCreationDateTime"]) * 1000
            return delivered_record(id, at_ms, _fields(self.name, self.target.kind, self.target.name, shaped))
        return shaped

    def _transformed(self, event: Any, record: Mapping[str, Any]) -> Any:
        transform = self.transform
        if transform is None:
            return event
        if isinstance(transform, InputTemplate):
            return transform.render(event, self._variables(record))
        return transform(event)

    def _variables(self, record: Mapping[str, Any]) -> Variables:
        """The reserved variables. The time is the change's: the same however often the pipe runs."""
        source = str(record["eventSourceARN"])
        account = source.split(":")[4]
        variables: dict[str, Any] = {
            "aws.pipes.pipe-arn": f"arn:aws:pipes:{record['awsRegion']}:{account}:pipe/{self.name}",
            "aws.pipes.pipe-name": self.name,
            "aws.pipes.source-arn": source,
            "aws.pipes.target-arn": self.target.arn.format(region=record["awsRegion"], account=account),
            "aws.pipes.event.ingestion-time": ingestion_time(record["dynamodb"]["ApproximateCreationDateTime"]),
        }
        if self.enrichment is not None:
            function = f"arn:aws:lambda:{record['awsRegion']}:{account}:function:{self.enrichment}"
            variables["aws.pipes.enrichment-arn"] = function
        return variables


def compile_filter(pipe: str, given: Filter) -> tuple[tuple[Mapping[str, Any], ...], tuple[Pattern, ...]]:
    """The patterns of which a record must match one, and compiled. Raises DeclarationError and InvalidPattern."""
    if given is None:
        return (), ()
    patterns = (given,) if isinstance(given, Mapping) else tuple(given) if isinstance(given, Iterable) else ()
    if not all(isinstance(pattern, Mapping) for pattern in patterns):
        raise DeclarationError(f"expected a pattern, or a list of them, as the filter of {pipe}, got {given!r}")
    if not 1 <= len(patterns) <= PATTERNS_MAX:
        raise DeclarationError(f"expected 1 to {PATTERNS_MAX} patterns as the filter of {pipe}, got {len(patterns)}")
    return patterns, tuple(compile_pattern(pattern, PIPES) for pattern in patterns)


def compile_transform(given: Transform) -> InputTemplate | Callable[[Any], Any] | None:
    """The transformation: a template's text, a pure function, or none. Raises DeclarationError."""
    if isinstance(given, str):
        return InputTemplate(given)
    if given is not None and not callable(given):
        raise DeclarationError(f"expected an input template or a function as transform, got {given!r}")
    return given


_ARNS: Final = {
    "Queue": "arn:aws:sqs:{region}:{account}:%s",
    "Topic": "arn:aws:sns:{region}:{account}:%s",
    "Bus": "arn:aws:events:{region}:{account}:event-bus/%s",
    "DeliveryStream": "arn:aws:firehose:{region}:{account}:deliverystream/%s",
    "AuditLog": "arn:aws:s3:::%s",
    "Function": "arn:aws:lambda:{region}:{account}:function:%s",
}


def pipe_target(pipe: str, kind: str, name: str) -> PipeTarget:
    """A pipe's target. `kind` is what the app declares. Raises DeclarationError for a kind that is no target."""
    if kind not in _ARNS:
        raise DeclarationError(f"expected a target of {', '.join(_ARNS)} for the pipe {pipe}, got a {kind}")

    def fields(payload: Any) -> Mapping[str, Any]:
        return _fields(pipe, kind, name, payload)

    make: Mapping[str, Callable[[Any], Effect]] = {
        "Queue": lambda payload: Enqueue(name, payload),
        "Topic": lambda payload: Publish(name, payload),
        "Bus": lambda payload: PutEvent(name, f"Pipe {pipe}", "Event from aws:dynamodb", fields(payload)),
        "DeliveryStream": lambda payload: Deliver(name, fields(payload)),
        "AuditLog": lambda payload: Append(name, fields(payload)),
        "Function": lambda payload: Invoke(name, payload),
    }
    return PipeTarget(cast(TargetKind, kind), name, _ARNS[kind] % name, make[kind])


def _fields(pipe: str, kind: str, name: str, payload: Any) -> Mapping[str, Any]:
    if not isinstance(payload, Mapping):
        got = f"got {payload!r}: give the pipe {pipe} a transform"
        raise InvalidValue(f"expected a JSON object for the {kind} {name}, {got}")
    return payload


def _items(enriched: Any) -> list[Any]:
    """The members of a list that an enrichment answers with, or its one answer; an empty one is none."""
    if enriched in (None, "", {}, []):
        return []
    return enriched if isinstance(enriched, list) else [enriched]


def _quoted(text: str) -> str:
    return json_text.dumps(text).decode()
