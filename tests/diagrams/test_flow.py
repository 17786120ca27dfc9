"""The graph of a declaration, and its two notations."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest

from afterwrite import INSERT, MODIFY, App, Change, Context, prefix
from afterwrite.diagrams.flow import Edge, Flow, Node, flow_of
from afterwrite.diagrams.mermaid import mermaid
from afterwrite.diagrams.svg import svg

shop = App("shop")
orders = shop.table("shop-orders", partition_key="PK", sort_key="SK")
counters = shop.table("shop-counters", partition_key="id")
news = shop.topic("shop-news")
mail = shop.queue("shop-mail")
news.subscribe(mail, filter_policy={"kind": ["receipt"]})
bus = shop.bus("shop-events")
lake = shop.delivery_stream("shop-lake")
trail = shop.audit_log("shop-trail")


@shop.function()
def count(event: Any, context: Context) -> None:
    context.table(counters).put({"id": event["id"]})
    context.table(orders).get({"PK": "1", "SK": "2"})


@mail.consumer()
def send(message: Any, context: Context) -> None:
    """It uses no table."""


bus.rule("paid", {"detail-type": ["Paid"]}, to=[count, lake])


def told(change: Change) -> Any:
    return news.publish(change.keys["PK"])


@orders.on(INSERT, sort_key=prefix("LINE#"))
def tell(change: Change) -> Any:
    return [told(change) for _ in range(1)]


@orders.on(MODIFY, changed=["status", "total"], new={"status": "paid"})
def announce(change: Change) -> Any:
    return bus.put("Paid", order=change.keys["PK"])


def reaching(target: Any) -> Callable[[Change], Any]:
    def keep(change: Change) -> Any:
        return target.append(trail="not the global of this name")

    return keep


orders.on()(reaching(trail))
FLOW = flow_of(shop)


def named(flow: Flow) -> list[tuple[str, str, str, bool]]:
    labels = {node.id: node.label for node in flow.nodes}
    return [(labels[edge.source], labels[edge.target], edge.label, edge.back) for edge in flow.edges]


def test_all_that_is_declared_and_named_is_in_the_graph() -> None:
    assert named(FLOW) == [
        ("shop-orders", "tell", "INSERT, SK prefix LINE#", False),
        ("tell", "shop-news", "", False),
        ("shop-orders", "announce", "MODIFY, status or total changed, new status paid", False),
        ("announce", "shop-events", "", False),
        ("shop-orders", "keep", "", False),
        ("keep", "shop-trail", "", False),
        ("shop-news", "shop-mail", "by kind", False),
        ("shop-events", "count", "paid", False),
        ("shop-events", "shop-lake", "paid", False),
        ("count", "shop-counters", "", False),
        ("count", "shop-orders", "", True),
        ("shop-mail", "send", "", False),
    ]
    assert len({node.id for node in FLOW.nodes}) == len(FLOW.nodes) == 12


def streaming() -> App:
    app = App("streaming")
    items = app.table("items", partition_key="id", stream="kinesis")
    changes, clicks = app.kinesis_stream("items-changes"), app.kinesis_stream("clicks")
    failed, copies = app.queue("failed"), app.queue("copies")

    @app.function()
    def look_up(record: Any, context: Context) -> Any:
        return context.table(items).get(record["dynamodb"]["Keys"])

    items.pipe(to=copies)
    items.pipe(name="known", filter={"eventName": ["INSERT"]}, enrich=look_up, to=app.topic("news"))

    def handler(event: Any, context: Any) -> None:
        context.table(items).put(event)

    def to(destination: Any) -> Any:
        return {"OnFailure": {"Destination": destination}}

    items.event_source_mapping(handler, DestinationConfig=to(failed))
    clicks.event_source_mapping(handler, DestinationConfig=to("arn:aws:sqs:eu-west-1:123456789012:failed"))
    changes.event_source_mapping(handler, FunctionName="other", DestinationConfig=to("arn:aws:s3:::failures"))
    return app


def test_pipes_and_functions_on_streams_are_in_the_graph() -> None:
    flow = flow_of(streaming())
    assert named(flow) == [
        ("items", "items-to-copies", "", False),
        ("items-to-copies", "copies", "", False),
        ("items", "known", "filtered", False),
        ("known", "pipe-known", "enriched", False),
        ("pipe-known", "news", "", False),
        ("look_up", "items", "", True),
        ("pipe-known", "items", "", True),
        ("items", "items-changes", "", False),
        ("handler", "items", "", True),
        ("items", "handler", "", False),
        ("handler", "failed", "on failure", False),
        ("other", "items", "", True),
        ("items-changes", "other", "", False),
        ("other", "arn:aws:s3:::failures", "on failure", False),
        ("clicks", "handler", "", False),
    ]
    assert len({node.id for node in flow.nodes}) == len(flow.nodes)


def test_a_long_guard_is_cut() -> None:
    app = App("a")
    table = app.table("table", partition_key="pk")
    table.on(partition_key="x" * 80)(lambda change: None)
    (edge,) = flow_of(app).edges
    assert (len(edge.label), edge.label[-1]) == (48, "…")


def test_mermaid_quotes_what_has_a_meaning_there() -> None:
    flow = Flow("f", [Node("a", "table", 'T "#1"'), Node("b", "function", "<g>")], [Edge("a", "b", "x|#", back=True)])
    assert mermaid(flow).splitlines() == [
        "flowchart LR",
        '    a[("T #quot;#35;1#quot;")]',
        '    b(["#lt;g#gt;"])',
        '    a -.->|"x|#35;"| b',
    ]


@pytest.mark.parametrize("flow", [FLOW, flow_of(streaming())])
def test_svg_draws_every_box_apart_and_left_to_right(flow: Flow) -> None:
    root = ET.fromstring(svg(flow))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    assert {node.label for node in flow.nodes} <= set(texts)
    rects = [
        {name: float(rect.get(name, 0)) for name in ("x", "y", "width", "height")} for rect in root.iter(f"{space}rect")
    ]
    page, boxes = rects[0], rects[1:]
    assert len(boxes) == len(flow.nodes)
    for number, box in enumerate(boxes):
        assert box["x"] + box["width"] <= page["width"]
        assert box["y"] + box["height"] <= page["height"]
        for other in boxes[number + 1 :]:
            apart = abs(box["x"] - other["x"]) >= min(box["width"], other["width"]) or (
                abs(box["y"] - other["y"]) >= box["height"]
            )
            assert apart
    lines = [
        path.get("d", "") for path in root.iter(f"{space}path") if path.get("class") is None and path.get("marker-end")
    ]
    assert len(lines) == sum(not edge.back for edge in flow.edges)
    for line in lines:
        numbers = [float(number) for number in re.findall(r"-?\d+", line)]
        assert numbers[0] < numbers[-2]


@pytest.mark.parametrize("draw", [mermaid, svg])
def test_an_empty_app_has_a_picture(draw: Callable[[Flow], str]) -> None:
    assert draw(flow_of(App("empty")))
