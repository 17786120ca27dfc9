"""The playbook: what is written, and what it leads to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from afterwrite import INSERT, MODIFY, App, Change, Effect
from afterwrite.core.effects import Enqueue
from afterwrite.core.lanes import Order
from afterwrite.errors import DeclarationError
from afterwrite.testing import Playbook, delete, expire, failure, nothing, put

app = App("playbook")
things = app.table("things", partition_key="pk", sort_key="sk")
keys_only = app.table("keys-only", partition_key="pk", view_type="KEYS_ONLY")
out, news = app.queue("out"), app.topic("news")


@things.on(INSERT)
def greet(change: Change) -> Effect:
    return out.send({"new": change.keys["pk"]})


@things.on(MODIFY, changed="status")
def follow(change: Change) -> list[Effect]:
    assert change.new and change.old
    return [news.publish(f"{change.old['status']} to {change.new['status']}"), out.send(change.new["n"])]


@things.on("REMOVE")
def part(change: Change) -> Any:
    return out.send("expired" if change.by_ttl else "deleted")


@keys_only.on()
def look(change: Change) -> Any:
    return out.send([change.new, change.old])


BEGUN = Playbook(app) >> put(things, pk="a", sk="1", status="x", n=1) << out.send({"new": "a"})


def test_a_transcript_that_holds() -> None:
    assert (
        BEGUN
        >> put(things, pk="a", sk="1", status="x", n=1)  # S18: nothing has changed
        << nothing
        >> put(things, pk="a", sk="1", status="y", n=2)
        << news.publish("x to y")
        << out.send(2)
        >> delete(things, pk="a", sk="1")
        << out.send("deleted")
        >> delete(things, pk="a", sk="1")
        >> put(things, pk="b", sk="1")
        << out.send({"new": "b"})
        >> expire(things, pk="b", sk="1")
        << out.send("expired")
    )


def test_a_view_without_images_shows_none() -> None:
    assert Playbook(app) >> put(keys_only, pk="a", x=1) << out.send([None, None])


def test_a_failing_route_parks_its_lane() -> None:
    assert (
        BEGUN
        >> put(things, pk="a", sk="1", status="y")
        << failure("KeyError: 'n'")
        >> put(things, pk="a", sk="2")
        << nothing
        >> put(things, pk="b", sk="2")
        << out.send({"new": "b"})
    )


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (out.send(object()), "route asks, effect 0: TypeError: expected JSON values, .* got object"),
        (out.send(float("nan")), "expected a number that JSON can hold, got nan"),
        (out.send("late", delay_s=31 * 86_400), "expected a delay of 0 to 2592000 s"),
        (App("another").queue("elsewhere").send("x"), "'elsewhere'"),
    ],
)
def test_what_the_engine_would_not_take_is_a_failure(effect: Effect, words: str) -> None:
    app = App("asking")
    table = app.table("things", partition_key="pk")
    app.queue("out")

    @table.on()
    def asks(change: Change) -> list[Effect]:
        return [effect]

    ((found,), waits) = (Playbook(app) >> put(table, pk="a") >> put(table, pk="a", n=1)).played()
    assert isinstance(found, failure)
    assert re.search(words, found.words)
    assert waits == []


@pytest.mark.parametrize(("order", "run"), [("partition_key", ""), ("item", "b1"), ("none", "a1 b1")])
def test_what_waits_behind_a_failure_is_what_the_table_keeps_in_order(order: Order, run: str) -> None:
    app = App("ordered")
    table = app.table("things", partition_key="pk", sort_key="sk", order=order)
    told = app.queue("told")

    @table.on()
    def tell(change: Change) -> Effect:
        assert change.new
        return told.send(change.new["sk"] + str(change.new["n"]))

    playbook = Playbook(app) >> put(table, pk="p", sk="a") >> put(table, pk="p", sk="a", n=1)
    failed, *rest = (playbook >> put(table, pk="p", sk="b", n=1)).played()
    assert isinstance(failed[0], failure)
    assert [each.body for effects in rest for each in effects if isinstance(each, Enqueue)] == run.split()


def test_a_transcript_that_differs_is_shown_with_what_was_found() -> None:
    playbook = BEGUN >> put(things, pk="a", sk="1", status="y", n=2) << out.send(2) >> put(things, pk="b", sk="1")
    with pytest.raises(AssertionError) as difference:
        assert playbook
    assert str(difference.value).splitlines()[1:] == [
        "    >> put(things, pk='a', sk='1', status='x', n=1)",
        f"    << {out.send({'new': 'a'})!r}",
        "    >> put(things, pk='a', sk='1', status='y', n=2)",
        f"  - << {out.send(2)!r}",
        f"  + << {news.publish('x to y')!r}",
        "  - << nothing",
        f"  + << {out.send(2)!r}".replace("body=2", "body=Decimal('2')"),
        "    >> put(things, pk='b', sk='1')",
        "  - << nothing",
        f"  + << {out.send({'new': 'b'})!r}",
    ]


@pytest.mark.parametrize("routes", [[greet, "part"], ["part", "greet"], (each for each in (part, greet))])
def test_only_the_routes_that_are_asked_for_run(routes: Any) -> None:
    assert (
        Playbook(app, routes=routes)
        >> put(things, pk="a", sk="1")
        << out.send({"new": "a"})
        >> put(things, pk="a", sk="1", status="y")  # the route that follows it would fail
        << nothing
        >> delete(things, pk="a", sk="1")
        << out.send("deleted")
        >> put(keys_only, pk="a")
        << nothing
    )


def test_one_route_needs_no_list() -> None:
    for routes in (look, "look"):
        playbook = Playbook(app, routes=routes)
        assert playbook >> put(keys_only, pk="a") << out.send([None, None]) >> put(things, pk="a", sk="1") << nothing


elsewhere = App("elsewhere").table("elsewhere", partition_key="pk")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda: put("things", pk="a"), "expected a table of an app first, got 'things'"),  # type: ignore[arg-type]
        (lambda: put(things, pk=5, sk="1"), "expected the key pk of things to be of the type S, got 5"),
        (lambda: put(elsewhere, pk="a"), "expected a table of the app playbook, got elsewhere of another App"),
    ],
)
def test_a_write_that_no_table_of_the_app_can_have_is_refused(write: Callable[[], Any], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        Playbook(app) >> write()


def test_views_and_pipes_are_routes_too() -> None:
    shop = App("shop")
    items, queue = shop.table("items", partition_key="pk"), shop.queue("queue")
    cache = shop.cache("shown", url="redis://127.0.0.1")
    pipe = items.pipe(to=queue, transform='"<$.eventName>"')

    @cache.view(items)
    def show(item: Any) -> dict[str, str]:
        return {item["pk"]: "1"}

    assert Playbook(shop, routes=pipe.name) >> put(items, pk="a") << queue.send("INSERT")
    ((shown,),) = (Playbook(shop, routes=show) >> put(items, pk="a")).played()
    assert shown == cache.show("items/a", {"a": "1"}, version=str(shown.version))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        (["greet", "gret"], r"expected routes of playbook \(greet, follow, part, look\), got 'gret'"),
        (len, r"expected routes of playbook \(greet, follow, part, look\), got 'len'"),
        ([5], r"expected routes of playbook \(greet, follow, part, look\), got 5"),
        ([], r"expected routes of playbook \(greet, follow, part, look\), got none"),
    ],
)
def test_routes_that_the_app_has_not_are_refused(routes: Any, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        Playbook(app, routes=routes)


def test_what_cannot_be_played_is_refused() -> None:
    with pytest.raises(DeclarationError):
        Playbook(app) << nothing
    with pytest.raises(DeclarationError):
        BEGUN << 5  # type: ignore[operator]
    with pytest.raises(DeclarationError):
        put(things, pk="a")
