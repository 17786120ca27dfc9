"""OpenAI's chat completions over the wire: what is sent, and what each answer, error and silence becomes."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate

import pytest

from afterwrite.errors import DeclarationError
from afterwrite.targets.language_models import Answer, AnswerNotWhole, ModelFailed
from afterwrite.targets.openai_chat import ANSWER_BYTES_MAX, ChatModel
from bounds import BOUND_S
from model_endpoint import Endpoint, Scripted, completion, model_endpoint
from targets.receiving import dripping

BUSY = Scripted({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, 429, {"Retry-After": "3"})
BROKEN = Scripted({"error": {"message": "oops"}}, 500)


class Waits:
    """Takes the place of sleeping, and keeps for how long it was to be."""

    def __init__(self) -> None:
        self.waited_s: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waited_s.append(seconds)


def model(endpoint: Endpoint, waits: Waits | None = None, *, timeout_s: float = 30.0) -> ChatModel:
    url = f"{endpoint.url}/v1"
    return ChatModel(url, "small", api_key="key-1", timeout_s=timeout_s, sleep=waits or Waits())


def test_the_request_is_a_chat_completion_and_its_answer_is_given_with_what_it_cost() -> None:
    with model_endpoint(completion("It is short.")) as endpoint:
        assert model(endpoint).ask("Summarize.", system="Be brief.", max_tokens=100) == Answer("It is short.", 120, 30)
    path, headers, body = endpoint.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer key-1"
    assert body == {
        "model": "small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Summarize."}],
        "max_tokens": 100,
        "temperature": 0.0,
        "stream": False,
    }


def test_it_waits_as_long_as_it_is_told_and_asks_again() -> None:
    waits = Waits()
    with model_endpoint(BUSY, BROKEN, completion("Here.")) as endpoint:
        assert model(endpoint, waits).ask("x").text == "Here."
    assert waits.waited_s == [3.0, 1.0]


def test_a_wait_until_a_date_is_understood() -> None:
    waits = Waits()
    later = {"Retry-After": formatdate(time.time() + 1_000, usegmt=True)}
    with model_endpoint(Scripted({}, 503, later), completion("Here.")) as endpoint:
        assert model(endpoint, waits, timeout_s=10_000).ask("x").text == "Here."
    assert 500 < waits.waited_s[0] <= 1_000


def test_a_wait_that_is_longer_than_the_time_is_left_to_the_caller() -> None:
    waits = Waits()
    busy = Scripted({}, 429, {"Retry-After": "3600"})
    with model_endpoint(busy) as endpoint, pytest.raises(ModelFailed) as raised:
        model(endpoint, waits).ask("x")
    assert (raised.value.failure.kind, raised.value.retry_after_s, waits.waited_s) == ("throttled", 3600.0, [])


@pytest.mark.parametrize(
    ("answer", "kind", "asked"),
    [
        (BROKEN, "unavailable", 3),
        (BUSY, "throttled", 3),
        (Scripted({"error": {"message": "no", "code": "invalid_api_key"}}, 401), "permission", 1),
        (Scripted({"error": {"message": "pay", "code": "insufficient_quota"}}, 429), "permission", 1),
        (Scripted({"error": "model 'small' not found"}, 404), "missing", 1),
        (Scripted({"error": {"message": "too long", "type": "invalid_request_error"}}, 400), "rejected", 1),
        (Scripted(b"<html>moved</html>", 302, {"Location": "http://127.0.0.1:9/"}), "rejected", 1),
        (Scripted(b"<html>bad gateway</html>", 502), "unavailable", 3),
    ],
    ids=["500", "429", "401", "quota", "404", "400", "redirection", "502"],
)
def test_errors_are_told_apart(answer: Scripted, kind: str, asked: int) -> None:
    with model_endpoint(answer) as endpoint, pytest.raises(ModelFailed) as raised:
        model(endpoint).ask("x")
    assert (raised.value.failure.kind, len(endpoint.requests)) == (kind, asked)
    assert not raised.value.may_have_cost


@pytest.mark.parametrize(
    "answer",
    [
        Scripted(b'{"choices": [{"message": {"content": "It'),
        Scripted({"choices": []}),
        Scripted({"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}),
        Scripted(["no", "completion"]),
        Scripted(b'{"choices": ', cut=True),
    ],
    ids=["cut JSON", "no choice", "no text", "no object", "cut off"],
)
def test_an_answer_that_is_no_completion_is_asked_for_once_as_it_may_be_billed(answer: Scripted) -> None:
    with model_endpoint(answer) as endpoint, pytest.raises(ModelFailed) as raised:
        model(endpoint).ask("x")
    assert raised.value.failure.kind == "unavailable"
    assert raised.value.may_have_cost
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (completion("It is", "length"), "length"),
        (completion(None, "content_filter"), "content_filter"),
        (completion(None, refusal="I cannot help with that."), "refusal"),
        (completion(None, "tool_calls", tool_calls=[]), "tool_calls"),
    ],
    ids=["length", "filter", "refusal", "tools"],
)
def test_an_answer_that_is_not_whole_is_none(answer: Scripted, reason: str) -> None:
    with model_endpoint(answer) as endpoint, pytest.raises(AnswerNotWhole) as raised:
        model(endpoint).ask("x")
    assert (raised.value.stop_reason, raised.value.input_tokens, raised.value.output_tokens) == (reason, 120, 30)


def test_a_model_that_does_not_answer_in_time_is_left() -> None:
    with model_endpoint(Scripted({}, hold=True)) as endpoint:
        began = time.monotonic()
        with pytest.raises(ModelFailed) as raised:
            model(endpoint, timeout_s=0.5).ask("x")
        assert time.monotonic() - began < BOUND_S, "the answer is held for longer"
    assert (raised.value.failure.kind, raised.value.may_have_cost) == ("unavailable", True)


def test_an_answer_whose_head_comes_a_byte_at_a_time_is_not_waited_for() -> None:
    with dripping(b"HTTP/1.1 200 OK\r\n") as url, pytest.raises(ModelFailed) as raised:
        ChatModel(url, "small", timeout_s=0.3).ask("x")
    assert (raised.value.failure.kind, raised.value.may_have_cost) == ("unavailable", True)


def test_an_answer_without_end_is_not_read() -> None:
    with model_endpoint(Scripted(b" " * (2 * ANSWER_BYTES_MAX))) as endpoint, pytest.raises(ModelFailed) as raised:
        model(endpoint).ask("x")
    assert (raised.value.failure.code, raised.value.may_have_cost) == ("AnswerTooLong", True)


def test_where_nobody_listens_nothing_was_billed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waits = Waits()
    with pytest.raises(ModelFailed) as raised:
        ChatModel(f"http://127.0.0.1:{port}/v1", "small", sleep=waits).ask("x")
    assert (raised.value.failure.kind, raised.value.may_have_cost) == ("unavailable", False)
    assert waits.waited_s == [0.5, 1.0]


@pytest.mark.parametrize("url", ["localhost:11434/v1", "ftp://host/v1", "http:///v1", "http://host/v1?key=secret"])
def test_a_url_that_is_none_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(DeclarationError, match="expected an endpoint") as raised:
        ChatModel(url, "small")
    assert "secret" not in str(raised.value)
