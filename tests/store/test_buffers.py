"""Buffers: records in one order, taken out in ranges, each range exactly once."""

from __future__ import annotations

import itertools
import threading
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterwrite.store import buffers
from afterwrite.store.buffers import Buffered, Fill, NewRecord
from afterwrite.store.environment import Environment
from embedded import START_MS, Clock

# One store serves all examples, each with a buffer of its own.
BUFFERS = itertools.count()


def add(environment: Environment, *ids: str, buffer: str = "lake/x") -> None:
    for id in ids:
        text = b'"' + id.encode() + b'"'
        environment.write(partial(buffers.add, buffer=buffer, records=[NewRecord(id, START_MS, text)]))


def read(environment: Environment, **bounds: int) -> list[Buffered]:
    with environment.read() as transaction:
        return list(buffers.read(transaction, "lake/x", **bounds))


def fill(environment: Environment) -> Fill:
    with environment.read() as transaction:
        return buffers.fill(transaction, "lake/x")


def test_records_come_out_in_the_order_they_went_in(environment: Environment) -> None:
    add(environment, "a", "b", "ü")
    add(environment, "elsewhere", buffer="lake/y")
    assert read(environment) == [
        Buffered(1, START_MS, "a", b'"a"'),
        Buffered(2, START_MS, "b", b'"b"'),
        Buffered(3, START_MS, "ü", '"ü"'.encode()),
    ]


def test_reading_is_bounded_and_gives_at_least_one(environment: Environment) -> None:
    add(environment, "aaaa", "b", "c")
    assert [each.id for each in read(environment, records_max=2)] == ["aaaa", "b"]
    assert [each.id for each in read(environment, bytes_max=1)] == ["aaaa"]
    assert [each.id for each in read(environment, bytes_max=9)] == ["aaaa", "b"]
    assert read(environment, records_max=0) == []


def test_the_fill_follows_what_goes_in_and_out(environment: Environment, clock: Clock) -> None:
    assert fill(environment) == Fill(0, 0, None)
    add(environment, "a")
    clock.advance(ms=5)
    add(environment, "bb")
    assert fill(environment) == Fill(2, 3 + 4, START_MS)
    clock.advance(ms=5)
    assert environment.write(lambda transaction: buffers.remove_through(transaction, "lake/x", 1)) == 1
    left = fill(environment)
    assert (left.records, left.bytes) == (1, 4)
    assert left.oldest_ms is not None
    assert environment.write(lambda transaction: buffers.remove_through(transaction, "lake/x", 2)) == 1
    assert fill(environment) == Fill(0, 0, None)
    add(environment, "c")
    assert fill(environment) == Fill(1, 3, clock.now_ms)
    assert [each.sequence for each in read(environment)] == [3]


def test_a_plan_stays_until_its_range_is_removed(environment: Environment) -> None:
    add(environment, "a", "b", "c")
    environment.write(lambda transaction: buffers.set_plan(transaction, "lake/x", 1, 2))
    add(environment, "d")
    with environment.read() as transaction:
        assert buffers.plan(transaction, "lake/x") == (1, 2)
        assert [each.id for each in buffers.read_range(transaction, "lake/x", 1, 2)] == ["a", "b"]
    environment.write(lambda transaction: buffers.remove_through(transaction, "lake/x", 2))
    with environment.read() as transaction:
        assert buffers.plan(transaction, "lake/x") is None
    assert [each.id for each in read(environment)] == ["c", "d"]


def test_removing_twice_removes_nothing_more(environment: Environment) -> None:
    add(environment, "a", "b")
    assert environment.write(lambda transaction: buffers.remove_through(transaction, "lake/x", 1)) == 1
    assert environment.write(lambda transaction: buffers.remove_through(transaction, "lake/x", 1)) == 0
    assert environment.write(lambda transaction: buffers.remove_through(transaction, "no such", 1)) == 0
    assert fill(environment).records == 1


@given(
    batches=st.lists(st.lists(st.integers(0, 200_000), min_size=1, max_size=6), min_size=1, max_size=5),
    data=st.data(),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_hold_what_was_added_together_and_any_range_comes_out(
    environment: Environment, batches: list[list[int]], data: st.DataObject
) -> None:
    """However records are batched and however far they are removed, the rest is there, in order."""
    buffer = f"lake/{next(BUFFERS)}"
    expected: list[tuple[str, int]] = []
    for number, sizes in enumerate(batches):
        records = [NewRecord(f"{number}-{place}", START_MS, b"x" * size) for place, size in enumerate(sizes)]
        environment.write(partial(buffers.add, buffer=buffer, records=records))
        expected += [(record.id, len(record.text)) for record in records]
    removed = data.draw(st.integers(0, len(expected)))
    last = removed
    assert environment.write(lambda transaction: buffers.remove_through(transaction, buffer, last)) == removed
    with environment.read() as transaction:
        left = list(buffers.read(transaction, buffer))
        held = buffers.fill(transaction, buffer)
    assert [(each.id, len(each.text)) for each in left] == expected[removed:]
    assert [each.sequence for each in left] == list(range(removed + 1, len(expected) + 1))
    assert (held.records, held.bytes) == (len(left), sum(size for _, size in expected[removed:]))


def test_who_waits_is_woken_when_a_buffer_is_no_longer_empty_and_with_each_mebibyte(environment: Environment) -> None:
    woken = threading.Event()
    environment.signals.watch([buffers.signal("lake/x")], woken)

    def wakes(size: int) -> bool:
        woken.clear()
        records = [NewRecord("i", START_MS, b"x" * size)]
        environment.write(partial(buffers.add, buffer="lake/x", records=records))
        # The next commit's answer comes after this one's signals.
        environment.write(lambda _: None)
        return woken.is_set()

    assert [wakes(10), wakes(10), wakes(1 << 20), wakes(10), wakes(3 << 20)] == [True, False, True, False, True]
