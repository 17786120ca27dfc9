"""The trees that the expression grammars make. They are frozen, and hold placeholders unresolved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Path:
    """A document path: attribute names, `#name` placeholders, and list indexes."""

    parts: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ValuePlaceholder:
    """A `:value` placeholder."""

    name: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function with its arguments, which may be conditions' (`contains`) or updates' (`list_append`)."""

    name: str
    arguments: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`left + right` or `left - right` in a SET action."""

    operator: str
    left: Operand
    right: Operand


Operand: TypeAlias = Path | ValuePlaceholder | FunctionCall | Arithmetic


@dataclass(frozen=True, slots=True)
class Comparison:
    """One of `= <> < <= > >=`."""

    operator: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Between:
    """`operand BETWEEN low AND high`, both ends included."""

    operand: Operand
    low: Operand
    high: Operand


@dataclass(frozen=True, slots=True)
class In:
    """`operand IN (choice, ...)`."""

    operand: Operand
    choices: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT condition`."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of the conditions, tested from the left."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the conditions, tested from the left."""

    conditions: tuple[Condition, ...]


Condition: TypeAlias = Comparison | Between | In | Not | And | Or | FunctionCall


@dataclass(frozen=True, slots=True)
class SetAction:
    """`SET path = value`."""

    path: Path
    value: Operand


@dataclass(frozen=True, slots=True)
class RemoveAction:
    """`REMOVE path`."""

    path: Path


@dataclass(frozen=True, slots=True)
class AddAction:
    """`ADD path :value`."""

    path: Path
    value: ValuePlaceholder


@dataclass(frozen=True, slots=True)
class DeleteAction:
    """`DELETE path :value`."""

    path: Path
    value: ValuePlaceholder


Action: TypeAlias = SetAction | RemoveAction | AddAction | DeleteAction
