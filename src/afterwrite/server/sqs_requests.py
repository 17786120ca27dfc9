"""What requests to SQS have in common: their fields, checked, their messages, and errors in the service's words.

An error has two names: the one of its shape, and in a header the one of the query protocol, which SDKs still show.
Sources: Amazon SQS API Reference; Amazon SQS Developer Guide, "Amazon SQS message metadata".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from afterwrite.core import json_text
from afterwrite.errors import ServiceError
from afterwrite.server import message_attributes
from afterwrite.server.message_attributes import NOT_ALLOWED, Attributes, AttributeWords
from afterwrite.store.queues import Message

Body: TypeAlias = Mapping[str, Any]

MESSAGE_BYTES_MAX: Final = 1 << 20
ENTRIES_MAX: Final = 10
DELAY_S_MAX: Final = 900
VISIBILITY_S_MAX: Final = 43_200
TRACE_HEADER: Final = "AWSTraceHeader"
_ATTRIBUTES_MAX: Final = 10

_LEGACY: Final = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "InvalidParameterValueException": "InvalidParameterValue",
    "MissingRequiredParameterException": "MissingParameter",
    **{
        name: f"AWS.SimpleQueueService.{name}"
        for name in (
            "BatchEntryIdsNotDistinct",
            "BatchRequestTooLong",
            "EmptyBatchRequest",
            "InvalidBatchEntryId",
            "MessageNotInflight",
            "PurgeQueueInProgress",
            "TooManyEntriesInBatchRequest",
            "UnsupportedOperation",
        )
    },
}
_REASONS: Final = {
    "DelaySeconds": "DelaySeconds must be >= {least} and <= {most}.",
    "MaxNumberOfMessages": "Must be between {least} and {most}, if provided.",
}
_STATUS_OF: Final = {"PurgeQueueInProgress": 403, "ReceiptHandleIsInvalid": 404, "ResourceNotFoundException": 404}
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_TOKEN: Final = re.compile(r"[!-~]{1,128}")


def refusal(code: str, message: str) -> ServiceError:
    """The error with the name of its shape and, in a header, the older one."""
    headers = (("x-amzn-query-error", f"{legacy_code(code)};Sender"),)
    return ServiceError(code, message, status=_STATUS_OF.get(code, 400), headers=headers)


def legacy_code(code: str) -> str:
    """The error's name in the query protocol, which entries of batches have, too."""
    return _LEGACY.get(code, code)


def invalid(field: str, value: object, reason: str) -> ServiceError:
    """The refusal of a field's value."""
    return invalid_parameter(f"Value {value} for parameter {field} is invalid. Reason: {reason}")


def invalid_parameter(message: str) -> ServiceError:
    """The refusal of a value, in words that name it."""
    return refusal("InvalidParameterValueException", message)


def missing(field: str) -> ServiceError:
    """The refusal of a request without a field that it needs."""
    return refusal("MissingRequiredParameterException", f"The request must contain the parameter {field}.")


_NAME_AFFIXES: Final = (
    "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal "
    "use. Additionally, they cannot start or end with '.'."
)
_ALLOWED: Final = (
    "the set of allowed characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]."
)
_EMPTY: Final = "Message (user) attribute '{name}' must contain a non-empty value of type '{member}'."
_WORDS: Final = AttributeWords(
    {
        "long name": "Message (user) attribute names must be shorter than 256 Bytes",
        "character": "Message (user) attributes name can only contain upper and lower score characters, digits, "
        "periods, hyphens and underscores. ",
        "first dot": _NAME_AFFIXES,
        "last dot": _NAME_AFFIXES,
        "two dots": "Message (user) attribute name '{name}' must not contain successive periods.",
        "reserved": _NAME_AFFIXES,
        "type": "The type of message (user) attribute '{name}' is invalid. You must use only the following supported "
        "type prefixes: Binary, Number, String.",
        "member": _EMPTY,
        "empty": _EMPTY,
        "text": "Invalid character '{character}' was found in the value of the message (user) attribute '{name}'.",
        "number": "Can't cast the value of message (user) attribute '{name}' to a number.",
    },
    invalid_parameter,
)


def text(body: Body, field: str) -> str | None:
    """A field of type text."""
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise ServiceError("SerializationException", f"{type(value).__name__} can not be converted to an String")
    return value


def required_text(body: Body, field: str) -> str:
    """A field of type text that has to be there."""
    value = text(body, field)
    if not value:
        raise missing(field)
    return value


def bounded(body: Body, field: str, least: int, most: int, default: int) -> int:
    """A field that is a whole number from `least` to `most`."""
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise ServiceError("SerializationException", f"{type(value).__name__} can not be converted to an Integer")
    if not least <= value <= most:
        reason = _REASONS.get(field, "Must be >= {least} and <= {most}, if provided.")
        raise invalid(field, value, reason.format(least=least, most=most))
    return value


def texts(body: Body, field: str) -> list[str]:
    """A field that is a list of texts, empty where it is absent."""
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ServiceError("SerializationException", f"expected a list of strings as {field}")
    return value


def structure(body: Body, field: str) -> Body:
    """A field that is a map, empty where it is absent."""
    value = body.get(field)
    if value is not None and not isinstance(value, dict):
        raise ServiceError("SerializationException", f"expected a map as {field}")
    return value or {}


def token(body: Body, field: str) -> str | None:
    """A message group's or a deduplication's id."""
    value = text(body, field)
    if value is not None and not _TOKEN.fullmatch(value):
        reason = f"{field} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        raise invalid(field, value, reason)
    return value


def entries(body: Body, operation: str) -> list[Body]:
    """The entries of a batch that asks for `operation`, whose ids differ (S28)."""
    given = body.get("Entries") or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ServiceError("SerializationException", "expected a list of structures as Entries")
    if not given:
        raise refusal("EmptyBatchRequest", f"There should be at least one {operation}RequestEntry in the request.")
    if len(given) > ENTRIES_MAX:
        message = f"Maximum number of entries per request are {ENTRIES_MAX}. You have sent {len(given)}."
        raise refusal("TooManyEntriesInBatchRequest", message)
    ids = [text(each, "Id") or "" for each in given]
    if not all(_ENTRY_ID.fullmatch(each) for each in ids):
        message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores."
        raise refusal("InvalidBatchEntryId", f"{message} It can be at most 80 letters long.")
    for each in ids:
        if ids.count(each) > 1:
            raise refusal("BatchEntryIdsNotDistinct", f"Id {each} repeated.")
    return given


@dataclass(frozen=True, slots=True)
class Sending:
    """A message as a request to send it has it."""

    text: str
    attributes: Attributes
    system_attributes: Attributes
    delay_s: int | None
    group: str | None
    deduplication_id: str | None

    @property
    def size_bytes(self) -> int:
        """What counts for the limit: the body and the attributes' names, types and values."""
        return len(self.text.encode()) + message_attributes.size_bytes(self.attributes)


def sending(body: Body) -> Sending:
    """The message that a request or an entry of a batch sends."""
    message = required_text(body, "MessageBody")
    if found := NOT_ALLOWED.search(message):
        words = f"Invalid binary character '#x{ord(found[0]):X}' was found in the message body, {_ALLOWED}"
        raise refusal("InvalidMessageContents", words)
    return Sending(
        message,
        attributes(body),
        system_attributes(body),
        None if body.get("DelaySeconds") is None else bounded(body, "DelaySeconds", 0, DELAY_S_MAX, 0),
        token(body, "MessageGroupId"),
        token(body, "MessageDeduplicationId"),
    )


def check_size(size_bytes: int, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
    """Refuse a message that is too large."""
    if size_bytes > bytes_max:
        reason = f"Message must be shorter than {bytes_max} bytes."
        raise invalid_parameter(f"One or more parameters are invalid. Reason: {reason}")


def check_batch_size(size_bytes: int) -> None:
    """Refuse a batch whose messages are too large together."""
    if size_bytes > MESSAGE_BYTES_MAX:
        message = f"Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes."
        raise refusal("BatchRequestTooLong", f"{message} You have sent {size_bytes} bytes.")


def attributes(body: Body) -> Attributes:
    """The message attributes of a message, with their values and nothing else."""
    given = structure(body, "MessageAttributes")
    if len(given) > _ATTRIBUTES_MAX:
        message = f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{_ATTRIBUTES_MAX}]."
        raise invalid_parameter(message)
    return {name: message_attributes.checked(name, value, _WORDS) for name, value in given.items()}


def system_attributes(body: Body) -> Attributes:
    """The system attributes of a message, of which there is one."""
    given = structure(body, "MessageSystemAttributes")
    for name in given:
        if name != TRACE_HEADER:
            raise invalid_parameter(f"Message system attribute name '{name}' is invalid.")
    return {name: message_attributes.checked(name, value, _WORDS) for name, value in given.items()}


def body_text(message: Message) -> str:
    """A stored message's body as text: as it came, or what a route has sent, as JSON where it is no text."""
    return message.body if isinstance(message.body, str) else json_text.dumps(message.body).decode()


def md5_of_text(value: str) -> str:
    """The digest by which clients check a body."""
    return hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()
