"""SNS on the wire: messages published to the app's topics.

They go where the routes' messages go, to the queues that subscribe, as raw message delivery has them: the text as it
came, with its attributes. A message group is a lane; a message without one is a lane of its own.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.core.effects import Publish, StampedEffect
from afterwrite.core.placements import ToQueue
from afterwrite.errors import ServiceError
from afterwrite.server import message_attributes, sqs_requests
from afterwrite.server.aws_query import Parameters, members
from afterwrite.server.message_attributes import Attributes, AttributeWords
from afterwrite.server.placing import Placing
from afterwrite.store import queues
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.prepared import Write

_MESSAGE_BYTES_MAX: Final = 256 << 10
_ENTRIES_MAX: Final = 10
_SUBJECT: Final = re.compile(r"(?! )[ -~\u00a0-\U0010ffff]{1,99}")
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")

_ARN_ELEMENTS: Final = 6
_TOPICS: Final = "its topics, with app.topic(name)"
_SUBSCRIPTIONS: Final = "its subscriptions, with topic.subscribe(queue, filter_policy={…})"
_DECLARED: Final = {
    **dict.fromkeys(("DeleteTopic", "SetTopicAttributes"), _TOPICS),
    **dict.fromkeys(("Subscribe", "ConfirmSubscription", "Unsubscribe", "SetSubscriptionAttributes"), _SUBSCRIPTIONS),
}
_WORDS: Final = AttributeWords(
    {
        "long name": "Length of message attribute name must be less than 256 bytes.",
        "character": "Invalid non-alphanumeric character '{character}' was found in the message attribute name. Can "
        "only include alphanumeric characters, hyphens, underscores, or dots.",
        "first dot": "Invalid message attribute name starting with character '.' was found.",
        "last dot": "Invalid message attribute name ending with character '.' was found.",
        "two dots": "Message attribute name can not have successive '.' character.",
        "reserved": "Message attribute name '{name}' can not begin with 'AWS.' or 'Amazon.'.",
        "type": "The message attribute '{name}' has an invalid message attribute type, the set of supported type "
        "prefixes is Binary, Number, and String.",
        "member": "The message attribute '{name}' with type '{kind}' must use field '{member}'.",
        "empty": "The message attribute '{name}' must contain non-empty message attribute value for message attribute "
        "type '{kind}'.",
        "text": "Invalid character '{character}' was found in the value of the message attribute '{name}'.",
        "number": "Could not cast message attribute '{name}' value to number.",
    },
    lambda message: ServiceError("ParameterValueInvalid", message),
)

Run = Callable[[WriteTransaction], Mapping[str, Any]]


def _not_offered(action: str) -> str:
    what = _DECLARED.get(action)
    if what is None:
        return f"The operation {action} is not offered"
    return f"{action} is not offered: the app declares {what}; change it there and start the engine again"


class SnsService:
    """SNS's Publish, PublishBatch, ListTopics and CreateTopic. `now_ms` is the engine's clock."""

    version = "2010-03-31"
    namespace = "http://sns.amazonaws.com/doc/2010-03-31/"

    def __init__(
        self, topics: Collection[str], placing: Placing, identity: Identity, now_ms: Callable[[], int]
    ) -> None:
        self._topics = sorted(topics)
        self._placing = placing
        self._arn = f"arn:aws:sns:{identity.region}:{identity.account_id}:"
        self._now_ms = now_ms
        self._by_name: Mapping[str, Callable[[Parameters], Run]] = {
            "Publish": self._publish,
            "PublishBatch": self._publish_batch,
            "ListTopics": self._list_topics,
            "CreateTopic": self._create_topic,
        }

    def prepare(self, action: str, parameters: Parameters, _path: str) -> Write:
        """The action with its parameters, validated. Raises ServiceError."""
        operation = self._by_name.get(action)
        if operation is None:
            raise ServiceError("InvalidAction", _not_offered(action))
        return Write(operation(parameters))

    def result(self, action: str, answer: Mapping[str, Any]) -> str:
        """The answer's body as XML."""
        return f"<{action}Result>{members(answer)}</{action}Result>"

    def named(self, error: ServiceError) -> tuple[str, str]:
        """An error's code and message."""
        return error.code, error.message

    def _publish(self, parameters: Parameters) -> Run:
        if "PhoneNumber" in parameters:
            raise _invalid("PhoneNumber Reason: only topics of the app are offered")
        fields = [field for field in ("TopicArn", "TargetArn") if field in parameters]
        if not fields:
            raise _invalid("TopicArn or TargetArn Reason: no value for required parameter")
        topic = self._topic(parameters, fields[0])
        message_id, placements, size_bytes = self._placed(topic, parameters, "")
        if size_bytes > _MESSAGE_BYTES_MAX:
            raise _invalid("Message too long")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            self._placing.put(transaction, placements)
            return {"MessageId": message_id}

        return run

    def _publish_batch(self, parameters: Parameters) -> Run:
        topic = self._topic(parameters, "TopicArn")
        placements: list[ToQueue] = []
        successful: list[Mapping[str, Any]] = []
        size_bytes = 0
        for number, entry in enumerate(_entries(parameters), start=1):
            # SNS refuses the whole request for what is wrong with one of its entries.
            where = f"publishBatchRequestEntries.{number}.member."
            message_id, placed, entry_bytes = self._placed(topic, entry, where)
            size_bytes += entry_bytes
            placements += placed
            successful.append({"Id": entry["Id"], "MessageId": message_id})
        if size_bytes > _MESSAGE_BYTES_MAX:
            raise ServiceError("BatchRequestTooLong", f"The batch is longer than {_MESSAGE_BYTES_MAX} bytes.")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            self._placing.put(transaction, placements)
            return {"Successful": successful, "Failed": []}

        return run

    def _list_topics(self, _parameters: Parameters) -> Run:
        return lambda _transaction: {"Topics": [{"TopicArn": self._arn + name} for name in self._topics]}

    def _create_topic(self, parameters: Parameters) -> Run:
        name = str(parameters.get("Name", ""))
        if name not in self._topics:
            raise _invalid(f"Name Reason: the app declares no topic {name}: declare it there, with app.topic({name!r})")
        return lambda _transaction: {"TopicArn": self._arn + name}

    def _topic(self, parameters: Parameters, field: str) -> str:
        elements = str(parameters.get(field) or "").split(":")
        if len(elements) < _ARN_ELEMENTS:
            raise _invalid(f"{field} Reason: An ARN must have at least {_ARN_ELEMENTS} elements, not {len(elements)}")
        if field == "TargetArn" and elements[5].startswith("endpoint/"):
            raise _invalid("TargetArn Reason: No endpoint found for the target arn specified")
        if elements[0] != "arn" or elements[-1] not in self._topics:
            raise ServiceError("NotFound", "Topic does not exist", status=404)
        return elements[-1]

    def _placed(self, topic: str, parameters: Parameters, where: str) -> tuple[str, list[ToQueue], int]:
        """A message's new id, where it goes, and its size. `where` names the message in the request."""
        text, subject = _message(parameters), _subject(parameters)
        attributes = _attributes(parameters, where)
        message_id = str(uuid.uuid4())
        lane = _group(parameters) or message_id
        plain = message_attributes.plain(attributes)
        filtered = {name: value for name, value in plain.items() if "BinaryValue" not in attributes[name]}
        at_ms = self._now_ms()
        stored = queues.Message(
            message_id, text, lane, at_ms, subject, plain or None, wire={"attributes": attributes} if attributes else {}
        )
        stamped = StampedEffect(message_id, lane, at_ms, Publish(topic, text, subject, filtered))
        encoded = queues.encode(stored)
        placed = [each._replace(text=encoded) for each in self._placing.place(stamped) if isinstance(each, ToQueue)]
        return message_id, placed, len(text.encode()) + message_attributes.size_bytes(attributes)


def _invalid(what: str) -> ServiceError:
    return ServiceError("InvalidParameter", f"Invalid parameter: {what}")


def _message(parameters: Parameters) -> str:
    message = parameters.get("Message")
    if not isinstance(message, str) or not message:
        raise _invalid("Empty message")
    structure = parameters.get("MessageStructure")
    if structure is None:
        return message
    if structure != "json":
        raise _invalid(f"MessageStructure Reason: expected json, got {structure}")
    try:
        by_protocol = orjson.loads(message)
    except orjson.JSONDecodeError:
        raise _invalid("Message Structure - JSON message body failed to parse") from None
    if not isinstance(by_protocol, dict) or not isinstance(by_protocol.get("default"), str):
        raise _invalid("Message Structure - No default entry in JSON message body")
    chosen = by_protocol.get("sqs", by_protocol["default"])
    return chosen if isinstance(chosen, str) else str(by_protocol["default"])


def _subject(parameters: Parameters) -> str | None:
    subject = parameters.get("Subject")
    if subject is not None and not (isinstance(subject, str) and _SUBJECT.fullmatch(subject)):
        raise _invalid("Subject")
    return subject


def _group(parameters: Parameters) -> str | None:
    if "MessageDeduplicationId" in parameters:
        reason = "The request includes MessageDeduplicationId parameter that is not valid for this topic type"
        raise _invalid(f"MessageDeduplicationId Reason: {reason}")
    try:
        return sqs_requests.token(parameters, "MessageGroupId")
    except ServiceError as error:
        raise _invalid(f"MessageGroupId Reason: {error.message}") from None


def _attributes(parameters: Parameters, where: str) -> Attributes:
    given = parameters.get("MessageAttributes", {})
    entries = given.get("entry", []) if isinstance(given, dict) else given
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        raise _invalid("MessageAttributes")
    named = [(str(each.get("Name", "")), each.get("Value", {})) for each in entries]
    for name, value in named:
        if isinstance(value, dict) and "DataType" not in value:
            raise ServiceError(
                "ValidationError",
                f"1 validation error detected: Value null at '{where}messageAttributes.{name}.member.dataType' "
                "failed to satisfy constraint: Member must not be null",
            )
    return {name: message_attributes.checked(name, value, _WORDS) for name, value in named}


def _entries(parameters: Parameters) -> list[Parameters]:
    """The entries of a batch, whose ids differ."""
    given = parameters.get("PublishBatchRequestEntries", {})
    entries = given.get("member", []) if isinstance(given, dict) else given
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries) or not entries:
        raise ServiceError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
    if len(entries) > _ENTRIES_MAX:
        message = "The batch request contains more entries than permissible."
        raise ServiceError("TooManyEntriesInBatchRequest", message)
    ids = [str(each.get("Id", "")) for each in entries]
    if not all(_ENTRY_ID.fullmatch(each) for each in ids):
        raise ServiceError("InvalidBatchEntryId", "An Id has 1 to 80 letters, digits, hyphens and underscores.")
    if len(set(ids)) < len(ids):
        raise ServiceError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
    return entries
