"""Conditions: bound to a request's names once, then tested on items.

`compile_condition` is cached by text and names, so that a request costs a look-up, the checks of its own values,
and the test. A test is a closure over item and values; a type that does not fit makes a comparison false.
"""

from __future__ import annotations

import binascii
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from afterwrite.core.values import AttributeValue
from afterwrite.errors import ServiceError
from afterwrite.table import syntax_tree as tree
from afterwrite.table.attribute_values import ATTRIBUTE_TYPES
from afterwrite.table.grammar import ConditionGrammar
from afterwrite.table.lexer import invalid_expression
from afterwrite.table.paths import Lookup, Names, ResolvedPath, lookup, same_operand
from afterwrite.table.remembering import remembered
from afterwrite.table.sizes import binary_size

Values: TypeAlias = Mapping[str, AttributeValue]
Test: TypeAlias = Callable[[Mapping[str, AttributeValue], Values], bool]
ValueCheck: TypeAlias = Callable[[Values], None]

IN_CHOICES_MAX = 100

_ORDERINGS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED_TYPES = ("S", "N", "B")
_ARGUMENT_COUNTS = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
    "size": 1,
}


@dataclass(frozen=True, slots=True)
class CompiledCondition:
    """A condition whose names are resolved; `check` refuses values whose types do not fit it.

    `attributes` are the top-level attributes that it looks at, `nested` those of them that it looks into. `first_uses`
    are its values in the order in which they are written, each with how many of the checks come before it.
    """

    test: Test
    checks: tuple[ValueCheck, ...]
    names_used: frozenset[str]
    values_used: frozenset[str]
    attributes: frozenset[str]
    nested: frozenset[str]
    first_uses: tuple[tuple[str, int], ...]

    def check(self, values: Values) -> None:
        """Raise for values that DynamoDB refuses before it looks at an item."""
        for check in self.checks:
            check(values)

    def check_before_undefined(self, values: Values) -> None:
        """Raise for values that are refused where they are written before the first that is not defined, if any is."""
        if self.values_used <= values.keys():
            return
        count = next(count for name, count in self.first_uses if name not in values)
        for check in self.checks[:count]:
            check(values)


@remembered
def parse_condition(label: str, text: str) -> tree.Condition:
    """The tree of a condition; `label` is the request field it came in."""
    return ConditionGrammar(label, text).parse()


@remembered
def compile_condition(label: str, text: str, names: tuple[tuple[str, str], ...]) -> CompiledCondition:
    """The condition `text` with `names`, the request's ExpressionAttributeNames as pairs."""
    return bind_condition(parse_condition(label, text), Names(label, dict(names)))


def bind_condition(condition: tree.Condition, names: Names) -> CompiledCondition:
    """The condition with its names resolved."""
    compiler = _Compiler(names.label, names)
    test = compiler.condition(condition)
    return CompiledCondition(
        test,
        tuple(compiler.checks),
        frozenset(compiler.names.used),
        frozenset(compiler.first_uses),
        frozenset(compiler.attributes),
        frozenset(compiler.nested),
        tuple(compiler.first_uses.items()),
    )


class _Compiler:
    def __init__(self, label: str, names: Names) -> None:
        self.label = label
        self.names = names
        self.checks: list[ValueCheck] = []
        self.first_uses: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.nested: set[str] = set()

    def condition(self, node: tree.Condition) -> Test:
        if isinstance(node, tree.And):
            return _all_of([self.condition(each) for each in node.conditions])
        if isinstance(node, tree.Or):
            return _any_of([self.condition(each) for each in node.conditions])
        if isinstance(node, tree.Not):
            negated = self.condition(node.condition)
            return lambda item, values: not negated(item, values)
        if isinstance(node, tree.Comparison):
            self.require_distinct(node.operator, node.left, node.right)
            return self.comparison(node)
        if isinstance(node, tree.Between):
            return self.between(node)
        if isinstance(node, tree.In):
            return self.membership(node)
        return self.function(node)

    def comparison(self, node: tree.Comparison) -> Test:
        left, right = self.operand(node.left), self.operand(node.right)
        if node.operator == "=":
            return lambda item, values: equal(left(item, values), right(item, values))
        if node.operator == "<>":
            return lambda item, values: not equal(left(item, values), right(item, values))
        self.require_types(node.operator, _ORDERED_TYPES, node.left, node.right)
        ordering = _ORDERINGS[node.operator]
        return lambda item, values: _ordered(ordering, left(item, values), right(item, values))

    def between(self, node: tree.Between) -> Test:
        operand, low, high = self.operand(node.operand), self.operand(node.low), self.operand(node.high)
        self.require_types("BETWEEN", _ORDERED_TYPES, node.operand, node.low, node.high)
        if isinstance(node.low, tree.ValuePlaceholder) and isinstance(node.high, tree.ValuePlaceholder):
            self.checks.append(self.bounds_check(node.low.name, node.high.name))

        def test(item: Mapping[str, AttributeValue], values: Values) -> bool:
            value = operand(item, values)
            return _ordered(operator.ge, value, low(item, values)) and _ordered(operator.le, value, high(item, values))

        return test

    def membership(self, node: tree.In) -> Test:
        operand = self.operand(node.operand)
        choices = [self.operand(choice) for choice in node.choices]
        if len(choices) > IN_CHOICES_MAX:
            self.refuse(f"The IN operator is provided with too many operands; number of operands: {len(choices)}")

        def test(item: Mapping[str, AttributeValue], values: Values) -> bool:
            value = operand(item, values)
            return any(equal(value, choice(item, values)) for choice in choices)

        return test

    def function(self, node: tree.FunctionCall) -> Test:
        arguments = [self.operand(argument) for argument in node.arguments]
        if not self.has_right_count(node):
            return lambda _item, _values: False
        first = arguments[0]
        if node.name == "attribute_exists":
            self.require_path(node)
            return lambda item, values: first(item, values) is not None
        if node.name == "attribute_not_exists":
            self.require_path(node)
            return lambda item, values: first(item, values) is None
        second = arguments[1]
        self.require_distinct(node.name, *node.arguments)
        if node.name == "attribute_type":
            self.checks.append(self.type_name_check(node.arguments[1]))
            return lambda item, values: second(item, values)["S"] in (first(item, values) or ())
        if node.name == "begins_with":
            self.require_types("begins_with", ("S", "B"), *node.arguments)
            return lambda item, values: begins_with(first(item, values), second(item, values))
        return lambda item, values: contains(first(item, values), second(item, values))

    def operand(self, node: tree.Operand) -> Lookup:
        if isinstance(node, tree.ValuePlaceholder):
            name = node.name
            self.first_uses.setdefault(name, len(self.checks))
            return lambda _item, values: values[name]
        if isinstance(node, tree.Path):
            path = self.names.resolve(node)
            self.attributes.add(str(path[0]))
            if len(path) > 1:
                self.nested.add(str(path[0]))
            return lookup(path)
        if isinstance(node, tree.FunctionCall):
            return self.size(node)
        raise TypeError(f"no operand of a condition: {node!r}")

    def size(self, node: tree.FunctionCall) -> Lookup:
        measured = self.operand(node.arguments[0])
        self.has_right_count(node)
        self.require_types("size", ("S", "B", "SS", "NS", "BS", "L", "M"), *node.arguments)
        return lambda item, values: _size(measured(item, values))

    def has_right_count(self, node: tree.FunctionCall) -> bool:
        """Whether a function has as many arguments as it takes; refused otherwise."""
        if len(node.arguments) == _ARGUMENT_COUNTS[node.name]:
            return True
        self.refuse(
            "Incorrect number of operands for operator or function; "
            f"operator or function: {node.name}, number of operands: {len(node.arguments)}"
        )
        return False

    def require_path(self, node: tree.FunctionCall) -> None:
        if not isinstance(node.arguments[0], tree.Path):
            self.refuse(f"Operator or function requires a document path; operator or function: {node.name}")

    def require_distinct(self, name: str, left: tree.Operand, right: tree.Operand) -> None:
        one, two = self.path_of(left), self.path_of(right)
        if one is not None and one == two:
            self.refuse(same_operand(name, one))

    def path_of(self, node: tree.Operand) -> ResolvedPath | None:
        return self.names.resolve(node) if isinstance(node, tree.Path) else None

    def require_types(self, name: str, allowed: tuple[str, ...], *operands: tree.Operand) -> None:
        """Check, once the values are there, that each `:value` among the operands has an allowed type.

        A size is a number, whatever the values.
        """
        if "N" not in allowed and any(isinstance(each, tree.FunctionCall) for each in operands):
            self.refuse(
                f"Incorrect operand type for operator or function; operator or function: {name}, operand type: N"
            )
        placeholders = [each.name for each in operands if isinstance(each, tree.ValuePlaceholder)]

        def check(values: Values) -> None:
            for placeholder in placeholders:
                for kind in values[placeholder]:
                    if kind not in allowed:
                        raise self.refusal(
                            "Incorrect operand type for operator or function; "
                            f"operator or function: {name}, operand type: {kind}"
                        )

        if placeholders:
            self.checks.append(check)

    def bounds_check(self, low_name: str, high_name: str) -> ValueCheck:
        def check(values: Values) -> None:
            low, high = values[low_name], values[high_name]
            if low.keys() != high.keys():
                problem = "same data type for lower and upper bounds"
            elif _ordered(operator.gt, low, high):
                problem = "upper bound to be greater than or equal to lower bound"
            else:
                return
            raise self.refusal(
                f"The BETWEEN operator requires {problem}; "
                f"lower bound operand: AttributeValue: {_value_text(low)}, "
                f"upper bound operand: AttributeValue: {_value_text(high)}"
            )

        return check

    def type_name_check(self, node: tree.Operand) -> ValueCheck:
        if not isinstance(node, tree.ValuePlaceholder):
            kind = "N" if isinstance(node, tree.FunctionCall) else "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}"
            return self.refusing(
                "Incorrect operand type for operator or function; operator or function: attribute_type, "
                f"operand type: {kind}"
            )
        placeholder = node.name

        def check(values: Values) -> None:
            for kind, content in values[placeholder].items():
                if kind != "S":
                    raise self.refusal(
                        "Incorrect operand type for operator or function; "
                        f"operator or function: attribute_type, operand type: {kind}"
                    )
                if content not in ATTRIBUTE_TYPES:
                    raise self.refusal(
                        f"Invalid attribute type name found; type: {content}, "
                        "valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}"
                    )

        return check

    def refuse(self, message: str) -> None:
        """Refuse the expression, whatever its values; DynamoDB reports undefined values before."""
        self.checks.append(self.refusing(message))

    def refusing(self, message: str) -> ValueCheck:
        def check(_values: Values) -> None:
            raise self.refusal(message)

        return check

    def refusal(self, message: str) -> ServiceError:
        return invalid_expression(self.label, message)


def _all_of(tests: list[Test]) -> Test:
    def test(item: Mapping[str, AttributeValue], values: Values) -> bool:
        for each in tests:  # noqa: SIM110 - a generator would cost more than the tests it runs
            if not each(item, values):
                return False
        return True

    return test


def _any_of(tests: list[Test]) -> Test:
    def test(item: Mapping[str, AttributeValue], values: Values) -> bool:
        for each in tests:  # noqa: SIM110 - as in _all_of
            if each(item, values):
                return True
        return False

    return test


def equal(left: Any, right: Any) -> bool:
    """Equal values; a missing attribute equals nothing, not even another missing one."""
    return left is not None and left == right


def _ordered(ordering: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    for kind, content in left.items():
        other = right.get(kind)
        if other is None:
            return False
        if kind == "S":
            return ordering(content, other)
        if kind == "N":
            return ordering(Decimal(content), Decimal(other))
        if kind == "B":
            return ordering(binascii.a2b_base64(content), binascii.a2b_base64(other))
    return False


def compare(ordering: str, left: AttributeValue | None, right: AttributeValue) -> bool:
    """Whether `left` stands to `right` as `ordering` (`<`, `<=`, `>`, `>=`) says; False for different types."""
    return _ordered(_ORDERINGS[ordering], left, right)


def begins_with(value: Any, prefix: Any) -> bool:
    """Whether a text or bytes start with another."""
    if value is None or prefix is None or value.keys() != prefix.keys():
        return False
    if "S" in value:
        return bool(value["S"].startswith(prefix["S"]))
    if "B" in value:
        return binascii.a2b_base64(value["B"]).startswith(binascii.a2b_base64(prefix["B"]))
    return False


_SET_OF = {"S": "SS", "N": "NS", "B": "BS"}


def contains(container: Any, operand: Any) -> bool:
    """Whether text is within text, bytes within bytes, a member in a set, an element in a list."""
    if container is None or operand is None:
        return False
    if "L" in container:
        return operand in container["L"]
    for kind, content in operand.items():
        if kind not in _SET_OF:
            return False
        members = container.get(_SET_OF[kind])
        if members is not None:
            return content in members
        if kind == "S" and "S" in container:
            return content in container["S"]
        if kind == "B" and "B" in container:
            return binascii.a2b_base64(content) in binascii.a2b_base64(container["B"])
    return False


def _size(value: Any) -> AttributeValue | None:
    if value is None:
        return None
    for kind, content in value.items():
        if kind == "B":
            return {"N": str(binary_size(content))}
        if kind == "S":
            # Text counts in units of UTF-16: DynamoDB is written in Java.
            return {"N": str(len(content) if content.isascii() else len(content.encode("utf-16-le")) // 2)}
        if kind not in ("N", "BOOL", "NULL"):
            return {"N": str(len(content))}
    return None


def _value_text(value: AttributeValue) -> str:
    return "{" + ", ".join(f"{kind}:{content}" for kind, content in value.items()) + "}"
