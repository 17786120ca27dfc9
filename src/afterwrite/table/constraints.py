"""All the constraints that a request on items breaks at once, for the one error that reports them together.

Parsing stops at the first, which costs a request nothing that breaks none. Only what was refused is looked at again.
The order is the service's: a batch read's map before its other fields, a batch write's and a transaction's members
after them. An operation that checks a request in the newer way may stop at the first that is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from afterwrite.errors import ServiceError
from afterwrite.table import batches, fields, legacy, request_shapes, wording
from afterwrite.table.fields import Body, Violations
from afterwrite.table.reads import SEGMENTS_MAX
from afterwrite.table.wording import WRITES_OF_ONE_ITEM, is_checked_newer

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
# What the newer check says of these, in its own order and spelling.
_NEWER_RETURN_VALUES: Final = "Member must satisfy enum value set: [ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
_NEWER_CONDITIONAL_OPERATORS: Final = "Member must satisfy enum value set: [ALL, OR]"
_RANGES: Final = {"Limit": (1, None), "Segment": (0, SEGMENTS_MAX - 1), "TotalSegments": (1, SEGMENTS_MAX)}


def all_broken(operation: str, body: Body, first: ServiceError) -> ServiceError:
    """The error of every constraint that `body` breaks; `first` itself where it is no such error, or the only one."""
    violations = Violations()
    try:
        if operation in _SEVERAL:
            # What a member's expressions say comes after the constraints of all members.
            if first.code == "ValidationException":
                _SEVERAL[operation](violations, body)
                violations.check()
        elif operation in _REQUIRED and first.message.startswith(_ONE_ERROR):
            if operation in WRITES_OF_ONE_ITEM and is_checked_newer(operation, body):
                _note_newer(violations, operation, body)
                violations.check()
            if operation == "Query" and is_checked_newer(operation, body) and _has_other(body, "ConditionalOperator"):
                return wording.invalid(f"Failed to satisfy constraint: {_NEWER_CONDITIONAL_OPERATORS}")
            _note(violations, operation, _members(operation, body))
            if len(violations) > 1:
                violations.check()
    except ServiceError as error:
        return error
    return first


def _members(operation: str, body: Body) -> Body:
    """What the operation's request has of `body`; the service reads nothing else."""
    known = request_shapes.members(operation) or {}
    return {field: value for field, value in body.items() if field in known}


def _note(violations: Violations, operation: str, body: Body) -> None:
    before, after = _FIRST.get(operation, ((), ()))
    _note_choices(violations, body, *before)
    _note_table(violations, body, "")
    _note_choices(violations, body, *after)
    if operation not in _FIRST:
        _note_item(violations, operation, body)
    if body.get("IndexName") is not None:
        violations.index_name(body, "indexName")
    _note_choices(violations, body, *(field for field in _CHOICES if field not in (*before, *after)))
    _note_ranges(violations, body)
    _note_older_parameters(violations, body)
    if operation in _FIRST:
        _note_item(violations, operation, body)


def _note_older_parameters(violations: Violations, body: Body) -> None:
    """Note what is wrong with parameters from before expressions."""
    if body.get("AttributesToGet") == []:
        violations.add("[]", "attributesToGet", "Member must have length greater than or equal to 1")
    for field in ("ScanFilter", "QueryFilter", "KeyConditions"):
        for name, condition in (fields.structure(body, field, "Condition") or {}).items():
            if condition is not None:  # what is none is refused where it is read
                place = f"{field[0].lower()}{field[1:]}.{name}.member.comparisonOperator"
                violations.choice(condition, "ComparisonOperator", legacy.OPERATORS, place)


def _note_item(violations: Violations, operation: str, body: Body) -> None:
    for field in _REQUIRED[operation]:
        _note_required(violations, body, field, "")


def _note_ranges(violations: Violations, body: Body) -> None:
    for field, (least, most) in _RANGES.items():
        value = fields.integer(body, field)
        if value is None:
            continue
        place = f"{field[0].lower()}{field[1:]}"
        if value < least:
            violations.add(value, place, f"Member must have value greater than or equal to {least}")
        elif most is not None and value > most:
            violations.add(value, place, f"Member must have value less than or equal to {most}")


def _note_newer(violations: Violations, operation: str, body: Body) -> None:
    if body["TableName"] == "":
        violations.at("TableName", "Member must have length greater than or equal to 1")
        return
    if operation != "UpdateItem" or not _has_other(body, "ReturnValues"):
        _note_table(violations, body, "")
        _note_choices(violations, body, "ReturnConsumedCapacity")
    if _has_other(body, "ReturnValues"):
        violations.at(None, _NEWER_RETURN_VALUES)
        if operation == "UpdateItem":
            return
    _note_choices(violations, body, "ReturnItemCollectionMetrics", "ReturnValuesOnConditionCheckFailure")
    if _has_other(body, "ConditionalOperator"):
        violations.at(None, _NEWER_CONDITIONAL_OPERATORS)


def _has_other(body: Body, field: str) -> bool:
    """Whether `body` has another value for `field` than it may have."""
    value = fields.text(body, field)
    return value is not None and value not in _CHOICES[field]


def _note_choices(violations: Violations, body: Body, *names: str, place: str = "") -> None:
    for field in names:
        if body.get(field) is not None:
            violations.choice(body, field, _CHOICES[field], f"{place}{field[0].lower()}{field[1:]}")


def _note_required(violations: Violations, body: Body, field: str, place: str) -> None:
    if body.get(field) is None:
        violations.add(None, f"{place}{field[0].lower()}{field[1:]}", "Member must not be null")


def _note_batch_get(violations: Violations, body: Body) -> None:
    tables = fields.structure(body, "RequestItems", "KeysAndAttributes")
    _note_required(violations, body, "RequestItems", "")
    if tables and not all(batches.names_a_table(name) for name in tables):
        violations.add(batches.shown(tables), "requestItems", batches.TABLE_NAMES)
    for name in tables or {}:
        place = f"requestItems.{name}.member."
        request = fields.structure(tables or {}, name, "KeysAndAttributes") or {}
        keys = fields.structures(request, "Keys", "Key")
        _note_required(violations, request, "Keys", place)
        if keys is not None:
            batches.note_number_of_keys(violations, name, keys)
    _note_choices(violations, body, "ReturnConsumedCapacity")


def _note_batch_write(violations: Violations, body: Body) -> None:
    _note_choices(violations, body, "ReturnConsumedCapacity", "ReturnItemCollectionMetrics")
    tables = fields.structure(body, "RequestItems", "WriteRequest")
    _note_required(violations, body, "RequestItems", "")
    if tables and not violations and not all(batches.names_a_table(name) for name in tables):
        violations.add(batches.shown(tables), "requestItems", batches.TABLE_NAMES)
    batches.note_numbers_of_writes(violations, tables or {})
    for name in tables or {}:
        for index, member in enumerate(fields.structures(tables or {}, name, "WriteRequest") or (), 1):
            place = f"requestItems.{name}.member.{index}.member."
            for kind, required in (("PutRequest", "Item"), ("DeleteRequest", "Key")):
                request = fields.structure(member, kind, kind)
                if request is not None:
                    _note_required(violations, request, required, f"{place}{kind[0].lower()}{kind[1:]}.")


def _note_transact_get(violations: Violations, body: Body) -> None:
    _note_choices(violations, body, "ReturnConsumedCapacity")
    members = fields.structures(body, "TransactItems", "TransactGetItem")
    _note_required(violations, body, "TransactItems", "")
    for index, member in enumerate(_members_within(members), 1):
        place = f"transactItems.{index}.member."
        get = fields.structure(member, "Get", "Get")
        _note_required(violations, member, "Get", place)
        if get is not None:
            _note_required(violations, get, "Key", f"{place}get.")
            _note_table(violations, get, f"{place}get.")


def _note_transact_write(violations: Violations, body: Body) -> None:
    violations.length(body, "ClientRequestToken", 1, batches.TOKEN_CHARACTERS_MAX)
    _note_choices(violations, body, "ReturnConsumedCapacity", "ReturnItemCollectionMetrics")
    members = fields.structures(body, "TransactItems", "TransactWriteItem")
    _note_required(violations, body, "TransactItems", "")
    for index, member in enumerate(_members_within(members), 1):
        for kind, required in _MEMBERS.items():
            request = fields.structure(member, kind, kind)
            if request is None:
                continue
            place = f"transactItems.{index}.member.{kind[0].lower()}{kind[1:]}."
            for field in required:
                _note_required(violations, request, field, place)
            _note_table(violations, request, place)
            _note_choices(violations, request, "ReturnValuesOnConditionCheckFailure", place=place)


def _members_within(members: Sequence[Body] | None) -> Sequence[Body]:
    """The members of a transaction, none of one that has too many: that is what is wrong with it then."""
    return () if members is None or len(members) > batches.TRANSACTION_WRITES_MAX else members


def _note_table(violations: Violations, body: Body, place: str) -> None:
    name = body.get("TableName")
    if name == "":
        violations.add(name, f"{place}tableName", "Member must have length greater than or equal to 1")
    elif not (isinstance(name, str) and name.startswith("arn:")):
        violations.resource_name(body, "TableName", f"{place}tableName")


# What a write of one item names before and after its table, when it is checked in the older way; its key comes last.
_FIRST: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "PutItem": (("ReturnConsumedCapacity", "ReturnValues", "ReturnItemCollectionMetrics"), ()),
    "UpdateItem": (("ReturnConsumedCapacity",), ("ReturnValues",)),
    "DeleteItem": (("ReturnConsumedCapacity",), ("ReturnValues",)),
}
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "ConditionCheck": ("Key", "ConditionExpression"),
    "Put": ("Item",),
    "Delete": ("Key",),
    "Update": ("Key", "UpdateExpression"),
}
_SEVERAL: Final[Mapping[str, Callable[[Violations, Body], None]]] = {
    "BatchGetItem": _note_batch_get,
    "BatchWriteItem": _note_batch_write,
    "TransactGetItems": _note_transact_get,
    "TransactWriteItems": _note_transact_write,
}
