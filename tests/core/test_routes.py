"""Routes: which changes they run on, what they may return, and what a failing one says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from afterwrite.core.changes import INSERT, MODIFY, REMOVE, Change
from afterwrite.core.conditions import less_than, prefix
from afterwrite.core.effects import Enqueue, StampedEffect
from afterwrite.core.routes import Guard, Handler, Route, RouteFailed, Router
from afterwrite.errors import DeclarationError


def change(event_name: str = INSERT, *, sk: str = "TURN#1", old: Any = None, new: Any = None) -> Change:
    return Change(
        id="c1",
        table="t",
        event_name=event_name,
        keys={"pk": {"S": "p"}, "sk": {"S": sk}},
        old_image=old,
        new_image=new,
        created_at_us=5_000,
    )


def route(handler: Handler, name: str = "r", **guard: Any) -> Route:
    return Route(name, "t", Guard(**guard), handler)


def send(number: int = 1) -> Enqueue:
    return Enqueue("q", number)


def plan(*routes: Route, of: Change | None = None) -> list[StampedEffect]:
    return Router(routes).plan(of or change(), "t/p")


def runs(each: Change, **guard: Any) -> bool:
    return bool(plan(route(lambda _: send(), **guard), of=each))


@pytest.mark.parametrize("event_name", [INSERT, MODIFY, REMOVE])
def test_event_names_guard(event_name: str) -> None:
    assert runs(change(event_name))
    assert runs(change(event_name), event_names=frozenset([event_name]))
    assert not runs(change(event_name), event_names=frozenset({INSERT, MODIFY, REMOVE} - {event_name}))


def test_keys_guard() -> None:
    assert runs(change(), keys={"sk": prefix("TURN#")})
    assert runs(change(), keys={"sk": ["META", prefix("TURN#")]})
    assert not runs(change(), keys={"sk": "META"})
    assert not runs(change(), keys={"sk": prefix("TURN#"), "pk": "other"})
    assert not runs(change(), keys={"absent": "x"})


def test_guards_on_a_number_in_the_key() -> None:
    numbered = Change(id="c1", table="t", event_name=INSERT, keys={"pk": {"S": "p"}, "sk": {"N": "7"}})
    assert runs(numbered, keys={"sk": 7})
    assert not runs(numbered, keys={"sk": "7"})
    assert not runs(numbered, keys={"sk": less_than(7)})
    assert not runs(change(sk="7"), keys={"sk": 7})


def test_routes_keep_their_order_whatever_their_guards_ask_for() -> None:
    on_sort_key, on_partition_key = {"sk": prefix("TURN#")}, {"pk": "p"}
    guards = [on_sort_key, {}, on_sort_key, on_partition_key, {"pk": "p", "sk": "TURN#1"}, {"sk": "META"}, on_sort_key]
    routes = [route(lambda _: send(), f"r{number}", keys=keys) for number, keys in enumerate(guards)]
    assert [stamped.id for stamped in plan(*routes)] == [f"c1/r{number}/0" for number in (0, 1, 2, 3, 4, 6)]


def test_a_key_that_is_no_attribute_value_is_the_failure_of_the_first_route_that_looks_at_it() -> None:
    broken = Change(id="c1", table="t", event_name=INSERT, keys={"pk": {"S": "p"}, "sk": "TURN#1"})  # type: ignore[dict-item]
    routes = [route(lambda _: send(), "any"), route(lambda _: send(), "turns", keys={"sk": prefix("TURN#")})]
    with pytest.raises(RouteFailed, match="turns"):
        plan(*routes, of=broken)


def test_images_guard() -> None:
    each = change(MODIFY, old={"s": {"S": "a"}}, new={"s": {"S": "b"}, "n": {"N": "5"}})
    assert runs(each, old={"s": "a"}, new={"s": "b"})
    assert not runs(each, old={"s": "b"})
    assert runs(each, new={"n": {"numeric": [">", 4]}})
    assert runs(each, old={"n": {"exists": False}})
    assert not runs(change(), new={"s": "b"})


def test_changed_guards_on_any_of_the_attributes() -> None:
    each = change(MODIFY, old={"a": {"S": "1"}, "b": {"S": "1"}}, new={"a": {"S": "2"}, "b": {"S": "1"}})
    assert runs(each, changed=("a",))
    assert runs(each, changed=("b", "a"))
    assert not runs(each, changed=("b",))


def test_effects_are_stamped_with_ids_that_the_same_change_gives_again() -> None:
    routes = [route(lambda _: [send(1), send(2)], "two"), route(lambda _: send(3), "one")]
    planned = plan(*routes)
    assert planned == [
        StampedEffect("c1/two/0", "t/p", 5, send(1)),
        StampedEffect("c1/two/1", "t/p", 5, send(2)),
        StampedEffect("c1/one/0", "t/p", 5, send(3)),
    ]
    assert plan(*routes) == planned


def generator(_: Change) -> Iterator[Enqueue]:
    yield send(1)
    yield send(2)


@pytest.mark.parametrize(
    ("handler", "count"),
    [
        (lambda _: None, 0),
        (lambda _: [], 0),
        (lambda _: send(), 1),
        (lambda _: (send(), send()), 2),
        (generator, 2),
    ],
    ids=["none", "empty", "one", "tuple", "generator"],
)
def test_a_route_may_return(handler: Handler, count: int) -> None:
    assert len(plan(route(handler))) == count


def raising(error: BaseException) -> Handler:
    def handler(_: Change) -> None:
        raise error

    return handler


def failing_generator(_: Change) -> Iterator[Enqueue]:
    yield send()
    raise TypeError("in the middle")


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (raising(ValueError("bad item")), "route r: ValueError: bad item"),
        (raising(SystemExit(3)), "route r: SystemExit: 3"),
        (failing_generator, "route r: TypeError: in the middle"),
        (lambda _: 5, "route r: expected an effect, effects or None, got int"),
        (lambda _: "text", "route r: expected an effect, effects or None, got str"),
        (lambda _: [send(), None], "route r: expected effects, got NoneType among them"),
        (lambda _: {"queue": 1}, "route r: expected an effect, effects or None, got dict: return what to do, such as "),
    ],
    ids=["raises", "exits", "generator-raises", "number", "text", "none-among-them", "dict"],
)
def test_a_route_that_fails_says_which_and_why(handler: Any, words: str) -> None:
    with pytest.raises(RouteFailed) as failure:
        plan(route(handler))
    assert words in str(failure.value)
    assert failure.value.route == "r"


def test_a_guard_that_fails_is_its_routes_failure() -> None:
    broken = Change(id="c", table="t", event_name=INSERT, keys=b"no JSON")
    with pytest.raises(RouteFailed, match="route r"):
        plan(route(lambda _: None, keys={"sk": "x"}), of=broken)


def test_two_routes_of_a_table_may_not_share_their_name() -> None:
    with pytest.raises(DeclarationError, match="named 'same'"):
        Router([route(lambda _: None, "same"), route(lambda _: None, "same")])
