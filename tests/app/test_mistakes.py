"""What a newcomer writes wrongly is refused where it is declared, before any change can be lost or parked by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from afterwrite import App, DeclarationError, Key

Mistake = Callable[[App], Any]


def two(request: Any, context: Any) -> None: ...
def one(request: Any) -> None: ...
def none() -> None: ...
async def awaited(change: Any) -> None: ...
async def awaited_later(request: Any, context: Any) -> None: ...


def orders(app: App) -> Any:
    return app.table("orders", partition_key="PK")


MISTAKES: list[tuple[str, Mistake]] = [
    (r"the route none to take \(change\), got none\(\)", lambda app: orders(app).on()(none)),
    (r"the route two to take \(change\), got two\(request, context\)", lambda app: orders(app).on()(two)),
    (r"the route awaited to be a plain def, got an async one", lambda app: orders(app).on()(awaited)),
    (r"expected parentheses: write @….on\(\)", lambda app: orders(app).on(one)),
    (r"the function one to take \(request, context\), got one\(request\)", lambda app: app.function()(one)),  # type: ignore[arg-type]
    (r"the function awaited_later to be a plain def", lambda app: app.function()(awaited_later)),
    (r"the consumer one to take \(message, context\)", lambda app: app.queue("mail").consumer()(one)),  # type: ignore[arg-type]
    (r"the model none to take \(request\)", lambda app: app.model("m")(none)),  # type: ignore[arg-type]
    (r"the view none to take \(item\)", lambda app: app.cache("c", url="redis://h/0").view(orders(app))(none)),  # type: ignore[arg-type]
    (r"the document none to take \(item\)", lambda app: app.search_index("s").documents(orders(app))(none)),  # type: ignore[arg-type]
    (r"the target to be callable with .*, got 'http://x'", lambda app: app.target("t", "http://x")),  # type: ignore[arg-type]
    (r"the target to be callable", lambda app: app.queue("mail").target("t", "http://x")),  # type: ignore[arg-type]
    (
        r"expected a queue as a subscription of news, got .*Function",
        lambda app: app.topic("news").subscribe(app.function()(two)),  # type: ignore[arg-type]
    ),
    (
        r"expected scope to be one of MessageAttributes, MessageBody, got 'Body'",
        lambda app: app.topic("news").subscribe(app.queue("mail"), scope="Body"),  # type: ignore[arg-type]
    ),
    (
        r"expected a queue, topic, bus, delivery stream, audit log or function as the target .* got 'mail'",
        lambda app: orders(app).pipe(to="mail"),
    ),
    (r"expected a topic to publish alarms to, got 'ops'", lambda app: app.alarms(to="ops")),  # type: ignore[arg-type]
    (r"the type of the key id to be one of S, N, B, got 'X'", lambda app: Key("id", "X")),  # type: ignore[arg-type]
    (
        r"expected partition_key of orders to be an attribute's name or a Key, got 5",
        lambda app: app.table("orders", partition_key=5),  # type: ignore[arg-type]
    ),
    (
        r"two attributes as the keys of orders, got 'PK' twice",
        lambda app: app.table("orders", partition_key="PK", sort_key="PK"),
    ),
    (
        r"ttl of orders to be the name of the attribute with the epoch seconds, got 3600",
        lambda app: app.table("orders", partition_key="PK", ttl=3600),  # type: ignore[arg-type]
    ),
    (r"retain_days of at least 1, got 0", lambda app: app.audit_log("log", retain_days=0)),
    (r"expected fields=\('name',\) for s, a sequence of names", lambda app: app.search_index("s", fields="name")),
]


@pytest.mark.parametrize(("message", "mistake"), MISTAKES)
def test_a_mistake_is_refused_with_what_was_expected(message: str, mistake: Mistake) -> None:
    with pytest.raises(DeclarationError, match=message):
        mistake(App("shop"))


def several(*anything: Any) -> None: ...


def optional(change: Any, note: str = "") -> None: ...


def test_code_that_takes_more_than_it_is_given_is_accepted() -> None:
    app = App("shop")
    assert app.function()(several).name == "several"
    assert orders(app).on()(optional) is optional
