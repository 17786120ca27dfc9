"""PartiQL statements as the reads and writes that they ask for, once their table's keys are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from afterwrite.core.values import AttributeValue, Item
from afterwrite.table import statement_tree as statements
from afterwrite.table import syntax_tree as tree
from afterwrite.table import wording
from afterwrite.table.capacity import Reporting
from afterwrite.table.conditions import CompiledCondition, Values, bind_condition
from afterwrite.table.expressions import Condition
from afterwrite.table.key_conditions import CompiledKeyCondition, Term
from afterwrite.table.keys import checked_key
from afterwrite.table.paths import Names, ResolvedPath, find_in
from afterwrite.table.projections import Projection
from afterwrite.table.reads import GetPlan, QueryPlan
from afterwrite.table.schema import IndexSchema, KeySchema
from afterwrite.table.sizes import check_put_bytes, item_size
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

    def key_condition(self, schema: KeySchema | IndexSchema) -> CompiledKeyCondition | None:
        """The condition on the keys of what is read; None where it names no partition."""
        partition = [self._take(each.name, "=") for each in schema.partition_attributes]
        found = [term for term in partition if term is not None]
        if len(found) < len(partition):
            self._keys.clear()
            return None
        for attribute in schema.sort_attributes:
            term = self._take(attribute.name, "=")
            term = term or self._take(attribute.name, "<", "<=", ">", ">=", "BETWEEN", "begins_with")
            if term is not None:
                found.append(term)
            if term is None or term.operator != "=":
                break
        return CompiledKeyCondition(tuple(found))

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


def query_plan(
    statement: Statement, select: statements.Select, schema: KeySchema, index: IndexSchema | None, page: Page
) -> QueryPlan:
    """The read of a page of what a SELECT finds."""
    where = _Where(statement, select.where)
    read = schema if index is None else index
    key_condition = where.key_condition(read)
    forward = _is_forward(select, read, key_condition)
    rest = where.rest()
    attributes = frozenset() if rest is None else rest.attributes - {*read.names}
    return QueryPlan(
        select.table_name,
        select.index_name,
        key_condition,
        statement.values,
        None if rest is None else Condition(rest.test, statement.values, rest.nested),
        attributes,
        _selection(statement, select),
        page.start_key,
        forward,
        page.limit,
        None,
        page.consistent,
        page.capacity_detail,
    )


def _selection(statement: Statement, select: statements.Select) -> Selection | None:
    if select.paths is None:
        return None
    names = Names("", statement.names)
    return Selection([names.resolve(path) for path in select.paths])


def _is_forward(
    select: statements.Select, schema: KeySchema | IndexSchema, key_condition: CompiledKeyCondition | None
) -> bool:
    if not select.order:
        return True
    if select.where is None:
        raise wording.invalid("Must have WHERE clause in the statement when using ORDER BY clause.")
    if key_condition is None:
        raise wording.invalid(
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause."
        )
    for name, _ in select.order:
        if name not in schema.names:
            raise wording.invalid(f"Variable reference {name} in ORDER BY clause must be part of the primary key")
    sorted_by = {each.name for each in schema.sort_attributes}
    return all(is_upwards for name, is_upwards in select.order if name in sorted_by)


def get_plan(
    statement: Statement, select: statements.Select, schema: KeySchema, *, consistent: bool, capacity_detail: str
) -> GetPlan | None:
    """The read of the one item that a SELECT names by its key and by nothing else; None for any other SELECT."""
    where = _Where(statement, select.where)
    key = where.key(schema)
    if key is None or select.index_name is not None or where.rest() is not None:
        return None
    projection = _selection(statement, select)
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
        condition = None if rest is None else Condition(rest.test, statement.values, rest.nested)
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
    where = _Where(statement, action.select.where)
    key, rest = where.key(schema), where.rest()
    if key is None or rest is None or action.select.index_name is not None:
        raise wording.invalid("EXISTS() must contain a single item read with additional condition")
    condition = Condition(rest.test, statement.values, rest.nested)
    return ConditionCheck(action.table_name, key, condition, reporting=reporting)


def _is_absent(item: Mapping[str, Any], _values: Values) -> bool:
    return not item


def _of_existing(rest: CompiledCondition | None, values: Values) -> Condition:
    """The condition that an item is there, and meets the rest: an UPDATE makes no item."""
    if rest is None:
        return Condition(lambda item, _values: bool(item), values)
    test = rest.test
    return Condition(lambda item, values: bool(item) and test(item, values), values, rest.nested)
