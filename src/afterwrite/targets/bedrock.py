"""Bedrock: asks a model, by the Converse API, and takes no answer for whole that is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import AfterwriteError
from afterwrite.targets.remote_target import failure_of

_WHOLE: Final = frozenset({"end_turn", "stop_sequence"})
_REMEDIES: Final = {
    "max_tokens": "ask for less, or raise max_tokens",
    "content_filtered": "the model's own filter held back the answer",
    "guardrail_intervened": "the guardrail blocked the request or the answer",
}


class ModelFailed(AfterwriteError):
    """A model was not asked, or did not answer; `failure` is the service's, of the kinds of every target."""

    def __init__(self, failure: TargetFailure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class AnswerNotWhole(AfterwriteError):
    """A model's answer ends before it is whole; `stop_reason` is the service's name for why, `text` what came."""

    def __init__(self, model_id: str, stop_reason: str, text: str) -> None:
        remedy = _REMEDIES.get(stop_reason, "see the service's documentation of this reason")
        super().__init__(f"{model_id}: expected a whole answer, got one that ends by {stop_reason}: {remedy}")
        self.stop_reason = stop_reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, and what it cost in tokens."""

    text: str
    input_tokens: int
    output_tokens: int


class Model:
    """A model of Bedrock, by its id or its inference profile's ARN; `client` gives boto3's `bedrock-runtime` client.

    botocore tries throttling and unavailable models again as its settings say; what fails then raises ModelFailed,
    whose kind says whether another attempt may pass (S39).
    """

    def __init__(self, client: Callable[[], Any], model_id: str) -> None:
        self._client = client
        self._model_id = model_id

    def ask(self, text: str, *, system: str | None = None, max_tokens: int = 1_024, temperature: float = 0.0) -> Answer:
        """The answer to `text`. Raises ModelFailed and AnswerNotWhole."""
        from botocore.exceptions import BotoCoreError, ClientError

        request: dict[str, Any] = {
            "modelId": self._model_id,
            "messages": [{"role": "user", "content": [{"text": text}]}],
            "inferenceConfig": {"maxTokens": max_tokens, "temperature": temperature},
        }
        if system is not None:
            request["system"] = [{"text": system}]
        try:
            answer = self._client().converse(**request)
        except ClientError as error:
            raise ModelFailed(failure_of(self._model_id, error)) from error
        except BotoCoreError as error:
            raise ModelFailed(TargetFailure(self._model_id, "unavailable", type(error).__name__, str(error))) from error
        content = answer["output"]["message"]["content"]
        said = "".join(part["text"] for part in content if "text" in part)
        if answer["stopReason"] not in _WHOLE:
            raise AnswerNotWhole(self._model_id, answer["stopReason"], said)
        usage = answer["usage"]
        return Answer(said, usage["inputTokens"], usage["outputTokens"])
