"""A table's Kinesis destination: every change becomes a record of a Kinesis stream, in the change's transaction (S26).

A table has at most one that is active; those that were disabled are remembered until the table is deleted.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Final

import orjson

from afterwrite.core.wire import StoredChange, kinesis_data_text
from afterwrite.store import kinesis
from afterwrite.store.environment import ReadTransaction, WriteTransaction

ACTIVE: Final = "ACTIVE"
DISABLED: Final = "DISABLED"
MILLISECOND: Final = "MILLISECOND"
MICROSECOND: Final = "MICROSECOND"
_KEPT: Final = b"kinesis-destinations\0"
_CACHE: Final = "kinesis_destinations"
_NONE_KNOWN: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Destination:
    """A Kinesis stream that a table writes, or wrote, its changes to; `region` is what its records carry."""

    stream_arn: str
    region: str
    precision: str = MILLISECOND
    status: str = ACTIVE

    @property
    def stream_name(self) -> str:
        """The stream's name."""
        return self.stream_arn.rpartition("/")[2]


def destinations(transaction: ReadTransaction, table: str) -> list[Destination]:
    """The table's destinations, the newest last."""
    text = transaction.get("ledger", _KEPT + table.encode())
    return [] if text is None else [Destination(**fields) for fields in orjson.loads(text)]


def keep(transaction: WriteTransaction, table: str, changed: Destination) -> None:
    """Add a destination, or keep it in place of the table's earlier one to the same stream."""
    others = [each for each in destinations(transaction, table) if each.stream_arn != changed.stream_arn]
    _save(transaction, table, [*others, changed])


def forget(transaction: WriteTransaction, table: str) -> None:
    """The table is deleted."""
    if transaction.get("ledger", _KEPT + table.encode()) is not None:
        _save(transaction, table, [])


def disable_all(transaction: WriteTransaction, stream_arn: str) -> None:
    """The Kinesis stream is deleted: no table writes to it any more."""
    for table, active in active_destinations(transaction).items():
        if active.stream_arn == stream_arn:
            keep(transaction, table, replace(active, status=DISABLED))


def active_destination(transaction: WriteTransaction, table: str) -> Destination | None:
    """The destination to which the table's changes go now, if any."""
    return active_destinations(transaction).get(table)


def put_change(
    transaction: WriteTransaction, destination: Destination, table: str, partition: bytes, change: StoredChange
) -> None:
    """Write a change to the destination; `partition` stands for the item's partition key."""
    stream = kinesis.find(transaction, destination.stream_name)
    if stream is None:
        return
    place = f"{table}/{stream.number}/{kinesis.newest_position(transaction)}"
    text = kinesis_data_text(
        change,
        id=blake2b(place.encode(), digest_size=16).hexdigest(),
        table=table,
        region=destination.region,
        microseconds=destination.precision == MICROSECOND,
    )
    kinesis.put(transaction, stream, partition.hex().upper(), b2a_base64(text, newline=False))


def known_destinations(state: Mapping[str, Any]) -> Mapping[str, Destination]:
    """Those of `active_destinations` that an environment's state has; none before they were asked for."""
    known: Mapping[str, Destination] = state.get(_CACHE, _NONE_KNOWN)
    return known


def active_destinations(transaction: WriteTransaction) -> Mapping[str, Destination]:
    """The destinations to which tables' changes go now, by table."""
    known: Mapping[str, Destination] | None = transaction.state.get(_CACHE)
    if known is None:
        known = {}
        for key, _ in transaction.scan("ledger", _KEPT, _KEPT[:-1] + b"\x01"):
            table = key[len(_KEPT) :].decode()
            known = {**known, **_active_of(table, destinations(transaction, table))}
        transaction.state[_CACHE] = known
    return known


def _active_of(table: str, kept: Sequence[Destination]) -> dict[str, Destination]:
    active = [each for each in kept if each.status == ACTIVE]
    return {table: active[0]} if active else {}


def _save(transaction: WriteTransaction, table: str, kept: Sequence[Destination]) -> None:
    others = {name: each for name, each in active_destinations(transaction).items() if name != table}
    if kept:
        transaction.put("ledger", _KEPT + table.encode(), orjson.dumps([asdict(each) for each in kept]))
    else:
        transaction.delete("ledger", _KEPT + table.encode())
    transaction.remember(_CACHE, {**others, **_active_of(table, kept)})
