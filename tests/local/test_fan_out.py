"""Where effects go: subscriptions by filter policy, rules by pattern, archive, queues, functions, buffers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest

from afterwrite import App, DeclarationError
from afterwrite.config import Identity
from afterwrite.core.effects import (
    DELAY_S_MAX,
    Append,
    Deliver,
    Effect,
    Enqueue,
    Invoke,
    Publish,
    PutEvent,
    StampedEffect,
)
from afterwrite.core.lanes import lane_and_text
from afterwrite.core.placements import Placement, ToArchive, ToBuffer, ToQueue
from afterwrite.errors import InvalidValue
from afterwrite.local.fan_out import FanOut
from afterwrite.local.file_buffers import audit_buffer, lake_buffer

AT_MS = 1_700_000_000_000

app = App("shop")
everyone = app.queue("everyone")
urgent = app.queue("urgent")
topic = app.topic("news")
topic.subscribe(everyone)
topic.subscribe(urgent, filter_policy={"level": ["high"]})
bus = app.bus("events", archive_days=2)
plain_bus = app.bus("plain", source="elsewhere")
stream = app.delivery_stream("facts")
log = app.audit_log("trail")


@app.function()
def work(request: Any, context: Any) -> None: ...


@everyone.consumer()
def read_everyone(message: Any, context: Any) -> None: ...


bus.rule("handoff", {"detail": {"status": ["handoff"]}}, to=[everyone, work, stream])
bus.rule("all", {"source": ["shop"]}, to=[urgent])

fan_out = FanOut(app, Identity("eu-central-1", "123456789012"))


def place(effect: Effect) -> list[Placement]:
    return list(fan_out.place(StampedEffect("id/1", "t/p", AT_MS, effect)))


def body(placement: Placement) -> Any:
    return orjson.loads(lane_and_text(placement.text)[1])


def test_a_message_goes_to_the_subscriptions_whose_policy_matches() -> None:
    (low,) = place(topic.publish({"n": 1}, attributes={"level": "low"}))
    assert isinstance(low, ToQueue)
    assert (low.queue, low.lane) == ("everyone", "t/p")
    assert body(low) == {
        "id": "id/1",
        "body": {"n": 1},
        "lane": "t/p",
        "sent_at_ms": AT_MS,
        "attributes": {"level": "low"},
    }
    high = place(topic.publish("x", subject="s", attributes={"level": "high"}))
    assert [each.queue for each in high if isinstance(each, ToQueue)] == ["everyone", "urgent"]
    assert body(high[1])["subject"] == "s"


def test_an_event_goes_to_the_rules_targets_and_into_the_archive() -> None:
    placed = place(bus.put("StatusChanged", status="handoff", session="s1"))
    assert [type(each) for each in placed] == [ToQueue, ToQueue, ToBuffer, ToQueue, ToArchive]
    to_everyone, to_work, to_facts, to_urgent, to_archive = placed
    assert isinstance(to_everyone, ToQueue) and isinstance(to_work, ToQueue) and isinstance(to_urgent, ToQueue)
    assert isinstance(to_facts, ToBuffer) and isinstance(to_archive, ToArchive)
    assert [to_everyone.queue, to_work.queue, to_urgent.queue] == ["everyone", "function-work", "urgent"]
    assert (to_facts.buffer, to_facts.id, to_facts.at_ms) == (lake_buffer("facts"), "id/1/handoff/facts", AT_MS)
    assert (to_archive.bus, to_archive.at_ms, to_archive.keep_days) == ("events", AT_MS, 2)
    assert lane_and_text(to_archive.text)[0] == "t/p"
    event = body(to_archive)
    assert event.pop("id").count("-") == 4
    assert event == {
        "version": "0",
        "detail-type": "StatusChanged",
        "source": "shop",
        "account": "123456789012",
        "time": "2023-11-14T22:13:20Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": {"status": "handoff", "session": "s1"},
    }
    # Every target has its own id, so that each is deduplicated for itself.
    ids = [body(each)["id"] for each in (to_everyone, to_work, to_urgent)]
    assert ids == ["id/1/handoff/everyone", "id/1/handoff/work", "id/1/all/urgent"]
    assert body(to_everyone)["body"] == body(to_archive)


def test_an_event_that_no_rule_matches_is_archived_all_the_same() -> None:
    assert [type(each) for each in place(PutEvent("events", "other", "X", {}))] == [ToArchive]
    assert place(plain_bus.put("X")) == []


def test_the_same_effect_is_placed_the_same_again() -> None:
    effect = bus.put("StatusChanged", status="handoff")
    assert place(effect) == place(effect)


@pytest.mark.parametrize(
    ("effect", "placed"),
    [
        (everyone.send({"a": 1}, delay_s=1.5), ("everyone", 1500)),
        (everyone.send({"a": 1}, delay_s=Decimal("0.25")), ("everyone", 250)),
        (everyone.send({"a": 1}, delay_s=DELAY_S_MAX), ("everyone", 30 * 86_400_000)),
        (work.later(a=1), ("function-work", 0)),
        (Invoke("read_everyone", {"a": 1}), ("everyone", 0)),
    ],
)
def test_queues_and_functions(effect: Effect, placed: tuple[str, int]) -> None:
    (placement,) = place(effect)
    assert isinstance(placement, ToQueue)
    assert (placement.queue, placement.delay_ms, body(placement)["body"]) == (*placed, {"a": 1})


@pytest.mark.parametrize(
    "delay_s",
    [-0.001, DELAY_S_MAX + 1, 1e300, float("inf"), float("nan"), Decimal("NaN"), Decimal("sNaN"), "5", None],
)
def test_a_delay_that_is_none_is_refused_before_anything_is_written(delay_s: Any) -> None:
    with pytest.raises(InvalidValue, match=r"expected a delay of 0 to 2592000 s .*, got"):
        place(everyone.send(1, delay_s=delay_s))


def test_records_and_entries_go_to_their_buffers() -> None:
    (record,) = place(stream.put(a=1))
    (entry,) = place(log.append(b=2))
    assert [type(each) for each in (record, entry)] == [ToBuffer, ToBuffer]
    assert record == ToBuffer(lake_buffer("facts"), "id/1", AT_MS, b'{"a":1}')
    assert entry == ToBuffer(audit_buffer("trail"), "id/1", AT_MS, b'{"b":2}')


@pytest.mark.parametrize(
    "effect",
    [
        Publish("nowhere", 1),
        PutEvent("nowhere", "s", "d", {}),
        Enqueue("nowhere", 1),
        Invoke("nowhere", {}),
        Deliver("nowhere", {}),
        Append("nowhere", {}),
    ],
)
def test_a_target_that_the_app_does_not_declare_is_refused(effect: Effect) -> None:
    with pytest.raises(DeclarationError, match=r"'nowhere'.*same App"):
        place(effect)


@pytest.mark.parametrize(
    "effect",
    [
        topic.publish(object()),
        bus.put("X", value=object()),
        everyone.send(object()),
        work.later(value=object()),
        stream.put(value=object()),
        log.append(value=object()),
    ],
)
def test_a_payload_that_is_no_json_is_refused_before_anything_is_written(effect: Effect) -> None:
    with pytest.raises(TypeError):
        place(effect)
