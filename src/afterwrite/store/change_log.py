"""The change log: every change of a table, in the order of the commits, in the same transaction as the items.

Key: stream number, log position, two bytes of the partition key's digest (its hash key, which says whose shard the
change is in). Value: a header (time, size, what happened, by whom, the lengths that follow) and the keys, the new and
the old image as JSON text, so that a reader decodes no more than it looks at. A shard is a filtered view of the log.
A position is a count over all streams; its sequence number is the position on top of `SEQUENCE_NUMBER_BASE`,
21 digits long.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Final, Generic, TypeVar

import orjson

from afterwrite.core.changes import EVENT_NAMES, TTL_IDENTITY, Change
from afterwrite.core.shards import Shard
from afterwrite.core.wire import StoredChange, streams_record_text
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, span
from afterwrite.table.sizes import item_size

SEQUENCE_NUMBER_BASE: Final = 10**20
COUNTER: Final = "position"
"""What counts the positions in all streams."""
_HEADER: Final = struct.Struct(">QIBBIII")
_BY_TTL: Final = 1
_KEY: Final = struct.Struct(">IQ")
_EVENTS: Final = {name: number for number, name in enumerate(EVENT_NAMES)}
_HASH_KEY: Final = struct.Struct(">H")
_HASH_KEY_AT: Final = 12
HASH_KEYS: Final = 1 << 16
# What one request for a shard's records may pass over of other shards' records.
_PASSED_OVER_MAX: Final = 20_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stream:
    """A table's stream: its number in the store, its table, and the label that is part of its ARN.

    One that is `fed_by` a Kinesis stream gets its changes from there; others get them with the writes.
    """

    number: int
    table: str
    label: str
    view_type: str
    fed_by: str | None = None

    @property
    def signal(self) -> str:
        """What is notified after a commit that appended to the stream."""
        return f"changes:{self.number}"


def sequence_number(position: int) -> str:
    """The sequence number of a log position."""
    return str(SEQUENCE_NUMBER_BASE + position)


def position_of(number: str) -> int:
    """The log position of a sequence number."""
    return int(number) - SEQUENCE_NUMBER_BASE


def append(
    transaction: WriteTransaction,
    stream: Stream,
    *,
    event_name: str,
    partition: bytes,
    keys: bytes,
    new: bytes | None,
    old: bytes | None,
    size_bytes: int,
    by_ttl: bool = False,
    created_at_us: int | None = None,
) -> int:
    """Append a change, made now or at a time before, and return its position. Images are JSON text in the wire form.

    `partition` is the hash key, two bytes: changes of one partition key have the same.
    """
    position = transaction.advance(COUNTER)
    header = _HEADER.pack(
        transaction.now_us if created_at_us is None else created_at_us,
        size_bytes,
        _EVENTS[event_name],
        _BY_TTL if by_ttl else 0,
        len(keys),
        0 if new is None else len(new),
        0 if old is None else len(old),
    )
    value = b"".join((header, keys, new or b"", old or b""))
    transaction.put("changes", _KEY.pack(stream.number, position) + partition, value)
    transaction.touch(stream.signal)
    return position


def change_id(stream: Stream, position: int, number: str) -> str:
    """The id of the change at a position, which has the sequence number: the same whoever reads it.

    It begins with the change's position, so what is kept by ids of changes is written at its end and not all over.
    """
    return _id_of(_named(stream), position, number)


def _named(stream: Stream) -> blake2b:
    """The digest that the ids of a stream's changes begin with."""
    return blake2b(f"{stream.table}/{stream.label}/".encode(), digest_size=8)


def _id_of(named: blake2b, position: int, number: str) -> str:
    digest = named.copy()
    digest.update(number.encode())
    return f"{position:016x}{digest.hexdigest()}"


def stored_change(value: bytes) -> StoredChange:
    """The change that is stored as `value`."""
    return StoredChange(*_parts(value))


def _parts(value: bytes) -> tuple[str, bytes, bytes | None, bytes | None, int, int, bool]:
    """What a `StoredChange` consists of."""
    created_at_us, size_bytes, event, flags, keys_size, new_size, old_size = _HEADER.unpack_from(value)
    keys_end = _HEADER.size + keys_size
    new_end = keys_end + new_size
    return (
        EVENT_NAMES[event],
        value[_HEADER.size : keys_end],
        value[keys_end:new_end] if new_size else None,
        value[new_end : new_end + old_size] if old_size else None,
        created_at_us,
        size_bytes,
        bool(flags & _BY_TTL),
    )


def keys_only(value: bytes) -> bytes:
    """The stored change without its images, and of the size that is left."""
    created_at_us, _, event, flags, keys_size, _, _ = _HEADER.unpack_from(value)
    keys = value[_HEADER.size : _HEADER.size + keys_size]
    header = _HEADER.pack(created_at_us, item_size(orjson.loads(keys)), event, flags, keys_size, 0, 0)
    return header + keys


def decoder(stream: Stream) -> Callable[[int, bytes], Change]:
    """The function from a position and what is stored there to the change."""
    named, table, view_type = _named(stream), stream.table, stream.view_type

    def decode(position: int, value: bytes) -> Change:
        event_name, keys, new_image, old_image, created_at_us, size_bytes, by_ttl = _parts(value)
        number = sequence_number(position)
        return Change(
            id=_id_of(named, position, number),
            table=table,
            event_name=event_name,
            keys=keys,
            new_image=new_image,
            old_image=old_image,
            sequence_number=number,
            created_at_us=created_at_us,
            size_bytes=size_bytes,
            user_identity=TTL_IDENTITY if by_ttl else None,
            view_type=view_type,
        )

    return decode


def read(
    transaction: ReadTransaction,
    stream: Stream,
    after: int,
    limit: int | None = None,
    *,
    bytes_max: int | None = None,
) -> Iterator[tuple[int, Change]]:
    """The changes after a position, oldest first, each with its position.

    At most `limit`, of `bytes_max` bytes as they are stored; one is given whatever its size.
    """
    low = U32.pack(stream.number) + U64.pack(after + 1)
    decode = decoder(stream)
    taken_bytes = 0
    for count, (key, value) in enumerate(transaction.scan("changes", low, span(stream.number)[1])):
        taken_bytes += len(value)
        if count == limit or (bytes_max is not None and count and taken_bytes > bytes_max):
            return
        position = U64.unpack_from(key, 4)[0]
        yield position, decode(position, value)


def made_since(transaction: ReadTransaction, stream: Stream, at_us: int) -> Iterator[tuple[int, StoredChange]]:
    """The changes since a time (µs), newest first, each with its position.

    Where the clock was set back, that is the last time at which it told `at_us`.
    """
    for key, value in transaction.scan("changes", *span(stream.number), reverse=True):
        if _HEADER.unpack_from(value)[0] < at_us:
            return
        yield U64.unpack_from(key, 4)[0], stored_change(value)


@dataclass(frozen=True, slots=True)
class ShardPage(Generic[T]):
    """Records of a shard; `after` is where the next page begins, None at a closed shard's end.

    `is_cut` says that there may be more already.
    """

    records: list[T]
    after: int | None
    is_cut: bool = False


def read_shard(
    transaction: ReadTransaction, stream: Stream, shard: Shard, after: int, *, region: str, limit: int, bytes_max: int
) -> ShardPage[bytes]:
    """A shard's records after a position, as JSON texts: at most `limit`, of `bytes_max` bytes in all.

    One is always given. It may be empty although more follows: what is passed over of other shards is bounded.
    """

    def text(position: int, _hash_key: int, stored: StoredChange) -> bytes:
        return record_text(stream, position, stored, region=region)

    return shard_page(transaction, stream, shard, after, text, limit=limit, bytes_max=bytes_max)


def record_text(
    stream: Stream, position: int, stored: StoredChange, *, region: str, stream_arn: str | None = None
) -> bytes:
    """A change as a stream's record; with `stream_arn` as Lambda delivers it."""
    number = sequence_number(position)
    return streams_record_text(
        stored,
        id=change_id(stream, position, number),
        sequence_number=number,
        region=region,
        view_type=stream.view_type,
        stream_arn=stream_arn,
    )


def shard_page(
    transaction: ReadTransaction,
    stream: Stream,
    shard: Shard,
    after: int,
    make: Callable[[int, int, StoredChange], T],
    *,
    limit: int,
    bytes_max: int,
) -> ShardPage[T]:
    """What `make` makes of the position, the hash key and the content of each of a shard's changes after a position."""
    through = transaction.counter(COUNTER) if shard.through is None else shard.through
    first, last = _HASH_KEY.pack(shard.low), _HASH_KEY.pack(shard.high)
    low = U32.pack(stream.number) + U64.pack(max(after, shard.after) + 1)
    high = U32.pack(stream.number) + U64.pack(through + 1)
    records: list[T] = []
    taken_bytes = passed_over = 0
    for key, value in transaction.scan_wanted("changes", low, high, lambda key: first <= key[_HASH_KEY_AT:] <= last):
        position: int = U64.unpack_from(key, 4)[0]
        if value is None:
            passed_over += 1
            if passed_over == _PASSED_OVER_MAX:
                return ShardPage(records, position, True)
            continue
        stored = stored_change(value)
        taken_bytes += stored.size_bytes
        if len(records) == limit or (records and taken_bytes > bytes_max):
            return ShardPage(records, position - 1, True)
        records.append(make(position, _HASH_KEY.unpack_from(key, _HASH_KEY_AT)[0], stored))
    return ShardPage(records, None if shard.through is not None else max(through, after))


def last_position(transaction: ReadTransaction, stream: Stream) -> int:
    """The position of the newest change, 0 where there is none."""
    for key, _ in transaction.scan("changes", *span(stream.number), reverse=True):
        return int(U64.unpack_from(key, 4)[0])
    return 0


def first_after(transaction: ReadTransaction, stream: Stream, after: int) -> tuple[int, int] | None:
    """The position and the time (µs) of the oldest change after a position."""
    low = U32.pack(stream.number) + U64.pack(after + 1)
    found = transaction.first("changes", low, span(stream.number)[1])
    if found is None:
        return None
    return U64.unpack_from(found[0], 4)[0], _HEADER.unpack_from(found[1])[0]


def position_before(transaction: ReadTransaction, stream: Stream, at_us: int) -> int:
    """A position after which every change made at `at_us` (µs) or later comes, and none that is much older."""
    return _last_that(transaction, stream, lambda made_at_us: made_at_us < at_us)


def _last_that(transaction: ReadTransaction, stream: Stream, holds: Callable[[int], bool]) -> int:
    """The position of the last change with a time (µs) of which something holds, where it holds of none after that."""
    low, high = 0, last_position(transaction, stream)
    while low < high:
        middle = (low + high) // 2
        found = first_after(transaction, stream, middle)
        if found is None or not holds(found[1]):
            high = middle
        else:
            low = found[0]
    return low


def count_after(transaction: ReadTransaction, stream: Stream, after: int, *, limit: int | None = None) -> int:
    """How many changes come after a position, counted up to `limit`. Costs a step a change."""
    low = U32.pack(stream.number) + U64.pack(after + 1)
    keys = transaction.scan_wanted("changes", low, span(stream.number)[1], lambda _: False)
    return sum(1 for _ in islice(keys, limit))


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trimming did: how many changes went, the last one's position, and whether unread ones are held back.

    Those that went were made before `before_us`, which is 0 where there were none.
    """

    count: int
    through: int
    before_us: int
    held_back: bool


def trim(transaction: WriteTransaction, stream: Stream, *, before_us: int, through: int, limit: int) -> Trimmed:
    """Delete at most `limit` changes made before `before_us`, none of them after the position `through`."""
    doomed: list[bytes] = []
    held_back = False
    old_through = _ahead_through(transaction, stream, before_us)
    for key, value in transaction.scan("changes", *span(stream.number)):
        position = U64.unpack_from(key, 4)[0]
        is_old = position <= old_through or _HEADER.unpack_from(value)[0] < before_us
        if len(doomed) == limit or not is_old:
            break
        if position > through:
            held_back = True
            break
        doomed.append(key)
    for key in doomed:
        transaction.delete("changes", key)
    if not doomed:
        return Trimmed(0, 0, 0, held_back)
    return Trimmed(len(doomed), U64.unpack_from(doomed[-1], 4)[0], before_us, held_back)


def _ahead_through(transaction: WriteTransaction, stream: Stream, before_us: int) -> int:
    """The last of the oldest changes that were made when the clock was ahead of what it is, and before `before_us`.

    They were made before the first one that came after the clock was set back. 0 where there are none.
    """
    oldest = first_after(transaction, stream, 0)
    if oldest is None or oldest[1] <= transaction.now_us:
        return 0
    last = _last_that(transaction, stream, lambda made_at_us: made_at_us > transaction.now_us)
    following = first_after(transaction, stream, last)
    return last if following is not None and following[1] < before_us else 0
