"""Tables' streams: their shards, and how long they stay readable (S18, S19, S21).

A stream's records are in the change log; here is what makes shards of them. Shards close after a while and are
followed by children, which split a parent's hash keys or take them whole. Hash keys are never merged: a shard of
DynamoDB Streams names one parent, so a child of two could be read before one of them is drained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson

from afterwrite.core import shards
from afterwrite.core.shards import Lineage, Shard
from afterwrite.errors import ServiceError
from afterwrite.store import change_log, due
from afterwrite.store.change_log import HASH_KEYS, Stream, Trimmed
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.names import U32

RETENTION_S: Final = 86_400
_KIND: Final = "stream"
_STATE: Final = b"state\0"
_NAMED: Final = b"named\0"
_SETTINGS: Final = "stream_settings"
_EVERYTHING: Final = 1 << 62
_VISITS_A_ROUND: Final = 100


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How many shards a new stream gets, and after how long (seconds, 0 for never) a shard closes."""

    shards: int = 1
    rollover_s: int = 14_400


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream with its shards; `disabled_at_ms` is None while it takes changes.

    What was changed up to the position `trimmed_through`, before `trimmed_before_ms`, is gone; where the stream was fed
    by another until then, some of it may never have come.
    """

    stream: Stream
    key_schema: list[dict[str, str]]
    created_at_ms: int
    lineage: Lineage
    trimmed_through: int = 0
    trimmed_before_ms: int = 0
    disabled_at_ms: int | None = None
    retention_s: int = RETENTION_S

    @property
    def readable_until_ms(self) -> int | None:
        """When a disabled stream goes."""
        return None if self.disabled_at_ms is None else self.disabled_at_ms + self.retention_s * 1000

    def to_json(self) -> bytes:
        """The state as the store keeps it."""
        fields = {name: getattr(self, name) for name in StreamState.__slots__ if name not in ("stream", "lineage")}
        stream = {name: getattr(self.stream, name) for name in Stream.__slots__}
        return orjson.dumps({**fields, "stream": stream, "lineage": shards.to_json(self.lineage)})

    @classmethod
    def from_json(cls, text: bytes) -> StreamState:
        """Read a state of the store."""
        fields: dict[str, Any] = orjson.loads(text)
        return cls(stream=Stream(**fields.pop("stream")), lineage=shards.from_json(fields.pop("lineage")), **fields)


def shard_id(shard: Shard) -> str:
    """The shard's id: ids sort as the shards were opened."""
    return f"shardId-{shard.opened_at_ms:020}-{shard.number:08x}"


def configure(state: dict[str, Any], settings: StreamSettings) -> None:
    """Set the environment's settings for streams; `state` is its in-memory state."""
    state[_SETTINGS] = settings


def settings(transaction: WriteTransaction) -> StreamSettings:
    """The environment's settings for streams."""
    found: StreamSettings = transaction.state.get(_SETTINGS, StreamSettings())
    return found


def enable(
    transaction: WriteTransaction,
    table: str,
    key_schema: list[dict[str, str]],
    view_type: str,
    retention_s: int = RETENTION_S,
) -> Stream:
    """A new stream of the table, with a label that no stream of the table had; `key_schema` as in its description."""
    at_ms = transaction.now_ms
    while transaction.get("streams", _name_key(table, label := _label(at_ms))) is not None:
        at_ms += 1
    stream = Stream(transaction.advance("names"), table, label, view_type)
    lineage = shards.new_lineage(
        settings(transaction).shards,
        hash_keys=HASH_KEYS,
        after=transaction.counter(change_log.COUNTER),
        now_ms=transaction.now_ms,
    )
    transaction.put("streams", _name_key(table, label), U32.pack(stream.number))
    _save(transaction, StreamState(stream, key_schema, transaction.now_ms, lineage, retention_s=retention_s))
    due.schedule(transaction, _KIND, stream.number, transaction.now_ms)
    return stream


def disable(transaction: WriteTransaction, stream: Stream, retention_s: int = RETENTION_S) -> None:
    """The stream takes no change any more; it stays readable for its retention (S18)."""
    state = state_of(transaction, stream.number)
    if state is None or state.disabled_at_ms is not None:
        return
    lineage = shards.close_all(state.lineage, at=transaction.advance(change_log.COUNTER), now_ms=transaction.now_ms)
    ended = replace(state, lineage=lineage, disabled_at_ms=transaction.now_ms, retention_s=retention_s)
    _save(transaction, ended)
    due.schedule(transaction, _KIND, stream.number, transaction.now_ms)


def keep_for(transaction: WriteTransaction, stream: Stream, retention_s: int) -> None:
    """How long the stream's changes are kept."""
    state = state_of(transaction, stream.number)
    if state is not None:
        _save(transaction, replace(state, retention_s=retention_s))
        due.schedule(transaction, _KIND, stream.number, transaction.now_ms)


def begin_to_be_whole(transaction: WriteTransaction, stream: Stream) -> None:
    """The stream takes every change from now on, and in the order of their times; it may not have before."""
    state = state_of(transaction, stream.number)
    if state is not None:
        _save(transaction, replace(state, trimmed_before_ms=transaction.now_ms))


def state_of(transaction: ReadTransaction, number: int) -> StreamState | None:
    """The stream with the number, None where it is gone."""
    text = transaction.get("streams", _STATE + U32.pack(number))
    return None if text is None else _state_from(text)


@lru_cache(maxsize=16)
def _state_from(text: bytes) -> StreamState:
    """A stream as it is kept: who reads hundreds of shards asks for it before each, and it changes seldom."""
    return StreamState.from_json(text)


def labelled(transaction: ReadTransaction, table: str, label: str) -> StreamState | None:
    """The table's stream with the label, None where there is none any more."""
    number = transaction.get("streams", _name_key(table, label))
    return None if number is None else state_of(transaction, U32.unpack(number)[0])


def listed(
    transaction: ReadTransaction, *, table: str | None = None, after: tuple[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """Table and label of the streams that can be read, in this order; of one table, or after a table and label."""
    low = _NAMED if table is None else _NAMED + table.encode() + b"\0"
    high = low[:-1] + b"\x01"
    if after is not None:
        low = max(low, _name_key(*after) + b"\0")
    for key, _ in transaction.scan("streams", low, high):
        name, _, label = key[len(_NAMED) :].decode().partition("\0")
        yield name, label


def roll_over(transaction: WriteTransaction, state: StreamState, only: Callable[[Shard], bool]) -> StreamState:
    """Close the open shards of an enabled stream that `only` picks; each gets one child."""
    closing = [shard for shard in shards.open_shards(state.lineage) if only(shard)]
    if not closing:
        return state
    at = transaction.advance(change_log.COUNTER)
    return _save(
        transaction,
        replace(state, lineage=shards.roll_over(state.lineage, closing, at=at, now_ms=transaction.now_ms)),
    )


def split(transaction: WriteTransaction, state: StreamState, number: int) -> StreamState:
    """Close an open shard; two children take half of its hash keys each. Raises ServiceError."""
    shard = shards.shard_numbered(state.lineage, number)
    if shard is None or not shard.is_open or shard.low == shard.high:
        raise ServiceError("ValidationException", f"expected an open shard that can be split, got number {number}")
    at, middle = transaction.advance(change_log.COUNTER), (shard.low + shard.high + 1) // 2
    return _save(
        transaction,
        replace(state, lineage=shards.split(state.lineage, shard, middle, at=at, now_ms=transaction.now_ms)),
    )


@dataclass(slots=True)
class StreamUpkeep:
    """What a round did: how many changes it trimmed, whose unread ones are held back, and whether more is due."""

    trimmed: int = 0
    held_back: list[str] = field(default_factory=list)
    more: bool = False


def run_due(
    transaction: WriteTransaction, consumed_through: Callable[[str], int | None], trimmed_max: int
) -> StreamUpkeep:
    """One bounded round over the streams that are due: trim, close old shards, forget what has ended.

    `consumed_through` gives the position up to which a table's changes are read, None where nobody has to.
    """
    done = StreamUpkeep()
    numbers = due.due(transaction, _KIND, transaction.now_ms, _VISITS_A_ROUND)
    for number in numbers:
        state = state_of(transaction, number)
        if state is None:
            due.cancel(transaction, _KIND, number)
            continue
        through = consumed_through(state.stream.table) if state.disabled_at_ms is None else None
        trimmed = change_log.trim(
            transaction,
            state.stream,
            before_us=transaction.now_us - state.retention_s * 1_000_000,
            through=_EVERYTHING if through is None else through,
            limit=trimmed_max - done.trimmed,
        )
        done.trimmed += trimmed.count
        if trimmed.held_back:
            done.held_back.append(state.stream.table)
        _visit(transaction, state, trimmed)
        if done.trimmed >= trimmed_max:
            done.more = True
            break
    done.more = done.more or len(numbers) == _VISITS_A_ROUND
    return done


def _visit(transaction: WriteTransaction, state: StreamState, trimmed: Trimmed) -> None:
    """Close and forget shards, or the whole stream, and set the time of the next visit."""
    now_ms, rollover_ms = transaction.now_ms, settings(transaction).rollover_s * 1000
    oldest = change_log.first_after(transaction, state.stream, 0)
    if state.readable_until_ms is not None and oldest is None and state.readable_until_ms < now_ms:
        _forget(transaction, state)
        return
    kept = replace(
        state,
        trimmed_through=max(state.trimmed_through, trimmed.through),
        trimmed_before_ms=max(state.trimmed_before_ms, trimmed.before_us // 1000),
        lineage=_retained(state, now_ms, None if oldest is None else oldest[0]),
    )
    if kept != state:
        _save(transaction, kept)
    if rollover_ms and kept.disabled_at_ms is None:
        kept = roll_over(transaction, kept, lambda shard: shard.opened_at_ms + rollover_ms <= now_ms)
    due.schedule(transaction, _KIND, state.stream.number, _next_visit_ms(kept, oldest, rollover_ms, now_ms))


def _retained(state: StreamState, now_ms: int, oldest: int | None) -> Lineage:
    """The lineage without the shards that closed longer ago than the retention and have nothing left to read."""
    kept = set(shards.retained(state.lineage, now_ms - state.retention_s * 1000))
    return tuple(
        shard
        for shard in state.lineage
        if shard in kept or (oldest is not None and shard.through is not None and shard.through >= oldest)
    )


def _next_visit_ms(state: StreamState, oldest: tuple[int, int] | None, rollover_ms: int, now_ms: int) -> int:
    # A change that is appended from now on is trimmed no sooner than the retention from now.
    retention_ms = state.retention_s * 1000
    times = [now_ms + retention_ms]
    if oldest is not None:
        times.append(oldest[1] // 1000 + retention_ms + 1)
    if state.readable_until_ms is not None:
        times.append(state.readable_until_ms + 1)
    elif rollover_ms:
        times.extend(shard.opened_at_ms + rollover_ms for shard in shards.open_shards(state.lineage))
    times.extend(shard.closed_at_ms + retention_ms + 1 for shard in state.lineage if shard.closed_at_ms is not None)
    return max(now_ms, min(times))


def _forget(transaction: WriteTransaction, state: StreamState) -> None:
    stream = state.stream
    transaction.delete("streams", _name_key(stream.table, stream.label))
    transaction.delete("streams", _STATE + U32.pack(stream.number))
    due.cancel(transaction, _KIND, stream.number)


def _save(transaction: WriteTransaction, state: StreamState) -> StreamState:
    transaction.put("streams", _STATE + U32.pack(state.stream.number), state.to_json())
    return state


def _label(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")


def _name_key(table: str, label: str) -> bytes:
    return b"".join((_NAMED, table.encode(), b"\0", label.encode()))
