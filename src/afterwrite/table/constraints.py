"""All the constraints that a request on items breaks at once, for the one error that reports them together.

Parsing stops at the first, which costs a request nothing that breaks none. Only what was refused is looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from afterwrite.errors import ServiceError
from afterwrite.table import fields
from afterwrite.table.fields import Body, Violations
from afterwrite.table.reads import SEGMENTS_MAX

_ONE_ERROR: Final = "1 validation error detected: "
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "PutItem": ("Item",),
    "GetItem": ("Key",),
    "UpdateItem": ("Key",),
    "DeleteItem": ("Key",),
    "Query": (),
    "Scan": (),
}
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "ReturnConsumedCapacity": fields.CAPACITY_DETAILS,
    "ReturnItemCollectionMetrics": fields.COLLECTION_DETAILS,
    "ReturnValues": fields.RETURN_VALUES,
    "ReturnValuesOnConditionCheckFailure": fields.RETURN_VALUES_ON_FAILURE,
    "Select": fields.SELECTS,
    "ConditionalOperator": fields.CONDITIONAL_OPERATORS,
}
_RANGES: Final = {"Limit": (1, None), "Segment": (0, SEGMENTS_MAX - 1), "TotalSegments": (1, SEGMENTS_MAX)}


def all_broken(operation: str, body: Body, first: ServiceError) -> ServiceError:
    """The error of every constraint that `body` breaks; `first` itself where it is no such error, or the only one."""
    if operation not in _REQUIRED or not first.message.startswith(_ONE_ERROR):
        return first
    violations = Violations()
    try:
        _note(violations, operation, body)
        if len(violations) > 1:
            violations.check()
    except ServiceError as error:
        return error
    return first


def _note(violations: Violations, operation: str, body: Body) -> None:
    table_name = body.get("TableName")
    if not (isinstance(table_name, str) and table_name.startswith("arn:")):
        violations.resource_name(body, "TableName", "tableName")
    for field in _REQUIRED[operation]:
        if body.get(field) is None:
            violations.add(None, field.lower(), "Member must not be null")
    if body.get("IndexName") is not None:
        violations.index_name(body, "indexName")
    for field, allowed in _CHOICES.items():
        if body.get(field) is not None:
            violations.choice(body, field, allowed, f"{field[0].lower()}{field[1:]}")
    for field, (least, most) in _RANGES.items():
        value = fields.integer(body, field)
        if value is None:
            continue
        place = f"{field[0].lower()}{field[1:]}"
        if value < least:
            violations.add(value, place, f"Member must have value greater than or equal to {least}")
        elif most is not None and value > most:
            violations.add(value, place, f"Member must have value less than or equal to {most}")
