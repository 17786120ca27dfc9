"""The event store on real tables: events once, in any order, states of the past, snapshots that change no answer."""

from __future__ import annotations

import random

import pytest

from account_histories import detail, history, stored
from accounts import app
from accounts.event_store import EventStore
from accounts.events import State, rebuild
from afterwrite import Rejected
from afterwrite.wiring import Engine

BALANCES = [(number * 37) % 1000 for number in range(1, 25)]
EVENTS = history(BALANCES, closed=True)


def append(store: EventStore, events: list[tuple[str, dict[str, object]]]) -> None:
    for kind, each in events:
        store.append(kind, each)


def test_every_state_that_an_account_has_had(store: EventStore) -> None:
    append(store, EVENTS)
    append(store, history([7], account_id="A-2"))
    own = stored(BALANCES, closed=True)
    for version in range(len(own) + 1):
        expected = rebuild(own[:version])
        assert store.state("A-1", version=version) == expected
        assert store.state("A-1", at_ms=version * 1000 + 999) == expected
    assert store.state("A-1") == State("A-1", 25, BALANCES[-1], False, 25_000)
    assert store.state("A-2") == State("A-2", 1, 7, True, 1000)
    assert store.state("A-3") is None


def test_a_snapshot_after_every_tenth_event(store: EventStore, engine: Engine) -> None:
    append(store, EVENTS)
    snapshots = [State.from_item(item) for item in engine.table(app.snapshots.name).query("A-1")]
    assert snapshots == [rebuild(stored(BALANCES)[:version]) for version in (10, 20)]


def test_a_snapshot_is_what_is_begun_with(store: EventStore, engine: Engine) -> None:
    append(store, EVENTS)
    for version in range(1, 21):
        engine.table(app.event_store.name).delete({"accountId": "A-1", "version": version})
    assert store.state("A-1") == State("A-1", 25, BALANCES[-1], False, 25_000)


def test_an_event_that_comes_again_changes_nothing(store: EventStore) -> None:
    append(store, EVENTS)
    before = store.history("A-1")
    append(store, EVENTS)
    assert store.history("A-1") == before
    assert len(before) == 25


def test_events_that_come_in_another_order_give_the_same_history(store: EventStore) -> None:
    # S26: a change that comes by Kinesis may come late.
    shuffled = EVENTS * 2
    random.Random(7).shuffle(shuffled)
    append(store, shuffled)
    assert store.history("A-1", 2, 4) == [pytest.approx(event) for event in stored(BALANCES)[1:4]]
    assert store.state("A-1") == State("A-1", 25, BALANCES[-1], False, 25_000)


def test_another_event_under_a_number_that_is_taken_is_refused(store: EventStore) -> None:
    append(store, EVENTS[:2])
    other = {**detail("A-1", 2, oldBalanceCents=1, newBalanceCents=2, differenceCents=1), "changeId": "another"}
    with pytest.raises(Rejected, match="raise the account's version by one"):
        store.append("BALANCE_CHANGED", other)
    assert len(store.history("A-1")) == 2
