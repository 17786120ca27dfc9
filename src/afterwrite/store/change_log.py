"""The change log: every change of a table, in the order of the commits, in the same transaction as the items.

Key: stream number, log position. Value: a header (time, size, what happened, by whom, the lengths that follow)
and the keys, the new and the old image as JSON text, so that a reader decodes no more than it looks at.
A position is a count over all streams; its sequence number is the position on top of `SEQUENCE_NUMBER_BASE`,
21 digits long.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import orjson

from afterwrite.core.changes import EVENT_NAMES, TTL_IDENTITY, Change
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32, U64, span

SEQUENCE_NUMBER_BASE: Final = 10**20
_HEADER: Final = struct.Struct(">QIBBIII")
_BY_TTL: Final = 1
_RETIRED: Final = b"retired-stream\0"


@dataclass(frozen=True, slots=True)
class Stream:
    """A table's stream: its number in the store, its table, and the label that is part of its ARN."""

    number: int
    table: str
    label: str
    view_type: str

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
    keys: bytes,
    new: bytes | None,
    old: bytes | None,
    size_bytes: int,
    by_ttl: bool = False,
) -> int:
    """Append a change and return its position. Images are JSON text in the wire form."""
    position = transaction.advance("position")
    header = _HEADER.pack(
        transaction.now_us,
        size_bytes,
        EVENT_NAMES.index(event_name),
        _BY_TTL if by_ttl else 0,
        len(keys),
        0 if new is None else len(new),
        0 if old is None else len(old),
    )
    value = b"".join((header, keys, new or b"", old or b""))
    transaction.put("changes", U32.pack(stream.number) + U64.pack(position), value)
    transaction.touch(stream.signal)
    return position


def decode(stream: Stream, position: int, value: bytes) -> Change:
    """The change stored as `value` at `position`."""
    created_at_us, size_bytes, event, flags, keys_size, new_size, old_size = _HEADER.unpack_from(value)
    keys_end = _HEADER.size + keys_size
    new_end = keys_end + new_size
    number = sequence_number(position)
    return Change(
        id=hashlib.blake2b(f"{stream.table}/{stream.label}/{number}".encode(), digest_size=16).hexdigest(),
        table=stream.table,
        event_name=EVENT_NAMES[event],
        keys=value[_HEADER.size : keys_end],
        new_image=value[keys_end:new_end] if new_size else None,
        old_image=value[new_end : new_end + old_size] if old_size else None,
        sequence_number=number,
        created_at_us=created_at_us,
        size_bytes=size_bytes,
        user_identity=TTL_IDENTITY if flags & _BY_TTL else None,
        view_type=stream.view_type,
    )


def read(
    transaction: ReadTransaction, stream: Stream, after: int, limit: int | None = None
) -> Iterator[tuple[int, Change]]:
    """The changes after a position, oldest first, each with its position."""
    low = U32.pack(stream.number) + U64.pack(after + 1)
    for count, (key, value) in enumerate(transaction.scan("changes", low, span(stream.number)[1])):
        if count == limit:
            return
        position = U64.unpack_from(key, 4)[0]
        yield position, decode(stream, position, value)


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


def count_after(transaction: ReadTransaction, stream: Stream, after: int) -> int:
    """How many changes come after a position. Costs a step a change."""
    low = U32.pack(stream.number) + U64.pack(after + 1)
    return sum(1 for _ in transaction.scan("changes", low, span(stream.number)[1]))


def retire(transaction: WriteTransaction, stream: Stream, retention_s: int) -> None:
    """The stream's table is deleted: no change is added any more, and what is there stays until it is trimmed (S18)."""
    fields = {"table": stream.table, "label": stream.label, "view_type": stream.view_type}
    key = _RETIRED + U32.pack(stream.number)
    transaction.put("ledger", key, orjson.dumps({**fields, "retention_s": retention_s}))


def retired(transaction: ReadTransaction) -> list[tuple[Stream, int]]:
    """The streams of deleted tables, each with its retention in seconds."""
    found: list[tuple[Stream, int]] = []
    for key, value in transaction.scan("ledger", _RETIRED, _RETIRED + b"\xff" * 5):
        fields = orjson.loads(value)
        retention_s = fields.pop("retention_s")
        found.append((Stream(U32.unpack_from(key, len(_RETIRED))[0], **fields), retention_s))
    return found


def forget(transaction: WriteTransaction, stream: Stream) -> None:
    """Forget a deleted table's stream of which everything is trimmed."""
    transaction.delete("ledger", _RETIRED + U32.pack(stream.number))


def trim(transaction: WriteTransaction, stream: Stream, *, before_us: int, through: int, limit: int) -> tuple[int, int]:
    """Delete at most `limit` changes made before `before_us`, none of them after the position `through`.

    Returns how many were deleted, and how many of those looked at were held back because they are unread.
    """
    doomed: list[bytes] = []
    held_back = 0
    for key, value in transaction.scan("changes", *span(stream.number)):
        if len(doomed) == limit or _HEADER.unpack_from(value)[0] >= before_us:
            break
        if U64.unpack_from(key, 4)[0] > through:
            held_back = 1
            break
        doomed.append(key)
    for key in doomed:
        transaction.delete("changes", key)
    return len(doomed), held_back
