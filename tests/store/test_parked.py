"""What was given up, by routes and functions: listed in order, selected, redriven and dropped in portions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from afterwrite import App, Change, Context
from afterwrite.core.lanes import lanes_by
from afterwrite.core.parked import ParkedEntry, Portion, Selection
from afterwrite.local.parked import EmbeddedParked
from afterwrite.store import change_log, parked
from afterwrite.store.environment import Environment
from afterwrite.store.newer_changes import Ordering, newer_changes
from embedded import Clock, Parts
from engine.dispatching import Dispatching


class Shop:
    """Routes and functions that fail for the sort keys that are named so, while `broken`."""

    def __init__(self, environment: Environment, clock: Clock, order: Any = "partition_key") -> None:
        app = App("shop")
        self.environment, self.clock = environment, clock
        self.broken = True
        self.meanwhile: Callable[[], object] = lambda: None
        self.ran: list[str] = []
        self.things = app.table("things", partition_key="pk", sort_key="sk", order=order)
        self.out = app.queue("out")
        self.letter = app.function(retries=0)(self._named("letter"))
        self.hold = app.function(retries=0, exhausted="park")(self._named("hold"))

        @self.things.on()
        def route(change: Change) -> Any:
            sk = change.keys["sk"]
            if self.broken and sk.startswith("route"):
                self.meanwhile()
                raise KeyError(sk)
            request = {"key": f"{change.keys['pk']}:{sk}"}
            if "letter" in sk:
                return self.letter.later(**request)
            return self.hold.later(**request) if "hold" in sk else self.out.send(request["key"])

        self.parts = Parts(app, environment)
        self.pipeline = self.parts.pipeline(self.things)
        self.pipeline.watch(threading.Event())
        self.dispatchers = [Dispatching(environment, clock, each) for each in (self.letter, self.hold)]
        self.parked = EmbeddedParked(environment)

    def _named(self, name: str) -> Any:
        def function(request: Any, context: Context) -> None:
            if self.broken and request["key"].endswith(("fail", "fail2")):
                raise ValueError(request["key"])
            self.ran.append(request["key"])

        function.__name__ = name
        return function

    def write(self, *keys: str) -> None:
        for key in keys:
            pk, sk = key.split(":")
            self.parts.dynamo.put(pk=pk, sk=sk, say=str(self.clock.now_us))
            self.clock.advance(s=1)
        self.run()

    def run(self) -> None:
        """Everything that can happen, happens."""
        # Who is waiting hears of a commit after it is answered, and before the next one begins.
        self.environment.write(lambda _: None)
        while self.pipeline.run_once() is not None:
            pass
        for dispatcher in self.dispatchers:
            dispatcher.settle()

    def entries(self, after: str = "", **selection: Any) -> list[ParkedEntry]:
        return list(self.parked.entries(Selection(**selection), after=after))

    def close(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.close()


@pytest.fixture
def shop(environment: Environment, clock: Clock) -> Iterator[Shop]:
    shop = Shop(environment, clock)
    yield shop
    shop.close()


def summary(entries: list[ParkedEntry]) -> list[tuple[Any, ...]]:
    return sorted((each.kind, each.held_in, each.lane, each.attempts, each.behind) for each in entries)


def test_each_failure_is_one_entry_with_what_waits_behind_it(shop: Shop) -> None:
    shop.write("a:route1", "a:route2", "a:2", "b:letter-fail", "b:letter2", "c:hold-fail", "c:hold2", "d:route3")
    entries = shop.entries()
    assert summary(entries) == [
        ("change", "things", "things/a", 1, 2),
        ("change", "things", "things/d", 1, 0),
        ("dead letter", "function-letter", "things/b", 1, 0),
        ("message", "function-hold", "things/c", 1, 1),
    ]
    assert [each.place for each in entries] == sorted(each.place for each in entries)
    by_lane = {each.lane: each for each in entries}
    change, letter, held = by_lane["things/a"], by_lane["things/b"], by_lane["things/c"]
    assert change.failure is not None and letter.failure is not None and held.failure is not None
    assert change.payload["dynamodb"]["Keys"] == {"pk": {"S": "a"}, "sk": {"S": "route1"}}
    assert change.failure.reason.startswith("RouteFailed: route route: KeyError: 'route1'")
    assert (letter.payload, held.payload) == ({"body": {"key": "b:letter-fail"}}, {"body": {"key": "c:hold-fail"}})
    assert [each.failure.raised_by for each in (change, letter, held) if each.failure] == ["route", "letter", "hold"]
    assert (letter.condition, held.condition) == ("attempts exhausted", "attempts exhausted")
    assert "in Shop._named.<locals>.function" in letter.failure.traceback
    assert shop.ran == ["b:letter2"]


def test_a_selection_admits_what_everything_given_holds_for(shop: Shop, clock: Clock) -> None:
    shop.write("a:route1", "b:letter-fail", "c:hold-fail", "d:route3")
    first, *_ = shop.entries(lane="things/a")
    assert first.failure is not None
    assert [each.lane for each in shop.entries(held_in="function-hold")] == ["things/c"]
    assert [each.lane for each in shop.entries(raised_by="letter")] == ["things/b"]
    assert sorted(each.lane for each in shop.entries(fingerprint=first.failure.fingerprint)) == ["things/a", "things/d"]
    assert shop.entries(fingerprint=first.failure.fingerprint, raised_by="letter") == []
    assert [each.lane for each in shop.entries(since_ms=first.parked_at_ms, until_ms=first.parked_at_ms + 1)]
    assert shop.entries(until_ms=first.parked_at_ms) == []
    assert shop.entries(since_ms=clock.now_ms + 1) == []


def test_a_redrive_runs_lanes_in_order_and_once(shop: Shop) -> None:
    shop.write("a:route1", "a:2", "c:hold-fail", "c:hold-fail2", "c:hold3", "b:letter-fail")
    shop.broken = False
    assert shop.parked.redrive(Selection(), limit=100) == Portion(3, None)
    shop.run()
    assert shop.parts.queue("out") == ["a:route1", "a:2"]
    assert sorted(shop.ran) == ["b:letter-fail", "c:hold-fail", "c:hold-fail2", "c:hold3"]
    assert [key for key in shop.ran if key[0] == "c"] == ["c:hold-fail", "c:hold-fail2", "c:hold3"]
    assert shop.entries() == []
    assert shop.parked.redrive(Selection(), limit=100) == Portion(0, None)
    shop.run()
    assert len(shop.ran) == 4


def test_only_what_is_selected_is_redriven_and_what_fails_again_is_parked_again(shop: Shop, clock: Clock) -> None:
    shop.write("a:route1", "d:route2", "c:hold-fail")
    since = {each.lane: each.parked_at_ms for each in shop.entries()}
    clock.advance(s=100)
    assert shop.parked.redrive(Selection(lane="things/a"), limit=9) == Portion(1, None)
    shop.run()
    assert summary(shop.entries()) == [
        ("change", "things", "things/a", 2, 0),
        ("change", "things", "things/d", 1, 0),
        ("message", "function-hold", "things/c", 1, 0),
    ]
    # It waits since it failed first.
    assert {each.lane: each.parked_at_ms for each in shop.entries()} == since


def test_a_request_goes_on_in_portions(shop: Shop) -> None:
    shop.write(*(f"k{number}:{kind}" for number in range(3) for kind in ("route", "hold-fail", "letter-fail")))
    # The lanes that the route failed on keep the others of their key back.
    shop.write(*(f"l{number}:{kind}" for number in range(3) for kind in ("letter-fail", "hold-fail")))
    everything = [each.place for each in shop.entries()]
    assert len(everything) == 9
    shop.broken = False
    after, counts = "", []
    while True:
        portion = shop.parked.redrive(Selection(), after=after, limit=2)
        counts.append(portion.entries)
        if portion.next is None:
            break
        after = portion.next
        assert after in everything
    assert counts == [2, 2, 2, 2, 1]
    shop.run()
    assert shop.entries() == []
    assert len(shop.ran) == 12


def test_dropping_a_failure_lets_its_lane_go_on(shop: Shop) -> None:
    shop.write("a:route1", "a:2", "a:3", "c:hold-fail", "c:hold2", "b:letter-fail")
    assert shop.parked.drop(Selection(), limit=100) == Portion(3, None)
    shop.write("a:4")
    assert shop.parts.queue("out") == ["a:2", "a:3", "a:4"]
    assert shop.ran == ["c:hold2"]
    assert shop.entries() == []
    assert shop.parts.queue("function-letter-dead-letters") == []


def test_dropping_a_whole_lane_leaves_nothing_of_it_and_holds_nothing_up(shop: Shop) -> None:
    shop.write("a:route1", "a:2", "c:hold-fail", "c:hold2")
    assert shop.parked.drop(Selection(), limit=100, whole_lane=True) == Portion(2, None)
    shop.write("a:3", "c:hold3")
    assert shop.parts.queue("out") == ["a:3"]
    assert shop.ran == ["c:hold3"]
    assert shop.dispatchers[1].depth() == 0


def test_a_lane_whose_next_change_fails_too_is_parked_there(shop: Shop) -> None:
    shop.write("a:route1", "a:route2", "a:3")
    shop.parked.drop(Selection(lane="things/a"), limit=1)
    (waiting,) = shop.entries()
    assert (waiting.failure, waiting.condition, waiting.behind) == (None, "its predecessor was dropped", 1)
    shop.run()
    (parked_again,) = shop.entries()
    assert parked_again.failure is not None and "route2" in parked_again.failure.reason


def test_what_is_dropped_while_its_lane_is_tried_again_stays_dropped(shop: Shop) -> None:
    shop.write("a:route1", "a:2", "b:route2")
    shop.parked.redrive(Selection(lane="things/a"), limit=1)

    def drop() -> None:
        shop.meanwhile = lambda: None
        shop.parked.drop(Selection(lane="things/a"), limit=1)

    shop.meanwhile = drop
    shop.run()
    shop.write("a:3")
    assert [each.lane for each in shop.entries()] == ["things/b"]
    assert shop.parts.queue("out") == ["a:2", "a:3"]


def newer(shop: Shop, *entries: ParkedEntry, order: Any = "partition_key") -> dict[str, int]:
    """How many newer changes were delivered past each entry, by its id."""
    stream = shop.environment.state["catalog"]["things"].stream
    orderings = {"things": Ordering(stream, lanes_by(order, "pk", "sk"), is_ordered=order != "none")}
    with shop.environment.read() as transaction:
        counts = newer_changes(transaction, entries, orderings)
    return {str(each.id): counts.get(each.place, 0) for each in entries}


def test_newer_changes_that_were_delivered_past_a_failure_are_counted(shop: Shop) -> None:
    shop.write("b:letter-fail", "b:letter2", "b:3", "x:1", "a:route1", "a:route1", "c:hold-fail", "c:hold2")
    counted = newer(shop, *shop.entries())
    counts = {each.lane: counted[str(each.id)] for each in shop.entries()}
    # Only the dead letter's lane has gone on.
    assert counts == {"things/b": 2, "things/a": 0, "things/c": 0}


@pytest.mark.parametrize("order", ["partition_key", "none"])
def test_newer_changes_past_many_failures_are_counted_in_one_pass(
    order: Any, environment: Environment, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(environment, clock, order=order)
    parts = ["a:letter-fail", "b:letter-fail", "a:2", "a:route1", "a:letter-fail", "b:route1", "a:5", "b:6"]
    for part in parts:
        shop.write(part)
        clock.advance(ms=1)
    shop.broken = False
    shop.write("a:route1", "b:route1")
    passes: list[Any] = []
    read = change_log.read

    def counted(*given: Any) -> Any:
        passes.append(given)
        return read(*given)

    monkeypatch.setattr(change_log, "read", counted)
    entries = shop.entries()
    together = newer(shop, *entries, order=order)
    assert len(passes) == 1
    each_alone: dict[str, int] = {}
    for entry in entries:
        each_alone |= newer(shop, entry, order=order)
    assert together == each_alone
    assert len(together) >= 4
    assert len(set(together.values())) > 1
    shop.close()


def test_nothing_newer_is_past_a_change_whose_lane_has_run_since_it_was_looked_at(shop: Shop) -> None:
    shop.write("a:route1", "a:2")
    (looked_at,) = shop.entries()
    shop.parked.drop(Selection(lane="things/a"), limit=1)
    shop.run()
    assert shop.parts.queue("out") == ["a:2"]
    assert newer(shop, looked_at) == {str(looked_at.id): 0}


def test_without_order_a_failure_holds_back_itself_only_and_newer_versions_are_told(
    environment: Environment, clock: Clock
) -> None:
    shop = Shop(environment, clock, order="none")
    shop.write("a:route1", "a:2", "a:3")
    shop.broken = False
    shop.write("a:route1")
    (entry,) = shop.entries()
    assert entry.lane.startswith("things/a/") and entry.behind == 0
    assert shop.parts.queue("out").count("a:route1") == 1
    assert newer(shop, entry, order="none") == {str(entry.id): 1}
    shop.close()


def test_a_lane_as_narrow_as_an_item_holds_back_the_item_only(environment: Environment, clock: Clock) -> None:
    shop = Shop(environment, clock, order="item")
    shop.write("a:route1", "a:2", "a:route1")
    (entry,) = shop.entries()
    assert (entry.lane, entry.behind) == ("things/a/route1", 1)
    assert shop.parts.queue("out") == ["a:2"]
    shop.close()


@pytest.mark.parametrize(
    ("place", "is_one"),
    [("", True), ("0/things/00ff", True), ("3/1f-2a/30", True), ("4/things/00", False), ("0/things", False)],
)
def test_a_place_is_known_by_its_form(place: str, is_one: bool) -> None:
    assert parked.is_place(place) is is_one
