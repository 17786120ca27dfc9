"""SearchConditionExpression: which values the items of a vector search have."""

from __future__ import annotations

from typing import Final

from afterwrite.table import syntax_tree as tree
from afterwrite.table import wording
from afterwrite.table.conditions import parse_condition
from afterwrite.table.lexer import invalid_expression
from afterwrite.table.paths import Names
from afterwrite.table.remembering import remembered

LABEL: Final = "SearchConditionExpression"


@remembered
def compile_search_condition(text: str, names: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The attributes that the condition `text` gives values for, each with its value's placeholder.

    It must have passed as a condition before: here it is only read as one of a search, which is nothing but
    equalities. `names` are the request's ExpressionAttributeNames as pairs.
    """
    resolver = Names(LABEL, dict(names))
    equalities = tuple(_equality(node, resolver) for node in _conjuncts(parse_condition(LABEL, text)))
    if len({attribute for attribute, _ in equalities}) != len(equalities):
        raise wording.invalid(f"{LABEL}s must only contain one condition per attribute")
    return equalities


def _conjuncts(node: tree.Condition) -> list[tree.Condition]:
    if isinstance(node, tree.And):
        return [inner for each in node.conditions for inner in _conjuncts(each)]
    return [node]


def _equality(node: tree.Condition, names: Names) -> tuple[str, str]:
    if not isinstance(node, tree.Comparison):
        raise wording.invalid(f"Invalid operator used in {LABEL}: {_operator(node)}")
    if node.operator != "=":
        raise invalid_expression(LABEL, f"Invalid comparator used in {LABEL}")
    path, value = node.left, node.right
    if isinstance(path, tree.ValuePlaceholder):
        path, value = value, path
    if not isinstance(path, tree.Path) or not isinstance(value, tree.ValuePlaceholder):
        raise wording.invalid(f"Invalid condition in {LABEL}: an attribute is compared with a value")
    resolved = names.resolve(path)
    if len(resolved) > 1:
        raise wording.invalid(f"{LABEL}s cannot have conditions on nested attributes")
    return str(resolved[0]), value.name


def _operator(node: tree.Condition) -> str:
    return node.name if isinstance(node, tree.FunctionCall) else type(node).__name__.upper()
