"""Tables whose streams are fed by a Kinesis stream: a change goes there with its write, and is taken from there.

What is taken is appended to the table's stream, once for each `eventID` (S26), in the transaction that moves the
position up to which the Kinesis stream was taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import orjson

from afterwrite.core.changes import Change
from afterwrite.core.values import Item
from afterwrite.errors import DeclarationError
from afterwrite.store import change_log, items, kinesis, kinesis_destinations, ledger, streams, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.kinesis_destinations import DISABLED, MICROSECOND, Destination
from afterwrite.store.tables import Catalog, Table

# As long as functions' records are kept: a record that comes twice later than that is not known again.
_REMEMBERED_MS: Final = 86_400_000
_HASH_KEY: Final = slice(4, 6)
_ON_DEMAND_SHARDS: Final = 4


def consumer(table: str) -> str:
    """Under what name the ledger keeps what was taken; no function or table has a slash in its name."""
    return f"intake/{table}"


def fed_tables(catalog: Catalog) -> Mapping[str, str]:
    """The tables whose streams are fed, by the Kinesis stream."""
    return {
        table.stream.fed_by: table.name
        for table in catalog.values()
        if table.stream is not None and table.stream.fed_by is not None
    }


def taken_through(transaction: ReadTransaction, table: str) -> int:
    """The position up to which the table's Kinesis stream was taken."""
    return ledger.position(transaction, consumer(table))


def behind(transaction: ReadTransaction, table: Table, *, limit: int | None = None) -> tuple[int, int | None]:
    """How many records wait to be taken for the table, counted up to `limit` a shard, and since when (µs)."""
    if table.stream is None or table.stream.fed_by is None:
        return 0, None
    stream = kinesis.find(transaction, table.stream.fed_by)
    if stream is None:
        return 0, None
    after = taken_through(transaction, table.name)
    found = [kinesis.behind(transaction, stream, shard, after, limit=limit) for shard in stream.lineage]
    return sum(count for count, _ in found), min((at for _, at in found if at is not None), default=None)


def take(transaction: WriteTransaction, table: Table, changes: Sequence[Change], before: int, after: int) -> None:
    """Append the changes that were not taken before to the table's stream. Raises StorageError."""
    if table.stream is None:
        return
    name = consumer(table.name)
    ledger.advance_position(transaction, name, before, after)
    for change in changes:
        if ledger.completion(transaction, name, change.id) is not None:
            continue
        ledger.complete(transaction, name, change.id, attempts=1, result=b"null", keep_ms=_REMEMBERED_MS)
        change_log.append(
            transaction,
            table.stream,
            event_name=change.event_name,
            partition=items.place_of(table, change.keys_image)[_HASH_KEY],
            keys=orjson.dumps(change.keys_image),
            new=_text(change.new_image),
            old=_text(change.old_image),
            size_bytes=change.size_bytes,
            by_ttl=change.by_ttl,
            created_at_us=change.created_at_us,
        )


def _text(image: Item | None) -> bytes | None:
    return None if image is None else orjson.dumps(image)


def feed(transaction: WriteTransaction, table: Table, stream_arn: str, region: str, *, retention_hours: int) -> None:
    """Have the table's changes come through a Kinesis stream from now on, which is created where it is missing.

    Raises DeclarationError where the table has another destination, or the stream feeds another table.
    """
    wanted = Destination(stream_arn, region, MICROSECOND)
    name, active = wanted.stream_name, kinesis_destinations.active_destination(transaction, table.name)
    if active is not None and active.stream_arn != stream_arn:
        raise DeclarationError(
            f"the changes of the table {table.name} go to {active.stream_arn}, and the app declares stream='kinesis': "
            "disable that Kinesis destination first, as a table has one at a time"
        )
    if kinesis.find(transaction, name) is None:
        kinesis.create(transaction, name, _ON_DEMAND_SHARDS, mode="ON_DEMAND", tags={})
    stream = kinesis.find(transaction, name)
    if stream is not None and stream.retention_hours != retention_hours:
        kinesis.keep_for(transaction, stream, retention_hours)
    if active is None:
        kinesis_destinations.keep(transaction, table.name, wanted)
    if table.stream is not None and table.stream.fed_by is None:
        tables.save(transaction, replace(table, stream=replace(table.stream, fed_by=name)))
        # What is in the stream from before was in the table's own stream as well.
        before = taken_through(transaction, table.name)
        ledger.advance_position(transaction, consumer(table.name), before, kinesis.newest_position(transaction))


def feed_no_more(transaction: WriteTransaction, table: Table) -> None:
    """Have the table's changes go to its stream with their writes again; all of the Kinesis stream was taken."""
    active = kinesis_destinations.active_destination(transaction, table.name)
    if table.stream is None:
        return
    if active is not None and active.stream_name == table.stream.fed_by:
        kinesis_destinations.keep(transaction, table.name, replace(active, status=DISABLED))
    tables.save(transaction, replace(table, stream=replace(table.stream, fed_by=None)))
    streams.begin_to_be_whole(transaction, table.stream)
