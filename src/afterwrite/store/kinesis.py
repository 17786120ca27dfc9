"""Kinesis streams: shards by the MD5 hash of the partition key, and their records.

A record's key is its stream's number, its shard's number and its position, a count over all streams whose sequence
number is the position on top of `SEQUENCE_NUMBER_BASE`. Its value is the time of its arrival (µs), the length of its
partition key, the partition key, and its data as base64 text, as it came.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import md5
from itertools import islice
from typing import Any, Final

import orjson

from afterwrite.core import shards
from afterwrite.core.shards import Lineage, Shard
from afterwrite.errors import ServiceError
from afterwrite.store import due
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, span

HASH_KEYS: Final = 1 << 128
# 56 digits, and as many bits as the service's own, which readers check.
SEQUENCE_NUMBER_BASE: Final = 4959 * 10**52
RETENTION_HOURS: Final = (24, 8_760)
COUNTER: Final = "kinesis"
"""What counts the positions in all streams."""
_KIND: Final = "kinesis"
_DELETED: Final = "kinesis-deleted"
_CACHE: Final = "kinesis_streams"
_RECORD: Final = struct.Struct(">QH")
_HOUR_MS: Final = 3_600_000
_VISITS_A_ROUND: Final = 100


@dataclass(frozen=True, slots=True)
class KinesisStream:
    """A stream: its number in the store, its shards, how long records are kept, its mode and tags."""

    name: str
    number: int
    created_at_ms: int
    lineage: Lineage
    mode: str = "PROVISIONED"
    retention_hours: int = RETENTION_HOURS[0]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def signal(self) -> str:
        """What is notified after a commit that put records."""
        return f"kinesis:{self.number}"

    def to_json(self) -> bytes:
        """The stream as the store keeps it."""
        fields = {name: getattr(self, name) for name in KinesisStream.__slots__ if name != "lineage"}
        return orjson.dumps({**fields, "lineage": shards.to_json(self.lineage)})

    @classmethod
    def from_json(cls, text: bytes) -> KinesisStream:
        """Read a stream of the store."""
        fields: dict[str, Any] = orjson.loads(text)
        return cls(lineage=shards.from_json(fields.pop("lineage")), **fields)


@dataclass(frozen=True, slots=True)
class KinesisRecord:
    """A record as it is read; `data` is base64 text."""

    position: int
    arrived_at_us: int
    partition_key: str
    data: bytes


@dataclass(frozen=True, slots=True)
class KinesisPage:
    """Records of a shard; `after` is where the next page begins, None at a closed shard's end.

    `more` says that records follow which are there already.
    """

    records: list[KinesisRecord]
    after: int | None
    more: bool


def sequence_number(position: int) -> str:
    """The sequence number of a position."""
    return str(SEQUENCE_NUMBER_BASE + position)


def position_of(number: str) -> int:
    """The position of a sequence number."""
    return int(number) - SEQUENCE_NUMBER_BASE


def shard_id(shard: Shard) -> str:
    """The shard's id."""
    return f"shardId-{shard.number:012}"


def hash_key(partition_key: str) -> int:
    """The hash key of a partition key."""
    return int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest(), "big")


def find(transaction: ReadTransaction, name: str) -> KinesisStream | None:
    """The stream `name`, None where there is none."""
    if isinstance(transaction, WriteTransaction):
        known: Mapping[str, KinesisStream] = transaction.state.get(_CACHE, {})
        if name in known:
            return known[name]
    text = transaction.get("kinesis", name.encode())
    if text is None:
        return None
    stream = _stream_from(text)
    if isinstance(transaction, WriteTransaction):
        transaction.state[_CACHE] = {**transaction.state.get(_CACHE, {}), name: stream}
    return stream


@lru_cache(maxsize=16)
def _stream_from(text: bytes) -> KinesisStream:
    """A stream as it is kept: who reads hundreds of shards asks for it before each, and it changes seldom."""
    return KinesisStream.from_json(text)


def names(transaction: ReadTransaction, after: str = "") -> Iterator[str]:
    """The names of the streams after a name, in order."""
    for key, _ in transaction.scan("kinesis", after.encode() + b"\0"):
        yield key.decode()


def create(
    transaction: WriteTransaction, name: str, shard_count: int, *, mode: str, tags: Mapping[str, str]
) -> KinesisStream:
    """Create a stream. Raises ResourceInUseException."""
    if find(transaction, name) is not None:
        raise ServiceError("ResourceInUseException", f"Stream {name} already exists.")
    lineage = shards.new_lineage(
        shard_count, hash_keys=HASH_KEYS, after=transaction.counter(COUNTER), now_ms=transaction.now_ms
    )
    number = transaction.advance("names")
    stream = save(transaction, KinesisStream(name, number, transaction.now_ms, lineage, mode, tags=tags))
    due.schedule(transaction, _KIND, number, transaction.now_ms)
    return stream


def save(transaction: WriteTransaction, stream: KinesisStream) -> KinesisStream:
    """Keep a stream in place of what it was."""
    transaction.put("kinesis", stream.name.encode(), stream.to_json())
    transaction.put("ledger", _number_key(stream.number), stream.name.encode())
    transaction.remember(_CACHE, {**transaction.state.get(_CACHE, {}), stream.name: stream})
    return stream


def delete(transaction: WriteTransaction, stream: KinesisStream) -> None:
    """Delete a stream; its records go in upkeep's rounds."""
    transaction.delete("kinesis", stream.name.encode())
    transaction.delete("ledger", _number_key(stream.number))
    known = transaction.state.get(_CACHE, {})
    transaction.remember(_CACHE, {name: each for name, each in known.items() if name != stream.name})
    due.cancel(transaction, _KIND, stream.number)
    due.schedule(transaction, _DELETED, stream.number, transaction.now_ms)


def keep_for(transaction: WriteTransaction, stream: KinesisStream, hours: int) -> KinesisStream:
    """How long the stream's records are kept."""
    due.schedule(transaction, _KIND, stream.number, transaction.now_ms)
    return save(transaction, replace(stream, retention_hours=hours))


def next_position(transaction: WriteTransaction) -> int:
    """A position that no record has: a closing of shards takes one."""
    return transaction.advance(COUNTER)


def newest_position(transaction: ReadTransaction) -> int:
    """The position last given out, over all streams."""
    return transaction.counter(COUNTER)


def put(
    transaction: WriteTransaction, stream: KinesisStream, partition_key: str, data: bytes, hashed: int | None = None
) -> tuple[Shard, int]:
    """Append a record, `data` being base64 text; its shard and its position. `hashed` overrides the hash key."""
    shard = shards.holder(stream.lineage, hash_key(partition_key) if hashed is None else hashed)
    if shard is None:
        raise ServiceError("ResourceInUseException", f"Stream {stream.name} has no open shard")
    position = transaction.advance(COUNTER)
    encoded = partition_key.encode()
    value = b"".join((_RECORD.pack(transaction.now_us, len(encoded)), encoded, data))
    transaction.put("kinesis_records", _shard_key(stream, shard) + U64.pack(position), value)
    transaction.touch(stream.signal)
    return shard, position


def read(
    transaction: ReadTransaction, stream: KinesisStream, shard: Shard, after: int, *, limit: int, bytes_max: int
) -> KinesisPage:
    """A shard's records after a position: at most `limit`, of `bytes_max` bytes in all (one is always given)."""
    records: list[KinesisRecord] = []
    taken_bytes = 0
    prefix = _shard_key(stream, shard)
    for key, value in transaction.scan("kinesis_records", prefix + U64.pack(after + 1), _after(prefix)):
        taken_bytes += len(value)
        if len(records) == limit or (records and taken_bytes > bytes_max):
            return KinesisPage(records, records[-1].position, True)
        records.append(decode_record(key, value))
    if shard.through is not None:
        return KinesisPage(records, None, False)
    return KinesisPage(records, max(after, newest_position(transaction)), False)


def decode_record(key: bytes, value: bytes) -> KinesisRecord:
    """The record stored at `key` as `value`."""
    arrived_at_us, size = _RECORD.unpack_from(value)
    data = _RECORD.size + size
    partition_key = value[_RECORD.size : data].decode()
    return KinesisRecord(U64.unpack_from(key, 8)[0], arrived_at_us, partition_key, value[data:])


def read_all(
    transaction: ReadTransaction, stream: KinesisStream, after: int, *, limit: int, bytes_max: int
) -> KinesisPage:
    """The records of all shards after a position, in the order of their arrival, so a parent's before its children's.

    At most `limit` of each shard, of `bytes_max` bytes.
    """
    pages = [read(transaction, stream, shard, after, limit=limit, bytes_max=bytes_max) for shard in stream.lineage]
    # Where a page is cut, later records of its shard may be older than those of others.
    through = min((page.records[-1].position for page in pages if page.more), default=newest_position(transaction))
    records = [record for page in pages for record in page.records if record.position <= through]
    records.sort(key=lambda record: record.position)
    return KinesisPage(records, through, any(page.more for page in pages))


def behind(
    transaction: ReadTransaction, stream: KinesisStream, shard: Shard, after: int, *, limit: int | None = None
) -> tuple[int, int | None]:
    """How many records of a shard come after a position, counted up to `limit`, and when (µs) the first arrived."""
    prefix = _shard_key(stream, shard)
    low, high = prefix + U64.pack(after + 1), _after(prefix)
    first = transaction.first("kinesis_records", low, high)
    if first is None:
        return 0, None
    keys = transaction.scan_wanted("kinesis_records", low, high, lambda _: False)
    return sum(1 for _ in islice(keys, limit)), _RECORD.unpack_from(first[1])[0]


def position_before(transaction: ReadTransaction, stream: KinesisStream, shard: Shard, at_us: int) -> int:
    """The position after which the shard's records arrived at a time or later. Costs the logarithm of the records."""
    return _last_that(transaction, stream, shard, lambda arrived_us: arrived_us < at_us)


def _last_that(transaction: ReadTransaction, stream: KinesisStream, shard: Shard, holds: Callable[[int], bool]) -> int:
    """The position of the shard's last record with a time (µs) of which something holds, but of none after that."""
    low, high = shard.after, newest_position(transaction) if shard.through is None else shard.through
    while low < high:
        middle = (low + high) // 2
        found = _first_after(transaction, stream, shard, middle)
        if found is None or not holds(found[1]):
            high = middle
        else:
            low = found[0]
    return low


def _first_after(
    transaction: ReadTransaction, stream: KinesisStream, shard: Shard, after: int
) -> tuple[int, int] | None:
    """The position and the time (µs) of the shard's oldest record after a position."""
    prefix = _shard_key(stream, shard)
    found = transaction.first("kinesis_records", prefix + U64.pack(after + 1), _after(prefix))
    return None if found is None else (U64.unpack_from(found[0], 8)[0], _RECORD.unpack_from(found[1])[0])


def run_due(
    transaction: WriteTransaction, taken_through: Callable[[str], int | None], deleted_max: int
) -> tuple[int, bool]:
    """One bounded round: delete records past their retention and those of deleted streams; how many, and if more.

    `taken_through` gives the position up to which a stream's records are taken, None where nobody has to take them.
    """
    count = 0
    deleted = due.due(transaction, _DELETED, transaction.now_ms, _VISITS_A_ROUND)
    for number in deleted:
        gone = _delete_oldest(transaction, *span(number), lambda _: True, deleted_max - count)
        count += gone
        if gone == 0:
            due.cancel(transaction, _DELETED, number)
    visits = due.due(transaction, _KIND, transaction.now_ms, _VISITS_A_ROUND)
    for number in visits:
        name = transaction.get("ledger", _number_key(number))
        stream = None if name is None else find(transaction, name.decode())
        if stream is None:
            due.cancel(transaction, _KIND, number)
        else:
            count += _trim(transaction, stream, taken_through(stream.name), deleted_max - count)
        if count >= deleted_max:
            return count, True
    return count, len(visits) == _VISITS_A_ROUND or bool(deleted)


def _trim(transaction: WriteTransaction, stream: KinesisStream, taken_through: int | None, limit: int) -> int:
    now_ms, retention_ms = transaction.now_ms, stream.retention_hours * _HOUR_MS
    before_us = transaction.now_us - retention_ms * 1000
    count, next_ms = 0, now_ms + retention_ms
    for shard in stream.lineage:
        low = _shard_key(stream, shard)
        end = _after(low) if taken_through is None else low + U64.pack(taken_through + 1)
        ahead_end = min(end, low + U64.pack(_ahead_through(transaction, stream, shard, before_us) + 1))
        count += _delete_oldest(transaction, low, ahead_end, lambda _: True, limit - count)
        count += _delete_oldest(transaction, low, end, lambda arrived_us: arrived_us < before_us, limit - count)
        oldest = _first_after(transaction, stream, shard, 0)
        if oldest is not None:
            next_ms = min(next_ms, oldest[1] // 1000 + retention_ms + 1)
        elif shard.closed_at_ms is not None:
            next_ms = min(next_ms, shard.closed_at_ms + retention_ms + 1)
    retained = shards.retained(stream.lineage, now_ms - retention_ms)
    kept = tuple(shard for shard in stream.lineage if shard in retained or _is_awaited(shard, taken_through))
    if kept != stream.lineage and count < limit:
        save(transaction, replace(stream, lineage=kept))
    due.schedule(transaction, _KIND, stream.number, max(now_ms, next_ms))
    return count


def _ahead_through(transaction: WriteTransaction, stream: KinesisStream, shard: Shard, before_us: int) -> int:
    """The last of the shard's oldest records that arrived when the clock was ahead of what it is, before `before_us`.

    They arrived before the first one that came after the clock was set back. 0 where there are none.
    """
    oldest = _first_after(transaction, stream, shard, 0)
    if oldest is None or oldest[1] <= transaction.now_us:
        return 0
    last = _last_that(transaction, stream, shard, lambda arrived_us: arrived_us > transaction.now_us)
    following = _first_after(transaction, stream, shard, last)
    return last if following is not None and following[1] < before_us else 0


def _is_awaited(shard: Shard, taken_through: int | None) -> bool:
    return taken_through is not None and shard.through is not None and shard.through > taken_through


def _delete_oldest(
    transaction: WriteTransaction, low: bytes, high: bytes, old: Callable[[int], bool], limit: int
) -> int:
    doomed: list[bytes] = []
    for key, value in transaction.scan("kinesis_records", low, high):
        if len(doomed) >= limit or not old(_RECORD.unpack_from(value)[0]):
            break
        doomed.append(key)
    for key in doomed:
        transaction.delete("kinesis_records", key)
    return len(doomed)


def _shard_key(stream: KinesisStream, shard: Shard) -> bytes:
    return U32.pack(stream.number) + U32.pack(shard.number)


def _after(prefix: bytes) -> bytes:
    return prefix + b"\xff" * 9


def _number_key(number: int) -> bytes:
    return b"kinesis-stream\0" + U32.pack(number)
