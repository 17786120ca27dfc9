"""Failures: which kind an exception is, and the words, the place and the fingerprint that are kept of it."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from email.message import Message
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from afterwrite.core.failure_kinds import DIRECTIVES, Kind
from afterwrite.core.failures import failure_of, kind_of, reason_of, traceback_of
from afterwrite.errors import ConditionalCheckFailed, Rejected, ServiceError, Throttled, Unavailable


def answered(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Put")  # type: ignore[typeddict-item]


class Refused(Exception):
    """As HTTP clients raise: with the response."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.response = type("Response", (), {"status_code": status})()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Throttled(), "throttled"),
        (Unavailable(), "unavailable"),
        (Rejected(), "rejected"),
        (answered("ThrottlingException"), "throttled"),
        (answered("ProvisionedThroughputExceededException"), "throttled"),
        (answered("ModelTimeoutException", 408), "unavailable"),  # S39
        (answered("SomethingNew", 503), "unavailable"),
        (answered("ValidationException"), "rejected"),  # S39
        (answered("AccessDeniedException"), "permission"),  # S39
        (answered("ResourceNotFoundException", 404), "missing"),
        (answered("SomethingNew"), "bug"),
        (ServiceError("ValidationException", "no"), "rejected"),
        (ConditionalCheckFailed(), "bug"),
        (Refused(429), "throttled"),
        (Refused(502), "unavailable"),
        (Refused(403), "permission"),
        (Refused(404), "missing"),
        (Refused(422), "rejected"),
        (Refused(408), "unavailable"),
        (Refused(409), "unavailable"),
        (urllib.error.HTTPError("http://x", 503, "busy", Message(), None), "unavailable"),
        (ConnectionRefusedError(), "unavailable"),
        (TimeoutError(), "unavailable"),
        (EndpointConnectionError(endpoint_url="http://x"), "unavailable"),
        (ReadTimeoutError(endpoint_url="http://x"), "unavailable"),
        (ValueError("a value"), "bug"),
        (SystemExit(1), "bug"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{type(value).__name__}-{value}",
)
def test_a_kind_is_told_by_type_code_status_or_name(error: BaseException, kind: Kind) -> None:
    assert kind_of(error) == kind
    assert DIRECTIVES[kind].remedy


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("cannot say")


class Leaving(Exception):
    """Whose words end the thread that asks for them."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Unanswered(Exception):
    """As clients' errors are that have a property for the answer, and got none."""

    @property
    def response(self) -> Any:
        raise RuntimeError("the request has no response")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (ValueError(), "ValueError"),
        (SystemExit(2), "SystemExit: 2"),
        (ValueError("half \ud800 pair"), "ValueError: half \\ud800 pair"),
        (Mute(), "Mute: (without words: its __str__ fails)"),
        (Leaving(), "Leaving: (without words: its __str__ fails)"),
        (Unanswered("no"), "Unanswered: no"),
    ],
)
def test_a_reason_can_be_stored_whatever_was_raised(error: BaseException, reason: str) -> None:
    assert reason_of(error) == reason
    failed = failure_of(error)
    assert (failed.kind, failed.reason) == ("bug", reason)


def test_a_reason_is_bounded() -> None:
    reason = reason_of(ValueError("x" * 1_000_000))
    assert len(reason) < 2_100
    assert reason.endswith("(1000012 characters)")


def raised(code: Callable[..., Any], *arguments: Any) -> BaseException:
    try:
        code(*arguments)
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("it did not raise")


def fail(words: str) -> None:
    raise ValueError(words)


def fail_elsewhere(words: str) -> None:
    raise ValueError(words)


def fail_because() -> None:
    try:
        fail("first")
    except ValueError as error:
        raise KeyError("second") from error


def descend(depth: int) -> None:
    if depth == 0:
        raise ValueError
    descend(depth - 1)


def test_a_fingerprint_is_the_exceptions_and_the_places_whatever_it_says() -> None:
    def fingerprint(code: Callable[..., Any], *arguments: Any, raised_by: str = "route") -> str:
        return failure_of(raised(code, *arguments), raised_by=raised_by).fingerprint

    assert fingerprint(fail, "a") == fingerprint(fail, "b")
    others = {fingerprint(fail_elsewhere, "a"), fingerprint(fail_because), fingerprint(fail, "a", raised_by="other")}
    assert len(others | {fingerprint(fail, "a")}) == 4


def test_the_place_is_the_users_own_code_also_where_a_library_raises() -> None:
    def one() -> None:
        json.loads("{")

    def other() -> None:
        json.loads("{")

    failures = []
    for fail in (one, other, one):
        with pytest.raises(ValueError, match="Expecting") as raised:
            fail()
        failures.append(failure_of(raised.value))
    line = one.__code__.co_firstlineno + 1
    assert failures[0].reason.endswith(f"(at test_failures.py:{line})")
    assert "decoder.py" in failures[0].traceback
    assert failures[0].fingerprint == failures[2].fingerprint != failures[1].fingerprint


def test_a_traceback_names_the_places_of_the_cause_first_and_no_values() -> None:
    lines = traceback_of(raised(fail_because)).splitlines()
    assert [line for line in lines if not line.startswith("  ")] == ["ValueError", "which led to:", "KeyError"]
    assert lines[1].endswith(f"test_failures.py:{fail.__code__.co_firstlineno + 1} in fail")
    assert not any("first" in line or "second" in line for line in lines)


def test_a_traceback_is_bounded() -> None:
    lines = traceback_of(raised(descend, 200)).splitlines()
    assert len(lines) == 32
    assert "  (172 frames)" in lines


def test_a_target_may_ask_to_be_left_alone() -> None:
    assert failure_of(Throttled("slow down", retry_after_s=1.5)).after_ms == 1_500
    assert failure_of(Throttled("slow down", retry_after_s=float("inf"))).after_ms == 86_400_000
    assert failure_of(Unavailable("gone", retry_after_s=float("-inf"))).after_ms == 0
    assert failure_of(Unavailable("down")).after_ms == 0


@pytest.mark.parametrize(
    ("said", "after_ms"),
    [("5", 5_000), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), (Decimal("0.5"), 500), (Decimal("NaN"), 0), (timedelta(1), 0)],
)
def test_what_a_function_says_for_the_time_to_wait_may_be_anything(said: Any, after_ms: int) -> None:
    assert failure_of(Throttled("slow down", retry_after_s=said)).after_ms == after_ms
