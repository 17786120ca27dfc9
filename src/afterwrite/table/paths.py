"""Document paths: placeholders resolved, values found, and paths that get in each other's way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from afterwrite.core.values import AttributeValue
from afterwrite.table.attribute_values import NESTING_LEVELS_MAX
from afterwrite.table.lexer import invalid_expression
from afterwrite.table.syntax_tree import Path

ResolvedPath: TypeAlias = tuple[str | int, ...]
Lookup: TypeAlias = Callable[[Mapping[str, AttributeValue], Mapping[str, AttributeValue]], Any]


class Names:
    """The `#name` placeholders of a request as one expression uses them."""

    def __init__(self, label: str, names: Mapping[str, str]) -> None:
        self.label = label
        self.used: set[str] = set()
        self._names = names

    def resolve(self, path: Path) -> ResolvedPath:
        """`path` with its placeholders replaced; raises for one that is not defined, and for a path too long."""
        resolved = tuple(self._name(part) if isinstance(part, str) and part[0] == "#" else part for part in path.parts)
        if len(resolved) > NESTING_LEVELS_MAX:
            raise invalid_expression(
                self.label, f"The document path has too many nesting levels; nesting levels: {len(resolved)}"
            )
        return resolved

    def _name(self, placeholder: str) -> str:
        name = self._names.get(placeholder)
        if name is None:
            raise invalid_expression(
                self.label,
                f"An expression attribute name used in the document path is not defined; attribute name: {placeholder}",
            )
        self.used.add(placeholder)
        return name


def lookup(path: ResolvedPath) -> Lookup:
    """A function that finds the value at `path` in an item; None where there is none.

    It takes the request's values too, and ignores them, so that it stands wherever an operand may.
    """
    head, rest = str(path[0]), path[1:]
    if not rest:
        return lambda item, _values: item.get(head)

    def find(item: Mapping[str, AttributeValue], _values: Mapping[str, AttributeValue]) -> Any:
        return find_in(item.get(head), rest)

    return find


def find_in(value: Mapping[str, Any] | None, parts: Iterable[str | int]) -> Any:
    """The value that `parts` lead to from `value`; None where there is none."""
    for part in parts:
        if value is None:
            return None
        if isinstance(part, str):
            members = value.get("M")
            value = None if members is None else members.get(part)
        else:
            elements = value.get("L")
            value = None if elements is None or part >= len(elements) else elements[part]
    return value


def interference(paths: Sequence[ResolvedPath]) -> str | None:
    """What DynamoDB says of paths of which one contains another, or sees a list where another sees a map."""
    for problem in ("overlap", "conflict"):
        for index, two in enumerate(paths):
            for one in paths[:index]:
                if _problem(one, two) == problem:
                    return (
                        f"Two document paths {problem} with each other; must remove or rewrite one of these paths; "
                        f"path one: {path_text(one)}, path two: {path_text(two)}"
                    )
    return None


def _problem(one: ResolvedPath, two: ResolvedPath) -> str:
    for left, right in zip(one, two, strict=False):
        if type(left) is not type(right):
            return "conflict"
        if left != right:
            return ""
    return "overlap"


def same_operand(name: str, path: ResolvedPath) -> str:
    """Why an operator or function is refused whose operands are one path."""
    return (
        "The first operand must be distinct from the remaining operands for this operator or function; "
        f"operator: {name}, first operand: {path_text(path)}"
    )


def path_text(path: ResolvedPath) -> str:
    """A path as DynamoDB's messages show it: `[a, [0], b]`."""
    return "[" + ", ".join(part if isinstance(part, str) else f"[{part}]" for part in path) + "]"


def copied(value: Mapping[str, Any]) -> AttributeValue:
    """A copy of an attribute value that shares nothing that can change."""
    for kind, content in value.items():
        if kind == "M":
            return {"M": {name: copied(member) for name, member in content.items()}}
        if kind == "L":
            return {"L": [copied(member) for member in content]}
    return dict(value)
