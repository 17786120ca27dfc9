"""The fields that requests have in common: their JSON types, their limits, their expressions.

A field of the wrong JSON type is a SerializationException, one that breaks a constraint a ValidationException,
both with DynamoDB's words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import InvalidRequest, ServiceError
from afterwrite.table.attribute_values import checked_item, checked_value, serialization_error, token_name
from afterwrite.table.conditions import CACHED_EXPRESSIONS_MAX, Test, Values, compile_condition
from afterwrite.table.key_conditions import CompiledKeyCondition, compile_key_condition
from afterwrite.table.projections import Projection, compile_projection
from afterwrite.table.search_conditions import compile_search_condition
from afterwrite.table.sizes import check_attribute_name
from afterwrite.table.updates import CompiledUpdate, compile_update
from afterwrite.table.wording import newer_message

Body: TypeAlias = Mapping[str, Any]

_TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_TABLE_ARN = re.compile(r"arn:[^:/]+:dynamodb:[^:/]*:[^:/]*:table/([^/]*)")
_TABLE_NAME_CHARACTERS = (3, 255)
ATTRIBUTE_NAME_CHARACTERS_MAX = 255
_NAME_PLACEHOLDER = re.compile(r"#[A-Za-z0-9_]+")
_VALUE_PLACEHOLDER = re.compile(r":[A-Za-z0-9_]+")
_STRUCTURE = "Start of structure or map found where not expected"

# The values that fields of several requests may have.
CAPACITY_DETAILS = ("INDEXES", "TOTAL", "NONE")
COLLECTION_DETAILS = ("SIZE", "NONE")
RETURN_VALUES = ("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
RETURN_VALUES_ON_FAILURE = ("ALL_OLD", "NONE")
SELECTS = ("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
CONDITIONAL_OPERATORS = ("OR", "AND")


class Condition(NamedTuple):
    """A condition with its values; `nested` are the top-level attributes that it looks into."""

    test: Test
    values: Values
    nested: frozenset[str] = frozenset()

    def holds(self, item: Mapping[str, AttributeValue] | None) -> bool:
        """Whether the item meets it; an item that is not there is an item without attributes."""
        return self.test(item if item is not None else {}, self.values)


def invalid(message: str) -> ServiceError:
    """A ValidationException."""
    return ServiceError("ValidationException", message)


def invalid_parameter(message: str) -> ServiceError:
    """A ValidationException of parameters that are invalid by what they say, or do not go together."""
    return invalid(f"One or more parameter values were invalid: {message}")


def limit_exceeded(message: str) -> ServiceError:
    """A LimitExceededException."""
    return ServiceError("LimitExceededException", message)


def constraint_error(value: object, field: str, constraint: str) -> ServiceError:
    """The ValidationException of a value that breaks a constraint of the service's model."""
    shown = "null" if value is None else f"'{value}'"
    return invalid(
        f"1 validation error detected: Value {shown} at '{field[0].lower()}{field[1:]}' "
        f"failed to satisfy constraint: {constraint}"
    )


def check_value(value: int, field: str, least: int, most: int) -> None:
    """Refuse a number that is not from `least` to `most`."""
    _check_bounds("value", value, field, least, most, value)


def check_length(length: int, field: str, least: int, most: int, shown: object) -> None:
    """Refuse a text or a list whose length is not from `least` to `most`; the error shows `shown` for it."""
    _check_bounds("length", length, field, least, most, shown)


def _check_bounds(measure: str, found: int, field: str, least: int, most: int, shown: object) -> None:
    if found < least:
        raise constraint_error(shown, field, f"Member must have {measure} greater than or equal to {least}")
    if found > most:
        raise constraint_error(shown, field, f"Member must have {measure} less than or equal to {most}")


class Violations:
    """Collects every constraint of the service's model that a request breaks, to report them all at once."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, value: object, place: str, constraint: str) -> None:
        """Note that `value` at `place` breaks `constraint`."""
        shown = "null" if value is None else f"'{value}'"
        self._found.append(f"Value {shown} at '{place}' failed to satisfy constraint: {constraint}")

    def at(self, place: str | None, constraint: str) -> None:
        """Note that what is at `place` breaks `constraint`; the service shows not what that is, nor where for None."""
        where = "Failed" if place is None else f"Value at '{place}' failed"
        self._found.append(f"{where} to satisfy constraint: {constraint}")

    def choice(self, body: Body, field: str, allowed: Sequence[str], place: str) -> None:
        """Note a required field that has none of the allowed values."""
        value = text(body, field)
        if value is None:
            self.add(None, place, "Member must not be null")
        elif value not in allowed:
            self.add(value, place, f"Member must satisfy enum value set: [{', '.join(allowed)}]")

    def name(self, body: Body, field: str, place: str) -> None:
        """Note a required attribute name that is empty or too long."""
        value = text(body, field)
        if value is None:
            self.add(None, place, "Member must not be null")
        elif not value:
            self.add(value, place, "Member must have length greater than or equal to 1")
        elif len(value) > ATTRIBUTE_NAME_CHARACTERS_MAX:
            self.add(value, place, f"Member must have length less than or equal to {ATTRIBUTE_NAME_CHARACTERS_MAX}")

    def index_name(self, body: Body, place: str) -> None:
        """Note a required index name that DynamoDB does not allow."""
        self.resource_name(body, "IndexName", place)

    def resource_name(self, body: Body, field: str, place: str) -> None:
        """Note a required name of a table or index that DynamoDB does not allow."""
        value = text(body, field)
        shortest, longest = _TABLE_NAME_CHARACTERS
        if value is None:
            self.add(None, place, "Member must not be null")
            return
        if not _TABLE_NAME.fullmatch(value):
            self.add(value, place, f"Member must satisfy regular expression pattern: {_TABLE_NAME.pattern}")
        if len(value) < shortest:
            self.add(value, place, f"Member must have length greater than or equal to {shortest}")
        if len(value) > longest:
            self.add(value, place, f"Member must have length less than or equal to {longest}")

    def units(self, throughput: Body, place: str) -> None:
        """Note capacity units that are missing or below 1."""
        for field in ("WriteCapacityUnits", "ReadCapacityUnits"):
            units = integer(throughput, field)
            if units is None:
                self.add(None, f"{place}.{field[0].lower()}{field[1:]}", "Member must not be null")
            elif units < 1:
                self.add(
                    units,
                    f"{place}.{field[0].lower()}{field[1:]}",
                    "Member must have value greater than or equal to 1",
                )

    def __len__(self) -> int:
        return len(self._found)

    def check(self) -> None:
        """Raise a ValidationException that lists what was noted, if anything was."""
        if self._found:
            count = len(self._found)
            raise invalid(f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(self._found)}")


def text(body: Body, field: str) -> str | None:
    """A field of type text, None where it is absent or null."""
    value = body.get(field)
    if value is None or type(value) is str:
        return value
    if type(value) is dict:
        raise serialization_error(_STRUCTURE)
    if type(value) is list:
        raise serialization_error("Unrecognized collection type class java.lang.String")
    raise serialization_error(f"{token_name(value)} cannot be converted to String")


def choice(body: Body, field: str, allowed: Sequence[str], default: str, place: str = "") -> str:
    """A field that has one of a few values; `place` is where the body stands, with a dot."""
    value = body.get(field)
    if value is None:
        return default
    if value in allowed and type(value) is str:
        return value
    raise constraint_error(
        text(body, field),
        f"{place}{field[0].lower()}{field[1:]}",
        f"Member must satisfy enum value set: [{', '.join(allowed)}]",
    )


def flag(body: Body, field: str, *, default: bool) -> bool:
    """A field of type boolean."""
    value = body.get(field)
    if value is None:
        return default
    if type(value) is bool:
        return value
    if type(value) is dict:
        raise serialization_error(_STRUCTURE)
    if type(value) is list:
        raise serialization_error("Unrecognized collection type class java.lang.Boolean")
    if type(value) is str:
        raise serialization_error("Unexpected token received from parser")
    raise serialization_error(f"{token_name(value)} cannot be converted to Boolean")


def integer(body: Body, field: str) -> int | None:
    """A field of type integer, None where it is absent or null. A fraction is cut off, as DynamoDB does."""
    value = body.get(field)
    if value is None or type(value) is int:
        return value
    if type(value) is float:
        return int(value)
    if type(value) is dict:
        raise serialization_error(_STRUCTURE)
    if type(value) is list:
        raise serialization_error("Unrecognized collection type class java.lang.Integer")
    raise serialization_error(f"{token_name(value)} cannot be converted to Integer")


def structure(body: Body, field: str, kind: str) -> dict[str, Any] | None:
    """A field that is a structure; `kind` is its name in the service's model."""
    value = body.get(field)
    if value is None or type(value) is dict:
        return value
    if type(value) is list:
        raise serialization_error(f"Unrecognized collection type class com.amazonaws.dynamodb.v20120810.{kind}")
    raise serialization_error("Unexpected field type")


def structures(body: Body, field: str, kind: str) -> list[dict[str, Any]] | None:
    """A field that is a list of structures; `kind` is their name in the service's model."""
    value = body.get(field)
    if value is None:
        return None
    if type(value) is dict:
        raise serialization_error(_STRUCTURE)
    if type(value) is not list:
        raise serialization_error("Unexpected field type")
    for member in value:
        if type(member) is list:
            raise serialization_error(f"Unrecognized collection type class com.amazonaws.dynamodb.v20120810.{kind}")
        if type(member) is not dict:
            raise serialization_error("Unexpected value type in payload")
    return value


def texts(body: Body, field: str) -> list[str] | None:
    """A field that is a list of texts."""
    value = body.get(field)
    if value is None:
        return None
    if type(value) is dict:
        raise serialization_error(_STRUCTURE)
    if type(value) is not list:
        raise serialization_error("Unexpected field type")
    return [str(text({field: member}, field)) for member in value]


def item(body: Body, field: str, place: str = "") -> Item:
    """A required field that is an item or a key, in canonical form; `place` is where the body stands."""
    value = body.get(field)
    if value is None:
        raise missing(field, place)
    return checked_item(value)


def missing(field: str, place: str = "") -> ServiceError:
    """The error of a required field that is not there; `place` is where its body stands, with a dot."""
    return constraint_error(None, f"{place}{field[0].lower()}{field[1:]}", "Member must not be null")


def table_name(body: Body, place: str = "") -> str:
    """The required `TableName` of a request on items; of a table's ARN, the name."""
    name = text(body, "TableName")
    if name is None:
        raise missing("TableName", place)
    return checked_table_name(name)


def table_name_of_table_request(body: Body) -> str:
    """The required `TableName` of a request on a table itself, whose errors have words of their own."""
    name = text(body, "TableName")
    if name is None:
        raise invalid("The parameter 'TableName' is required but was not present in the request")
    if not name.startswith("arn:"):
        violations = Violations()
        violations.resource_name(body, "TableName", "tableName")
        violations.check()
    return checked_table_name(name)


def start_table_name(body: Body) -> str:
    """The `ExclusiveStartTableName` of ListTables."""
    violations = Violations()
    violations.resource_name(body, "ExclusiveStartTableName", "exclusiveStartTableName")
    violations.check()
    return str(body["ExclusiveStartTableName"])


@lru_cache(maxsize=1024)
def checked_table_name(name: str) -> str:
    """`name`, if a table may have it; of a table's ARN, the name."""
    if name.startswith("arn:"):
        match = _TABLE_ARN.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid TableArn: {name}")
        name = match[1]
    shortest, longest = _TABLE_NAME_CHARACTERS
    check_length(len(name), "TableName", shortest if name else 1, longest, name)
    if not _TABLE_NAME.fullmatch(name):
        raise constraint_error(
            name, "TableName", f"Member must satisfy regular expression pattern: {_TABLE_NAME.pattern}"
        )
    return name


def index_name(body: Body) -> str | None:
    """The optional `IndexName`."""
    name = text(body, "IndexName")
    if name is not None:
        violations = Violations()
        violations.index_name(body, "indexName")
        violations.check()
    return name


def collection_detail(body: Body) -> bool:
    """`ReturnItemCollectionMetrics`: whether the answer has them."""
    return choice(body, "ReturnItemCollectionMetrics", COLLECTION_DETAILS, "NONE") == "SIZE"


def capacity_detail(body: Body) -> str:
    """`ReturnConsumedCapacity`: INDEXES, TOTAL or NONE."""
    return choice(body, "ReturnConsumedCapacity", CAPACITY_DETAILS, "NONE")


class Expressions:
    """The expressions of one request, with the names and values they share.

    Take each expression the request may have, then `finish`, which refuses names and values that none used.
    """

    __slots__ = ("_body", "_names", "_names_used", "_values", "_values_used")

    def __init__(self, body: Body, fields: Sequence[str]) -> None:
        """`fields` are the expressions that this request may have; without any, there may be no placeholders."""
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
                raise invalid("ExpressionAttributeNames can only be specified when using expressions")
            self._names = _checked_names(names)
        if values is not None:
            if not present:
                valued = [field for field in fields if field != "ProjectionExpression"]
                message = "ExpressionAttributeValues can only be specified when using expressions"
                raise InvalidRequest(
                    f"{message}: {' and '.join(valued)} {'is' if len(valued) == 1 else 'are'} null", message
                )
            self._values = _checked_expression_values(values)

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
            raise invalid(
                f"Value provided in ExpressionAttributeNames unused in expressions: keys: {{{', '.join(unused)}}}"
            )
        if len(self._values) != len(self._values_used):
            unused = [name for name in self._values if name not in self._values_used]
            raise invalid(
                f"Value provided in ExpressionAttributeValues unused in expressions: keys: {{{', '.join(unused)}}}"
            )

    def _use(self, field: str, names: frozenset[str], values: frozenset[str]) -> None:
        if not values <= self._values.keys():
            name = min(values - self._values.keys(), key=self._body[field].index)
            raise invalid(
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
        raise invalid("ExpressionAttributeNames must not be empty")
    pairs = tuple(names.items())
    try:
        return _checked_pairs(pairs)
    except TypeError:  # a list or a map in place of a name has no hash to be remembered by
        return _checked_pairs.__wrapped__(pairs)


@lru_cache(maxsize=CACHED_EXPRESSIONS_MAX)
def _checked_pairs(pairs: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, str], ...]:
    for key, name in pairs:
        text({key: name}, key)
        if not _NAME_PLACEHOLDER.fullmatch(key):
            raise invalid(f'ExpressionAttributeNames contains invalid key: Syntax error; key: "{key}"')
        if not name:
            what = "null" if name is None else "Empty attribute name"
            raise invalid(f"ExpressionAttributeNames contains invalid value: {what} for key {key}")
        check_attribute_name(name)
    return pairs


def _checked_expression_values(values: Any) -> Values:
    if type(values) is not dict or not values:
        checked_item(values)
        raise invalid("ExpressionAttributeValues must not be empty")
    for key, value in values.items():
        if not _VALUE_PLACEHOLDER.fullmatch(key):
            raise invalid(f'ExpressionAttributeValues contains invalid key: Syntax error; key: "{key}"')
        try:
            checked_value(value)
        except ServiceError as error:
            if error.code != "ValidationException":
                raise
            raise InvalidRequest(
                f"ExpressionAttributeValues contains invalid value: {error.message} for key {key}",
                newer_message(error),
            ) from None
    return values
