"""The expressions of a request, with the names and values that they share: each is compiled once, for all requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from afterwrite.core.values import AttributeValue
from afterwrite.errors import InvalidRequest, ServiceError
from afterwrite.table import wording
from afterwrite.table.attribute_values import checked_item, checked_value, serialization_error
from afterwrite.table.conditions import CompiledCondition, Test, Values, compile_condition
from afterwrite.table.fields import Body, text
from afterwrite.table.key_conditions import CompiledKeyCondition, compile_key_condition
from afterwrite.table.projections import Projection, compile_projection
from afterwrite.table.remembering import remembered
from afterwrite.table.search_conditions import compile_search_condition
from afterwrite.table.sizes import check_attribute_name
from afterwrite.table.updates import CompiledUpdate, compile_update
from afterwrite.table.wording import newer_message

_NAME_PLACEHOLDER: Final = re.compile(r"#[A-Za-z0-9_]+")
_VALUE_PLACEHOLDER: Final = re.compile(r":[A-Za-z0-9_]+")
_PLACEHOLDER_BYTES_MAX: Final = 255
_TOO_LONG: Final = "The expression attribute map contains a key that is too long;"
_NO_VALUES: Final[Values] = {}


class Condition(NamedTuple):
    """A condition with its values; `nested` are the top-level attributes that it looks into."""

    test: Test
    values: Values
    nested: frozenset[str] = frozenset()

    def holds(self, item: Mapping[str, AttributeValue] | None) -> bool:
        """Whether the item meets it; an item that is not there is an item without attributes."""
        return self.test(item if item is not None else {}, self.values)


class WriteExpressions(NamedTuple):
    """What a write says by expressions: its update and its condition, where it has them, and their values."""

    update: CompiledUpdate | None
    values: Values
    condition: Condition | None


def write_expressions(body: Body, update: Any = None, *, level: int = 1) -> WriteExpressions | None:
    """The expressions of a write with its ConditionExpression and the UpdateExpression `update`; values at `level`.

    None where one of them is wrong in itself, or does not go with the others: `Expressions` says what it is. Raises
    ServiceError for values that are wrong.
    """
    names, values = body.get("ExpressionAttributeNames"), body.get("ExpressionAttributeValues")
    try:
        compiled = _compiled_write(
            update,
            body.get("ConditionExpression"),
            () if names is None else tuple(names.items()) or None,
            () if values is None else tuple(values.keys()) or None,
        )
    except AttributeError:  # names or values are no map
        return None
    if compiled is None:
        return None
    if values is None:
        return compiled.without_values
    _check_values(values, level)
    return compiled.with_values(values)


class _CompiledWrite(NamedTuple):
    """The compiled expressions of a write; where they need no values, they are ready."""

    update: CompiledUpdate | None
    condition: CompiledCondition | None
    without_values: WriteExpressions | None = None

    def with_values(self, values: Values) -> WriteExpressions:
        """The expressions with these values. Raises ServiceError for one whose type does not fit."""
        if self.update is not None:
            self.update.check(values)
        if self.condition is None:
            return WriteExpressions(self.update, values, None)
        self.condition.check(values)
        condition = Condition(self.condition.test, values, self.condition.nested)
        return WriteExpressions(self.update, values, condition)


@remembered
def _compiled_write(
    update: Any, condition: Any, names: tuple[tuple[str, Any], ...] | None, values: tuple[str, ...] | None
) -> _CompiledWrite | None:
    """A write's expressions with these names and with values of these names; None where anything is wrong."""
    if names is None or values is None or not {type(update), type(condition)} <= {str, type(None)}:
        return None
    compiled_update, compiled_condition = None, None
    try:
        pairs = _checked_pairs(names)
        if update is not None:
            compiled_update = compile_update(update, pairs)
        if condition is not None:
            compiled_condition = compile_condition("ConditionExpression", condition, pairs)
        used = [each for each in (compiled_update, compiled_condition) if each is not None]
        if {name for each in used for name in each.names_used} != set(dict(pairs)):
            return None
        if {name for each in used for name in each.values_used} != set(values) or any(map(_is_too_long, values)):
            return None
        compiled = _CompiledWrite(compiled_update, compiled_condition)
        return compiled if values else compiled._replace(without_values=compiled.with_values(_NO_VALUES))
    except ServiceError:
        return None


class Expressions:
    """The expressions of one request, with the names and values they share.

    Take each expression the request may have, then `finish`, which refuses names and values that none used.
    """

    __slots__ = ("_body", "_names", "_names_used", "_values", "_values_used")

    def __init__(self, body: Body, fields: Sequence[str], *, level: int = 1) -> None:
        """`fields` are the expressions that this request may have; without any, there may be no placeholders.

        Values stand at `level`.
        """
        self._body = body
        self._names: tuple[tuple[str, str], ...] = ()
        self._values: Values = {}
        self._names_used: frozenset[str] = frozenset()
        self._values_used: frozenset[str] = frozenset()
        names, values = body.get("ExpressionAttributeNames"), body.get("ExpressionAttributeValues")
        if names is None and values is None:
            return
        present = any(body.get(field) is not None for field in fields)
        if names is not None:
            if not present:
                raise wording.invalid("ExpressionAttributeNames can only be specified when using expressions")
            self._names = _checked_names(names)
        if values is not None:
            if not present:
                valued = [field for field in fields if field != "ProjectionExpression"]
                message = "ExpressionAttributeValues can only be specified when using expressions"
                raise InvalidRequest(
                    f"{message}: {' and '.join(valued)} {'is' if len(valued) == 1 else 'are'} null", message
                )
            self._values = _checked_expression_values(values, level)

    @property
    def values(self) -> Values:
        """The request's ExpressionAttributeValues."""
        return self._values

    def condition(self, field: str) -> Condition | None:
        """The condition in `field`, if there is one."""
        source = text(self._body, field)
        if source is None:
            return None
        compiled = compile_condition(field, source, self._names)
        if field == "KeyConditionExpression":
            compiled.check_before_undefined(self._values)
        self._use(field, compiled.names_used, compiled.values_used)
        compiled.check(self._values)
        return Condition(compiled.test, self._values, compiled.nested)

    def condition_attributes(self, field: str) -> frozenset[str]:
        """The top-level attributes that the condition in `field` looks at."""
        source = text(self._body, field)
        if source is None:
            return frozenset()
        return compile_condition(field, source, self._names).attributes

    def key_condition(self) -> CompiledKeyCondition | None:
        """The KeyConditionExpression, if there is one."""
        source = text(self._body, "KeyConditionExpression")
        if source is None:
            return None
        return compile_key_condition(source, self._names)

    def equalities(self) -> tuple[tuple[str, str], ...]:
        """The attributes that the SearchConditionExpression, if any, gives values for, with their placeholders."""
        source = text(self._body, "SearchConditionExpression")
        return () if source is None else compile_search_condition(source, self._names)

    def update(self) -> tuple[CompiledUpdate, Values] | None:
        """The UpdateExpression with its values, if there is one."""
        source = text(self._body, "UpdateExpression")
        if source is None:
            return None
        compiled = compile_update(source, self._names)
        self._use("UpdateExpression", compiled.names_used, compiled.values_used)
        compiled.check(self._values)
        return compiled, self._values

    def projection(self) -> Projection | None:
        """The ProjectionExpression, if there is one."""
        source = text(self._body, "ProjectionExpression")
        if source is None:
            return None
        compiled = compile_projection(source, self._names)
        self._use("ProjectionExpression", compiled.names_used, frozenset())
        return compiled.projection

    def finish(self) -> None:
        """Refuse names and values that no expression used."""
        if len(self._names) != len(self._names_used):
            unused = [name for name, _ in self._names if name not in self._names_used]
            raise wording.invalid(
                f"Value provided in ExpressionAttributeNames unused in expressions: keys: {{{', '.join(unused)}}}"
            )
        if len(self._values) != len(self._values_used):
            unused = [name for name in self._values if name not in self._values_used]
            raise wording.invalid(
                f"Value provided in ExpressionAttributeValues unused in expressions: keys: {{{', '.join(unused)}}}"
            )

    def _use(self, field: str, names: frozenset[str], values: frozenset[str]) -> None:
        if not values <= self._values.keys():
            name = min(values - self._values.keys(), key=self._body[field].index)
            raise wording.invalid(
                f"Invalid {field}: An expression attribute value used in expression is not defined; "
                f"attribute value: {name}"
            )
        self._names_used |= names
        self._values_used |= values


def _checked_names(names: Any) -> tuple[tuple[str, str], ...]:
    if type(names) is list:
        raise serialization_error("Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>")
    if type(names) is not dict:
        raise serialization_error("Unexpected field type")
    if not names:
        raise wording.invalid("ExpressionAttributeNames must not be empty")
    return _checked_pairs(tuple(names.items()))


@remembered
def _checked_pairs(pairs: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, str], ...]:
    for key, name in pairs:
        text({key: name}, key)
        if _is_too_long(key):
            raise wording.invalid(
                f"ExpressionAttributeNames contains invalid key: {_TOO_LONG} size of key: {_size(key)}"
            )
        if not _NAME_PLACEHOLDER.fullmatch(key):
            raise wording.invalid(f'ExpressionAttributeNames contains invalid key: Syntax error; key: "{key}"')
        if not name:
            what = "null" if name is None else "Empty attribute name"
            raise wording.invalid(f"ExpressionAttributeNames contains invalid value: {what} for key {key}")
        check_attribute_name(name)
    return pairs


def _is_too_long(placeholder: str) -> bool:
    return _size(placeholder) > _PLACEHOLDER_BYTES_MAX


def _size(placeholder: str) -> int:
    return len(placeholder.encode("utf-8", "surrogatepass"))


def _check_values(values: Any, level: int) -> None:
    try:
        checked_item(values, level=level)
    except ServiceError:
        _checked_expression_values(values, level)  # whose error says which of them it is
        raise


def _checked_expression_values(values: Any, level: int) -> Values:
    if type(values) is not dict or not values:
        checked_item(values)
        raise wording.invalid("ExpressionAttributeValues must not be empty")
    for key, value in values.items():
        if _is_too_long(key):
            raise wording.invalid(f"ExpressionAttributeValues contains invalid key: {_TOO_LONG}")
        if not _VALUE_PLACEHOLDER.fullmatch(key):
            raise wording.invalid(f'ExpressionAttributeValues contains invalid key: Syntax error; key: "{key}"')
        try:
            checked_value(value, level=level)
        except ServiceError as error:
            if error.code != "ValidationException":
                raise
            raise InvalidRequest(
                f"ExpressionAttributeValues contains invalid value: {error.message} for key {key}",
                newer_message(error),
            ) from None
    return values
