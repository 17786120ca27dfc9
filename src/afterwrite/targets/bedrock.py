"""Bedrock: asks a model, by the Converse API or in the model's own form, and takes no answer for whole that is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson

from afterwrite.core.target_failures import TargetFailure
from afterwrite.targets.language_models import Answer, AnswerNotWhole, ModelFailed, Said
from afterwrite.targets.remote_target import failure_of, kind_without_answer

_WHOLE: Final = frozenset({"end_turn", "stop_sequence"})


class Model:
    """A model of Bedrock, by its id or its inference profile's ARN; `client` gives boto3's `bedrock-runtime` client.

    botocore tries throttling and unavailable models again as its settings say; what fails then raises ModelFailed,
    whose kind says whether another attempt may pass (S39).
    """

    def __init__(self, client: Callable[[], Any], model_id: str) -> None:
        self._client = client
        self._model_id = model_id

    @property
    def model_id(self) -> str:
        """The model's id or its inference profile's ARN."""
        return self._model_id

    def ask(self, text: str, *, system: str | None = None, max_tokens: int = 1_024, temperature: float = 0.0) -> Answer:
        """The answer to `text`. Raises ModelFailed and AnswerNotWhole."""
        request: dict[str, Any] = {
            "modelId": self._model_id,
            "messages": [{"role": "user", "content": [{"text": text}]}],
            "inferenceConfig": {"maxTokens": max_tokens, "temperature": temperature},
        }
        if system is not None:
            request["system"] = [{"text": system}]
        answer = _called(self._model_id, lambda: self._client().converse(**request))
        content = answer["output"]["message"]["content"]
        said = "".join(part["text"] for part in content if "text" in part)
        usage = answer["usage"]
        return _whole(self._model_id, Said(said, answer["stopReason"], usage["inputTokens"], usage["outputTokens"]))


Encode: TypeAlias = Callable[[str, str | None, int, float], Mapping[str, Any]]
"""The body of InvokeModel, from text, system prompt, max_tokens and temperature."""
Decode: TypeAlias = Callable[[Any], Said]
"""What the model said, from InvokeModel's parsed answer."""


def messages_body(text: str, system: str | None, max_tokens: int, temperature: float) -> Mapping[str, Any]:
    """The body of Anthropic's Messages, the form in which the Claude models of Bedrock take InvokeModel."""
    body: dict[str, Any] = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": max_tokens,
        "temperature": temperature,
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
    }
    return body if system is None else {**body, "system": system}


def messages_said(answer: Any) -> Said:
    """What is in an answer of Anthropic's Messages."""
    said = "".join(part["text"] for part in answer["content"] if part.get("type") == "text")
    return Said(said, answer["stop_reason"], answer["usage"]["input_tokens"], answer["usage"]["output_tokens"])


class InvokedModel:
    """A model of Bedrock that Converse does not reach, asked by InvokeModel in its own form.

    `encode` and `decode` are that form: Anthropic's Messages where nothing else is given.
    """

    def __init__(
        self,
        client: Callable[[], Any],
        model_id: str,
        *,
        encode: Encode = messages_body,
        decode: Decode = messages_said,
    ) -> None:
        self._client = client
        self._model_id = model_id
        self._encode = encode
        self._decode = decode

    @property
    def model_id(self) -> str:
        """The model's id or its inference profile's ARN."""
        return self._model_id

    def ask(self, text: str, *, system: str | None = None, max_tokens: int = 1_024, temperature: float = 0.0) -> Answer:
        """The answer to `text`. Raises ModelFailed and AnswerNotWhole."""
        body = orjson.dumps(self._encode(text, system, max_tokens, temperature))

        def call() -> bytes:
            answer = self._client().invoke_model(modelId=self._model_id, contentType="application/json", body=body)
            read: bytes = answer["body"].read()
            return read

        raw = _called(self._model_id, call)
        try:
            said = self._decode(orjson.loads(raw))
        except (KeyError, TypeError, ValueError) as error:
            failure = TargetFailure(
                self._model_id,
                "rejected",
                "UnknownAnswer",
                f"expected an answer that `decode` reads, got {len(raw)} bytes that it does not: {error!r}",
            )
            raise ModelFailed(failure, may_have_cost=True) from error
        return _whole(self._model_id, said)


def _called(model_id: str, call: Callable[[], Any]) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError

    try:
        return call()
    except ClientError as error:
        raise ModelFailed(failure_of(model_id, error)) from error
    except BotoCoreError as error:
        failure = TargetFailure(model_id, kind_without_answer(error), type(error).__name__, str(error))
        unheard = isinstance(error, ReadTimeoutError | ConnectionClosedError)
        raise ModelFailed(failure, may_have_cost=unheard) from error


def _whole(model_id: str, said: Said) -> Answer:
    if said.stop_reason not in _WHOLE:
        raise AnswerNotWhole(
            model_id,
            said.stop_reason,
            said.text,
            input_tokens=said.input_tokens,
            output_tokens=said.output_tokens,
        )
    return Answer(said.text, said.input_tokens, said.output_tokens)
