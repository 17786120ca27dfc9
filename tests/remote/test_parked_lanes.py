"""Parked lanes in a DynamoDB table: whole, in order, and never lost between one who adds and one who takes out."""

from __future__ import annotations

import random
from typing import Any

import pytest

from afterwrite.core.changes import Change
from afterwrite.core.failures import failure
from afterwrite.core.parked import Portion, Selection
from afterwrite.core.ports import ParkedChange
from afterwrite.core.values import encode_item
from afterwrite.core.wire import to_streams_record
from afterwrite.errors import StorageError
from afterwrite.remote.dynamodb_client import StateTable
from afterwrite.remote.dynamodb_parked_lanes import DynamoDBParkedLanes
from afterwrite.remote.dynamodb_parked_work import DynamoDBParkedWork
from aws_tables import create_table
from embedded import Clock


@pytest.fixture
def parked_lanes(dynamodb: Any, clock: Clock) -> DynamoDBParkedLanes:
    table = create_table(dynamodb, "pk", "sk")
    return DynamoDBParkedLanes(lambda: dynamodb, table, now_ms=lambda: clock.now_ms)


def parked(position: int, lane: str = "orders/a", error: str | None = None, **attributes: Any) -> ParkedChange:
    keys = encode_item({"pk": "a", "sk": str(position)})
    change = Change(
        id=f"{position:032x}",
        table="orders",
        event_name="INSERT",
        keys=keys,
        new_image={**keys, **encode_item(attributes)},
        sequence_number=str(position),
        created_at_us=1_700_000_000_123_456,
        size_bytes=100,
    )
    return ParkedChange(position, lane, change, None if error is None else failure("bug", error))


def positions(lanes: DynamoDBParkedLanes, lane: str = "orders/a", **bounds: int) -> list[int]:
    bounds = {"after": -1, "limit": 1_000, "bytes_max": 1 << 30} | bounds
    return [each.position for each in lanes.parked("orders", lane, **bounds)]


def test_a_parked_change_comes_back_as_it_was(parked_lanes: DynamoDBParkedLanes) -> None:
    change = parked(10**39, error="why", text="ä", data=b"\x00\xff", numbers={1, 2})
    parked_lanes.park("orders", [change])
    (back,) = parked_lanes.parked("orders", "orders/a", after=-1, limit=10, bytes_max=1)
    assert (back.position, back.lane, back.failure) == (10**39, "orders/a", failure("bug", "why"))
    assert to_streams_record(back.change, region="") == to_streams_record(change.change, region="")
    assert (back.change.new, back.change.created_at_us) == (change.change.new, change.change.created_at_us)


def test_changes_are_given_in_the_order_of_their_positions_as_integers(parked_lanes: DynamoDBParkedLanes) -> None:
    parked_lanes.park("orders", [parked(9, error="why"), parked(10)])
    assert parked_lanes.follow("orders", [parked(100), parked(10**30)])
    assert positions(parked_lanes) == [9, 10, 100, 10**30]
    assert positions(parked_lanes, after=9) == [10, 100, 10**30]
    assert positions(parked_lanes, after=9, limit=2) == [10, 100]
    assert positions(parked_lanes, bytes_max=250) == [9, 10]
    assert positions(parked_lanes, bytes_max=1) == [9]


def test_why_a_change_failed_again_takes_the_place_of_why_it_did_before(parked_lanes: DynamoDBParkedLanes) -> None:
    parked_lanes.park("orders", [parked(1, error="why"), parked(2)])
    for position in (1, 2):
        parked_lanes.note_failure("orders", "orders/a", position, failure("throttled", "again" * 1_000))
    found = parked_lanes.parked("orders", "orders/a", after=-1, limit=10, bytes_max=1_000)
    assert [each.failure and (each.failure.kind, len(each.failure.reason)) for each in found] == [
        ("throttled", 4_000)
    ] * 2
    assert [each.attempts for each in found] == [1, 1]
    parked_lanes.release("orders", "orders/a", 1)
    parked_lanes.note_failure("orders", "orders/a", 1, failure("bug", "late"))
    assert positions(parked_lanes) == [2], "one that was taken out stays out"


def test_lanes_are_told_apart(parked_lanes: DynamoDBParkedLanes) -> None:
    parked_lanes.park("orders", [parked(1, "orders/a")])
    parked_lanes.park("orders", [parked(1, "orders/b"), parked(2, "orders/b")])
    parked_lanes.park("carts", [parked(1, "orders/c")])
    asked = ["orders/a", "orders/b", "orders/c"]
    assert parked_lanes.parked_lanes("orders", asked) == {"orders/a", "orders/b"}
    assert parked_lanes.parked_lanes("orders", []) == set()
    assert sorted(parked_lanes.lanes("orders")) == [("orders", "orders/a", 1), ("orders", "orders/b", 2)]
    assert sorted(parked_lanes.lanes())[0] == ("carts", "orders/c", 1)


def test_a_lane_whose_last_change_is_released_is_followed_no_more(parked_lanes: DynamoDBParkedLanes) -> None:
    assert not parked_lanes.follow("orders", [parked(1)])
    assert positions(parked_lanes) == []
    parked_lanes.park("orders", [parked(1), parked(2)])
    parked_lanes.release("orders", "orders/a", 1)
    assert parked_lanes.follow("orders", [parked(3)])
    parked_lanes.release("orders", "orders/a", 2)
    parked_lanes.release("orders", "orders/a", 3)
    parked_lanes.release("orders", "orders/a", 3)
    assert list(parked_lanes.lanes()) == []
    assert not parked_lanes.follow("orders", [parked(4)])


def test_of_a_long_lane_no_more_is_read_than_is_asked_for(
    parked_lanes: DynamoDBParkedLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked_lanes.park("orders", [parked(number) for number in range(1, 61)])
    call, read = StateTable.call, list[int]()

    def counted(table: StateTable, operation: str, **fields: Any) -> Any:
        answer = call(table, operation, **fields)
        read.append(answer.get("ScannedCount", 0))
        return answer

    monkeypatch.setattr(StateTable, "call", counted)
    parked_lanes.release("orders", "orders/a", 30)
    assert sum(read) == 1
    assert positions(parked_lanes, limit=1) == [1]
    assert sum(read) <= 4
    assert positions(parked_lanes) == [*range(1, 30), *range(31, 61)]


def test_a_change_that_two_release_at_one_time_is_taken_out_once(
    dynamodb: Any, parked_lanes: DynamoDBParkedLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked_lanes.park("orders", [parked(1), parked(2), parked(3)])
    call = StateTable.call

    def after_another(table: StateTable, operation: str, **fields: Any) -> Any:
        if operation == "TransactWriteItems":
            monkeypatch.undo()
            parked_lanes.release("orders", "orders/a", 1)
        return call(table, operation, **fields)

    monkeypatch.setattr(StateTable, "call", after_another)
    parked_lanes.release("orders", "orders/a", 1)
    assert list(parked_lanes.lanes()) == [("orders", "orders/a", 2)]
    parked_lanes.release("orders", "orders/a", 2)
    assert parked_lanes.parked_lanes("orders", ["orders/a"]) == {"orders/a"}
    assert positions(parked_lanes) == [3]


def test_a_change_that_is_parked_already_is_parked_once(parked_lanes: DynamoDBParkedLanes) -> None:
    parked_lanes.park("orders", [parked(1, error="first"), parked(2)])
    parked_lanes.park("orders", [parked(1, error="again"), parked(2), parked(3)])
    assert parked_lanes.follow("orders", [parked(2), parked(3)])
    assert list(parked_lanes.lanes()) == [("orders", "orders/a", 3)]
    assert parked_lanes.parked("orders", "orders/a", after=-1, limit=1, bytes_max=1)[0].failure == failure(
        "bug", "first"
    )


def test_a_lane_may_be_larger_than_one_transaction(parked_lanes: DynamoDBParkedLanes) -> None:
    parked_lanes.park("orders", [parked(number) for number in range(205)])
    assert positions(parked_lanes) == list(range(205))
    assert list(parked_lanes.lanes()) == [("orders", "orders/a", 205)]


def test_a_change_may_be_larger_than_one_item(parked_lanes: DynamoDBParkedLanes) -> None:
    noise = random.Random(7).randbytes(390_000)
    images = [encode_item({"pk": "a", "sk": "1", "data": each}) for each in (noise, noise[::-1])]
    change = Change(
        id="1", table="orders", event_name="MODIFY", keys={}, new_image=images[0], old_image=images[1], size_bytes=1
    )
    parked_lanes.park("orders", [ParkedChange(number, "orders/a", change, None) for number in range(5)])
    back = parked_lanes.parked("orders", "orders/a", after=-1, limit=10, bytes_max=1 << 30)
    assert [each.position for each in back] == [0, 1, 2, 3, 4]
    assert all((each.change.new_image, each.change.old_image) == tuple(images) for each in back)
    for number in range(5):
        parked_lanes.release("orders", "orders/a", number)
    assert positions(parked_lanes) == []


def test_a_table_that_is_not_there_is_an_error_that_says_so(embedded_client: Any) -> None:
    lanes = DynamoDBParkedLanes(lambda: embedded_client, "absent", now_ms=lambda: 0)
    with pytest.raises(StorageError, match="TransactWriteItems on absent failed: ResourceNotFoundException"):
        lanes.park("orders", [parked(1)])


def test_entries_are_lanes_heads_in_the_order_of_their_places_portion_by_portion(
    parked_lanes: DynamoDBParkedLanes,
) -> None:
    run: list[tuple[str, str]] = []
    work = DynamoDBParkedWork(parked_lanes, lambda consumer, lane: run.append((consumer, lane)))
    names = [f"orders/{number}" for number in range(7)]
    for name in names:
        parked_lanes.park("orders", [parked(3, name, error="why"), parked(10, name)])
    entries = list(work.entries())
    assert sorted(entry.lane for entry in entries) == names
    assert [entry.place for entry in entries] == sorted(entry.place for entry in entries)
    assert {(entry.behind, entry.failure) for entry in entries} == {(1, failure("bug", "why"))}
    assert [entry.lane for entry in work.entries(Selection(lane="orders/3"))] == ["orders/3"]
    assert list(work.entries(Selection(held_in="carts"))) == []
    after, portions = "", []
    while True:
        portion = work.redrive(after=after, limit=3)
        portions.append(portion.entries)
        if portion.next is None:
            break
        after = portion.next
    assert portions == [3, 3, 1]
    assert run == [("orders", entry.lane) for entry in entries]
    assert work.drop(limit=100) == Portion(7, None)
    assert [(entry.behind, entry.failure) for entry in work.entries()] == [(0, None)] * 7
    assert work.drop(limit=100, whole_lane=True) == Portion(7, None)
    assert list(parked_lanes.lanes()) == []
