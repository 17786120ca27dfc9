"""From a pattern's text or mapping to its branches: conditions by path, `$or` multiplied out (P6, P7)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from afterwrite.core.patterns.complexity import most_at_once, quoted
from afterwrite.core.patterns.dialects import OPERATORS, Dialect
from afterwrite.core.patterns.matchers import (
    Leaf,
    ObjectPairs,
    compile_leaf,
    is_array,
    pairs_of,
    refuse,
)
from afterwrite.errors import InvalidPattern

PATH_STEPS_MAX = 100
BRANCHES_MAX = 1000

# Names that mean an operator, or are kept for one, and so can be no field's name inside `$or`.
_RESERVED_IN_OR = OPERATORS | {
    *("exactly", "html", "regex", "not-wildcard", "not-equals-ignore-case", "=", "<", "<=", ">", ">="),
    *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
    *("ip-address-in-range", "ip-address-not-in-range"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a pattern asks at one path; `path` is the steps joined by dots, however they were written (P7)."""

    path: str
    leaf: Leaf


Branch = tuple[Condition, ...]


def branches_of(pattern: Mapping[str, Any] | str | bytes, dialect: Dialect) -> tuple[Branch, ...]:
    """The pattern as alternatives, each a list of conditions sorted by path, all of which must hold.

    Raises `InvalidPattern`.
    """
    root = _read(pattern, dialect)
    pairs = pairs_of(root)
    if pairs is None:
        refuse("", "an object", root, dialect)
    parser = _Parser(dialect)
    found: list[dict[str, Leaf]] = []
    parser.object(found, _Place((), levels=1, inside_or=False), pairs)
    if isinstance(pattern, Mapping):
        _check_length(_written(pattern, dialect), dialect)
    branches = tuple(tuple(Condition(path, branch[path]) for path in sorted(branch)) for branch in found)
    if dialect.field_partial_matches_max is not None:
        _check_wildcards(branches, dialect.field_partial_matches_max, dialect)
    return branches


def _check_wildcards(branches: Sequence[Branch], most: int, dialect: Dialect) -> None:
    """Refuse wildcards that match too many partial texts at once (P8).

    Those of branches of `$or` count together, and repeatedly, while the branches are equal up to their field.
    """
    together: dict[tuple[str, ...], list[Condition]] = {}
    for branch in branches:
        before: tuple[str, ...] = ()
        for condition in branch:
            if condition.leaf.wildcards:
                together.setdefault((*before, condition.path), []).append(condition)
            before = (*before, condition.path, repr(condition.leaf.source))
    for conditions in together.values():
        matchers = [
            [quoted(wildcard) for wildcard in wildcards]
            for condition in conditions
            for wildcards in condition.leaf.wildcards
        ]
        if most_at_once(matchers, most + 1) > most:
            path, leaf = conditions[0].path, conditions[0].leaf
            refuse(path, "wildcards with fewer stars, or less repetition after a star", list(leaf.source), dialect)


def _read(pattern: Mapping[str, Any] | str | bytes, dialect: Dialect) -> Any:
    if isinstance(pattern, Mapping):
        return pattern
    _check_length(pattern, dialect)
    try:
        return json.loads(pattern, object_pairs_hook=ObjectPairs, parse_float=Decimal, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidPattern(f"{dialect.name} pattern: expected at most {PATH_STEPS_MAX} levels, found more") from None
    except (ValueError, ArithmeticError) as error:
        raise InvalidPattern(f"{dialect.name} pattern: expected JSON, found text that is none: {error}") from error


def _written(pattern: Mapping[str, Any], dialect: Dialect) -> str:
    try:
        return json.dumps(pattern, separators=(",", ":"), ensure_ascii=False, default=str)
    except ValueError as error:  # a number with more digits than Python writes
        raise InvalidPattern(
            f"{dialect.name} pattern: expected what JSON can hold, found what it cannot: {error}"
        ) from error


def _check_length(pattern: str | bytes, dialect: Dialect) -> None:
    if len(pattern) > dialect.characters_max:
        raise InvalidPattern(
            f"{dialect.name} pattern: expected at most {dialect.characters_max} characters, found {len(pattern)}"
        )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a pattern: the path so far, how many objects deep, and whether below a `$or`."""

    steps: tuple[str, ...]
    levels: int
    inside_or: bool


@dataclass(frozen=True, slots=True)
class _Parser:
    """Reads a pattern in the order it is written, for a later condition at a path replaces an earlier one."""

    dialect: Dialect

    def object(self, branches: list[dict[str, Leaf]], place: _Place, pairs: Sequence[tuple[str, Any]]) -> None:
        if not pairs:
            self.refuse(place, "an object with at least one field", {})
        if place.levels > PATH_STEPS_MAX:
            self.refuse(_Place(place.steps[:3], 0, False), f"at most {PATH_STEPS_MAX} levels", place.levels)
        for name, value in pairs:
            if name == "$or":
                self.alternatives(branches, place, value)
            else:
                self.field(branches, place, name, value)

    def field(self, branches: list[dict[str, Leaf]], parent: _Place, name: Any, value: Any) -> None:
        if not isinstance(name, str):
            self.refuse(parent, "fields named by strings", name)
        if parent.inside_or and name in _RESERVED_IN_OR:
            self.refuse(parent, "inside $or, names that are no operators", name)
        roots = self.dialect.roots
        if roots is not None and not parent.steps and name.partition(".")[0] not in roots:
            self.refuse(parent, f"one of the fields {', '.join(sorted(roots))}", name)
        steps = (*parent.steps, *name.split("."))
        if len(steps) > PATH_STEPS_MAX:
            self.refuse(parent, f"at most {PATH_STEPS_MAX} levels", len(steps))
        place = _Place(steps, parent.levels + 1, parent.inside_or)
        inner = pairs_of(value)
        if inner is not None:
            if not self.dialect.nested:
                self.refuse(place, "a list of matchers (this service takes no nested objects)", value)
            self.object(branches, place, inner)
        elif self.dialect.roots_are_objects and len(steps) == 1:
            self.refuse(place, "an object, which the record's JSON is", value)
        elif is_array(value):
            self.condition(branches, ".".join(steps), value)
        else:
            self.refuse(place, "an object or a list of matchers", value)

    def condition(self, branches: list[dict[str, Leaf]], path: str, matchers: Any) -> None:
        leaf = compile_leaf(matchers, path, self.dialect)
        if not branches:
            branches.append({})
        for branch in branches:
            branch[path] = leaf

    def alternatives(self, branches: list[dict[str, Leaf]], place: _Place, objects: Any) -> None:
        if not is_array(objects) or len(objects) < 2:
            self.refuse(place, "$or with a list of at least two objects", objects)
        outer = [dict(branch) for branch in branches] or [{}]
        branches.clear()
        for alternative in objects:
            pairs = pairs_of(alternative)
            if pairs is None:
                self.refuse(place, "objects in $or", alternative)
            extended = [dict(branch) for branch in outer]
            self.object(extended, _Place(place.steps, place.levels + 1, inside_or=True), pairs)
            branches.extend(extended)
            if len(branches) > BRANCHES_MAX:
                self.refuse(place, f"at most {BRANCHES_MAX} combinations of $or", len(branches))

    def refuse(self, place: _Place, expected: str, found: Any) -> NoReturn:
        refuse(".".join(place.steps), expected, found, self.dialect)
