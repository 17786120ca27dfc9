"""Buffers: records in one order, taken out in ranges, each range exactly once."""

from __future__ import annotations

from functools import partial

from afterwrite.store import buffers
from afterwrite.store.buffers import Buffered, Fill
from afterwrite.store.environment import Environment
from embedded import START_MS, Clock


def add(environment: Environment, *ids: str, buffer: str = "lake/x") -> None:
    for id in ids:
        text = b'"' + id.encode() + b'"'
        environment.write(partial(buffers.add, buffer=buffer, id=id, at_ms=START_MS, text=text))


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
