"""Whether alternatives of a WHERE clause select the same sort keys of a partition, which no SELECT may ask for.

An OR that says something of a key leaves alternatives; any other is a part of what is looked for within them. An
alternative that says of a key what is no range of it, as NOT and <> do, is never refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from typing import Final, TypeAlias

from afterwrite.core.values import AttributeValue
from afterwrite.table import syntax_tree as tree
from afterwrite.table import wording
from afterwrite.table.conditions import Values
from afterwrite.table.key_conditions import Term
from afterwrite.table.keys import KeyRange, partition_range, sort_range
from afterwrite.table.schema import IndexSchema, KeySchema

_ALTERNATIVES_MAX: Final = 300

_Alternative: TypeAlias = tuple[tree.Condition, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a WHERE clause is read: what a condition says of one attribute, if that is all, and what it looks at."""

    term: Callable[[tree.Condition], Term | None]
    attributes: Callable[[tree.Condition], frozenset[str]]
    values: Values


def refuse_overlaps(where: tree.Condition | None, schema: KeySchema | IndexSchema, reading: Reading) -> None:
    """Refuse a clause of which two alternatives may find the same item by its key. Raises ServiceError."""
    if where is None or not schema.sort_attributes:
        return
    alternatives = _alternatives(where, frozenset(schema.names), reading)
    if len(alternatives) < 2:
        return
    found: list[KeyRange] = []
    for alternative in alternatives:
        ranges = _ranges(alternative, schema, reading)
        if ranges is None:
            return
        found += ranges
    found.sort(key=lambda each: (each.low, each.high))
    if any(later.low < earlier.high for earlier, later in pairwise(found)):
        raise wording.invalid("Overlapping conditions with range keys are not supported in where clause")


def _alternatives(node: tree.Condition, keys: frozenset[str], reading: Reading) -> Sequence[_Alternative]:
    """The alternatives of a condition; of one that has very many, the condition itself."""
    if isinstance(node, tree.Or) and not keys.isdisjoint(reading.attributes(node)):
        return [each for inner in node.conditions for each in _alternatives(inner, keys, reading)]
    if not isinstance(node, tree.And):
        return [(node,)]
    parts = [_alternatives(each, keys, reading) for each in node.conditions]
    if prod(map(len, parts)) > _ALTERNATIVES_MAX:
        return [(node,)]
    return [tuple(each for part in chosen for each in part) for chosen in product(*parts)]


def _ranges(alternative: _Alternative, schema: KeySchema | IndexSchema, reading: Reading) -> Sequence[KeyRange] | None:
    """The keys that an alternative may find; None where it names no partition."""
    partition, sort = schema.partition_attributes[0].name, schema.sort_attributes[0].name
    terms = [(each, reading.term(each)) for each in alternative]
    named = [term for _, term in terms if term is not None and term.attribute == partition]
    operands = next((term.operands for term in named if term.operator in ("=", "IN")), None)
    sorting = [term for _, term in terms if term is not None and term.attribute == sort]
    if operands is None or not all(_fits(term, schema, reading.values) for term in (*named, *sorting)):
        return None
    if any(term is None and not reading.attributes(node).isdisjoint((partition, sort)) for node, term in terms):
        return ()
    partitions = {str(reading.values[name]): reading.values[name] for name in operands}
    return [found for each in partitions.values() for found in _within(each, sorting, reading.values)]


def _fits(term: Term, schema: KeySchema | IndexSchema, values: Values) -> bool:
    return all(schema.type_of(term.attribute) in values[name] for name in term.operands)


def _within(partition: AttributeValue, sorting: Sequence[Term], values: Values) -> AbstractSet[KeyRange]:
    """The ranges of a partition that meet every term of the sort key."""
    found: AbstractSet[KeyRange] = {partition_range(partition)}
    for term in sorting:
        if term.operator == "IN":
            found = _narrowed(found, {sort_range(partition, "=", values[name]) for name in term.operands})
        else:
            found = _narrowed(found, {sort_range(partition, term.operator, *(values[name] for name in term.operands))})
    return found


def _narrowed(found: AbstractSet[KeyRange], to: AbstractSet[KeyRange]) -> AbstractSet[KeyRange]:
    """What ranges have in common with others. Where there are several of both, each is of one key."""
    if len(found) > 1 and len(to) > 1:
        return found & to
    both = (KeyRange(max(one.low, other.low), min(one.high, other.high)) for one in found for other in to)
    return {each for each in both if each.low < each.high}
