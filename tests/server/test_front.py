"""The front in C: whatever is sent, in whatever pieces, it is answered as without the front."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterwrite.accelerators import library
from afterwrite.server.http import Request, Respond, Response
from bounds import BOUND_S
from server.http_serving import Client, Held, Serve, Serving, chunked, echo, post, serving

pytestmark = pytest.mark.skipif(
    library() is None, reason="the library in C was not made: there was no C compiler when afterwrite was installed"
)

HEADERS = (
    "X-Amz-Target: DynamoDB_20120810.PutItem",
    "x-amz-target: Again.Sent",
    "Connection: keep-alive",
    "CONNECTION: Keep-Alive",
    "Connection: close",
    "Connection: keep-alive, X-A",
    "Accept-Encoding: gzip",
    "Accept-Encoding: identity",
    "Content-Encoding: gzip",
    "Content-Length: 3",
    "Content-Length: +3",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Expect: the unexpected",
    "Upgrade: h2c",
    "X-Long: " + "v" * 9000,
    "X-Empty:",
    "X-Spaces: \t a b \t",
    "X-Latin: \xe9",
    "X-Control: \x01",
    "X Space: 1",
    "No colon",
    ": no name",
    " folded",
)
BYTES = (
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /path HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"\r\n",
    b"\x00",
    b"POST",
)


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["plain", "plain", "plain", "headers", "chunked", "other"]))
    body = draw(st.sampled_from([b"", b"{}", b"abc", b"x" * 5000]))
    if kind == "plain":
        return post(body)
    if kind == "headers":
        lines = draw(st.lists(st.sampled_from(HEADERS), min_size=1, max_size=3))
        head = "\r\n".join(["POST / HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *lines])
        return head.encode("latin-1") + b"\r\n\r\n" + body
    return chunked(body, b"more") if kind == "chunked" else draw(st.sampled_from(BYTES))


def _say_all(request: Request, respond: Respond) -> None:
    said = repr((request.method, request.path, sorted(request.headers.items()), request.body, request.sent_body))
    respond(Response(200, said.encode()))


def _conversation(address: tuple[str, int], pieces: Sequence[bytes]) -> tuple[bytes, bool]:
    """All that the server answers to `pieces`, but what no two answers share: date and request id.

    And whether that is all for sure: what a server has not read when it closes takes answers back on their way.
    """
    received, is_whole = b"", True
    with socket.create_connection(address, timeout=BOUND_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            while got := client.recv(1 << 16):
                received += got
        except TimeoutError:
            raise
        except OSError:
            is_whole = False
    lines = received.split(b"\r\n")
    return b"\r\n".join(line for line in lines if not line.startswith((b"Date:", b"x-amzn-RequestId:"))), is_whole


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Serving, Serving]]:
    with serving(_say_all, with_front=False) as loop, serving(_say_all, with_front=True) as front:
        yield loop, front


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_answers_what_the_loop_answers(both: tuple[Serving, Serving], data: st.DataObject) -> None:
    sent = b"".join(data.draw(st.lists(_requests(), min_size=1, max_size=4)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    pieces = [sent[start:stop] for start, stop in itertools.pairwise([0, *cuts, len(sent)]) if start < stop]
    loop, front = both
    expected, is_expected_whole = _conversation(loop.address, pieces)
    answers, is_whole = _conversation(front.address, pieces)
    if is_whole and is_expected_whole:
        assert answers == expected
    else:
        assert answers.startswith(expected) or expected.startswith(answers)


def test_many_clients_at_once_each_get_their_own_answers(serve: Serve) -> None:
    running = serve(echo, with_front=True)
    failures: list[Any] = []

    def talk(number: int) -> None:
        client = Client(running.address)
        for turn in range(200):
            body = b"%d/%d " % (number, turn) * (turn * 7 + 1)
            client.send(post(body))
            if client.answer().body != body:
                failures.append((number, turn))
        client.socket.close()

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)
    assert failures == []
    running.wait_until(lambda: running.server.connection_count == 0)


def test_no_request_waits_for_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterwrite.server.front._SWEEP_MS", 3_600_000)
    with serving(echo, with_front=True) as running:
        client = running.client()
        for turn in range(40_000):
            body = b"%d" % turn
            client.send(post(body))
            assert client.answer().body == body


def test_a_client_that_sends_on_without_waiting_is_answered_in_order(serve: Serve) -> None:
    held = Held()
    running = serve(held, with_front=True)
    client = running.client()
    client.send(post(b"first"))
    running.wait_for(held, 1)
    client.send(post(b"second") + post(b"third"))
    running.answer(held, 0)
    assert client.answer().body == b"first"
    running.wait_for(held, 3)
    running.answer(held, 2)
    running.answer(held, 1)
    assert [client.answer().body, client.answer().body] == [b"second", b"third"]


def test_an_answer_for_one_who_left_does_not_reach_the_next(serve: Serve) -> None:
    held = Held()
    running = serve(held, with_front=True)
    for number in range(50):
        leaving = running.client()
        leaving.send(post(b"secret"))
        running.wait_for(held, 2 * number + 1)
        leaving.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        leaving.socket.close()
        running.wait_until(lambda: running.server.connection_count == 0)
        following = running.client()
        following.send(post(b"mine"))
        running.wait_for(held, 2 * number + 2)
        running.answer(held, 2 * number)
        running.answer(held, 2 * number + 1)
        assert following.answer().body == b"mine"
        following.socket.close()
        running.wait_until(lambda: running.server.connection_count == 0)
