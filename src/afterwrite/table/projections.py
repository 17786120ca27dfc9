"""Projections: the parts of an item that document paths name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from afterwrite.core.values import AttributeValue, Item
from afterwrite.table.grammar import ProjectionGrammar
from afterwrite.table.lexer import invalid_expression
from afterwrite.table.paths import Names, ResolvedPath, interference
from afterwrite.table.remembering import remembered

_LABEL = "ProjectionExpression"


class Projection:
    """Selects document paths from items; the paths must not overlap.

    `nested` are the top-level attributes that it looks into.
    """

    __slots__ = ("_branches", "_names", "nested")

    def __init__(self, paths: Iterable[ResolvedPath]) -> None:
        self._branches: dict[str | int, Any] = {}
        for path in paths:
            branch = self._branches
            for part in path:
                branch = branch.setdefault(part, {})
        self.nested = frozenset(str(name) for name, deeper in self._branches.items() if deeper)
        self._names = None if self.nested else tuple(str(name) for name in self._branches)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The top-level attributes that the paths are in."""
        return tuple(str(name) for name in self._branches)

    def of(self, item: Mapping[str, AttributeValue]) -> Item:
        """What the item has of the paths: nested values stand in the maps and lists that held them."""
        if self._names is not None:
            return {name: item[name] for name in self._names if name in item}
        selected: Item = {}
        for name, branches in self._branches.items():
            value = item.get(str(name))
            part = None if value is None else _select(value, branches)
            if part is not None:
                selected[str(name)] = part
        return selected


@dataclass(frozen=True, slots=True)
class CompiledProjection:
    """A projection expression whose names are resolved."""

    projection: Projection
    names_used: frozenset[str]


@remembered
def compile_projection(text: str, names: tuple[tuple[str, str], ...]) -> CompiledProjection:
    """The projection `text` with `names`, the request's ExpressionAttributeNames as pairs."""
    resolver = Names(_LABEL, dict(names))
    paths = [resolver.resolve(path) for path in ProjectionGrammar(_LABEL, text).parse()]
    problem = interference(paths)
    if problem:
        raise invalid_expression(_LABEL, problem)
    return CompiledProjection(Projection(paths), frozenset(resolver.used))


def _select(value: AttributeValue, branches: dict[str | int, Any]) -> AttributeValue | None:
    if not branches:
        return value
    if "M" in value:
        members = {}
        for name, deeper in branches.items():
            member = value["M"].get(name)
            part = None if member is None else _select(member, deeper)
            if part is not None:
                members[name] = part
        return {"M": members} if members else None
    if "L" in value:
        elements = []
        # Elements keep the list's order, whatever order the paths have.
        for index in sorted(index for index in branches if isinstance(index, int)):
            if index < len(value["L"]):
                part = _select(value["L"][index], branches[index])
                if part is not None:
                    elements.append(part)
        return {"L": elements} if elements else None
    return None
