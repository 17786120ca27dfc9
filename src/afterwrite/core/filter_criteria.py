"""What Lambda's FilterCriteria can do for a route: a pattern on the stream record, or the reason why not (S17).

The record holds attribute values in the wire form, `{"status": {"S": "open"}}`, so a condition on a value becomes
one on the leaf of each type that the value may have: a text on `S`, but also on the members of a set (`SS`) and of a
list (`L.S`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from afterwrite.core.changes import EVENT_NAMES
from afterwrite.core.conditions import Matchers, listed
from afterwrite.core.patterns import LAMBDA, compile
from afterwrite.core.routes import Guard
from afterwrite.core.values import normalize_number
from afterwrite.errors import InvalidPattern, InvalidValue

_ANY: Final[Mapping[str, Any]] = {"exists": True}
_NONE: Final[Mapping[str, Any]] = {"exists": False}

# Where a scalar of each type lies: by itself, in a set, in a list. There are no sets of the last two.
_LEAVES: Final[Mapping[str, tuple[str, ...]]] = {
    "S": ("S", "SS", "L.S"),
    "N": ("N", "NS", "L.N"),
    "B": ("B", "BS", "L.B"),
    "BOOL": ("BOOL", "L.BOOL"),
    "NULL": ("NULL", "L.NULL"),
}


@dataclass(frozen=True, slots=True)
class FilterPattern:
    """The pattern admits exactly the records that the guard admits; `None` where it admits every record."""

    pattern: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NotFilterable:
    """AWS cannot filter as the guard does: why, and the narrowest pattern at hand that misses no record.

    The guard has to be asked about the records that `widest` lets through; `None` lets every record through.
    """

    reasons: tuple[str, ...]
    widest: Mapping[str, Any] | None


def filter_criteria(guard: Guard, key_types: Mapping[str, str]) -> FilterPattern | NotFilterable:
    """The FilterCriteria pattern of a route on DynamoDB Streams' records.

    `key_types` maps the table's key attributes to their types (`S`, `N`, `B`). The guard must be one that compiles.
    """
    found = _Criteria({}, [])
    if guard.event_names != frozenset(EVENT_NAMES):
        found.pattern["eventName"] = [name for name in EVENT_NAMES if name in guard.event_names]
    for name, matchers in guard.keys.items():
        found.require("Keys", name, matchers, key_types.get(name))
    for image, conditions in (("NewImage", guard.new), ("OldImage", guard.old)):
        for name, matchers in conditions.items():
            found.require(image, name, matchers, key_types.get(name))
    if guard.changed:
        found.reasons.append(f"changed={', '.join(guard.changed)}: a pattern cannot compare the two images")
    pattern = found.pattern or None
    return NotFilterable(tuple(found.reasons), pattern) if found.reasons else FilterPattern(pattern)


@dataclass(frozen=True, slots=True)
class _Criteria:
    pattern: dict[str, Any]
    reasons: list[str]

    def require(self, image: str, name: str, matchers: Matchers, key_type: str | None) -> None:
        """Narrow the pattern by one condition, as far as the service can."""
        wire = _Wire({kind: [] for kind in _LEAVES}, [])
        for matcher in listed(matchers):
            wire.add(matcher)
        self.reasons.extend(f"{image}.{name}: {reason}" for reason in dict.fromkeys(wire.reasons))
        narrowed = _with(self.pattern, image, name, wire.fields(key_type))
        try:
            compile(narrowed, LAMBDA)
        except InvalidPattern as refusal:
            self.reasons.append(f"{image}.{name}: {refusal}")
        else:
            self.pattern.update(narrowed)


def _with(pattern: Mapping[str, Any], image: str, name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    dynamodb = pattern.get("dynamodb", {})
    return {**pattern, "dynamodb": {**dynamodb, image: {**dynamodb.get(image, {}), name: fields}}}


@dataclass(frozen=True, slots=True)
class _Wire:
    """One condition's alternatives by the type they are about, as matchers of the wire form."""

    kinds: dict[str, list[Any]]
    reasons: list[str]

    def add(self, matcher: Any) -> None:
        if isinstance(matcher, Mapping):
            ((operator, operand),) = matcher.items()
            self.add_operator(operator, operand)
        elif isinstance(matcher, str):
            self.kinds["S"].append(matcher)
        elif matcher is None:
            self.kinds["NULL"].append(True)
        elif isinstance(matcher, bool):
            self.kinds["BOOL"].append(matcher)
        else:
            self.kinds["N"].append(_number_text(matcher))

    def add_operator(self, operator: str, operand: Any) -> None:
        if operator == "exists":
            for matchers in self.kinds.values():
                matchers.append({operator: operand})
        elif operator == "numeric":
            self.reasons.append("numbers are texts in the record, so no numeric operator sees them")
            self.kinds["N"].append(_ANY)
        elif operator == "anything-but":
            self.add_all_but(operand)
        elif operator in LAMBDA.operators and not isinstance(operand, Mapping):
            self.kinds["S"].append({operator: operand})
        else:
            self.reasons.append(f"the filter of an event source does not know {operator} {operand!r}")
            self.kinds["S"].append(_ANY)

    def add_all_but(self, operand: Any) -> None:
        about = "S"
        if isinstance(operand, Mapping):
            self.reasons.append(f"the filter of an event source does not know anything-but {dict(operand)!r}")
            excluded: Mapping[str, Any] = _ANY
        else:
            values = operand if isinstance(operand, Sequence) and not isinstance(operand, str) else [operand]
            if not isinstance(values[0], str):
                about = "N"
            excluded = {"anything-but": list(values if about == "S" else map(_number_text, values))}
        for kind, matchers in self.kinds.items():
            matchers.append(excluded if kind == about else _ANY)

    def fields(self, key_type: str | None) -> Mapping[str, Any]:
        """What the attribute must hold, the alternatives of different leaves in `$or`."""
        wanted: list[dict[str, Any]] = []
        for kind, matchers in self.kinds.items():
            present = [matcher for matcher in matchers if matcher != _NONE]
            places = [leaf for leaf in _LEAVES[kind] if key_type in (None, leaf)] if present else []
            wanted.extend(_at(place, [_ANY] if _ANY in present else present) for place in places)
        if any(_NONE in matchers for matchers in self.kinds.values()):
            wanted.append(_without_leaves())
        if not wanted:
            # Nothing of the key's type will do, and no value has two types.
            return {"S": [_ANY], "N": [_ANY]}
        return wanted[0] if len(wanted) == 1 else {"$or": wanted}


def _at(place: str, matchers: list[Any]) -> dict[str, Any]:
    outer, _, inner = place.partition(".")
    return {outer: {inner: matchers} if inner else matchers}


def _without_leaves() -> dict[str, Any]:
    """No leaf of any type, which `exists: false` on the attribute itself would not say: it takes objects for absent."""
    fields: dict[str, Any] = {}
    for places in _LEAVES.values():
        for place in places:
            outer, _, inner = place.partition(".")
            if inner:
                fields.setdefault(outer, {})[inner] = [_NONE]
            else:
                fields[outer] = [_NONE]
    return fields


def _number_text(number: Any) -> str:
    """The number as the record writes it. One that DynamoDB cannot hold has a text that no record has."""
    text = repr(number) if isinstance(number, float) else str(Decimal(number))
    try:
        return normalize_number(text)
    except InvalidValue:
        return text
