"""Whatever stands in a signed request's head, it is accepted or refused as AWS does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from afterwrite.errors import ServiceError
from afterwrite.server import sigv4
from afterwrite.server.http import Request
from fuzz.budget import TIMEOUT_S, sources
from fuzz.mutation import changed_bytes

NOW_S = 1_700_000_000.0
BODY = b'{"TableName":"things"}'
HEADERS = {b"host": b"localhost", b"x-amz-target": b"DynamoDB_20120810.GetItem", b"content-type": b"text/plain"}
SIGNED = sigv4.signed(
    Request(b"POST", b"/?a=b&c", HEADERS, BODY, BODY), "id", "secret", region="r", service="dynamodb", now_s=NOW_S
)
CODES = {
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
}


@pytest.mark.timeout(TIMEOUT_S)
def test_any_head_is_accepted_or_refused() -> None:
    assert sigv4.verify(SIGNED, {"id": "secret"}, NOW_S) == "id"
    refused = 0
    for name, source in sources(0.05):
        headers = dict(SIGNED.headers)
        changed = replace(SIGNED, headers=headers)
        for _ in range(source.choice((1, 1, 2))):
            header = source.choice([*SIGNED.headers, None])
            if header is None:
                changed.path = changed_bytes(source, changed.path)
            else:
                headers[header] = changed_bytes(source, headers[header])
        try:
            sigv4.verify(changed, {"id": "secret"}, NOW_S)
        except ServiceError as error:
            assert error.code in CODES, f"case {name}: {changed}"
            refused += 1
        except Exception as error:
            raise AssertionError(f"case {name}: {changed}") from error
    assert refused
