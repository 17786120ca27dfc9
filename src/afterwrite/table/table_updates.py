"""UpdateTable: what is to change of a table, and what it then is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from afterwrite.table import fields, index_requests, table_options, vector_requests, wording
from afterwrite.table.fields import Body, Violations
from afterwrite.table.schema import GLOBAL, IndexSchema, KeySchema
from afterwrite.table.table_options import PAY_PER_REQUEST, PROVISIONED, TableOptions
from afterwrite.table.vector_indexes import VectorIndex

_INDEX_ACTIONS = ("Create", "Update", "Delete")
_UPDATED_FIELDS = (
    "ProvisionedThroughput",
    "BillingMode",
    "TableThroughputMode",
    "StreamSpecification",
    "GlobalSecondaryIndexUpdates",
    "VectorIndexUpdates",
    "SSESpecification",
    "ReplicaUpdates",
    "DeletionProtectionEnabled",
    "DisassociationProtectionEnabled",
    "OnDemandThroughput",
    "WarmThroughput",
    "TableClass",
)

_CHANGED_ALONE = {
    "SSESpecification": "Server-Side Encryption modification",
    "TableClass": "TableClass modification",
    "DeletionProtectionEnabled": "DeletionProtection modification",
    "DisassociationProtectionEnabled": "DisassociationProtection modification",
    "WarmThroughput": "WarmThroughput",
}


@dataclass(frozen=True, slots=True)
class UpdateTablePlan:
    """What is to change of a table; what is None stays.

    `stream_enabled` True comes with a view type. An index to create is read against the table as it is, by
    `created_index`.
    """

    table_name: str
    billing_mode: str | None = None
    units: tuple[int, int] | None = None
    stream_enabled: bool | None = None
    stream_view_type: str | None = None
    table_class: str | None = None
    deletion_protection: bool | None = None
    create: Body | None = None
    delete: str | None = None
    warm_throughput: Body | None = None
    on_demand_units: Mapping[str, int] = field(default_factory=dict)
    encryption: Body | None = None
    update: Mapping[str, Body] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    create_vector: Body | None = None
    delete_vector: str | None = None

    def created_index(
        self, table: KeySchema, existing: Sequence[IndexSchema], vector_indexes: Sequence[VectorIndex] = ()
    ) -> IndexSchema | None:
        """The index to create, if there is one. Raises ServiceError (ValidationException)."""
        if self.create is None:
            return None
        index = index_requests.parse_index(self.create, GLOBAL, table, self.types)
        index_requests.check_new(index, table, (*existing, *vector_indexes))
        vector_requests.check_keys(index, vector_indexes)
        if sum(each.scope == GLOBAL for each in existing) >= index_requests.GLOBAL_INDEXES_MAX:
            raise wording.limit_exceeded(
                "Subscriber limit exceeded: Number of global secondary indexes exceeds the per-table limit of "
                f"{index_requests.GLOBAL_INDEXES_MAX}"
            )
        return index

    def vector_indexes(
        self, table: KeySchema, existing: Sequence[IndexSchema], current: Sequence[VectorIndex]
    ) -> tuple[VectorIndex, ...]:
        """The vector indexes as they become. Raises ServiceError (ValidationException, ResourceNotFoundException)."""
        if self.delete_vector is not None:
            return vector_requests.without(current, self.delete_vector)
        if self.create_vector is None:
            return tuple(current)
        return (*current, vector_requests.created(self.create_vector, self.types, table, existing, current))

    def options(self, current: TableOptions, indexes: Sequence[str]) -> TableOptions:
        """The options as they become; `indexes` are the global indexes there are, by name."""
        new = current
        if self.billing_mode is not None:
            new = replace(new, billing_mode=self.billing_mode)
        if new.billing_mode == PAY_PER_REQUEST:
            if self.units is not None:
                raise wording.invalid_parameter(
                    "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode "
                    "is PAY_PER_REQUEST"
                )
            new = replace(new, units=(0, 0))
        elif self.units is not None:
            if self.units == current.units and current.billing_mode == PROVISIONED and not self._changes_more():
                raise wording.invalid(_unchanged_units(self.units))
            new = replace(new, units=self.units)
        elif current.billing_mode != PROVISIONED:
            raise wording.invalid_parameter("ProvisionedThroughput must be specified when BillingMode is PROVISIONED")
        new = replace(new, index_units=self._index_units(new.billing_mode, current, indexes))
        if self.table_class is not None:
            new = replace(new, table_class=self.table_class)
        if self.deletion_protection is not None:
            new = replace(new, deletion_protection=self.deletion_protection)
        if self.warm_throughput is not None:
            message = "current WarmThroughput, decreasing WarmThroughput is not supported"
            new = replace(
                new,
                warm_units=table_options.warm_units(self.warm_throughput, current.warm_throughput, "table", message),
            )
        if self.on_demand_units:
            table_options.check_on_demand(self.on_demand_units, new.billing_mode)
            new = replace(new, on_demand_units={**current.on_demand_units, **self.on_demand_units})
        if self.encryption is not None:
            key = table_options.encryption_key(self.encryption)
            if key is None and current.encryption_key is None:
                raise wording.invalid_parameter("Table is already encrypted by default")
            new = replace(new, encryption_key=key)
        new = table_options.with_index(new, self.create)
        for index in self.update.values():
            new = table_options.with_changed_index(new, index)
        return new

    def _index_units(
        self, billing_mode: str, current: TableOptions, indexes: Sequence[str]
    ) -> dict[str, tuple[int, int]]:
        if self.create is not None:
            table_options.check_new_index_throughput(self.create, billing_mode)
        if billing_mode == PAY_PER_REQUEST:
            for index in self.update.values():
                table_options.check_on_demand_change(index)
            return {}
        units = {name: each for name, each in current.index_units.items() if name != self.delete}
        for index in self.update.values() if self.create is None else (*self.update.values(), self.create):
            if index.get("ProvisionedThroughput") is None:
                continue
            name, wanted = str(index["IndexName"]), table_options.index_throughput(index)
            if wanted == units.get(name):
                raise wording.invalid(_unchanged_units(wanted, f"index {name}"))
            units[name] = wanted
        for name in indexes:
            if name not in units and name != self.delete:
                raise wording.invalid_parameter(f"ProvisionedThroughput must be specified for index: {name}")
        return units

    def _changes_more(self) -> bool:
        rest = (self.stream_enabled, self.table_class, self.deletion_protection, self.create, self.delete)
        return bool(self.update) or any(each is not None for each in rest)


def parse_update_table(body: Body) -> UpdateTablePlan:
    """UpdateTable's body as a plan."""
    name = fields.table_name_of_table_request(body)
    violations = Violations()
    definitions = fields.structures(body, "AttributeDefinitions", "AttributeDefinition") or ()
    index_requests.check_definitions(violations, definitions)
    table_options.note_billing_mode(violations, body)
    throughput = fields.structure(body, "ProvisionedThroughput", "ProvisionedThroughput")
    if throughput is not None:
        violations.units(throughput, "provisionedThroughput")
    updates = fields.structures(body, "GlobalSecondaryIndexUpdates", "GlobalSecondaryIndexUpdate")
    for number, update in enumerate(updates or (), 1):
        _check_index_update(violations, update, f"globalSecondaryIndexUpdates.{number}.member")
    vector_updates = fields.structures(body, "VectorIndexUpdates", "VectorIndexUpdate") or ()
    for number, update in enumerate(vector_updates, 1):
        vector_requests.check_update(violations, update, f"vectorIndexUpdates.{number}.member")
    table_options.note_settings(violations, body)
    violations.check()
    if not any(body.get(each) not in (None, []) for each in _UPDATED_FIELDS):
        raise wording.invalid(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates, "
            "SSESpecification, ReplicaUpdates, MultiAccountReplicaReady, ReplicaTransitRoleArn, "
            "MultiRegionConsistency, DeletionProtectionEnabled, OnDemandThroughput, WarmThroughput or TableClass "
            "is required"
        )
    if updates == []:
        raise wording.invalid_parameter("List of GlobalSecondaryIndexUpdates is empty")
    _check_combination(body)
    billing_mode = table_options.billing_mode(body)
    units = None
    if throughput is not None:
        units = table_options.capacity_units(throughput)
    stream_enabled, view_type = _updated_stream(body)
    types = index_requests.attribute_types(definitions)
    actions = [_index_action(update) for update in updates or ()]
    for _, index in actions:
        if index.get("ProvisionedThroughput") is not None:
            table_options.index_throughput(index)
    vector_actions = [vector_requests.action_of(update) for update in vector_updates]
    if vector_actions and billing_mode == PROVISIONED:
        raise wording.invalid_parameter(f"Tables with vector indexes must be in {PAY_PER_REQUEST} mode")
    _check_actions(
        actions,
        vector_actions,
        types,
        changes_stream=stream_enabled is not None,
        changes_units=throughput is not None,
    )
    created = [index for kind, index in actions if kind == "Create"]
    deleted = [str(index["IndexName"]) for kind, index in actions if kind == "Delete"]
    return UpdateTablePlan(
        name,
        billing_mode,
        units,
        stream_enabled,
        view_type,
        table_options.table_class(body),
        _optional_flag(body, "DeletionProtectionEnabled"),
        created[0] if created else None,
        deleted[0] if deleted else None,
        fields.structure(body, "WarmThroughput", "WarmThroughput"),
        table_options.on_demand_units(body, billing_mode or PAY_PER_REQUEST),
        table_options.encryption(body),
        {str(index["IndexName"]): index for kind, index in actions if kind == "Update"},
        types,
        next((index for kind, index in vector_actions if kind == "Create"), None),
        next((str(index["IndexName"]) for kind, index in vector_actions if kind == "Delete"), None),
    )


def refuse_replicas(body: Body, region: str) -> None:
    """Refuse an UpdateTable that makes, deletes or disassociates replicas, of a table in `region`."""
    updates = fields.structures(body, "ReplicaUpdates", "ReplicationGroupUpdate") or ()
    if _optional_flag(body, "DisassociationProtectionEnabled") is not None or any(
        update.get("Disassociate") is not None for update in updates
    ):
        raise wording.invalid("The table is no replica of a global table: there is nothing to disassociate it from")
    if not updates:
        return
    actions = [action for update in updates for action in update.values() if isinstance(action, dict)]
    if any(action.get("RegionName") == region for action in actions):
        raise wording.invalid(
            "Cannot add or delete the local region through ReplicaUpdates. "
            "Use CreateTable, DeleteTable, or UpdateTable as required."
        )
    raise wording.invalid_parameter(wording.NO_REPLICAS)


def _optional_flag(body: Body, field: str) -> bool | None:
    return None if body.get(field) is None else fields.flag(body, field, default=False)


def _check_index_update(violations: Violations, update: Body, place: str) -> None:
    for kind in _INDEX_ACTIONS:
        action = fields.structure(update, kind, f"{kind}GlobalSecondaryIndexAction")
        if action is None:
            continue
        member = f"{place}.{kind.lower()}"
        if kind == "Create":
            index_requests.check_index(violations, action, member)
        else:
            violations.index_name(action, f"{member}.indexName")
        throughput = fields.structure(action, "ProvisionedThroughput", "ProvisionedThroughput")
        if throughput is not None:
            violations.units(throughput, f"{member}.provisionedThroughput")


def _index_action(update: Body) -> tuple[str, Body]:
    kinds = [kind for kind in _INDEX_ACTIONS if update.get(kind) is not None]
    if not kinds:
        raise wording.invalid_parameter(
            "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, "
            "GlobalSecondaryIndexUpdate.Delete must not be null"
        )
    if len(kinds) > 1:
        raise wording.invalid_parameter(
            "Only one global secondary index action is allowed per GlobalSecondaryIndexUpdate object"
        )
    return kinds[0], update[kinds[0]]


def _check_combination(body: Body) -> None:
    """Refuse an update of several things of which one must be changed alone."""
    changed = [name for name in _UPDATED_FIELDS if body.get(name) not in (None, {}, [])]
    if set(changed) == {"WarmThroughput", "GlobalSecondaryIndexUpdates"}:
        updates = body["GlobalSecondaryIndexUpdates"]
        changed = changed if any("Update" not in update for update in updates) else []
    for name, subject in _CHANGED_ALONE.items():
        if name in changed and len(changed) > 1:
            raise wording.invalid_parameter(f"{subject} must be the only operation in the request")
    if "StreamSpecification" not in changed:
        return
    if "OnDemandThroughput" in changed:
        raise wording.invalid_parameter(
            "OnDemandThroughput can only be combined with BillingMode in an UpdateTable request"
        )
    if "ProvisionedThroughput" in changed or table_options.billing_mode(body) == PROVISIONED:
        raise wording.invalid_parameter("You cannot modify stream status while updating table IOPS")


def _check_actions(
    actions: Sequence[tuple[str, Body]],
    vector_actions: Sequence[tuple[str, Body]],
    types: Mapping[str, str],
    *,
    changes_stream: bool,
    changes_units: bool,
) -> None:
    names = [str(index["IndexName"]) for _, index in actions]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise wording.invalid_parameter(
                f"Only one global secondary index update per index is allowed simultaneously. Index: {name}"
            )
    made_or_deleted = sum(kind != "Update" for kind, _ in actions) + len(vector_actions)
    if changes_units and made_or_deleted:
        raise wording.invalid_parameter("You cannot create or delete index while updating table IOPS")
    if changes_stream and made_or_deleted:
        raise wording.invalid_parameter("You cannot create or delete index while changing stream status")
    if made_or_deleted > 1:
        raise wording.limit_exceeded(
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table"
        )
    for kind, index in actions:
        if kind == "Create" and not types:
            raise wording.invalid_parameter(f"AttributeDefinitions is not specified for index: {index['IndexName']}")


def _updated_stream(body: Body) -> tuple[bool | None, str | None]:
    specification = fields.structure(body, "StreamSpecification", "StreamSpecification")
    if specification is None:
        return None, None
    enabled = fields.flag(specification, "StreamEnabled", default=False)
    view_type = fields.text(specification, "StreamViewType")
    if enabled and view_type is None:
        raise wording.invalid_parameter("If stream is being enabled then UpdateViewType is required")
    if not enabled and view_type is not None:
        raise wording.invalid_parameter("If stream is being disabled, then UpdateViewType must not be specified")
    return enabled, view_type


def _unchanged_units(units: tuple[int, int], whose: str = "table") -> str:
    read, write = units
    kind = whose.partition(" ")[0]
    return (
        f"The provisioned throughput for the {whose} will not change. The requested value equals the current value. "
        f"Current ReadCapacityUnits provisioned for the {kind}: {read}. Requested ReadCapacityUnits: {read}. "
        f"Current WriteCapacityUnits provisioned for the {kind}: {write}. Requested WriteCapacityUnits: {write}. "
        "Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
    )
