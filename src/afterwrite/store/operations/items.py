"""DynamoDB's operations on items.

Items leave the store as the JSON text they are kept in, and are decoded only where something looks into them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import orjson

from afterwrite.core.values import Item
from afterwrite.errors import EmptyKey, ServiceError, TransactionCanceled
from afterwrite.store import items, ledger, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.tables import Catalog, Table, table_named
from afterwrite.table import batches, reads, vector_search, wording, writes
from afterwrite.table.batches import BatchGetPlan, BatchWritePlan, TransactGetPlan, TransactWritePlan
from afterwrite.table.capacity import Capacity, Reporting, collection_metrics
from afterwrite.table.index_keys import check_scalar_keys
from afterwrite.table.keys import encode_key
from afterwrite.table.reads import GetPlan, QueryPage, QueryPlan
from afterwrite.table.sizes import item_size, read_units
from afterwrite.table.vector_search import SearchPlan
from afterwrite.table.writes import ItemWrite

_TOKEN_KEPT_MS: Final = 600_000
READS: Final = frozenset(("GetItem", "Query", "Scan", "SearchVectors", "BatchGetItem", "TransactGetItems"))
"""The operations on items that change nothing."""

_Written = tuple[Table, Item | None, Item | None]


def by_name() -> Mapping[str, Callable[[Body], Prepared]]:
    """The operations by their names."""
    return {
        "PutItem": lambda body: _item_write(writes.parse_put_item(body)),
        "UpdateItem": lambda body: _item_write(writes.parse_update_item(body)),
        "DeleteItem": lambda body: _item_write(writes.parse_delete_item(body)),
        "GetItem": lambda body: Read(partial(_get_item, reads.parse_get_item(body))),
        "Query": lambda body: Read(partial(_query, reads.parse_query(body))),
        "Scan": lambda body: Read(partial(_query, reads.parse_scan(body))),
        "SearchVectors": lambda body: Read(
            partial(_search_vectors, vector_search.parse_search_vectors(body)), is_long=True
        ),
        "BatchGetItem": lambda body: Read(partial(_batch_get, batches.parse_batch_get_item(body))),
        "BatchWriteItem": batch_write,
        "TransactGetItems": lambda body: Read(partial(transact_get, batches.parse_transact_get_items(body))),
        "TransactWriteItems": lambda body: Write(partial(transact_write, batches.parse_transact_write_items(body))),
    }


def _item_write(write: ItemWrite) -> Write:
    return Write(partial(_apply, write))


def _apply(write: ItemWrite, transaction: WriteTransaction) -> Mapping[str, Any]:
    table, old, new = items.write(transaction, write)
    answer = write.answer(old, new)
    reporting = write.reporting
    if reporting.silent:
        return answer
    schemas = [index.schema for index in table.indexes]
    if reporting.capacity != "NONE":
        capacity = Capacity(table.name)
        capacity.add_write(table.schema, schemas, old, new, vector_indexes=table.vector_indexes)
        answer["ConsumedCapacity"] = capacity.to_wire(reporting.capacity)
    if reporting.collections:
        metrics = collection_metrics(table.schema, schemas, write.key(table.schema))
        if metrics is not None:
            answer["ItemCollectionMetrics"] = metrics
    return answer


def batch_write(body: Body) -> Write:
    """BatchWriteItem. Raises ServiceError."""
    plan = batches.parse_batch_write_item(body)

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        plan.check_distinct(_batch_places(tables.catalog(transaction), plan))
        written = [items.write(transaction, write) for write in plan.writes]
        return {"UnprocessedItems": {}, **_report(plan.reporting, plan.writes, written)}

    return Write(run)


def transact_write(plan: TransactWritePlan, transaction: WriteTransaction) -> Mapping[str, Any]:
    """Carry out all writes of a plan or none, and answer as TransactWriteItems does. Raises ServiceError."""
    if plan.token is not None:
        known = ledger.note(transaction, _note(plan.token))
        if known == plan.fingerprint.hex():
            return _repeated(plan, transaction)
        if known is not None:
            raise ServiceError(
                "IdempotentParameterMismatchException",
                "The request uses the same client token as a previous, but non-identical request.",
            )
    catalog = tables.catalog(transaction)
    keys = _transaction_keys(catalog, plan.writes)
    places = _transaction_places(catalog, plan.writes, keys)
    plan.check_distinct(places)
    written = items.transact(transaction, plan.writes, keys, [encoded_key for _, encoded_key in places])
    if plan.token is not None:
        keep_token(transaction, plan.token, plan.fingerprint)
    return _report(plan.reporting, plan.writes, written, transactional=True)


def is_known(transaction: WriteTransaction, token: str) -> bool:
    """Whether a transaction with this token was carried out before."""
    return ledger.note(transaction, _note(token)) is not None


def keep_token(transaction: WriteTransaction, token: str, fingerprint: bytes) -> None:
    """Know the token of a transaction that was carried out, for as long as it may be sent again."""
    until_ms = transaction.now_ms + _TOKEN_KEPT_MS
    ledger.keep_note(transaction, _note(token), fingerprint.hex(), until_ms=until_ms)


def _note(token: str) -> str:
    return f"token/{token}"


def _repeated(plan: TransactWritePlan, transaction: WriteTransaction) -> Mapping[str, Any]:
    """The answer to a request that has been carried out before: it costs what reading its items costs."""
    detail = plan.reporting.capacity
    if detail == "NONE":
        return {}
    capacities: dict[str, Capacity] = {}
    for write in plan.writes:
        table = table_named(tables.catalog(transaction), write.table_name)
        text = items.get(transaction, table, write.key(table.schema))
        item = {} if text is None else orjson.loads(text)
        capacity = capacities.setdefault(table.name, Capacity(table.name, kind="Read"))
        capacity.add(read_units(item_size(item), transactional=True))
    return {"ConsumedCapacity": [capacity.to_wire(detail) for capacity in capacities.values()]}


def _report(
    reporting: Reporting, requests: Sequence[ItemWrite], written: Sequence[_Written], *, transactional: bool = False
) -> dict[str, Any]:
    if reporting.silent:
        return {}
    capacities: dict[str, Capacity] = {}
    collections: dict[str, list[dict[str, Any]]] = {}
    for write, (table, old, new) in zip(requests, written, strict=True):
        schemas = [index.schema for index in table.indexes]
        kind = "Write" if transactional else None
        capacity = capacities.setdefault(table.name, Capacity(table.name, kind=kind))
        capacity.add_write(
            table.schema, schemas, old, new, vector_indexes=table.vector_indexes, transactional=transactional
        )
        metrics = collection_metrics(table.schema, schemas, write.key(table.schema))
        if metrics is not None and metrics not in collections.setdefault(table.name, []):
            collections[table.name].append(metrics)
    report: dict[str, Any] = {}
    if reporting.capacity != "NONE":
        report["ConsumedCapacity"] = [capacity.to_wire(reporting.capacity) for capacity in capacities.values()]
    if reporting.collections and collections:
        report["ItemCollectionMetrics"] = collections
    return report


def _places(catalog: Catalog, requests: Iterable[ItemWrite | GetPlan]) -> Iterator[tuple[str, bytes]]:
    for request in requests:
        schema = table_named(catalog, request.table_name).schema
        yield request.table_name, encode_key(schema, request.key(schema))


def _batch_places(catalog: Catalog, plan: BatchWritePlan) -> Iterator[tuple[str, bytes]]:
    for write in plan.writes:
        schema = table_named(catalog, write.table_name).schema
        yield write.table_name, encode_key(schema, plan.key(write, schema))


def _transaction_keys(catalog: Catalog, requests: Sequence[ItemWrite | GetPlan]) -> list[Item]:
    """The keys of the requests' items; the first that does not fit its table cancels the transaction."""
    keys: list[Item] = []
    for number, request in enumerate(requests):
        try:
            keys.append(request.key(table_named(catalog, request.table_name).schema))
        except ServiceError as error:
            if error.code != "ValidationException" or isinstance(error, EmptyKey):
                raise
            reasons = [batches.cancellation_reason(None)] * len(requests)
            reasons[number] = batches.cancellation_reason(error)
            raise TransactionCanceled(reasons) from None
    return keys


def _transaction_places(
    catalog: Catalog, requests: Sequence[ItemWrite | GetPlan], keys: Sequence[Item]
) -> list[tuple[str, bytes]]:
    return [
        (request.table_name, encode_key(catalog[request.table_name].schema, key))
        for request, key in zip(requests, keys, strict=True)
    ]


def _check_paths(table: Table, plan: GetPlan | QueryPlan) -> None:
    nested = plan.nested
    if nested:
        check_scalar_keys(table.schema, [index.schema for index in table.indexes], nested)


def _get_item(plan: GetPlan, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    table = table_named(catalog, plan.table_name)
    text = items.get(transaction, table, plan.key(table.schema))
    if plan.projection is None and plan.capacity_detail == "NONE":
        return b"{}" if text is None else b'{"Item":' + text + b"}"
    _check_paths(table, plan)
    return orjson.dumps(plan.answer(None if text is None else orjson.loads(text)))


def _query(plan: QueryPlan, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    table = table_named(catalog, plan.table_name)
    if plan.index_name is None:
        keys = plan.range(table.schema)
        _check_paths(table, plan)
        page = QueryPage(plan, table.schema)
        found = items.scan(transaction, table, keys.low, keys.high, reverse=not plan.forward)
    else:
        index = table.index_named(plan.index_name)
        if index is None:
            raise _unreadable_index(plan, table, plan.index_name)
        if index.filled_to is not None:
            raise wording.invalid(f"Cannot read from backfilling global secondary index: {plan.index_name}")
        keys = plan.range(table.schema, index.schema)
        _check_paths(table, plan)
        page = QueryPage(plan, table.schema, index.schema)
        found = items.scan_index(transaction, index, keys.low, keys.high, reverse=not plan.forward)
    for size, text in found:
        if not page.add(text, size):
            break
    return page.answer()


def _unreadable_index(plan: QueryPlan, table: Table, name: str) -> ServiceError:
    if table.vector_index_named(name) is None:
        return wording.invalid(f"The table does not have the specified index: {name}")
    if plan.key_condition is None:
        return wording.invalid(wording.SCAN_OF_VECTORS)
    if plan.consistent:
        return wording.invalid("Consistent reads are not supported on global secondary indexes")
    return wording.invalid("Query operation not supported on this index type.")


def _search_vectors(plan: SearchPlan, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    table = table_named(catalog, plan.table_name)
    index = table.vector_index_named(plan.index_name)
    if index is None:
        raise wording.invalid(f"The table does not have the specified index: {plan.index_name}")
    texts = (text for _, text in items.scan(transaction, table))
    return plan.answer(table.schema, index, texts)


def _batch_get(plan: BatchGetPlan, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    try:
        plan.check_distinct(_places(catalog, plan.gets))
    except ServiceError:
        # Keys that are the same whatever the table is like come before what is wrong with the table, or with them.
        plan.check_distinct_attributes()
        raise
    responses: dict[str, list[Any]] = {get.table_name: [] for get in plan.gets}
    capacities = {name: Capacity(name) for name in responses}
    read_bytes = 0
    left: list[GetPlan] = []
    for number, get in enumerate(plan.gets):
        table = catalog[get.table_name]
        _check_paths(table, get)
        text = items.get(transaction, table, get.key(table.schema))
        item = None if text is None else orjson.loads(text)
        size = 0 if item is None else item_size(item)
        if number and read_bytes + size > batches.BATCH_GET_BYTES_MAX:
            left = list(plan.gets[number:])
            break
        read_bytes += size
        capacities[get.table_name].add(read_units(size, consistent=get.consistent))
        if item is not None:
            responses[get.table_name].append(item if get.projection is None else get.projection.of(item))
    answer: dict[str, Any] = {
        "Responses": {plan.given_names[name]: items for name, items in responses.items()},
        "UnprocessedKeys": plan.unprocessed(left),
    }
    if plan.capacity_detail != "NONE":
        answer["ConsumedCapacity"] = [capacity.to_wire(plan.capacity_detail) for capacity in capacities.values()]
    return orjson.dumps(answer)


def transact_get(plan: TransactGetPlan, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    """The answer of TransactGetItems, as JSON text. Raises ServiceError."""
    plan.check_distinct(_transaction_places(catalog, plan.gets, _transaction_keys(catalog, plan.gets)))
    responses: list[dict[str, Any]] = []
    capacities: dict[str, Capacity] = {}
    read_bytes = 0
    for get in plan.gets:
        table = catalog[get.table_name]
        _check_paths(table, get)
        text = items.get(transaction, table, get.key(table.schema))
        item = None if text is None else orjson.loads(text)
        size = 0 if item is None else item_size(item)
        read_bytes += size
        capacity = capacities.setdefault(table.name, Capacity(table.name, kind="Read"))
        capacity.add(read_units(size, transactional=True))
        shown = item if item is None or get.projection is None else get.projection.of(item)
        responses.append({"Item": shown} if shown else {})  # unlike GetItem, no Item where the projection finds nothing
    plan.check_size(read_bytes)
    answer: dict[str, Any] = {"Responses": responses}
    if plan.capacity_detail != "NONE":
        answer["ConsumedCapacity"] = [capacity.to_wire(plan.capacity_detail) for capacity in capacities.values()]
    return orjson.dumps(answer)
