"""DynamoDB's operations on the store: a request's body becomes a read or a write of it.

A body is parsed and validated before the store is asked; what comes back is the function to run in a read or in
the next commit. Items leave the store as the JSON text they are kept in, without being decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import orjson

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store import destination_operations, ledger, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.tables import Catalog, Table, table_named
from afterwrite.table import batches, fields, reads, table_requests, writes
from afterwrite.table.batches import TransactWritePlan
from afterwrite.table.keys import encode_key
from afterwrite.table.reads import GetPlan, QueryPage, QueryPlan
from afterwrite.table.writes import ItemWrite

_LISTED_MAX: Final = 100
_TOKEN_KEPT_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Read:
    """Runs on a consistent view; answers the body's JSON text."""

    run: Callable[[ReadTransaction, Catalog], bytes]


@dataclass(frozen=True, slots=True)
class Write:
    """Runs in the next commit; answers the body."""

    run: Callable[[WriteTransaction], Mapping[str, Any]]


Prepared: TypeAlias = Read | Write
Body: TypeAlias = dict[str, Any]


class Operations:
    """DynamoDB's operations by name. The tables named in `protected` cannot be deleted."""

    def __init__(self, identity: Identity, protected: Collection[str] = ()) -> None:
        self._identity = identity
        self._protected = frozenset(protected)
        self._by_name: Mapping[str, Callable[[Body], Prepared]] = {
            "PutItem": lambda body: _item_write(writes.parse_put_item(body)),
            "UpdateItem": lambda body: _item_write(writes.parse_update_item(body)),
            "DeleteItem": lambda body: _item_write(writes.parse_delete_item(body)),
            "GetItem": lambda body: Read(partial(_get_item, reads.parse_get_item(body))),
            "Query": lambda body: Read(partial(_query, reads.parse_query(body))),
            "Scan": lambda body: Read(partial(_query, reads.parse_scan(body))),
            "BatchWriteItem": _batch_write,
            "TransactWriteItems": _transact_write,
            "CreateTable": self._create_table,
            "DescribeTable": lambda body: Read(partial(self._describe_table, fields.table_name(body))),
            "DeleteTable": self._delete_table,
            "ListTables": lambda body: Read(partial(_list_tables, body)),
            "UpdateTimeToLive": _update_time_to_live,
            "EnableKinesisStreamingDestination": lambda body: Write(destination_operations.enable(body, identity)),
            "DisableKinesisStreamingDestination": lambda body: Write(destination_operations.disable(body)),
            "UpdateKinesisStreamingDestination": lambda body: Write(destination_operations.update(body)),
            "DescribeKinesisStreamingDestination": lambda body: Read(destination_operations.describe(body)),
            "DescribeTimeToLive": lambda body: Read(partial(_describe_ttl, fields.table_name(body))),
        }

    def names(self) -> Iterator[str]:
        """The operations that are offered."""
        return iter(self._by_name)

    def prepare(self, name: str, body: Body) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        operation = self._by_name.get(name)
        if operation is None:
            raise ServiceError("UnknownOperationException", f"The operation {name} is not offered")
        return operation(body)

    def _create_table(self, body: Body) -> Write:
        plan = table_requests.parse_create_table(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            table = tables.create_table(transaction, plan.table_name, plan.schema, view_type=plan.stream_view_type)
            return {"TableDescription": self._description(transaction, table)}

        return Write(run)

    def _delete_table(self, body: Body) -> Write:
        name = fields.table_name(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            table = table_named(tables.catalog(transaction), name)
            if name in self._protected:
                raise fields.invalid(
                    "Resource cannot be deleted as it is currently protected against deletion. "
                    "Disable deletion protection first."
                )
            description = {**self._description(transaction, table), "TableStatus": "DELETING"}
            tables.delete_table(transaction, name)
            return {"TableDescription": description}

        return Write(run)

    def _describe_table(self, name: str, transaction: ReadTransaction, catalog: Catalog) -> bytes:
        table = catalog.get(name)
        if table is None:
            raise ServiceError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
        return orjson.dumps({"Table": self._description(transaction, table)})

    def _description(self, transaction: ReadTransaction, table: Table) -> dict[str, Any]:
        arn = f"arn:aws:dynamodb:{self._identity.region}:{self._identity.account_id}:table/{table.name}"
        count, size = tables.statistics(transaction, table)
        description: dict[str, Any] = {
            **table.schema.to_wire(),
            "TableName": table.name,
            "TableStatus": "ACTIVE",
            "CreationDateTime": table.created_at_ms / 1000,
            "ProvisionedThroughput": {
                "NumberOfDecreasesToday": 0,
                "ReadCapacityUnits": 0,
                "WriteCapacityUnits": 0,
            },
            "TableSizeBytes": size,
            "ItemCount": count,
            "TableArn": arn,
            "TableId": _table_id(table),
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "DeletionProtectionEnabled": table.name in self._protected,
        }
        if table.stream is not None:
            description["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": table.stream.view_type}
            description["LatestStreamLabel"] = table.stream.label
            description["LatestStreamArn"] = f"{arn}/stream/{table.stream.label}"
        return description


def _table_id(table: Table) -> str:
    text = hashlib.blake2b(f"{table.name}/{table.number}".encode(), digest_size=16).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _item_write(write: ItemWrite) -> Write:
    return Write(partial(_apply, write))


def _apply(write: ItemWrite, transaction: WriteTransaction) -> Mapping[str, Any]:
    return tables.write_item(transaction, write)


def _batch_write(body: Body) -> Write:
    plan = batches.parse_batch_write_item(body)

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        plan.check_distinct(_places(transaction, plan.writes))
        tables.write_items(transaction, plan.writes)
        return plan.answer()

    return Write(run)


def _transact_write(body: Body) -> Write:
    return Write(partial(_transact, batches.parse_transact_write_items(body)))


def _transact(plan: TransactWritePlan, transaction: WriteTransaction) -> Mapping[str, Any]:
    note = f"token/{plan.token}"
    if plan.token is not None:
        known = ledger.note(transaction, note)
        if known == plan.fingerprint.hex():
            return plan.answer()
        if known is not None:
            raise ServiceError(
                "IdempotentParameterMismatchException",
                "The request uses the same client token as a previous, but non-identical request.",
            )
    plan.check_distinct(_places(transaction, plan.writes))
    tables.transact(transaction, plan.writes)
    if plan.token is not None:
        until_ms = transaction.now_ms + _TOKEN_KEPT_MS
        ledger.keep_note(transaction, note, plan.fingerprint.hex(), until_ms=until_ms)
    return plan.answer()


def _places(transaction: WriteTransaction, writes: Iterable[ItemWrite]) -> Iterator[tuple[str, bytes]]:
    for write in writes:
        schema = table_named(tables.catalog(transaction), write.table_name).schema
        yield write.table_name, encode_key(schema, write.key(schema))


def _get_item(plan: GetPlan, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    table = table_named(catalog, plan.table_name)
    text = tables.get_item(transaction, table, plan.key(table.schema))
    if plan.projection is None and plan.capacity_detail == "NONE":
        return b"{}" if text is None else b'{"Item":' + text + b"}"
    return orjson.dumps(plan.answer(None if text is None else orjson.loads(text)))


def _query(plan: QueryPlan, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    table = table_named(catalog, plan.table_name)
    keys = plan.range(table.schema)
    page = QueryPage(plan, table.schema)
    for text in tables.scan_items(transaction, table, keys.low, keys.high, reverse=not plan.forward):
        if not page.add(orjson.loads(text)):
            break
    return orjson.dumps(page.answer())


def _list_tables(body: Body, _transaction: ReadTransaction, catalog: Catalog) -> bytes:
    start = fields.text(body, "ExclusiveStartTableName") or ""
    limit = fields.integer(body, "Limit")
    limit = _LISTED_MAX if limit is None else limit
    if not 1 <= limit <= _LISTED_MAX:
        bound = f"less than or equal to {_LISTED_MAX}" if limit > 1 else "greater than or equal to 1"
        raise fields.constraint_error(limit, "Limit", f"Member must have value {bound}")
    names = sorted(name for name in catalog if name > start)
    answer: dict[str, Any] = {"TableNames": names[:limit]}
    if len(names) > limit:
        answer["LastEvaluatedTableName"] = names[limit - 1]
    return orjson.dumps(answer)


def _update_time_to_live(body: Body) -> Write:
    plan = table_requests.parse_update_time_to_live(body)

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        tables.set_ttl(transaction, plan.table_name, plan.attribute_name if plan.enabled else None)
        return plan.answer()

    return Write(run)


def _describe_ttl(name: str, _transaction: ReadTransaction, catalog: Catalog) -> bytes:
    table = table_named(catalog, name)
    if table.ttl_attribute is None:
        return orjson.dumps({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}})
    return orjson.dumps(
        {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": table.ttl_attribute}}
    )
