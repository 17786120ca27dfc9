"""Requests that wait for queues: those that wait for other queues cost nothing."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from afterwrite.errors import StorageError
from afterwrite.server import long_polling
from afterwrite.server.long_polling import LongPolls
from afterwrite.store import queues
from afterwrite.store.environment import Environment
from afterwrite.store.prepared import Poll
from bounds import BOUND_S
from engine_process import wait_until

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


def test_a_read_that_fails_is_told_to_who_waits_and_the_others_wait_on(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = LongPolls(environment)
    pass_by(polls)
    errors: list[BaseException | None] = []
    real = queues.next_ready_ms

    def fail(transaction: Any, queue: str) -> int | None:
        if queue == "damaged":
            raise StorageError("a page is damaged")
        return real(transaction, queue)

    monkeypatch.setattr(queues, "next_ready_ms", fail)
    waiting = add(polls, "one", BOUND_S)
    polls.add(
        Poll(run=lambda _: None, queue="damaged", wait_s=BOUND_S, otherwise={}), lambda _, error: errors.append(error)
    )
    wait_until(lambda: bool(errors), what="the error")
    assert isinstance(errors[0], StorageError)
    pass_by(polls)
    assert not waiting.is_set()
    polls.close()


def test_where_the_system_gives_no_thread_nobody_waits_and_the_next_one_does(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    polls = LongPolls(environment)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert add(polls, "one", BOUND_S).is_set()
    assert not add(polls, "one", BOUND_S).is_set()
    assert add(polls, "another", 0).wait(BOUND_S)
    polls.close()
