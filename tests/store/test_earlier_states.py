"""Tables as they were at a time: whatever was written since, the items are those that were there."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from afterwrite.core.changes import KEYS_ONLY, NEW_AND_OLD_IMAGES, NEW_IMAGE, OLD_IMAGE
from afterwrite.store import earlier_states, kinesis_intake, tables, upkeep
from afterwrite.store.earlier_states import EarlierStates
from afterwrite.store.environment import WriteTransaction
from afterwrite.table.sizes import item_size
from embedded import Clock, Dynamo, open_store

DAY_S = 86_400
LONG = "k" * 900


def states_of(dynamo: Dynamo) -> EarlierStates | None:
    with dynamo.environment.read() as transaction:
        return earlier_states.of(transaction, tables.load_catalog(transaction)["things"])


def first_ms(dynamo: Dynamo) -> int:
    states = states_of(dynamo)
    assert states is not None
    return states.first_ms


def items_at(dynamo: Dynamo, at_us: int) -> list[dict[str, Any]]:
    states = states_of(dynamo)
    assert states is not None
    with dynamo.environment.read() as transaction:
        found = [(size, orjson.loads(text)) for size, text in states.scan(transaction, at_us)]
    assert [size for size, _ in found] == [item_size(item) for _, item in found]
    return sorted((item for _, item in found), key=str)


def now_items(dynamo: Dynamo) -> list[dict[str, Any]]:
    return sorted(dynamo.items(), key=str)


@pytest.mark.parametrize("view_type", [OLD_IMAGE, NEW_AND_OLD_IMAGES])
@pytest.mark.parametrize("seed", range(4))
def test_every_state_since_the_table_was_made_can_be_told(
    dynamo: Dynamo, clock: Clock, view_type: str, seed: int
) -> None:
    dynamo.create(view_type=view_type)
    draw = random.Random(seed)
    states: list[tuple[int, list[dict[str, Any]]]] = []
    clock.advance(ms=1)
    for number in range(150):
        for _ in range(draw.randrange(3)):
            key = {"pk": draw.choice("abc"), "sk": draw.choice(["1", "2", LONG, LONG + "2"])}
            if draw.random() < 0.3:
                dynamo.delete(**key)
            else:
                dynamo.put(**key, number=number if draw.random() < 0.8 else 0)
        states.append((clock.now_us, now_items(dynamo)))
        clock.now_us += draw.choice([1, 999, 1_000, 5_000_000])
    for at_us, items in states:
        assert items_at(dynamo, at_us) == items


def test_states_from_before_the_changes_that_are_trimmed_cannot_be_told(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    assert first_ms(dynamo) == clock.now_ms + 1
    dynamo.put(pk="a", sk="1")
    clock.advance(s=DAY_S / 2)
    dynamo.put(pk="b", sk="1")
    since_ms = first_ms(dynamo)
    clock.advance(s=DAY_S / 2 + 60)
    at_us = clock.now_us - DAY_S * 1_000_000
    upkeep.run(dynamo.environment, {})
    assert first_ms(dynamo) == at_us // 1000 + 1 > since_ms
    assert [item["pk"]["S"] for item in items_at(dynamo, first_ms(dynamo) * 1000)] == ["a"]
    assert [item["pk"]["S"] for item in items_at(dynamo, clock.now_us)] == ["a", "b"]


def test_a_retention_that_is_longer_now_brings_nothing_back(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    dynamo.put(pk="a", sk="1")
    clock.advance(s=DAY_S + 60)
    upkeep.run(dynamo.environment, {})
    trimmed_ms = first_ms(dynamo)
    clock.advance(s=60)
    dynamo.environment.write(lambda transaction: tables.set_retention(transaction, "things", 7 * DAY_S))
    assert first_ms(dynamo) == trimmed_ms


def test_of_a_store_that_did_not_keep_when_it_trimmed_the_oldest_change_tells(dynamo: Dynamo, clock: Clock) -> None:
    dynamo.create()
    dynamo.put(pk="a", sk="1")
    clock.advance(s=DAY_S)
    dynamo.put(pk="b", sk="1")
    oldest_ms = clock.now_ms
    clock.advance(s=60)
    upkeep.run(dynamo.environment, {})

    def forget(transaction: WriteTransaction) -> None:
        for key, value in list(transaction.scan("streams", b"state\0", b"state\1")):
            kept = orjson.loads(value)
            assert kept.pop("trimmed_before_ms") > 0
            transaction.put("streams", key, orjson.dumps(kept))

    dynamo.environment.write(forget)
    assert first_ms(dynamo) == oldest_ms + 1
    assert len(items_at(dynamo, first_ms(dynamo) * 1000)) == 2


@pytest.mark.parametrize("view_type", [None, KEYS_ONLY, NEW_IMAGE])
def test_a_table_whose_changes_have_no_old_images_tells_none(dynamo: Dynamo, view_type: str | None) -> None:
    dynamo.create(view_type=view_type)
    assert states_of(dynamo) is None


def test_a_time_that_the_clock_has_told_twice_is_the_later_one(tmp_path: Path, clock: Clock) -> None:
    environment = open_store(tmp_path, clock)
    dynamo = Dynamo(environment)
    dynamo.create()
    for number in range(20):
        clock.advance(s=60)
        dynamo.put(pk="a", sk="1", number=number)
    environment.close()
    clock.advance(s=-600)
    environment = open_store(tmp_path, clock)
    dynamo = Dynamo(environment)
    states: list[tuple[int, list[dict[str, Any]]]] = []
    for number in range(20, 24):
        clock.advance(s=60)
        dynamo.put(pk="a", sk="1", number=number)
        states.append((clock.now_us, now_items(dynamo)))
    clock.advance(s=30)
    states.append((clock.now_us, now_items(dynamo)))
    assert [items_at(dynamo, at_us) for at_us, _ in states] == [items for _, items in states]
    environment.close()


def test_what_a_kinesis_stream_brought_and_may_have_lost_tells_none(dynamo: Dynamo, clock: Clock) -> None:
    arn = "arn:aws:kinesis:us-east-1:000000000000:stream/things-changes"

    def feed(transaction: WriteTransaction) -> None:
        table = tables.catalog(transaction)["things"]
        kinesis_intake.feed(transaction, table, arn, "us-east-1", retention_hours=24)

    def feed_no_more(transaction: WriteTransaction) -> None:
        kinesis_intake.feed_no_more(transaction, tables.catalog(transaction)["things"])

    dynamo.create()
    dynamo.put(pk="a", sk="1")
    dynamo.environment.write(feed)
    assert states_of(dynamo) is None
    clock.advance(s=60)
    dynamo.put(pk="b", sk="1")  # is never taken
    dynamo.environment.write(feed_no_more)
    assert first_ms(dynamo) == clock.now_ms + 1
    clock.advance(s=60)
    dynamo.put(pk="c", sk="1")
    assert [item["pk"]["S"] for item in items_at(dynamo, first_ms(dynamo) * 1000)] == ["a", "b"]
