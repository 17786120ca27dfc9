"""A template as values: parameters, resources, and the references between them, in no format's syntax.

The shapes of resources are CloudFormation's, which Cloud Control and Terraform's provider for it share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from afterwrite.errors import DeclarationError

ACCOUNT: Final = "AWS::AccountId"
REGION: Final = "AWS::Region"
PARTITION: Final = "AWS::Partition"


@dataclass(frozen=True, slots=True)
class Ref:
    """A parameter's value, a resource's name (what CloudFormation's Ref gives), or one of the names above."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a resource, such as `Arn`."""

    resource: str
    name: str = "Arn"


@dataclass(frozen=True, slots=True)
class Joined:
    """Text made of parts."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class When:
    """A value where the condition holds, else another; None leaves the property out."""

    condition: str
    then: Any
    otherwise: Any = None


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A property whose schema is any JSON: a policy, an event pattern."""

    value: Any


@dataclass(frozen=True, slots=True)
class JsonText:
    """A property that is text, and the text is JSON. References in it stand for text without quotes."""

    value: Any


Part: TypeAlias = "str | Ref | Attribute"
Text: TypeAlias = "str | Ref | Attribute | Joined"


def join(*parts: Text) -> Text:
    """The parts in a row, as one text."""
    flat: list[Part] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Joined) else [part])
    merged: list[Part] = []
    for part in flat:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    return merged[0] if len(merged) == 1 else Joined(tuple(merged))


@dataclass(frozen=True, slots=True)
class Parameter:
    """What differs between stages. Without a default it has to be given."""

    name: str
    description: str
    default: str | int | None = None
    allowed_values: Sequence[str | int] = ()
    allowed_pattern: str | None = None
    length_max: int | None = None
    least: int | None = None
    most: int | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds where the parameter is the value, or, with `negated`, where it is not."""

    name: str
    parameter: str
    value: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource; `retain` keeps it when it is taken out of the stack or replaced."""

    id: str
    type: str
    properties: Mapping[str, Any]
    retain: bool = False
    depends_on: tuple[str, ...] = ()

    @property
    def arn(self) -> Attribute:
        """Its ARN."""
        return Attribute(self.id)

    @property
    def ref(self) -> Ref:
        """What CloudFormation's Ref gives for it."""
        return Ref(self.id)


@dataclass(frozen=True, slots=True)
class Output:
    """A value that the stack shows."""

    name: str
    description: str
    value: Text


@dataclass(frozen=True, slots=True)
class Template:
    """The document. `notes` say where AWS does something otherwise than the declaration reads."""

    description: str
    parameters: Sequence[Parameter]
    conditions: Sequence[Condition]
    resources: Sequence[Resource]
    outputs: Sequence[Output]
    notes: Sequence[str] = ()


@dataclass(slots=True)
class Resources:
    """Resources as they are added, each id once."""

    added: dict[str, Resource] = field(default_factory=dict)

    def add(
        self,
        id: str,
        type: str,
        properties: Mapping[str, Any],
        *,
        retain: bool = False,
        depends_on: Iterable[str] = (),
    ) -> Resource:
        """Add a resource; properties that are None are left out. Raises DeclarationError for an id that is taken."""
        if id in self.added:
            raise DeclarationError(
                f"two declarations would both be the resource {id}: names that differ in more than case and "
                "punctuation are needed on AWS; rename one"
            )
        given = {name: value for name, value in properties.items() if value is not None}
        resource = Resource(id, type, given, retain, tuple(depends_on))
        self.added[id] = resource
        return resource


def names_in(value: Any) -> Iterator[str]:
    """The names of the parameters, resources and conditions that a value uses."""
    match value:
        case Ref(name):
            yield name
        case When(condition, then, otherwise):
            yield condition
            yield from names_in([then, otherwise])
        case Joined(parts):
            yield from names_in(parts)
        case JsonObject(inner) | JsonText(inner):
            yield from names_in(inner)
        case Mapping():
            yield from names_in([*value.values()])
        case list() | tuple():
            for each in value:
                yield from names_in(each)


def logical_id(*words: str) -> str:
    """A resource's id made of names: `agent-queue`, `DeadLetters` gives `AgentQueueDeadLetters`."""
    parts = [part for word in words for part in re.split(r"[^A-Za-z0-9]+", word) if part]
    return "".join(part[0].upper() + part[1:] for part in parts)
