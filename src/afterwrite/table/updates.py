"""Updates: bound to a request's names once, then applied to items.

Every right-hand side sees the item as it was before the update. The old item is never changed: the new one shares
with it whatever the update did not reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, TypeAlias

from afterwrite.core.values import AttributeValue, Item, normalize_number
from afterwrite.errors import InvalidValue
from afterwrite.table import syntax_tree as tree
from afterwrite.table import wording
from afterwrite.table.attribute_values import check_nesting, in_order
from afterwrite.table.conditions import ValueCheck, Values
from afterwrite.table.grammar import UpdateGrammar
from afterwrite.table.lexer import invalid_expression
from afterwrite.table.paths import (
    Lookup,
    Names,
    ResolvedPath,
    copied,
    find_in,
    interference,
    lookup,
    same_operand,
)
from afterwrite.table.projections import Projection
from afterwrite.table.remembering import remembered
from afterwrite.table.update_charges import Charge, charge_of

_LABEL = "UpdateExpression"
_WRONG_TYPE = "An operand in the update expression has an incorrect data type"
_OVERFLOW = "Number overflow. Attempting to store a number with magnitude larger than supported range"
_SET_TYPES = ("SS", "NS", "BS")
_LONG_TYPE_NAMES = {
    "S": "STRING",
    "N": "NUMBER",
    "B": "BINARY",
    "NULL": "NULL",
    "BOOL": "BOOLEAN",
    "L": "LIST",
    "M": "MAP",
}
_ARGUMENT_COUNTS = {"if_not_exists": 2, "list_append": 2}
# Sums are exact before they are checked: 9.9E125 + 1E-130 has 256 digits.
_EXACT = Context(prec=300)
# Integers this short are added as ints, which is several times as fast as decimals.
_SHORT_INTEGER_TEXT = 30

Change: TypeAlias = Callable[[Any, AttributeValue], AttributeValue | None]


@dataclass(frozen=True, slots=True)
class CompiledUpdate:
    """An update expression whose names are resolved.

    `nested` are the top-level attributes it looks into, `attributes` those it writes, `written` selects the paths it
    writes (UPDATED_NEW), `creates` tells whether it makes an item where there is none: an update that only removes
    does not. `charge` is what an expression counts for by itself. `kinds` are the top-level attributes whose new type
    is known without an item: the type itself, or the `:value` that has it.
    """

    sets: tuple[tuple[ResolvedPath, Lookup], ...]
    changes: tuple[tuple[ResolvedPath, str, Change], ...]
    removals: tuple[ResolvedPath, ...]
    checks: tuple[ValueCheck, ...]
    names_used: frozenset[str]
    values_used: frozenset[str]
    attributes: frozenset[str]
    written: Projection
    creates: bool
    nested: frozenset[str] = frozenset()
    charge: Charge | None = None
    kinds: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_attributes(
        cls,
        sets: Sequence[tuple[ResolvedPath, Lookup]],
        changes: Sequence[tuple[ResolvedPath, str, Change]],
        removals: Sequence[ResolvedPath],
        *,
        creates: bool,
        kinds: Sequence[tuple[str, str]],
    ) -> CompiledUpdate:
        """An update of whole attributes that came without an expression."""
        paths = [*(path for path, _ in sets), *(path for path, _, _ in changes), *removals]
        attributes = frozenset(str(path[0]) for path in paths)
        nothing: frozenset[str] = frozenset()
        written = Projection(paths)
        return cls(
            tuple(sets),
            tuple(changes),
            tuple(removals),
            (),
            nothing,
            nothing,
            attributes,
            written,
            creates,
            kinds=tuple(kinds),
        )

    def check(self, values: Values) -> None:
        """Raise for values that DynamoDB refuses before it looks at an item."""
        for check in self.checks:
            check(values)

    def types(self, values: Values) -> dict[str, str]:
        """The types that are known without an item, by attribute."""
        return {name: next(iter(values[kind])) if kind.startswith(":") else kind for name, kind in self.kinds}

    def apply(self, old: Mapping[str, AttributeValue], values: Values) -> Item:
        """The item that `old` becomes. Raises ServiceError (ValidationException) as UpdateItem does."""
        assigned = [(path, value(old, values)) for path, value in self.sets]
        for _, value in assigned:
            if value is None:
                raise wording.invalid("The provided expression refers to an attribute that does not exist in the item")
        if not self.nested and not self.changes and not self.removals:
            return {**old, **{str(path[0]): value for path, value in assigned}}
        emptied = []
        for path, placeholder, change in self.changes:
            changed = change(_found(old, path), values[placeholder])
            if changed is None:
                emptied.append(path)
            else:
                assigned.append((path, changed))
        if self.changes:
            assigned.sort(key=_index)
        draft = _Draft(old)
        for path, value in assigned:
            draft.put(path, value)
        if emptied or self.removals:
            draft.remove([*self.removals, *emptied])
        return draft.item


@remembered
def parse_update(text: str) -> tuple[tree.Action, ...]:
    """The actions of an update expression."""
    return UpdateGrammar(_LABEL, text).parse()


@remembered
def compile_update(text: str, names: tuple[tuple[str, str], ...]) -> CompiledUpdate:
    """The update `text` with `names`, the request's ExpressionAttributeNames as pairs."""
    return bind_update(parse_update(text), Names(_LABEL, dict(names)))


def bind_update(actions: tuple[tree.Action, ...], names: Names) -> CompiledUpdate:
    """The update with its names resolved."""
    return _Compiler(names).update(actions)


class _Draft:
    """The new item in the making: attributes are replaced, and copied before anything within them is."""

    def __init__(self, old: Mapping[str, AttributeValue]) -> None:
        self.item: Item = dict(old)
        self._old = old
        self._copied: set[str] = set()

    def put(self, path: ResolvedPath, value: AttributeValue) -> None:
        if len(path) == 1:
            self.item[str(path[0])] = value
            return
        container, last = self._container(path), path[-1]
        if isinstance(last, str) or last < len(container):
            container[last] = value
        else:
            container.append(value)
        check_nesting(self.item[str(path[0])])

    def remove(self, paths: list[ResolvedPath]) -> None:
        """Remove all paths; an index means the element that stood there before the update."""
        # Containers are found before anything moves, and list elements go from the end of their list.
        places = [(self._container(path), path[-1], path) for path in paths]
        indexes = []
        for container, last, path in places:
            if isinstance(last, str):
                container.pop(last, None)
            elif _found(self._old, path) is not None:
                indexes.append((last, container))
        for index, container in sorted(indexes, key=lambda place: -place[0]):
            del container[index]

    def _container(self, path: ResolvedPath) -> Any:
        """The dict or list that holds the last part of `path`, safe to change."""
        if len(path) == 1:
            return self.item
        head = str(path[0])
        value = self.item.get(head)
        if value is not None and head not in self._copied:
            self._copied.add(head)
            value = self.item[head] = copied(value)
        parent = find_in(value, path[1:-1])
        container = None if parent is None else parent.get("M" if isinstance(path[-1], str) else "L")
        if container is None:
            raise wording.invalid("The document path provided in the update expression is invalid for update")
        return container


class _Compiler:
    def __init__(self, names: Names) -> None:
        self.names = names
        # DynamoDB complains of functions only where paths and operands of sections are fine.
        self.section_checks: list[ValueCheck] = []
        self.function_checks: list[ValueCheck] = []
        self.values_used: set[str] = set()
        self.nested: set[str] = set()

    def update(self, actions: tuple[tree.Action, ...]) -> CompiledUpdate:
        paths = [self.names.resolve(action.path) for action in actions]
        sets: list[tuple[ResolvedPath, Lookup]] = []
        changes: list[tuple[ResolvedPath, str, Change]] = []
        removals: list[ResolvedPath] = []
        kinds: list[tuple[str, str]] = []
        for path, action in zip(paths, actions, strict=True):
            kind = _kind(action)
            if kind is not None and len(path) == 1:
                kinds.append((str(path[0]), kind))
            if isinstance(action, tree.SetAction):
                sets.append((path, self.operand(action.value)))
            elif isinstance(action, tree.RemoveAction):
                removals.append(path)
            elif isinstance(action, tree.AddAction):
                changes.append((path, self.placeholder("ADD", action.value, ("N", *_SET_TYPES)), added))
            else:
                changes.append((path, self.placeholder("DELETE", action.value, _SET_TYPES), deleted))
        problem = interference(paths)
        if problem:
            self.section_checks.insert(0, self.refusing(problem))
        sets.sort(key=_index)
        return CompiledUpdate(
            tuple(sets),
            tuple(changes),
            tuple(removals),
            (*self.section_checks, *self.function_checks),
            frozenset(self.names.used),
            frozenset(self.values_used),
            frozenset(str(path[0]) for path in paths),
            Projection(paths),
            any(isinstance(action, tree.SetAction | tree.AddAction) for action in actions),
            frozenset(self.nested) | {str(path[0]) for path in paths if len(path) > 1},
            charge_of(actions, self.names),
            tuple(kinds),
        )

    def operand(self, node: tree.Operand) -> Lookup:
        if isinstance(node, tree.ValuePlaceholder):
            name = node.name
            self.values_used.add(name)
            return lambda _item, values: values[name]
        if isinstance(node, tree.Path):
            path = self.names.resolve(node)
            if len(path) > 1:
                self.nested.add(str(path[0]))
            return lookup(path)
        if isinstance(node, tree.Arithmetic):
            return self.arithmetic(node)
        return self.function(node)

    def arithmetic(self, node: tree.Arithmetic) -> Lookup:
        left, right = self.operand(node.left), self.operand(node.right)
        self.require_type(node.operator, "N", node.left, node.right)
        compute = _sum if node.operator == "+" else _difference

        def result(item: Mapping[str, AttributeValue], values: Values) -> AttributeValue:
            one, two = _present(left(item, values)), _present(right(item, values))
            if "N" not in one or "N" not in two:
                raise wording.invalid(_WRONG_TYPE)
            try:
                return {"N": compute(one["N"], two["N"])}
            except InvalidValue as error:
                # A result of too many digits is reported as if it were too large; ADD reports it as what it is.
                raise wording.invalid(str(error) if "significant" not in str(error) else _OVERFLOW) from None

        return result

    def function(self, node: tree.FunctionCall) -> Lookup:
        if len(node.arguments) != _ARGUMENT_COUNTS[node.name]:
            self.function_checks.append(
                self.refusing(
                    "Incorrect number of operands for operator or function; "
                    f"operator or function: {node.name}, number of operands: {len(node.arguments)}"
                )
            )
            for argument in node.arguments:
                self.operand(argument)
            return lambda _item, _values: None
        first, second = [self.operand(argument) for argument in node.arguments]
        if node.name == "if_not_exists":
            if not isinstance(node.arguments[0], tree.Path):
                self.function_checks.append(
                    self.refusing(f"Operator or function requires a document path; operator or function: {node.name}")
                )
            self.require_distinct(node)

            def existing_or_default(item: Mapping[str, AttributeValue], values: Values) -> Any:
                existing = first(item, values)
                return second(item, values) if existing is None else existing

            return existing_or_default
        self.require_type("list_append", "L", *node.arguments)

        def appended(item: Mapping[str, AttributeValue], values: Values) -> AttributeValue:
            one, two = _present(first(item, values)), _present(second(item, values))
            if "L" not in one or "L" not in two:
                raise wording.invalid(_WRONG_TYPE)
            return {"L": [*one["L"], *two["L"]]}

        return appended

    def require_distinct(self, node: tree.FunctionCall) -> None:
        paths = [self.names.resolve(each) for each in node.arguments if isinstance(each, tree.Path)]
        if len(paths) == len(node.arguments) and paths[0] == paths[1]:
            self.function_checks.append(self.refusing(same_operand(node.name, paths[0])))

    def require_type(self, name: str, required: str, *operands: tree.Operand) -> None:
        """Check, once the values are there, that each `:value` among the operands has the type."""
        placeholders = [each.name for each in operands if isinstance(each, tree.ValuePlaceholder)]

        def check(values: Values) -> None:
            for placeholder in placeholders:
                for kind in values[placeholder]:
                    if kind != required:
                        raise invalid_expression(
                            self.names.label,
                            "Incorrect operand type for operator or function; "
                            f"operator or function: {name}, operand type: {kind}",
                        )

        if placeholders:
            self.function_checks.append(check)

    def placeholder(self, section: str, value: tree.ValuePlaceholder, allowed: tuple[str, ...]) -> str:
        name = value.name
        self.values_used.add(name)

        def check(values: Values) -> None:
            for kind in values[name]:
                if kind not in allowed:
                    raise invalid_expression(
                        self.names.label,
                        "Incorrect operand type for operator or function; "
                        f"operator: {section}, operand type: {_LONG_TYPE_NAMES[kind]}, "
                        f"typeSet: ALLOWED_FOR_{section}_OPERAND",
                    )

        self.section_checks.append(check)
        return name

    def refusing(self, message: str) -> ValueCheck:
        """A check that no values pass; DynamoDB reports undefined values before it."""

        def check(_values: Values) -> None:
            raise invalid_expression(self.names.label, message)

        return check


def _kind(action: tree.Action) -> str | None:
    """The type of what an action writes, where no item is needed to know it, or the `:value` that has it."""
    if not isinstance(action, tree.SetAction | tree.AddAction):
        return None
    if isinstance(action.value, tree.ValuePlaceholder):
        return action.value.name
    if isinstance(action.value, tree.Arithmetic):
        return "N"
    is_list = isinstance(action.value, tree.FunctionCall) and action.value.name == "list_append"
    return "L" if is_list else None


def _index(assignment: tuple[ResolvedPath, Any]) -> int:
    """What assignments are ordered by: behind a list's end they append in the order of their indexes."""
    last = assignment[0][-1]
    return last if isinstance(last, int) else -1


def _found(item: Mapping[str, AttributeValue], path: ResolvedPath) -> Any:
    return find_in(item.get(str(path[0])), path[1:])


def _present(value: Any) -> AttributeValue:
    if value is None:
        raise wording.invalid("The provided expression refers to an attribute that does not exist in the item")
    return value  # type: ignore[no-any-return]


def constant(value: AttributeValue) -> Lookup:
    """An operand that is the same for every item."""
    return lambda _item, _values: value


def added(existing: Any, operand: AttributeValue) -> AttributeValue:
    """What ADD makes of a value: a sum of numbers, a union of sets."""
    if existing is None:
        return operand
    for kind, content in operand.items():
        present = existing.get(kind)
        if present is None:
            raise wording.invalid(_WRONG_TYPE)
        if kind == "N":
            try:
                return {"N": _sum(present, content)}
            except InvalidValue as error:
                raise wording.invalid(str(error)) from None
        return {kind: in_order(kind, set(present).union(content))}
    raise wording.invalid(_WRONG_TYPE)


def deleted(existing: Any, operand: AttributeValue) -> AttributeValue | None:
    """What DELETE leaves of a set; None where nothing is left: DynamoDB has no empty set, the attribute goes."""
    if existing is None:
        return None
    for kind, content in operand.items():
        present = existing.get(kind)
        if present is None:
            raise wording.invalid(_WRONG_TYPE)
        kept = set(present).difference(content)
        return {kind: in_order(kind, kept)} if kept else None
    raise wording.invalid(_WRONG_TYPE)


def _sum(left: str, right: str) -> str:
    if _both_short_integers(left, right):
        return str(int(left) + int(right))
    return normalize_number(str(_EXACT.add(Decimal(left), Decimal(right))))


def _difference(left: str, right: str) -> str:
    if _both_short_integers(left, right):
        return str(int(left) - int(right))
    return normalize_number(str(_EXACT.subtract(Decimal(left), Decimal(right))))


def _both_short_integers(left: str, right: str) -> bool:
    return len(left) < _SHORT_INTEGER_TEXT and len(right) < _SHORT_INTEGER_TEXT and "." not in left and "." not in right
