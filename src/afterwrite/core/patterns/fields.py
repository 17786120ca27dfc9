"""The fields of an event that a pattern asks about, and array consistency among them (P5, P7).

A field is a scalar with its *chain*: which element of which array it lies in, without the array whose element it is
itself. Fields combine unless their chains name different elements of one array. Chains share what is around them, so
that an event costs memory by its size, however deep its arrays nest. They are told apart by identity: to compare or
hash one would walk all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from afterwrite.core.patterns.matchers import ARRAYS, SCALARS
from afterwrite.core.patterns.parsing import Condition

Chain = tuple["Chain", int, int] | None
"""The chain of what is around the innermost array, that array, and which element of it; None outside of arrays."""
Fields = dict[str, list[tuple[Any, Chain]]]


class PathTree:
    """Paths by their steps. `reach` leads to every node below by the steps between, joined by dots.

    An event may write a path's steps in one key or in several (P7); `reach` finds either.
    """

    __slots__ = ("path", "reach")

    def __init__(self) -> None:
        self.path: str | None = None
        self.reach: dict[str, PathTree] = {}

    @classmethod
    def of(cls, paths: Iterable[str]) -> PathTree:
        """The tree of these paths."""
        root = cls()
        for path in paths:
            root._add(path)
        return root

    def _add(self, path: str) -> None:
        steps = path.split(".")
        nodes = [self]
        for end, step in enumerate(steps, start=1):
            node = nodes[-1].reach.get(step)
            if node is None:
                node = PathTree()
                for start, ancestor in enumerate(nodes):
                    ancestor.reach[".".join(steps[start:end])] = node
            nodes.append(node)
        nodes[-1].path = path

    def fields(self, event: Mapping[str, Any]) -> Fields:
        """The event's fields at the tree's paths. Not recursive: an event's arrays nest as deep as they like."""
        found: Fields = {}
        arrays = 0
        waiting: list[tuple[PathTree, Any, Chain]] = [(self, event, None)]
        for node, value, chain in waiting:  # which grows meanwhile, so that fields come in the event's order
            if type(value) in SCALARS:
                if node.path is not None:
                    found.setdefault(node.path, []).append((value, chain))
            elif isinstance(value, dict | Mapping):
                reach = node.reach
                keys = value if len(value) < len(reach) else reach
                waiting.extend((reach[key], value[key], chain) for key in keys if key in reach and key in value)
            elif isinstance(value, ARRAYS):
                array, arrays = arrays, arrays + 1
                for index, element in enumerate(value):
                    nested = isinstance(element, (dict, Mapping, *ARRAYS))
                    waiting.append((node, element, (chain, array, index) if nested else chain))
            elif node.path is not None:
                found.setdefault(node.path, []).append((value, chain))
        return found


def _links(chain: Chain) -> Iterator[tuple[int, int]]:
    while chain is not None:
        chain, array, index = chain
        yield array, index


class _Chains:
    """A set of chains as a tree, to find those that agree with the elements chosen so far."""

    __slots__ = ("arrays", "chain", "is_end")

    def __init__(self) -> None:
        self.chain: Chain = None
        self.is_end = False
        self.arrays: dict[int, dict[int, _Chains]] = {}

    @classmethod
    def of(cls, chains: Iterable[Chain]) -> _Chains:
        root = cls()
        nodes: dict[int, _Chains] = {}
        for chain in chains:
            new = []
            link = chain
            while link is not None and id(link) not in nodes:
                new.append(link)
                link = link[0]
            node = root if link is None else nodes[id(link)]
            for link in reversed(new):
                _, array, index = link
                node = nodes[id(link)] = node.arrays.setdefault(array, {}).setdefault(index, _Chains())
            node.chain, node.is_end = chain, True
        return root

    def agreeing(self, chosen: Mapping[int, int]) -> Iterator[Chain]:
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.is_end:
                yield node.chain
            for array, elements in node.arrays.items():
                index = chosen.get(array)
                if index is None:
                    waiting.extend(elements.values())
                elif index in elements:
                    waiting.append(elements[index])


def consistent(conditions: Sequence[Condition], fields: Fields) -> bool:
    """Whether one choice of array elements satisfies every condition (P5).

    Conditions are taken in the order of their paths, as the services do: `exists: false` sees the elements that
    the conditions before it have not ruled out. All choices are followed at once, each as a mapping from array to
    element, and an array is forgotten when no later condition looks into it. So the work grows with the event's
    size, times how many arrays lie around a chosen element, and not with the product of its arrays, unless the event
    writes one path in several ways (P7) and puts arrays into more than one of them.
    """
    needed = _arrays_needed_after(conditions, fields)
    choices: dict[frozenset[tuple[int, int]], dict[int, int]] = {frozenset(): {}}
    for condition, later in zip(conditions, needed, strict=True):
        test = condition.leaf.test
        found = fields.get(condition.path, ())
        passing = _Chains.of(chain for value, chain in found if test(value))
        present = _Chains.of(chain for _, chain in found)
        following: dict[frozenset[tuple[int, int]], dict[int, int]] = {}
        for chosen in choices.values():
            if condition.leaf.absent and not any(True for _ in present.agreeing(chosen)):
                _keep(following, chosen, None, later)
            for chain in passing.agreeing(chosen):
                _keep(following, chosen, chain, later)
        if not following:
            return False
        choices = following
    return True


def _keep(
    following: dict[frozenset[tuple[int, int]], dict[int, int]],
    chosen: Mapping[int, int],
    chain: Chain,
    later: frozenset[int],
) -> None:
    kept = {array: index for array, index in (*chosen.items(), *_links(chain)) if array in later} if later else {}
    following[frozenset(kept.items())] = kept


def _arrays_needed_after(conditions: Sequence[Condition], fields: Fields) -> list[frozenset[int]]:
    needed: list[frozenset[int]] = []
    later: frozenset[int] = frozenset()
    for condition in reversed(conditions):
        needed.append(later)
        later |= _arrays(chain for _, chain in fields.get(condition.path, ()))
    return needed[::-1]


def _arrays(chains: Iterable[Chain]) -> set[int]:
    arrays: set[int] = set()
    seen: set[int] = set()
    for chain in chains:
        link = chain
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            arrays.add(link[1])
            link = link[0]
    return arrays
