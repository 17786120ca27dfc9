"""Streams of the embedded store as event source mappings read them: shard by shard, in lanes, filtered."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from typing import Final

import orjson

from afterwrite.config import Identity
from afterwrite.core.event_source_mapping.mapping import Fetched, ListedShard
from afterwrite.core.event_source_mapping.parameters import AT_TIMESTAMP, TRIM_HORIZON, MappingSettings
from afterwrite.core.event_source_mapping.ports import RECORDS_READ_MAX
from afterwrite.core.event_source_mapping.records import Record, kinesis_record_text
from afterwrite.core.shards import Lineage, Shard, shard_numbered
from afterwrite.core.wire import StoredChange
from afterwrite.errors import DeclarationError
from afterwrite.store import change_log, kinesis, streams
from afterwrite.store.change_log import Stream
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.store.kinesis import KinesisRecord, KinesisStream
from afterwrite.store.streams import StreamState

# Of one reading (S23).
_BYTES_MAX: Final = 1 << 20


class TableShards:
    """The ShardSource of a table's stream."""

    def __init__(self, environment: Environment, stream: Stream, identity: Identity, settings: MappingSettings) -> None:
        self._environment = environment
        self._stream = stream
        self._region = identity.region
        self._settings = settings
        place = f"table/{stream.table}/stream/{stream.label}"
        self.stream_arn = f"arn:aws:dynamodb:{identity.region}:{identity.account_id}:{place}"

    def retention_ms(self) -> int:
        """How long records are kept."""
        with self._environment.read() as transaction:
            return self._state(transaction).retention_s * 1000

    def listed(self) -> tuple[ListedShard, ...]:
        """All shards, oldest first."""
        with self._environment.read() as transaction:
            return _listed(self._state(transaction).lineage, streams.shard_id)

    def start(self, position: str, at_ms: int) -> Mapping[int, int | None]:  # noqa: ARG002 - the port's
        """Where to begin by a StartingPosition; a table's stream knows no AT_TIMESTAMP."""
        if position == TRIM_HORIZON:
            return {}
        with self._environment.read() as transaction:
            newest = transaction.counter(change_log.COUNTER)
            return {shard.number: newest if shard.is_open else None for shard in self._state(transaction).lineage}

    def fetch(self, shard: int, after: int, *, limit: int = RECORDS_READ_MAX) -> Fetched:
        """The shard's next records after a position, at most `limit`; the end of one that is gone."""
        with self._environment.read() as transaction:
            found = shard_numbered(self._state(transaction).lineage, shard)
            if found is None:
                return Fetched(shard, (), after, is_ended=True)
            page = change_log.shard_page(
                transaction, self._stream, found, after, self._record, limit=limit, bytes_max=_BYTES_MAX
            )
        through = page.after if page.after is not None else max(after, found.through or 0)
        return Fetched(shard, page.records, through, page.is_cut, page.after is None)

    def trimmed_through(self) -> int:
        """The position up to which records are gone, 0 where nothing is."""
        with self._environment.read() as transaction:
            return self._state(transaction).trimmed_through

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to read."""
        self._environment.signals.watch([self._stream.signal], event)

    def _state(self, transaction: ReadTransaction) -> StreamState:
        state = streams.state_of(transaction, self._stream.number)
        if state is None:
            raise DeclarationError(f"the stream {self.stream_arn} is gone: enable the table's stream, or declare it")
        return state

    def _record(self, position: int, hash_key: int, stored: StoredChange) -> Record:
        settings = self._settings
        text = change_log.record_text(self._stream, position, stored, region=self._region, stream_arn=self.stream_arn)
        return Record(
            position=position,
            lane=hash_key % settings.parallelization_factor,
            sequence_number=change_log.sequence_number(position),
            arrived_at_ms=stored.created_at_us // 1000,
            text=text,
            is_admitted=not settings.filters or settings.admits(orjson.loads(text)),
        )


class KinesisShards:
    """The ShardSource of a Kinesis stream."""

    def __init__(self, environment: Environment, name: str, identity: Identity, settings: MappingSettings) -> None:
        self._environment = environment
        self._name = name
        self._settings = settings
        self.stream_arn = f"arn:aws:kinesis:{identity.region}:{identity.account_id}:stream/{name}"

    def retention_ms(self) -> int:
        """How long records are kept."""
        with self._environment.read() as transaction:
            return self._found(transaction).retention_hours * 3_600_000

    def listed(self) -> tuple[ListedShard, ...]:
        """All shards, oldest first."""
        with self._environment.read() as transaction:
            return _listed(self._found(transaction).lineage, kinesis.shard_id)

    def start(self, position: str, at_ms: int) -> Mapping[int, int | None]:
        """Where to begin by a StartingPosition in each shard that is there."""
        if position == TRIM_HORIZON:
            return {}
        with self._environment.read() as transaction:
            stream = self._found(transaction)
            if position == AT_TIMESTAMP:
                return {
                    shard.number: kinesis.position_before(transaction, stream, shard, at_ms * 1000)
                    for shard in stream.lineage
                }
            newest = kinesis.newest_position(transaction)
            return {shard.number: newest if shard.is_open else None for shard in stream.lineage}

    def fetch(self, shard: int, after: int, *, limit: int = RECORDS_READ_MAX) -> Fetched:
        """The shard's next records after a position, at most `limit`; the end of one that is gone."""
        with self._environment.read() as transaction:
            stream = self._found(transaction)
            found = shard_numbered(stream.lineage, shard)
            if found is None:
                return Fetched(shard, (), after, is_ended=True)
            page = kinesis.read(transaction, stream, found, after, limit=limit, bytes_max=_BYTES_MAX)
        records = [self._record(found, record) for record in page.records]
        through = page.after if page.after is not None else max(after, found.through or 0)
        return Fetched(shard, records, through, page.more, page.after is None)

    def trimmed_through(self) -> int:
        """Not known of a Kinesis stream, which keeps no account of it."""
        return 0

    def watch(self, event: threading.Event) -> None:
        """Set `event` whenever there may be more to read."""
        with self._environment.read() as transaction:
            signal = self._found(transaction).signal
        self._environment.signals.watch([signal], event)

    def _found(self, transaction: ReadTransaction) -> KinesisStream:
        stream = kinesis.find(transaction, self._name)
        if stream is None:
            raise DeclarationError(f"the stream {self.stream_arn} is gone: create it, or start the engine again")
        return stream

    def _record(self, shard: Shard, record: KinesisRecord) -> Record:
        settings = self._settings
        number = kinesis.sequence_number(record.position)
        return Record(
            position=record.position,
            lane=kinesis.hash_key(record.partition_key) % settings.parallelization_factor,
            sequence_number=number,
            arrived_at_ms=record.arrived_at_us // 1000,
            text=kinesis_record_text(
                partition_key=record.partition_key,
                sequence_number=number,
                data=record.data,
                arrived_at_ms=record.arrived_at_us // 1000,
                shard_id=kinesis.shard_id(shard),
                stream_arn=self.stream_arn,
            ),
            is_admitted=not settings.filters or _is_admitted(settings, record.data),
        )


def _listed(lineage: Lineage, shard_id: Callable[[Shard], str]) -> tuple[ListedShard, ...]:
    return tuple(ListedShard(shard.number, shard_id(shard), shard.parents, shard.after) for shard in lineage)


def _is_admitted(settings: MappingSettings, encoded: bytes) -> bool:
    """Whether a Kinesis record passes the filters: none does whose data is no JSON (S17)."""
    try:
        data = orjson.loads(base64.b64decode(encoded))
    except orjson.JSONDecodeError:
        return False
    return settings.admits({"data": data})
