"""Key conditions: which partition a query reads, and which range of sort keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from afterwrite.table import syntax_tree as tree
from afterwrite.table.conditions import CACHED_EXPRESSIONS_MAX, Values, parse_condition
from afterwrite.table.keys import KeyRange, check_key_sizes, partition_range, sort_range
from afterwrite.table.lexer import invalid_expression
from afterwrite.table.paths import Names, invalid
from afterwrite.table.schema import KeySchema

LABEL = "KeyConditionExpression"

# A condition may be written with its sides exchanged: `:low < SK` means `SK > :low`.
_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CONDITIONS_MAX = 2

_Conjunct: TypeAlias = tree.Comparison | tree.Between | tree.In | tree.Not | tree.Or | tree.FunctionCall


@dataclass(frozen=True, slots=True)
class _Term:
    """A condition on one key attribute: an operator, and the placeholders of its operands."""

    attribute: str
    operator: str
    operands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompiledKeyCondition:
    """A key condition whose names are resolved."""

    terms: tuple[_Term, ...]

    def range(self, schema: KeySchema, values: Values) -> KeyRange:
        """The encoded keys that the condition selects from a table with this schema."""
        partition, sort = self._roles(schema)
        partition_value = values[partition.operands[0]]
        _check_type(schema, partition, partition_value)
        check_key_sizes(schema, {schema.partition_key: partition_value})
        if sort is None:
            return partition_range(partition_value)
        operands = [values[name] for name in sort.operands]
        for operand in operands:
            _check_type(schema, sort, operand)
            if sort.operator == "=":
                check_key_sizes(schema, {sort.attribute: operand})
        if sort.operator == "begins_with" and schema.sort_type == "N":
            raise invalid_expression(
                LABEL,
                "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
            )
        return sort_range(partition_value, sort.operator, *operands)

    def _roles(self, schema: KeySchema) -> tuple[_Term, _Term | None]:
        partition = next((term for term in self.terms if term.attribute == schema.partition_key), None)
        if partition is None:
            raise invalid(f"Query condition missed key schema element: {schema.partition_key}")
        if partition.operator != "=":
            raise invalid("Query key condition not supported")
        sort = next((term for term in self.terms if term is not partition), None)
        if sort is not None and sort.attribute != schema.sort_key:
            if schema.sort_key is None:
                raise invalid("Query key condition not supported")
            raise invalid(f"Query condition missed key schema element: {schema.sort_key}")
        return partition, sort


@lru_cache(maxsize=CACHED_EXPRESSIONS_MAX)
def compile_key_condition(text: str, names: tuple[tuple[str, str], ...]) -> CompiledKeyCondition:
    """The key condition `text` with `names`, the request's ExpressionAttributeNames as pairs.

    It must have passed as a condition, `compile_condition`, before: here it is only read as one on keys.
    """
    resolver = Names(LABEL, dict(names))
    terms = tuple(_term(node, resolver) for node in _conjuncts(parse_condition(LABEL, text)))
    if len({term.attribute for term in terms}) != len(terms):
        raise invalid("KeyConditionExpressions must only contain one condition per key")
    if len(terms) > _CONDITIONS_MAX:
        raise invalid("Conditions can be of length 1 or 2 only")
    return CompiledKeyCondition(terms)


def _conjuncts(node: tree.Condition) -> list[_Conjunct]:
    if isinstance(node, tree.And):
        return [inner for each in node.conditions for inner in _conjuncts(each)]
    return [node]


def _term(node: _Conjunct, names: Names) -> _Term:
    if isinstance(node, tree.Or):
        raise invalid("Invalid operator used in KeyConditionExpression: OR")
    if isinstance(node, tree.Not):
        raise invalid("Invalid operator used in KeyConditionExpression: NOT")
    if isinstance(node, tree.In):
        raise invalid("Invalid operator used in KeyConditionExpression: IN")
    if isinstance(node, tree.Between):
        attribute = _attribute(node.operand, "BETWEEN", names)
        return _Term(attribute, "BETWEEN", (_value(node.low), _value(node.high)))
    if isinstance(node, tree.FunctionCall):
        if node.name != "begins_with":
            raise invalid(f"Invalid operator used in KeyConditionExpression: {node.name}")
        path, prefix = node.arguments
        return _Term(_attribute(path, "begins_with", names), "begins_with", (_value(prefix),))
    if node.operator not in _MIRRORED:
        raise invalid(f"Invalid operator used in KeyConditionExpression: {node.operator}")
    if isinstance(node.left, tree.ValuePlaceholder):
        if isinstance(node.right, tree.ValuePlaceholder):
            raise invalid("Invalid condition in KeyConditionExpression: No key attribute specified")
        operator = _MIRRORED[node.operator]
        return _Term(_attribute(node.right, operator, names), operator, (node.left.name,))
    return _Term(_attribute(node.left, node.operator, names), node.operator, (_value(node.right),))


def _attribute(node: tree.Operand, operator: str, names: Names) -> str:
    if isinstance(node, tree.FunctionCall):
        raise invalid("KeyConditionExpressions cannot contain nested operations")
    if not isinstance(node, tree.Path):
        raise invalid(
            f"Invalid condition in KeyConditionExpression: {operator} operator must have the key attribute "
            "as its first operand"
        )
    path = names.resolve(node)
    if len(path) > 1:
        raise invalid("KeyConditionExpressions cannot have conditions on nested attributes")
    return str(path[0])


def _value(node: tree.Operand) -> str:
    if isinstance(node, tree.FunctionCall):
        raise invalid("KeyConditionExpressions cannot contain nested operations")
    if not isinstance(node, tree.ValuePlaceholder):
        raise invalid("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
    return node.name


def _check_type(schema: KeySchema, term: _Term, value: Mapping[str, object]) -> None:
    if schema.type_of(term.attribute) not in value:
        raise invalid("One or more parameter values were invalid: Condition parameter type does not match schema type")
