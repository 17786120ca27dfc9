"""Constraints of a service's model on a request's members: all that one breaks are reported, in one error."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from afterwrite.errors import ServiceError
from afterwrite.table import fields
from afterwrite.table.fields import Violations

Body: TypeAlias = Mapping[str, Any]


class Member(Protocol):
    """What the model says of one member."""

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        """Note what is wrong with `field`, which stands at `place`. Raises ServiceError for a wrong JSON type."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A text: what it looks like, how long it is, which values it may have.

    `matched` means what `pattern` says, in time that grows with the text and no faster.
    """

    required: bool = False
    pattern: str | None = None
    matched: str | None = None
    length: tuple[int, int] | None = None
    allowed: Sequence[str] = ()

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        """See `Member`."""
        value = fields.text(body, field)
        if value is None:
            note_missing(violations, self.required, place)
            return
        if self.allowed and value not in self.allowed:
            violations.add(value, place, f"Member must satisfy enum value set: [{', '.join(self.allowed)}]")
        if self.pattern is not None and not re.fullmatch(self.matched or self.pattern, value, re.ASCII):
            violations.add(value, place, f"Member must satisfy regular expression pattern: {self.pattern}")
        if self.length is not None:
            note_bounds(violations, "length", len(value), self.length, value, place)


@dataclass(frozen=True, slots=True)
class Number:
    """An integer from `bounds[0]` to `bounds[1]`, where those are given."""

    bounds: tuple[int, int | None]
    required: bool = False

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        """See `Member`."""
        value = fields.integer(body, field)
        if value is None:
            note_missing(violations, self.required, place)
        else:
            note_bounds(violations, "value", value, self.bounds, value, place)


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes, as base64 text: at most `bytes_max` of them."""

    bytes_max: int

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        """See `Member`."""
        value = fields.text(body, field)
        if value is None:
            note_missing(violations, True, place)
            return
        try:
            size = len(binascii.a2b_base64(value, strict_mode=True)) if value else 0
        except (binascii.Error, ValueError):
            raise ServiceError("SerializationException", f"{field} is no base64 text") from None
        shown = f"java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]"
        note_bounds(violations, "length", size, (0, self.bytes_max), shown, place)


@dataclass(frozen=True, slots=True)
class Records:
    """A list of 1 to `most` records; `kind` is their name in the service's model."""

    kind: str
    members: Mapping[str, Member]
    most: int

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        """See `Member`."""
        given = fields.structures(body, field, self.kind)
        if given is None:
            note_missing(violations, True, place)
            return
        shown = f"[{len(given)} records]" if given else "[]"
        note_bounds(violations, "length", len(given), (1, self.most), shown, place)
        for index, record in enumerate(given, 1):
            note_members(violations, self.members, record, f"{place}.{index}.member.")


@dataclass(frozen=True, slots=True)
class Structure:
    """A structure with members of its own."""

    members: Mapping[str, Member]
    required: bool = False

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        """See `Member`."""
        given = fields.structure(body, field, field)
        if given is None:
            note_missing(violations, self.required, place)
        else:
            note_members(violations, self.members, given, f"{place}.")


def check(members: Mapping[str, Member], body: Body) -> None:
    """Refuse a request that breaks the constraints of `members`. Raises ServiceError."""
    violations = Violations()
    note_members(violations, members, body, "")
    violations.check()


def note_members(violations: Violations, members: Mapping[str, Member], body: Body, place: str) -> None:
    """Note what is wrong with each of the members of what stands at `place`, which ends in a dot."""
    for field, member in members.items():
        member.note(violations, body, field, f"{place}{field[0].lower()}{field[1:]}")


def note_missing(violations: Violations, required: bool, place: str) -> None:
    """Note a member that is not there and has to be."""
    if required:
        violations.add(None, place, "Member must not be null")


def note_bounds(
    violations: Violations, measure: str, found: int, bounds: tuple[int, int | None], shown: object, place: str
) -> None:
    """Note a value or a length that is out of its bounds; the error shows `shown` for it."""
    least, most = bounds
    if found < least:
        violations.add(shown, place, f"Member must have {measure} greater than or equal to {least}")
    if most is not None and found > most:
        violations.add(shown, place, f"Member must have {measure} less than or equal to {most}")
