"""A compiled event pattern.

Most events have no arrays where a pattern looks. For them a pattern is a tree of fields, walked once and left at the
first field that fails. Where the walk meets an array of objects, or a key with dots that may stand for several steps,
it answers "unsure", and the fields are gathered and combined with array consistency (P5) instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterwrite.core.patterns.dialects import EVENTBRIDGE, Dialect
from afterwrite.core.patterns.fields import Fields, PathTree, consistent
from afterwrite.core.patterns.matchers import ABSENT, ARRAYS, SCALARS, Leaf
from afterwrite.core.patterns.parsing import Branch, Condition, branches_of
from afterwrite.core.patterns.strings import Test

Walk = Callable[[dict[str, Any]], bool | None]
"""Walks the objects that conditions lie in: whether they hold, or `None` for unsure."""

_Test = tuple[str, Test, bool]
"""A key, the test of the value there, and whether no value will do."""

_Below = tuple[Sequence[str], Leaf]
"""The steps down to a condition, and what it asks."""

_Step = tuple[str, frozenset[str]]
"""A key to go down by, and the keys beside it that would stand for it and further steps."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a field keeps an event from matching: the matchers it must meet, and the values found there.

    `apart` says that the field alone would do, but in another element of an array than the other fields (P5).
    """

    path: str
    expected: tuple[Any, ...]
    found: tuple[Any, ...]
    apart: bool = False

    def __str__(self) -> str:
        expected = f"{self.path}: expected {list(self.expected)!r}"
        if not self.found:
            return f"{expected}, found nothing"
        where = ", in different elements of an array" if self.apart else ""
        return f"{expected}, found {', '.join(map(repr, self.found))}{where}"


class Pattern:
    """A compiled pattern; immutable, and free to be used from several threads.

    `branches` are its alternatives (more than one where it has `$or`), each a tuple of conditions;
    `paths` are the paths that it looks at.
    """

    __slots__ = ("_tree", "_walk", "branches", "paths")

    def __init__(self, branches: tuple[Branch, ...]) -> None:
        self.branches = branches
        self.paths = frozenset(condition.path for branch in branches for condition in branch)
        self._tree = PathTree.of(self.paths)
        self._walk = self.walk()

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether `event`, as a JSON parser gives it, matches. Array consistency holds (P5)."""
        verdict = self._walk(event if type(event) is dict else dict(event))
        return self.matches_by_search(event) if verdict is None else verdict

    def matches_by_search(self, event: Mapping[str, Any]) -> bool:
        """The same for any event, without a first try that suits most of them."""
        fields = self._tree.fields(event)
        return any(consistent(branch, fields) for branch in self.branches)

    def walk(self, *, guarded: bool = True) -> Walk:
        """That first try as a function. Without the guard it takes keys with dots for unknown ones (P7)."""
        shared = _shared(self.branches)
        common = _walk_of([Condition(path, leaf) for path, leaf in shared.items()], guarded)
        rest = [[c for c in branch if c.path not in shared] for branch in self.branches]
        if not all(rest):
            return common
        return _either(common, tuple(_walk_of(conditions, guarded) for conditions in rest))

    def explain(self, event: Mapping[str, Any]) -> tuple[Mismatch, ...]:
        """The fields that keep `event` from matching, in the alternative that is closest; empty if it matches.

        Where each field alone would do, but only in different elements of an array, those in arrays are named.
        """
        fields = self._tree.fields(event)
        closest: tuple[Mismatch, ...] = ()
        for branch in self.branches:
            if consistent(branch, fields):
                return ()
            failing = [condition for condition in branch if not consistent((condition,), fields)]
            if failing:
                mismatches = tuple(_mismatch(condition, fields) for condition in failing)
            else:
                inside = [
                    condition for condition in branch if any(chain for _, chain in fields.get(condition.path, ()))
                ]
                mismatches = tuple(_mismatch(condition, fields, apart=True) for condition in inside)
            if not closest or len(mismatches) < len(closest):
                closest = mismatches
        return closest


def compile(pattern: Mapping[str, Any] | str | bytes, dialect: Dialect = EVENTBRIDGE) -> Pattern:
    """Compile a pattern, given as JSON text or as the mapping parsed from it.

    Of repeated keys in text the last one counts (P7). Raises `InvalidPattern`, which names the path, what is
    allowed there and what was found.
    """
    return Pattern(branches_of(pattern, dialect))


def _shared(branches: tuple[Branch, ...]) -> dict[str, Leaf]:
    """The conditions that all branches have, by path."""
    shared = {condition.path: condition.leaf for condition in branches[0]}
    for branch in branches[1:]:
        leaves = {condition.path: condition.leaf for condition in branch}
        shared = {path: leaf for path, leaf in shared.items() if leaves.get(path) is leaf}
    return shared


def _mismatch(condition: Condition, fields: Fields, *, apart: bool = False) -> Mismatch:
    found = tuple(value for value, _ in fields.get(condition.path, ()))
    return Mismatch(condition.path, condition.leaf.source, found, apart)


def _either(common: Walk, alternatives: Sequence[Walk]) -> Walk:
    def walk(fields: dict[str, Any]) -> bool | None:
        sure = common(fields)
        if sure is False:
            return False
        verdict: bool | None = False
        for alternative in alternatives:
            one = alternative(fields)
            if one is True and sure is True:
                return True
            if one is not False:
                verdict = None
        return verdict

    return walk


def _walk_of(conditions: Iterable[Condition], guarded: bool) -> Walk:
    walk, _ = _walk([(condition.path.split("."), condition.leaf) for condition in conditions], guarded)
    return walk


def _walk(conditions: Sequence[_Below], guarded: bool) -> tuple[Walk, set[str]]:
    """Conditions below one object as a function that walks it, and all paths from there to or towards them."""
    below: dict[str, list[_Below]] = {}
    for steps, leaf in conditions:
        if len(steps) > 1:
            below.setdefault(steps[0], []).append((steps, leaf))
    descents = [_descent(inner, guarded) for inner in below.values()]
    tests = [(steps[0], leaf.test, leaf.absent) for steps, leaf in conditions if len(steps) == 1]
    walks = [walk for walk, _ in descents]
    paths = {key for key, _, _ in tests}.union(*(inner for _, inner in descents))
    if len(tests) == 1 and not walks:
        return _leaf_walk(*tests[0]), paths
    if len(walks) == 1 and not tests:
        return walks[0], paths
    return _joined(tests, walks), paths


def _descent(conditions: Sequence[_Below], guarded: bool) -> tuple[Walk, set[str]]:
    """Conditions whose first step is the same, as a function that goes down to where they part, or to the last one."""
    first, _ = conditions[0]
    depth = 1
    while all(len(steps) > depth + 1 and steps[depth] == first[depth] for steps, _ in conditions):
        depth += 1
    end, paths = _walk([(steps[depth:], leaf) for steps, leaf in conditions], guarded)
    down: list[_Step] = []
    for step in reversed(first[:depth]):
        dotted = {f"{step}.{path}" for path in paths}
        down.append((step, frozenset(dotted) if guarded else frozenset()))
        paths = dotted | {step}
    return _object_walk(tuple(reversed(down)), end, all(leaf.absent for _, leaf in conditions)), paths


def _leaf_walk(key: str, test: Test, absent: bool) -> Walk:
    def walk(fields: dict[str, Any]) -> bool | None:
        value = fields.get(key, ABSENT)
        kind = type(value)
        if kind in SCALARS:
            return test(value)
        if value is ABSENT or kind is dict:
            return absent
        return _unusual(value, test, absent)

    return walk


def _object_walk(steps: tuple[_Step, ...], end: Walk, absent: bool) -> Walk:
    def walk(fields: dict[str, Any]) -> bool | None:
        for key, dotted in steps:
            if dotted and not fields.keys().isdisjoint(dotted):
                return None
            child: Any = fields.get(key)
            if type(child) is not dict:
                return absent if type(child) in SCALARS else None
            fields = child
        return end(fields)

    return walk


def _joined(tests: Sequence[_Test], walks: Sequence[Walk]) -> Walk:
    every_test, every_walk = tuple(tests), tuple(walks)

    def walk(fields: dict[str, Any]) -> bool | None:
        verdict: bool | None = True
        for key, test, absent in every_test:
            value = fields.get(key, ABSENT)
            kind = type(value)
            found: bool | None
            if kind in SCALARS:
                found = test(value)
            elif value is ABSENT or kind is dict:
                found = absent
            else:
                found = _unusual(value, test, absent)
            if not found:
                if found is not None:
                    return False
                verdict = None
        for one in every_walk:
            found = one(fields)
            if not found:
                if found is not None:
                    return False
                verdict = None
        return verdict

    return walk


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
