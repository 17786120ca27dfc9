"""A compiled event pattern.

Most events have no arrays where a pattern looks. For them a pattern is a tree of fields, walked once and left at the
first field that fails. Where the walk meets an array of objects, or a key with dots that may stand for several steps,
it answers "unsure", and the fields are gathered and combined with array consistency (P5) instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from afterwrite.core.patterns.dialects import EVENTBRIDGE, Dialect
from afterwrite.core.patterns.fields import Fields, PathTree, consistent
from afterwrite.core.patterns.matchers import ABSENT, ARRAYS, SCALARS, Leaf
from afterwrite.core.patterns.parsing import Branch, Condition, branches_of
from afterwrite.core.patterns.strings import Test


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a field keeps an event from matching: the matchers it must meet, and the values found there."""

    path: str
    expected: tuple[Any, ...]
    found: tuple[Any, ...]

    def __str__(self) -> str:
        expected = f"{self.path}: expected {list(self.expected)!r}"
        if not self.found:
            return f"{expected}, found nothing"
        return f"{expected}, found {', '.join(map(repr, self.found))}"


class Pattern:
    """A compiled pattern; immutable, and free to be used from several threads.

    `branches` are its alternatives (more than one where it has `$or`), each a tuple of conditions.
    """

    __slots__ = ("_alternatives", "_common", "_paths", "branches")

    def __init__(self, branches: tuple[Branch, ...]) -> None:
        self.branches = branches
        self._paths = PathTree.of({condition.path for branch in branches for condition in branch})
        first = branches[0]
        common = [c for c in first if all(_has(branch, c) for branch in branches[1:])]
        rest = [[c for c in branch if c not in common] for branch in branches] if len(branches) > 1 else []
        self._common = _Walk.of(common)
        self._alternatives = tuple(_Walk.of(conditions) for conditions in rest)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether `event`, as a JSON parser gives it, matches. Array consistency holds (P5)."""
        fields = event if type(event) is dict else dict(event)
        verdict = self._common.matches(fields)
        if verdict is False:
            return False
        if self._alternatives:
            sure = verdict
            verdict = False
            for alternative in self._alternatives:
                one = alternative.matches(fields)
                if one is True and sure is True:
                    return True
                if one is not False:
                    verdict = None
        return self._matches_with_arrays(fields) if verdict is None else verdict

    def _matches_with_arrays(self, event: Mapping[str, Any]) -> bool:
        fields = self._paths.fields(event)
        return any(consistent(branch, fields) for branch in self.branches)

    def explain(self, event: Mapping[str, Any]) -> tuple[Mismatch, ...]:
        """The fields that keep `event` from matching, in the alternative that is closest; empty if it matches.

        Where each field alone would do, but only in different elements of an array, all of them are named.
        """
        fields = self._paths.fields(event)
        closest: tuple[Mismatch, ...] = ()
        for branch in self.branches:
            if consistent(branch, fields):
                return ()
            failing = [condition for condition in branch if not consistent((condition,), fields)]
            mismatches = tuple(_mismatch(condition, fields) for condition in failing or branch)
            if not closest or len(mismatches) < len(closest):
                closest = mismatches
        return closest


def compile(pattern: Mapping[str, Any] | str | bytes, dialect: Dialect = EVENTBRIDGE) -> Pattern:
    """Compile a pattern, given as JSON text or as the mapping parsed from it.

    Of repeated keys in text the last one counts (P7). Raises `InvalidPattern`, which names the path, what is
    allowed there and what was found.
    """
    return Pattern(branches_of(pattern, dialect))


def _has(branch: Branch, condition: Condition) -> bool:
    return any(other.path == condition.path and other.leaf is condition.leaf for other in branch)


def _mismatch(condition: Condition, fields: Fields) -> Mismatch:
    found = tuple(value for value, _ in fields.get(condition.path, ()))
    return Mismatch(condition.path, condition.leaf.source, found)


class _Walk:
    """Conditions as a tree of the objects they lie in. `matches` says True, False, or None for unsure."""

    __slots__ = ("absent", "dotted", "leaves", "objects")

    def __init__(self) -> None:
        self.leaves: tuple[tuple[str, Test, bool], ...] = ()
        self.objects: tuple[tuple[str, _Walk], ...] = ()
        # The keys that would stand for several steps from here on.
        self.dotted: frozenset[str] = frozenset()
        # Whether every condition below is satisfied where this object is missing.
        self.absent = True

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> _Walk:
        return cls._of([(condition.path.split("."), condition.leaf) for condition in conditions])

    @classmethod
    def _of(cls, conditions: list[tuple[list[str], Leaf]]) -> _Walk:
        walk = cls()
        below: dict[str, list[tuple[list[str], Leaf]]] = {}
        dotted: set[str] = set()
        for steps, leaf in conditions:
            if len(steps) > 1:
                below.setdefault(steps[0], []).append((steps[1:], leaf))
                dotted.update(".".join(steps[:end]) for end in range(2, len(steps) + 1))
        walk.leaves = tuple((steps[0], leaf.test, leaf.absent) for steps, leaf in conditions if len(steps) == 1)
        walk.objects = tuple((step, cls._of(inner)) for step, inner in below.items())
        walk.dotted = frozenset(dotted)
        walk.absent = all(leaf.absent for _, leaf in conditions)
        return walk

    def matches(self, fields: dict[str, Any]) -> bool | None:
        if self.dotted and not fields.keys().isdisjoint(self.dotted):
            return None
        verdict: bool | None = True
        for key, test, absent in self.leaves:
            value = fields.get(key, ABSENT)
            kind = type(value)
            if kind in SCALARS:
                if not test(value):
                    return False
            elif value is ABSENT or kind is dict:
                if not absent:
                    return False
            else:
                one = _unusual(value, test, absent)
                if one is False:
                    return False
                verdict = verdict and one
        for key, inner in self.objects:
            child: Any = fields.get(key)
            kind = type(child)
            if kind is dict:
                one = inner.matches(child)
                if one is False:
                    return False
                verdict = verdict and one
            elif kind in SCALARS:
                if not inner.absent:
                    return False
            else:
                verdict = None
        return verdict


def _unusual(value: Any, test: Test, absent: bool) -> bool | None:
    """The verdict on a value that is neither an ordinary scalar nor a dict: scalars in an array combine freely."""
    if not isinstance(value, ARRAYS):
        return None if isinstance(value, Mapping) else test(value)
    if not value:
        return absent
    for element in value:
        if type(element) not in SCALARS:
            return None
    return any(map(test, value))
