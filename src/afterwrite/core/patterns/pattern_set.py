"""Many patterns asked at once, at a cost that grows with the event and not with the number of patterns.

Each alternative of each pattern is filed under one of its conditions, the most telling one: a text that the event
must have at a path, a prefix such a text must have, or at least that the path is present. An event's own fields then
lead to the few patterns that can match it, and only those are tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from afterwrite.core.patterns.dialects import EVENTBRIDGE, Dialect
from afterwrite.core.patterns.fields import PathTree
from afterwrite.core.patterns.matchers import Leaf
from afterwrite.core.patterns.parsing import Branch
from afterwrite.core.patterns.pattern import Pattern, compile

SCANNED_MAX = 16

_Kind = Literal["text", "prefix", "present"]
_Place = tuple[str, _Kind, str]


class _PathIndex:
    """The patterns filed under one path, in drawers by kind and by the text or prefix on them."""

    __slots__ = ("drawers", "lengths")

    def __init__(self) -> None:
        self.drawers: dict[_Kind, dict[str, set[str]]] = {"text": {}, "prefix": {}, "present": {}}
        self.lengths: Counter[int] = Counter()

    def put_in(self, kind: _Kind, key: str, name: str) -> None:
        drawers = self.drawers[kind]
        if key not in drawers:
            drawers[key] = set()
            if kind == "prefix":
                self.lengths[len(key)] += 1
        drawers[key].add(name)

    def take_out(self, kind: _Kind, key: str, name: str) -> None:
        drawers = self.drawers[kind]
        drawers[key].discard(name)
        if drawers[key]:
            return
        del drawers[key]
        if kind == "prefix":
            self.lengths[len(key)] -= 1
            if not self.lengths[len(key)]:
                del self.lengths[len(key)]

    def is_empty(self) -> bool:
        return not any(self.drawers.values())

    def candidates(self, values: Iterable[Any]) -> Iterable[Iterable[str]]:
        yield self.drawers["present"].get("", ())
        texts, prefixes = self.drawers["text"], self.drawers["prefix"]
        for value in values:
            if isinstance(value, str):
                yield texts.get(value, ())
                for length in self.lengths:
                    yield prefixes.get(value[:length], ())


class PatternSet:
    """Named patterns. Not to be changed while another thread asks it.

    Up to `scanned_max` patterns are simply all tried, which is quicker than to find the few.
    """

    __slots__ = ("_always", "_filed", "_indexes", "_paths", "_patterns", "_scanned_max")

    def __init__(self, scanned_max: int = SCANNED_MAX) -> None:
        self._scanned_max = scanned_max
        self._patterns: dict[str, Pattern] = {}
        self._indexes: dict[str, _PathIndex] = {}
        # Where each pattern is filed: path, kind of drawer, and the text or prefix on it.
        self._filed: dict[str, set[_Place]] = {}
        self._always: set[str] = set()
        self._paths: PathTree | None = None

    def __len__(self) -> int:
        return len(self._patterns)

    def __contains__(self, name: str) -> bool:
        return name in self._patterns

    def add(self, name: str, pattern: Pattern | Mapping[str, Any] | str, dialect: Dialect = EVENTBRIDGE) -> None:
        """Add a pattern, in the place of an earlier one of that name. Raises `InvalidPattern`."""
        compiled = pattern if isinstance(pattern, Pattern) else compile(pattern, dialect)
        if name in self._patterns:
            self.remove(name)
        self._patterns[name] = compiled
        self._filed[name] = set()
        for branch in compiled.branches:
            self._file(name, branch)

    def remove(self, name: str) -> None:
        """Remove a pattern; raises `KeyError` where there is none of that name."""
        del self._patterns[name]
        self._always.discard(name)
        for path, kind, key in self._filed.pop(name):
            index = self._indexes[path]
            index.take_out(kind, key, name)
            if index.is_empty():
                del self._indexes[path]
                self._paths = None

    def match(self, event: Mapping[str, Any]) -> frozenset[str]:
        """The names of the patterns that `event` matches."""
        patterns = self._patterns
        if len(patterns) <= self._scanned_max:
            return frozenset(name for name, pattern in patterns.items() if pattern.matches(event))
        if self._paths is None:
            self._paths = PathTree.of(self._indexes)
        candidates = set(self._always)
        for path, found in self._paths.fields(event).items():
            candidates.update(*self._indexes[path].candidates(value for value, _ in found))
        return frozenset(name for name in candidates if patterns[name].matches(event))

    def _file(self, name: str, branch: Branch) -> None:
        choices = [self._places(condition.path, condition.leaf) for condition in branch if not condition.leaf.absent]
        if not choices:
            self._always.add(name)
            return
        for place in min(choices, key=self._crowding):
            path, kind, key = place
            index = self._indexes.get(path)
            if index is None:
                index = self._indexes[path] = _PathIndex()
                self._paths = None
            index.put_in(kind, key, name)
            self._filed[name].add(place)

    @staticmethod
    def _places(path: str, leaf: Leaf) -> list[_Place]:
        if leaf.texts is not None:
            return [(path, "text", text) for text in leaf.texts]
        if leaf.prefixes is not None:
            return [(path, "prefix", prefix) for prefix in leaf.prefixes]
        return [(path, "present", "")]

    def _crowding(self, places: list[_Place]) -> tuple[bool, int, int]:
        """How bad a choice this is: presence last, then by the patterns that already lie there."""
        return (
            places[0][1] == "present",
            max(self._filed_at(place) for place in places),
            len(places),
        )

    def _filed_at(self, place: _Place) -> int:
        path, kind, key = place
        index = self._indexes.get(path)
        return 0 if index is None else len(index.drawers[kind].get(key, ()))
