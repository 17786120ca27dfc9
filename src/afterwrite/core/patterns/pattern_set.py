"""Many patterns asked at once, at a cost that grows with the event and not with the number of patterns.

Each alternative of each pattern is filed under one of its conditions, the most telling one: a trait that the value at
a path must have (the text it is, the prefix it starts with, ...), or at least that there is a value. An event's own
fields then lead to the few patterns that can match it, and only those are tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from afterwrite.core.patterns.dialects import EVENTBRIDGE, Dialect
from afterwrite.core.patterns.fields import PathTree
from afterwrite.core.patterns.matchers import SCALARS, Leaf, TraitKind
from afterwrite.core.patterns.numeric import exact_double
from afterwrite.core.patterns.parsing import Branch
from afterwrite.core.patterns.pattern import Pattern, Walk, compile

_Kind = TraitKind | Literal["present"]
_Place = tuple[str, _Kind, Any]
_Names = set[str]
_ValueCollector = Callable[[Any, _Names], None]
"""Adds the names that a scalar leads to."""

_Path = tuple[Sequence[str], _ValueCollector | None]
"""The steps down to a value, and what collects it if patterns are filed there."""

_Collector = Callable[[dict[str, Any], _Names], bool]
"""Adds the names that an object's fields lead to; false where the object is no plain one and must be searched."""


class _PathIndex:
    """The patterns filed under one path, in drawers by the trait on them."""

    __slots__ = ("affixes", "drawers")

    def __init__(self) -> None:
        self.drawers: dict[_Kind, dict[Any, _Names]] = {
            "text": {},
            "folded": {},
            "prefix": {},
            "suffix": {},
            "number": {},
            "constant": {},
            "present": {},
        }
        # How many drawers there are with a prefix, or a suffix, of each length.
        self.affixes: dict[_Kind, dict[int, int]] = {"prefix": {}, "suffix": {}}

    def put_in(self, kind: _Kind, trait: Any, name: str) -> None:
        drawers = self.drawers[kind]
        if trait not in drawers:
            drawers[trait] = set()
            if kind in self.affixes:
                lengths = self.affixes[kind]
                lengths[len(trait)] = lengths.get(len(trait), 0) + 1
        drawers[trait].add(name)

    def take_out(self, kind: _Kind, trait: Any, name: str) -> None:
        drawers = self.drawers[kind]
        drawers[trait].discard(name)
        if drawers[trait]:
            return
        del drawers[trait]
        if kind in self.affixes:
            lengths = self.affixes[kind]
            lengths[len(trait)] -= 1
            if not lengths[len(trait)]:
                del lengths[len(trait)]

    def is_empty(self) -> bool:
        return not any(self.drawers.values())

    def collector(self) -> _ValueCollector:
        """It stays true as patterns come and go."""
        texts, folded, prefixes, suffixes = (self.drawers[kind] for kind in ("text", "folded", "prefix", "suffix"))
        numbers, constants, present = (self.drawers[kind] for kind in ("number", "constant", "present"))
        prefix_lengths, suffix_lengths = self.affixes["prefix"], self.affixes["suffix"]

        def collect(value: Any, names: _Names) -> None:
            if present:
                names |= present[None]
            if isinstance(value, str):
                if value in texts:
                    names |= texts[value]
                if folded and (found := folded.get(value.lower())) is not None:
                    names |= found
                for length in prefix_lengths:
                    if (found := prefixes.get(value[:length])) is not None:
                        names |= found
                for length in suffix_lengths:
                    if length <= len(value) and (found := suffixes.get(value[len(value) - length :])) is not None:
                        names |= found
            elif value is None or value is True or value is False:
                if value in constants:
                    names |= constants[value]
            elif numbers and (found := numbers.get(exact_double(value))) is not None:
                names |= found

        return collect


class PatternSet:
    """Named patterns. Not to be changed while another thread asks it."""

    __slots__ = ("_always", "_collector", "_filed", "_indexes", "_paths", "_patterns", "_tree", "_walks")

    def __init__(self) -> None:
        self._patterns: dict[str, Pattern] = {}
        self._walks: dict[str, Walk] = {}
        self._indexes: dict[str, _PathIndex] = {}
        # Where each pattern is filed.
        self._filed: dict[str, set[_Place]] = {}
        self._always: _Names = set()
        # How many patterns look at each path.
        self._paths: Counter[str] = Counter()
        # The two ways to an event's names, made anew when a path comes or goes.
        self._collector: _Collector | None = None
        self._tree = PathTree()

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
        self._walks[name] = compiled.walk(guarded=False)
        self._filed[name] = set()
        for path in compiled.paths:
            if not self._paths[path]:
                self._collector = None
            self._paths[path] += 1
        for branch in compiled.branches:
            self._file(name, branch)

    def remove(self, name: str) -> None:
        """Remove a pattern; raises `KeyError` where there is none of that name."""
        compiled = self._patterns.pop(name)
        del self._walks[name]
        self._always.discard(name)
        for path, kind, trait in self._filed.pop(name):
            index = self._indexes[path]
            index.take_out(kind, trait, name)
            if index.is_empty():
                del self._indexes[path]
                self._collector = None
        for path in compiled.paths:
            self._paths[path] -= 1
            if not self._paths[path]:
                del self._paths[path]
                self._collector = None

    def match(self, event: Mapping[str, Any]) -> frozenset[str]:
        """The names of the patterns that `event` matches."""
        collect = self._collector
        if collect is None:
            collect = self._renew()
        patterns = self._patterns
        names = set(self._always)
        if type(event) is not dict or not collect(event, names):
            return frozenset([name for name in self._search(event) if patterns[name].matches(event)])
        walks = self._walks
        matched = []
        for name in names:
            verdict = walks[name](event)
            if verdict or (verdict is None and patterns[name].matches_by_search(event)):
                matched.append(name)
        return frozenset(matched)

    def _renew(self) -> _Collector:
        indexes = {path: index.collector() for path, index in self._indexes.items()}
        collect, _ = _collector([(path.split("."), indexes.get(path)) for path in self._paths])
        self._collector = collect
        self._tree = PathTree.of(self._indexes)
        return collect

    def _search(self, event: Mapping[str, Any]) -> _Names:
        """The names for any event."""
        names = set(self._always)
        for path, found in self._tree.fields(event).items():
            collect_value = self._indexes[path].collector()
            for value, _ in found:
                collect_value(value, names)
        return names

    def _file(self, name: str, branch: Branch) -> None:
        choices = [_places(condition.path, condition.leaf) for condition in branch if not condition.leaf.absent]
        if not choices:
            self._always.add(name)
            return
        for place in min(choices, key=self._crowding):
            path, kind, trait = place
            index = self._indexes.get(path)
            if index is None:
                index = self._indexes[path] = _PathIndex()
                self._collector = None
            index.put_in(kind, trait, name)
            self._filed[name].add(place)

    def _crowding(self, places: list[_Place]) -> tuple[bool, int, int]:
        """How bad a choice this is: presence last, then by the patterns that already lie there."""
        return (
            places[0][1] == "present",
            max(self._filed_at(place) for place in places),
            len(places),
        )

    def _filed_at(self, place: _Place) -> int:
        path, kind, trait = place
        index = self._indexes.get(path)
        return 0 if index is None else len(index.drawers[kind].get(trait, ()))


def _places(path: str, leaf: Leaf) -> list[_Place]:
    if not leaf.traits:
        return [(path, "present", None)]
    return [(path, kind, value) for kind, value in leaf.traits]


def _collector(paths: Sequence[_Path]) -> tuple[_Collector, set[str]]:
    """Paths below one object as a function that walks it, if no key has dots (P7), and all paths to or towards them."""
    below: dict[str, list[_Path]] = {}
    for steps, collect_value in paths:
        if len(steps) > 1:
            below.setdefault(steps[0], []).append((steps[1:], collect_value))
    reached = {steps[0] for steps, _ in paths}
    # The keys that would stand for several steps.
    dotted: set[str] = set()
    collectors: dict[str, tuple[_ValueCollector | None, _Collector | None]] = {
        steps[0]: (collect_value, None) for steps, collect_value in paths if len(steps) == 1 and collect_value
    }
    for step, inner in below.items():
        collect_inner, inner_reached = _collector(inner)
        dotted.update(f"{step}.{path}" for path in inner_reached)
        if any(len(steps) > 1 or collect_value is not None for steps, collect_value in inner):
            collectors[step] = (collectors[step][0] if step in collectors else None, collect_inner)

    def collect(fields: dict[str, Any], names: _Names) -> bool:
        if dotted and not fields.keys().isdisjoint(dotted):
            return False
        for key in collectors if len(collectors) < len(fields) else fields:
            if key not in collectors or key not in fields:
                continue
            value = fields[key]
            collect_value, collect_inner = collectors[key]
            if type(value) in SCALARS:
                if collect_value is not None:
                    collect_value(value, names)
            elif type(value) is dict:
                if collect_inner is not None and not collect_inner(value, names):
                    return False
            elif collect_inner is not None or collect_value is None or not _collect_all(value, collect_value, names):
                return False
        return True

    return collect, reached | dotted


def _collect_all(value: Any, collect_value: _ValueCollector, names: _Names) -> bool:
    """The names that an array of scalars leads to; false where it is no such array."""
    if type(value) is not list:
        return False
    for element in value:
        if type(element) not in SCALARS:
            return False
        collect_value(element, names)
    return True
