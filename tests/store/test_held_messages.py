"""What consumers outside hold: hidden no longer than it was to be, whatever the clock does between two starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Context
from afterwrite.local.work_queues import FunctionQueue
from afterwrite.store import held_messages, queues
from afterwrite.store.environment import Environment
from afterwrite.store.queues import Message, Received
from embedded import START_MS, Clock, open_store

QUEUE = "outside"
HOUR_MS = 3_600_000


class Consumer:
    """Somebody outside, one commit a call."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def send(self, id: str) -> None:
        encoded = queues.encode(Message(id=id, body=id, lane=id, sent_at_ms=START_MS))
        self.environment.write(lambda transaction: queues.send(transaction, QUEUE, id, encoded))

    def receive(self, *, visibility_ms: int, limit: int = 1) -> list[Received]:
        return self.environment.write(
            lambda transaction: held_messages.receive(transaction, QUEUE, limit=limit, visibility_ms=visibility_ms)
        )

    def start_again(self, path: Path, clock: Clock) -> None:
        self.environment.close()
        self.environment = open_store(path, clock)
        self.environment.write(lambda transaction: held_messages.cut_visibility(transaction, QUEUE))

    def remove(self, received: Received) -> bool:
        return self.environment.write(
            lambda transaction: queues.remove(transaction, QUEUE, held_messages.current(transaction, QUEUE, received))
        )


def ids(received: list[Received]) -> list[str]:
    return [each.message.id for each in received]


def test_each_goes_on_for_what_was_left_of_it_when_the_last_one_was_received(tmp_path: Path, clock: Clock) -> None:
    outside = Consumer(open_store(tmp_path, clock))
    for id in ("a", "b"):
        outside.send(id)
    clock.advance(ms=5 * HOUR_MS)
    (first,) = outside.receive(visibility_ms=100_000)
    clock.advance(ms=40_000)
    (second,) = outside.receive(visibility_ms=100_000)
    clock.advance(ms=-3 * HOUR_MS)
    for _ in range(2):  # a second start finds nothing to cut
        outside.start_again(tmp_path, clock)
    clock.advance(ms=59_999)
    assert outside.receive(visibility_ms=1, limit=2) == []
    clock.advance(ms=1)
    assert ids(outside.receive(visibility_ms=1_000_000, limit=2)) == ["a"]
    assert not outside.remove(first)
    clock.advance(ms=39_999)
    assert outside.receive(visibility_ms=1, limit=2) == []
    assert outside.remove(second)
    outside.environment.close()


def test_a_clock_that_begins_anew_lets_what_nobody_settled_be_received_at_once(tmp_path: Path, clock: Clock) -> None:
    outside = Consumer(open_store(tmp_path, clock))
    for id in ("a", "b"):
        outside.send(id)
    outside.receive(visibility_ms=1_000)
    clock.advance(ms=2_000_000)
    assert ids(outside.receive(visibility_ms=500_000)) == ["b"]
    clock.now_us = 10_000_000
    outside.start_again(tmp_path, clock)
    assert ids(outside.receive(visibility_ms=1_000, limit=2)) == ["a"]
    clock.advance(ms=500_000)
    assert sorted(ids(outside.receive(visibility_ms=1_000, limit=2))) == ["a", "b"]
    outside.environment.close()


def test_what_was_held_before_that_was_kept_is_hidden_for_twelve_hours_at_most(tmp_path: Path, clock: Clock) -> None:
    outside = Consumer(open_store(tmp_path, clock))
    outside.send("a")
    clock.advance(ms=30 * HOUR_MS)
    outside.environment.write(
        lambda transaction: queues.receive(transaction, QUEUE, limit=1, visibility_ms=1_000, now_ms=transaction.now_ms)
    )
    clock.advance(ms=-29 * HOUR_MS)
    outside.start_again(tmp_path, clock)
    clock.advance(ms=12 * HOUR_MS - 1)
    assert outside.receive(visibility_ms=1) == []
    clock.advance(ms=1)
    assert ids(outside.receive(visibility_ms=1)) == ["a"]
    outside.environment.close()


@pytest.mark.parametrize("starts", [0, 1, 2])
def test_what_the_engine_died_with_goes_to_those_outside_where_no_function_takes_it_any_more(
    tmp_path: Path, clock: Clock, starts: int
) -> None:
    outside = Consumer(open_store(tmp_path, clock))

    @App("a").queue(QUEUE).consumer()
    def function(message: Any, context: Context) -> None: ...

    for id in ("a", "b"):
        outside.send(id)
    assert len(FunctionQueue(outside.environment, function).exchange([], limit=1)) == 1
    for _ in range(starts):  # and it has not tried again what may have ended it
        FunctionQueue(outside.environment, function)
    outside.start_again(tmp_path, clock)
    assert sorted(ids(outside.receive(visibility_ms=1_000, limit=3))) == ["a", "b"]
    outside.environment.close()
