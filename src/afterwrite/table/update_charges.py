"""What UpdateItem counts of an update expression, beside the item that it leads to: its clauses and their values.

Most of the service's regions refuse an update whose clauses count for more bytes than an item may have, whatever they
leave of the item. The update of a transaction is not counted so, nor are AttributeUpdates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from afterwrite.core.values import AttributeValue
from afterwrite.table import syntax_tree as tree
from afterwrite.table.paths import Names, ResolvedPath
from afterwrite.table.sizes import value_size

_UPDATE_BYTES: Final = 3
_WRITING_CLAUSE_BYTES: Final = 19
_REMOVING_CLAUSE_BYTES: Final = 1
# Of a path that is written or removed, each part after its first; of one that is read, the whole and each part.
_TARGET_STEP_BYTES: Final = 4
_OPERAND_PATH_BYTES: Final = 1
_OPERAND_STEP_BYTES: Final = 14
_OPERATION_BYTES: Final[Mapping[str, int]] = {"+": 34, "-": 37, "if_not_exists": 39, "list_append": 37}


@dataclass(frozen=True, slots=True)
class Charge:
    """The bytes that clauses count for: `fixed`, and those of `values`, a placeholder for each use of it."""

    fixed: int
    values: tuple[str, ...]

    def size(self, values: Mapping[str, AttributeValue]) -> int:
        """All bytes, with the request's values."""
        return self.fixed + sum(value_size(values[name]) for name in self.values)


def charge_of(actions: Sequence[tree.Action], names: Names) -> Charge:
    """What an update of these actions counts for."""
    fixed = _UPDATE_BYTES
    values: list[str] = []
    for action in actions:
        fixed += _target_bytes(names.resolve(action.path))
        if isinstance(action, tree.RemoveAction | tree.DeleteAction):
            fixed += _REMOVING_CLAUSE_BYTES
        else:
            fixed += _WRITING_CLAUSE_BYTES + _operand_bytes(action.value, names, values)
    return Charge(fixed, tuple(values))


def _operand_bytes(node: tree.Operand, names: Names, values: list[str]) -> int:
    """The fixed bytes of an operand; the placeholders in it are added to `values`."""
    if isinstance(node, tree.ValuePlaceholder):
        values.append(node.name)
        return 0
    if isinstance(node, tree.Path):
        return _OPERAND_PATH_BYTES + sum(_OPERAND_STEP_BYTES + _part_bytes(part) for part in names.resolve(node))
    if isinstance(node, tree.Arithmetic):
        left, right = (_operand_bytes(operand, names, values) for operand in (node.left, node.right))
        return _OPERATION_BYTES[node.operator] + left + right
    return _OPERATION_BYTES[node.name] + sum(_operand_bytes(operand, names, values) for operand in node.arguments)


def _target_bytes(path: ResolvedPath) -> int:
    return sum(map(_part_bytes, path)) + _TARGET_STEP_BYTES * (len(path) - 1)


def _part_bytes(part: str | int) -> int:
    return len(str(part).encode())
