"""Chat completions as OpenAI words them, which Ollama, vLLM, llama.cpp and most gateways speak as well.

Over the standard library's HTTP client: a connection a request, as an answer takes far longer than a connection.
Proxies of the environment are not used, and redirections are not followed: the key is for the address that is given.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from afterwrite.core.failure_kinds import Kind
from afterwrite.core.target_failures import TargetFailure, kind_of_code
from afterwrite.errors import DeclarationError
from afterwrite.targets.answers import BoundedAnswer
from afterwrite.targets.language_models import Answer, AnswerNotWhole, ModelFailed

ANSWER_BYTES_MAX: Final = 1 << 20
_BACKOFF_S_FIRST: Final = 0.5
_READ_BYTES: Final = 65_536
# It is answered with 429, and passes no sooner than somebody pays.
_QUOTA_USED_UP: Final = "insufficient_quota"


class _Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class ChatModel:
    """A model behind an OpenAI-compatible endpoint, by its base URL (`http://127.0.0.1:11434/v1`) and its name there.

    `timeout_s` is for an `ask` with all its attempts: throttling, a server's error and a refused connection are tried
    again, after the time that Retry-After says or a growing wait, as long as that is within it. A request that may
    have been answered is not, as it may have been billed. `limit_field` is how the endpoint calls the most tokens of
    an answer; newer models of OpenAI want `max_completion_tokens`.
    """

    def __init__(
        self,
        url: str,
        model_id: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        attempts_max: int = 3,
        limit_field: str = "max_tokens",
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise DeclarationError(
                "expected an endpoint such as http://127.0.0.1:11434/v1, got "
                f"{parts.scheme}://{parts.hostname or ''}…: give the URL up to /v1, without a query"
            )
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + "/chat/completions"
        self._model_id = model_id
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._attempts_max = attempts_max
        self._limit_field = limit_field
        self._sleep = sleep
        self._monotonic = monotonic

    @property
    def model_id(self) -> str:
        """The model's name at the endpoint."""
        return self._model_id

    def ask(self, text: str, *, system: str | None = None, max_tokens: int = 1_024, temperature: float = 0.0) -> Answer:
        """The answer to `text`. Raises ModelFailed and AnswerNotWhole."""
        messages = [{"role": "user", "content": text}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        request = {
            "model": self._model_id,
            "messages": messages,
            self._limit_field: max_tokens,
            "temperature": temperature,
            "stream": False,
        }
        body = orjson.dumps(request)
        deadline_s = self._monotonic() + self._timeout_s
        for attempt in range(1, self._attempts_max + 1):
            try:
                return self._answer(self._post(body, deadline_s))
            except ModelFailed as failed:
                wait_s = failed.retry_after_s or _BACKOFF_S_FIRST * 2 ** (attempt - 1)
                again = failed.failure.directive.retried and not failed.may_have_cost and attempt < self._attempts_max
                if not again or self._monotonic() + wait_s >= deadline_s:
                    raise
                self._sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _post(self, body: bytes, deadline_s: float) -> _Response:
        connection = self._connection(deadline_s)
        sent = False
        try:
            connection.response_class = BoundedAnswer
            connection.connect()
            socket = connection.sock
            headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
            if self._api_key:
                headers["Authorization"] = f"Bearer {self._api_key}"
            connection.request("POST", self._path, body, headers)
            sent = True
            socket.settimeout(self._left_s(deadline_s))
            response = connection.getresponse()
            read = bytearray()
            while True:
                socket.settimeout(self._left_s(deadline_s))
                chunk = response.read1(_READ_BYTES)
                if not chunk:
                    break
                read += chunk
                if len(read) > ANSWER_BYTES_MAX:
                    words = f"expected at most {ANSWER_BYTES_MAX} bytes, got more"
                    raise self._failed("rejected", "AnswerTooLong", words, may_have_cost=True)
            return _Response(response.status, {k.lower(): v for k, v in response.getheaders()}, bytes(read))
        except (OSError, http.client.HTTPException) as error:
            words = str(error) or "no answer within the time"
            raise self._failed("unavailable", type(error).__name__, words, may_have_cost=sent) from error
        finally:
            connection.close()

    def _connection(self, deadline_s: float) -> http.client.HTTPConnection:
        timeout_s = self._left_s(deadline_s)
        if self._https:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _left_s(self, deadline_s: float) -> float:
        # A socket's timeout of 0 would mean not to wait at all, and of less an error.
        return max(deadline_s - self._monotonic(), 0.001)

    def _answer(self, response: _Response) -> Answer:
        if response.status != 200:
            raise self._refused(response)
        try:
            parsed = orjson.loads(response.body)
            choice = parsed["choices"][0]
            message, reason = choice["message"], choice["finish_reason"]
            text = message.get("content") or ""
            usage = parsed.get("usage") or {}
            input_tokens, output_tokens = int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))
            if not isinstance(text, str):
                raise TypeError(f"content is {type(text).__name__}")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            words = f"expected a chat completion, got {len(response.body)} bytes that are none: {error!r}"
            raise self._failed("unavailable", "MalformedAnswer", words, may_have_cost=True) from error
        if message.get("refusal"):
            reason = "refusal"
        if reason != "stop":
            raise AnswerNotWhole(
                self._model_id, str(reason), text, input_tokens=input_tokens, output_tokens=output_tokens
            )
        return Answer(text, input_tokens, output_tokens)

    def _refused(self, response: _Response) -> ModelFailed:
        code, message = _error_in(response.body)
        kind: Kind = "permission" if code == _QUOTA_USED_UP else kind_of_code("", status=response.status)
        if 300 <= response.status < 400:
            message = "expected an answer, got a redirection: give the address that it leads to"
        failed = self._failed(kind, code or f"HTTP {response.status}", message)
        failed.retry_after_s = _retry_after_s(response.headers)
        return failed

    def _failed(self, kind: Kind, code: str, message: str, *, may_have_cost: bool = False) -> ModelFailed:
        return ModelFailed(TargetFailure(self._model_id, kind, code, message), may_have_cost=may_have_cost)


def _error_in(body: bytes) -> tuple[str, str]:
    """Code and words of an error's body, in any of the forms that endpoints have."""
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", "(without words)"
    error = parsed.get("error", parsed) if isinstance(parsed, Mapping) else parsed
    if not isinstance(error, Mapping):
        return "", str(error)[:500]
    code = error.get("code") or error.get("type") or ""
    return (code if isinstance(code, str) else ""), str(error.get("message") or "(without words)")[:500]


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at.tzinfo else None
