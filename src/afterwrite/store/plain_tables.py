"""The tables that the library in C reads writes into, and what it has to know of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from afterwrite.core.changes import NEW_AND_OLD_IMAGES, NEW_IMAGE, OLD_IMAGE
from afterwrite.store import kinesis_destinations
from afterwrite.store.environment import Environment
from afterwrite.store.kinesis_destinations import Destination
from afterwrite.store.tables import Catalog, Table

# `struct plain_table` of plain_put.h, `struct batch_table` of plain_batch.h.
_NAMES: Final = struct.Struct("@HHHHI")
_STREAM: Final = struct.Struct("@IIII")


class PlainTables(NamedTuple):
    """Tables; their names and those of their attributes, and where their changes go, as the library reads it."""

    tables: Sequence[Table] = ()
    names: bytes = b""
    streams: bytes = b""

    @classmethod
    def of(cls, tables: Iterable[Table]) -> PlainTables:
        """What the library has to know of `tables`."""
        known = list(tables)
        return cls(known, b"".join(map(_names, known)), b"".join(map(_stream, known)))


class KnownTables:
    """The tables of an environment whose keys are texts, and that have no indexes. For one thread at a time."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._catalog: Catalog = {}
        self._destinations: Mapping[str, Destination] = {}
        self._all = self._batched = PlainTables()

    @property
    def all(self) -> PlainTables:
        """All of them."""
        self._follow()
        return self._all

    @property
    def batched(self) -> PlainTables:
        """Those without a Kinesis destination: their changes are written by the library, too."""
        self._follow()
        return self._batched

    def _follow(self) -> None:
        state = self._environment.state
        catalog = state.get("catalog", self._catalog)
        destinations = kinesis_destinations.known_destinations(state)
        if catalog is self._catalog and destinations is self._destinations:
            return
        self._all = PlainTables.of(filter(_is_plain, catalog.values()))
        self._batched = PlainTables.of(table for table in self._all.tables if table.name not in destinations)
        self._catalog, self._destinations = catalog, destinations


def _is_plain(table: Table) -> bool:
    return (
        not table.indexes
        and not table.vector_indexes
        and table.schema.partition_type == "S"
        and table.schema.sort_type in ("S", None)
    )


def _names(table: Table) -> bytes:
    names = [table.name, table.schema.partition_key, table.schema.sort_key, table.ttl_attribute]
    written = [orjson.dumps(name or "")[1:-1] for name in names]
    return _NAMES.pack(*map(len, written), table.number) + b"".join(written)


def _stream(table: Table) -> bytes:
    stream = table.stream
    if stream is None or stream.fed_by is not None:
        return bytes(_STREAM.size)
    view = stream.view_type
    return _STREAM.pack(
        stream.number, True, view in (NEW_IMAGE, NEW_AND_OLD_IMAGES), view in (OLD_IMAGE, NEW_AND_OLD_IMAGES)
    )
