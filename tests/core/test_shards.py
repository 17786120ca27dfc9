"""Shards: whatever closes and opens, the open ones divide all hash keys, and every record has exactly one shard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from afterwrite.core import shards
from afterwrite.core.shards import Lineage, Shard

HASH_KEYS = 1 << 8


class Resharded:
    """A lineage that a drawn history made, and the positions that records had meanwhile."""

    def __init__(self, first: int) -> None:
        self.positions = count(1)
        self.lineage = shards.new_lineage(first, hash_keys=HASH_KEYS, after=0, now_ms=0)
        self.records: list[tuple[int, int, int]] = []

    def put(self, hash_key: int) -> None:
        holder = shards.holder(self.lineage, hash_key)
        assert holder is not None
        self.records.append((next(self.positions), hash_key, holder.number))

    def take(self, step: str, choice: int) -> None:
        open_now = shards.open_shards(self.lineage)
        shard = open_now[choice % len(open_now)]
        at = {"at": next(self.positions), "now_ms": choice}
        if step == "roll":
            self.lineage = shards.roll_over(self.lineage, open_now[choice % len(open_now) :], **at)
        elif step == "split" and shard.low < shard.high:
            self.lineage = shards.split(self.lineage, shard, shard.low + 1 + choice % (shard.high - shard.low), **at)
        elif step == "merge" and shard is not open_now[-1]:
            self.lineage = shards.merge(self.lineage, shard, open_now[open_now.index(shard) + 1], **at)
        elif step == "rescale":
            positions: Iterator[int] = self.positions
            self.lineage = shards.rescale(
                self.lineage, 1 + choice % 6, hash_keys=HASH_KEYS, positions=positions, now_ms=choice
            )


steps = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "roll", "split", "merge", "rescale"]), st.integers(0, 1 << 20)),
    max_size=40,
)


def resharded(first: int, history: list[tuple[str, int]]) -> Resharded:
    done = Resharded(first)
    for step, choice in history:
        if step == "put":
            done.put(choice % HASH_KEYS)
        else:
            done.take(step, choice)
    return done


def divides(open_now: Lineage) -> bool:
    bounds = [(shard.low, shard.high) for shard in open_now]
    ends = [-1, *(high for _, high in bounds)]
    return all(low == end + 1 for (low, _), end in zip(bounds, ends, strict=False)) and ends[-1] == HASH_KEYS - 1


@given(st.integers(1, 7), steps)
def test_open_shards_divide_all_hash_keys(first: int, history: list[tuple[str, int]]) -> None:
    assert divides(shards.open_shards(resharded(first, history).lineage))


@given(st.integers(1, 7), steps)
def test_every_record_is_in_exactly_one_shard(first: int, history: list[tuple[str, int]]) -> None:
    done = resharded(first, history)
    for position, hash_key, holder in done.records:
        holding = [
            shard.number
            for shard in done.lineage
            if shard.holds(hash_key) and shard.after < position and (shard.through is None or position <= shard.through)
        ]
        assert holding == [holder]


@given(st.integers(1, 7), steps)
def test_parents_end_before_their_children_begin_and_share_hash_keys(
    first: int, history: list[tuple[str, int]]
) -> None:
    lineage = resharded(first, history).lineage
    by_number = {shard.number: shard for shard in lineage}
    assert len(by_number) == len(lineage)
    for shard in lineage:
        if shard.through is not None:
            assert shard.after < shard.through
            assert shards.children(lineage, shard.number)
        for number in shard.parents:
            parent = by_number[number]
            assert parent.through == shard.after
            assert parent.number < shard.number
            assert parent.low <= shard.high
            assert shard.low <= parent.high


@given(st.integers(1, 7), steps)
def test_a_hash_keys_records_are_in_order_when_parents_are_read_first_s19(
    first: int, history: list[tuple[str, int]]
) -> None:
    done = resharded(first, history)
    for hash_key in {hash_key for _, hash_key, _ in done.records}:
        read = [
            position
            for shard in done.lineage
            for position, key, holder in done.records
            if (key, holder) == (hash_key, shard.number)
        ]
        assert read == sorted(read)


@given(st.integers(1, 7), steps)
def test_a_lineage_is_read_back_as_it_was(first: int, history: list[tuple[str, int]]) -> None:
    lineage = resharded(first, history).lineage
    assert shards.from_json(shards.to_json(lineage)) == lineage


@given(st.integers(1, 7), steps, st.integers(1, 9))
def test_rescaling_divides_evenly_with_two_parents_at_most(
    first: int, history: list[tuple[str, int]], wanted: int
) -> None:
    done = resharded(first, history)
    lineage = shards.rescale(done.lineage, wanted, hash_keys=HASH_KEYS, positions=done.positions, now_ms=0)
    open_now = shards.open_shards(lineage)
    assert [(shard.low, shard.high) for shard in open_now] == shards.even_ranges(wanted, HASH_KEYS)
    assert all(len(shard.parents) <= 2 for shard in lineage)


def test_all_closed_none_takes_records() -> None:
    lineage = shards.new_lineage(3, hash_keys=HASH_KEYS, after=5, now_ms=1)
    closed = shards.close_all(lineage, at=9, now_ms=2)
    assert [(shard.through, shard.closed_at_ms) for shard in closed] == [(9, 2)] * 3
    assert shards.holder(closed, 0) is None
    assert shards.retained(closed, 2) == closed
    assert shards.retained(closed, 3) == ()


def test_128_bit_hash_keys_are_kept() -> None:
    lineage = shards.new_lineage(3, hash_keys=1 << 128, after=0, now_ms=1)
    assert lineage[-1].high == (1 << 128) - 1
    assert shards.from_json(shards.to_json(lineage)) == lineage
    assert isinstance(shards.holder(lineage, 1 << 127), Shard)


def test_a_shard_opens_no_sooner_than_those_before_it_whatever_the_clock_says() -> None:
    lineage = shards.new_lineage(2, hash_keys=HASH_KEYS, after=0, now_ms=5_000)
    lineage = shards.roll_over(lineage, shards.open_shards(lineage), at=1, now_ms=1_000)
    assert [shard.opened_at_ms for shard in lineage] == [5_000] * 4
