"""PartiQL statements as the reads and writes that they ask for, once their table's keys are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson

from afterwrite.core.values import AttributeValue, Item
from afterwrite.table import statement_tree as statements
from afterwrite.table import syntax_tree as tree
from afterwrite.table import wording
from afterwrite.table.capacity import Reporting
from afterwrite.table.conditions import CompiledCondition, Values, bind_condition
from afterwrite.table.expressions import Condition
from afterwrite.table.key_conditions import CompiledKeyCondition, Term
from afterwrite.table.keys import checked_key, encode_sort_value
from afterwrite.table.paths import Names, ResolvedPath, find_in
from afterwrite.table.projections import Projection
from afterwrite.table.reads import GetPlan, QueryPlan
from afterwrite.table.schema import IndexSchema, KeySchema
from afterwrite.table.sizes import check_put_bytes, item_size
from afterwrite.table.statement_overlaps import Reading, refuse_overlaps
from afterwrite.table.statement_tree import Statement
from afterwrite.table.updates import bind_update
from afterwrite.table.writes import ConditionCheck, Delete, ItemWrite, Put, Update

_MIRRORED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


class Page(NamedTuple):
    """Which page of a SELECT is asked for, and what its answer reports."""

    start_key: Item | None = None
    limit: int | None = None
    consistent: bool = False
    capacity_detail: str = "NONE"


class Selection(Projection):
    """The columns of a SELECT: each path's value under the path's last name."""

    __slots__ = ("_paths",)

    def __init__(self, paths: Sequence[ResolvedPath]) -> None:
        super().__init__(paths)
        self._paths = [(_column(number, path), path) for number, path in enumerate(paths, 1)]

    def of(self, item: Mapping[str, AttributeValue]) -> Item:
        """The columns that the item has."""
        found = ((name, find_in(item.get(str(path[0])), path[1:])) for name, path in self._paths)
        return {name: value for name, value in found if value is not None}


def _column(number: int, path: ResolvedPath) -> str:
    return path[-1] if isinstance(path[-1], str) else f"_{number}"


class _Where:
    """A WHERE clause: what it says of keys, and the rest."""

    def __init__(self, statement: Statement, where: tree.Condition | None) -> None:
        self._names = Names("", statement.names)
        self._values = statement.values
        self._conjuncts = list(_conjuncts(where))
        self._terms = [self._term(each) for each in self._conjuncts]
        self._keys: set[int] = set()

    def _term(self, node: tree.Condition) -> Term | None:
        """What a conjunct says of one attribute in comparison with values, where that is all it says."""
        if isinstance(node, tree.In):
            return self._comparing(node.operand, "IN", *node.choices)
        if isinstance(node, tree.Between):
            return self._comparing(node.operand, "BETWEEN", node.low, node.high)
        if isinstance(node, tree.FunctionCall) and node.name == "begins_with" and len(node.arguments) > 1:
            return self._comparing(node.arguments[0], "begins_with", *node.arguments[1:])
        if isinstance(node, tree.Comparison) and node.operator in _MIRRORED:
            if isinstance(node.left, tree.ValuePlaceholder):
                return self._comparing(node.right, _MIRRORED[node.operator], node.left)
            return self._comparing(node.left, node.operator, node.right)
        return None

    def _comparing(self, path: tree.Operand, operator: str, *operands: tree.Operand) -> Term | None:
        placeholders = [each.name for each in operands if isinstance(each, tree.ValuePlaceholder)]
        if not isinstance(path, tree.Path) or len(path.parts) > 1 or len(placeholders) < len(operands):
            return None
        return Term(str(self._names.resolve(path)[0]), operator, tuple(placeholders))

    def _take(self, attribute: str, *operators: str) -> Term | None:
        """The first term on the attribute by one of the operators, which is then no part of the rest."""
        for number, term in enumerate(self._terms):
            if term is not None and term.attribute == attribute and term.operator in operators:
                self._keys.add(number)
                return term
        return None

    def reading(self) -> Reading:
        """How its parts are read."""
        return Reading(self._term, lambda node: bind_condition(node, self._names).attributes, self._values)

    def key_conditions(self, schema: KeySchema | IndexSchema) -> list[CompiledKeyCondition]:
        """The conditions on the keys of what is read, one for each partition; none where it names no partition."""
        partition = [self._take(each.name, "=") for each in schema.partition_attributes]
        found = [term for term in partition if term is not None]
        several = self._take(schema.partition_attributes[0].name, "IN") if partition == [None] else None
        if several is None and len(found) < len(partition):
            self._keys.clear()
            return []
        sort = self._sort_terms(schema)
        if several is None:
            return [CompiledKeyCondition((*found, *sort))]
        distinct: dict[bytes, str] = {}
        for name in several.operands:
            distinct.setdefault(orjson.dumps(self._values[name]), name)
        return [CompiledKeyCondition((Term(several.attribute, "=", (name,)), *sort)) for name in distinct.values()]

    def _sort_terms(self, schema: KeySchema | IndexSchema) -> list[Term]:
        found: list[Term] = []
        for attribute in schema.sort_attributes:
            term = self._take(attribute.name, "=")
            term = term or self._take(attribute.name, "<", "<=", ">", ">=", "BETWEEN", "begins_with")
            if term is not None:
                found.append(term)
            if term is None or term.operator != "=":
                break
        return found

    def key(self, schema: KeySchema) -> Item | None:
        """The key of the one item that the clause names, None where it names none or several."""
        terms = [self._take(name, "=") for name in schema.names]
        found = [term for term in terms if term is not None]
        if len(found) < len(terms):
            return None
        return {term.attribute: self._values[term.operands[0]] for term in found}

    def rest(self) -> CompiledCondition | None:
        """What it says besides."""
        left = tuple(each for number, each in enumerate(self._conjuncts) if number not in self._keys)
        if not left:
            return None
        bound = bind_condition(left[0] if len(left) == 1 else tree.And(left), self._names)
        bound.check(self._values)
        return bound


def _conjuncts(node: tree.Condition | None) -> Iterable[tree.Condition]:
    if isinstance(node, tree.And):
        for each in node.conditions:
            yield from _conjuncts(each)
    elif node is not None:
        yield node


def query_plans(
    statement: Statement, select: statements.Select, schema: KeySchema, index: IndexSchema | None, page: Page
) -> list[QueryPlan]:
    """The reads of a page of what a SELECT finds, to be made one after the other until the page is full."""
    selection = _selection(statement, select)
    where = _Where(statement, select.where)
    read = schema if index is None else index
    refuse_overlaps(select.where, read, where.reading())
    conditions = where.key_conditions(read)
    _check_order(select, read, conditions)
    rest = where.rest()
    whole = QueryPlan(
        select.table_name,
        select.index_name,
        None,
        statement.values,
        None if rest is None else Condition(rest.test, statement.values, rest.nested),
        frozenset() if rest is None else rest.attributes - {*read.names},
        selection,
        page.start_key,
        _is_upwards(select, [each.name for each in read.sort_attributes]),
        page.limit,
        None,
        page.consistent,
        page.capacity_detail,
    )
    if not conditions:
        return [whole]
    plans = [replace(whole, key_condition=each) for each in _ordered(select, read, conditions, statement.values)]
    return _begun(plans, read, page.start_key)


def _check_order(
    select: statements.Select, schema: KeySchema | IndexSchema, conditions: Sequence[CompiledKeyCondition]
) -> None:
    if not select.order:
        return
    if select.where is None:
        raise wording.invalid("Must have WHERE clause in the statement when using ORDER BY clause.")
    if not conditions:
        raise wording.invalid(
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause."
        )
    for name, _ in select.order:
        if name not in schema.names:
            raise wording.invalid(f"Variable reference {name} in ORDER BY clause must be part of the primary key")


def _is_upwards(select: statements.Select, names: Sequence[str]) -> bool:
    return all(is_upwards for name, is_upwards in select.order if name in names)


def _ordered(
    select: statements.Select,
    schema: KeySchema | IndexSchema,
    conditions: list[CompiledKeyCondition],
    values: Values,
) -> list[CompiledKeyCondition]:
    """The conditions in the order of their partitions, where the SELECT has one."""
    partition = schema.partition_attributes[0].name
    if len(conditions) == 1 or partition not in dict(select.order):
        return conditions

    def key(condition: CompiledKeyCondition) -> bytes:
        return encode_sort_value(values[condition.terms[0].operands[0]])

    return sorted(conditions, key=key, reverse=not _is_upwards(select, [partition]))


def _begun(plans: list[QueryPlan], schema: KeySchema | IndexSchema, start_key: Item | None) -> list[QueryPlan]:
    """The plans from the one on that the page begins in."""
    if start_key is None or len(plans) == 1:
        return plans
    start = start_key.get(schema.partition_attributes[0].name)
    for number, plan in enumerate(plans):
        condition = plan.key_condition
        if condition is not None and plan.values[condition.terms[0].operands[0]] == start:
            return [plan, *(replace(each, start_key=None) for each in plans[number + 1 :])]
    return plans


def _selection(statement: Statement, select: statements.Select) -> Selection | None:
    """The columns of a SELECT, None for all. Raises ServiceError for one that is no path."""
    if select.refused_column is not None:
        raise select.refused_column
    if select.paths is None:
        return None
    names = Names("", statement.names)
    return Selection([names.resolve(path) for path in select.paths])


def get_plan(
    statement: Statement, select: statements.Select, schema: KeySchema, *, consistent: bool, capacity_detail: str
) -> GetPlan | None:
    """The read of the one item that a SELECT names by its key and by nothing else; None for any other SELECT."""
    projection = _selection(statement, select)
    where = _Where(statement, select.where)
    key = where.key(schema)
    if key is None or select.index_name is not None or where.rest() is not None:
        return None
    return GetPlan(select.table_name, checked_key(schema, key), projection, consistent, capacity_detail)


def item_write(statement: Statement, schema: KeySchema, reporting: Reporting) -> ItemWrite:
    """The write that a statement asks for. Raises ServiceError (ValidationException)."""
    action = statement.action
    if isinstance(action, statements.Insert):
        size = check_put_bytes(action.item, item_size(action.item))
        return Put(action.table_name, action.item, Condition(_is_absent, {}), reporting=reporting, item_bytes=size)
    if isinstance(action, statements.Exists):
        return _condition_check(statement, action, schema, reporting)
    if isinstance(action, statements.Select):
        raise TypeError("a SELECT writes nothing")
    where = _Where(statement, action.where)
    key = where.key(schema)
    if key is None:
        raise wording.invalid("Where clause does not contain a mandatory equality on all key attributes")
    rest = where.rest()
    if isinstance(action, statements.Delete):
        condition = None if rest is None else _of_any(rest, statement.values)
        return Delete(action.table_name, key, condition, action.returning == "ALL_OLD", reporting=reporting)
    update = bind_update(action.actions, Names("", statement.names))
    update.check(statement.values)
    return Update(
        action.table_name,
        key,
        update,
        statement.values,
        _of_existing(rest, statement.values),
        action.returning,
        reporting=reporting,
    )


def _condition_check(
    statement: Statement, action: statements.Exists, schema: KeySchema, reporting: Reporting
) -> ConditionCheck:
    _selection(statement, action.select)
    where = _Where(statement, action.select.where)
    key, rest = where.key(schema), where.rest()
    if key is None or rest is None or action.select.index_name is not None:
        raise wording.invalid("EXISTS() must contain a single item read with additional condition")
    condition = Condition(rest.test, statement.values, rest.nested)
    return ConditionCheck(action.table_name, key, condition, reporting=reporting)


def _is_absent(item: Mapping[str, Any], _values: Values) -> bool:
    return not item


def _of_any(rest: CompiledCondition, values: Values) -> Condition:
    """The condition that the item, if there is one, meets the rest: a DELETE of no item is done."""
    test = rest.test
    return Condition(lambda item, values: not item or test(item, values), values, rest.nested)


def _of_existing(rest: CompiledCondition | None, values: Values) -> Condition:
    """The condition that an item is there, and meets the rest: an UPDATE makes no item."""
    if rest is None:
        return Condition(lambda item, _values: bool(item), values)
    test = rest.test
    return Condition(lambda item, values: bool(item) and test(item, values), values, rest.nested)
