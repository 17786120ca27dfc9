"""The fields that requests have in common: their JSON types, their limits, names of tables.

A field of the wrong JSON type is a SerializationException, one that breaks a constraint a ValidationException,
both with DynamoDB's words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from afterwrite.core.values import Item
from afterwrite.errors import ServiceError
from afterwrite.table import wording
from afterwrite.table.attribute_values import checked_item, serialization_error, token_name
from afterwrite.table.remembering import remembered

Body: TypeAlias = Mapping[str, Any]

_TABLE_NAME = re.compile(r"[a-zA-Z0-9_.-]+")
_TABLE_ARN = re.compile(r"arn:[^:/]+:dynamodb:[^:/]*:[^:/]*:table/([^/]*)")
_TABLE_NAME_CHARACTERS = (3, 255)
ATTRIBUTE_NAME_CHARACTERS_MAX = 255
_VIOLATIONS_TOLD_MAX = 10
_TIME_S_MAX = 1 << 40
_STRUCTURE = "Start of structure or map found where not expected"

# The values that fields of several requests may have.
CAPACITY_DETAILS = ("INDEXES", "TOTAL", "NONE")
COLLECTION_DETAILS = ("SIZE", "NONE")
RETURN_VALUES = ("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW")
RETURN_VALUES_ON_FAILURE = ("ALL_OLD", "NONE")
SELECTS = ("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
CONDITIONAL_OPERATORS = ("OR", "AND")


def check_value(value: int, field: str, least: int, most: int) -> None:
    """Refuse a number that is not from `least` to `most`."""
    _check_bounds("value", value, field, least, most, value)


def check_length(length: int, field: str, least: int, most: int, shown: object) -> None:
    """Refuse a text or a list whose length is not from `least` to `most`; the error shows `shown` for it."""
    _check_bounds("length", length, field, least, most, shown)


def _check_bounds(measure: str, found: int, field: str, least: int, most: int, shown: object) -> None:
    if found < least:
        raise wording.constraint_error(shown, field, f"Member must have {measure} greater than or equal to {least}")
    if found > most:
        raise wording.constraint_error(shown, field, f"Member must have {measure} less than or equal to {most}")


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
        self._length(text(body, field), place, 1, ATTRIBUTE_NAME_CHARACTERS_MAX, required=True)

    def length(
        self, body: Body, field: str, least: int, most: int, *, within: str = "", required: bool = False
    ) -> None:
        """Note a text of fewer characters than `least`, or of more than `most`, and one that is `required` and missing.

        `within` is the place of `body`, with the dot that parts the two.
        """
        self._length(text(body, field), f"{within}{field[0].lower()}{field[1:]}", least, most, required=required)

    def _length(self, value: str | None, place: str, least: int, most: int, *, required: bool) -> None:
        if value is None:
            if required:
                self.add(None, place, "Member must not be null")
        elif len(value) < least:
            self.add(value, place, f"Member must have length greater than or equal to {least}")
        elif len(value) > most:
            self.add(value, place, f"Member must have length less than or equal to {most}")

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
        """Raise a ValidationException that lists what was noted first, if anything was."""
        if self._found:
            told = self._found[:_VIOLATIONS_TOLD_MAX]
            raise wording.invalid(
                f"{len(told)} validation error{'s' if len(told) > 1 else ''} detected: {'; '.join(told)}"
            )


def _no_scalar(value: Any, wanted: str) -> ServiceError:
    """The error that a value of another JSON type is where a scalar is wanted, by its name in Java."""
    if type(value) is dict:
        return serialization_error(_STRUCTURE)
    if type(value) is list:
        return serialization_error(f"Unrecognized collection type class java.lang.{wanted}")
    return serialization_error(f"{token_name(value)} cannot be converted to {wanted}")


def text(body: Body, field: str) -> str | None:
    """A field of type text, None where it is absent or null."""
    value = body.get(field)
    if value is None or type(value) is str:
        return value
    raise _no_scalar(value, "String")


def choice(body: Body, field: str, allowed: Sequence[str], default: str, place: str = "") -> str:
    """A field that has one of a few values; `place` is where the body stands, with a dot."""
    value = body.get(field)
    if value is None:
        return default
    if value in allowed and type(value) is str:
        return value
    raise wording.constraint_error(
        text(body, field),
        f"{place}{field[0].lower()}{field[1:]}",
        f"Member must satisfy enum value set: [{', '.join(allowed)}]",
    )


def timestamp_us(body: Body, field: str) -> int | None:
    """A field that is a time in seconds since the epoch, as microseconds; None where it is absent.

    A time before the epoch is the epoch: nothing here is as old.
    """
    value = body.get(field)
    if value is None:
        return None
    if type(value) not in (int, float):
        raise serialization_error(f"expected seconds since the epoch as {field}, got {value!r}")
    return round(float(min(max(value, 0), _TIME_S_MAX)) * 1_000_000)


def flag(body: Body, field: str, *, default: bool) -> bool:
    """A field of type boolean."""
    value = body.get(field)
    if value is None:
        return default
    if type(value) is bool:
        return value
    if type(value) is str:
        raise serialization_error("Unexpected token received from parser")
    raise _no_scalar(value, "Boolean")


def integer(body: Body, field: str) -> int | None:
    """A field of type integer, None where it is absent or null. A fraction is cut off, as DynamoDB does."""
    value = body.get(field)
    if value is None or type(value) is int:
        return value
    if type(value) is float:
        return int(value)
    raise _no_scalar(value, "Integer")


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
    return wording.constraint_error(None, f"{place}{field[0].lower()}{field[1:]}", "Member must not be null")


def table_name(body: Body, place: str = "") -> str:
    """The required `TableName` of a request on items; of a table's ARN, the name."""
    name = text(body, "TableName")
    if name is None:
        raise missing("TableName", place)
    return checked_table_name(name)


def table_name_of_table_request(body: Body) -> str:
    """The required `TableName` of a request on a table itself, whose errors have words of their own."""
    violations = Violations()
    note_table_name(violations, body)
    violations.check()
    return checked_table_name(str(body["TableName"]))


def note_table_name(violations: Violations, body: Body) -> None:
    """Note what is wrong with the `TableName` of a request on a table itself; refuse the request without one."""
    name = text(body, "TableName")
    if name is None:
        raise wording.invalid("The parameter 'TableName' is required but was not present in the request")
    if not name.startswith("arn:"):
        violations.resource_name(body, "TableName", "tableName")


@remembered
def checked_table_name(name: str) -> str:
    """`name`, if a table may have it; of a table's ARN, the name."""
    if name.startswith("arn:"):
        match = _TABLE_ARN.fullmatch(name)
        if match is None:
            raise wording.invalid(f"Invalid TableArn: {name}")
        name = match[1]
    shortest, longest = _TABLE_NAME_CHARACTERS
    check_length(len(name), "TableName", shortest if name else 1, longest, name)
    if not _TABLE_NAME.fullmatch(name):
        raise wording.constraint_error(
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
