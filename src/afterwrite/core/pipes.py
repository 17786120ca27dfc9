"""Pipes: from a table's changes to one target, through a filter, an enrichment and a transformation (S31).

    change -> record -> filter -> (enrichment) -> transformation -> effect on the target

All but the enrichment is pure. A pipe without one is a route; one with it is a route that asks for the enrichment's
function, and what the function returns leads to the effects when it is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from afterwrite.core.changes import Change
from afterwrite.core.effects import Append, Deliver, Effect, Enqueue, Invoke, Publish, PutEvent
from afterwrite.core.input_templates import InputTemplate, Variables, ingestion_time
from afterwrite.core.patterns import PIPES, Pattern
from afterwrite.core.patterns import compile as compile_pattern
from afterwrite.core.routes import Guard, Route
from afterwrite.core.wire import to_streams_record
from afterwrite.errors import DeclarationError, InvalidValue

PATTERNS_MAX: Final = 5

Filter: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
Transform: TypeAlias = str | Callable[[Any], Any] | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a table's changes come from, as records say it."""

    region: str
    stream_arn: str


@dataclass(frozen=True, eq=False)
class Pipe:
    """A pipe from a table to a target. Compiled by `compile_pipe`.

    `send` makes the effect of a payload; `target_arn` is the target's ARN, with {region} and {account} in it;
    `enrichment` names the function that is invoked with each record that the filter lets through, None where there is
    none.
    """

    name: str
    table: str
    patterns: tuple[Pattern, ...]
    enrichment: str | None
    transform: InputTemplate | Callable[[Any], Any] | None
    target_arn: str
    send: Callable[[Any], Effect]

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
        return self.send(self._transformed(record, record))

    def _record(self, origin: Origin, change: Change) -> dict[str, Any]:
        return to_streams_record(change, region=origin.region, stream_arn=origin.stream_arn)

    def effects(self, record: Mapping[str, Any], enriched: Any) -> list[Effect]:
        """What an enrichment's answer leads to: nothing for an empty one, one effect for each member of a list."""
        if enriched in (None, "", {}, []):
            return []
        items = enriched if isinstance(enriched, list) else [enriched]
        return [self.send(self._transformed(item, record)) for item in items]

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
            "aws.pipes.target-arn": self.target_arn.format(region=record["awsRegion"], account=account),
            "aws.pipes.event.ingestion-time": ingestion_time(record["dynamodb"]["ApproximateCreationDateTime"]),
        }
        if self.enrichment is not None:
            function = f"arn:aws:lambda:{record['awsRegion']}:{account}:function:{self.enrichment}"
            variables["aws.pipes.enrichment-arn"] = function
        return variables


def compile_filter(pipe: str, given: Filter) -> tuple[Pattern, ...]:
    """The patterns of which a record must match one. Raises DeclarationError and InvalidPattern."""
    patterns = [] if given is None else [given] if isinstance(given, Mapping) else list(given)
    if given is not None and not 1 <= len(patterns) <= PATTERNS_MAX:
        raise DeclarationError(f"expected 1 to {PATTERNS_MAX} patterns as the filter of {pipe}, got {len(patterns)}")
    return tuple(compile_pattern(pattern, PIPES) for pattern in patterns)


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


def pipe_target(pipe: str, kind: str, name: str) -> tuple[str, Callable[[Any], Effect]]:
    """A pipe's target: its ARN with {region} and {account} in it, and the function that makes effects on it.

    `kind` is what the app declares: Queue, Topic, Bus, DeliveryStream, AuditLog or Function. Raises DeclarationError.
    """
    if kind not in _ARNS:
        raise DeclarationError(f"expected a target of {', '.join(_ARNS)} for the pipe {pipe}, got a {kind}")

    def fields(payload: Any) -> Mapping[str, Any]:
        if not isinstance(payload, Mapping):
            got = f"got {payload!r}: give the pipe {pipe} a transform"
            raise InvalidValue(f"expected a JSON object for the {kind} {name}, {got}")
        return payload

    make: Mapping[str, Callable[[Any], Effect]] = {
        "Queue": lambda payload: Enqueue(name, payload),
        "Topic": lambda payload: Publish(name, payload),
        "Bus": lambda payload: PutEvent(name, f"Pipe {pipe}", "Event from aws:dynamodb", fields(payload)),
        "DeliveryStream": lambda payload: Deliver(name, fields(payload)),
        "AuditLog": lambda payload: Append(name, fields(payload)),
        "Function": lambda payload: Invoke(name, payload),
    }
    return _ARNS[kind] % name, make[kind]
