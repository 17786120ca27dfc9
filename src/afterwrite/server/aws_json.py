"""AWS's JSON protocols: a request names its operation in X-Amz-Target; services answer by name.

Writes are answered after their commit. The writer's thread hands over all answers of a commit at once, so that
the event loop is woken once a commit.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import orjson

from afterwrite.core import json_text
from afterwrite.errors import CorruptData, ServiceError, StorageError
from afterwrite.server import cbor, sigv4
from afterwrite.server.front import Alike
from afterwrite.server.http import Handler, Request, Respond, Response
from afterwrite.server.long_polling import LongPolls
from afterwrite.server.long_reads import LongReads
from afterwrite.store import plain_batches
from afterwrite.store.environment import Environment
from afterwrite.store.plain_batches import PlainBatch
from afterwrite.store.plain_puts import PlainPuts
from afterwrite.store.plain_writes import PlainWrites
from afterwrite.store.prepared import Poll, Prepared, Read, Write

_LOG = logging.getLogger("afterwrite")

_CORAL: Final = "com.amazon.coral.service#"
_CORAL_ERRORS: Final = frozenset(
    {
        "UnknownOperationException",
        "SerializationException",
        "MissingAuthenticationTokenException",
        "IncompleteSignatureException",
        "UnrecognizedClientException",
        "InvalidSignatureException",
    }
)
# Whose message is named with a capital letter, as is that of a failed condition which the item comes with.
_CAPITALIZED_MESSAGES: Final = frozenset(("SerializationException", "TransactionCanceledException"))
_DYNAMODB: Final = "DynamoDB_20120810"
_VALIDATION: Final = "com.amazon.coral.validate#ValidationException"


class Service(Protocol):
    """One AWS service: its name on the wire, and its operations."""

    @property
    def target(self) -> str:
        """The part of X-Amz-Target before the dot."""
        ...

    @property
    def error_prefix(self) -> str:
        """What stands before the error's name in `__type`."""
        ...

    @property
    def content_type(self) -> str:
        """The content type of answers."""
        ...

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared | Poll:
        """The operation `name` with its body, validated. Raises ServiceError."""
        ...


class AwsJson:
    """The handler of a server: requests to services' operations, operations to answers.

    `run_soon` runs what it is given where answers may be given: on the HTTP server's event loop. With
    `credentials` (secret access keys by id) a request must be signed by one of them. `without_target` answers requests
    of other protocols, which have no X-Amz-Target. `in_cbor` has, by their targets, the services that answer in CBOR
    to requests in it.
    """

    def __init__(
        self,
        environment: Environment,
        services: Sequence[Service],
        run_soon: Callable[[Callable[[], None]], None],
        *,
        polls: LongPolls | None = None,
        long_reads: LongReads | None = None,
        without_target: Handler | None = None,
        credentials: Mapping[str, str] | None = None,
        in_cbor: Mapping[str, cbor.Members] | None = None,
    ) -> None:
        self._environment = environment
        self._plain_puts = PlainPuts(environment)
        self._plain_writes = PlainWrites(environment)
        self._polls = polls or LongPolls(environment)
        self._long_reads = long_reads or LongReads(environment)
        self._without_target = without_target
        self._services: Mapping[str, Service] = {service.target: service for service in services}
        self._run_soon = run_soon
        self._credentials = credentials
        self._in_cbor = in_cbor or {}
        self._answered: deque[tuple[Respond, Response]] = deque()
        environment.after_commit(self._hand_over)

    def handle(self, request: Request, respond: Respond) -> None:
        """Answer a request, at once or after its commit."""
        if request.method != b"POST":
            respond(_health(request))
            return
        target = request.headers.get(b"x-amz-target", b"").decode("latin-1")
        service_name, _, operation = target.partition(".")
        service = self._services.get(service_name)
        if service is None:
            if self._without_target is not None and not target:
                self._without_target(request, respond)
            else:
                respond(unknown_target(target))
            return
        parse = _parse
        if service_name in self._in_cbor and cbor.is_spoken(request):
            parse, respond = _parse_cbor, partial(_respond_in_cbor, respond, self._in_cbor[service_name])
        try:
            if self._credentials is not None:
                sigv4.verify(request, self._credentials, time.time())
            plain = self._plain(service, operation, request.body) if service_name == _DYNAMODB else None
            prepared = plain or self._prepared(service, operation, parse(request.body))
            if isinstance(prepared, Read):
                if prepared.is_long:
                    self._read_long(service, respond, prepared)
                    return
                with self._environment.read() as transaction:
                    found = prepared.run(transaction, self._environment.state["catalog"])
                respond(_found(service, found))
                return
        except (ServiceError, StorageError) as error:
            respond(_failure(service, error))
            return
        if isinstance(prepared, Poll):
            self._poll(service, respond, prepared)
            return
        self._environment.submit(prepared.run, partial(self._on_done, service, respond))

    def _plain(self, service: Service, operation: str, body: bytes) -> Write | None:
        """The write of a plain request, None of any other one."""
        put = self._plain_puts.prepare(operation, body)
        return put or self._plain_writes.prepare(operation, body, service.prepare)

    def _prepared(self, service: Service, operation: str, body: dict[str, Any]) -> Prepared | Poll:
        prepared = service.prepare(operation, body)
        if service.target == _DYNAMODB:
            self._plain_writes.learn(operation, body)
        return prepared

    def take_together(self, requests: int, size: int, alike: Callable[[bytes], Alike]) -> int:
        """Take the plain writes, which become one, out of the front's requests; how many bytes are left.

        `alike` makes of where the answers go what gives them. Not with credentials: requests are to be verified first.
        """
        left, asked, batch = self._plain_writes.take(requests, size)
        if batch is not None:
            taken = alike(asked)
            service = self._services[_DYNAMODB]
            try:
                self._environment.submit(
                    partial(plain_batches.write, batch=batch),
                    partial(self._on_written, service, batch, taken),
                    requests=len(batch.requests),
                )
            except StorageError as error:
                taken.respond(_failure(service, error))
        return left

    def _on_written(
        self,
        service: Service,
        batch: PlainBatch,
        taken: Alike,
        left: Sequence[int] | None,
        error: BaseException | None,
    ) -> None:
        if left is None and error is None:
            left = range(len(batch.requests))
        if left:
            taken, others = taken.split(left)
            for number, respond in zip(left, others, strict=True):
                self._carry_out(service, *batch.requests.at(number), respond)
        self._answered.append((taken.respond, _answer(service, {}, error)))

    def _carry_out(self, service: Service, operation: str, body: bytes, respond: Respond) -> None:
        """Carry out in Python a write that was left to it."""
        try:
            prepared = service.prepare(operation, _parse(body))
            if isinstance(prepared, Write):
                self._environment.submit(prepared.run, partial(self._on_done, service, respond))
        except (ServiceError, StorageError) as error:
            self._answered.append((respond, _failure(service, error)))

    def _read_long(self, service: Service, respond: Respond, read: Read) -> None:
        def on_done(found: bytes | Mapping[str, Any] | None, error: Exception | None) -> None:
            response = _failure(service, error) if error is not None else _found(service, found or b"{}")
            self._run_soon(partial(respond, response))

        self._long_reads.run(lambda transaction: read.run(transaction, self._environment.state["catalog"]), on_done)

    def _poll(self, service: Service, respond: Respond, poll: Poll) -> None:
        def on_waited(result: Mapping[str, Any] | None, error: BaseException | None) -> None:
            # No commit follows an answer that says that the time is up.
            self._run_soon(partial(respond, _answer(service, result, error)))

        self._polls.run(poll, partial(self._on_done, service, respond), on_waited)

    def _on_done(
        self, service: Service, respond: Respond, result: Mapping[str, Any] | None, error: BaseException | None
    ) -> None:
        self._answered.append((respond, _answer(service, result, error)))

    def _hand_over(self) -> None:
        if self._answered:
            self._run_soon(self._respond_all)

    def _respond_all(self) -> None:
        answered = self._answered
        while answered:
            respond, response = answered.popleft()
            respond(response)


def _answer(service: Service, result: Mapping[str, Any] | None, error: BaseException | None) -> Response:
    if error is not None:
        return _failure(service, error)
    body = json_text.dumps(result) if result else b"" if result is None else b"{}"
    return Response(200, body, service.content_type)


def _found(service: Service, found: bytes | Mapping[str, Any]) -> Response:
    return Response(200, found if isinstance(found, bytes) else orjson.dumps(found), service.content_type)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServiceError("SerializationException", f"the body is no JSON: {error}") from None
    return _structure(parsed)


def _parse_cbor(body: bytes) -> dict[str, Any]:
    return _structure(cbor.parsed(body))


def _structure(parsed: object) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise ServiceError("SerializationException", "Start of structure or map found where not expected")
    return parsed


def _respond_in_cbor(respond: Respond, members: cbor.Members, response: Response) -> None:
    respond(cbor.in_cbor(response, members))


def _failure(service: Service, error: BaseException) -> Response:
    if isinstance(error, ServiceError):
        fields = {"__type": _error_type(service, error.code), "message": error.message, **error.fields}
        if error.code in _CAPITALIZED_MESSAGES or "Item" in error.fields:
            fields["Message"] = fields.pop("message")
        return Response(error.status, json_text.dumps(fields), service.content_type, error.headers)
    message = str(error)
    if isinstance(error, CorruptData):
        _LOG.error("the store is damaged", exc_info=error)
    elif not isinstance(error, StorageError):
        _LOG.error("an operation failed inside the engine", exc_info=error)
        message = "The request failed inside the engine"
    fields = {"__type": f"{service.error_prefix}InternalServerError", "message": message}
    return Response(500, json_text.dumps(fields), service.content_type)


def _error_type(service: Service, code: str) -> str:
    if code in _CORAL_ERRORS:
        return _CORAL + code
    return _VALIDATION if code == "ValidationException" else service.error_prefix + code


def unknown_target(target: str) -> Response:
    """The answer to a request that names no service that is offered."""
    fields = {"__type": f"{_CORAL}UnknownOperationException", "message": f"no service answers to {target!r}"}
    return Response(400, orjson.dumps(fields), "application/x-amz-json-1.0")


def _health(request: Request) -> Response:
    if request.method == b"GET" and request.path == b"/":
        return Response(200, b"healthy: " + request.headers.get(b"host", b"") + b"\n", "text/plain")
    fields = {"__type": f"{_CORAL}UnknownOperationException", "message": "expected POST with X-Amz-Target"}
    return Response(404, orjson.dumps(fields), "application/x-amz-json-1.0")
