"""The writes of one item: what PutItem, UpdateItem, DeleteItem and a transaction's members ask for.

A write is parsed once from its request, then applied to the item as it is: `apply` takes the old item and answers
the new one, and changes nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from afterwrite.core.values import Item
from afterwrite.errors import ConditionalCheckFailed
from afterwrite.table import fields, legacy, wording
from afterwrite.table.attribute_values import check_nesting, measured_item
from afterwrite.table.capacity import SILENT, Reporting
from afterwrite.table.conditions import Values
from afterwrite.table.expressions import Condition, Expressions, WriteExpressions, write_expressions
from afterwrite.table.fields import Body
from afterwrite.table.keys import checked_key, key_of
from afterwrite.table.schema import KeySchema
from afterwrite.table.sizes import changed_size, check_put_bytes, check_update_bytes, item_size
from afterwrite.table.updates import CompiledUpdate

_CONDITION_FIELDS = ("ConditionExpression",)
_VALUES = "ExpressionAttributeValues"
_EXPRESSION_FIELDS = frozenset(("ConditionExpression", "ExpressionAttributeNames", _VALUES))
_UPDATE_FIELDS = ("UpdateExpression", "ConditionExpression")
_CONDITION_LEGACY = ("Expected", "ConditionalOperator")
_NOTHING: frozenset[str] = frozenset()
# The table and the item: what most puts are.
_FIELDS_OF_PLAIN_PUT = 2
_UPDATE_LEGACY = ("AttributeUpdates", "Expected", "ConditionalOperator")
_LEGACY_FIELDS = frozenset(_UPDATE_LEGACY)
_ABSENT = object()
# Where the values of a transaction's expressions stand: they may have one level more than an item may hold.
_VALUES_OF_MEMBERS = 0


class ItemWrite(Protocol):
    """What the store needs of a write, whichever kind it is.

    All methods raise ServiceError with DynamoDB's code and words. `needs_old` is False only where neither the new
    item nor the answer depends on the old one: `apply` and `answer` may then be given None for it.
    """

    @property
    def table_name(self) -> str:
        """The table it writes to."""

    @property
    def needs_old(self) -> bool:
        """Whether `apply` or `answer` looks at the old item."""

    @property
    def nested(self) -> frozenset[str]:
        """The top-level attributes that its expressions look into."""

    @property
    def reporting(self) -> Reporting:
        """What the answer reports besides its result."""

    def key(self, schema: KeySchema) -> Item:
        """The item's key attributes, validated against the table's schema."""

    def apply(self, schema: KeySchema, old: Item | None) -> Item | None:
        """The item after the write, None where there is none. Raises ConditionalCheckFailed."""

    def size(self, new: Item, old: Item | None = None, old_bytes: int = 0) -> int:
        """The size of the item after the write, in bytes; `old_bytes` is that of the item before, if there was one.

        Raises ServiceError where it is too large.
        """

    def answer(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        """The response's body, for the item before and after the write."""


class Put(NamedTuple):
    """Replace an item, or create it."""

    table_name: str
    item: Item
    condition: Condition | None = None
    return_old: bool = False
    return_old_on_failure: bool = False
    reporting: Reporting = SILENT
    item_bytes: int = 0

    @property
    def needs_old(self) -> bool:
        """Whether condition or answer look at the old item."""
        return self.condition is not None or self.return_old or not self.reporting.silent

    @property
    def nested(self) -> frozenset[str]:
        """The top-level attributes that its expressions look into."""
        return _nested(self.condition)

    def key(self, schema: KeySchema) -> Item:
        """The item's key attributes, validated against the table's schema."""
        return key_of(schema, self.item)

    def apply(self, schema: KeySchema, old: Item | None) -> Item | None:  # noqa: ARG002 - ItemWrite
        """The item put. Raises ConditionalCheckFailed."""
        _require(self.condition, old, self.return_old_on_failure)
        return self.item

    def size(self, new: Item, old: Item | None = None, old_bytes: int = 0) -> int:  # noqa: ARG002 - ItemWrite
        """The size of the item put, in bytes; it was checked when the request was read."""
        return self.item_bytes or item_size(new)

    def answer(self, old: Item | None, new: Item | None) -> dict[str, Any]:  # noqa: ARG002 - ItemWrite
        """The response's body."""
        return {"Attributes": old} if old and self.return_old else {}


class Delete(NamedTuple):
    """Remove an item; it need not be there."""

    table_name: str
    key_attributes: Item
    condition: Condition | None = None
    return_old: bool = False
    return_old_on_failure: bool = False
    reporting: Reporting = SILENT

    @property
    def needs_old(self) -> bool:
        """Whether condition or answer look at the old item."""
        return self.condition is not None or self.return_old or not self.reporting.silent

    @property
    def nested(self) -> frozenset[str]:
        """The top-level attributes that its expressions look into."""
        return _nested(self.condition)

    def key(self, schema: KeySchema) -> Item:
        """The key, validated against the table's schema."""
        return checked_key(schema, self.key_attributes)

    def apply(self, schema: KeySchema, old: Item | None) -> Item | None:  # noqa: ARG002 - ItemWrite
        """None: the item is gone. Raises ConditionalCheckFailed."""
        _require(self.condition, old, self.return_old_on_failure)
        return None

    def size(self, new: Item, old: Item | None = None, old_bytes: int = 0) -> int:  # noqa: ARG002 - ItemWrite
        """A delete leaves no item."""
        return item_size(new)

    def answer(self, old: Item | None, new: Item | None) -> dict[str, Any]:  # noqa: ARG002 - ItemWrite
        """The response's body."""
        return {"Attributes": old} if old and self.return_old else {}


class Update(NamedTuple):
    """Change some attributes of an item, which is created where it is not there.

    `is_charged` tells whether the size of the expression's clauses is limited too, as UpdateItem's is.
    """

    table_name: str
    key_attributes: Item
    update: CompiledUpdate | None
    values: Values
    condition: Condition | None = None
    return_values: str = "NONE"
    return_old_on_failure: bool = False
    reporting: Reporting = SILENT
    is_charged: bool = False

    @property
    def needs_old(self) -> bool:
        """An update always looks at the old item."""
        return True

    @property
    def nested(self) -> frozenset[str]:
        """The top-level attributes that its expressions look into."""
        return _nested(self.condition) if self.update is None else _nested(self.condition) | self.update.nested

    def types(self) -> Mapping[str, str]:
        """The types of what it writes, by attribute, where no item is needed to know them."""
        return {} if self.update is None else self.update.types(self.values)

    def key(self, schema: KeySchema) -> Item:
        """The key, validated against the table's schema; the update must leave it alone."""
        key = checked_key(schema, self.key_attributes)
        if self.update is not None and not self.update.attributes.isdisjoint(key):
            name = next(name for name in schema.names if name in self.update.attributes)
            raise wording.invalid_parameter(f"Cannot update attribute {name}. This attribute is part of the key")
        return key

    def apply(self, schema: KeySchema, old: Item | None) -> Item | None:  # noqa: ARG002 - ItemWrite
        """The item updated. Raises ConditionalCheckFailed, and ValidationException for operands that do not fit."""
        if self.is_charged and self.update is not None and self.update.charge is not None:
            check_update_bytes(self.update.charge.size(self.values))
        _require(self.condition, old, self.return_old_on_failure)
        base = self.key_attributes if old is None else old
        if self.update is None:
            return base
        if old is None and not self.update.creates:
            # There is nothing to remove, so it does not matter whether a path leads anywhere.
            return None
        new = self.update.apply(base, self.values)
        if not self.is_charged:
            self._check_nesting(new)
        return new

    def _check_nesting(self, new: Item) -> None:
        """Refuse what is nested deeper than values of a transaction may be, but no item."""
        if self.update is None or not any("M" in value or "L" in value for value in self.values.values()):
            return
        for name in self.update.attributes & new.keys():
            check_nesting(new[name])

    def size(self, new: Item, old: Item | None = None, old_bytes: int = 0) -> int:
        """The size of the item updated, in bytes. Raises ValidationException where it is too large."""
        if old is None or self.update is None:
            size = item_size(new)
        else:
            size = changed_size(new, old, old_bytes, self.update.attributes)
        check_update_bytes(size)
        return size

    def answer(self, old: Item | None, new: Item | None) -> dict[str, Any]:
        """The response's body."""
        returned: Item | None = None
        if self.return_values == "ALL_NEW":
            returned = new
        elif self.return_values == "ALL_OLD":
            returned = old
        elif self.update is not None and self.return_values == "UPDATED_NEW" and new is not None:
            returned = self.update.written.of(new)
        elif self.update is not None and self.return_values == "UPDATED_OLD" and old is not None:
            returned = self.update.written.of(old)
        return {"Attributes": returned} if returned else {}


class ConditionCheck(NamedTuple):
    """A transaction's member that only requires something of an item."""

    table_name: str
    key_attributes: Item
    condition: Condition
    return_old_on_failure: bool = False
    reporting: Reporting = SILENT

    @property
    def needs_old(self) -> bool:
        """A check always looks at the item."""
        return True

    @property
    def nested(self) -> frozenset[str]:
        """The top-level attributes that its expressions look into."""
        return self.condition.nested

    def key(self, schema: KeySchema) -> Item:
        """The key, validated against the table's schema."""
        return checked_key(schema, self.key_attributes)

    def apply(self, schema: KeySchema, old: Item | None) -> Item | None:  # noqa: ARG002 - ItemWrite
        """The item as it is. Raises ConditionalCheckFailed."""
        _require(self.condition, old, self.return_old_on_failure)
        return old

    def size(self, new: Item, old: Item | None = None, old_bytes: int = 0) -> int:  # noqa: ARG002 - ItemWrite
        """The size of the item looked at, in bytes."""
        return item_size(new)

    def answer(self, old: Item | None, new: Item | None) -> dict[str, Any]:  # noqa: ARG002 - ItemWrite
        """A check answers nothing."""
        return {}


def parse_put_item(body: Body) -> Put:
    """PutItem's body as a write."""
    name = fields.table_name(body)
    if len(body) == _FIELDS_OF_PLAIN_PUT and "Item" in body:
        return unconditional_put(name, body["Item"])
    return put_of(name, body, return_old=_returns_old(body), reporting=reporting_of(body))


def parse_delete_item(body: Body) -> Delete:
    """DeleteItem's body as a write."""
    name = fields.table_name(body)
    return delete_of(name, body, return_old=_returns_old(body), reporting=reporting_of(body))


def parse_update_item(body: Body) -> Update:
    """UpdateItem's body as a write."""
    name = fields.table_name(body)
    return_values = fields.choice(body, "ReturnValues", fields.RETURN_VALUES, "NONE")
    return _update(name, body, return_values=return_values, reporting=reporting_of(body))


def reporting_of(body: Body) -> Reporting:
    """What a write's answer is to report."""
    detail = fields.capacity_detail(body)
    collections = fields.collection_detail(body)
    return SILENT if detail == "NONE" and not collections else Reporting(detail, collections)


def parse_member(kind: str, body: Body, place: str, reporting: Reporting = SILENT) -> ItemWrite:
    """A transaction's member; `kind` is Put, Update, Delete or ConditionCheck, `place` where it stands."""
    name = fields.table_name(body, place)
    if kind == "Put":
        return put_of(name, body, place=place, reporting=reporting)
    if kind == "Delete":
        condition = _condition(body, _VALUES_OF_MEMBERS)
        key = fields.item(body, "Key", place)
        return Delete(name, key, condition, return_old_on_failure=_old_on_failure(body), reporting=reporting)
    if kind == "Update":
        if body.get("UpdateExpression") is None:
            raise fields.missing("UpdateExpression", place)
        return _update(name, body, place=place, reporting=reporting)
    # A transaction looks at what a check or delete says before it looks at the key's values.
    condition = _condition(body, _VALUES_OF_MEMBERS)
    if condition is None:
        raise fields.missing("ConditionExpression", place)
    return ConditionCheck(name, fields.item(body, "Key", place), condition, _old_on_failure(body), reporting)


def put_of(name: str, body: Body, *, return_old: bool = False, reporting: Reporting = SILENT, place: str = "") -> Put:
    """The put that `body` holds, of an item of table `name`."""
    item, item_bytes = _measured(body.get("Item"), place)
    condition = _condition(body, _VALUES_OF_MEMBERS if place else 1)
    check_put_bytes(item, item_bytes)
    return Put(name, item, condition, return_old, _old_on_failure(body), reporting, item_bytes)


def unconditional_put(name: str, item: Any, *, reporting: Reporting = SILENT, place: str = "") -> Put:
    """The put of an item, as JSON has it, into table `name`, whatever is there."""
    item, item_bytes = _measured(item, place)
    return Put(name, item, reporting=reporting, item_bytes=check_put_bytes(item, item_bytes))


def _measured(item: Any, place: str) -> tuple[Item, int]:
    if item is None:
        raise fields.missing("Item", place)
    return item, measured_item(item)


def delete_of(
    name: str, body: Body, *, return_old: bool = False, reporting: Reporting = SILENT, place: str = ""
) -> Delete:
    """The delete that `body` holds, of an item of table `name`."""
    key = fields.item(body, "Key", place)
    return Delete(name, key, _condition(body), return_old, _old_on_failure(body), reporting)


def _update(
    name: str, body: Body, *, return_values: str = "NONE", reporting: Reporting = SILENT, place: str = ""
) -> Update:
    key = fields.item(body, "Key", place)
    level = _VALUES_OF_MEMBERS if place else 1
    asked = body.get("UpdateExpression")
    found = write_expressions(body, asked, level=level) if _LEGACY_FIELDS.isdisjoint(body) else None
    update, values, condition = found or _checked_expressions(body, level)
    return_old = _old_on_failure(body)
    return Update(name, key, update, values, condition, return_values, return_old, reporting, is_charged=not place)


def repeated_update(body: Body, earlier_body: Body, earlier: Update, place: str) -> Update | None:
    """The update in `body` where that asks for the same as an earlier one, which was parsed as `earlier`; else None.

    Only the key may be another. Values are compared as JSON, as 1 is no boolean there.
    """
    if len(body) != len(earlier_body):
        return None
    try:
        for field, value in body.items():
            if field != "Key" and earlier_body.get(field, _ABSENT) != value:
                return None
        if orjson.dumps(body.get(_VALUES)) != orjson.dumps(earlier_body.get(_VALUES)):
            return None
    except (RecursionError, orjson.JSONEncodeError):
        return None
    return Update(earlier.table_name, fields.item(body, "Key", place), *earlier[2:])


def _checked_expressions(body: Body, level: int) -> WriteExpressions:
    """An update's expressions, and the parameters that they took the place of. Raises what is wrong with them."""
    legacy.refuse_mixture(body, _UPDATE_LEGACY, _UPDATE_FIELDS)
    expressions = Expressions(body, _UPDATE_FIELDS, level=level)
    update, values = expressions.update() or legacy.update(body) or (None, {})
    condition = expressions.condition("ConditionExpression") or _legacy_condition(body)
    expressions.finish()
    return WriteExpressions(update, values, condition)


def _condition(body: Body, level: int = 1) -> Condition | None:
    if _EXPRESSION_FIELDS.isdisjoint(body):
        return _legacy_condition(body)
    found = write_expressions(body, level=level) if _LEGACY_FIELDS.isdisjoint(body) else None
    if found is not None:
        return found.condition
    legacy.refuse_mixture(body, _CONDITION_LEGACY, _CONDITION_FIELDS)
    expressions = Expressions(body, _CONDITION_FIELDS, level=level)
    condition = expressions.condition("ConditionExpression") or _legacy_condition(body)
    expressions.finish()
    return condition


def _legacy_condition(body: Body) -> Condition | None:
    if "Expected" not in body and "ConditionalOperator" not in body:
        return None
    found = legacy.condition(body, "Expected")
    return None if found is None else found[0]


def _returns_old(body: Body) -> bool:
    returned = fields.choice(body, "ReturnValues", fields.RETURN_VALUES, "NONE")
    if returned not in ("NONE", "ALL_OLD"):
        raise wording.invalid("ReturnValues can only be ALL_OLD or NONE")
    return returned == "ALL_OLD"


def _old_on_failure(body: Body) -> bool:
    return "ReturnValuesOnConditionCheckFailure" in body and (
        fields.choice(body, "ReturnValuesOnConditionCheckFailure", fields.RETURN_VALUES_ON_FAILURE, "NONE") == "ALL_OLD"
    )


def _nested(condition: Condition | None) -> frozenset[str]:
    return _NOTHING if condition is None else condition.nested


def _require(condition: Condition | None, old: Item | None, return_old: bool) -> None:
    if condition is not None and not condition.holds(old):
        raise ConditionalCheckFailed(old if return_old else None)
