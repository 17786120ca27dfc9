"""Compressed answers: only where the client takes them and they are worth it, with the checksum of what is sent."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from afterwrite.server.http_messages import accepted_coding
from server.http_serving import Serve, echo, post

LARGE = b"0123456789" * 1000


@pytest.mark.parametrize(("coding", "undo"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_a_large_answer_is_compressed_for_who_takes_it(
    serve: Serve, coding: str, undo: Callable[[bytes], bytes]
) -> None:
    client = serve(echo).client()
    client.send(post(LARGE, f"Accept-Encoding: {coding}"))
    answer = client.answer()
    assert answer.headers["content-encoding"] == coding
    assert len(answer.body) < len(LARGE) / 10
    assert int(answer.headers["x-amz-crc32"]) == zlib.crc32(answer.body)
    assert undo(answer.body) == LARGE


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


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        (b"gzip, deflate, br, zstd", b"gzip"),
        (b"zstd, deflate, gzip", b"deflate"),
        (b"GZIP , identity", b"gzip"),
        (b"", b""),
        (b"identity", b""),
        (b"br;q=1.0, gzip ; q=0", b""),
        (b"gzip; q = 0.2, deflate;q=.4", b"deflate"),
        (b"identity;q=1, gzip;q=0.001", b"gzip"),
        (b"deflate;q=7, gzip;q=9", b"deflate"),
        (b"deflate;q=0.9, gzip;q=much", b"gzip"),
        (b"deflate;q=-1, gzip;q=0.1", b"gzip"),
        (b"gzip;level=1;q=0;q=1, deflate;q=0.", b""),
        (b"deflate;q=0, deflate;q=1, deflate;q=0", b"deflate"),
        (b"*", b"gzip"),
        (b"*;q=0", b""),
        (b"*, gzip;q=0.9", b"deflate"),
        (b"*, deflate", b"deflate"),
        (b"*;q=0.5, deflate;q=0.4", b"gzip"),
        (b"x-gzip", b""),
        (b'"gzip", gzip deflate, gzip:q=1', b""),
    ],
)
def test_the_coding_is_what_dynamodb_would_choose(accept_encoding: bytes, coding: bytes) -> None:
    assert accepted_coding(accept_encoding) == coding
