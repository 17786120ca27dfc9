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

_Walk = Callable[[dict[str, Any]], bool | None]
"""Walks the objects that conditions lie in: whether they hold, or `None` for unsure."""


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
        shared = _shared(branches)
        rest = [[c for c in branch if c.path not in shared] for branch in branches]
        self._common = _walk_of([Condition(path, leaf) for path, leaf in shared.items()])
        self._alternatives = tuple(_walk_of(conditions) for conditions in rest) if all(rest) else ()

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether `event`, as a JSON parser gives it, matches. Array consistency holds (P5)."""
        fields = event if type(event) is dict else dict(event)
        verdict = self._common(fields)
        if verdict is False:
            return False
        if self._alternatives:
            sure = verdict
            verdict = False
            for alternative in self._alternatives:
                one = alternative(fields)
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


def _shared(branches: tuple[Branch, ...]) -> dict[str, Leaf]:
    """The conditions that all branches have, by path."""
    shared = {condition.path: condition.leaf for condition in branches[0]}
    for branch in branches[1:]:
        leaves = {condition.path: condition.leaf for condition in branch}
        shared = {path: leaf for path, leaf in shared.items() if leaves.get(path) is leaf}
    return shared


def _mismatch(condition: Condition, fields: Fields) -> Mismatch:
    found = tuple(value for value, _ in fields.get(condition.path, ()))
    return Mismatch(condition.path, condition.leaf.source, found)


def _walk_of(conditions: Iterable[Condition]) -> _Walk:
    walk, _ = _walk([(condition.path.split("."), condition.leaf) for condition in conditions])
    return walk


def _walk(conditions: Sequence[tuple[Sequence[str], Leaf]]) -> tuple[_Walk, set[str]]:
    """Conditions below one object, by their remaining steps, as a function that walks it; and all paths below."""
    walks: list[_Walk] = []
    below: dict[str, list[tuple[Sequence[str], Leaf]]] = {}
    for (step, *steps), leaf in conditions:
        if steps:
            below.setdefault(step, []).append((steps, leaf))
        else:
            walks.append(_leaf_walk(step, leaf.test, leaf.absent))
    paths = {steps[0] for steps, _ in conditions}
    # The keys that would stand for several steps from here on.
    dotted: set[str] = set()
    for step, inner in below.items():
        walk, inner_paths = _walk(inner)
        walks.append(_object_walk(step, walk, all(leaf.absent for _, leaf in inner)))
        dotted.update(f"{step}.{path}" for path in inner_paths)
    return _guarded(walks[0] if len(walks) == 1 else _joined(walks), frozenset(dotted)), paths | dotted


def _leaf_walk(key: str, test: Test, absent: bool) -> _Walk:
    def walk(fields: dict[str, Any]) -> bool | None:
        value = fields.get(key, ABSENT)
        kind = type(value)
        if kind in SCALARS:
            return test(value)
        if value is ABSENT or kind is dict:
            return absent
        return _unusual(value, test, absent)

    return walk


def _object_walk(key: str, inner: _Walk, absent: bool) -> _Walk:
    def walk(fields: dict[str, Any]) -> bool | None:
        child: Any = fields.get(key)
        kind = type(child)
        if kind is dict:
            return inner(child)
        return absent if kind in SCALARS else None

    return walk


def _joined(walks: Sequence[_Walk]) -> _Walk:
    every = tuple(walks)

    def walk(fields: dict[str, Any]) -> bool | None:
        verdict: bool | None = True
        for one in every:
            found = one(fields)
            if found is False:
                return False
            if found is None:
                verdict = None
        return verdict

    return walk


def _guarded(walk: _Walk, dotted: frozenset[str]) -> _Walk:
    if not dotted:
        return walk

    def guarded(fields: dict[str, Any]) -> bool | None:
        return walk(fields) if fields.keys().isdisjoint(dotted) else None

    if len(dotted) > 1:
        return guarded
    (key,) = dotted
    return lambda fields: None if key in fields else walk(fields)


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
