"""Which of the requests under way are committed together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from afterwrite.accelerators import library
from afterwrite.server.commit_turns import CommitTurns, together
from afterwrite.server.http import Request, Respond, Response
from bounds import BOUND_S
from server.http_serving import Client, Serving, post, serving

pytestmark = pytest.mark.skipif(
    library() is None, reason="the library in C was not made: there was no C compiler when afterwrite was installed"
)


class Writer:
    """Keeps requests until they are committed, which answers them."""

    def __init__(self) -> None:
        self.waiting: list[Respond] = []
        self.commits: list[int] = []
        self.begin: Callable[[], object]

    def __call__(self, _request: Request, respond: Respond) -> None:
        self.waiting.append(respond)
        if len(self.waiting) == 1:
            self.begin()

    def commit(self) -> bool:
        waiting, self.waiting = self.waiting, []
        self.commits.append(len(waiting))
        for respond in waiting:
            respond(Response(200, b""))
        return False


def send(running: Serving, clients: list[Client]) -> None:
    """Send a request of each of `clients`, until all have come to the front."""
    for client in clients:
        client.send(post(b"{}"))
    deadline = time.monotonic() + BOUND_S
    while running.server.asked_count < len(clients):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def send_at_once(running: Serving, clients: list[Client]) -> None:
    """Have the loop find a request of each of `clients`."""
    away, sent = threading.Event(), threading.Event()

    def be_away() -> None:
        away.set()
        sent.wait(BOUND_S)

    running.loop.call_soon_threadsafe(be_away)
    assert away.wait(BOUND_S)
    send(running, clients)
    sent.set()


def commits_of(clients: int) -> list[int]:
    """How many requests were in each commit, where all clients ask twice, each time at once."""
    writer = Writer()
    with serving(writer, with_front=True) as running:
        turns = CommitTurns(running.loop, running.server, writer.commit, lambda: len(writer.waiting))
        writer.begin = partial(running.loop.call_soon, turns.gather)
        asking = [running.client() for _ in range(clients)]
        for _ in range(2):
            send_at_once(running, asking)
            for client in asking:
                assert client.answer().status == 200
    return writer.commits


def test_of_many_requests_a_half_is_committed_while_the_other_half_is_away() -> None:
    assert commits_of(40) == [40, 20, 20]


def test_few_requests_are_committed_together() -> None:
    assert commits_of(6) == [6, 6]


@pytest.mark.parametrize(("asked", "expected"), [(0, 0), (1, 1), (23, 23), (24, 12), (25, 13), (64, 32)])
def test_how_many_are_committed_together(asked: int, expected: int) -> None:
    assert together(asked) == expected


def test_what_is_not_taken_in_a_round_is_taken_in_the_next() -> None:
    rounds: list[int] = []

    def count(_request: Request, respond: Respond) -> None:
        if not rounds or rounds[-1] == 0:
            running.loop.call_soon(rounds.append, 0)
            rounds.append(0)
        rounds[-1] += 1
        respond(Response(200, b""))

    with serving(count, with_front=True) as running:
        running.on_loop(lambda: running.server.take_at_most(2))
        clients = [running.client() for _ in range(5)]
        send_at_once(running, clients)
        assert [client.answer().status for client in clients] == [200] * 5
        assert [each for each in rounds if each] == [2, 2, 1]
        running.wait_until(lambda: running.server.asked_count == 0)
        running.on_loop(lambda: running.server.take_at_most(None))
        rounds.clear()
        send_at_once(running, clients)
        assert [client.answer().status for client in clients] == [200] * 5
        assert [each for each in rounds if each] == [5]


def test_what_has_come_is_taken_and_answered_while_the_loop_is_held() -> None:
    with serving(lambda _request, respond: respond(Response(200, b"taken")), with_front=True) as running:
        clients = [running.client() for _ in range(3)]
        answers: list[int] = []

        def hold() -> None:
            send(running, clients)
            running.server.take_arrived()
            answers.extend(client.answer().status for client in clients)

        running.on_loop(hold)
        assert answers == [200] * 3
