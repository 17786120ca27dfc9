"""Services whose operations are in the path: Lambda's Invoke, and Bedrock's InvokeModel and Converse.

They run the app's code, which may take its time and may send requests itself: each request has a thread of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote

import orjson

from afterwrite.core import json_text
from afterwrite.core.failures import reason_of
from afterwrite.core.models import (
    Model,
    ModelRequest,
    answered,
    converse_answer,
    converse_request,
    messages_answer,
    messages_request,
)
from afterwrite.errors import ServiceError, StorageError
from afterwrite.server import sigv4
from afterwrite.server.http import Handler, Request, Respond, Response

_LOG = logging.getLogger("afterwrite")

_JSON: Final = "application/json"
_RUNNING_MAX: Final = 64
_FUNCTIONS: Final = "/2015-03-31/functions/"
_INVOCATIONS: Final = "/invocations"
_MODELS: Final = "/model/"
_PAYLOAD_BYTES_MAX: Final = 6 << 20
_ASYNCHRONOUS_BYTES_MAX: Final = 1 << 20
_STATUS_OF: Final[Mapping[str, int]] = {
    "ResourceNotFoundException": 404,
    "TooManyRequestsException": 429,
    "ThrottlingException": 429,
    "RequestTooLargeException": 413,
    "ModelErrorException": 424,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
}

Answering: TypeAlias = Callable[[Request], Response]


class Functions(Protocol):
    """The functions of the app, as Lambda's clients call them."""

    def invoke(self, name: str, payload: Any, request_id: str) -> Any:
        """Run a function now; what it returns, as values of JSON. Raises what it raises, and as `check` for a name."""
        ...

    def invoke_later(self, name: str, payload: Any, request_id: str) -> None:
        """Let a function run later; durable on return. Raises as `check` for a name."""
        ...

    def check(self, name: str) -> None:
        """Raise ResourceNotFoundException as ServiceError where there is no function of that name."""
        ...


class RestJson:
    """The handler of these services; requests to others go to `otherwise`.

    `run_soon` runs what it is given where answers may be given. With `credentials` a request must be signed.
    """

    def __init__(
        self,
        functions: Functions,
        models: Mapping[str, Model],
        run_soon: Callable[[Callable[[], None]], None],
        otherwise: Handler,
        *,
        new_id: Callable[[], str],
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self._functions = functions
        self._models = models
        self._run_soon = run_soon
        self._otherwise = otherwise
        self._new_id = new_id
        self._credentials = credentials
        self._free = threading.Semaphore(_RUNNING_MAX)

    def handle(self, request: Request, respond: Respond) -> None:
        """Answer a request, from a thread of its own."""
        answering = self._answering(request)
        if answering is None:
            self._otherwise(request, respond)
            return
        if not self._free.acquire(blocking=False):
            respond(_failure(_too_many()))
            return

        def run() -> None:
            try:
                response = self._answered(answering, request)
            finally:
                self._free.release()
            self._run_soon(lambda: respond(response))

        try:
            threading.Thread(target=run, name="invoke", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            self._free.release()
            respond(_failure(_too_many()))

    def _answering(self, request: Request) -> Answering | None:
        if request.method != b"POST":
            return None
        path = unquote(request.path.decode("latin-1").partition("?")[0])
        if path.startswith(_FUNCTIONS) and path.endswith(_INVOCATIONS):
            name = path[len(_FUNCTIONS) : -len(_INVOCATIONS)]
            return lambda request: self._invoke(_function_name(name), request)
        if path.startswith(_MODELS):
            model_id, _, operation = path[len(_MODELS) :].rpartition("/")
            if operation == "invoke":
                return lambda request: self._invoke_model(model_id, request)
            if operation == "converse":
                return lambda request: self._converse(model_id, request)
        return None

    def _answered(self, answering: Answering, request: Request) -> Response:
        try:
            if self._credentials is not None:
                sigv4.verify(request, self._credentials, time.time())
            return answering(request)
        except ServiceError as error:
            return _failure(error)
        except StorageError as error:
            return _failure(ServiceError("ServiceException", str(error), status=500))
        except Exception:  # noqa: BLE001 - whoever waits must be answered
            _LOG.exception("an operation failed inside the engine")
            return _failure(ServiceError("ServiceException", "The request failed inside the engine", status=500))

    def _invoke(self, name: str, request: Request) -> Response:
        kind = request.headers.get(b"x-amz-invocation-type", b"RequestResponse").decode("latin-1")
        self._functions.check(name)
        if len(request.body) > (_ASYNCHRONOUS_BYTES_MAX if kind == "Event" else _PAYLOAD_BYTES_MAX):
            raise ServiceError("RequestTooLargeException", "Request must be smaller than the payload's limit")
        payload = _parsed(request.body or b"null", "InvalidRequestContentException")
        if kind == "DryRun":
            return Response(204, b"", _JSON)
        request_id = self._new_id()
        if kind == "Event":
            self._functions.invoke_later(name, payload, request_id)
            return Response(202, b"", _JSON)
        if kind != "RequestResponse":
            raise ServiceError("InvalidParameterValueException", f"expected a known InvocationType, got {kind}")
        executed = ("X-Amz-Executed-Version", "$LATEST")
        try:
            result = orjson.dumps(self._functions.invoke(name, payload, request_id))
        except Exception as error:  # noqa: BLE001 - what the user's code raises is the answer
            body = {"errorMessage": str(error), "errorType": type(error).__name__, "requestId": request_id}
            headers = (("X-Amz-Function-Error", "Unhandled"), executed)
            return Response(200, orjson.dumps({**body, "stackTrace": [reason_of(error)]}), _JSON, headers)
        return Response(200, result, _JSON, (executed,))

    def _invoke_model(self, model_id: str, request: Request) -> Response:
        asked = messages_request(model_id, _parsed(request.body, "ValidationException"))
        answer = answered(asked, self._text(asked))
        headers = (
            ("X-Amzn-Bedrock-Input-Token-Count", str(answer.input_tokens)),
            ("X-Amzn-Bedrock-Output-Token-Count", str(answer.output_tokens)),
        )
        return Response(200, json_text.dumps(messages_answer(asked, answer)), _JSON, headers)

    def _converse(self, model_id: str, request: Request) -> Response:
        began_s = time.monotonic()
        asked = converse_request(model_id, _parsed(request.body, "ValidationException"))
        answer = answered(asked, self._text(asked))
        latency_ms = int((time.monotonic() - began_s) * 1000)
        return Response(200, json_text.dumps(converse_answer(answer, latency_ms=latency_ms)), _JSON)

    def _text(self, asked: ModelRequest) -> str:
        # An inference profile or an ARN names the model at its end.
        model = self._models.get(asked.model_id) or self._models.get(asked.model_id.rpartition("/")[2])
        if model is None:
            raise ServiceError("ValidationException", "The provided model identifier is invalid.")
        try:
            text = model.handler(asked)
        except Exception as error:
            raise ServiceError("ModelErrorException", reason_of(error)) from error
        if not isinstance(text, str):
            raise ServiceError("ModelErrorException", f"expected a model to answer text, got {type(text).__name__}")
        return text


def _function_name(given: str) -> str:
    """The name in a function's name, partial ARN or ARN, without a qualifier."""
    if ":function:" in given:
        given = given.partition(":function:")[2]
    return given.partition(":")[0]


def _parsed(body: bytes, code: str) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServiceError(code, f"Could not parse request body into json: {error}") from None


def _too_many() -> ServiceError:
    return ServiceError("TooManyRequestsException", "Rate Exceeded.")


def _failure(error: ServiceError) -> Response:
    status = _STATUS_OF.get(error.code, error.status)
    body = {"Type": "User" if status < 500 else "Service", "message": error.message, "Message": error.message}
    return Response(status, orjson.dumps(body), _JSON, (("X-Amzn-ErrorType", error.code),))
