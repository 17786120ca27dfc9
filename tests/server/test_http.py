"""The HTTP server, over raw sockets: what is sent byte by byte, and what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import socket
import struct
import threading
import zlib

import pytest

from afterwrite.server.http import Request, Respond, Response
from bounds import BOUND_S
from server.http_serving import Client, Held, Serve, Serving, chunked, echo, post

# --- requests


def test_a_request_arrives_whole(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    client.send(post(b"abc", "X-Amz-Target: DynamoDB_20120810.PutItem", "X-Twice: \t1 \t", "x-twice: 2"))
    serving.wait_for(held, 1)
    request = held.requests[0][0]
    assert (request.method, request.path, request.body) == (b"POST", b"/", b"abc")
    assert request.headers == {
        b"host": b"localhost",
        b"content-length": b"3",
        b"x-amz-target": b"DynamoDB_20120810.PutItem",
        b"x-twice": b"1,2",
    }


def test_an_answer_carries_length_checksum_type_and_an_id_of_its_own(serve: Serve) -> None:
    client = serve(echo).client()
    client.send(post(b'{"a":1}') * 2)
    first, second = client.answer(), client.answer()
    assert first.status == 200
    assert first.body == b'{"a":1}'
    assert first.headers["content-length"] == "7"
    assert first.headers["x-amz-crc32"] == str(zlib.crc32(b'{"a":1}'))
    assert first.headers["content-type"] == "application/x-amz-json-1.0"
    assert first.headers["x-amzn-requestid"] != second.headers["x-amzn-requestid"]
    assert first.headers["date"].endswith("gmt")


def test_an_answers_own_headers_and_type_are_sent(serve: Serve) -> None:
    answer = Response(418, b"", "text/plain", headers=(("X-Own", "yes"),))
    client = serve(lambda _request, respond: respond(answer)).client()
    client.send(post(b""))
    got = client.answer()
    assert (got.status, got.headers["content-type"], got.headers["x-own"]) == (418, "text/plain", "yes")


@pytest.mark.parametrize("data", [post(b"hello", "X-Long: " + "v" * 300), chunked(b"he", b"llo")])
def test_a_request_may_come_byte_by_byte(serve: Serve, data: bytes) -> None:
    client = serve(echo).client()
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data + data:
        client.send(bytes([byte]))
    assert [client.answer().body, client.answer().body] == [b"hello", b"hello"]


def test_a_request_that_asks_for_another_protocol_gets_none_and_its_answer(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
    head = "\r\n".join(("POST /path HTTP/1.1", "Host: h", *upgrade)).encode()
    data = (
        head + b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        head + b"\r\n\r\n",
        post(b"x" * 5000, *upgrade),
        post(b"plain"),
        post(b"last", "Connection: close, upgrade", "Upgrade: websocket"),
    )
    whole, slow = serving.client(), serving.client()
    whole.send(b"".join(data))
    for each in b"".join(data):
        slow.send(bytes((each,)))
    serving.wait_for(held, 2 * len(data))
    for number in range(2 * len(data)):
        serving.answer(held, number)
    for client in (whole, slow):
        answers = [client.answer() for _ in data]
        assert [each.body for each in answers] == [b"abc", b"", b"x" * 5000, b"plain", b"last"]
        assert client.is_closed()
    assert [request.path for request, _ in held.requests].count(b"/path") == 4


def test_many_requests_in_a_row_may_ask_for_another_protocol(serve: Serve) -> None:
    client = serve(echo).client()
    times = 3_000
    client.send(post(b"x", "Connection: Upgrade", "Upgrade: h2c") * times)
    assert all(client.answer().body == b"x" for _ in range(times))


def test_chunks_are_put_together_and_trailers_are_no_headers(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    whole = b"x" * 100_000
    client.send(chunked(b"a", b"bc", whole)[:-2] + b"X-Trailer: t\r\n\r\n" + post(b"next"))
    serving.wait_for(held, 2)
    (first, _), (second, _) = held.requests
    assert first.body == b"abc" + whole
    assert b"x-trailer" not in first.headers
    assert b"x-trailer" not in second.headers
    assert second.body == b"next"


def test_gzip_is_undone(serve: Serve) -> None:
    client = serve(echo).client()
    client.send(post(gzip.compress(b"words " * 1000), "Content-Encoding: gzip"))
    assert client.answer().body == b"words " * 1000


def test_gzip_members_in_a_row_are_one_body(serve: Serve) -> None:
    client = serve(echo).client()
    client.send(post(gzip.compress(b"one ") + gzip.compress(b"body"), "Content-Encoding: gzip"))
    assert client.answer().body == b"one body"


def test_expect_continue_is_answered_before_the_body_comes(serve: Serve) -> None:
    client = serve(echo).client()
    head, body = post(b"late", "Expect: 100-continue").split(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"
    client.send(body)
    assert client.answer().body == b"late"


def test_expect_continue_waits_for_the_answers_before_it(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    head, _body = post(b"late", "Expect: 100-continue").split(b"\r\n\r\n")
    client.send(post(b"first") + head + b"\r\n\r\n")
    serving.wait_for(held, 1)
    assert client.is_silent()
    serving.answer(held, 0)
    assert client.answer().body == b"first"
    assert client.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"


def test_a_head_request_gets_no_body(serve: Serve) -> None:
    client = serve(lambda _request, respond: respond(Response(200, b"healthy"))).client()
    client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.answer(head_only=True).headers["content-length"] == "7"
    assert client.answer().body == b"healthy"


# --- order


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    client = serve(echo).client()
    bodies = [b"%d" % number for number in range(1000)]
    client.send(b"".join(post(body) for body in bodies))
    assert [client.answer().body for _ in bodies] == bodies


def test_answers_given_out_of_order_leave_in_order(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    client.send(post(b"0") + post(b"1") + post(b"2") + post(b"3"))
    serving.wait_for(held, 4)
    for number in (2, 1):
        serving.answer(held, number)
    assert client.is_silent()
    serving.answer(held, 0)
    assert [client.answer().body for _ in range(3)] == [b"0", b"1", b"2"]
    assert client.is_silent()
    serving.answer(held, 3)
    assert client.answer().body == b"3"


def test_one_slow_connection_does_not_hold_up_another(serve: Serve) -> None:
    held = Held()

    def handler(request: Request, respond: Respond) -> None:
        (held if request.body == b"slow" else echo)(request, respond)

    serving = serve(handler)
    slow, fast = serving.client(), serving.client()
    slow.send(post(b"slow"))
    fast.send(post(b"fast"))
    assert fast.answer().body == b"fast"
    assert slow.is_silent()


def test_a_second_answer_is_an_error_of_the_handler(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    client.send(post(b"0"))
    serving.wait_for(held, 1)
    serving.answer(held, 0)
    with pytest.raises(RuntimeError, match="call respond once"):
        serving.answer(held, 0)
    assert client.answer().body == b"0"


# --- keeping and closing


@pytest.mark.parametrize(
    ("version", "header", "kept", "said"),
    [
        ("1.1", "X-None: 0", True, None),
        ("1.1", "Connection: keep-alive", True, "keep-alive"),
        ("1.1", "Connection: close", False, "close"),
        ("1.0", "X-None: 0", False, "close"),
        ("1.0", "Connection: keep-alive", True, "keep-alive"),
    ],
)
def test_keep_alive(serve: Serve, version: str, header: str, kept: bool, said: str | None) -> None:
    client = serve(echo).client()
    client.send(post(b"1", header, version=version))
    assert client.answer().headers.get("connection") == said
    if kept:
        client.send(post(b"2"))
        assert client.answer().body == b"2"
    else:
        assert client.is_closed()


def test_a_client_that_ends_its_side_still_gets_its_answers(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    client.send(post(b"0") + post(b"1"))
    client.socket.shutdown(socket.SHUT_WR)
    serving.wait_for(held, 2)
    for number in (0, 1):
        serving.answer(held, number)
    assert [client.answer().body, client.answer().body] == [b"0", b"1"]
    assert client.is_closed()


def test_a_client_that_leaves_in_the_middle_harms_nobody(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    held = Held()
    serving = serve(held)
    for number, rest in enumerate((b"", b"POST / HT", post(b"cut short")[:-3])):
        client = serving.client()
        client.send(post(b"whole") + rest)
        serving.wait_for(held, number + 1)
        # Linger 0 makes close() send a reset.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()
    serving.wait_until(lambda: not serving.server.connection_count)
    for number in range(3):
        serving.answer(held, number)
    other = serving.client()
    other.send(post(b"other"))
    serving.wait_for(held, 4)
    serving.answer(held, 3)
    assert other.answer().body == b"other"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_client_that_leaves_while_a_large_answer_is_sent(serve: Serve) -> None:
    large = Response(200, b"x" * (8 << 20))
    serving = serve(lambda request, respond: respond(large if request.body == b"large" else Response(200, b"")))
    client = serving.client()
    client.send(post(b"large") * 4)
    client.read(100_000)
    client.socket.close()
    serving.wait_until(lambda: not serving.server.connection_count)
    other = serving.client()
    other.send(post(b"small"))
    assert other.answer().status == 200


# --- waiting


@pytest.mark.parametrize("sent", [b"POST / HTTP/1.1\r\nHost:", post(b"body")[:-1]], ids=["head", "body"])
def test_a_request_that_does_not_end_in_time_gets_408(serve: Serve, sent: bytes) -> None:
    client = serve(echo, read_timeout_s=0.1).client()
    client.send(post(b"good") + sent)
    assert client.answer().body == b"good"
    assert client.answer().status == 408
    assert client.is_closed()


def client_that_is_heard(serving: Serving, held: Held, body: bytes) -> Client:
    """A client whose request is held: on a busy machine a connection may be idle too long before its first one."""
    while not held.requests:
        client = serving.client()
        with contextlib.suppress(OSError):
            client.send(post(body))
        serving.wait_until(lambda client=client: bool(held.requests) or not client.is_silent())  # type: ignore[misc]
    return client


def test_an_idle_connection_is_closed_without_a_word(serve: Serve) -> None:
    held = Held()
    serving = serve(held, idle_timeout_s=0.1)
    client = client_that_is_heard(serving, held, b"good")
    serving.answer(held, 0)
    assert client.answer().body == b"good"
    assert client.is_closed()


def test_a_connection_that_waits_for_its_answer_is_not_idle(serve: Serve) -> None:
    held = Held()
    serving = serve(held, idle_timeout_s=0.05, read_timeout_s=0.05)
    waiting = client_that_is_heard(serving, held, b"slow")
    assert serving.client().is_closed()  # the sweep has come by
    serving.answer(held, 0)
    assert waiting.answer().body == b"slow"


def test_reading_pauses_while_too_many_requests_wait(serve: Serve) -> None:
    held = Held()
    serving = serve(held, unanswered_max=3, with_front=False)  # the front takes one at a time
    client = serving.client()
    # Larger than what the sockets between can hold, so that sending blocks while the server reads nothing.
    body = b"x" * (1 << 20)
    sender = threading.Thread(target=client.send_each, args=(post(body), 32))
    sender.start()
    serving.wait_for(held, 3)
    assert sender.is_alive()
    for number in range(32):
        serving.wait_for(held, number + 1)
        assert len(held.requests) <= number + 3  # what one read brings is less than one of these bodies
        serving.answer(held, number)
        assert client.answer().body == body
    sender.join(BOUND_S)
    assert len(held.requests) == 32


def test_reading_pauses_while_the_client_takes_no_answers(serve: Serve) -> None:
    buffered: list[int] = []

    def handler(_request: Request, respond: Respond) -> None:
        buffered.extend(each._transport.get_write_buffer_size() for each in serving.server.connections)
        respond(Response(200, b"x" * (1 << 20)))

    serving = serve(handler, with_front=False)  # the front reads nothing while an answer is under way
    client = serving.client()
    # One read brings less than one of these requests, so each is read after a look at the answers' buffer.
    sender = threading.Thread(target=client.send_each, args=(post(b"y" * (300 << 10)), 100))
    sender.start()
    serving.wait_until(lambda: any(each._write_blocked for each in serving.server.connections))
    for _ in range(100):
        assert len(client.answer().body) == 1 << 20
    sender.join(BOUND_S)
    assert len(buffered) == 100
    assert max(buffered) <= 256 << 10


def test_a_client_that_never_takes_its_answer_is_cut_off(serve: Serve) -> None:
    answered = threading.Event()

    def handler(_request: Request, respond: Respond) -> None:
        respond(Response(200, b"x" * (32 << 20)))
        answered.set()

    serving = serve(handler, read_timeout_s=0.1)
    serving.client().send(post(b""))
    serving.wait_until(lambda: answered.is_set() and not serving.server.connection_count)


# --- stopping


def test_stop_answers_what_has_arrived_and_closes_the_rest(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    busy, idle = serving.client(), serving.client()
    busy.send(post(b"busy"))
    serving.wait_until(lambda: len(held.requests) == 1 and serving.server.connection_count == 2)
    stopped = serving.stop()
    assert idle.is_closed()
    assert not stopped.done()
    serving.answer(held, 0)
    answer = busy.answer()
    assert (answer.body, answer.headers["connection"]) == (b"busy", "close")
    assert busy.is_closed()
    stopped.result(BOUND_S)
    with pytest.raises(ConnectionRefusedError):
        Client(serving.address)


def test_stop_does_not_wait_for_ever(serve: Serve) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    client.send(post(b"busy"))
    serving.wait_for(held, 1)
    serving.stop(0.05).result(BOUND_S)
    serving.answer(held, 0)
    with pytest.raises((EOFError, ConnectionResetError)):
        client.answer()


def test_the_address_is_free_for_the_next_server(serve: Serve) -> None:
    first = serve(echo)
    client = first.client()
    client.send(post(b"1"))
    assert client.answer().body == b"1"
    first.stop().result(BOUND_S)
    second = serve(echo, port=first.address[1]).client()
    second.send(post(b"2"))
    assert second.answer().body == b"2"


def test_those_who_connect_while_the_server_is_busy_are_all_heard_soon_after(serve: Serve) -> None:
    """Within a few rounds of the event loop: a round is long while those that are connected ask for much."""
    busy, free = threading.Event(), threading.Event()
    rounds = [0]
    heard: list[int] = []

    def count() -> None:
        rounds[0] += 1
        asyncio.get_running_loop().call_soon(count)

    def handle(request: Request, respond: Respond) -> None:
        if request.body == b"be busy":
            busy.set()
            assert free.wait(BOUND_S)
            count()
        else:
            heard.append(rounds[0])
        respond(Response(200, b""))

    serving = serve(handle, with_front=False)  # the front accepts while the loop is busy
    first = serving.client()
    first.send(post(b"be busy"))
    assert busy.wait(BOUND_S)
    others = [serving.client() for _ in range(64)]
    for other in others:
        other.send(post(b"hello"))
    free.set()
    for client in [first, *others]:
        assert client.answer().status == 200
    assert len(heard) == 64
    assert max(heard) <= 16
