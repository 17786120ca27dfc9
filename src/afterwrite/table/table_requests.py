"""The requests on tables themselves: CreateTable and UpdateTimeToLive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from afterwrite.table import fields
from afterwrite.table.fields import Body
from afterwrite.table.schema import KeySchema

_BILLING_MODES = ("PROVISIONED", "PAY_PER_REQUEST")
_VIEW_TYPES = ("NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY")
_INDEX_FIELDS = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
_KEY_ATTRIBUTES_MAX = 2
_ATTRIBUTE_NAME_CHARACTERS_MAX = 255


@dataclass(frozen=True, slots=True)
class CreateTablePlan:
    """A table to create; `stream_view_type` is None for a table without a stream."""

    table_name: str
    schema: KeySchema
    billing_mode: str
    stream_view_type: str | None
    read_units: int
    write_units: int


@dataclass(frozen=True, slots=True)
class TimeToLivePlan:
    """A table's TTL attribute, switched on or off."""

    table_name: str
    attribute_name: str
    enabled: bool

    def answer(self) -> dict[str, Any]:
        """The response's body."""
        return {"TimeToLiveSpecification": {"Enabled": self.enabled, "AttributeName": self.attribute_name}}


def parse_create_table(body: Body) -> CreateTablePlan:
    """CreateTable's body as a plan. Secondary indexes are refused."""
    name = fields.table_name_of_table_request(body)
    definitions = _required_structures(body, "AttributeDefinitions", "AttributeDefinition")
    elements = _required_structures(body, "KeySchema", "KeySchemaElement")
    if not 1 <= len(elements) <= _KEY_ATTRIBUTES_MAX:
        bound = "less than or equal to 2" if elements else "greater than or equal to 1"
        raise fields.constraint_error(
            [dict(element) for element in elements], "KeySchema", f"Member must have length {bound}"
        )
    for index, definition in enumerate(definitions, 1):
        _check_name(definition, f"attributeDefinitions.{index}.member.attributeName")
        _check_member(
            definition, "AttributeType", ("B", "N", "S"), f"attributeDefinitions.{index}.member.attributeType"
        )
    for index, element in enumerate(elements, 1):
        _check_name(element, f"keySchema.{index}.member.attributeName")
        _check_member(element, "KeyType", ("HASH", "RANGE"), f"keySchema.{index}.member.keyType")
    billing_mode = fields.choice(body, "BillingMode", _BILLING_MODES, "PROVISIONED")
    read_units, write_units = _throughput(body, billing_mode)
    for field in _INDEX_FIELDS:
        if body.get(field):
            raise fields.invalid(f"{field} are not supported: create the table without secondary indexes")
    schema = KeySchema.from_wire(elements, definitions)
    return CreateTablePlan(name, schema, billing_mode, _view_type(body), read_units, write_units)


def parse_update_time_to_live(body: Body) -> TimeToLivePlan:
    """UpdateTimeToLive's body as a plan."""
    name = fields.table_name_of_table_request(body)
    specification = fields.structure(body, "TimeToLiveSpecification", "TimeToLiveSpecification")
    if specification is None:
        raise fields.missing("TimeToLiveSpecification")
    attribute = fields.text(specification, "AttributeName")
    if attribute is None:
        raise fields.missing("timeToLiveSpecification.attributeName")
    if not attribute:
        raise fields.invalid("TimeToLiveSpecification.AttributeName must be non empty")
    if len(attribute) > _ATTRIBUTE_NAME_CHARACTERS_MAX:
        raise fields.constraint_error(
            attribute,
            "timeToLiveSpecification.attributeName",
            f"Member must have length less than or equal to {_ATTRIBUTE_NAME_CHARACTERS_MAX}",
        )
    if specification.get("Enabled") is None:
        raise fields.missing("timeToLiveSpecification.enabled")
    return TimeToLivePlan(name, attribute, fields.flag(specification, "Enabled", default=False))


def _required_structures(body: Body, field: str, kind: str) -> list[dict[str, Any]]:
    members = fields.structures(body, field, kind)
    if members is None:
        raise fields.missing(field)
    return members


def _check_name(member: Mapping[str, Any], place: str) -> None:
    name = fields.text(member, "AttributeName")
    if name is None:
        raise fields.missing(place)
    if not 1 <= len(name) <= _ATTRIBUTE_NAME_CHARACTERS_MAX:
        bound = "less than or equal to 255" if name else "greater than or equal to 1"
        raise fields.constraint_error(name, place, f"Member must have length {bound}")


def _check_member(member: Mapping[str, Any], field: str, allowed: tuple[str, ...], place: str) -> None:
    value = fields.text(member, field)
    if value is None:
        raise fields.missing(place)
    if value not in allowed:
        raise fields.constraint_error(value, place, f"Member must satisfy enum value set: [{', '.join(allowed)}]")


def _throughput(body: Body, billing_mode: str) -> tuple[int, int]:
    throughput = fields.structure(body, "ProvisionedThroughput", "ProvisionedThroughput")
    if billing_mode == "PAY_PER_REQUEST":
        if throughput:
            raise fields.invalid(
                "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits "
                "can be specified when BillingMode is PAY_PER_REQUEST"
            )
        return 0, 0
    read_units = fields.integer(throughput or {}, "ReadCapacityUnits")
    write_units = fields.integer(throughput or {}, "WriteCapacityUnits")
    if read_units is None or write_units is None:
        raise fields.invalid(
            "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both be "
            "specified when BillingMode is PROVISIONED"
        )
    for field, units in (("readCapacityUnits", read_units), ("writeCapacityUnits", write_units)):
        if units < 1:
            raise fields.constraint_error(
                units, f"provisionedThroughput.{field}", "Member must have value greater than or equal to 1"
            )
    return read_units, write_units


def _view_type(body: Body) -> str | None:
    specification = fields.structure(body, "StreamSpecification", "StreamSpecification")
    if specification is None:
        return None
    enabled = fields.flag(specification, "StreamEnabled", default=False)
    view_type = fields.choice(specification, "StreamViewType", _VIEW_TYPES, "")
    if enabled and not view_type:
        raise fields.invalid(
            "One or more parameter values were invalid: StreamViewType is required when StreamEnabled is true"
        )
    if view_type and not enabled:
        raise fields.invalid(
            "One or more parameter values were invalid: Table is being created with stream disabled, "
            "but StreamViewType is specified"
        )
    return view_type or None
