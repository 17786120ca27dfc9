"""Faults of requests from outside: refused, slow, answered wrongly, run twice, or of a batch some entries failing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

import orjson

from afterwrite.server import aws_query, cbor, kinesis_requests
from afterwrite.server.http import Handler, Request, Respond, Response
from afterwrite.server.http_messages import error_body
from afterwrite.server.kinesis import KinesisService
from afterwrite.server.sqs_query import SqsByQuery
from afterwrite.testing.faults import AnswerLost, Crash, Duplicate, Fault, PartialBatch, Rejected, Slow, Throttled

Draw: TypeAlias = Callable[[str], Fault | None]


@dataclass(frozen=True, slots=True)
class _Batch:
    """How a batch call names its entries and their results, and what it says of one that failed (S28)."""

    entries: str
    results: str
    failed_count: str | None
    failure: Mapping[str, Any]


_BATCHES: Final = {
    "AWSEvents.PutEvents": _Batch(
        "Entries",
        "Entries",
        "FailedEntryCount",
        {"ErrorCode": "InternalFailure", "ErrorMessage": "a fault of the schedule"},
    ),
    "Firehose_20150804.PutRecordBatch": _Batch(
        "Records",
        "RequestResponses",
        "FailedPutCount",
        {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "a fault of the schedule"},
    ),
    "Kinesis_20131202.PutRecords": _Batch(
        "Records",
        "Records",
        "FailedRecordCount",
        {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "a fault of the schedule"},
    ),
}
_BY_ID: Final = (
    "AmazonSQS.SendMessageBatch",
    "AmazonSQS.DeleteMessageBatch",
    "AmazonSQS.ChangeMessageVisibilityBatch",
)
_FORM: Final = b"application/x-www-form-urlencoded"
# What the targets of forms begin with: SQS's, whose JSON requests have the same, and all others.
_OF_FORMS: Final = {SqsByQuery.version: "AmazonSQS."}
_OF_OTHER_FORMS: Final = "SNS."
_BATCH_WRITE: Final = "DynamoDB_20120810.BatchWriteItem"


def faulty_handler(handler: Handler, draw: Draw, crash: Callable[[], None]) -> Handler:
    """The handler, to whose requests the drawn faults happen."""

    def handle(request: Request, respond: Respond) -> None:
        target = _target(request)
        fault = None if not target else draw(f"request:{target}")
        if fault is not None and target.startswith(KinesisService.target) and cbor.is_spoken(request):
            request, respond = _in_json(request, respond)
        if isinstance(fault, Rejected):
            respond(_refusal(request, 500, fault.code))
        elif isinstance(fault, Throttled):
            respond(_refusal(request, 400, "ThrottlingException"))
        elif isinstance(fault, AnswerLost):
            handler(request, lambda _: respond(_refusal(request, 500, "InternalServerError")))
        elif isinstance(fault, Duplicate):
            handler(request, lambda _: handler(request, respond))
        elif isinstance(fault, PartialBatch):
            _part(handler, target, fault, request, respond)
        elif isinstance(fault, Slow):
            _later(fault.seconds, lambda: handler(request, respond))
        elif isinstance(fault, Crash) and fault.when == "before":
            crash()
        elif isinstance(fault, Crash):
            handler(request, lambda _: crash())
        else:
            handler(request, respond)

    return handle


def _in_json(request: Request, respond: Respond) -> tuple[Request, Respond]:
    """A request in CBOR as one in JSON, and what takes its answer, in JSON too."""
    headers = {name: value for name, value in request.headers.items() if name != b"content-type"}

    def respond_in_cbor(response: Response) -> None:
        respond(cbor.in_cbor(response, kinesis_requests.IN_CBOR))

    return replace(request, headers=headers, body=orjson.dumps(cbor.parsed(request.body))), respond_in_cbor


def _target(request: Request) -> str:
    if not _is_form(request):
        return request.headers.get(b"x-amz-target", b"").decode("latin-1")
    fields = dict(parse_qsl(request.body.decode("latin-1")))
    return _OF_FORMS.get(fields.get("Version", ""), _OF_OTHER_FORMS) + fields.get("Action", "")


def _is_form(request: Request) -> bool:
    """Whether it is of the query protocol, and answered in XML."""
    headers = request.headers
    return not headers.get(b"x-amz-target") and headers.get(b"content-type", b"").startswith(_FORM)


def _refusal(request: Request, status: int, code: str) -> Response:
    message = "a fault of the schedule"
    if _is_form(request):
        return aws_query.refusal(status, code, message)
    return Response(status, error_body(code, message))


def _later(seconds: float, action: Callable[[], None]) -> None:
    """Do it later: on the event loop that runs here, or in this thread where none does."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        time.sleep(seconds)
        action()
    else:
        loop.call_later(seconds, action)


def _part(handler: Handler, target: str, fault: PartialBatch, request: Request, respond: Respond) -> None:
    """Let the fault's entries fail, and the others happen; a request that is no batch happens whole."""
    split = None if _is_form(request) else _split(target, orjson.loads(request.body), frozenset(fault.entries))
    if split is None:
        handler(request, respond)
        return
    kept, merged = split
    if kept is None:
        respond(Response(200, orjson.dumps(merged({}))))
        return

    def merge(response: Response) -> None:
        if response.status == 200:
            response = replace(response, body=orjson.dumps(merged(orjson.loads(response.body))))
        respond(response)

    handler(replace(request, body=orjson.dumps(kept)), merge)


_Split: TypeAlias = tuple[dict[str, Any] | None, Callable[[dict[str, Any]], dict[str, Any]]]


def _split(target: str, body: dict[str, Any], failing: frozenset[int]) -> _Split | None:
    """The request without its failing entries, and what makes its answer the whole one's; None for no batch."""
    if target in _BATCHES:
        return _split_by_number(_BATCHES[target], body, failing)
    if target in _BY_ID:
        return _split_by_id(body, failing)
    if target == _BATCH_WRITE:
        return _split_writes(body, failing)
    return None


def _split_by_number(batch: _Batch, body: dict[str, Any], failing: frozenset[int]) -> _Split:
    entries = body[batch.entries]
    kept = [entry for number, entry in enumerate(entries) if number not in failing]

    def merged(answer: dict[str, Any]) -> dict[str, Any]:
        found = iter(answer.get(batch.results, []))
        results = [batch.failure if number in failing else next(found) for number in range(len(entries))]
        failed = sum("ErrorCode" in result for result in results)
        return {**answer, batch.results: results, str(batch.failed_count): failed}

    return ({**body, batch.entries: kept} if kept else None), merged


def _split_by_id(body: dict[str, Any], failing: frozenset[int]) -> _Split:
    kept = [entry for number, entry in enumerate(body["Entries"]) if number not in failing]
    failed = [
        {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "a fault of the schedule"}
        for number, entry in enumerate(body["Entries"])
        if number in failing
    ]

    def merged(answer: dict[str, Any]) -> dict[str, Any]:
        return {"Successful": answer.get("Successful", []), "Failed": [*answer.get("Failed", []), *failed]}

    return ({**body, "Entries": kept} if kept else None), merged


def _split_writes(body: dict[str, Any], failing: frozenset[int]) -> _Split:
    kept: dict[str, list[Any]] = {}
    unprocessed: dict[str, list[Any]] = {}
    number = 0
    for table, writes in body["RequestItems"].items():
        for write in writes:
            (unprocessed if number in failing else kept).setdefault(table, []).append(write)
            number += 1

    def merged(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "UnprocessedItems": {**answer.get("UnprocessedItems", {}), **unprocessed}}

    return ({**body, "RequestItems": kept} if kept else None), merged
