"""What requests to SQS have in common: their fields, checked, their messages, and errors in the service's words.

An error has two names: the one of its shape, and in a header the one of the query protocol, which SDKs still show.
Sources: Amazon SQS API Reference; Amazon SQS Developer Guide, "Amazon SQS message metadata".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from afterwrite.core import json_text
from afterwrite.errors import ServiceError
from afterwrite.store.queues import Message

Body: TypeAlias = Mapping[str, Any]
Attributes: TypeAlias = Mapping[str, Mapping[str, str]]
"""Message attributes in the wire form, by name: `DataType`, and `StringValue` or `BinaryValue` (base64 text)."""

MESSAGE_BYTES_MAX: Final = 1 << 20
ENTRIES_MAX: Final = 10
DELAY_S_MAX: Final = 900
VISIBILITY_S_MAX: Final = 43_200
_ATTRIBUTES_MAX: Final = 10

_LEGACY: Final = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "InvalidParameterValueException": "InvalidParameterValue",
    "MissingParameterException": "MissingParameter",
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
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")
_TOKEN: Final = re.compile(r"[!-~]{1,128}")
_ATTRIBUTE_NAME: Final = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_DATA_TYPE: Final = re.compile(r"(String|Number|Binary)(\.[^\s]{1,249})?")
_NOT_ALLOWED: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def refusal(code: str, message: str) -> ServiceError:
    """The error with the name of its shape and, in a header, the older one."""
    return ServiceError(code, message, headers=(("x-amzn-query-error", f"{legacy_code(code)};Sender"),))


def legacy_code(code: str) -> str:
    """The error's name in the query protocol, which entries of batches have, too."""
    return _LEGACY.get(code, code)


def invalid(field: str, value: object, reason: str) -> ServiceError:
    """The refusal of a field's value."""
    message = f"Value {value} for parameter {field} is invalid. Reason: {reason}"
    return refusal("InvalidParameterValueException", message)


def missing(field: str) -> ServiceError:
    """The refusal of a request without a field that it needs."""
    return refusal("MissingParameterException", f"The request must contain the parameter {field}.")


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
        raise invalid(field, value, f"Must be between {least} and {most}, if provided.")
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
        reason = "Can only include alphanumeric and punctuation characters. 1 to 128 in length"
        raise invalid(field, value, f"{reason}.")
    return value


def entries(body: Body) -> list[Body]:
    """The entries of a batch, whose ids differ (S28)."""
    given = body.get("Entries") or []
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ServiceError("SerializationException", "expected a list of structures as Entries")
    if not given:
        raise refusal("EmptyBatchRequest", "There should be at least one batch entry in the request.")
    if len(given) > ENTRIES_MAX:
        message = f"Maximum number of entries per request are {ENTRIES_MAX}. You have sent {len(given)}."
        raise refusal("TooManyEntriesInBatchRequest", message)
    ids = [required_text(each, "Id") for each in given]
    if not all(_ENTRY_ID.fullmatch(each) for each in ids):
        message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores, 80 at most."
        raise refusal("InvalidBatchEntryId", message)
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
        return len(self.text.encode()) + sum(
            len(name.encode()) + len(given["DataType"].encode()) + len(_value_bytes(given))
            for name, given in self.attributes.items()
        )


def sending(body: Body) -> Sending:
    """The message that a request or an entry of a batch sends."""
    message = required_text(body, "MessageBody")
    if found := _NOT_ALLOWED.search(message):
        raise refusal(
            "InvalidMessageContents", f"Invalid characters found: {found[0]!r}. Valid are #x9, #xA, #xD and from #x20."
        )
    return Sending(
        message,
        attributes(body, "MessageAttributes"),
        attributes(body, "MessageSystemAttributes"),
        None if body.get("DelaySeconds") is None else bounded(body, "DelaySeconds", 0, DELAY_S_MAX, 0),
        token(body, "MessageGroupId"),
        token(body, "MessageDeduplicationId"),
    )


def check_size(size_bytes: int, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
    """Refuse a message that is too large."""
    if size_bytes > bytes_max:
        message = f"One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes."
        raise refusal("InvalidParameterValueException", message)


def attributes(body: Body, field: str) -> Attributes:
    """A map of message attributes, with their values and nothing else."""
    given = structure(body, field)
    if len(given) > _ATTRIBUTES_MAX:
        raise invalid(field, len(given), f"Number of message attributes exceeds {_ATTRIBUTES_MAX}.")
    return {name: checked_attribute(name, value) for name, value in given.items()}


def checked_attribute(name: str, given: Any) -> Mapping[str, str]:
    """One message attribute, with its value and nothing else."""
    if not _ATTRIBUTE_NAME.fullmatch(name) or len(name) > 256:
        raise invalid("MessageAttributes", name, "It is no name of a message attribute.")
    if not isinstance(given, Mapping):
        raise ServiceError("SerializationException", f"expected a structure as the message attribute {name}")
    kind = text(given, "DataType") or ""
    if not (match := _DATA_TYPE.fullmatch(kind)):
        raise invalid("MessageAttributes", name, f"The message attribute '{name}' has the invalid type '{kind}'.")
    member = "BinaryValue" if match[1] == "Binary" else "StringValue"
    value = text(given, member)
    if not value:
        message = f"The message attribute '{name}' must contain a non-empty {member} of its type."
        raise refusal("InvalidParameterValueException", message)
    if match[1] == "Number":
        _number(name, value)
    if match[1] == "Binary":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise ServiceError("SerializationException", f"the message attribute {name} is no base64 text") from None
    return {"DataType": kind, member: value}


def _number(name: str, value: str) -> Decimal:
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        message = f"Could not cast message attribute '{name}' value to number."
        raise refusal("InvalidParameterValueException", message)
    return number


def plain_attributes(given: Attributes) -> dict[str, Any]:
    """Attributes as consumers and filter policies in the engine see them: text, numbers, lists; binary as base64."""
    plain: dict[str, Any] = {}
    for name, each in given.items():
        value = each.get("StringValue", each.get("BinaryValue", ""))
        if each["DataType"].startswith("Number"):
            number = _number(name, value)
            plain[name] = int(number) if abs(number.adjusted()) < 18 and number == int(number) else float(number)
        elif each["DataType"] == "String.Array":
            plain[name] = _array(value)
        else:
            plain[name] = value
    return plain


def _array(value: str) -> Any:
    try:
        found = json_text.loads(value)
    except ValueError:
        return value
    return found if isinstance(found, list) else value


def wire_attributes(message: Message) -> Attributes:
    """A stored message's attributes in the wire form: as they came, and the engine's own."""
    came: Attributes = (message.wire or {}).get("attributes", {})
    own = {name: _wire(value) for name, value in (message.attributes or {}).items() if name not in came}
    return {**own, **came}


def _wire(value: Any) -> Mapping[str, str]:
    if isinstance(value, str):
        return {"DataType": "String", "StringValue": value}
    kind = "String"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        kind = "Number"
    elif isinstance(value, list):
        kind = "String.Array"
    return {"DataType": kind, "StringValue": json_text.dumps(value).decode()}


def body_text(message: Message) -> str:
    """A stored message's body as text: as it came, or what a route has sent, as JSON where it is no text."""
    return message.body if isinstance(message.body, str) else json_text.dumps(message.body).decode()


def selected(given: Attributes, names: Sequence[str]) -> Attributes:
    """The attributes that the names ask for: `All` or `.*`, `prefix.*`, or themselves."""

    def wanted(name: str) -> bool:
        return any(
            each in ("All", ".*", name) or (each.endswith(".*") and name.startswith(each[:-1])) for each in names
        )

    return {name: value for name, value in given.items() if wanted(name)}


def md5_of_text(value: str) -> str:
    """The digest by which clients check a body."""
    return hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(given: Attributes) -> str:
    """The digest by which clients check attributes: of each, in the order of names, its name, type and value."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(given):
        kind = given[name]["DataType"]
        is_binary = "BinaryValue" in given[name]
        for part in (name.encode(), kind.encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        value = _value_bytes(given[name])
        digest.update((b"\x02" if is_binary else b"\x01") + struct.pack(">I", len(value)) + value)
    return digest.hexdigest()


def _value_bytes(given: Mapping[str, str]) -> bytes:
    if "BinaryValue" in given:
        return base64.b64decode(given["BinaryValue"])
    return given["StringValue"].encode()
