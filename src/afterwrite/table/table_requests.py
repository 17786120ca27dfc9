"""Requests on tables themselves: CreateTable and UpdateTimeToLive; UpdateTable is in `table_updates`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from afterwrite.table import fields, index_requests, table_options, tags, vector_requests, wording
from afterwrite.table.fields import Body, Violations
from afterwrite.table.schema import IndexedAttributes, IndexSchema, KeySchema
from afterwrite.table.table_options import PAY_PER_REQUEST, PROVISIONED, TableOptions
from afterwrite.table.vector_indexes import VectorIndex

_POLICY_BYTES_MAX = 20 * 1024


@dataclass(frozen=True, slots=True)
class CreateTablePlan:
    """A table to create; `stream_view_type` is None for a table without a stream."""

    table_name: str
    schema: KeySchema
    indexes: tuple[IndexSchema, ...]
    vector_indexes: tuple[VectorIndex, ...]
    options: TableOptions
    stream_view_type: str | None
    tags: Mapping[str, str]
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class TimeToLivePlan:
    """A table's TTL attribute, switched on or off."""

    table_name: str
    attribute_name: str
    enabled: bool

    def check(self, current: str | None) -> None:
        """Refuse to switch on what is on, or off what is off; `current` is the attribute in use."""
        if self.enabled and current is not None:
            if current == self.attribute_name:
                raise wording.invalid("TimeToLive is already enabled")
            raise wording.invalid(
                f"TimeToLive is active on a different AttributeName: current AttributeName is {current}"
            )
        if not self.enabled and current is None:
            raise wording.invalid("TimeToLive is already disabled")
        if not self.enabled and current != self.attribute_name:
            raise wording.invalid(
                f"TimeToLive is active on a different AttributeName: current AttributeName is {current}"
            )

    def answer(self) -> dict[str, Any]:
        """The response's body."""
        return {"TimeToLiveSpecification": {"Enabled": self.enabled, "AttributeName": self.attribute_name}}


def parse_create_table(body: Body) -> CreateTablePlan:
    """CreateTable's body as a plan."""
    _check_constraints(body)
    name = fields.table_name_of_table_request(body)
    definitions = fields.structures(body, "AttributeDefinitions", "AttributeDefinition") or []
    elements = body["KeySchema"]
    billing_mode = table_options.billing_mode(body) or PROVISIONED
    units = _units(body, billing_mode)
    types = index_requests.attribute_types(definitions)
    schema = KeySchema.from_wire(elements, types)
    indexes = index_requests.parse_indexes(body, schema, types)
    vector_indexes = vector_requests.parse_vector_indexes(body, schema, indexes, types)
    vector_requests.check_billing(vector_indexes, billing_mode)
    every: list[IndexedAttributes] = [*indexes, *vector_indexes]
    index_requests.check_definitions_used(types, schema, [name for index in every for name in index.names])
    options = TableOptions(
        billing_mode,
        units,
        _index_units(body, billing_mode),
        table_options.table_class(body),
        fields.flag(body, "DeletionProtectionEnabled", default=False),
    )
    warm = fields.structure(body, "WarmThroughput", "WarmThroughput")
    if warm is not None:
        message = "initial throughput for OnDemand" if units == (0, 0) else "ProvisionedThroughput"
        options = replace(options, warm_units=table_options.warm_units(warm, options.warm_throughput, "table", message))
    for index in body.get("GlobalSecondaryIndexes") or ():
        options = table_options.with_index(options, index)
    encryption = table_options.encryption(body)
    options = replace(
        options,
        on_demand_units=table_options.on_demand_units(body, billing_mode),
        encryption_key=None if encryption is None else table_options.encryption_key(encryption),
    )
    view_type = _created_view_type(body)
    if fields.text(body, "GlobalTableSourceArn") is not None:
        raise wording.invalid_parameter(wording.NO_REPLICAS)
    policy = fields.text(body, "ResourcePolicy")
    return CreateTablePlan(
        name,
        schema,
        indexes,
        vector_indexes,
        options,
        view_type,
        tags.parse_tags(body),
        None if policy is None else checked_policy(policy),
    )


def checked_policy(policy: str) -> str:
    """A resource-based policy, which is JSON of some size with statements. Raises ServiceError."""
    if len(policy.encode()) > _POLICY_BYTES_MAX:
        raise wording.invalid_parameter("The size of the policy document exceeds the maximum allowed size of 20 KB")
    try:
        parsed = orjson.loads(policy)
    except orjson.JSONDecodeError:
        raise wording.invalid_parameter("Invalid policy document: the policy is not valid JSON") from None
    if type(parsed) is not dict or not isinstance(parsed.get("Statement"), dict | list):
        raise wording.invalid_parameter("Invalid policy document: the policy has no statements")
    return policy


def _check_constraints(body: Body) -> None:
    violations = Violations()
    fields.note_table_name(violations, body)
    definitions = fields.structures(body, "AttributeDefinitions", "AttributeDefinition")
    elements = fields.structures(body, "KeySchema", "KeySchemaElement")
    throughput = fields.structure(body, "ProvisionedThroughput", "ProvisionedThroughput")
    if throughput is not None:
        violations.units(throughput, "provisionedThroughput")
    index_requests.check_elements(violations, elements, "keySchema", index_requests.KEY_ELEMENTS_MAX)
    if definitions is None:
        violations.add(None, "attributeDefinitions", "Member must not be null")
    index_requests.check_definitions(violations, definitions or ())
    table_options.note_billing_mode(violations, body)
    index_requests.check_indexes(violations, body)
    vector_requests.check_vector_indexes(violations, body)
    for number, index in enumerate(fields.structures(body, "GlobalSecondaryIndexes", "GlobalSecondaryIndex") or (), 1):
        units = fields.structure(index, "ProvisionedThroughput", "ProvisionedThroughput")
        if units is not None:
            violations.units(units, f"globalSecondaryIndexes.{number}.member.provisionedThroughput")
    table_options.note_settings(violations, body)
    violations.check()


def parse_update_time_to_live(body: Body) -> TimeToLivePlan:
    """UpdateTimeToLive's body as a plan."""
    name = fields.table_name_of_table_request(body)
    specification = fields.structure(body, "TimeToLiveSpecification", "TimeToLiveSpecification")
    violations = Violations()
    if specification is None:
        violations.add(None, "timeToLiveSpecification", "Member must not be null")
        violations.check()
        raise fields.missing("TimeToLiveSpecification")
    attribute = fields.text(specification, "AttributeName")
    if attribute is None:
        violations.add(None, "timeToLiveSpecification.attributeName", "Member must not be null")
    else:
        violations.name(specification, "AttributeName", "timeToLiveSpecification.attributeName")
    if specification.get("Enabled") is None:
        violations.add(None, "timeToLiveSpecification.enabled", "Member must not be null")
    violations.check()
    return TimeToLivePlan(name, str(attribute), fields.flag(specification, "Enabled", default=False))


def _units(body: Body, billing_mode: str) -> tuple[int, int]:
    throughput = body.get("ProvisionedThroughput")
    if billing_mode == PAY_PER_REQUEST:
        if throughput:
            raise wording.invalid_parameter(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
            )
        return 0, 0
    if not throughput:
        raise wording.invalid_parameter(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
        )
    return table_options.capacity_units(throughput)


def _index_units(body: Body, billing_mode: str) -> dict[str, tuple[int, int]]:
    units: dict[str, tuple[int, int]] = {}
    for index in body.get("GlobalSecondaryIndexes") or ():
        table_options.check_index_throughput(index, billing_mode)
        if billing_mode == PROVISIONED:
            units[index["IndexName"]] = table_options.index_throughput(index)
    return units


def _created_view_type(body: Body) -> str | None:
    specification = fields.structure(body, "StreamSpecification", "StreamSpecification")
    if specification is None:
        return None
    enabled = fields.flag(specification, "StreamEnabled", default=False)
    view_type = fields.text(specification, "StreamViewType")
    if enabled and not view_type:
        raise wording.invalid_parameter("Table is being created with a stream enabled, UpdateViewType is required")
    if view_type and not enabled:
        raise wording.invalid_parameter(
            "Table is being created with a stream disabled, UpdateViewType should not be specified"
        )
    return view_type or None
