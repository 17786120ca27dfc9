"""Language models as Bedrock's runtime offers them: requests read, answers worded (S39).

A model of the app is a function from a `ModelRequest` to the text it answers. What it answers is cut at the request's
`max_tokens`, a word counting as one token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from afterwrite.core.uuids import uuid_of
from afterwrite.errors import ServiceError

_TOKEN: Final = re.compile(r"\s*\S+")


@dataclass(frozen=True, slots=True)
class Turn:
    """A message of a conversation: `role` is `user` or `assistant`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a model is asked: the conversation so far, the system prompt, and the inference parameters.

    `body` is the request as it came.
    """

    model_id: str
    messages: tuple[Turn, ...]
    system: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """The last message's text."""
        return self.messages[-1].text


ModelHandler: TypeAlias = Callable[[ModelRequest], str]


@dataclass(frozen=True, eq=False)
class Model:
    """A model of the app, which its Bedrock answers with."""

    model_id: str
    handler: ModelHandler


def messages_request(model_id: str, body: Any) -> ModelRequest:
    """The request in InvokeModel's body, in the form of Anthropic's Messages. Raises ServiceError."""
    if not isinstance(body, Mapping) or "messages" not in body:
        raise _invalid("Malformed input request: #: required key [messages] not found, please reformat your input.")
    return ModelRequest(
        model_id=model_id,
        messages=_turns(body["messages"]),
        system=_text_of(body.get("system", "")),
        max_tokens=_count(body.get("max_tokens")),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop_sequences=tuple(body.get("stop_sequences") or ()),
        body=body,
    )


def converse_request(model_id: str, body: Any) -> ModelRequest:
    """The request in Converse's body. Raises ServiceError."""
    if not isinstance(body, Mapping) or "messages" not in body:
        raise _invalid("The value at messages is invalid. Value must not be null.")
    inference = body.get("inferenceConfig") or {}
    return ModelRequest(
        model_id=model_id,
        messages=_turns(body["messages"]),
        system=_text_of(body.get("system", "")),
        max_tokens=_count(inference.get("maxTokens")),
        temperature=inference.get("temperature"),
        top_p=inference.get("topP"),
        stop_sequences=tuple(inference.get("stopSequences") or ()),
        body=body,
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer, cut where the request says so."""

    text: str
    stop_reason: str
    stop_sequence: str | None
    input_tokens: int
    output_tokens: int


def answered(request: ModelRequest, text: str) -> Answer:
    """The answer that a model's text is: up to a stop sequence, and up to `max_tokens`."""
    reason, sequence = "end_turn", None
    for stop in request.stop_sequences:
        before, found, _ = text.partition(stop)
        if found:
            text, reason, sequence = before, "stop_sequence", stop
    tokens = _TOKEN.findall(text)
    if request.max_tokens is not None and len(tokens) > request.max_tokens:
        text, reason, sequence = "".join(tokens[: request.max_tokens]), "max_tokens", None
        tokens = tokens[: request.max_tokens]
    asked = sum(len(_TOKEN.findall(turn.text)) for turn in request.messages) + len(_TOKEN.findall(request.system))
    return Answer(text, reason, sequence, asked, len(tokens))


def messages_answer(request: ModelRequest, answer: Answer) -> dict[str, Any]:
    """InvokeModel's body, in the form of Anthropic's Messages."""
    return {
        "id": f"msg_bdrk_{uuid_of(request.prompt + answer.text).replace('-', '')[:24]}",
        "type": "message",
        "role": "assistant",
        "model": request.model_id,
        "content": [{"type": "text", "text": answer.text}],
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "usage": {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens},
    }


def converse_answer(answer: Answer, *, latency_ms: int) -> dict[str, Any]:
    """Converse's answer."""
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": answer.text}]}},
        "stopReason": answer.stop_reason,
        "usage": {
            "inputTokens": answer.input_tokens,
            "outputTokens": answer.output_tokens,
            "totalTokens": answer.input_tokens + answer.output_tokens,
        },
        "metrics": {"latencyMs": latency_ms},
    }


def _turns(messages: Any) -> tuple[Turn, ...]:
    if not isinstance(messages, Sequence) or not messages or not all(isinstance(each, Mapping) for each in messages):
        raise _invalid("messages: at least one message is required")
    turns = tuple(Turn(str(each.get("role")), _text_of(each.get("content"))) for each in messages)
    if turns[0].role != "user":
        raise _invalid("A conversation must start with a user message. Try again with a conversation that starts so.")
    return turns


def _text_of(content: Any) -> str:
    """The text of a content: text, or a list of blocks of which those with text count."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, Sequence) else ()
    return "\n".join(str(block["text"]) for block in blocks if isinstance(block, Mapping) and "text" in block)


def _count(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise _invalid(f"max_tokens: expected a whole number of at least 1, got {value!r}")
    return value


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
