"""Expected, AttributeUpdates, KeyConditions, QueryFilter and ScanFilter, whose place expressions took.

They become what expressions become, so that whatever applies a condition or an update need not know which came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from afterwrite.core.values import AttributeValue
from afterwrite.table import fields, wording
from afterwrite.table.attribute_values import checked_value, serialization_error
from afterwrite.table.conditions import Values, begins_with, compare, contains, equal
from afterwrite.table.expressions import Condition
from afterwrite.table.fields import Body
from afterwrite.table.key_conditions import CompiledKeyCondition, Term
from afterwrite.table.paths import ResolvedPath
from afterwrite.table.projections import Projection
from afterwrite.table.sizes import check_attribute_name
from afterwrite.table.updates import Change, CompiledUpdate, added, constant, deleted

# In the order in which the service lists them.
OPERATORS: Final = (
    "IN",
    "NULL",
    "BETWEEN",
    "LT",
    "NOT_CONTAINS",
    "EQ",
    "GT",
    "NOT_NULL",
    "NE",
    "LE",
    "BEGINS_WITH",
    "GE",
    "CONTAINS",
)
_WITHOUT_VALUES: Final = ("NULL", "NOT_NULL")
_ARGUMENT_COUNTS: Final = {"NULL": 0, "NOT_NULL": 0, "BETWEEN": 2}
_SCALARS: Final = ("S", "N", "B")
_ALLOWED_TYPES: Final = {
    **dict.fromkeys(("LE", "LT", "GE", "GT", "BETWEEN", "IN", "CONTAINS", "NOT_CONTAINS"), _SCALARS),
    "BEGINS_WITH": ("S", "B"),
}
_KEY_OPERATORS: Final = {
    "EQ": "=",
    "LE": "<=",
    "LT": "<",
    "GE": ">=",
    "GT": ">",
    "BEGINS_WITH": "begins_with",
    "BETWEEN": "BETWEEN",
}
_ORDERINGS: Final = {"LE": "<=", "LT": "<", "GE": ">=", "GT": ">"}
_ACTIONS: Final = ("ADD", "PUT", "DELETE")
_ADDED_TYPES: Final = ("N", "SS", "NS", "BS", "L")
_SET_TYPES: Final = ("SS", "NS", "BS")

_ItemTest: TypeAlias = Callable[[Mapping[str, AttributeValue]], bool]


def refuse_mixture(body: Body, legacy: Sequence[str], expressions: Sequence[str]) -> None:
    """Refuse a request that has legacy parameters beside expressions."""
    legacy_found = [field for field in legacy if body.get(field) is not None]
    if not legacy_found:
        return
    found = [field for field in expressions if body.get(field) is not None]
    if found:
        raise wording.invalid(
            "Can not use both expression and non-expression parameters in the same request: "
            f"Non-expression parameters: {{{', '.join(legacy_found)}}} Expression parameters: {{{', '.join(found)}}}"
        )


def attributes_to_get(body: Body, place: str = "") -> Projection | None:
    """`AttributesToGet` as a projection; `place` is where the body stands, with a dot."""
    names = fields.texts(body, "AttributesToGet")
    if names is None:
        return None
    if not names:
        raise wording.constraint_error(
            "[]", f"{place}attributesToGet", "Member must have length greater than or equal to 1"
        )
    for number, name in enumerate(names):
        check_attribute_name(name)
        if name in names[:number]:
            raise wording.invalid_parameter(f"Duplicate value in attribute name: {name}")
    return Projection((name,) for name in names)


def condition(body: Body, field: str) -> tuple[Condition, frozenset[str]] | None:
    """`Expected`, `QueryFilter` or `ScanFilter` as a condition, with the attributes that it looks at."""
    conditions = _structures_by_name(body, field)
    operator = fields.choice(body, "ConditionalOperator", fields.CONDITIONAL_OPERATORS, "AND")
    given = body.get("ConditionalOperator") is not None
    if not conditions:
        if given:
            raise wording.invalid("ConditionalOperator cannot be used without Filter or Expected")
        return None
    if given and len(conditions) == 1:
        if field == "ScanFilter":
            # A scan's values are looked at before anything is made of them.
            for each in conditions.values():
                _operator_and_operands(each, "")
        raise wording.invalid("ConditionalOperator can only be used when Filter or Expected has two or more elements")
    read = _expected if field == "Expected" else _filtered
    tests = [read(name, each, _place(field, name)) for name, each in conditions.items()]
    every = operator == "AND"

    def test(item: Mapping[str, AttributeValue], _values: Values) -> bool:
        return all(each(item) for each in tests) if every else any(each(item) for each in tests)

    return Condition(test, {}), frozenset(conditions)


def key_condition(body: Body) -> tuple[CompiledKeyCondition, Values] | None:
    """`KeyConditions` as a key condition, with its values."""
    conditions = _structures_by_name(body, "KeyConditions")
    if conditions is None:
        return None
    terms: list[Term] = []
    values: dict[str, AttributeValue] = {}
    for name, each in conditions.items():
        operator, operands = _operator_and_operands(each, _place("KeyConditions", name))
        _check_operands(operator, operands)
        placeholders = [f":{name}:{number}" for number in range(len(operands))]
        values.update(zip(placeholders, operands, strict=True))
        # What no key can be asked for is refused where the keys are known.
        terms.append(Term(name, _KEY_OPERATORS.get(operator, operator), tuple(placeholders)))
    if not terms:
        raise wording.invalid("Conditions can be of length 1 or 2 only")
    return CompiledKeyCondition(tuple(terms)), values


def update(body: Body) -> tuple[CompiledUpdate, Values] | None:
    """`AttributeUpdates` as an update, with its values."""
    updates = _structures_by_name(body, "AttributeUpdates")
    if not updates:
        return None
    sets: list[tuple[ResolvedPath, Any]] = []
    changes: list[tuple[ResolvedPath, str, Change]] = []
    removals: list[ResolvedPath] = []
    kinds: list[tuple[str, str]] = []
    values: dict[str, AttributeValue] = {}
    for name, each in updates.items():
        action = fields.choice(each, "Action", _ACTIONS, "PUT", _place("AttributeUpdates", name))
        if each.get("Value") is None:
            if action != "DELETE":
                raise wording.invalid_parameter("Only DELETE action is allowed when no attribute value is specified")
            removals.append((name,))
            continue
        value = checked_value(each["Value"])
        kind = next(iter(value))
        if action != "DELETE":
            kinds.append((name, kind))
        if action == "PUT":
            sets.append(((name,), constant(value)))
            continue
        if action == "ADD" and kind not in _ADDED_TYPES:
            raise wording.invalid_parameter(f"ADD action is not supported for the type {kind}")
        if action == "DELETE" and kind not in _SET_TYPES:
            raise wording.invalid_parameter(f"DELETE action with value is not supported for the type {kind}")
        values[name] = value
        changes.append(((name,), name, _added if action == "ADD" else _deleted))
    creates = len(removals) + sum(change is _deleted for _, _, change in changes) < len(updates)
    return CompiledUpdate.of_attributes(sets, changes, removals, creates=creates, kinds=kinds), values


def _added(existing: AttributeValue | None, operand: AttributeValue) -> AttributeValue | None:
    """As in an expression; and a list is appended to a list."""
    _check_same_type(existing, operand)
    if existing is not None and "L" in operand:
        return {"L": [*existing["L"], *operand["L"]]}
    return operand if existing is None else added(existing, operand)


def _deleted(existing: AttributeValue | None, operand: AttributeValue) -> AttributeValue | None:
    _check_same_type(existing, operand)
    return deleted(existing, operand)


def _check_same_type(existing: AttributeValue | None, operand: AttributeValue) -> None:
    if existing is not None and existing.keys() != operand.keys():
        raise wording.invalid("Type mismatch for attribute to update")


def _structures_by_name(body: Body, field: str) -> Mapping[str, Body] | None:
    value = body.get(field)
    if value is None:
        return None
    if type(value) is not dict:
        raise serialization_error("Unexpected field type")
    for name, member in value.items():
        check_attribute_name(name)
        if type(member) is not dict:
            raise serialization_error("Unexpected value type in payload")
    return value


def _place(field: str, name: str) -> str:
    """Where in a request the member `name` of `field` stands, with a dot."""
    return f"{field[0].lower()}{field[1:]}.{name}.member."


def _expected(name: str, expected: Body, place: str) -> _ItemTest:
    if expected.get("ComparisonOperator") is None:
        return _exists_or_equals(name, expected)
    if expected.get("Exists") is not None:
        raise wording.invalid_parameter(f"Exists and ComparisonOperator cannot be used together for Attribute: {name}")
    if expected.get("Value") is not None and expected.get("AttributeValueList") is not None:
        raise wording.invalid_parameter(f"Value and AttributeValueList cannot be used together for Attribute: {name}")
    listed = expected
    if expected.get("Value") is not None:
        listed = {**expected, "AttributeValueList": [expected["Value"]]}
    operator = expected["ComparisonOperator"]
    if operator in OPERATORS and operator not in _WITHOUT_VALUES and listed.get("AttributeValueList") is None:
        raise wording.invalid_parameter(
            f"Value or AttributeValueList must be used with ComparisonOperator: {operator} for Attribute: {name}"
        )
    return _filtered(name, listed, place)


def _exists_or_equals(name: str, expected: Body) -> _ItemTest:
    exists = None if expected.get("Exists") is None else fields.flag(expected, "Exists", default=True)
    if expected.get("AttributeValueList") is not None:
        raise wording.invalid_parameter(
            f"AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
        )
    if exists is False:
        if expected.get("Value") is not None:
            raise wording.invalid_parameter(f"Value cannot be used when Exists is false for Attribute: {name}")
        return lambda item: name not in item
    if expected.get("Value") is None:
        shown = "null" if exists is None else "true"
        raise wording.invalid_parameter(f"Value must be provided when Exists is {shown} for Attribute: {name}")
    value = checked_value(expected["Value"])
    return lambda item: item.get(name) == value


def _filtered(name: str, given: Body, place: str) -> _ItemTest:
    operator, operands = _operator_and_operands(given, place)
    _check_operands(operator, operands)
    test = _test(operator, operands)
    return lambda item: test(item.get(name))


def _operator_and_operands(given: Body, place: str) -> tuple[str, list[AttributeValue]]:
    operator = fields.text(given, "ComparisonOperator")
    if operator is None:
        raise fields.missing("comparisonOperator", place)
    if operator not in OPERATORS:
        raise wording.constraint_error(
            operator,
            f"{place}comparisonOperator",
            f"Member must satisfy enum value set: [{', '.join(OPERATORS)}]",
        )
    operands = given.get("AttributeValueList")
    if operands is None:
        return operator, []
    if type(operands) is not list:
        raise serialization_error("Unexpected field type")
    return operator, [checked_value(operand) for operand in operands]


def _check_operands(operator: str, operands: Sequence[AttributeValue]) -> None:
    count = _ARGUMENT_COUNTS.get(operator, 1)
    if (operator == "IN" and not operands) or (operator != "IN" and len(operands) != count):
        raise wording.invalid_parameter(f"Invalid number of argument(s) for the {operator} ComparisonOperator")
    kinds = [next(iter(operand)) for operand in operands]
    for kind in kinds:
        if kind not in _ALLOWED_TYPES.get(operator, (kind,)):
            raise wording.invalid_parameter(
                f"ComparisonOperator {operator} is not valid for {kind} AttributeValue type"
            )
    if len(set(kinds)) > 1:
        raise wording.invalid_parameter("AttributeValues inside AttributeValueList must all be of the same type")
    if operator == "BETWEEN" and compare(">", operands[0], operands[1]):
        raise wording.invalid(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound"
        )


def _test(operator: str, operands: Sequence[AttributeValue]) -> Callable[[AttributeValue | None], bool]:
    if operator == "NULL":
        return lambda value: value is None
    if operator == "NOT_NULL":
        return lambda value: value is not None
    if operator == "IN":
        return lambda value: any(equal(value, operand) for operand in operands)
    first = operands[0]
    if operator == "EQ":
        return lambda value: equal(value, first)
    if operator == "NE":
        return lambda value: not equal(value, first)
    if operator == "CONTAINS":
        return lambda value: contains(value, first)
    if operator == "NOT_CONTAINS":
        return lambda value: value is not None and not contains(value, first)
    if operator == "BEGINS_WITH":
        return lambda value: begins_with(value, first)
    if operator == "BETWEEN":
        last = operands[1]
        return lambda value: compare(">=", value, first) and compare("<=", value, last)
    ordering = _ORDERINGS[operator]
    return lambda value: compare(ordering, value, first)
