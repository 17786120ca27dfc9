"""Tables: the catalog, and what becomes of a table as such. What is in them is in `items`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import orjson

from afterwrite.errors import ServiceError
from afterwrite.store import indexes, kinesis_destinations, long_keys, streams
from afterwrite.store.change_log import Stream
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.indexes import Index
from afterwrite.store.names import span
from afterwrite.table.schema import IndexSchema, KeySchema
from afterwrite.table.table_options import TableOptions
from afterwrite.table.vector_indexes import VectorIndex


@dataclass(frozen=True, slots=True)
class Restoration:
    """What a table was restored from: a backup, or another table at a time; or nothing, where it was imported.

    `offset` says where the next of its items are in their `copy`, None for no more.
    """

    source_arn: str | None
    backup_arn: str | None
    at_ms: int
    copy: str
    offset: int | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the catalog.

    `stream_label` is that of its latest stream, which stays known after the stream was disabled; `tags` are its own;
    `policies` are those of itself ("") and of its stream, `insights` the settings of itself ("") and of indexes.
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
    policies: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    insights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    restoration: Restoration | None = None

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
                "policies": self.policies,
                "insights": self.insights,
                "restoration": self.restoration and asdict(self.restoration),
            }
        )

    @classmethod
    def from_json(cls, name: str, text: bytes) -> Table:
        """Read a table of the catalog."""
        fields = orjson.loads(text)
        stream = fields.pop("stream")
        # Some catalogs keep a declaration, which nothing reads.
        fields.pop("declaration", None)
        restoration = fields.pop("restoration", None)
        return cls(
            name=name,
            schema=KeySchema(*fields.pop("schema")),
            stream=stream and Stream(table=name, **stream),
            indexes=tuple(Index.from_json(each) for each in fields.pop("indexes")),
            options=TableOptions.from_json(fields.pop("options")),
            # A catalog that is older than vector indexes has none.
            vector_indexes=tuple(VectorIndex.from_json(each) for each in fields.pop("vector_indexes", ())),
            restoration=restoration and Restoration(**restoration),
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


def rename(transaction: WriteTransaction, table: Table, name: str) -> Table:
    """Put a table into the catalog under another name."""
    transaction.delete("catalog", table.name.encode())
    transaction.remember("catalog", {key: each for key, each in catalog(transaction).items() if key != table.name})
    return save(transaction, replace(table, name=name))


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
