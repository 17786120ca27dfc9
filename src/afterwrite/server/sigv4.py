"""AWS Signature Version 4: whether a request was signed by one of the keys that may, and signing one.

Pure: no clock, no I/O.

    canonical request  ->  string to sign  ->  signature, by a key derived from the secret, day, region and service

The day, region and service of a signature are the client's own: an engine is in no region. Everything that says
what the request asks for (method, path, query, body, host, every x-amz header) has to be signed. Refusals are in
AWS's names and words. Source: the AWS IAM User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NoReturn
from urllib.parse import quote, unquote_to_bytes

from afterwrite.errors import ServiceError
from afterwrite.server.http_messages import Request

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_TERMINATOR: Final = "aws4_request"
_SKEW: Final = timedelta(minutes=15)
_TIME_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_SPACES: Final = re.compile(r" +")
_SEPARATORS: Final = re.compile(r"[,\s]+")


def verify(request: Request, credentials: Mapping[str, str], now_s: float) -> str:
    """The access key id that signed `request`, at the time `now_s` (since the epoch).

    `credentials` are secret access keys by id. Raises ServiceError: MissingAuthenticationTokenException,
    IncompleteSignatureException, UnrecognizedClientException or InvalidSignatureException.
    """
    headers = request.headers
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    if not authorization:
        raise ServiceError("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != _ALGORITHM:
        _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'")
    parameters = dict(part.partition("=")[::2] for part in _SEPARATORS.split(rest))
    signed_at = headers.get(b"x-amz-date", b"").decode("latin-1")
    _check_whole(parameters, signed_at, authorization)
    _check_time(signed_at, now_s)
    key_id, day, region, service = _scope(parameters["Credential"], signed_at)
    secret = credentials.get(key_id)
    if secret is None:
        raise ServiceError("UnrecognizedClientException", "The security token included in the request is invalid.")
    signed_headers = parameters["SignedHeaders"].split(";")
    _check_signed(signed_headers, headers)
    expected = _signature(request, signed_headers, signed_at, (day, region, service), secret)
    if not hmac.compare_digest(expected.encode(), parameters["Signature"].encode("latin-1")):
        _invalid(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details."
        )
    return key_id


def signed(request: Request, key_id: str, secret: str, *, region: str, service: str, now_s: float) -> Request:
    """`request`, all its headers signed by a key at the time `now_s` (since the epoch); it has a `host` header."""
    signed_at = f"{datetime.fromtimestamp(now_s, UTC):{_TIME_FORMAT}}"
    day = signed_at[:8]
    dated = replace(request, headers={**request.headers, b"x-amz-date": signed_at.encode()})
    names = sorted(name.decode("latin-1") for name in dated.headers)
    signature = _signature(dated, names, signed_at, (day, region, service), secret)
    authorization = (
        f"{_ALGORITHM} Credential={key_id}/{day}/{region}/{service}/{_TERMINATOR}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return replace(dated, headers={**dated.headers, b"authorization": authorization.encode("latin-1")})


def _signature(
    request: Request, signed_headers: list[str], signed_at: str, scope: tuple[str, str, str], secret: str
) -> str:
    """The signature of a request for a scope of day, region and service."""
    digest = hashlib.sha256(_canonical_request(request, signed_headers)).hexdigest()
    text = f"{_ALGORITHM}\n{signed_at}\n{'/'.join(scope)}/{_TERMINATOR}\n{digest}"
    return hmac.new(_signing_key(secret, *scope), text.encode(), hashlib.sha256).hexdigest()


def _check_whole(parameters: Mapping[str, str], signed_at: str, authorization: str) -> None:
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parameters.get(name)
    ]
    if not signed_at:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing:
        # The words of the service, but for the header itself: an error message is no place for a signature.
        _incomplete(f"{' '.join(missing)} Authorization={authorization.split('Signature=')[0]}")


def _scope(credential: str, signed_at: str) -> tuple[str, str, str, str]:
    """The access key id, day, region and service of a credential."""
    # An access key id of our own making may hold slashes; the scope's four parts never do.
    parts = credential.rsplit("/", 4)
    if len(parts) != 5 or not all(parts):
        _incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{credential}'"
        )
    key_id, day, region, service, terminator = parts
    if terminator != _TERMINATOR:
        _invalid(f"Credential should be scoped with a valid terminator: '{_TERMINATOR}', not '{terminator}'.")
    if day != signed_at[:8]:
        _invalid(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{day}' != '{signed_at[:8]}', from '{signed_at}'."
        )
    return key_id, day, region, service


def _check_time(signed_at: str, now_s: float) -> None:
    try:
        at = datetime.strptime(signed_at, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        _incomplete(f"Date must be in ISO-8601 'basic format'. Got '{signed_at}'.")
    now = datetime.fromtimestamp(int(now_s), UTC)
    if at < now - _SKEW:
        bound = f"{now - _SKEW:{_TIME_FORMAT}} ({now:{_TIME_FORMAT}} - 15 min.)"
        _invalid(f"Signature expired: {signed_at} is now earlier than {bound}")
    if at > now + _SKEW:
        bound = f"{now + _SKEW:{_TIME_FORMAT}} ({now:{_TIME_FORMAT}} + 15 min.)"
        _invalid(f"Signature not yet current: {signed_at} is still later than {bound}")


def _check_signed(signed_headers: list[str], headers: Mapping[bytes, bytes]) -> None:
    """Refuse a signature that leaves open what the request asks for."""
    names = set(signed_headers)
    if "host" not in names:
        _invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    unsigned = sorted(
        text for name in headers if (text := name.decode("latin-1")).startswith("x-amz-") and text not in names
    )
    if unsigned:
        _invalid(f"There were headers present in the request which were not signed: {', '.join(unsigned)}")


def _canonical_request(request: Request, signed_headers: list[str]) -> bytes:
    path, _, query = request.path.decode("latin-1").partition("?")
    lines = [
        request.method.decode("latin-1"),
        # Encoded once more than it was sent, by every service but S3.
        quote(path, safe="/-_.~") or "/",
        _canonical_query(query),
        *(f"{name}:{_canonical_value(request.headers.get(name.encode('latin-1'), b''))}" for name in signed_headers),
        "",
        ";".join(signed_headers),
        hashlib.sha256(request.sent_body).hexdigest(),
    ]
    return "\n".join(lines).encode()


def _canonical_query(query: str) -> str:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    encoded = sorted(
        (quote(unquote_to_bytes(name), safe="-_.~"), quote(unquote_to_bytes(value), safe="-_.~"))
        for name, value in pairs
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


def _canonical_value(value: bytes) -> str:
    return _SPACES.sub(" ", value.decode("latin-1").strip())


@lru_cache(maxsize=64)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, _TERMINATOR):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _incomplete(message: str) -> NoReturn:
    raise ServiceError("IncompleteSignatureException", message)


def _invalid(message: str) -> NoReturn:
    raise ServiceError("InvalidSignatureException", message)
