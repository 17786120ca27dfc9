"""AWS's query protocol: a form names its Action, the answer is XML, one request at a time."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from afterwrite.errors import ServiceError, StorageError
from afterwrite.server import sigv4
from afterwrite.server.aws_json import unknown_target
from afterwrite.server.http_messages import Request, Response
from afterwrite.server.long_polling import LongPolls
from afterwrite.store.environment import Environment
from afterwrite.store.prepared import Poll, Prepared, Read

_LOG = logging.getLogger("afterwrite")
_FORM: Final = b"application/x-www-form-urlencoded"
_XML: Final = "text/xml"
# An XML parser reads a carriage return as the end of a line.
_ESCAPED: Final = {"\r": "&#13;"}
_FIELDS_MAX: Final = 10_000
# The longest that a service has is shorter: texts of the user's are values.
_NAME_CHARACTERS_MAX: Final = 255

Parameters = Mapping[str, Any]
"""A form's fields: text, maps by the parts of their names between dots, and lists where those parts are numbers."""


class QueryService(Protocol):
    """One AWS service that speaks the query protocol: its version, its XML namespace, and its actions."""

    @property
    def version(self) -> str:
        """The `Version` of its requests, by which it is known."""
        ...

    @property
    def namespace(self) -> str:
        """The XML namespace of its answers."""
        ...

    def prepare(self, action: str, parameters: Parameters, path: str) -> Prepared | Poll:
        """The action with its parameters, sent to `path`, validated. Raises ServiceError."""
        ...

    def result(self, action: str, answer: Mapping[str, Any]) -> str:
        """What answers the action, as XML, without what is around it."""
        ...

    def named(self, error: ServiceError) -> tuple[str, str]:
        """An error's code and message in this protocol."""
        ...


class AwsQuery:
    """The handler of forms. `run_soon` runs what it is given where answers may be given."""

    def __init__(
        self,
        environment: Environment,
        services: Sequence[QueryService],
        run_soon: Callable[[Callable[[], None]], None],
        *,
        polls: LongPolls,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = environment
        self._services = {service.version: service for service in services}
        self._run_soon = run_soon
        self._polls = polls
        self._credentials = credentials

    def handle(self, request: Request, respond: Callable[[Response], None]) -> None:
        """Answer a request, at once or after its commit."""
        if not request.headers.get(b"content-type", b"").startswith(_FORM):
            respond(unknown_target(""))
            return
        service: QueryService | None = None
        try:
            parameters = parsed_form(request.body)
            action, version = str(parameters.get("Action", "")), str(parameters.get("Version", ""))
            service = self._services.get(version)
            if service is None:
                raise ServiceError("InvalidAction", f"No service with version {version!r} answers here.")
            if self._credentials is not None:
                sigv4.verify(request, self._credentials, time.time())
            prepared = service.prepare(action, parameters, request.path.decode("latin-1").partition("?")[0])
            if isinstance(prepared, Read):
                with self._environment.read() as transaction:
                    found = prepared.body(transaction, self._environment.state["catalog"])
                respond(_answer(service, action, found))
                return
        except (ServiceError, StorageError) as error:
            respond(_failure(service, error))
            return
        on_done = partial(self._on_done, service, action, respond)
        if isinstance(prepared, Poll):
            self._polls.run(prepared, on_done, on_done)
        else:
            self._environment.submit(prepared.run, on_done)

    def _on_done(
        self,
        service: QueryService,
        action: str,
        respond: Callable[[Response], None],
        result: Mapping[str, Any] | None,
        error: BaseException | None,
    ) -> None:
        response = _answer(service, action, result or {}) if error is None else _failure(service, error)
        self._run_soon(partial(respond, response))


def parsed_form(body: bytes) -> dict[str, Any]:
    """The fields of a form. Raises ServiceError."""
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise ServiceError("MalformedInput", f"expected a form of fields and values: {error}") from None
    tree: dict[str, Any] = {}
    for name, value in fields:
        if len(name) > _NAME_CHARACTERS_MAX:
            raise ServiceError("MalformedInput", f"expected names of at most {_NAME_CHARACTERS_MAX} characters")
        place = tree
        *path, last = name.split(".")
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ServiceError("MalformedInput", f"expected either a value or members at {name}")
        place[last] = value
    return {name: _listed(value) for name, value in tree.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(part.isdecimal() for part in value):
        return [_listed(value[part]) for part in sorted(value, key=int)]
    return {name: _listed(member) for name, member in value.items()}


def _answer(service: QueryService, action: str, result: Mapping[str, Any]) -> Response:
    body = (
        f'<{action}Response xmlns="{service.namespace}">{service.result(action, result)}'
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{action}Response>"
    )
    return Response(200, body.encode(), _XML)


def members(value: Mapping[str, Any]) -> str:
    """A structure's members as XML, those of its lists as `member`."""
    return "".join(f"<{name}>{_xml(member)}</{name}>" for name, member in value.items())


def _xml(value: Any) -> str:
    if isinstance(value, Mapping):
        return members(value)
    if isinstance(value, list):
        return "".join(f"<member>{_xml(member)}</member>" for member in value)
    return scalar(value)


def scalar(value: Any) -> str:
    """A text, a number or a truth as XML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value), _ESCAPED)


def _failure(service: QueryService | None, error: BaseException) -> Response:
    if isinstance(error, ServiceError):
        code, message = (error.code, error.message) if service is None else service.named(error)
        status = error.status
    else:
        status, code, message = 500, "InternalError", str(error)
        if not isinstance(error, StorageError):
            _LOG.error("an operation failed inside the engine", exc_info=error)
            message = "The request failed inside the engine"
    return refusal(status, code, message, "" if service is None else service.namespace)


def refusal(status: int, code: str, message: str, namespace: str = "") -> Response:
    """An error as the query protocol has it, of a service with this XML namespace."""
    declared = f' xmlns="{namespace}"' if namespace else ""
    body = (
        f"<ErrorResponse{declared}><Error><Type>{'Sender' if status < 500 else 'Receiver'}</Type>"
        f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    )
    return Response(status, body.encode(), _XML)
