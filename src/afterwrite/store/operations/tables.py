"""DynamoDB's operations on tables: their making, changing and describing, their tags and time to live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store import index_filling, items, table_restoring, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.operations.descriptions import Descriptions
from afterwrite.store.operations.policies import policy_kept
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.tables import Catalog, Table
from afterwrite.table import fields, table_requests, table_updates, tags, vector_requests, wording
from afterwrite.table.schema import GLOBAL
from afterwrite.table.table_options import PAY_PER_REQUEST
from afterwrite.table.table_updates import UpdateTablePlan

_LISTED_MAX: Final = 100
_ENDPOINT_CACHED_MIN: Final = 1440
_ACCOUNT_UNITS_MAX: Final = 80_000
_TABLE_UNITS_MAX: Final = 40_000


class TableOperations:
    """The operations on tables. Those named in `protected` belong to the app: they stay, and keep their streams."""

    def __init__(self, identity: Identity, protected: frozenset[str]) -> None:
        self._descriptions = Descriptions(identity, protected)
        self._protected = protected
        self.endpoint = "localhost"

    def by_name(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations by their names."""
        return {
            "CreateTable": self._create_table,
            "UpdateTable": self._update_table,
            "DescribeTable": lambda body: Read(partial(self._describe_table, fields.table_name_of_table_request(body))),
            "DeleteTable": self._delete_table,
            "ListTables": lambda body: Read(partial(_list_tables, *_listing(body))),
            "UpdateTimeToLive": self._update_time_to_live,
            "DescribeTimeToLive": lambda body: Read(partial(_describe_ttl, fields.table_name_of_table_request(body))),
            "TagResource": self._tag_resource,
            "UntagResource": self._untag_resource,
            "ListTagsOfResource": lambda body: Read(partial(self._list_tags, _resource_arn(body))),
            "DescribeLimits": lambda _body: Read(_describe_limits),
            "DescribeEndpoints": lambda _body: Read(self._describe_endpoints),
        }

    def _create_table(self, body: Body) -> Write:
        plan = table_requests.parse_create_table(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            if table_restoring.restoring_named(tables.catalog(transaction), plan.table_name) is not None:
                raise ServiceError("ResourceInUseException", f"Table already exists: {plan.table_name}")
            table = tables.create_table(
                transaction,
                plan.table_name,
                plan.schema,
                view_type=plan.stream_view_type,
                index_schemas=plan.indexes,
                vector_indexes=plan.vector_indexes,
                options=plan.options,
                tags=plan.tags,
            )
            if plan.policy is not None:
                policies = {"": policy_kept(plan.policy, transaction.now_ms)}
                table = tables.save(transaction, replace(table, policies=policies))
            return {"TableDescription": self._descriptions.created(transaction, table)}

        return Write(run)

    def _update_table(self, body: Body) -> Write:
        plan = table_updates.parse_update_table(body)
        table_updates.refuse_replicas(body, self._descriptions.region)
        return Write(partial(self._update, plan))

    def _update(self, plan: UpdateTablePlan, transaction: WriteTransaction) -> Mapping[str, Any]:
        _refuse_while_restored(tables.catalog(transaction), plan.table_name)
        table = before = tables.described_table(tables.catalog(transaction), plan.table_name)
        if plan.deletion_protection is False and table.name in self._protected:
            raise wording.invalid_parameter("The app that runs here declares the table: its deletion protection stays")
        schemas = [index.schema for index in table.indexes]
        created = plan.created_index(table.schema, schemas, table.vector_indexes)
        vector_indexes = plan.vector_indexes(table.schema, schemas, table.vector_indexes)
        if created is not None and table.filling is not None:
            raise wording.limit_exceeded(
                "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table"
            )
        _check_index_names(
            table, {**dict.fromkeys(plan.update, "update"), **({} if plan.delete is None else {plan.delete: "delete"})}
        )
        options = plan.options(table.options, [schema.name for schema in schemas if schema.scope == GLOBAL])
        vector_requests.check_billing(vector_indexes, options.billing_mode)
        options = options.dated(table.options, transaction.now_ms)
        on_demand_since_ms = table.on_demand_since_ms
        if options.billing_mode == PAY_PER_REQUEST and table.options.billing_mode != PAY_PER_REQUEST:
            on_demand_since_ms = transaction.now_ms
        elif on_demand_since_ms is None and table.options.billing_mode == PAY_PER_REQUEST:
            on_demand_since_ms = table.created_at_ms
        table = self._update_stream(transaction, plan, table)
        class_changed_at_ms = table.class_changed_at_ms if plan.table_class is None else transaction.now_ms
        table = tables.save(
            transaction,
            replace(
                table,
                options=options,
                on_demand_since_ms=on_demand_since_ms,
                class_changed_at_ms=class_changed_at_ms,
                vector_indexes=vector_indexes,
            ),
        )
        if created is not None:
            table = index_filling.create_index(transaction, table, created)
        if plan.delete is not None:
            table = index_filling.delete_index(transaction, table, plan.delete)
        return {"TableDescription": self._descriptions.updated(transaction, table, before)}

    def _update_stream(self, transaction: WriteTransaction, plan: UpdateTablePlan, table: Table) -> Table:
        if plan.stream_enabled is None:
            return table
        if plan.stream_enabled and plan.stream_view_type is not None:
            if table.stream is not None:
                raise wording.invalid(f"Table already has an enabled stream: TableName: {table.name}")
            return tables.enable_stream(transaction, table, plan.stream_view_type)
        if table.stream is None:
            raise wording.invalid(f"Table has no stream to disable: TableName: {table.name}")
        if table.name in self._protected:
            raise wording.invalid_parameter("The app that runs here reads the table's stream: it stays enabled")
        return tables.disable_stream(transaction, table)

    def _delete_table(self, body: Body) -> Write:
        name = fields.table_name_of_table_request(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            _refuse_while_restored(tables.catalog(transaction), name)
            table = tables.described_table(tables.catalog(transaction), name)
            if name in self._protected or table.options.deletion_protection:
                raise wording.invalid(
                    "Resource cannot be deleted as it is currently protected against deletion. "
                    "Disable deletion protection first."
                )
            if table.filling is not None:
                raise ServiceError(
                    "ResourceInUseException",
                    "Attempt to change a resource which is still in use: "
                    "Cannot delete table while indexes are being created, updated, or deleted.",
                )
            description = self._descriptions.deleted(transaction, table)
            tables.delete_table(transaction, name)
            return {"TableDescription": description}

        return Write(run)

    def _describe_table(self, name: str, transaction: ReadTransaction, catalog: Catalog) -> bytes:
        restoring = table_restoring.restoring_named(catalog, name)
        if restoring is not None:
            return orjson.dumps({"Table": self._descriptions.restoring(transaction, restoring)})
        return orjson.dumps({"Table": self._descriptions.active(transaction, tables.described_table(catalog, name))})

    def _update_time_to_live(self, body: Body) -> Write:
        plan = table_requests.parse_update_time_to_live(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            table = tables.described_table(tables.catalog(transaction), plan.table_name)
            plan.check(table.ttl_attribute)
            items.set_ttl(transaction, plan.table_name, plan.attribute_name if plan.enabled else None)
            return plan.answer()

        return Write(run)

    def _tag_resource(self, body: Body) -> Write:
        arn = _resource_arn(body)
        if body.get("Tags") is None:
            raise fields.missing("Tags")
        added = tags.parse_tags(body)
        if not added:
            raise wording.invalid("Atleast one Tag needs to be provided as Input.")

        def run(transaction: WriteTransaction) -> None:
            table = self._tagged_table(tables.catalog(transaction), arn)
            merged = {**table.tags, **added}
            tags.check_tag_count(merged)
            tables.save(transaction, replace(table, tags=merged))

        return Write(run)

    def _untag_resource(self, body: Body) -> Write:
        arn = _resource_arn(body)
        keys = tags.parse_tag_keys(body)

        def run(transaction: WriteTransaction) -> None:
            table = self._tagged_table(tables.catalog(transaction), arn)
            left = {key: value for key, value in table.tags.items() if key not in keys}
            tables.save(transaction, replace(table, tags=left))

        return Write(run)

    def _list_tags(self, arn: str, _transaction: ReadTransaction, catalog: Catalog) -> bytes:
        table = self._tagged_table(catalog, arn)
        return orjson.dumps({"Tags": [{"Key": key, "Value": value} for key, value in table.tags.items()]})

    def _tagged_table(self, catalog: Catalog, arn: str) -> Table:
        _, separator, name = arn.partition(":table/")
        if "/" in name:
            raise wording.invalid_parameter(
                f"Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {arn}"
            )
        table = catalog.get(name)
        if not separator or table is None or self._descriptions.arn(table) != arn:
            raise ServiceError(
                "ResourceNotFoundException", f"Requested resource not found: ResourceArn: {arn} not found"
            )
        return table

    def _describe_endpoints(self, _transaction: ReadTransaction, _catalog: Catalog) -> bytes:
        return orjson.dumps({"Endpoints": [{"Address": self.endpoint, "CachePeriodInMinutes": _ENDPOINT_CACHED_MIN}]})


def _refuse_while_restored(catalog: Catalog, name: str) -> None:
    if table_restoring.restoring_named(catalog, name) is not None:
        message = f"Attempt to change a resource which is still in use: Table is being created: {name}"
        raise ServiceError("ResourceInUseException", message)


def _check_index_names(table: Table, actions: Mapping[str, str]) -> None:
    for name, action in actions.items():
        index = table.index_named(name)
        if index is None:
            raise ServiceError(
                "ResourceNotFoundException", f"Requested resource not found: Index {name} for table {table.name}"
            )
        if index.schema.scope != GLOBAL:
            raise wording.invalid(f"Cannot {action} an index that is not a GlobalSecondaryIndex: {name}")


def _listing(body: Body) -> tuple[str, int]:
    limit = fields.integer(body, "Limit")
    limit = _LISTED_MAX if limit is None else limit
    violations = fields.Violations()
    if limit < 1:
        violations.add(limit, "limit", "Member must have value greater than or equal to 1")
    if limit > _LISTED_MAX:
        violations.add(limit, "limit", f"Member must have value less than or equal to {_LISTED_MAX}")
    start = body.get("ExclusiveStartTableName")
    if start is not None:
        violations.resource_name(body, "ExclusiveStartTableName", "exclusiveStartTableName")
    violations.check()
    return "" if start is None else str(start), limit


def _list_tables(start: str, limit: int, _transaction: ReadTransaction, catalog: Catalog) -> bytes:
    names = sorted(name for name in map(table_restoring.own_name, catalog) if name > start)
    answer: dict[str, Any] = {"TableNames": names[:limit]}
    if len(names) > limit:
        answer["LastEvaluatedTableName"] = names[limit - 1]
    return orjson.dumps(answer)


def _describe_ttl(name: str, _transaction: ReadTransaction, catalog: Catalog) -> bytes:
    table = tables.described_table(catalog, name)
    if table.ttl_attribute is None:
        return orjson.dumps({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}})
    return orjson.dumps(
        {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl_attribute}}
    )


def _resource_arn(body: Body) -> str:
    arn = fields.text(body, "ResourceArn")
    if arn is None:
        raise fields.missing("ResourceArn")
    if not arn.startswith("arn:"):
        raise wording.invalid_parameter(f"ARNs must start with 'arn:': {arn}")
    return arn


def _describe_limits(_transaction: ReadTransaction, _catalog: Catalog) -> bytes:
    return orjson.dumps(
        {
            "AccountMaxReadCapacityUnits": _ACCOUNT_UNITS_MAX,
            "AccountMaxWriteCapacityUnits": _ACCOUNT_UNITS_MAX,
            "TableMaxReadCapacityUnits": _TABLE_UNITS_MAX,
            "TableMaxWriteCapacityUnits": _TABLE_UNITS_MAX,
        }
    )
