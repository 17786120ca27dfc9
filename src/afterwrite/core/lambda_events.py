"""What calls a function on Lambda, and what it brings. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from afterwrite.core.changes import Change, position_by_time
from afterwrite.core.invocations import Message
from afterwrite.core.reordering import in_order_of_creation
from afterwrite.core.wire import from_kinesis_data, from_streams_record
from afterwrite.errors import InvalidValue

Caller: TypeAlias = Literal["dynamodb", "kinesis", "sqs", "sns", "eventbridge", "redrive", "invocation"]

ID_ATTRIBUTE: Final = "afterwrite-id"
"""The message attribute that carries an effect's id."""
TEXT_ATTRIBUTE: Final = "afterwrite-text"
"""The message attribute of a message that is a text, and not the JSON text of something."""
EFFECT_RESOURCE: Final = "afterwrite:effect/"
"""How the member of an event's `resources` begins that names the effect: EventBridge gives each event its own id."""

_CALLERS: Final[Mapping[str, Caller]] = {
    "aws:dynamodb": "dynamodb",
    "aws:kinesis": "kinesis",
    "aws:sqs": "sqs",
    "aws:sns": "sns",
}


class Incoming(NamedTuple):
    """An event recognised: who calls, the records it brings, and whether a Pipe brings them (S31)."""

    caller: Caller
    records: Sequence[Mapping[str, Any]]
    by_pipe: bool = False


class DeliveredChange(NamedTuple):
    """A change as a batch of Lambda's brings it: beside its position, which orders its lane, its place in the batch.

    `checkpoint` is the sequence number that the batch is cut at: everything from the lowest that is answered as
    failed on comes again (S1).
    """

    position: int
    lane: str
    change: Change
    checkpoint: int


class Invocation(NamedTuple):
    """One message for a function.

    `message_id` stays the same over all deliveries; `item_id` is what a batch names it by, should it fail; messages
    of one `lane` are taken in order, None is no lane.
    """

    message_id: str
    payload: Any
    item_id: str
    lane: str | None = None
    attempt: int = 1


def recognise(event: Any) -> Incoming:
    """Who calls, by the form of what came. Whatever is known by nothing else is an invocation's own payload.

    The records of a Pipe's invocation are what is to be asked of a function, each with its id.
    """
    if isinstance(event, list):
        if (caller := _caller_of(event)) is not None:
            return Incoming(caller, event, by_pipe=True)
        if event and all(_is_request(member) for member in event):
            return Incoming("invocation", event, by_pipe=True)
        return Incoming("invocation", [])
    if isinstance(event, Mapping):
        records = event.get("Records")
        if isinstance(records, list) and (caller := _caller_of(records)) is not None:
            return Incoming(caller, records)
        if isinstance(event.get("afterwrite"), Mapping) and "redrive" in event["afterwrite"]:
            return Incoming("redrive", [])
        if "detail-type" in event and "source" in event and "detail" in event:
            return Incoming("eventbridge", [event])
    return Incoming("invocation", [])


def _caller_of(records: Sequence[Any]) -> Caller | None:
    if not records or not all(isinstance(record, Mapping) for record in records):
        return None
    return _CALLERS.get(str(records[0].get("eventSource") or records[0].get("EventSource")))


class Delivery(NamedTuple):
    """The changes of a batch, how each is named in an answer, and which records hold none."""

    changes: Sequence[DeliveredChange]
    item_ids: Mapping[int, str]
    unreadable: Sequence[int]


def changes_of(incoming: Incoming, lane_of: Callable[[Change], str], table_of: Callable[[str], str]) -> Delivery:
    """The changes that a batch of a stream brings, in the order in which they happened per key.

    `table_of` gives the declared name of a table by its name on AWS. Changes that came through Kinesis are ordered by
    their creation time, and those that came twice are taken once (S26).
    """
    changes: list[DeliveredChange] = []
    item_ids: dict[int, str] = {}
    unreadable: list[int] = []
    for record in incoming.records:
        sequence_number = _sequence_number(record)
        checkpoint = int(sequence_number)
        item_ids[checkpoint] = str(record["eventID"]) if incoming.by_pipe else sequence_number
        try:
            change = _change_of(incoming.caller, record, table_of)
            lane = lane_of(change)
        except (InvalidValue, KeyError):
            unreadable.append(checkpoint)
            continue
        position = checkpoint if incoming.caller == "dynamodb" else position_by_time(change)
        changes.append(DeliveredChange(position, lane, change, checkpoint))
    if incoming.caller == "kinesis":
        changes = list({each.change.id: each for each in reversed(changes)}.values())
        changes = in_order_of_creation(reversed(changes), lambda each: each.change)
    return Delivery(changes, item_ids, unreadable)


def _sequence_number(record: Mapping[str, Any]) -> str:
    if "dynamodb" in record:
        return str(record["dynamodb"]["SequenceNumber"])
    return str(kinesis_members(record)["sequenceNumber"])


def kinesis_members(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a Kinesis record has of its own: a Pipe has it beside the other members, a mapping under `kinesis`."""
    members: Mapping[str, Any] = record.get("kinesis", record)
    return members


def _change_of(caller: Caller, record: Mapping[str, Any], table_of: Callable[[str], str]) -> Change:
    if caller == "dynamodb":
        change = from_streams_record(record)
    else:
        data = kinesis_value(record)
        if not isinstance(data, Mapping):
            raise InvalidValue(f"expected the data of a DynamoDB change, got {type(data).__name__}")
        change = from_kinesis_data(data)
    change.table = table_of(change.table)
    return change


def kinesis_value(record: Mapping[str, Any]) -> Any:
    """What a Kinesis record carries: the value of a JSON text, another text, or bytes."""
    data = base64.b64decode(kinesis_members(record)["data"])
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def lowest(checkpoints: Sequence[int]) -> int:
    """Where a stream's batch is cut: of several failures only the lowest counts (S1), as an integer (S9)."""
    return min(checkpoints)


def batch_answer(item_ids: Sequence[str]) -> dict[str, Any]:
    """The answer of a batch whose items of these ids failed (S2)."""
    return {"batchItemFailures": [{"itemIdentifier": item_id} for item_id in item_ids]}


def invocations_of(incoming: Incoming, *, as_messages: bool) -> list[Invocation]:
    """What a batch brings for a function; `as_messages` for a queue's consumer, which is given Messages."""
    if incoming.caller == "sqs":
        return [_from_sqs(record, as_messages) for record in incoming.records]
    if incoming.caller == "sns":
        return [_from_sns(record["Sns"], str(record["Sns"]["MessageId"])) for record in incoming.records]
    if incoming.caller == "eventbridge":
        return [_from_event(event, str(event["id"])) for event in incoming.records]
    if incoming.caller == "kinesis":
        return [_from_kinesis(record, by_pipe=incoming.by_pipe) for record in incoming.records]
    return [Invocation(str(record["eventID"]), record, str(record["eventID"])) for record in incoming.records]


def invocation_of(payload: Any, request_id: str) -> Invocation:
    """An asynchronous invocation: `function.later(…)` names its effect, anything else the request, also retried."""
    if _is_request(payload):
        return Invocation(str(payload["afterwrite"]["id"]), payload["request"], request_id)
    return Invocation(request_id, payload, request_id)


def _is_request(payload: Any) -> bool:
    return isinstance(payload, Mapping) and isinstance(payload.get("afterwrite"), Mapping) and "request" in payload


def _from_event(event: Mapping[str, Any], item_id: str) -> Invocation:
    """An event of a bus. A replay of it is another message than the event itself."""
    named = (str(resource) for resource in event.get("resources") or ())
    effects = (name.removeprefix(EFFECT_RESOURCE) for name in named if name.startswith(EFFECT_RESOURCE))
    message_id = next(effects, str(event.get("id", item_id)))
    if "replay-name" in event:
        message_id += f"/{event['replay-name']}"
    return Invocation(message_id, event, item_id)


def _from_kinesis(record: Mapping[str, Any], *, by_pipe: bool) -> Invocation:
    members = kinesis_members(record)
    item_id = str(record["eventID"]) if by_pipe else str(members["sequenceNumber"])
    return Invocation(str(record["eventID"]), kinesis_value(record), item_id, str(members["partitionKey"]))


def _from_sns(notification: Mapping[str, Any], item_id: str) -> Invocation:
    """A notification of SNS, as Lambda gets it or as a queue's body."""
    attributes = {
        name: _attribute_value(str(each["Type"]), each["Value"])
        for name, each in (notification.get("MessageAttributes") or {}).items()
    }
    message = _message(
        item_id,
        notification["Message"],
        attributes,
        subject=notification.get("Subject"),
        sent_at_ms=int(datetime.fromisoformat(notification["Timestamp"]).timestamp() * 1000),
    )
    return Invocation(message.id, message, item_id)


def _from_sqs(record: Mapping[str, Any], as_message: bool) -> Invocation:
    item_id, system = str(record["messageId"]), record.get("attributes") or {}
    attempt, sent_at_ms = int(system.get("ApproximateReceiveCount", 1)), int(system.get("SentTimestamp", 0))
    lane = system.get("MessageGroupId")
    body = record["body"]
    parsed = _parsed(body)
    if isinstance(parsed, Mapping) and parsed.get("Type") == "Notification" and "TopicArn" in parsed:
        invocation = _from_sns(parsed, item_id)
        message = invocation.payload
    elif not as_message and _is_dead_letter(parsed):
        return _from_dead_letter(parsed, item_id)._replace(attempt=attempt)
    else:
        attributes = {
            name: _attribute_value(str(each["dataType"]), each.get("stringValue", each.get("binaryValue")))
            for name, each in (record.get("messageAttributes") or {}).items()
        }
        message = _message(item_id, body, attributes, subject=None, sent_at_ms=sent_at_ms)
        invocation = _unwrapped(message, parsed, item_id)
    if as_message:
        counted = Message(
            invocation.message_id, message.body, message.sent_at_ms, message.subject, message.attributes, attempt
        )
        invocation = invocation._replace(payload=counted)
    return invocation._replace(lane=lane, attempt=attempt)


def _unwrapped(message: Message, parsed: Any, item_id: str) -> Invocation:
    """A message that carries an invocation or an event, or is the payload itself."""
    if recognise(parsed).caller == "eventbridge":
        return _from_event(parsed, item_id)
    if _is_request(parsed):
        return invocation_of(parsed, item_id)._replace(item_id=item_id)
    return Invocation(message.id, message.body, item_id)


def _from_dead_letter(body: Mapping[str, Any], item_id: str) -> Invocation:
    """What an asynchronous invocation of the function was given, under the id that it had."""
    asked, request_id = body["requestPayload"], str(body["requestContext"].get("requestId", item_id))
    if recognise(asked).caller == "eventbridge":
        return _from_event(asked, item_id)
    return invocation_of(asked, request_id)._replace(item_id=item_id)


def _is_dead_letter(body: Any) -> bool:
    """Whether it is what Lambda sends of an asynchronous invocation that failed for good (S35)."""
    return (
        isinstance(body, Mapping)
        and "requestPayload" in body
        and isinstance(body.get("requestContext"), Mapping)
        and "functionArn" in body["requestContext"]
    )


def _message(
    message_id: str, text: str, attributes: dict[str, Any], *, subject: str | None, sent_at_ms: int
) -> Message:
    effect_id = attributes.pop(ID_ATTRIBUTE, message_id)
    is_text = attributes.pop(TEXT_ATTRIBUTE, None) is not None
    return Message(effect_id, text if is_text else _parsed(text), sent_at_ms, subject, attributes)


def _attribute_value(data_type: str, value: Any) -> Any:
    if data_type.startswith("Binary"):
        return base64.b64decode(value)
    if data_type.startswith(("Number", "String.Array")):
        return _parsed(value)
    return value


def _parsed(text: str) -> Any:
    """The value of a JSON text, the text itself where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
