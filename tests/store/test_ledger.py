"""The ledger: positions, idempotency records, notes and parked changes; and what upkeep deletes when."""

from __future__ import annotations

from functools import partial

import pytest

from afterwrite.core.failures import failure
from afterwrite.errors import StorageError
from afterwrite.store import archive, ledger, upkeep
from afterwrite.store.environment import Environment
from afterwrite.store.ledger import Completion
from embedded import Clock

HOUR_MS = 3_600_000


def test_a_position_moves_only_from_where_it_is(environment: Environment) -> None:
    environment.write(lambda transaction: ledger.advance_position(transaction, "c", 0, 7))
    with pytest.raises(StorageError, match="position 0, found it at 7"):
        environment.write(lambda transaction: ledger.advance_position(transaction, "c", 0, 9))
    with environment.read() as transaction:
        assert ledger.position(transaction, "c") == 7
        assert ledger.position(transaction, "other") == 0


def test_a_record_is_in_progress_then_done_then_forgotten(environment: Environment, clock: Clock) -> None:
    environment.write(
        lambda transaction: ledger.begin(transaction, "f", "m", lease_until_ms=clock.now_ms + 50, attempts=1)
    )

    def record() -> Completion | None:
        with environment.read() as transaction:
            return ledger.completion(transaction, "f", "m")

    assert record() == Completion("m", False, clock.now_ms + 50, clock.now_ms, 1)
    with environment.read() as transaction:
        assert list(ledger.completions(transaction, "f")) == []
    environment.write(
        lambda transaction: ledger.complete(transaction, "f", "m", attempts=2, result=b'{"ok":1}', keep_ms=HOUR_MS)
    )
    assert record() == Completion("m", True, 0, clock.now_ms, 2, {"ok": 1})
    environment.write(lambda transaction: ledger.abandon(transaction, "f", "m"))
    assert record() is not None, "what is done stays done"
    clock.advance(ms=HOUR_MS - 1)
    assert upkeep_deletes(environment) == 0
    clock.advance(ms=1)
    assert upkeep_deletes(environment) == 1
    assert record() is None


def upkeep_deletes(environment: Environment) -> int:
    return upkeep.run(environment, {}).deleted


def test_records_stand_in_the_order_of_their_ids_however_long_these_are(environment: Environment) -> None:
    short = [f"{number:016x}/route/0" for number in (3, 1, 2)]
    long = ["x" * 400, "x" * 399 + "y"]
    for message_id in (*short, *long):
        done = partial(ledger.complete, consumer="f", message_id=message_id, attempts=1, result=b"1", keep_ms=1)
        environment.write(done)
    environment.write(partial(ledger.complete, consumer="g", message_id="g", attempts=1, result=b"1", keep_ms=1))
    with environment.read() as transaction:
        found = [record.message_id for record in ledger.completions(transaction, "f")]
        assert [each for each in found if each in short] == sorted(short)
        assert sorted(found) == sorted([*short, *long])
        for message_id in found:
            record = ledger.completion(transaction, "f", message_id)
            assert record is not None
            assert record.message_id == message_id


def test_an_abandoned_record_is_gone(environment: Environment, clock: Clock) -> None:
    environment.write(lambda transaction: ledger.begin(transaction, "f", "m", lease_until_ms=1, attempts=1))
    environment.write(lambda transaction: ledger.abandon(transaction, "f", "m"))
    environment.write(lambda transaction: ledger.abandon(transaction, "never", "m"))
    with environment.read() as transaction:
        assert ledger.completion(transaction, "f", "m") is None


def test_notes_are_kept_until_their_time(environment: Environment, clock: Clock) -> None:
    environment.write(lambda transaction: ledger.keep_note(transaction, "for-ever", {"a": 1}))
    until_ms = clock.now_ms + 10
    environment.write(lambda transaction: ledger.keep_note(transaction, "short", [1], until_ms=until_ms))
    clock.advance(ms=10)
    upkeep_deletes(environment)
    with environment.read() as transaction:
        assert ledger.note(transaction, "for-ever") == {"a": 1}
        assert ledger.note(transaction, "short") is None


def test_parked_changes_are_read_lane_by_lane_in_order(environment: Environment) -> None:
    for position, lane in ((3, "b"), (1, "a"), (4, "a"), (2, "b")):
        change, failed = {"n": position}, failure("bug", f"why {position}", raised_by="route")
        park = partial(ledger.park, consumer="c", lane=lane, position=position, change=change, failure=failed)
        environment.write(park)
    with environment.read() as transaction:
        everything = [(each.lane, each.position) for each in ledger.parked(transaction, "c")]
        lane_a = [(each.position, each.change, each.error) for each in ledger.parked(transaction, "c", "a")]
    assert sorted(everything) == [("a", 1), ("a", 4), ("b", 2), ("b", 3)]
    assert [position for lane, position in everything if lane == "b"] == [2, 3]
    assert lane_a == [(1, {"n": 1}, "why 1"), (4, {"n": 4}, "why 4")]
    environment.write(lambda transaction: ledger.unpark(transaction, "c", "a", 1))
    with environment.read() as transaction:
        assert [each.position for each in ledger.parked(transaction, "c", "a")] == [4]


def test_an_archive_gives_a_time_range_second_by_second_and_goes_on_after_a_place(
    environment: Environment, clock: Clock
) -> None:
    for at_ms in (3300, 1100, 2200, 2100):
        event, keep_until_ms = b'{"at": %d}' % at_ms, clock.now_ms + at_ms
        environment.write(partial(archive.add, bus="bus", at_ms=at_ms, event=event, keep_until_ms=keep_until_ms))

    def times(*bounds: int, after: bytes = b"") -> list[int]:
        with environment.read() as transaction:
            return [event["at"] for _, event, _ in archive.read(transaction, "bus", *bounds, after=after)]

    assert times() == [1100, 2200, 2100, 3300]
    assert times(1000, 2100) == [1100]
    assert times(2100, 3300) == [2200, 2100]
    assert times(2101, 3300) == [2200]
    with environment.read() as transaction:
        places = [each.place for each in archive.read(transaction, "bus")]
        assert list(archive.read(transaction, "no bus")) == []
    assert times(0, 3300, after=places[1]) == [2100]
    assert times(0, 3300, after=places[2]) == []
    clock.advance(ms=2200)
    upkeep_deletes(environment)
    assert times() == [3300]
