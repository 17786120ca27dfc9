"""Signatures: botocore's signer is the reference for what is right, AWS's names and words for what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from afterwrite.errors import ServiceError
from afterwrite.server.http_messages import Request, add_header
from afterwrite.server.sigv4 import signed as signed_here
from afterwrite.server.sigv4 import verify

SECRETS = {"AKID": "secret", "other/with/slashes": "another"}
BODY = b'{"TableName":"things"}'


def signed(
    *, key_id: str = "AKID", secret: str = "secret", body: bytes = BODY, path: str = "/", **headers: str
) -> Request:
    sent = {"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": "application/x-amz-json-1.0", **headers}
    request = AWSRequest("POST", f"http://localhost:4566{path}", headers=sent, data=body)
    SigV4Auth(Credentials(key_id, secret), "dynamodb", "eu-central-1").add_auth(request)
    prepared = request.prepare()
    lines = {name.lower().encode(): _bytes(value) for name, value in prepared.headers.items()}
    return Request(b"POST", path.encode(), {b"host": b"localhost:4566", **lines}, body, body)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def signed_at_s(request: Request) -> float:
    text = request.headers[b"x-amz-date"].decode()
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def refused(request: Request, *, later_s: float = 0) -> ServiceError:
    with pytest.raises(ServiceError) as failed:
        verify(request, SECRETS, signed_at_s(request) + later_s)
    assert failed.value.status == 400
    return failed.value


@pytest.mark.parametrize("key_id", SECRETS)
@pytest.mark.parametrize("path", ["/", "/a%20b/c", "/?b=2&a=1&a=%20%2F&c", "/*~"])
@pytest.mark.parametrize("body", [b"", BODY, bytes(range(256))])
def test_what_botocore_signs_is_accepted(key_id: str, path: str, body: bytes) -> None:
    request = signed(key_id=key_id, secret=SECRETS[key_id], path=path, body=body, **{"X-Amz-Meta": " two  spaces "})
    assert verify(request, SECRETS, signed_at_s(request)) == key_id


def test_a_header_that_is_sent_twice_is_signed_as_its_values_with_a_comma() -> None:
    sent = AWSRequest("POST", "http://localhost:4566/", headers={"Content-Type": "text/plain"}, data=BODY)
    sent.headers.add_header("X-Amz-Meta-Twice", "first")
    sent.headers.add_header("X-Amz-Meta-Twice", "second")
    SigV4Auth(Credentials("AKID", "secret"), "dynamodb", "eu-central-1").add_auth(sent)
    headers = {b"host": b"localhost:4566"}
    for name, value in sent.headers.items():
        add_header(headers, name.encode(), _bytes(value))
    request = Request(b"POST", b"/", headers, BODY, BODY)
    assert verify(request, SECRETS, signed_at_s(request)) == "AKID"


@pytest.mark.parametrize("path", ["/", "/?b=2&a=1"])
def test_what_is_signed_here_is_what_botocore_signs(path: str) -> None:
    theirs = signed(path=path)
    bare = {name: value for name, value in theirs.headers.items() if name not in (b"authorization", b"x-amz-date")}
    ours = signed_here(
        replace(theirs, headers=bare),
        "AKID",
        "secret",
        region="eu-central-1",
        service="dynamodb",
        now_s=signed_at_s(theirs),
    )
    assert verify(ours, SECRETS, signed_at_s(theirs)) == "AKID"
    ours_scope, theirs_scope = (each.headers[b"authorization"].partition(b", ")[0] for each in (ours, theirs))
    assert ours_scope == theirs_scope


def test_the_body_that_counts_is_the_one_sent() -> None:
    request = signed(body=b"as compressed")
    assert verify(replace(request, body=b"as meant"), SECRETS, signed_at_s(request)) == "AKID"


def _header(name: bytes, value: bytes) -> Callable[[Request], Request]:
    return lambda request: replace(request, headers={**request.headers, name: value})


TAMPERED: dict[str, Callable[[Request], Request]] = {
    "body": lambda request: replace(request, sent_body=BODY + b" "),
    "operation": _header(b"x-amz-target", b"DynamoDB_20120810.DeleteItem"),
    "host": _header(b"host", b"elsewhere"),
    "path": lambda request: replace(request, path=b"/other"),
    "method": lambda request: replace(request, method=b"GET"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_changed_after_signing_is_refused(what: str) -> None:
    error = refused(TAMPERED[what](signed()))
    assert error.code == "InvalidSignatureException"
    assert "does not match the signature you provided" in error.message


def test_a_wrong_secret_is_refused() -> None:
    assert refused(signed(secret="wrong")).code == "InvalidSignatureException"


def test_an_unknown_key_is_refused_in_the_services_words() -> None:
    error = refused(signed(key_id="nobody"))
    assert (error.code, error.message) == (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )


def test_a_request_without_a_signature_is_refused_in_the_services_words() -> None:
    with pytest.raises(ServiceError) as failed:
        verify(Request(b"POST", b"/", {b"host": b"localhost"}, BODY, BODY), SECRETS, 0)
    assert failed.value.code == "MissingAuthenticationTokenException"
    assert failed.value.message == "Request is missing Authentication Token"


@pytest.mark.parametrize("name", ["Credential", "SignedHeaders", "Signature"])
def test_an_authorization_that_is_not_whole_is_refused(name: str) -> None:
    request = signed()
    authorization = request.headers[b"authorization"].replace(name.encode() + b"=", b"Other=")
    error = refused(_header(b"authorization", authorization)(request))
    assert error.code == "IncompleteSignatureException"
    assert f"requires '{name}' parameter" in error.message


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (b"Bearer token", "IncompleteSignatureException"),
        (b"AWS4-HMAC-SHA256", "IncompleteSignatureException"),
        (b"AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host, Signature=00", "IncompleteSignatureException"),
        (
            b"AWS4-HMAC-SHA256 Credential=AKID/20200101/r/dynamodb/aws4_request, SignedHeaders=host, Signature=00",
            "InvalidSignatureException",
        ),
        (b"AWS4-HMAC-SHA256 \xff\xfe=\x00", "IncompleteSignatureException"),
    ],
)
def test_an_authorization_of_another_kind_is_refused(authorization: bytes, code: str) -> None:
    assert refused(_header(b"authorization", authorization)(signed())).code == code


def test_a_signature_without_its_time_is_refused() -> None:
    request = signed()
    now_s = signed_at_s(request)
    request = replace(
        request, headers={name: value for name, value in request.headers.items() if name != b"x-amz-date"}
    )
    with pytest.raises(ServiceError, match="X-Amz-Date") as failed:
        verify(request, SECRETS, now_s)
    assert failed.value.code == "IncompleteSignatureException"


def test_a_signature_holds_for_a_quarter_of_an_hour() -> None:
    request = signed()
    for later_s in (-900, 900):
        assert verify(request, SECRETS, signed_at_s(request) + later_s) == "AKID"
    expired, early = refused(request, later_s=901), refused(request, later_s=-901)
    assert {expired.code, early.code} == {"InvalidSignatureException"}
    assert expired.message.startswith("Signature expired: ")
    assert early.message.startswith("Signature not yet current: ")


def test_the_time_is_looked_at_before_whose_signature_it_is() -> None:
    authorization = b"AWS4-HMAC-SHA256 Credential=nobody/1/2/3/aws4_request, SignedHeaders=host, Signature=00"
    request = _header(b"authorization", authorization)(signed())
    assert refused(request, later_s=901).message.startswith("Signature expired: ")


@pytest.mark.parametrize("separator", [b",", b" ", b" ,\t"])
def test_what_a_signature_consists_of_may_be_separated_by_commas_or_spaces(separator: bytes) -> None:
    request = signed()
    authorization = request.headers[b"authorization"].replace(b", ", separator)
    assert verify(_header(b"authorization", authorization)(request), SECRETS, signed_at_s(request)) == "AKID"


def test_whatever_says_what_is_asked_for_has_to_be_signed() -> None:
    error = refused(_header(b"x-amz-added", b"1")(signed()))
    assert "not signed: x-amz-added" in error.message
    request = signed()
    without_host = request.headers[b"authorization"].replace(b";host", b"")
    assert "'Host'" in refused(_header(b"authorization", without_host)(request)).message
