"""Declarations: what can be declared, what it means, and what is refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from afterwrite import INSERT, App, Context, DeclarationError, Key, Message, Webhook, prefix
from afterwrite.app import refuse_forgettable_on_aws
from afterwrite.core.effects import Append, Deliver, Enqueue, Invoke, Publish, PutEvent
from afterwrite.core.outcomes import RetryPolicy
from afterwrite.errors import InvalidPattern
from bounds import BOUND_S


@pytest.fixture
def app() -> App:
    return App("shop")


def handle(request: Any, context: Any) -> None: ...


def test_declared_things_make_effects(app: App) -> None:
    function = app.function()(handle)
    assert app.queue("q").send({"a": 1}, delay_s=2) == Enqueue("q", {"a": 1}, 2)
    assert app.topic("t").publish("m", subject="s", attributes={"k": "v"}) == Publish("t", "m", "s", {"k": "v"})
    assert app.bus("b").put("Written", a=1) == PutEvent("b", "shop", "Written", {"a": 1})
    assert app.bus("c", source="else").put("Written") == PutEvent("c", "else", "Written", {})
    assert app.delivery_stream("d").put(a=1) == Deliver("d", {"a": 1})
    assert app.audit_log("l").append(a=1) == Append("l", {"a": 1})
    assert function.later(a=1) == Invoke("handle", {"a": 1})


def test_a_target_is_a_function_whose_work_is_to_send(app: App) -> None:
    hook, queue = Webhook("https://example.org"), app.queue("q", max_receives=7)
    tell = app.target("tell", hook, retries=4, timeout_s=9, concurrency=2, backoff_s=0.5, exhausted="park")
    assert tell.later(a=1) == Invoke("tell", {"a": 1})
    assert (tell.handler, tell.sends, tell.queue, tell.queue_name) == (hook, (hook,), None, "function-tell")
    assert tell.policy == RetryPolicy(attempts_max=5, backoff_ms_first=500)
    assert (tell.timeout_s, tell.concurrency, tell.exhausted) == (9, 2, "park")
    told = queue.target("told", hook, concurrency=3, exhausted="park")
    assert (told.queue, told.sends, told.policy.attempts_max, told.concurrency) == (queue, (hook,), 7, 3)
    assert app.functions == [tell, told]
    with pytest.raises(DeclarationError, match="the queue q has the consumer told already"):
        queue.target("again", hook)
    with pytest.raises(DeclarationError, match="two declarations of the function 'tell'"):
        app.target("tell", hook)


def test_a_function_says_what_it_sends_to(app: App) -> None:
    hook = Webhook("https://example.org")
    assert app.function(sends=[hook])(handle).sends == (hook,)
    assert app.queue("q").consumer(sends=[hook])(consume).sends == (hook,)


def consume(message: Message, context: Context) -> None: ...


def test_a_functions_policy_queue_and_dead_letters(app: App) -> None:
    function = app.function(retries=3, timeout_s=9, concurrency=7, backoff_s=0.5)(handle)
    assert function.policy == RetryPolicy(attempts_max=4, backoff_ms_first=500)
    assert (function.timeout_s, function.concurrency) == (9, 7)
    assert (function.queue_name, function.dead_letter_queue) == ("function-handle", "function-handle-dead-letters")


def test_a_consumers_policy_is_its_queues_s33(app: App) -> None:
    queue = app.queue("mail", max_receives=5, visibility_timeout_s=12)
    consumer = queue.consumer()(handle)
    assert consumer.policy.attempts_max == 5
    assert consumer.timeout_s == 12
    assert (consumer.queue_name, consumer.dead_letter_queue) == ("mail", queue.dead_letter_queue)
    assert app.functions == [consumer]


def test_functions_can_be_called_as_code(app: App) -> None:
    @app.function()
    def double(request: Any, context: Context) -> int:
        return int(request["n"]) * 2

    context: Any = None
    assert double({"n": 2}, context) == 4


def test_keys_are_text_unless_said_otherwise(app: App) -> None:
    table = app.table("things", partition_key="pk", sort_key=Key("sk", "N"))
    assert (table.partition_key, table.sort_key) == (Key("pk", "S"), Key("sk", "N"))


def test_importing_the_package_brings_no_store() -> None:
    heavy = ("lmdb", "boto3", "pyarrow", "uvloop")
    check = f"import afterwrite, sys; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", check], check=False, timeout=BOUND_S).returncode == 0


def two_consumers(app: App) -> None:
    queue = app.queue("q")
    queue.consumer()(handle)

    @queue.consumer()
    def other(message: Message, context: Context) -> None: ...


def two_subscriptions(app: App) -> None:
    topic, queue = app.topic("t"), app.queue("q")
    topic.subscribe(queue)
    topic.subscribe(queue)


def two_rules(app: App) -> None:
    bus = app.bus("b")
    for _ in range(2):
        bus.rule("r", {"source": ["x"]}, to=[])


def two_routes(app: App) -> None:
    table = app.table("things", partition_key="pk")
    for _ in range(2):
        table.on()(lambda change: None)


REFUSED: dict[str, Callable[[App], Any]] = {
    "an app without a name": lambda _: App(""),
    "a name that is a path": lambda app: app.audit_log(".."),
    "a name with a slash": lambda app: app.delivery_stream("a/b"),
    "a hidden name": lambda app: app.delivery_stream(".hidden"),
    "a long stream name": lambda app: app.delivery_stream("x" * 65),
    "a name of 256 characters": lambda app: app.queue("x" * 256),
    "a short table name": lambda app: app.table("ab", partition_key="pk"),
    "an unknown view type": lambda app: app.table("things", partition_key="pk", view_type="ALL"),
    "no retention": lambda app: app.table("things", partition_key="pk", retention_hours=0),
    "retention of more than a year": lambda app: app.table("things", partition_key="pk", retention_hours=8761),
    "two tables of one name": lambda app: [app.table("things", partition_key="pk") for _ in range(2)],
    "two queues of one name": lambda app: [app.queue("q") for _ in range(2)],
    "two functions of one name": lambda app: [app.function()(handle) for _ in range(2)],
    "a queue that is a function's": lambda app: app.queue("function-handle"),
    "no receives": lambda app: app.queue("q", max_receives=0),
    "visibility of nothing": lambda app: app.queue("q", visibility_timeout_s=0),
    "visibility of more than 12 hours": lambda app: app.queue("q", visibility_timeout_s=43_201),
    "a second consumer": two_consumers,
    "a second subscription": two_subscriptions,
    "records that go after an hour": lambda app: app.kinesis_stream("k", retention_hours=1),
    "a buffer of 16 minutes": lambda app: app.delivery_stream("d", buffer_seconds=901),
    "a buffer of 129 MiB": lambda app: app.delivery_stream("d", buffer_mib=129),
    "negative retries": lambda app: app.function(retries=-1),
    "no time": lambda app: app.function(timeout_s=0),
    "no age": lambda app: app.function(age_max_s=0)(handle),
    "an unknown end": lambda app: app.function(exhausted="forget")(handle),  # type: ignore[arg-type]
    "an unknown end of a consumer": lambda app: app.queue("q").consumer(exhausted="x")(handle),  # type: ignore[arg-type]
    "an unknown order": lambda app: app.table("things", partition_key="pk", order="key"),  # type: ignore[arg-type]
    "an alarm at once": lambda app: app.alarms(iterator_age_s=0),
    "an alarm after the retention": lambda app: app.alarms(retention_fraction=1.1),
    "no concurrency": lambda app: app.function(concurrency=0)(handle),
    "a target of another kind": lambda app: app.bus("b").rule("r", {"source": ["x"]}, to=["q"]),  # type: ignore[list-item]
    "two rules of one name": two_rules,
    "an unknown event name": lambda app: app.table("things", partition_key="pk").on("UPSERT"),
    "a sort key where there is none": lambda app: app.table("things", partition_key="pk").on(sort_key="x"),
    "two routes of one name": two_routes,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_where_it_is_declared(app: App, case: str) -> None:
    with pytest.raises(DeclarationError):
        REFUSED[case](app)


@pytest.mark.parametrize(
    "declare",
    [
        lambda app: app.bus("b").rule("r", {"source": "not a list"}, to=[]),
        lambda app: app.topic("t").subscribe(app.queue("q"), filter_policy={"a": [{"unknown": 1}]}),
        lambda app: app.table("things", partition_key="pk").on(INSERT, partition_key={"unknown": 1})(
            lambda change: None
        ),
    ],
)
def test_a_pattern_that_its_service_would_reject_is_refused_at_once(app: App, declare: Callable[[App], Any]) -> None:
    with pytest.raises(InvalidPattern):
        declare(app)


def test_routes_are_declared_with_their_conditions(app: App) -> None:
    table = app.table("things", partition_key="pk", sort_key="sk")

    @table.on(INSERT, sort_key=prefix("TURN#"), changed="status")
    def announce(change: Any) -> None: ...

    (route,) = table.routes
    assert (route.name, route.table) == ("announce", "things")
    assert route.guard.event_names == {INSERT}
    assert route.guard.keys == {"sk": {"prefix": "TURN#"}}
    assert route.guard.changed == ("status",)


def test_a_forgettable_audit_log_is_the_embedded_engines_alone() -> None:
    app = App("shop")
    refuse_forgettable_on_aws(app.audit_log("clear"))
    with pytest.raises(DeclarationError, match="expected an audit log that is not forgettable on AWS"):
        refuse_forgettable_on_aws(app.audit_log("trail", forgettable=True))
