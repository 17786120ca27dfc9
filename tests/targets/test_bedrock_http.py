"""Bedrock over the wire: botocore, its retries and its errors, against a double of Converse and InvokeModel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from afterwrite.summaries import AnswerNotWhole, LanguageModel, ModelFailed, Said, bedrock
from afterwrite.targets.language_models import Answer
from model_endpoint import Endpoint, Scripted, model_endpoint

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
PATHS = {
    "converse": f"/model/{MODEL.replace(':', '%3A')}/converse",
    "invoke": f"/model/{MODEL.replace(':', '%3A')}/invoke",
}
By = Literal["converse", "invoke"]


def answered(by: By, text: str, stop_reason: str = "end_turn") -> Scripted:
    if by == "converse":
        body: Any = {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": stop_reason,
            "usage": {"inputTokens": 120, "outputTokens": 30, "totalTokens": 150},
            "metrics": {"latencyMs": 5},
        }
    else:
        body = {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "stop_reason": stop_reason,
            "usage": {"input_tokens": 120, "output_tokens": 30},
        }
    return Scripted(body)


def error(code: str, status: int) -> Scripted:
    return Scripted({"message": "words"}, status, {"x-amzn-ErrorType": code})


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    yield


def model(endpoint: Endpoint, by: By, *, attempts_max: int = 1, timeout_s: float = 10.0) -> LanguageModel:
    return bedrock(
        MODEL, region="us-east-1", endpoint_url=endpoint.url, by=by, attempts_max=attempts_max, timeout_s=timeout_s
    )


@pytest.mark.parametrize("by", ["converse", "invoke"])
def test_a_model_is_asked_and_answers_s39(by: By) -> None:
    with model_endpoint(answered(by, "It is short.")) as endpoint:
        assert model(endpoint, by).ask("Summarize.", system="Be brief.", max_tokens=99) == Answer(
            "It is short.", 120, 30
        )
    path, _, body = endpoint.requests[0]
    assert path == PATHS[by]
    if by == "invoke":
        assert body["anthropic_version"] == "bedrock-2023-05-31"
        assert (body["system"], body["max_tokens"]) == ("Be brief.", 99)
    else:
        assert (body["system"], body["inferenceConfig"]["maxTokens"]) == ([{"text": "Be brief."}], 99)


@pytest.mark.parametrize("by", ["converse", "invoke"])
def test_throttling_is_tried_again_as_botocore_is_told_s39(by: By) -> None:
    with model_endpoint(error("ThrottlingException", 429), answered(by, "Here.")) as endpoint:
        assert model(endpoint, by, attempts_max=2).ask("x").text == "Here."
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("by", ["converse", "invoke"])
@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 429, "throttled"),
        ("ServiceUnavailableException", 503, "unavailable"),
        ("AccessDeniedException", 403, "permission"),
        ("ValidationException", 400, "rejected"),
    ],
)
def test_errors_are_told_apart_s39(by: By, code: str, status: int, kind: str) -> None:
    with model_endpoint(error(code, status)) as endpoint, pytest.raises(ModelFailed) as raised:
        model(endpoint, by).ask("x")
    assert (raised.value.failure.kind, raised.value.may_have_cost) == (kind, False)


@pytest.mark.parametrize(
    ("by", "reason"), [("converse", "guardrail_intervened"), ("invoke", "max_tokens"), ("invoke", "refusal")]
)
def test_an_answer_that_is_not_whole_tells_what_it_cost_s39(by: By, reason: str) -> None:
    with model_endpoint(answered(by, "It is", reason)) as endpoint, pytest.raises(AnswerNotWhole) as raised:
        model(endpoint, by).ask("x")
    assert (raised.value.stop_reason, raised.value.input_tokens, raised.value.output_tokens) == (reason, 120, 30)


def test_a_model_that_does_not_answer_in_time_may_have_cost() -> None:
    with model_endpoint(Scripted({}, hold=True)) as endpoint, pytest.raises(ModelFailed) as raised:
        model(endpoint, "converse", timeout_s=0.3).ask("x")
    assert (raised.value.failure.kind, raised.value.may_have_cost) == ("unavailable", True)


def test_another_form_than_the_one_that_is_read_is_refused() -> None:
    with model_endpoint(Scripted({"generation": "It is short."})) as endpoint, pytest.raises(ModelFailed) as raised:
        model(endpoint, "invoke").ask("x")
    assert (raised.value.failure.code, raised.value.may_have_cost) == ("UnknownAnswer", True)


def test_a_form_of_its_own_is_written_and_read() -> None:
    with model_endpoint(Scripted({"generation": "It is short.", "tokens": [7, 3]})) as endpoint:
        asked = bedrock(
            MODEL,
            region="us-east-1",
            endpoint_url=endpoint.url,
            by="invoke",
            encode=lambda text, system, max_tokens, temperature: {"prompt": f"{system} {text}", "limit": max_tokens},
            decode=lambda answer: Said(answer["generation"], "end_turn", *answer["tokens"]),
        )
        assert asked.ask("Summarize.", system="Be brief.", max_tokens=9) == Answer("It is short.", 7, 3)
    assert endpoint.requests[0][2] == {"prompt": "Be brief. Summarize.", "limit": 9}
