"""Key conditions: which partition a query reads, and which range of sort keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from afterwrite.table import syntax_tree as tree
from afterwrite.table import wording
from afterwrite.table.conditions import Values, parse_condition
from afterwrite.table.index_keys import check_index_keys, entry_range
from afterwrite.table.keys import KeyRange, check_key_sizes, partition_range, sort_range
from afterwrite.table.lexer import invalid_expression
from afterwrite.table.paths import Names
from afterwrite.table.remembering import remembered
from afterwrite.table.schema import IndexSchema, KeySchema

LABEL = "KeyConditionExpression"

# A condition may be written with its sides exchanged: `:low < SK` means `SK > :low`.
_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

_CONDITIONS_MAX = 2

_INDEXABLE = frozenset((*_MIRRORED, "BETWEEN", "begins_with"))

_Conjunct: TypeAlias = tree.Comparison | tree.Between | tree.In | tree.Not | tree.Or | tree.FunctionCall


@dataclass(frozen=True, slots=True)
class Term:
    """A condition on one key attribute: an operator, and the placeholders of its operands."""

    attribute: str
    operator: str
    operands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompiledKeyCondition:
    """A key condition whose names are resolved."""

    terms: tuple[Term, ...]

    def range(self, schema: KeySchema, values: Values) -> KeyRange:
        """The encoded keys that the condition selects from a table with this schema."""
        (partition,), sort = self._roles(schema, values)
        partition_value = values[partition.operands[0]]
        check_key_sizes(schema, {schema.partition_key: partition_value})
        if not sort:
            return partition_range(partition_value)
        term = sort[0]
        operands = [values[name] for name in term.operands]
        for operand in operands:
            check_key_sizes(schema, {term.attribute: operand})
        return sort_range(partition_value, term.operator, *operands)

    def entry_range(self, index: IndexSchema, values: Values) -> KeyRange:
        """The entries that the condition selects from an index."""
        partition, sort = self._roles(index, values)
        partition_values = [values[term.operands[0]] for term in partition]
        for term in (*partition, *sort):
            for name in term.operands:
                check_index_keys([index], {term.attribute: values[name]})
        if not sort:
            return entry_range(partition_values)
        *equal, last = sort
        return entry_range(
            partition_values,
            [values[term.operands[0]] for term in equal],
            last.operator,
            *(values[name] for name in last.operands),
        )

    def _roles(self, schema: KeySchema | IndexSchema, values: Values) -> tuple[list[Term], list[Term]]:
        """The terms of the partition key, and those of the sort key, in the schema's order."""
        if len(self.terms) > max(_CONDITIONS_MAX, len(schema.names)):
            raise wording.invalid(
                f"The number of query conditions ({len(self.terms)}) exceeds the number of key attributes defined in "
                f"the schema ({len(schema.names)})"
            )
        if len(self.terms) > len(schema.names):
            raise wording.invalid("Query key condition not supported")
        by_attribute = {term.attribute: term for term in self.terms}
        _check_partition(schema, by_attribute, values)
        partition = [by_attribute.pop(attribute.name) for attribute in schema.partition_attributes]
        sort = [by_attribute.pop(name) for name in _leading(schema, by_attribute)]
        if by_attribute:
            missed = schema.sort_attributes[len(sort)].name
            raise wording.invalid(f"Query condition missed key schema element: {missed}")
        for term in sort:
            _check_operands(schema, term, values)
        return partition, sort


@remembered
def compile_key_condition(text: str, names: tuple[tuple[str, str], ...]) -> CompiledKeyCondition:
    """The key condition `text` with `names`, the request's ExpressionAttributeNames as pairs.

    It must have passed as a condition, `compile_condition`, before: here it is only read as one on keys.
    """
    resolver = Names(LABEL, dict(names))
    terms = tuple(_term(node, resolver) for node in _conjuncts(parse_condition(LABEL, text)))
    if len({term.attribute for term in terms}) != len(terms):
        raise invalid_expression(LABEL, "KeyConditionExpressions must only contain one condition per key")
    return CompiledKeyCondition(terms)


def _conjuncts(node: tree.Condition) -> list[_Conjunct]:
    if isinstance(node, tree.And):
        return [inner for each in node.conditions for inner in _conjuncts(each)]
    return [node]


def _term(node: _Conjunct, names: Names) -> Term:
    if isinstance(node, tree.Or):
        raise wording.invalid("Invalid operator used in KeyConditionExpression: OR")
    if isinstance(node, tree.Not):
        raise wording.invalid("Invalid operator used in KeyConditionExpression: NOT")
    if isinstance(node, tree.In):
        raise wording.invalid("Invalid operator used in KeyConditionExpression: IN")
    if isinstance(node, tree.Between):
        attribute = _attribute(node.operand, "BETWEEN", names)
        return Term(attribute, "BETWEEN", (_value(node.low), _value(node.high)))
    if isinstance(node, tree.FunctionCall):
        if node.name != "begins_with":
            raise wording.invalid(f"Invalid operator used in KeyConditionExpression: {node.name}")
        path, prefix = node.arguments
        return Term(_attribute(path, "begins_with", names), "begins_with", (_value(prefix),))
    if node.operator not in _MIRRORED:
        raise wording.invalid(f"Invalid operator used in KeyConditionExpression: {node.operator}")
    if isinstance(node.left, tree.ValuePlaceholder):
        if isinstance(node.right, tree.ValuePlaceholder):
            raise wording.invalid("Invalid condition in KeyConditionExpression: No key attribute specified")
        operator = _MIRRORED[node.operator]
        return Term(_attribute(node.right, operator, names), operator, (node.left.name,))
    return Term(_attribute(node.left, node.operator, names), node.operator, (_value(node.right),))


def _attribute(node: tree.Operand, operator: str, names: Names) -> str:
    if isinstance(node, tree.FunctionCall):
        raise wording.invalid("KeyConditionExpressions cannot contain nested operations")
    if not isinstance(node, tree.Path):
        raise wording.invalid(
            f"Invalid condition in KeyConditionExpression: {operator} operator must have the key attribute "
            "as its first operand"
        )
    path = names.resolve(node)
    if len(path) > 1:
        raise invalid_expression(LABEL, "KeyConditionExpressions cannot have conditions on nested attributes")
    return str(path[0])


def _value(node: tree.Operand) -> str:
    if isinstance(node, tree.FunctionCall):
        raise wording.invalid("KeyConditionExpressions cannot contain nested operations")
    if not isinstance(node, tree.ValuePlaceholder):
        raise wording.invalid(
            "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"
        )
    return node.name


def _check_partition(schema: KeySchema | IndexSchema, terms: Mapping[str, Term], values: Values) -> None:
    names = [attribute.name for attribute in schema.partition_attributes]
    if len(names) == 1 and names[0] not in terms:
        raise wording.invalid(f"Query condition missed key schema element: {names[0]}")
    if any(terms[name].operator not in _INDEXABLE for name in schema.names if name in terms):
        raise wording.invalid("Attempted conditional constraint is not an indexable operation")
    for name in names:
        if name in terms:
            _check_operands(schema, terms[name], values)
    unequal = [name for name in names if name not in terms or terms[name].operator != "="]
    if not unequal:
        return
    if len(names) > 1:
        raise wording.invalid(
            f"HASH key attributes {', '.join(unequal)} must have equality conditions specified in the query"
        )
    raise wording.invalid("Query key condition not supported")


def _leading(schema: KeySchema | IndexSchema, terms: Mapping[str, Term]) -> list[str]:
    """The attributes of the sort key that have conditions: the first ones, of which only the last may be a range."""
    names = [attribute.name for attribute in schema.sort_attributes]
    conditioned = [number for number, name in enumerate(names) if name in terms]
    if not conditioned:
        return []
    leading = names[: conditioned[-1] + 1]
    *earlier, last = leading
    unequal = [name for name in earlier if name not in terms or terms[name].operator != "="]
    if unequal:
        raise wording.invalid(
            f"RANGE key attributes {', '.join(unequal)} must have equality conditions specified in the query because "
            f"a condition is present on key attribute {last}"
        )
    return leading


def _check_operands(schema: KeySchema | IndexSchema, term: Term, values: Values) -> None:
    if any(schema.type_of(term.attribute) not in values[name] for name in term.operands):
        raise wording.invalid_parameter("Condition parameter type does not match schema type")
