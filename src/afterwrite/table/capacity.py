"""Consumed capacity: what a request's reads and writes cost its table and the table's indexes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterwrite.core.values import Item
from afterwrite.table.index_keys import entry_key
from afterwrite.table.schema import GLOBAL, IndexSchema, KeySchema
from afterwrite.table.sizes import item_size, value_size, write_units
from afterwrite.table.vector_indexes import VectorIndex

_NONE = "NONE"

VECTOR_BYTES_MIN = 1024
"""The least that a vector search or write is reported to have cost."""

VECTOR_ELEMENT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Reporting:
    """What a write's answer reports besides its result: `ReturnConsumedCapacity`, `ReturnItemCollectionMetrics`."""

    capacity: str = _NONE
    collections: bool = False

    @property
    def silent(self) -> bool:
        """Whether there is nothing to report."""
        return self.capacity == _NONE and not self.collections


SILENT = Reporting()


class Capacity:
    """Units of one table, added up over a request."""

    def __init__(self, table_name: str, *, kind: str | None = None) -> None:
        """`kind` is `Read` or `Write` where the answer tells them apart, as a transaction's does."""
        self._table_name = table_name
        self._kind = kind
        self._table = 0.0
        self._indexes: dict[IndexSchema, float] = {}
        self._vector_bytes: dict[str, int] = {}

    def add(self, units: float, index: IndexSchema | None = None) -> None:
        """Add units of the table, or of one of its indexes."""
        if index is None:
            self._table += units
        else:
            self._indexes[index] = self._indexes.get(index, 0.0) + units

    def add_write(
        self,
        schema: KeySchema,
        indexes: Iterable[IndexSchema],
        old: Item | None,
        new: Item | None,
        *,
        vector_indexes: Sequence[VectorIndex] = (),
        transactional: bool = False,
    ) -> None:
        """Add the write of an item: the larger of its two images, and what follows in the indexes.

        A vector that an index takes costs as many bytes to write as it has there, whatever its numbers are.
        """
        size = max(_written_size(image or {}, vector_indexes) for image in (old, new))
        self.add(write_units(size, transactional=transactional))
        for index in indexes:
            units = _index_units(schema, index, old, new)
            if units:
                self.add(units, index)
        self._add_vector_writes(schema, vector_indexes, old, new)

    def _add_vector_writes(
        self, schema: KeySchema, indexes: Iterable[VectorIndex], old: Item | None, new: Item | None
    ) -> None:
        """Add what the write of an item moves in vector indexes, which is counted in bytes, and in no units.

        What an index does not show of an item changes at no cost; each dimension of a vector counts as four bytes. An
        item that changes its partition is deleted and written.
        """
        for index in indexes:
            before, after = (index.entry_of(schema, image) for image in (old, new))
            if before != after:
                moved = [each for each in (before, after) if each is not None]
                sizes = [max(VECTOR_BYTES_MIN, _entry_size(index, each)) for each in moved]
                size = sum(sizes) if _changes_partition(index, before, after) else max(sizes)
                self._vector_bytes[index.name] = self._vector_bytes.get(index.name, 0) + size

    def to_wire(self, detail: str) -> dict[str, Any]:
        """The answer's `ConsumedCapacity` for a `ReturnConsumedCapacity` of TOTAL or INDEXES."""
        answer: dict[str, Any] = {
            "TableName": self._table_name,
            **self._units(self._table + sum(self._indexes.values())),
        }
        if detail == "INDEXES":
            answer["Table"] = self._units(self._table)
            for index, units in self._indexes.items():
                field = "GlobalSecondaryIndexes" if index.scope == GLOBAL else "LocalSecondaryIndexes"
                answer.setdefault(field, {})[index.name] = self._units(units)
            if self._vector_bytes:
                written = {name: {"VectorWriteRequestBytes": size} for name, size in self._vector_bytes.items()}
                answer["VectorIndexes"] = written
        return answer

    def _units(self, units: float) -> dict[str, float]:
        if self._kind is None:
            return {"CapacityUnits": units}
        return {"CapacityUnits": units, f"{self._kind}CapacityUnits": units}


def _written_size(image: Item, vector_indexes: Sequence[VectorIndex]) -> int:
    size = item_size(image)
    for attribute, dimensions in {index.attribute: index.dimensions for index in vector_indexes}.items():
        value = image.get(attribute)
        if value is not None and len(value.get("L", ())) == dimensions:
            size += VECTOR_ELEMENT_BYTES * dimensions - value_size(value)
    return size


def _changes_partition(index: VectorIndex, before: Item | None, after: Item | None) -> bool:
    if index.partition is None or before is None or after is None:
        return False
    return before.get(index.partition.name) != after.get(index.partition.name)


def _entry_size(index: VectorIndex, entry: Item) -> int:
    scalars = {name: value for name, value in entry.items() if name != index.attribute}
    return item_size(scalars) + len(index.attribute.encode()) + VECTOR_ELEMENT_BYTES * index.dimensions


def _index_units(schema: KeySchema, index: IndexSchema, old: Item | None, new: Item | None) -> float:
    """A changed index key costs a delete and a put; what the index does not show changes at no cost."""
    was = None if old is None else entry_key(schema, index, old)
    becomes = None if new is None else entry_key(schema, index, new)
    before = index.project(schema, old) if was is not None and old is not None else None
    after = index.project(schema, new) if becomes is not None and new is not None else None
    if before == after:
        return 0.0
    sizes = [item_size(image) for image in (before, after) if image is not None]
    if was == becomes:
        return write_units(max(sizes))
    return sum(write_units(size) for size in sizes)


def collection_metrics(
    schema: KeySchema, indexes: Sequence[IndexSchema], key: Mapping[str, Any]
) -> dict[str, Any] | None:
    """An answer's `ItemCollectionMetrics`: only tables with local indexes have item collections of limited size."""
    if all(index.scope == GLOBAL for index in indexes):
        return None
    partition = {schema.partition_key: key[schema.partition_key]}
    # The estimate is a range of one gigabyte; every collection of this store is in the first that has its size.
    return {"ItemCollectionKey": partition, "SizeEstimateRangeGB": [0.0, 1.0]}
