"""Compressed answers: only where the client takes them and they are worth it, with the checksum of what is sent."""

from __future__ import annotations

import gzip
import zlib

import pytest

from afterwrite.server.http_messages import accepts_gzip
from server.http_serving import Serve, echo, post

LARGE = b"0123456789" * 1000


@pytest.mark.parametrize("header", ["gzip", "deflate, gzip;q=0.5, br", "GZIP", "x-gzip;q=1.0"])
def test_a_large_answer_is_compressed_for_who_takes_it(serve: Serve, header: str) -> None:
    client = serve(echo).client()
    client.send(post(LARGE, f"Accept-Encoding: {header}"))
    answer = client.answer()
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < len(LARGE) / 10
    assert int(answer.headers["x-amz-crc32"]) == zlib.crc32(answer.body)
    assert gzip.decompress(answer.body) == LARGE


@pytest.mark.parametrize("headers", [[], ["Accept-Encoding: identity"], ["Accept-Encoding: gzip;q=0, br"]])
def test_it_is_sent_plain_to_who_does_not(serve: Serve, headers: list[str]) -> None:
    client = serve(echo).client()
    client.send(post(LARGE, *headers))
    answer = client.answer()
    assert "content-encoding" not in answer.headers
    assert answer.body == LARGE
    assert int(answer.headers["x-amz-crc32"]) == zlib.crc32(LARGE)


def test_a_small_answer_is_not_worth_it(serve: Serve) -> None:
    client = serve(echo).client()
    client.send(post(b"small", "Accept-Encoding: gzip"))
    assert client.answer().body == b"small"


def test_answers_of_a_pipeline_are_each_as_asked_for(serve: Serve) -> None:
    client = serve(echo).client()
    client.send(post(LARGE, "Accept-Encoding: gzip") + post(LARGE) + post(b"x", "Accept-Encoding: gzip"))
    encodings = [client.answer().headers.get("content-encoding") for _ in range(3)]
    assert encodings == ["gzip", None, None]


def test_what_a_browser_sends_is_understood() -> None:
    assert accepts_gzip(b"gzip, deflate, br, zstd")
    assert not accepts_gzip(b"")
    assert not accepts_gzip(b"br;q=1.0, gzip ; q=0")
