"""Models to ask, by their services; nothing is imported or connected before the first request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from afterwrite.targets.bedrock import Decode, Encode
    from afterwrite.targets.language_models import LanguageModel


def bedrock(
    model_id: str,
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    timeout_s: float = 30.0,
    attempts_max: int = 3,
    by: Literal["converse", "invoke"] = "converse",
    encode: Encode | None = None,
    decode: Decode | None = None,
) -> LanguageModel:
    """A model of Amazon Bedrock, by its id or its inference profile's ARN.

    Credentials and region are boto3's. `timeout_s` is for each of at most `attempts_max` attempts. `by="invoke"` asks
    by InvokeModel, for what Converse does not reach: in the form of Anthropic's Messages, or in the one that `encode`
    writes (text, system prompt, max_tokens, temperature -> body) and `decode` reads (parsed answer -> Said).
    """
    from afterwrite.targets.bedrock import InvokedModel, Model, messages_body, messages_said

    client = functools.cache(lambda: _bedrock_client(region, endpoint_url, timeout_s, attempts_max))
    if by == "converse":
        return Model(client, model_id)
    return InvokedModel(client, model_id, encode=encode or messages_body, decode=decode or messages_said)


def openai(
    url: str,
    model_id: str,
    *,
    api_key: str | None = None,
    timeout_s: float = 30.0,
    attempts_max: int = 3,
    limit_field: str = "max_tokens",
    sleep: Callable[[float], None] | None = None,
) -> LanguageModel:
    """A model behind an OpenAI-compatible endpoint, such as Ollama's or vLLM's, by its URL up to `/v1`.

    `timeout_s` is for all attempts together. Raises DeclarationError for a URL that is none.
    """
    import time

    from afterwrite.targets.openai_chat import ChatModel

    return ChatModel(
        url,
        model_id,
        api_key=api_key,
        timeout_s=timeout_s,
        attempts_max=attempts_max,
        limit_field=limit_field,
        sleep=sleep or time.sleep,
    )


def _bedrock_client(region: str | None, endpoint_url: str | None, timeout_s: float, attempts_max: int) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "bedrock-runtime",
        region_name=region,
        endpoint_url=endpoint_url,
        config=Config(
            connect_timeout=min(timeout_s, 5.0),
            read_timeout=timeout_s,
            retries={"total_max_attempts": attempts_max, "mode": "standard"},
        ),
    )
