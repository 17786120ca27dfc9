"""Tables: the catalog, and items written together with their change records.

An item's value is its size, the second at which it expires (0: never), and its JSON text in the wire form.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

import orjson

from afterwrite.core.changes import INSERT, MODIFY, REMOVE
from afterwrite.core.values import Item
from afterwrite.errors import EmptyKey, ServiceError, TransactionCanceled
from afterwrite.store import change_capture, expirations, indexes, kinesis_destinations, long_keys, streams
from afterwrite.store.change_capture import KeyText
from afterwrite.store.change_log import Stream
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.indexes import Index
from afterwrite.store.names import U32, span
from afterwrite.table.batches import cancellation_reason
from afterwrite.table.index_keys import check_index_keys, check_scalar_keys
from afterwrite.table.keys import encode_key
from afterwrite.table.schema import IndexSchema, KeySchema
from afterwrite.table.table_options import TableOptions
from afterwrite.table.vector_indexes import VectorIndex, check_vectors
from afterwrite.table.writes import ItemWrite, Put, Update

_ITEM: Final = struct.Struct(">IQ")
# What of one member cancels its transaction; anything else refuses it.
_CANCELLING: Final = ("ConditionalCheckFailedException", "ValidationException")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the catalog.

    `stream_label` is that of its latest stream, which stays known after the stream was disabled; `tags` are its own.
    """

    name: str
    number: int
    schema: KeySchema
    created_at_ms: int
    stream: Stream | None = None
    stream_label: str | None = None
    ttl_attribute: str | None = None
    retention_s: int = 86_400
    indexes: tuple[Index, ...] = ()
    options: TableOptions = field(default_factory=TableOptions)
    tags: Mapping[str, str] = field(default_factory=dict)
    on_demand_since_ms: int | None = None
    class_changed_at_ms: int | None = None
    vector_indexes: tuple[VectorIndex, ...] = ()

    def index_named(self, name: str) -> Index | None:
        """The table's index `name`, None where there is none."""
        return next((index for index in self.indexes if index.schema.name == name), None)

    def vector_index_named(self, name: str) -> VectorIndex | None:
        """The table's vector index `name`, None where there is none."""
        return next((index for index in self.vector_indexes if index.name == name), None)

    @property
    def filling(self) -> Index | None:
        """The index that is being filled, of which there is one at a time."""
        return next((index for index in self.indexes if index.filled_to is not None), None)

    def to_json(self) -> bytes:
        """The table as the catalog keeps it."""
        stream = self.stream and {
            name: getattr(self.stream, name) for name in ("number", "label", "view_type", "fed_by")
        }
        return orjson.dumps(
            {
                "number": self.number,
                "schema": [getattr(self.schema, name) for name in KeySchema.__slots__],
                "created_at_ms": self.created_at_ms,
                "stream": stream,
                "stream_label": self.stream_label,
                "ttl_attribute": self.ttl_attribute,
                "retention_s": self.retention_s,
                "indexes": [index.to_json() for index in self.indexes],
                "options": asdict(self.options),
                "tags": self.tags,
                "on_demand_since_ms": self.on_demand_since_ms,
                "class_changed_at_ms": self.class_changed_at_ms,
                "vector_indexes": [index.to_json() for index in self.vector_indexes],
            }
        )

    @classmethod
    def from_json(cls, name: str, text: bytes) -> Table:
        """Read a table of the catalog."""
        fields = orjson.loads(text)
        stream = fields.pop("stream")
        # Some catalogs keep a declaration, which nothing reads.
        fields.pop("declaration", None)
        return cls(
            name=name,
            schema=KeySchema(*fields.pop("schema")),
            stream=stream and Stream(table=name, **stream),
            indexes=tuple(Index.from_json(each) for each in fields.pop("indexes")),
            options=TableOptions.from_json(fields.pop("options")),
            # A catalog that is older than vector indexes has none.
            vector_indexes=tuple(VectorIndex.from_json(each) for each in fields.pop("vector_indexes", ())),
            **fields,
        )


Catalog: TypeAlias = Mapping[str, Table]


def load_catalog(transaction: ReadTransaction) -> Catalog:
    """Every table, read from the file."""
    return {key.decode(): Table.from_json(key.decode(), value) for key, value in transaction.scan("catalog", b"", None)}


def catalog(transaction: WriteTransaction) -> Catalog:
    """Every table as this transaction sees them."""
    tables: Catalog = transaction.state["catalog"]
    return tables


def table_named(tables: Catalog, name: str) -> Table:
    """The table `name`. Raises ResourceNotFoundException."""
    table = tables.get(name)
    if table is None:
        raise ServiceError("ResourceNotFoundException", "Requested resource not found")
    return table


def described_table(tables: Catalog, name: str) -> Table:
    """The table `name`, for operations on tables themselves, whose ResourceNotFoundException names it."""
    table = tables.get(name)
    if table is None:
        raise ServiceError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
    return table


def create_table(
    transaction: WriteTransaction,
    name: str,
    schema: KeySchema,
    *,
    view_type: str | None,
    retention_s: int = 86_400,
    index_schemas: Sequence[IndexSchema] = (),
    vector_indexes: Sequence[VectorIndex] = (),
    options: TableOptions | None = None,
    tags: Mapping[str, str] | None = None,
) -> Table:
    """Create a table, with a stream where `view_type` is given. Raises ResourceInUseException."""
    if name in catalog(transaction):
        raise ServiceError("ResourceInUseException", f"Table already exists: {name}")
    number = transaction.advance("names")
    stream = _new_stream(transaction, name, schema, view_type, retention_s) if view_type else None
    table = Table(
        name=name,
        number=number,
        schema=schema,
        created_at_ms=transaction.now_ms,
        stream=stream,
        stream_label=None if stream is None else stream.label,
        retention_s=retention_s,
        indexes=tuple(Index(transaction.advance("names"), each) for each in index_schemas),
        options=options or TableOptions(),
        tags=tags or {},
        vector_indexes=tuple(vector_indexes),
    )
    return save(transaction, table)


def _new_stream(
    transaction: WriteTransaction, table: str, schema: KeySchema, view_type: str, retention_s: int
) -> Stream:
    return streams.enable(transaction, table, schema.to_wire(), view_type, retention_s)


def enable_stream(transaction: WriteTransaction, table: Table, view_type: str) -> Table:
    """Give a table without a stream a new one, with a label of its own (S18)."""
    stream = _new_stream(transaction, table.name, table.schema, view_type, table.retention_s)
    return save(transaction, replace(table, stream=stream, stream_label=stream.label))


def disable_stream(transaction: WriteTransaction, table: Table) -> Table:
    """Add no more changes to the table's stream, which stays readable until it is trimmed (S18)."""
    if table.stream is not None:
        streams.disable(transaction, table.stream, table.retention_s)
    return save(transaction, replace(table, stream=None))


def save(transaction: WriteTransaction, table: Table) -> Table:
    """Put a table into the catalog in place of what it was."""
    transaction.put("catalog", table.name.encode(), table.to_json())
    transaction.remember("catalog", {**catalog(transaction), table.name: table})
    return table


def delete_table(transaction: WriteTransaction, name: str) -> None:
    """Delete a table with its items; its stream stays readable until it is trimmed (S18)."""
    table = table_named(catalog(transaction), name)
    for database in ("items", "expirations"):
        long_keys.delete_range(transaction, database, *span(table.number))
    for index in table.indexes:
        indexes.drop(transaction, index)
    transaction.delete("catalog", name.encode())
    if table.stream is not None:
        streams.disable(transaction, table.stream, table.retention_s)
    kinesis_destinations.forget(transaction, name)
    transaction.remember("catalog", {key: each for key, each in catalog(transaction).items() if key != name})


def set_retention(transaction: WriteTransaction, name: str, retention_s: int) -> None:
    """How long the table's changes are kept."""
    table = table_named(catalog(transaction), name)
    if table.stream is not None:
        streams.keep_for(transaction, table.stream, retention_s)
    save(transaction, replace(table, retention_s=retention_s))


def set_ttl(transaction: WriteTransaction, name: str, attribute: str | None) -> None:
    """Expire items by the epoch seconds in `attribute`, or no longer; existing items are taken in."""
    table = replace(table_named(catalog(transaction), name), ttl_attribute=attribute)
    long_keys.delete_range(transaction, "expirations", *span(table.number))
    for key in [key for key, _ in long_keys.scan(transaction, "items", *span(table.number))]:
        value = long_keys.get(transaction, "items", key)
        if value is None:
            continue
        size, _ = _ITEM.unpack_from(value)
        text = value[_ITEM.size :]
        expires_at = expirations.expiry(attribute, orjson.loads(text))
        long_keys.put(transaction, "items", key, _ITEM.pack(size, expires_at) + text)
        expirations.move(transaction, table.number, key, 0, expires_at)
    save(transaction, table)


def item_key(table: Table, key: Item) -> bytes:
    """Where the item with the key attributes `key` is stored."""
    return U32.pack(table.number) + encode_key(table.schema, key)


def get_item(transaction: ReadTransaction, table: Table, key: Item) -> bytes | None:
    """The JSON text of the item with the key attributes `key`."""
    return item_at(transaction, item_key(table, key))


def item_at(transaction: ReadTransaction, stored_at: bytes) -> bytes | None:
    """The JSON text of the item that is stored there."""
    value = long_keys.get(transaction, "items", stored_at)
    return None if value is None else value[_ITEM.size :]


def number_at(stored_at: bytes) -> int:
    """The number of the table whose item is stored there."""
    number: int = U32.unpack_from(stored_at)[0]
    return number


def item_text(value: bytes) -> bytes:
    """The JSON text of the item that is stored as `value`."""
    return value[_ITEM.size :]


def scan_items(
    transaction: ReadTransaction,
    table: Table,
    low: bytes = b"",
    high: bytes | None = None,
    *,
    reverse: bool = False,
) -> Iterator[tuple[int, bytes]]:
    """The items whose encoded keys are in [low, high), in the keys' order: size in bytes, and JSON text."""
    prefix = U32.pack(table.number)
    end = prefix + high if high is not None else U32.pack(table.number + 1)
    for _, value in long_keys.scan(transaction, "items", prefix + low, end, reverse=reverse):
        yield _ITEM.unpack_from(value)[0], value[_ITEM.size :]


def stored_items(
    transaction: ReadTransaction, table: Table, *, after: bytes | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """Where the table's items are stored, and their JSON texts, in that order; only those behind `after`, if given."""
    low, high = span(table.number)
    for stored_at, value in long_keys.scan(transaction, "items", after + b"\0" if after else low, high):
        yield stored_at, value[_ITEM.size :]


def item_sizes(transaction: ReadTransaction, table: Table) -> Iterator[int]:
    """The size in bytes of each item of the table, in the keys' order."""
    for _, value in long_keys.scan(transaction, "items", *span(table.number)):
        yield _ITEM.unpack_from(value)[0]


def statistics(transaction: ReadTransaction, table: Table) -> tuple[int, int]:
    """How many items the table has, and their size in bytes."""
    return indexes.statistics(transaction, table.number)


def scan_index(
    transaction: ReadTransaction, index: Index, low: bytes, high: bytes, *, reverse: bool = False
) -> Iterator[tuple[int, bytes]]:
    """As `scan_items`, of the whole items whose entries in the index are in [low, high), in the entries' order."""
    for stored_at in indexes.scan(transaction, index, low, high, reverse=reverse):
        value = long_keys.get(transaction, "items", stored_at)
        if value is not None:
            yield _ITEM.unpack_from(value)[0], value[_ITEM.size :]


class _Planned(NamedTuple):
    table: Table
    key: Item
    stored_at: bytes
    stored: bytes | None
    old: Item | None
    new: Item | None
    new_bytes: int


def _plan(transaction: WriteTransaction, table: Table, write: ItemWrite, key: Item, encoded_key: bytes) -> _Planned:
    nested = write.nested
    if nested:
        check_scalar_keys(table.schema, [index.schema for index in table.indexes], nested)
    stored_at = U32.pack(table.number) + encoded_key
    stored = long_keys.get(transaction, "items", stored_at)
    old = None
    if stored is not None and (table.indexes or write.needs_old):
        old = orjson.loads(stored[_ITEM.size :])
    if isinstance(write, Put):
        _check_indexed(table, write.item)
    new = write.apply(table.schema, old)
    if new is not None and isinstance(write, Update):
        _check_indexed(table, new, old or {})
    new_bytes = 0 if new is None or new is old else write.size(new)
    return _Planned(table, key, stored_at, stored, old, new, new_bytes)


def _check_indexed(table: Table, item: Item, old: Item | None = None) -> None:
    """Refuse an item that an index cannot take; `old` is what an update starts from."""
    if table.indexes:
        check_index_keys([index.schema for index in table.indexes], item, old)
    if table.vector_indexes:
        check_vectors(table.vector_indexes, item, old)


def write_item(transaction: WriteTransaction, write: ItemWrite) -> tuple[Table, Item | None, Item | None]:
    """Apply a write to its item, with its change record; the table, and the item before and after."""
    table = table_named(catalog(transaction), write.table_name)
    key = write.key(table.schema)
    planned = _plan(transaction, table, write, key, encode_key(table.schema, key))
    _store(transaction, planned)
    return planned.table, planned.old, planned.new


def transact(
    transaction: WriteTransaction, writes: Sequence[ItemWrite], keys: Sequence[Item], encoded_keys: Sequence[bytes]
) -> list[tuple[Table, Item | None, Item | None]]:
    """Apply all of the writes, each with its item's key, and that as `encode_key` has it, or none.

    Raises TransactionCanceled with one reason a write.
    """
    planned: list[_Planned] = []
    failures: list[ServiceError | None] = []
    tables = catalog(transaction)
    for write, key, encoded_key in zip(writes, keys, encoded_keys, strict=True):
        failure: ServiceError | None = None
        try:
            planned.append(_plan(transaction, table_named(tables, write.table_name), write, key, encoded_key))
        except ServiceError as error:
            if isinstance(error, EmptyKey) or error.code not in _CANCELLING:
                raise
            failure = error
        failures.append(failure)
    if any(failures):
        raise TransactionCanceled([cancellation_reason(failure) for failure in failures])
    for each in planned:
        _store(transaction, each)
    return [(each.table, each.old, each.new) for each in planned]


def _store(transaction: WriteTransaction, planned: _Planned) -> None:
    """Write the new item and its change; a write that changes nothing leaves no trace (S18)."""
    table, stored, new = planned.table, planned.stored, planned.new
    if new is None:
        if stored is not None:
            _remove(transaction, table, planned.key, planned.stored_at, stored, planned.old)
        return
    if new is planned.old or new == planned.old:
        return
    value = _ITEM.pack(planned.new_bytes, expirations.expiry(table.ttl_attribute, new)) + orjson.dumps(new)
    key, differs = KeyText.of(planned.key), planned.old is not None
    if replace_value(transaction, table, planned.stored_at, stored, value, key, differs=differs):
        for index in table.indexes:
            indexes.move(transaction, table.schema, index, planned.stored_at, planned.old, new)


def replace_value(
    transaction: WriteTransaction,
    table: Table,
    stored_at: bytes,
    stored: bytes | None,
    value: bytes,
    key: KeyText,
    *,
    differs: bool = False,
) -> bool:
    """Store an item's value in place of what is stored there, if anything, with its change record.

    Its entries in indexes are not moved. False where the item stays as it is, which leaves no trace (S18); that need
    not be found out where the caller knows that it `differs`.
    """
    size, expires_at = _ITEM.unpack_from(value)
    text = value[_ITEM.size :]
    old_text: bytes | None = None
    old_size = old_expires_at = 0
    if stored is not None:
        old_size, old_expires_at = _ITEM.unpack_from(stored)
        old_text = stored[_ITEM.size :]
        if not differs and size == old_size and (text == old_text or orjson.loads(text) == orjson.loads(old_text)):
            return False
    long_keys.put(transaction, "items", stored_at, value)
    indexes.count(transaction, table.number, 0 if stored is not None else 1, size - old_size)
    if expires_at != old_expires_at:
        expirations.move(transaction, table.number, stored_at, old_expires_at, expires_at)
    change_capture.capture(
        transaction,
        table.name,
        table.stream,
        event_name=MODIFY if stored is not None else INSERT,
        stored_at=stored_at,
        key=key,
        new=text,
        old=old_text,
        new_bytes=size,
        old_bytes=old_size,
    )
    return True


def _remove(
    transaction: WriteTransaction,
    table: Table,
    key: Item,
    stored_at: bytes,
    stored: bytes,
    old: Item | None,
    *,
    by_ttl: bool = False,
) -> None:
    size, expires_at = _ITEM.unpack_from(stored)
    long_keys.delete(transaction, "items", stored_at)
    indexes.count(transaction, table.number, -1, -size)
    for index in table.indexes:
        indexes.move(transaction, table.schema, index, stored_at, old, None)
    expirations.move(transaction, table.number, stored_at, expires_at, 0)
    change_capture.capture(
        transaction,
        table.name,
        table.stream,
        event_name=REMOVE,
        stored_at=stored_at,
        key=KeyText.of(key),
        new=None,
        old=stored[_ITEM.size :],
        old_bytes=size,
        by_ttl=by_ttl,
    )


def expire_items(transaction: WriteTransaction, table: Table, limit: int) -> int:
    """Delete at most `limit` items whose time to live has ended, as the service (S25); how many there were."""
    due = list(islice(expirations.due(transaction, table.number, transaction.now_us // 1_000_000), limit))
    for stored_at in due:
        stored = long_keys.get(transaction, "items", stored_at)
        if stored is not None:
            item: Item = orjson.loads(stored[_ITEM.size :])
            key = {name: item[name] for name in table.schema.names}
            _remove(transaction, table, key, stored_at, stored, item, by_ttl=True)
    return len(due)
