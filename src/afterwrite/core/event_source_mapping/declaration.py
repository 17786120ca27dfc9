"""A mapping as an app declares it: a function on a stream, with AWS's parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, Unpack

from afterwrite.core.callables import check_code
from afterwrite.core.names import ShownByName
from afterwrite.core.uuids import uuid_of
from afterwrite.errors import DeclarationError

if TYPE_CHECKING:
    from afterwrite.core.event_source_mapping.parameters import (
        EventSourceMappingParameters,
        MappingSettings,
        SourceKind,
    )

_TIMEOUT_S_MAX: Final = 900
_FUNCTION_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FUNCTION_ARN: Final = re.compile(
    r"(arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?\d{12}:function:(?P<name>[^:]+)(:[A-Za-z0-9$_-]+)?"
)


@dataclass(frozen=True, eq=False)
class EventSourceMapping:
    """A function `handler(event, context)` that gets a stream's records in batches.

    `parameters` are AWS's, as declared, `settings` what they ask for; `destination` is what `DestinationConfig` names:
    something declared, or an ARN.
    """

    source_name: str
    function_name: str
    handler: Callable[[Any, Any], Any]
    settings: MappingSettings
    destination: Any
    timeout_s: float
    parameters: EventSourceMappingParameters

    @property
    def uuid(self) -> str:
        """The mapping's UUID: the same for the same function on the same stream."""
        return uuid_of(f"event-source-mapping/{self.settings.source}/{self.source_name}/{self.function_name}")


class MappedStream(ShownByName):
    """What has a stream that functions are run on: a table, a Kinesis stream."""

    kind: ClassVar[SourceKind]
    event_source_mappings: list[EventSourceMapping]

    def event_source_mapping(
        self,
        handler: Callable[[Any, Any], Any],
        *,
        timeout_s: float = 60.0,
        **parameters: Unpack[EventSourceMappingParameters],
    ) -> EventSourceMapping:
        """Run a Lambda function `handler(event, context)` on the stream, by AWS's own parameters.

        An invocation that takes longer than `timeout_s` has failed. Raises DeclarationError and InvalidPattern.
        """
        others = self.event_source_mappings
        mapping = _declared(handler, parameters, self.kind, self.name, timeout_s=timeout_s, others=others)
        others.append(mapping)
        return mapping


@dataclass(frozen=True, eq=False, repr=False)
class KinesisStream(MappedStream):
    """A Kinesis data stream, whose records run Lambda functions."""

    kind: ClassVar = "kinesis"

    name: str
    shard_count: int
    retention_hours: int = 24
    event_source_mappings: list[EventSourceMapping] = field(default_factory=list)


def _declared(
    handler: Callable[[Any, Any], Any],
    parameters: EventSourceMappingParameters,
    source: SourceKind,
    source_name: str,
    *,
    timeout_s: float,
    others: Sequence[EventSourceMapping],
) -> EventSourceMapping:
    from afterwrite.core.event_source_mapping.parameters import destination_of, settings_of

    check_code("handler", handler, ["event", "context"])
    settings, destination = settings_of(parameters, source), destination_of(parameters)
    name = _function_name(handler, parameters.get("FunctionName"))
    if any(each.function_name == name for each in others):
        raise DeclarationError(f"the function {name} is mapped to {source_name} already: give another FunctionName")
    if not isinstance(timeout_s, int | float | Decimal) or not 0 < timeout_s <= _TIMEOUT_S_MAX:
        raise DeclarationError(f"expected timeout_s above 0 and up to {_TIMEOUT_S_MAX}, got {timeout_s!r}")
    return EventSourceMapping(source_name, name, handler, settings, destination, timeout_s, parameters)


def _function_name(handler: Callable[[Any, Any], Any], given: Any) -> str:
    """The function's name: the one given, of an ARN or a partial one its name, else that of the code."""
    name = given or getattr(handler, "name", None) or getattr(handler, "__name__", None)
    arn = _FUNCTION_ARN.fullmatch(name) if isinstance(name, str) else None
    name = name if arn is None else arn["name"]
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        raise DeclarationError(
            "expected a function's name of 1 to 64 letters, digits, '-' or '_', or a function's ARN, "
            f"got {name!r}: give one as FunctionName"
        )
    return name
