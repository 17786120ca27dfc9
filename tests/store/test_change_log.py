"""The change log: sequence numbers, reading, and trimming that holds back what is unread."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterwrite.store import change_log, ledger, upkeep
from afterwrite.store.change_log import position_of, sequence_number
from afterwrite.store.environment import Environment
from embedded import Clock, Dynamo, open_store

DAY_S = 86_400


def write(dynamo: Dynamo, count: int, *, table: str = "things", first: int = 0) -> None:
    for number in range(first, first + count):
        dynamo.put(table, pk="p", sk=f"{number:05}")


def test_sequence_numbers_are_long_decimals_that_ascend_s9(dynamo: Dynamo) -> None:
    dynamo.create()
    write(dynamo, 12)
    numbers = [change.sequence_number or "" for change in dynamo.changes()]
    assert all(21 <= len(number) <= 40 and number.isdecimal() for number in numbers)
    assert [int(number) for number in numbers] == sorted({int(number) for number in numbers})


def test_a_sequence_number_and_its_position_name_each_other() -> None:
    assert position_of(sequence_number(12345)) == 12345
    assert len(sequence_number(0)) == 21
    assert len(sequence_number((1 << 64) - 1)) <= 40


def test_positions_are_one_count_over_all_tables_and_ids_never_repeat(dynamo: Dynamo) -> None:
    dynamo.create("one")
    dynamo.create("two")
    for number in range(3):
        write(dynamo, 1, table="one", first=number)
        write(dynamo, 1, table="two", first=number)
    changes = [*dynamo.changes("one"), *dynamo.changes("two")]
    assert len({change.id for change in changes}) == 6
    assert len({change.sequence_number for change in changes}) == 6
    assert {change.table for change in dynamo.changes("one")} == {"one"}


def test_ids_are_in_the_order_of_the_changes(dynamo: Dynamo) -> None:
    dynamo.create()
    write(dynamo, 20)
    ids = [change.id for change in dynamo.changes()]
    assert ids == sorted(ids)
    assert {len(each) for each in ids} == {32}


def test_reading_goes_on_after_a_position_and_stops_at_the_limit(dynamo: Dynamo, environment: Environment) -> None:
    stream = dynamo.create().stream
    assert stream is not None
    write(dynamo, 10)
    with environment.read() as transaction:
        everything = [position for position, _ in change_log.read(transaction, stream, 0)]
        assert len(everything) == 10
        assert [position for position, _ in change_log.read(transaction, stream, everything[3], 3)] == everything[4:7]
        assert list(change_log.read(transaction, stream, everything[-1])) == []
        assert change_log.last_position(transaction, stream) == everything[-1]
        assert change_log.count_after(transaction, stream, everything[3]) == 6
        assert (change_log.first_after(transaction, stream, everything[3]) or (0,))[0] == everything[4]
        assert change_log.first_after(transaction, stream, everything[-1]) is None


def test_an_empty_stream_has_no_last_position(dynamo: Dynamo, environment: Environment) -> None:
    empty = dynamo.create("empty").stream
    assert empty is not None
    dynamo.create("full")
    write(dynamo, 1, table="full")
    with environment.read() as transaction:
        assert change_log.last_position(transaction, empty) == 0
        assert list(change_log.read(transaction, empty, 0)) == []


def test_old_changes_are_trimmed_after_the_retention_s18(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    write(dynamo, 3)
    clock.advance(s=86_400)
    write(dynamo, 2, first=3)
    assert upkeep.run(dynamo.environment, {}).trimmed == 0
    clock.advance(ms=1)
    assert upkeep.run(dynamo.environment, {}).trimmed == 3
    assert [change.keys["sk"] for change in dynamo.changes()] == ["00003", "00004"]


def test_what_a_consumer_has_not_read_is_held_back_and_named(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    write(dynamo, 4)
    positions = [position_of(change.sequence_number or "") for change in dynamo.changes()]
    dynamo.environment.write(lambda transaction: ledger.advance_position(transaction, "things", 0, positions[1]))
    clock.advance(s=86_401)
    done = upkeep.run(dynamo.environment, {"things": "things"})
    assert (done.trimmed, list(done.held_back)) == (2, ["things"])
    assert len(dynamo.changes()) == 2
    dynamo.environment.write(
        lambda transaction: ledger.advance_position(transaction, "things", positions[1], positions[3])
    )
    done = upkeep.run(dynamo.environment, {"things": "things"})
    assert (done.trimmed, list(done.held_back)) == (2, [])


def test_trimming_is_bounded_and_says_that_there_is_more(
    dynamo: Dynamo, clock: Clock, environment: Environment
) -> None:
    stream = dynamo.create().stream
    assert stream is not None
    write(dynamo, 10)
    clock.advance(s=1)

    def trim(limit: int) -> int:
        return environment.write(
            lambda transaction: (
                change_log.trim(transaction, stream, before_us=transaction.now_us, through=1 << 62, limit=limit).count
            )
        )

    assert trim(4) == 4
    assert trim(100) == 6
    assert trim(100) == 0


@pytest.mark.parametrize("ahead_s", [3_600, 3 * DAY_S, 3_650 * DAY_S])
def test_changes_of_a_clock_that_was_ahead_go_with_the_first_one_that_came_after(
    tmp_path: Path, clock: Clock, ahead_s: int
) -> None:
    clock.advance(s=ahead_s)
    environment = open_store(tmp_path, clock)
    dynamo = Dynamo(environment)
    dynamo.create()
    write(dynamo, 30)
    upkeep.run(environment, {})
    environment.close()
    clock.advance(s=-ahead_s)
    environment = open_store(tmp_path, clock)
    dynamo = Dynamo(environment)
    upkeep.run(environment, {})
    write(dynamo, 1, first=30)
    upkeep.run(environment, {})
    clock.advance(s=DAY_S)
    write(dynamo, 1, first=31)
    assert upkeep.run(environment, {}).trimmed == 0
    clock.advance(s=min(ahead_s + 1, DAY_S))
    assert upkeep.run(environment, {}).trimmed == 31
    environment.close()


@pytest.mark.parametrize("table", ["things"])
def test_a_change_is_read_back_whole(dynamo: Dynamo, clock: Clock, table: str) -> None:
    dynamo.create(table)
    clock.advance(ms=7)
    dynamo.put(table, pk="ü", sk="1", n=1, b=b"\x00\xff", deep={"list": [1, {"x": None}]})
    (change,) = dynamo.changes(table)
    assert change.table == table
    assert change.new == {"pk": "ü", "sk": "1", "n": 1, "b": b"\x00\xff", "deep": {"list": [1, {"x": None}]}}
    assert change.created_at_us == clock.now_us
    # Keys twice: once as keys, once in the image.
    keys_bytes = 2 + 2 + 2 + 1
    image_bytes = keys_bytes + (1 + 2) + (1 + 2) + 4 + (3 + 1 + 4 + (3 + 1 + 2 + 1 + (3 + 1 + 1 + 1)))
    assert change.size_bytes == keys_bytes + image_bytes
