"""Whatever bytes arrive on a connection, the server answers or closes it, never with a 5xx, and serves the others."""

from __future__ import annotations

import gzip
import re
import socket
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from bounds import BOUND_S
from engine_process import EngineUnderTest
from fuzz.budget import TIMEOUT_S, sources
from fuzz.mutation import changed_bytes

BODY = b'{"TableName":"nowhere","Key":{"pk":{"S":"a"}}}'
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\n"
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


def with_body(body: bytes, headers: bytes = b"") -> bytes:
    return HEAD + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


CONVERSATIONS = (
    with_body(BODY),
    with_body(BODY) * 3,
    with_body(gzip.compress(BODY), b"Content-Encoding: gzip\r\n"),
    with_body(BODY, b"Accept-Encoding: gzip\r\nConnection: keep-alive\r\nUser-Agent: fuzz\r\n"),
    with_body(BODY, b"Expect: 100-continue\r\n"),
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n17\r\n" + BODY[:23] + b"\r\n17\r\n" + BODY[23:] + b"\r\n0\r\n\r\n",
    with_body(BODY, b"Authorization: AWS4-HMAC-SHA256 Credential=a/20240101/r/dynamodb/aws4_request\r\n"),
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + with_body(BODY),
    b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
)


def converse(address: str, source: Random, content: bytes) -> bytes:
    """Send the bytes in one to three pieces on a connection of their own; everything that is answered until its end."""
    host, port = address.split(":")
    cuts = sorted(source.randrange(len(content) + 1) for _ in range(source.choice((0, 0, 1, 2))))
    received = b""
    with socket.create_connection((host, int(port)), timeout=BOUND_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True):
                connection.sendall(content[start:stop])
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                received += piece
        except TimeoutError:
            raise
        except OSError:
            pass  # the server has heard enough, and closed
    return received


@pytest.mark.timeout(TIMEOUT_S)
def test_any_bytes_are_answered_or_refused(tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    with EngineUnderTest(None, tmp_path / "data") as engine:
        for name, source in sources(0.25):
            content = changed_bytes(source, source.choice(CONVERSATIONS))
            if source.random() < 0.05:
                content = source.randbytes(source.randrange(300))
            what = f"case {name}: {content[:2000]!r}"
            try:
                answer = converse(engine.address, source, content)
            except OSError as error:
                raise AssertionError(f"{what}: {error!r}\n{engine.abort()}") from error
            found = [int(status) for status in STATUS.findall(answer)]
            assert all(status < 500 for status in found), f"{what}: {answer!r}\n{engine.log.read_text()[-3000:]}"
            assert found or not answer, f"{what}: {answer!r}"
            statuses.update(found)
        print(f"{sum(statuses.values())} answers: {dict(statuses)}")
        assert statuses[400]
        assert engine.call("ListTables", {}) == {"TableNames": []}
        assert engine.stop() == 0
        assert "Traceback" not in engine.log.read_text()
