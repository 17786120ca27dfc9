"""What a newcomer writes wrongly is refused where it is declared, before any change can be lost or parked by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import afterwrite
from afterwrite import (
    INSERT,
    MODIFY,
    REMOVE,
    App,
    DeclarationError,
    GlobalIndex,
    Key,
    Webhook,
    absent,
    anything_but,
    between,
    exists,
    less_than,
    open_engine,
    prefix,
)

Mistake = Callable[[App], Any]


def two(request: Any, context: Any) -> None: ...
def one(request: Any) -> None: ...
def none() -> None: ...
async def awaited(change: Any) -> None: ...
async def awaited_later(request: Any, context: Any) -> None: ...
def yielding(request: Any, context: Any) -> Iterator[int]:
    yield 1


def orders(app: App) -> Any:
    return app.table("orders", partition_key="PK")


def mapped(app: App, handler: Any, **parameters: Any) -> Any:
    return orders(app).event_source_mapping(handler, **parameters)


MISTAKES: list[tuple[str, Mistake]] = [
    (r"the route none to take \(change\), got none\(\)", lambda app: orders(app).on()(none)),
    (r"the route two to take \(change\), got two\(request, context\)", lambda app: orders(app).on()(two)),
    (r"the route awaited to be a plain def, got an async one", lambda app: orders(app).on()(awaited)),
    (r"expected parentheses: write @….on\(\)", lambda app: orders(app).on(one)),
    (r"write @….function\(\), got it without them on two", lambda app: app.function(two)),  # type: ignore[call-arg, arg-type]
    (r"write @….consumer\(\), got it", lambda app: app.queue("mail").consumer(two)),  # type: ignore[call-arg, arg-type]
    (r"write @….model\(model_id\), got it", lambda app: app.model(one)),  # type: ignore[arg-type]
    (r"write @….view\(table\), got it", lambda app: app.cache("c", url="redis://h/0").view(one)),  # type: ignore[arg-type]
    (r"write @….documents\(table\), got it", lambda app: app.search_index("s").documents(one)),  # type: ignore[arg-type]
    (
        r"expected App.table\(name, \*, partition_key, .*\): got an unexpected keyword argument 'hash_key'",
        lambda app: app.table("orders", partition_key="PK", hash_key="PK"),  # type: ignore[call-arg]
    ),
    (
        r"expected App.table\(.*\): missing a required (keyword-only )?argument: 'partition_key'",
        lambda app: app.table("orders"),  # type: ignore[call-arg]
    ),
    (r"expected App\(name\): missing a required argument: 'name'", lambda app: App()),  # type: ignore[call-arg]
    (r"retries of App.function to be a whole number, got '3'", lambda app: app.function(retries="3")),  # type: ignore[arg-type]
    (r"name of App.queue to be a text, got 5", lambda app: app.queue(5)),  # type: ignore[arg-type]
    (
        r"new to map attributes to conditions, such as .*, got 'status'",
        lambda app: orders(app).on(new="status"),
    ),
    (r"changed to be an attribute's name, or several, got 5", lambda app: orders(app).on(changed=5)),
    (r"the audit log's name to be 1 to 255 letters", lambda app: app.audit_log("order log")),
    (r"the function one to take \(request, context\), got one\(request\)", lambda app: app.function()(one)),  # type: ignore[arg-type]
    (r"the function awaited_later to be a plain def", lambda app: app.function()(awaited_later)),
    (
        r"the function yielding to be a plain def, got a generator, whose code nothing runs: return what it answers",
        lambda app: app.function()(yielding),
    ),
    (r"the consumer yielding to be a plain def, got a gen", lambda app: app.queue("mail").consumer()(yielding)),
    (r"the handler yielding to be a plain def, got a generator", lambda app: mapped(app, yielding)),
    (
        r"expected a table for the search index s to find, got 'orders': give what the app's declaration returned",
        lambda app: app.search_index("s").documents("orders"),  # type: ignore[arg-type]
    ),
    (
        r"expected a table for the cache c to show, got 'orders': give what the app's declaration returned",
        lambda app: app.cache("c", url="redis://h/0").view("orders"),  # type: ignore[arg-type]
    ),
    (r"a webhook's secret to be text, .*, got int", lambda app: Webhook("https://example.org", secret=5)),  # type: ignore[arg-type]
    (
        r"expected at least one target of the rule all, got none: name the queues, functions or delivery streams",
        lambda app: app.bus("events").rule("all", {"source": ["shop"]}, to=[]),
    ),
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
    (
        r"expected a function as the enrichment of a pipe from orders, got <function two .*: decorate it with @app",
        lambda app: orders(app).pipe(to=app.queue("mail"), enrich=two),
    ),
    (
        r"expected a pattern, or a list of them, as the filter of orders-to-mail, got '{}'",
        lambda app: orders(app).pipe(to=app.queue("mail"), filter="{}"),
    ),
    (
        r"expected a pattern, or a list of them, as the filter of orders-to-mail, got \[5\]",
        lambda app: orders(app).pipe(to=app.queue("mail"), filter=[5]),
    ),
    (r"expected 1 to 5 patterns as .*, got 0", lambda app: orders(app).pipe(to=app.queue("mail"), filter=[])),
    (
        r"to of Bus.rule to be a list, got Queue",
        lambda app: app.bus("events").rule("all", {}, to=app.queue("mail")),  # type: ignore[arg-type]
    ),
    (
        r"expected a queue, delivery stream or function as a target of the rule all, got <function two",
        lambda app: app.bus("events").rule("all", {"source": ["shop"]}, to=[two]),  # type: ignore[list-item]
    ),
    (
        r"pattern of Bus.rule to be a mapping, got '{}'",
        lambda app: app.bus("events").rule("all", "{}", to=[]),  # type: ignore[arg-type]
    ),
    (
        r"filter_policy of Topic.subscribe to be a mapping or None, got \['paid'\]",
        lambda app: app.topic("news").subscribe(app.queue("mail"), filter_policy=["paid"]),  # type: ignore[arg-type]
    ),
    (r"the target to be callable with .*, got 'smtp://h'", lambda app: app.function(sends=["smtp://h"])(two)),  # type: ignore[list-item]
    (
        r"the target to be callable with .*, got 'smtp://h'",
        lambda app: app.queue("mail").consumer(sends=["smtp://h"])(two),  # type: ignore[list-item]
    ),
    (r"sends of App.function to be a list, got", lambda app: app.function(sends=two)),  # type: ignore[arg-type]
    (r"expected a topic to publish alarms to, got 'ops'", lambda app: app.alarms(to="ops")),  # type: ignore[arg-type]
    (
        r"expected a GlobalIndex among the indexes of orders, got 'status': write GlobalIndex\(name, partition_key=…\)",
        lambda app: app.table("orders", partition_key="PK", indexes=["status"]),  # type: ignore[list-item]
    ),
    (r"indexes of App.table to be a list, got 5", lambda app: app.table("orders", partition_key="PK", indexes=5)),  # type: ignore[arg-type]
    (
        r"two declarations of the index 'by-a' of orders: rename one",
        lambda app: app.table("orders", partition_key="PK", indexes=[GlobalIndex("by-a", partition_key="a")] * 2),
    ),
    (
        r"one type of the attribute PK in all keys of orders, got S and, in the index by-a, N",
        lambda app: app.table(
            "orders", partition_key="PK", indexes=[GlobalIndex("by-a", partition_key=Key("PK", "N"))]
        ),
    ),
    (
        r"at most 20 indexes of orders, got 21",
        lambda app: app.table(
            "orders", partition_key="PK", indexes=[GlobalIndex(f"by-{n}", partition_key="a") for n in range(21)]
        ),
    ),
    (
        r"at most 100 attributes in the projections of all indexes of orders, got 120: leave some out, or project ALL",
        lambda app: app.table(
            "orders",
            partition_key="PK",
            indexes=[
                GlobalIndex(f"by-{n}", partition_key="a", projection=[f"b{each}" for each in range(20)])
                for n in range(6)
            ],
        ),
    ),
    (r"an index's name to be 3 to 255 letters, .*, got 'by'", lambda app: GlobalIndex("by", partition_key="a")),
    (r"partition_key of the index by-a to be an .*, got 5", lambda app: GlobalIndex("by-a", partition_key=5)),  # type: ignore[arg-type]
    (
        r"projection of the index by-a to be ALL or KEYS_ONLY, or a list of attributes, got 'NONE'",
        lambda app: GlobalIndex("by-a", partition_key="a", projection="NONE"),
    ),
    (
        r"the projection of the index by-a to be an attribute's name, or several, got 5",
        lambda app: GlobalIndex("by-a", partition_key="a", projection=5),  # type: ignore[arg-type]
    ),
    (
        r"the projection of the index by-a to be an attribute's name, or several, got 6",
        lambda app: GlobalIndex("by-a", partition_key="a", projection=["b", 6]),  # type: ignore[list-item]
    ),
    (
        r"expected 1 to 20 attributes in the projection of the index by-a, got 0",
        lambda app: GlobalIndex("by-a", partition_key="a", projection=[]),
    ),
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
    (
        r"ttl of orders to be an attribute with epoch seconds, which are numbers, got the key PK of the type S",
        lambda app: app.table("orders", partition_key="PK", ttl="PK"),
    ),
    (
        r"pattern, at detail.kind: expected an object or a list",
        lambda app: app.bus("events").rule("all", {"detail": {"kind": "paid"}}, to=[app.queue("work")]),
    ),
    (r"retain_days of at least 1, got 0", lambda app: app.audit_log("log", retain_days=0)),
    (r"the handler one to take \(event, context\), got one\(request\)", lambda app: mapped(app, one)),
    (r"the handler awaited_later to be a plain def, got an async one", lambda app: mapped(app, awaited_later)),
    (
        r"the handler to be callable with \(event, context\), got 'shop.handler'",
        lambda app: mapped(app, "shop.handler"),
    ),
    (r"name of 1 to 64 letters, .* got 'ship it': give one", lambda app: mapped(app, two, FunctionName="ship it")),
    (r"name of 1 to 64 letters, .* got '<lambda>': give one", lambda app: mapped(app, lambda event, context: None)),
    (r"timeout_s above 0 and up to 900, got '30'", lambda app: mapped(app, two, timeout_s="30")),
    (
        r"expected a source that is no service's \(aws\.…\), got 'aws\.shop'",
        lambda app: app.bus("b", source="aws.shop"),
    ),
    (r"expected archive_days of at least 1, got -1", lambda app: app.bus("events", archive_days=-1)),
    (
        r"expected columns of lake to map names to types, such as .*, got \['page'\]",
        lambda app: app.delivery_stream("lake", columns=["page"]),  # type: ignore[arg-type]
    ),
    (
        r"expected key to be an attribute's name, or several, got 5",
        lambda app: app.delivery_stream("lake", key=5),  # type: ignore[arg-type]
    ),
    (r"expected a url of redis://, .* for the cache c, got 'localhost'", lambda app: app.cache("c", url="localhost")),
    (r"expected fields=\('name',\) for s, a sequence of names", lambda app: app.search_index("s", fields="name")),
]


@pytest.mark.parametrize(("message", "mistake"), MISTAKES)
def test_a_mistake_is_refused_with_what_was_expected(message: str, mistake: Mistake) -> None:
    with pytest.raises(DeclarationError, match=message):
        mistake(App("shop"))


@pytest.mark.parametrize(
    "given", ["ship", "arn:aws:lambda:eu-west-1:123456789012:function:ship:live", "123456789012:function:ship"]
)
def test_a_mapped_function_may_be_named_by_its_arn(given: str) -> None:
    assert mapped(App("shop"), two, FunctionName=given).function_name == "ship"


@pytest.mark.parametrize("name", ["get", "put", "update", "delete", "query", "scan"])
def test_what_reads_and_writes_a_declared_table_is_said(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"no {name}: .*context.table\('orders'\).{name}\(…\) in a function"):
        getattr(orders(App("shop")), name)
    with pytest.raises(AttributeError, match="'Table' object has no attribute 'putt'"):
        orders(App("shop")).putt()


def test_public_names_are_listed() -> None:
    assert set(afterwrite.__all__) <= set(dir(afterwrite))


def test_what_is_declared_is_shown_by_its_name() -> None:
    app = App("shop")
    table, stream = orders(app), app.kinesis_stream("clicks")
    table.on()(one)
    index, cache = app.search_index("found"), app.cache("shown", url="redis://:secret@h/0")
    bus, function = app.bus("events"), app.function()(two)
    bus.rule("all", {"source": ["shop"]}, to=[function])
    mail, log = app.queue("mail"), app.audit_log("kept")
    declared = [app, table, stream, index, cache, bus, function, mail, log, app.topic("news")]
    assert [repr(each) for each in declared] == [
        "App('shop')",
        "Table('orders')",
        "KinesisStream('clicks')",
        "SearchIndex('found')",
        "Cache('shown')",
        "Bus('events')",
        "Function('two')",
        "Queue('mail')",
        "AuditLog('kept')",
        "Topic('news')",
    ]


Guarded = Callable[[Any], Any]

IMPOSSIBLE: list[tuple[str, Guarded]] = [
    (
        r"that INSERT of orders can meet, got old=\{'status': 'paid'\}, and it has no old image: leave out INSERT, .* "
        r"absent\(\)",
        lambda table: table.on(INSERT, old={"status": "paid"}),
    ),
    (r"that REMOVE of orders .* no new image", lambda table: table.on(REMOVE, new={"status": exists()})),
    (
        r"that INSERT of orders .* got old=",
        lambda table: table.on(INSERT, MODIFY, old={"status": anything_but("paid")}, new={"status": "paid"}),
    ),
    (r"that MODIFY of orders .* got changed='PK', and keys never", lambda table: table.on(MODIFY, changed="PK")),
    (r"the key PK of orders, of the type S, can meet, got 5", lambda table: table.on(partition_key=5)),
    (r"the key PK .* can meet, got \{'numeric'", lambda table: table.on(new={"PK": less_than(5)})),
    (r"the key SK of orders, of the type N, can meet, got 'META'", lambda table: table.on(sort_key="META")),
    (r"the key SK .* got \{'prefix': '1'\}", lambda table: table.on(old={"SK": prefix("1")})),
    (r"the key PK .* got \{'exists': False\}", lambda table: table.on(partition_key=absent())),
]


def two_keys(view_type: str = "NEW_AND_OLD_IMAGES") -> Any:
    return App("shop").table("orders", partition_key="PK", sort_key=Key("SK", "N"), view_type=view_type)


@pytest.mark.parametrize(("message", "guarded"), IMPOSSIBLE)
def test_a_guard_that_no_change_can_meet_is_refused(message: str, guarded: Guarded) -> None:
    with pytest.raises(DeclarationError, match=message):
        guarded(two_keys())


@pytest.mark.parametrize(
    ("view_type", "given"),
    [
        ("KEYS_ONLY", {"new": {"status": "paid"}}),
        ("NEW_IMAGE", {"old": {"status": "paid"}}),
        ("OLD_IMAGE", {"new": {"status": "paid"}}),
        ("NEW_IMAGE", {"changed": "status"}),
    ],
)
def test_a_guard_on_what_the_changes_do_not_carry_is_refused(view_type: str, given: Any) -> None:
    with pytest.raises(DeclarationError, match=rf"{view_type}.*declare it with view_type='NEW_AND_OLD_IMAGES'"):
        two_keys(view_type).on(**given)


POSSIBLE: list[Guarded] = [
    lambda table: table.on(old={"status": "paid"}),
    lambda table: table.on(old={"status": "paid"}, new={"status": "sent"}),
    lambda table: table.on(INSERT, MODIFY, changed="status", new={"status": "paid"}),
    lambda table: table.on(INSERT, MODIFY, old={"status": [absent(), anything_but("paid")]}),
    lambda table: table.on(MODIFY, changed=["SK", "status"]),
    lambda table: table.on(partition_key=["a", 5], sort_key=between(1, 5), new={"PK": exists()}),
]


@pytest.mark.parametrize("guarded", POSSIBLE)
def test_a_guard_that_some_change_meets_is_accepted(guarded: Guarded) -> None:
    assert guarded(two_keys())(optional) is optional


def several(*anything: Any) -> None: ...


def optional(change: Any, note: str = "") -> None: ...


def test_code_that_takes_more_than_it_is_given_is_accepted() -> None:
    app = App("shop")
    assert app.function()(several).name == "several"
    assert orders(app).on()(optional) is optional


def to_a_rule(app: App, other: App) -> None:
    app.bus("events").rule("all", {"source": ["shop"]}, to=[other.queue("mail")])


def to_a_topic(app: App, other: App) -> None:
    app.topic("news").subscribe(other.queue("mail"))


def to_alarms(app: App, other: App) -> None:
    app.alarms(to=other.topic("mail"))


@pytest.mark.parametrize("leads", [to_a_rule, to_a_topic, to_alarms])
def test_what_leads_to_another_app_is_refused_when_an_engine_is_made(
    leads: Callable[[App, App], None], tmp_path: Path
) -> None:
    app = App("shop")
    leads(app, App("other"))
    with pytest.raises(DeclarationError, match=r"declares, got the (queue|topic) mail of another App"):
        open_engine(tmp_path / "data", app)


def test_a_numeric_key_may_say_when_its_item_expires() -> None:
    App("shop").table("locks", partition_key="PK", sort_key=Key("until", "N"), ttl="until")
