"""Webhooks against the standard library's HTTP server: what arrives, and what an answer means."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from bench.processes import free_port

from afterwrite import DeclarationError, Message, Rejected, Throttled, Unavailable, Webhook
from afterwrite.targets.webhook import ANSWER_BYTES_MAX, retry_after_s, signature, signing_key
from targets.receiving import Receiver, dripping, receiving

ID = "change-1/propagate/0"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def test_a_body_arrives_as_json_under_its_key(receiver: Receiver) -> None:
    Webhook(receiver.url, headers={"Authorization": "Bearer x"}).post({"a": "ä", "n": 1}, id=ID)
    ((path, headers, body),) = receiver.requests
    assert path == "/hooks/a?token=t"
    assert json.loads(body) == {"a": "ä", "n": 1}
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == f'"{ID}"'
    assert headers["Authorization"] == "Bearer x"
    assert "webhook-signature" not in headers


@pytest.mark.parametrize("wrap", [lambda asked: asked, lambda asked: Message("m", asked, 0)])
def test_it_is_a_function_s_whole_work(receiver: Receiver, wrap: Callable[[Any], Any]) -> None:
    context: Any = SimpleNamespace(invocation_id=ID)
    Webhook(receiver.url)(wrap({"a": 1}), context)
    ((_, headers, body),) = receiver.requests
    assert (json.loads(body), headers["Idempotency-Key"]) == ({"a": 1}, f'"{ID}"')


def test_a_key_with_characters_that_no_header_holds_is_quoted(receiver: Receiver) -> None:
    Webhook(receiver.url).post({}, id='chänge "1"\r\nX-Evil: 1/a')
    ((_, headers, _),) = receiver.requests
    assert headers["Idempotency-Key"] == '"ch%C3%A4nge%20%221%22%0D%0AX-Evil:%201/a"'
    assert "X-Evil" not in headers


def test_a_signature_is_verified_as_standard_webhooks_have_it(receiver: Receiver) -> None:
    """The headers, what is signed, and the key in base64: https://www.standardwebhooks.com, version 1."""
    key = b"0123456789abcdefghijklmn"
    Webhook(receiver.url, secret=f"whsec_{base64.b64encode(key).decode()}").post({"test": 2432232314}, id="msg_1")
    ((_, headers, body),) = receiver.requests
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}".encode()
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"
    assert headers["webhook-id"] == "msg_1"


def test_a_signature_is_what_the_reference_library_makes() -> None:
    """standardwebhooks 1.1.0 makes the same of the specification's example."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("status", "headers", "error", "after_s"),
    [
        (429, {"Retry-After": "7"}, Throttled, 7.0),
        (429, {}, Throttled, None),
        (503, {"Retry-After": "12"}, Unavailable, 12.0),
        (500, {}, Unavailable, None),
        (425, {}, Unavailable, None),
        (409, {}, Unavailable, None),
        (408, {}, Unavailable, None),
        (400, {}, Rejected, None),
        (401, {}, Rejected, None),
        (404, {}, Rejected, None),
        (410, {}, Rejected, None),
    ],
)
def test_an_answer_is_of_its_kind(
    receiver: Receiver, status: int, headers: Mapping[str, str], error: type[Exception], after_s: float | None
) -> None:
    receiver.answers.append((status, headers, b"some words"))
    webhook = Webhook(receiver.url)
    with pytest.raises(error, match=f"{status}: some words") as raised:
        webhook.post({}, id=ID)
    assert getattr(raised.value, "retry_after_s", None) == after_s
    assert "token" not in str(raised.value)
    webhook.post({}, id=ID)
    assert receiver.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(receiver: Receiver, status: int) -> None:
    with receiving() as elsewhere:
        receiver.answers.append((status, {"Location": elsewhere.url}, b""))
        with pytest.raises(Rejected, match="redirect"):
            Webhook(receiver.url).post({}, id=ID)
        assert elsewhere.requests == []


def test_a_system_that_does_not_answer_in_time_is_unavailable(receiver: Receiver) -> None:
    receiver.held = threading.Event()
    with pytest.raises(Unavailable, match="TimeoutError"):
        Webhook(receiver.url, timeout_s=0.1).post({}, id=ID)
    receiver.held.set()


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"])
def test_an_answer_that_comes_a_byte_at_a_time_is_not_waited_for(begun: bytes) -> None:
    with dripping(begun) as url, pytest.raises(Unavailable, match="TimeoutError"):
        Webhook(url, timeout_s=0.3).post({}, id=ID)


def test_a_system_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        Webhook(f"http://127.0.0.1:{free_port()}").post({}, id=ID)


def test_a_connection_is_used_again_and_replaced_when_it_was_closed(receiver: Receiver) -> None:
    webhook = Webhook(receiver.url)
    webhook.post({}, id=ID)
    receiver.hang_up = True
    webhook.post({}, id=ID)
    assert receiver.connections == 1
    webhook.post({}, id=ID)
    assert (receiver.connections, len(receiver.requests)) == (2, 3)


def test_a_long_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.answers.append((200, {}, b"x" * (ANSWER_BYTES_MAX + 1)))
    webhook = Webhook(receiver.url)
    webhook.post({}, id=ID)
    webhook.post({}, id=ID)
    assert receiver.connections == 2


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
    ],
)
def test_a_wait_is_asked_for_in_seconds_or_by_a_date(value: str | None, wanted: float | None) -> None:
    assert retry_after_s(value, now_s=100.0) == wanted


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Webhook("ftp://example.org"), "expected a webhook's URL"),
        (lambda: Webhook("https://"), "expected a webhook's URL"),
        (lambda: Webhook("https://user:hidden@example.org"), "expected a webhook's URL"),
        (lambda: Webhook("https://example.org:hidden/"), "expected a URL of the form"),
        (lambda: Webhook("https://[::1"), "expected a URL of the form"),
        (lambda: Webhook("https://example.org", headers={"X-A": "hidden\r\nX-B: 1"}), "printable ASCII"),
        (lambda: Webhook("https://example.org", timeout_s=0), "expected a webhook's timeout_s above 0"),
        (lambda: Webhook("https://example.org", secret=""), "expected a webhook's secret"),
        (lambda: Webhook("https://example.org", secret="whsec_"), "expected a webhook's secret"),
        (lambda: Webhook("https://example.org", headers={"Idempotency-Key": "1"}), "expected headers that a webhook"),
    ],
)
def test_what_is_declared_wrongly_is_told(declare: Callable[[], Webhook], message: str) -> None:
    with pytest.raises(DeclarationError, match=message) as raised:
        declare()
    assert "hidden" not in str(raised.value)
