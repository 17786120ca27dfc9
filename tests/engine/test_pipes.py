"""Pipes: filter, enrichment, transformation and target, run by the engine in order per lane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Change, Context
from afterwrite.core.effects import Append, Deliver, Invoke, Publish, PutEvent
from afterwrite.errors import DeclarationError, InvalidPattern
from afterwrite.local import lake
from afterwrite.wiring import Engine, open_engine
from embedded import Parts
from engine_process import wait_until

INSERTS = {"eventName": ["INSERT"]}


def test_a_pipe_without_an_enrichment_is_a_route(environment: Any) -> None:
    app = App("pipes")
    things = app.table("things", partition_key="pk", sort_key="sk")
    out = app.queue("out")
    things.pipe(
        filter=[{"eventName": ["REMOVE"]}, {"dynamodb": {"NewImage": {"kind": {"S": ["order"]}}}}],
        transform='{"id": <$.dynamodb.Keys.pk.S>, "source": <aws.pipes.source-arn>, "to": <aws.pipes.target-arn>}',
        to=out,
    )
    parts = Parts(app, environment)
    parts.dynamo.put(pk="a", sk="1", kind="order")
    parts.dynamo.put(pk="b", sk="1", kind="other")
    parts.dynamo.delete(pk="b", sk="1")
    parts.run(things)
    source = "arn:aws:dynamodb:us-east-1:000000000000:table/things/stream/-"
    target = "arn:aws:sqs:us-east-1:000000000000:out"
    assert sorted(parts.queue("out"), key=lambda body: body["id"]) == [
        {"id": "a", "source": source, "to": target},
        {"id": "b", "source": source, "to": target},
    ]
    assert {message.id.split("/")[1] for message in parts.messages("out")} == {"things-to-out"}


def test_each_kind_of_target_gets_its_payload() -> None:
    app = App("pipes")
    things = app.table("things", partition_key="pk")
    change = Change(id="c", table="things", event_name="INSERT", keys={"pk": {"S": "a"}}, sequence_number="1")

    @app.function()
    def work(request: Any, context: Context) -> None: ...

    bus, topic = app.bus("bus"), app.topic("topic")
    stream, log = app.delivery_stream("stream"), app.audit_log("log")
    for target in (bus, topic, stream, log, work):
        things.pipe(transform='{"pk": <$.dynamodb.Keys.pk.S>}', to=target)
    effects = [stamped.effect for stamped in things.router().plan(change, "lane")]
    assert effects == [
        PutEvent("bus", "Pipe things-to-bus", "Event from aws:dynamodb", {"pk": "a"}),
        Publish("topic", {"pk": "a"}),
        Deliver("stream", {"pk": "a"}),
        Append("log", {"pk": "a"}),
        Invoke("work", {"pk": "a"}),
    ]


def test_what_is_declared_wrongly_is_refused() -> None:
    app = App("pipes")
    things, queue = app.table("things", partition_key="pk"), app.queue("queue")

    @queue.consumer()
    def consume(message: Any, context: Context) -> None: ...

    things.pipe(to=queue)
    for fields in ({"to": queue}, {"to": consume}, {"to": things}):
        with pytest.raises(DeclarationError):
            things.pipe(**fields)
    with pytest.raises(DeclarationError, match="1 to 5 patterns"):
        things.pipe(name="many", filter=[INSERTS] * 6, to=queue)
    with pytest.raises(DeclarationError, match="transform"):
        things.pipe(name="wrong", transform=5, to=queue)  # type: ignore[arg-type]
    with pytest.raises(InvalidPattern):
        things.pipe(name="wild", filter={"eventName": [{"wildcard": "IN*"}]}, to=queue)


ENRICHED: list[tuple[str, int]] = []


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    app = App("pipes")
    things = app.table("things", partition_key="pk", sort_key="sk")
    out, plain = app.queue("out"), app.queue("plain")
    facts = app.delivery_stream("facts", buffer_seconds=0.05)

    @app.function(retries=1, backoff_s=0.01)
    def enrich(record: Any, context: Context) -> Any:
        pk, sk = (record["dynamodb"]["Keys"][name]["S"] for name in ("pk", "sk"))
        ENRICHED.append((sk, context.attempt))
        if sk == "poison" or (sk == "flaky" and context.attempt == 1):
            raise ValueError(sk)
        if sk == "nothing":
            return {}
        if sk == "many":
            return [{"sk": "first"}, {"sk": "second"}]
        return {"sk": sk, "pk": pk}

    things.pipe(filter=INSERTS, enrich=enrich, transform=lambda event: {"enriched": event["sk"]}, to=out)
    things.pipe(filter=INSERTS, enrich=enrich, transform='{"s": <$.sk>}', to=facts)
    things.pipe(name="broken", transform=lambda event: event["nothing"], filter={"eventName": ["REMOVE"]}, to=plain)
    ENRICHED.clear()
    with open_engine(tmp_path / "data", app) as engine:
        yield engine


def bodies(engine: Engine, queue: str) -> list[Any]:
    return [message.body for message in engine.reader().messages(queue)]


def test_an_enrichment_runs_as_functions_do_and_its_answers_go_on_in_order_s31(engine: Engine) -> None:
    table = engine.table("things")
    for sk in ("1", "flaky", "nothing", "many", "poison", "last"):
        table.put({"pk": "a", "sk": sk})
    table.put({"pk": "a", "sk": "1", "x": 1})
    wait_until(engine.reader().idle, what="rest")
    assert bodies(engine, "out") == [{"enriched": sk} for sk in ("1", "flaky", "first", "second", "last")]
    rows = list(lake.read(engine.reader().lake("facts").parent, "facts"))
    assert [row["s"] for row in rows] == ["1", "flaky", "first", "second", "last"]
    # A retry runs the enrichment again; what failed for good has its record.
    assert ENRICHED.count(("flaky", 1)) == ENRICHED.count(("flaky", 2)) == 2
    (dead,) = engine.reader().messages("function-pipe-things-to-out-dead-letters")
    assert dead.body["dynamodb"]["Keys"]["sk"] == {"S": "poison"}
    ids = [message.id for message in engine.reader().messages("out")]
    assert len(set(ids)) == 5


def test_a_transformation_that_fails_parks_the_change(engine: Engine) -> None:
    engine.table("things").put({"pk": "a", "sk": "nothing"})
    engine.table("things").delete({"pk": "a", "sk": "nothing"})
    wait_until(lambda: list(engine.reader().parked("things")) != [], what="the parked change")
    (parked,) = engine.reader().parked("things")
    assert "KeyError: 'nothing'" in (parked.error or "")
