"""Bedrock's Converse API, as its service model has it: requests are checked against it, and answers parsed by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from afterwrite.targets.bedrock import Model
from afterwrite.targets.language_models import Answer, AnswerNotWhole, ModelFailed

ASKED = {
    "modelId": "model-1",
    "messages": [{"role": "user", "content": [{"text": "Summarize."}]}],
    "inferenceConfig": {"maxTokens": 100, "temperature": 0.0},
    "system": [{"text": "Be brief."}],
}


@pytest.fixture
def stub() -> Iterator[Stubber]:
    client = boto3.Session("testing", "testing", region_name="us-east-1").client("bedrock-runtime")
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def ask(stub: Stubber) -> Answer:
    return Model(lambda: stub.client, "model-1").ask("Summarize.", system="Be brief.", max_tokens=100)


def answers(stub: Stubber, text: str, stop_reason: str) -> None:
    answer: dict[str, Any] = {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": stop_reason,
        "usage": {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10},
        "metrics": {"latencyMs": 5},
    }
    stub.add_response("converse", answer, ASKED)


def test_a_whole_answer_is_given_with_what_it_cost(stub: Stubber) -> None:
    answers(stub, "It is short.", "end_turn")
    assert ask(stub) == Answer("It is short.", 7, 3)


@pytest.mark.parametrize("stop_reason", ["max_tokens", "content_filtered", "guardrail_intervened"])
def test_an_answer_that_is_not_whole_is_none_s39(stub: Stubber, stop_reason: str) -> None:
    answers(stub, "It is", stop_reason)
    with pytest.raises(AnswerNotWhole, match=stop_reason) as raised:
        ask(stub)
    assert (raised.value.stop_reason, raised.value.text) == (stop_reason, "It is")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ThrottlingException", 429, "throttled"),
        ("ModelTimeoutException", 408, "unavailable"),
        ("ModelNotReadyException", 429, "unavailable"),
        ("ServiceUnavailableException", 503, "unavailable"),
        ("AccessDeniedException", 403, "permission"),
        ("ResourceNotFoundException", 404, "missing"),
        ("ValidationException", 400, "rejected"),
    ],
)
def test_what_may_pass_is_told_from_what_may_not_s39(stub: Stubber, code: str, status: int, kind: str) -> None:
    stub.add_client_error("converse", code, "words", status, expected_params=ASKED)
    with pytest.raises(ModelFailed, match=code) as raised:
        ask(stub)
    assert raised.value.failure.kind == kind
