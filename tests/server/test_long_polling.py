"""Requests that wait for queues: those that wait for other queues cost nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from afterwrite.server import long_polling
from afterwrite.server.long_polling import LongPolls
from afterwrite.store import queues
from afterwrite.store.environment import Environment
from afterwrite.store.prepared import Poll
from bounds import BOUND_S

QUEUES, WAITING_EACH = 100, 20


def add(polls: LongPolls, queue: str, wait_s: float) -> threading.Event:
    ended = threading.Event()

    def answer(_: Mapping[str, Any] | None, __: BaseException | None) -> None:
        ended.set()

    polls.add(Poll(run=lambda _: None, queue=queue, wait_s=wait_s, otherwise={}), answer)
    return ended


def pass_by(polls: LongPolls) -> None:
    """Wait until all that was called before has been looked at."""
    for _ in range(2):
        assert add(polls, "another", 0).wait(BOUND_S)


def test_what_waits_for_other_queues_is_not_looked_at(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []

    class Counted:
        def __init__(self, poll: Poll, answer: long_polling.Answer, deadline_s: float) -> None:
            self.poll, self.answer, self._deadline_s = poll, answer, deadline_s

        @property
        def deadline_s(self) -> float:
            looks.append(None)
            return self._deadline_s

    monkeypatch.setattr(long_polling, "_Waiting", Counted)
    polls = LongPolls(environment)
    waiting = [add(polls, f"queue-{number}", BOUND_S) for number in range(QUEUES) for _ in range(WAITING_EACH)]
    pass_by(polls)
    looks.clear()
    environment.write(lambda transaction: transaction.touch(queues.signal("queue-7")))
    pass_by(polls)
    assert len(looks) < 10 * WAITING_EACH
    assert not any(each.is_set() for each in waiting)
    polls.close()
    assert all(each.is_set() for each in waiting)


def test_each_ends_when_its_time_is_over_whoever_waits_beside_it(environment: Environment) -> None:
    polls = LongPolls(environment)
    long, short = add(polls, "one", BOUND_S), add(polls, "one", 0.01)
    other = add(polls, "other", 0.02)
    assert short.wait(BOUND_S)
    assert other.wait(BOUND_S)
    assert not long.is_set()
    polls.close()
    assert long.is_set()
    assert add(polls, "one", BOUND_S).is_set()
