"""Expressions in the form in which the library in C carries them out (`accelerators/forms.h` says what that is).

Only those are there whose meaning is the same for all values: conditions on top-level attributes without `size`,
`contains` and `attribute_type`, and updates that set, add to or remove top-level attributes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from afterwrite.errors import ServiceError
from afterwrite.table import syntax_tree as tree
from afterwrite.table.conditions import parse_condition
from afterwrite.table.paths import Names
from afterwrite.table.remembering import remembered
from afterwrite.table.sizes import ITEM_BYTES_MAX
from afterwrite.table.update_charges import charge_of
from afterwrite.table.updates import parse_update

_HEAD: Final = struct.Struct("@IHHHHHHHH")
_LENGTH: Final = struct.Struct("@H")
_NAME: Final = struct.Struct("@HH")
_COMPARISONS: Final = {"=": b"=", "<>": b"#", "<": b"<", "<=": b"l", ">": b">", ">=": b"g"}
_FUNCTIONS: Final = {"attribute_exists": b"E", "attribute_not_exists": b"e", "begins_with": b"p"}
_VALUES_MAX: Final = 32
_ACTIONS_MAX: Final = 24
_CHOICES_MAX: Final = 100
_LEVELS_MAX: Final = 16
_BYTES_MAX: Final = 16_384
# Of the values that a request comes with, as `plain_write.c` takes them.
_ARGUMENTS_BYTES_MAX: Final = 16_384


class _Other(Exception):
    """An expression that has no form."""


@remembered
def form_of(update: str | None, condition: str | None, names: tuple[tuple[str, str], ...]) -> bytes | None:
    """The form of an update and a condition, either of which may be missing, with a request's names; None for none.

    They are known to be valid with these names, and the values to be those that they use.
    """
    try:
        form = _Form(dict(names)).written(update, condition)
    except (_Other, ServiceError, struct.error, UnicodeEncodeError):
        return None
    return form if len(form) <= _BYTES_MAX else None


def _text(text: str | None) -> bytes:
    return b"" if text is None else orjson.dumps(text)[1:-1]


class _Form:
    """A form in the making."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._given = names
        self._names = Names("", names)
        self._values: list[str] = []

    def written(self, update: str | None, condition: str | None) -> bytes:
        tested = b"" if condition is None else self._condition(parse_condition("ConditionExpression", condition), 0)
        actions = () if update is None else parse_update(update)
        applied = self._update(actions)
        charge = charge_of(actions, self._names)
        if len(self._values) > _VALUES_MAX:
            raise _Other
        if charge.fixed + len(charge.values) * _ARGUMENTS_BYTES_MAX > ITEM_BYTES_MAX:
            raise _Other  # such an update is refused with some values
        attributes = [self._attribute(action.path) for action in actions]
        texts = [_text(update), _text(condition), orjson.dumps(self._given) if self._given else b""]
        creates = update is None or any(isinstance(action, tree.SetAction | tree.AddAction) for action in actions)
        rest = b"".join((*texts, _lengthened(self._values), _lengthened(attributes), tested, applied))
        counts = (len(self._values), len(attributes), creates, len(tested), len(applied))
        return _HEAD.pack(_HEAD.size + len(rest), *map(len, texts), *counts) + rest

    def _condition(self, node: tree.Condition, level: int) -> bytes:
        if level > _LEVELS_MAX:
            raise _Other
        if isinstance(node, tree.And | tree.Or):
            tag = b"A" if isinstance(node, tree.And) else b"O"
            tests = [self._condition(each, level + 1) for each in node.conditions]
            return tag + _count(tests) + b"".join(tests)
        if isinstance(node, tree.Not):
            return b"!" + self._condition(node.condition, level + 1)
        if isinstance(node, tree.Comparison):
            return _COMPARISONS[node.operator] + self._operand(node.left) + self._operand(node.right)
        if isinstance(node, tree.Between):
            return b"b" + b"".join(map(self._operand, (node.operand, node.low, node.high)))
        if isinstance(node, tree.In):
            return b"i" + _count(node.choices) + b"".join(map(self._operand, (node.operand, *node.choices)))
        tag = _FUNCTIONS.get(node.name, b"")
        if not tag:
            raise _Other
        return tag + b"".join(map(self._operand, node.arguments))

    def _update(self, actions: Sequence[tree.Action]) -> bytes:
        if len(actions) > _ACTIONS_MAX:
            raise _Other
        sets, additions, removals = [], [], []
        for action in actions:
            name = self._name(self._attribute(action.path))
            if isinstance(action, tree.SetAction):
                sets.append(b"s" + name + self._operand(action.value))
            elif isinstance(action, tree.AddAction):
                additions.append(b"+" + name + bytes((self._value(action.value),)))
            elif isinstance(action, tree.RemoveAction):
                removals.append(b"r" + name)
            else:
                raise _Other
        return bytes((len(actions),)) + b"".join((*sets, *additions, *removals))

    def _operand(self, node: tree.Operand) -> bytes:
        if isinstance(node, tree.ValuePlaceholder):
            return b"v" + bytes((self._value(node),))
        if isinstance(node, tree.Path):
            return b"a" + self._name(self._attribute(node))
        if isinstance(node, tree.Arithmetic):
            return node.operator.encode() + self._operand(node.left) + self._operand(node.right)
        if node.name != "if_not_exists" or isinstance(node.arguments[1], tree.FunctionCall | tree.Arithmetic):
            raise _Other
        return b"?" + b"".join(map(self._operand, node.arguments))

    def _value(self, node: tree.ValuePlaceholder) -> int:
        """The number of a value."""
        if node.name not in self._values:
            self._values.append(node.name)
        return min(self._values.index(node.name), _VALUES_MAX)

    def _attribute(self, path: tree.Path) -> str:
        resolved = self._names.resolve(path)
        if len(resolved) > 1:
            raise _Other
        return str(resolved[0])

    def _name(self, attribute: str) -> bytes:
        written = _text(attribute)
        return _NAME.pack(len(written), len(attribute.encode())) + written


def _count(nodes: Sequence[object]) -> bytes:
    if len(nodes) > _CHOICES_MAX:
        raise _Other
    return bytes((len(nodes),))


def _lengthened(names: Sequence[str]) -> bytes:
    """Names, each after its length."""
    texts = [_text(name) for name in names]
    return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
