"""Replays of an archive: the events of a time range once more, by the rules, under a replay's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from afterwrite import App, Change
from afterwrite.config import Identity
from afterwrite.core import json_text
from afterwrite.errors import ServiceError
from afterwrite.local import replays as replays_work
from afterwrite.local.fan_out import FanOut
from afterwrite.local.replays import ReplayWork
from afterwrite.store import archive, replays
from afterwrite.store.environment import Environment, ReadTransaction, WriteTransaction
from afterwrite.store.replays import Replay
from embedded import Clock, Parts

app = App("a")
things = app.table("things", partition_key="pk")
out = app.queue("out")
bus = app.bus("events", archive_days=1)
bus.rule("even", {"detail": {"even": [True]}}, to=[out])


@things.on()
def announce(change: Change) -> Any:
    return bus.put("Written", pk=change.keys["pk"], even=int(change.keys["pk"]) % 2 == 0)


@pytest.fixture
def parts(environment: Environment, clock: Clock) -> Parts:
    """An archive of ten events, a second apart."""
    parts = Parts(app, environment)
    for number in range(10):
        parts.dynamo.put(pk=str(number))
        clock.advance(s=1)
    parts.run(things)
    return parts


def start(parts: Parts, name: str, from_ms: int, to_ms: int, rules: Sequence[str] = ()) -> None:
    def operation(transaction: WriteTransaction) -> None:
        replays.start(transaction, Replay(name, "events", from_ms, to_ms, transaction.now_ms, rules=rules))

    parts.environment.write(operation)


def cancel(parts: Parts, name: str) -> Replay:
    return parts.environment.write(lambda transaction: replays.cancel(transaction, name))


def found(parts: Parts, name: str) -> Replay:
    with parts.environment.read() as transaction:
        return replays.described(transaction, name)


def work_through(parts: Parts) -> int:
    work = ReplayWork(parts.environment, parts.fan_out)
    portions = 0
    while work.run_once() is not None:
        portions += 1
    return portions


def replayed(parts: Parts, name: str) -> list[str]:
    bodies = [message.body for message in parts.messages("out")]
    return sorted(body["detail"]["pk"] for body in bodies if body.get("replay-name") == name)


def test_a_replay_delivers_the_range_again_by_the_rules_s30(parts: Parts, clock: Clock) -> None:
    first_ms = clock.now_ms - 10_000
    before = len(parts.messages("out"))
    start(parts, "again", first_ms + 2_000, first_ms + 6_000)
    work_through(parts)
    assert replayed(parts, "again") == ["2", "4"]
    ended = found(parts, "again")
    assert (ended.events, ended.deliveries, ended.unmatched) == (4, 2, 2)
    assert len(parts.messages("out")) == before + 2
    done = found(parts, "again")
    assert (done.state, done.events, done.ended_at_ms) == (replays.COMPLETED, 4, clock.now_ms)


def test_a_replayed_event_is_the_same_event_under_another_id_s30(parts: Parts, clock: Clock) -> None:
    for name in ("again", "once-more"):
        start(parts, name, 0, clock.now_ms)
    work_through(parts)
    by_pk: dict[str, list[Any]] = {}
    for message in parts.messages("out"):
        by_pk.setdefault(message.body["detail"]["pk"], []).append(message)
    for messages in by_pk.values():
        original, again, once_more = sorted(messages, key=lambda message: message.body.get("replay-name", ""))
        assert again.body == {**original.body, "replay-name": "again", "id": again.body["id"]}
        assert once_more.body == {**original.body, "replay-name": "once-more", "id": once_more.body["id"]}
        assert len({message.id for message in messages}) == len({message.body["id"] for message in messages}) == 3
        fields = "version id detail-type source account time region replay-name resources detail"
        assert list(again.body) == fields.split()
    assert len(by_pk) == 5


def test_all_targets_get_a_replayed_event_under_one_id_s30(environment: Environment, clock: Clock) -> None:
    app = App("b")
    bus = app.bus("events", archive_days=1)
    for name in ("one", "two"):
        bus.rule(name, {"source": [{"exists": True}]}, to=[app.queue(name)])

    @app.table("things", partition_key="pk").on()
    def announce(change: Change) -> Any:
        return bus.put("Written", pk=change.keys["pk"])

    parts = Parts(app, environment)
    parts.dynamo.put(pk="1")
    parts.run(app.tables[0])
    start(parts, "again", 0, clock.now_ms + 1)
    work_through(parts)
    (one,), (two,) = ([m.body for m in parts.messages(name) if "replay-name" in m.body] for name in ("one", "two"))
    assert one == two


def test_a_replay_does_not_archive_what_it_delivers(parts: Parts, clock: Clock) -> None:
    for name in ("one", "two"):
        start(parts, name, 0, clock.now_ms + 1)
        work_through(parts)
        assert found(parts, name).events == 10


def test_a_replay_goes_on_after_a_crash_and_delivers_nothing_twice(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_work, "_EVENTS_A_COMMIT", 3)
    start(parts, "again", 0, clock.now_ms)
    ReplayWork(parts.environment, parts.fan_out).run_once()
    assert (found(parts, "again").state, found(parts, "again").events) == (replays.RUNNING, 3)

    class Crash(Exception):
        pass

    def crash(*_: Any) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(replays, "keep", crash)
        with pytest.raises(Crash):
            ReplayWork(parts.environment, parts.fan_out).run_once()
    assert work_through(parts) == 3
    assert replayed(parts, "again") == ["0", "2", "4", "6", "8"]


def test_replays_are_worked_off_one_after_the_other(parts: Parts, clock: Clock) -> None:
    start(parts, "one", 0, clock.now_ms)
    start(parts, "two", 0, clock.now_ms)
    work_through(parts)
    assert replayed(parts, "one") == replayed(parts, "two") == ["0", "2", "4", "6", "8"]


def test_a_replay_keeps_the_order_of_each_lane_whatever_fails(
    environment: Environment, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two keys' events, written in turns and by what an outage has parked too; a portion ends between any two."""
    app = App("ordered")
    table, bus = app.table("things", partition_key="pk", sort_key="sk"), app.bus("events", archive_days=1)
    out = app.queue("out")
    bus.rule("all", {"source": ["ordered"]}, to=[out])
    is_down = True

    @table.on()
    def announce(change: Change) -> Any:
        if is_down and change.keys["sk"] == "3" and change.keys["pk"] == "a":
            raise RuntimeError("down")
        return bus.put("Written", pk=change.keys["pk"], sk=int(change.keys["sk"]))

    parts = Parts(app, environment)
    for number in range(8):
        for key in ("a", "b"):
            parts.dynamo.put(pk=key, sk=str(number))
            clock.advance(ms=number % 2)
        parts.run(table)
    is_down = False
    parts.run(table)
    clock.advance(s=1)
    monkeypatch.setattr(replays_work, "_EVENTS_A_COMMIT", 3)
    start(parts, "again", 0, clock.now_ms)

    class Crash(Exception):
        pass

    def crash(*_: Any) -> None:
        raise Crash

    work = ReplayWork(parts.environment, parts.fan_out)
    work.run_once()
    with monkeypatch.context() as patch:
        patch.setattr(replays, "keep", crash)
        with pytest.raises(Crash):
            work.run_once()
    work_through(parts)
    by_lane: dict[str, list[int]] = {}
    for message in parts.messages("out"):
        if message.body.get("replay-name") == "again":
            by_lane.setdefault(message.lane, []).append(message.body["detail"]["sk"])
    assert by_lane == {"things/a": list(range(8)), "things/b": list(range(8))}


def test_what_an_older_version_archived_is_replayed_without_its_lane(parts: Parts) -> None:
    event = {"id": "old", "source": "a", "detail-type": "Written", "detail": {"pk": "old", "even": True}}
    text = json_text.dumps(event)
    parts.environment.write(lambda transaction: archive.add(transaction, "events", 5, text, keep_until_ms=None))
    start(parts, "again", 0, 6)
    work_through(parts)
    (message,) = [each for each in parts.messages("out") if each.body["detail"]["pk"] == "old"]
    assert (message.lane, message.body["detail"]["pk"]) == ("events/old", "old")


def test_a_replay_that_cannot_be_delivered_fails_and_lets_the_next_one_run(parts: Parts, clock: Clock) -> None:
    start(parts, "again", 0, clock.now_ms)
    ReplayWork(parts.environment, FanOut(App("without-the-bus"), Identity())).run_once()
    failed = found(parts, "again")
    assert (failed.state, failed.ended_at_ms) == (replays.FAILED, clock.now_ms)
    assert "'events'" in (failed.reason or "")
    start(parts, "next", 0, clock.now_ms)
    work_through(parts)
    assert found(parts, "next").state == replays.COMPLETED


@pytest.mark.parametrize(
    ("name", "from_ms", "to_ms", "code"),
    [("again", 5, 5, "ValidationException"), ("taken", 1, 5, "ResourceAlreadyExistsException")],
)
def test_a_replay_that_cannot_be_is_refused(parts: Parts, name: str, from_ms: int, to_ms: int, code: str) -> None:
    start(parts, "taken", 0, 1)
    with pytest.raises(ServiceError) as failure:
        start(parts, name, from_ms, to_ms)
    assert failure.value.code == code


def test_a_replay_that_never_was_is_not_found(parts: Parts) -> None:
    with pytest.raises(ServiceError, match="ResourceNotFoundException"):
        found(parts, "nowhere")


def test_a_cancelled_replay_ends_before_its_next_portion(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_work, "_EVENTS_A_COMMIT", 3)
    start(parts, "again", 0, clock.now_ms)
    ReplayWork(parts.environment, parts.fan_out).run_once()
    assert cancel(parts, "again").state == found(parts, "again").state == replays.CANCELLING
    clock.advance(s=1)
    assert work_through(parts) == 1
    ended = found(parts, "again")
    assert (ended.state, ended.events, ended.unmatched, ended.deliveries) == (replays.CANCELLED, 3, 1, 2)
    assert ended.ended_at_ms == clock.now_ms
    assert replayed(parts, "again") == ["0", "2"]


def test_a_replay_that_is_cancelled_between_the_look_for_it_and_its_portion_delivers_nothing(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(parts, "again", 0, clock.now_ms)
    look = replays.unfinished

    def cancelled_after(transaction: ReadTransaction) -> Replay | None:
        replay = look(transaction)
        cancel(parts, "again")
        return replay

    with monkeypatch.context() as patch:
        patch.setattr(replays, "unfinished", cancelled_after)
        ReplayWork(parts.environment, parts.fan_out).run_once()
    assert found(parts, "again").state == replays.CANCELLED
    assert replayed(parts, "again") == []


def test_a_cancelled_replay_does_not_wait_for_those_before_it(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays_work, "_EVENTS_A_COMMIT", 3)
    start(parts, "one", 0, clock.now_ms)
    start(parts, "two", 0, clock.now_ms)
    cancel(parts, "two")
    ReplayWork(parts.environment, parts.fan_out).run_once()
    assert (found(parts, "one").state, found(parts, "two").state) == (replays.STARTING, replays.CANCELLED)


@pytest.mark.parametrize("name", ["completed", "cancelling", "cancelled"])
def test_a_replay_is_cancelled_once_and_not_after_its_end(parts: Parts, clock: Clock, name: str) -> None:
    start(parts, name, 0, clock.now_ms)
    if name != "completed":
        cancel(parts, name)
    if name != "cancelling":
        work_through(parts)
    before = found(parts, name)
    with pytest.raises(ServiceError) as refused:
        cancel(parts, name)
    assert refused.value.code == "IllegalStatusException"
    assert refused.value.message == f"Replay {name} is not in a valid state for this operation."
    assert found(parts, name) == before


def test_a_replay_for_some_rules_leaves_the_others_out(environment: Environment, clock: Clock) -> None:
    app = App("b")
    bus = app.bus("events", archive_days=1)
    for name in ("left", "right"):
        bus.rule(name, {"source": ["b"]}, to=[app.queue(name)])
    table = app.table("things", partition_key="pk")
    table.on()(lambda change: bus.put("Written", pk=change.keys["pk"]))
    parts = Parts(app, environment)
    parts.dynamo.put(pk="1")
    clock.advance(s=1)
    parts.run(table)
    start(parts, "again", 0, clock.now_ms, ["right"])
    work_through(parts)
    assert [message.body.get("replay-name") for message in parts.messages("left")] == [None]
    assert {message.body.get("replay-name") for message in parts.messages("right")} == {None, "again"}
    assert found(parts, "again").deliveries == 1


def test_a_replay_of_an_event_that_is_too_deep_for_a_message_fails(parts: Parts, clock: Clock) -> None:
    # An archive takes one level more than the queue of a rule that came later.
    deep: Any = 0
    for _ in range(253):
        deep = {"deeper": deep}
    event = {"id": "deep", "source": "a", "detail-type": "Written", "detail": {"even": True, **deep}}
    text = json_text.dumps(event)
    parts.environment.write(lambda transaction: archive.add(transaction, "events", 0, text, keep_until_ms=None))
    start(parts, "again", 0, 1)
    assert work_through(parts) == 1
    failed = found(parts, "again")
    assert failed.state == replays.FAILED
    assert str(failed.reason).startswith("expected at most 254 levels of lists and mappings, got more")
