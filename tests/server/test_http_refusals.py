"""The HTTP server, over raw sockets: what is refused, and how."""

from __future__ import annotations

import gzip

import pytest

from afterwrite.server.http import Request, Respond
from server.http_serving import Held, Serve, chunked, echo, post


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_400_behind_the_answers_before_it(serve: Serve, data: bytes) -> None:
    held = Held()
    serving = serve(held)
    client = serving.client()
    client.send(post(b"good") + data)
    serving.wait_for(held, 1)
    assert client.is_silent()
    serving.answer(held, 0)
    assert client.answer().body == b"good"
    refusal = client.answer()
    assert (refusal.status, refusal.error) == (400, "BadRequestException")
    assert refusal.headers["connection"] == "close"
    assert client.is_closed()
    assert len(held.requests) == 1


def test_a_client_of_http_2_is_told_in_http_2_to_speak_http_1(serve: Serve) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    whole, slow = serve(echo).client(), serve(echo).client()
    whole.send(preface + bytes.fromhex("000000 04 00 00000000"))
    slow.send(b"PRI * ")
    slow.send(preface.removeprefix(b"PRI * "))
    settings = "000000 04 00 00000000"
    go_away = "000026 07 00 00000000 00000000 0000000d"
    for client in (whole, slow):
        assert client.read(9) == bytes.fromhex(settings)
        assert client.read(17) == bytes.fromhex(go_away)
        assert client.read(30) == b"expected HTTP/1.1, came HTTP/2"
        assert client.is_closed()


def test_a_body_of_17_mb_is_refused_from_its_length_alone(serve: Serve) -> None:
    held = Held()
    client = serve(held).client()
    client.send(b"POST / HTTP/1.1\r\nContent-Length: 17000000\r\nExpect: 100-continue\r\n\r\n")
    assert client.answer().status == 413
    assert client.is_closed()
    assert not held.requests


def test_a_client_that_sends_17_mb_all_the_same_reads_why_it_was_refused(serve: Serve) -> None:
    held = Held()
    client = serve(held).client()
    client.send(post(b"x" * 17_000_000))
    refusal = client.answer()
    assert (refusal.status, refusal.error) == (413, "RequestEntityTooLargeException")
    assert client.is_closed()
    assert not held.requests


def test_a_chunked_body_is_counted_while_it_is_read(serve: Serve) -> None:
    client = serve(echo, body_bytes_max=1000).client()
    client.send(chunked(b"x" * 999, b"y"))
    assert client.answer().status == 200
    client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001)
    assert client.answer().status == 413


def test_endless_chunk_extensions_and_trailers_end(serve: Serve) -> None:
    for endless in (b"1;e=", b"1\r\nx\r\n0\r\nX-Trailer: "):
        client = serve(echo, body_bytes_max=1000, header_bytes_max=1000).client()
        client.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(endless + b"x" * 2_000_000)
        assert client.answer().status == 413


def test_a_body_at_the_limit_is_taken(serve: Serve) -> None:
    client = serve(echo).client()
    body = b"x" * (16 << 20)
    client.send(post(body))
    assert client.answer().body == body


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("gzip", gzip.compress(bytes(100 << 20)), 413),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"cut short")[:-5], 400),
        ("gzip", gzip.compress(b"") * 100, 400),
        ("br", b"anything", 415),
    ],
    ids=["a bomb", "not gzip", "cut short", "many members", "unknown"],
)
def test_a_bad_encoding_is_refused_and_the_connection_goes_on(
    serve: Serve, encoding: str, body: bytes, status: int
) -> None:
    client = serve(echo).client()
    client.send(post(body, f"Content-Encoding: {encoding}") + post(b"next"))
    assert client.answer().status == status
    assert client.answer().body == b"next"


def test_what_follows_a_whole_gzip_is_ignored(serve: Serve) -> None:
    client = serve(echo).client()
    client.send(post(gzip.compress(b"whole") + b"more", "Content-Encoding: gzip"))
    assert client.answer().body == b"whole"


@pytest.mark.parametrize("pieces", [1, 50], ids=["at once", "in pieces"])
def test_headers_beyond_their_limit_are_refused(serve: Serve, pieces: int) -> None:
    client = serve(echo, header_bytes_max=10_000).client()
    client.send(b"POST / HTTP/1.1\r\nX-Long: ")
    for _ in range(pieces):
        client.send(b"v" * (20_000 // pieces))
    client.send(b"\r\nContent-Length: 0\r\n\r\n")
    assert client.answer().status == 431
    assert client.is_closed()


def test_an_unknown_expectation_is_refused(serve: Serve) -> None:
    client = serve(echo).client()
    client.send(post(b"", "Expect: a-miracle"))
    assert client.answer().status == 417


def test_a_failing_handler_is_answered_logged_and_the_connection_goes_on(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: Request, respond: Respond) -> None:
        if request.body == b"bad":
            raise ValueError("the handler's own")
        echo(request, respond)

    client = serve(handler).client()
    client.send(post(b"bad") + post(b"good"))
    failure = client.answer()
    assert (failure.status, failure.error) == (500, "InternalServerError")
    assert b"own" not in failure.body
    assert client.answer().body == b"good"
    assert "ValueError: the handler's own" in caplog.text
