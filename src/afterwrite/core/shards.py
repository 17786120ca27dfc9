"""Shards: how a stream's hash keys are divided among them, and what becomes of a shard that closes.

A stream's *lineage* is its shards, oldest first. The open ones divide all hash keys among themselves without gap or
overlap. Positions are a count that only grows: a shard holds the records whose hash key is in its range and whose
position is above `after` and at most `through`. A closing takes a position that no record has, so that the last
sequence number of a shard is never below its first, and its children begin above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard: its number in the stream, its hash keys (both ends included), its positions, its parents' numbers."""

    number: int
    low: int
    high: int
    after: int
    opened_at_ms: int
    parents: tuple[int, ...] = ()
    through: int | None = None
    closed_at_ms: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether it takes records."""
        return self.through is None

    def holds(self, hash_key: int) -> bool:
        """Whether the hash key is in its range."""
        return self.low <= hash_key <= self.high


Lineage: TypeAlias = tuple[Shard, ...]
Range: TypeAlias = tuple[int, int]


def even_ranges(count: int, hash_keys: int) -> list[Range]:
    """`count` ranges of nearly the same size that divide `hash_keys` hash keys."""
    bounds = [hash_keys * index // count for index in range(count + 1)]
    return [(low, high - 1) for low, high in pairwise(bounds)]


def new_lineage(count: int, *, hash_keys: int, after: int, now_ms: int) -> Lineage:
    """The first shards of a stream."""
    return tuple(
        Shard(number, low, high, after, now_ms) for number, (low, high) in enumerate(even_ranges(count, hash_keys))
    )


def open_shards(lineage: Lineage) -> Lineage:
    """The shards that take records, in the order of their hash keys."""
    return tuple(sorted((shard for shard in lineage if shard.is_open), key=lambda shard: shard.low))


def holder(lineage: Lineage, hash_key: int) -> Shard | None:
    """The shard that takes records of the hash key now, None where all are closed."""
    for shard in reversed(lineage):
        if shard.is_open and shard.holds(hash_key):
            return shard
    return None


def shard_numbered(lineage: Lineage, number: int) -> Shard | None:
    """The shard with the number, None where it was never there or is forgotten."""
    for shard in lineage:
        if shard.number == number:
            return shard
    return None


def children(lineage: Lineage, number: int) -> Lineage:
    """The shards that follow the one with the number."""
    return tuple(shard for shard in lineage if number in shard.parents)


def succeed(lineage: Lineage, closing: Sequence[Shard], ranges: Sequence[Range], *, at: int, now_ms: int) -> Lineage:
    """Close some shards at the position `at`, and open one for each of `ranges`, which divide the same hash keys.

    A new shard's parents are the closed ones that it takes hash keys from. It opens no sooner than those before it,
    also where the clock has been set back: who knows shards by when they opened finds the new ones last.
    """
    ended = {shard.number for shard in closing}
    closed = tuple(
        replace(shard, through=at, closed_at_ms=now_ms) if shard.number in ended else shard for shard in lineage
    )
    first = 1 + max(shard.number for shard in lineage)
    opened_at_ms = max(now_ms, *(shard.opened_at_ms for shard in lineage))
    opened = tuple(
        Shard(
            number,
            low,
            high,
            at,
            opened_at_ms,
            tuple(shard.number for shard in closing if shard.low <= high and low <= shard.high),
        )
        for number, (low, high) in enumerate(ranges, first)
    )
    return closed + opened


def close_all(lineage: Lineage, *, at: int, now_ms: int) -> Lineage:
    """Close every shard: the stream has ended."""
    return succeed(lineage, open_shards(lineage), (), at=at, now_ms=now_ms)


def roll_over(lineage: Lineage, shards: Sequence[Shard], *, at: int, now_ms: int) -> Lineage:
    """Give each of some open shards one child with the same hash keys."""
    return succeed(lineage, shards, [(shard.low, shard.high) for shard in shards], at=at, now_ms=now_ms)


def split(lineage: Lineage, shard: Shard, hash_key: int, *, at: int, now_ms: int) -> Lineage:
    """Divide an open shard in two; the second begins with `hash_key`, which is in the shard and not its first."""
    return succeed(lineage, [shard], [(shard.low, hash_key - 1), (hash_key, shard.high)], at=at, now_ms=now_ms)


def merge(lineage: Lineage, first: Shard, second: Shard, *, at: int, now_ms: int) -> Lineage:
    """Make one of two open shards whose hash keys are adjacent; `first` comes before `second` in its parents."""
    whole = (min(first.low, second.low), max(first.high, second.high))
    return succeed(lineage, [first, second], [whole], at=at, now_ms=now_ms)


def rescale(lineage: Lineage, count: int, *, hash_keys: int, positions: Iterator[int], now_ms: int) -> Lineage:
    """Divide the hash keys evenly among `count` shards, by splits and then by merges of two, as Kinesis does.

    `positions` gives the position of each closing; one generation of shards may follow another at once.
    """
    wanted = even_ranges(count, hash_keys)
    starts = {low for low, _ in wanted}
    for shard in open_shards(lineage):
        cuts = sorted(start for start in starts if shard.low < start <= shard.high)
        if cuts:
            lows, highs = [shard.low, *cuts], [*(cut - 1 for cut in cuts), shard.high]
            ranges = list(zip(lows, highs, strict=True))
            lineage = succeed(lineage, [shard], ranges, at=next(positions), now_ms=now_ms)
    for low, high in wanted:
        pieces = [shard for shard in open_shards(lineage) if low <= shard.low and shard.high <= high]
        while len(pieces) > 1:
            lineage = merge(lineage, pieces[0], pieces[1], at=next(positions), now_ms=now_ms)
            pieces = [shard for shard in open_shards(lineage) if low <= shard.low and shard.high <= high]
    return lineage


def retained(lineage: Lineage, before_ms: int) -> Lineage:
    """The lineage without the shards that closed before a time: what they held is trimmed."""
    return tuple(shard for shard in lineage if shard.closed_at_ms is None or shard.closed_at_ms >= before_ms)


def to_json(lineage: Lineage) -> list[dict[str, Any]]:
    """The lineage as values of JSON; hash keys are text, because they may have 128 bits."""
    return [{**asdict(shard), "low": str(shard.low), "high": str(shard.high)} for shard in lineage]


def from_json(values: Sequence[Mapping[str, Any]]) -> Lineage:
    """The lineage that `to_json` gave."""
    return tuple(
        Shard(
            **{
                **fields,
                "low": int(fields["low"]),
                "high": int(fields["high"]),
                "parents": tuple(fields["parents"]),
            }
        )
        for fields in values
    )
