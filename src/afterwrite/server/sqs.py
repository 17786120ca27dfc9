"""SQS on the wire: the app's queues and all dead letter queues, for producers and consumers in any language.

What a queue is, the app declares; what concerns queues themselves is in `sqs_queues`, here messages are sent, received
and settled. A queue keeps the order of its lanes for those outside, too: a message group is a lane, a route's effects
have the lane of their item, and a message without a group is a lane of its own. So one request receives messages of
different groups, and of each group the first.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from afterwrite.core.failures import failure
from afterwrite.errors import ServiceError
from afterwrite.server import message_attributes
from afterwrite.server import sqs_requests as requests
from afterwrite.server.sqs_queues import DeclaredQueue, SqsQueues
from afterwrite.server.sqs_requests import Body, Sending
from afterwrite.store import held_messages, queues, sent_messages
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.prepared import Poll, Prepared, Write
from afterwrite.store.queues import Message, Received

# Which message it is, until when it is hidden, how often it was received, and when.
_RECEIPT: Final = struct.Struct(">8sQQIQ")
_FIRST_RECEIVE: Final = "ApproximateFirstReceiveTimestamp"
_WAIT_S_MAX: Final = 20
_NOT_OF_THIS_TYPE: Final = "The request include parameter that is not valid for this queue type."
_TOO_LONG: Final = f"Total VisibilityTimeout for the message is beyond the limit [{requests.VISIBILITY_S_MAX} seconds]"
_NO_DEDUPLICATION_ID: Final = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)

Entry = Callable[[WriteTransaction, Body], Mapping[str, Any]]


class SqsService:
    """AmazonSQS."""

    target = "AmazonSQS"
    error_prefix = "com.amazonaws.sqs#"
    content_type = "application/x-amz-json-1.0"

    def __init__(self, declared: SqsQueues) -> None:
        self._queues = declared
        self._by_name: Mapping[str, Callable[[Body], Prepared | Poll]] = {
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change_visibility,
            "ChangeMessageVisibilityBatch": self._change_visibility_batch,
            **declared.operations(),
        }

    def offers(self, name: str) -> bool:
        """Whether there is an operation `name`."""
        return name in self._by_name

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared | Poll:
        """The operation `name` with its body, validated. Raises ServiceError."""
        operation = self._by_name.get(name)
        if operation is None:
            raise requests.refusal("UnsupportedOperation", f"The operation {name} is not offered")
        return operation(body)

    # --- sending

    def _send(self, body: Body) -> Write:
        queue, message = self._queues.named(body), requests.sending(body)
        message_id = str(uuid.uuid4())

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            return self._sent(transaction, queue, message, message_id)

        return Write(run)

    def _send_batch(self, body: Body) -> Write:
        queue, entries = self._queues.named(body), requests.entries(body, "SendMessageBatch")
        ids = [str(uuid.uuid4()) for _ in entries]
        sendings = [_or_refusal(requests.sending, entry) for entry in entries]
        requests.check_batch_size(sum(each.size_bytes for each in sendings if isinstance(each, Sending)))
        by_id = {str(entry["Id"]): number for number, entry in enumerate(entries)}

        def send(transaction: WriteTransaction, entry: Body) -> Mapping[str, Any]:
            number = by_id[entry["Id"]]
            message = sendings[number]
            if isinstance(message, ServiceError):
                raise message
            return self._sent(transaction, queue, message, ids[number])

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            if queue.is_fifo:
                by_content = self._queues.settings(transaction, queue).deduplicates_by_content
                _check_fifo_batch([each for each in sendings if isinstance(each, Sending)], by_content=by_content)
            return _each(transaction, entries, send)

        return Write(run)

    def _sent(
        self, transaction: WriteTransaction, queue: DeclaredQueue, message: Sending, message_id: str
    ) -> Mapping[str, Any]:
        settings = self._queues.settings(transaction, queue)
        requests.check_size(message.size_bytes, settings.message_bytes_max)
        delay_s = settings.delay_s if message.delay_s is None else message.delay_s
        answer: dict[str, Any] = {"MD5OfMessageBody": requests.md5_of_text(message.text)}
        if message.attributes:
            answer["MD5OfMessageAttributes"] = message_attributes.md5(message.attributes)
        if message.system_attributes:
            answer["MD5OfMessageSystemAttributes"] = message_attributes.md5(message.system_attributes)
        place: Mapping[str, Any] | None = None
        deduplication_id = message.deduplication_id
        if queue.is_fifo:
            deduplication_id = _fifo_id(message, by_content=settings.deduplicates_by_content)
            place = self._sent_before(transaction, queue, deduplication_id)
        elif deduplication_id is not None:
            raise requests.invalid("MessageDeduplicationId", deduplication_id, _NOT_OF_THIS_TYPE)
        if place is None:
            stored = _stored(transaction, message, message_id, deduplication_id)
            not_before_ms = transaction.now_ms + delay_s * 1000 if delay_s else 0
            arrival = queues.send(
                transaction, queue.name, stored.lane, queues.encode(stored), not_before_ms=not_before_ms
            )
            place = {"MessageId": message_id, "SequenceNumber": _sequence_number(arrival)}
            if queue.is_fifo and deduplication_id is not None:
                sent_messages.keep(transaction, queue.name, deduplication_id, place)
        if not queue.is_fifo:
            place = {"MessageId": place["MessageId"]}
        return {**answer, **place}

    def _sent_before(
        self, transaction: WriteTransaction, queue: DeclaredQueue, deduplication_id: str
    ) -> Mapping[str, Any] | None:
        """What was answered for the same message within the last five minutes (S33), unless it was purged since."""
        kept = sent_messages.found(transaction, queue.name, deduplication_id)
        if kept is None or int(kept["SequenceNumber"]) <= self._queues.purged_through(transaction, queue):
            return None
        return {name: kept[name] for name in ("MessageId", "SequenceNumber")}

    # --- receiving

    def _receive(self, body: Body) -> Poll:
        queue = self._queues.named(body)
        limit = requests.bounded(body, "MaxNumberOfMessages", 1, 10, 1)
        visibility_s = requests.bounded(body, "VisibilityTimeout", 0, requests.VISIBILITY_S_MAX, -1)
        wait_s = requests.bounded(body, "WaitTimeSeconds", 0, _WAIT_S_MAX, -1)
        system = [*requests.texts(body, "AttributeNames"), *requests.texts(body, "MessageSystemAttributeNames")]
        names = requests.texts(body, "MessageAttributeNames")

        def run(transaction: WriteTransaction) -> Mapping[str, Any] | None:
            settings = self._queues.settings(transaction, queue)
            timeout_s = settings.visibility_timeout_s if visibility_s < 0 else visibility_s
            received = self._received(transaction, queue, limit, int(timeout_s * 1000))
            shown = [self._message(transaction, queue, each, system, names) for each in received]
            return {"Messages": shown} if shown else None

        return Poll(run, queue.name, self._queues.wait_s(queue) if wait_s < 0 else wait_s, {})

    def _received(
        self, transaction: WriteTransaction, queue: DeclaredQueue, limit: int, visibility_ms: int
    ) -> list[Received]:
        """Receive messages; those that were received too often go to the dead letters instead (S33)."""
        received: list[Received] = []
        while len(received) < limit:
            # A visibility of 0 would make the same message receivable in this very transaction.
            batch = held_messages.receive(
                transaction, queue.name, limit=limit - len(received), visibility_ms=max(1, visibility_ms)
            )
            if not batch:
                break
            for each in batch:
                if queue.dead_letter_queue is not None and each.receive_count > queue.max_receives:
                    self._bury(transaction, queue, each, queue.dead_letter_queue)
                else:
                    received.append(each)
        return received

    def _bury(
        self, transaction: WriteTransaction, queue: DeclaredQueue, received: Received, dead_letter_queue: str
    ) -> None:
        count = received.receive_count - 1
        queues.remove(transaction, queue.name, received)
        dead = queues.dead_letter(
            received.message,
            source=queue.name,
            failed=failure("bug", f"received {count} times and not deleted"),
            condition="received too often",
            receive_count=count,
            at_ms=transaction.now_ms,
        )
        queues.send(transaction, dead_letter_queue, received.message.lane, queues.encode(dead))

    def _message(
        self,
        transaction: WriteTransaction,
        queue: DeclaredQueue,
        received: Received,
        system: list[str],
        names: list[str],
    ) -> Mapping[str, Any]:
        message, body = received.message, requests.body_text(received.message)
        shown: dict[str, Any] = {
            "MessageId": message.id,
            "ReceiptHandle": _handle(received, transaction.now_ms),
            "MD5OfBody": requests.md5_of_text(body),
            "Body": body,
        }
        attributes = message_attributes.selected(message_attributes.of_message(message), names)
        if attributes:
            shown["MessageAttributes"] = attributes
            shown["MD5OfMessageAttributes"] = message_attributes.md5(attributes)
        found = self._system_attributes(queue, received)
        if "All" in system or _FIRST_RECEIVE in system:
            first_ms = held_messages.first_received_ms(transaction, queue.name, received)
            found |= {} if first_ms is None else {_FIRST_RECEIVE: str(first_ms)}
        wanted = {name: value for name, value in found.items() if "All" in system or name in system}
        if wanted:
            shown["Attributes"] = wanted
        return shown

    def _system_attributes(self, queue: DeclaredQueue, received: Received) -> dict[str, str]:
        message = received.message
        wire = message.wire or {}
        found = {
            "SenderId": self._queues.account_id,
            "SentTimestamp": str(message.sent_at_ms),
            "ApproximateReceiveCount": str(received.receive_count),
        }
        if message.lane != message.id:
            found["MessageGroupId"] = message.lane
        if queue.is_fifo:
            found["SequenceNumber"] = _sequence_number(received.arrival)
            found["MessageDeduplicationId"] = wire.get("deduplication_id") or message.id
        if "trace" in wire:
            found[requests.TRACE_HEADER] = wire["trace"]
        source = (message.attributes or {}).get("dead_letter_source")
        if source is not None:
            found["DeadLetterQueueSourceArn"] = self._queues.arn(source)
        return found

    # --- settling

    def _delete(self, body: Body) -> Write:
        queue = self._queues.named(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            return _deleted(transaction, queue, body)

        _receipt(body)
        return Write(run)

    def _delete_batch(self, body: Body) -> Write:
        queue, entries = self._queues.named(body), requests.entries(body, "DeleteMessageBatch")
        return Write(lambda transaction: _each(transaction, entries, lambda each, entry: _deleted(each, queue, entry)))

    def _change_visibility(self, body: Body) -> Write:
        queue = self._queues.named(body)
        _receipt(body), _timeout_s(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            return _changed(transaction, queue, body)

        return Write(run)

    def _change_visibility_batch(self, body: Body) -> Write:
        queue, entries = self._queues.named(body), requests.entries(body, "ChangeMessageVisibilityBatch")
        return Write(lambda transaction: _each(transaction, entries, lambda each, entry: _changed(each, queue, entry)))


def _or_refusal(parse: Callable[[Body], Sending], entry: Body) -> Sending | ServiceError:
    try:
        return parse(entry)
    except ServiceError as error:
        return error


def _each(transaction: WriteTransaction, entries: list[Body], run: Entry) -> Mapping[str, Any]:
    """What became of each entry of a batch (S28). An entry is refused before it has written."""
    successful: list[Mapping[str, Any]] = []
    failed: list[Mapping[str, Any]] = []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **run(transaction, entry)})
        except ServiceError as error:
            fields = {"Id": entry["Id"], "SenderFault": True, "Code": requests.legacy_code(error.code)}
            failed.append({**fields, "Message": error.message})
    return {"Successful": successful, **({"Failed": failed} if failed else {})}


def _stored(transaction: WriteTransaction, message: Sending, message_id: str, deduplication_id: str | None) -> Message:
    wire: dict[str, Any] = {}
    if message.attributes:
        wire["attributes"] = message.attributes
    if deduplication_id is not None:
        wire["deduplication_id"] = deduplication_id
    if (trace := message.system_attributes.get(requests.TRACE_HEADER)) is not None:
        wire["trace"] = trace.get("StringValue", "")
    return Message(
        id=message_id,
        body=message.text,
        lane=message.group or message_id,
        sent_at_ms=transaction.now_ms,
        attributes=message_attributes.plain(message.attributes) or None,
        wire=wire,
    )


def _check_fifo_batch(messages: list[Sending], *, by_content: bool) -> None:
    """Refuse a batch of which one message lacks what a FIFO queue needs: that is a fault of the whole request."""
    if any(each.group is None for each in messages):
        raise requests.invalid_parameter(requests.missing("MessageGroupId").message)
    if not by_content and any(each.deduplication_id is None for each in messages):
        raise requests.invalid_parameter(_NO_DEDUPLICATION_ID)


def _fifo_id(message: Sending, *, by_content: bool) -> str:
    """The id by which a FIFO queue knows a message again. Raises what it refuses."""
    if message.group is None:
        raise requests.missing("MessageGroupId")
    if message.delay_s:
        raise requests.invalid("DelaySeconds", message.delay_s, _NOT_OF_THIS_TYPE)
    if message.deduplication_id is not None:
        return message.deduplication_id
    if not by_content:
        raise requests.invalid_parameter(_NO_DEDUPLICATION_ID)
    return hashlib.sha256(message.text.encode()).hexdigest()


def _sequence_number(arrival: int) -> str:
    return f"{arrival:020}"


def _handle(received: Received, at_ms: int) -> str:
    packed = _RECEIPT.pack(
        received.lane_digest, received.arrival, received.visible_until_ms, received.receive_count, at_ms
    )
    return base64.urlsafe_b64encode(packed).decode()


def _receipt(body: Body) -> tuple[Received, int]:
    """The receipt of the request's handle, without its message, and when the message was received (ms)."""
    handle = requests.required_text(body, "ReceiptHandle")
    try:
        lane_digest, arrival, until_ms, count, at_ms = _RECEIPT.unpack(base64.b64decode(handle, b"-_", validate=True))
    except (binascii.Error, ValueError, struct.error):
        message = f'The input receipt handle "{handle}" is not a valid receipt handle.'
        raise requests.refusal("ReceiptHandleIsInvalid", message) from None
    return Received(queues.NO_MESSAGE, lane_digest, arrival, until_ms, count), at_ms


def _timeout_s(body: Body) -> int:
    if body.get("VisibilityTimeout") is None:
        raise requests.missing("VisibilityTimeout")
    return requests.bounded(body, "VisibilityTimeout", 0, requests.VISIBILITY_S_MAX, 0)


def _deleted(transaction: WriteTransaction, queue: DeclaredQueue, body: Body) -> Mapping[str, Any]:
    receipt = held_messages.current(transaction, queue.name, _receipt(body)[0])
    is_expired = receipt.visible_until_ms <= transaction.now_ms
    if queue.is_fifo and is_expired and queues.is_there(transaction, queue.name, receipt):
        raise requests.invalid("ReceiptHandle", body["ReceiptHandle"], "The receipt handle has expired.")
    # An older receipt deletes nothing, and is no error.
    queues.remove(transaction, queue.name, receipt)
    return {}


def _changed(transaction: WriteTransaction, queue: DeclaredQueue, body: Body) -> Mapping[str, Any]:
    timeout_s, now_ms = _timeout_s(body), transaction.now_ms
    received, received_at_ms = _receipt(body)
    receipt = held_messages.current(transaction, queue.name, received)
    if not queues.is_there(transaction, queue.name, receipt):
        reason = "Message does not exist or is not available for visibility timeout change."
        raise requests.invalid("ReceiptHandle", body["ReceiptHandle"], reason)
    # A standard queue lets whoever received a message last hide it again after its time, a FIFO queue does not.
    is_late = queue.is_fifo and receipt.visible_until_ms <= now_ms
    if is_late or not queues.is_held(transaction, queue.name, receipt):
        raise requests.refusal("MessageNotInflight", "The specified message isn't in flight.")
    if timeout_s + (now_ms - received_at_ms) // 1000 > requests.VISIBILITY_S_MAX:
        raise requests.invalid("VisibilityTimeout", timeout_s, _TOO_LONG)
    if timeout_s == 0:
        queues.release(transaction, queue.name, receipt, at_ms=now_ms)
        return {}
    held_messages.hold(transaction, queue.name, receipt, until_ms=now_ms + timeout_s * 1000)
    return {}
