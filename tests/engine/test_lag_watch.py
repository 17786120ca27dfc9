"""Alarms of the engine: raised and cleared, in the log and on a topic, as consumers fall behind and catch up."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

import afterwrite
from afterwrite import App, Change
from afterwrite.config import Identity
from afterwrite.engine.lag_watch import LagWatch
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageFull
from afterwrite.local.fan_out import FanOut
from afterwrite.local.lags import EmbeddedLags, TopicAlarms
from afterwrite.store import queues
from afterwrite.store.environment import Environment, WriteTransaction
from embedded import Clock, Parts
from engine_process import wait_until


class Watched:
    """An app whose route calls a function, with alarms on a topic, and the engine's watch over it."""

    def __init__(self, environment: Environment, clock: Clock, directory: Path) -> None:
        app = App("watched")
        self.clock = clock
        self.things = app.table("things", partition_key="pk", sort_key="sk")
        news, self.pager = app.topic("news"), app.queue("pager")
        news.subscribe(self.pager, filter_policy={"state": ["raised", "cleared"]})
        app.alarms(to=news, iterator_age_s=60, queue_age_s=120)
        self.broken = False
        work = app.function()(do)

        @self.things.on()
        def route(change: Change) -> Any:
            if self.broken:
                raise ValueError
            return work.later()

        self.parts = Parts(app, environment)
        self.lags = EmbeddedLags(environment, app, directory)
        self.sink = TopicAlarms(environment, FanOut(app, Identity()), "news", lambda: clock.now_ms)
        self.watch = LagWatch(self.lags, app.alarm_thresholds, self.sink, Telemetry())

    def told(self) -> list[tuple[str, str, str]]:
        return [(each["alarm"], each["state"], each["consumer"]) for each in self.parts.queue("pager")]


def do(request: Any, context: Any) -> None:
    """Nothing."""


@pytest.fixture
def watched(environment: Environment, clock: Clock, tmp_path: Path) -> Watched:
    return Watched(environment, clock, tmp_path)


def test_changes_that_wait_raise_an_alarm_that_is_cleared_when_they_are_read(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.parts.dynamo.put(pk="a", sk="1")
    watched.clock.advance(s=60)
    assert watched.watch.run_once() == 5.0
    assert watched.told() == []
    watched.clock.advance(s=1)
    for _ in range(3):
        watched.watch.run_once()
    raised = ("iterator age", "raised", "things")
    assert watched.told() == [raised]
    (line,) = [record for record in caplog.records if record.__dict__["event"] == "alarm raised"]
    assert line.levelname == "ERROR"
    assert line.__dict__["fields"]["why"].startswith("1 change of the table things have waited")
    watched.parts.run(watched.things)
    watched.watch.run_once()
    assert watched.told() == [raised, ("iterator age", "cleared", "things")]


def test_messages_that_wait_and_parked_lanes_raise_alarms(watched: Watched) -> None:
    watched.parts.dynamo.put(pk="a", sk="1")
    watched.parts.run(watched.things)
    watched.broken = True
    watched.parts.dynamo.put(pk="b", sk="1")
    watched.parts.run(watched.things)
    watched.clock.advance(s=121)
    watched.watch.run_once()
    assert sorted(watched.told()) == [("parked", "raised", "things"), ("queue age", "raised", "function-do")]
    table, queue, _ = watched.lags.lags()
    assert (table.parked_lanes, table.parked_age_ms, table.age_ms) == (1, 121_000, 0)
    assert (queue.records_behind, queue.age_ms) == (1, 121_000)


def test_a_table_that_has_pipes_alone_is_watched_too(environment: Environment, clock: Clock, tmp_path: Path) -> None:
    app = App("piped")
    things = app.table("things", partition_key="pk", sort_key="sk")
    things.pipe(to=app.queue("copies"))
    parts = Parts(app, environment)
    parts.dynamo.put(pk="a", sk="1")
    clock.advance(s=61)
    behind = {lag.consumer: lag.records_behind for lag in EmbeddedLags(environment, app, tmp_path).lags()}
    assert behind == {"things": 1, "copies": 0}


@pytest.mark.parametrize("queue", ["function-do", "pager"])
def test_dead_letters_raise_an_alarm_that_is_cleared_when_they_are_gone(
    environment: Environment, watched: Watched, queue: str
) -> None:
    dead = queues.Message("m", None, "a", watched.clock.now_ms)
    dead_letters = f"{queue}-dead-letters"
    environment.write(lambda transaction: queues.send(transaction, dead_letters, "a", queues.encode(dead)))
    for _ in range(2):
        watched.watch.run_once()
    raised = ("dead letters", "raised", queue)
    assert watched.told() == [raised]
    environment.write(
        lambda transaction: queues.purge(transaction, dead_letters, through=queues.last_arrival(transaction), limit=10)
    )
    watched.watch.run_once()
    assert watched.told() == [raised, ("dead letters", "cleared", queue)]


@pytest.mark.parametrize("counted", [True, False])
def test_a_message_that_waits_for_its_next_attempt_has_waited_since_it_was_sent(
    environment: Environment, watched: Watched, *, counted: bool
) -> None:
    watched.parts.dynamo.put(pk="a", sk="1")
    watched.parts.run(watched.things)
    watched.clock.advance(s=121)

    def fail(transaction: WriteTransaction) -> None:
        now_ms = transaction.now_ms
        (received,) = queues.receive(transaction, "function-do", limit=1, visibility_ms=1_000, now_ms=now_ms)
        assert queues.release(transaction, "function-do", received, at_ms=now_ms + 60_000, counted=counted)

    environment.write(fail)
    watched.watch.run_once()
    assert watched.told() == [("queue age", "raised", "function-do")]
    assert watched.lags.lags()[1].age_ms == 121_000


def test_a_message_that_its_sender_told_to_wait_has_not_waited(environment: Environment, watched: Watched) -> None:
    message = queues.Message("m", None, "a", watched.clock.now_ms)
    late_ms = watched.clock.now_ms + 600_000

    def send(transaction: WriteTransaction) -> None:
        queues.send(transaction, "function-do", "a", queues.encode(message), not_before_ms=late_ms)

    environment.write(send)
    watched.clock.advance(s=121)
    watched.watch.run_once()
    assert watched.told() == []


def test_an_alarm_that_could_not_be_told_is_told_at_the_next_look(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.parts.dynamo.put(pk="a", sk="1")
    watched.clock.advance(s=61)

    def refuse(*_: Any) -> None:
        raise StorageFull("no space left")

    with monkeypatch.context() as full:
        full.setattr(watched.sink, "tell", refuse)
        with pytest.raises(StorageFull):
            watched.watch.run_once()
    watched.watch.run_once()
    assert watched.told() == [("iterator age", "raised", "things")]


def test_a_look_costs_no_more_than_its_bound(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterwrite.local.lags._COUNTED_MAX", 3)
    for number in range(5):
        watched.parts.dynamo.put(pk="a", sk=str(number))
    assert watched.lags.lags()[0].records_behind == 3


def test_a_disk_that_is_nearly_full_is_told_and_again_when_there_is_space(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_mib = 255.0
    disk = namedtuple("disk", ("free",))
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(int(free_mib * (1 << 20))))
    watched.watch.run_once()
    raised = ("free disk", "raised", "the data directory's disk")
    assert watched.told() == [raised]
    assert [record.levelname for record in caplog.records if record.__dict__["event"] == "alarm raised"] == ["ERROR"]
    free_mib = 319.0
    watched.watch.run_once()
    assert watched.told() == [raised]
    free_mib = 320.0
    watched.watch.run_once()
    assert watched.told() == [raised, ("free disk", "cleared", "the data directory's disk")]


def test_an_alarm_that_a_full_disk_keeps_from_the_topic_is_in_the_log_once(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = namedtuple("disk", ("free",))
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(0))

    def refuse(*_: Any) -> None:
        raise StorageFull("no space left")

    with monkeypatch.context() as full:
        full.setattr(watched.sink, "tell", refuse)
        for _ in range(2):
            with pytest.raises(StorageFull):
                watched.watch.run_once()
    assert [record.__dict__["event"] for record in caplog.records] == ["alarm raised"]
    watched.watch.run_once()
    assert watched.told() == [("free disk", "raised", "the data directory's disk")]
    assert [record.__dict__["event"] for record in caplog.records] == ["alarm raised"]


def test_an_engine_without_an_app_tells_of_the_disk_in_its_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = namedtuple("disk", ("free",))
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk(0))
    with afterwrite.open_engine(tmp_path / "data"):
        wait_until(lambda: "alarm raised" in caplog.text)
