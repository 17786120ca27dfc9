"""Message attributes as SQS and SNS have them: checked, digested, and as the engine's own consumers see them.

Both services refuse the same, each in its words. Sources: Amazon SQS Developer Guide, "Amazon SQS message metadata";
Amazon SNS Developer Guide, "Amazon SNS message attributes".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeAlias

from afterwrite.core import json_text
from afterwrite.errors import ServiceError
from afterwrite.store.queues import Message

Attributes: TypeAlias = Mapping[str, Mapping[str, str]]
"""Message attributes in the wire form, by name: `DataType`, and `StringValue` or `BinaryValue` (base64 text)."""

Fault: TypeAlias = Literal[
    "long name",
    "character",
    "first dot",
    "last dot",
    "two dots",
    "reserved",
    "type",
    "member",
    "empty",
    "text",
    "number",
]
"""What is wrong with an attribute; `member` is a value in the other type's member."""

NOT_ALLOWED: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that neither bodies nor the values of attributes may have."""

_NAME_CHARACTERS_MAX: Final = 256
_NOT_IN_NAMES: Final = re.compile(r"[^\w.-]")
_RESERVED: Final = re.compile(r"(?i:aws|amazon)\.")
_DATA_TYPE: Final = re.compile(r"(String|Number|Binary)(\.[^\s]{1,249})?")


@dataclass(frozen=True, slots=True)
class AttributeWords:
    """How a service refuses an attribute: what it says of each fault, and the error that it makes of that.

    The texts may name `{name}`, `{kind}` (the attribute's type), `{member}` (`String` or `Binary`) and `{character}`.
    """

    says: Mapping[Fault, str]
    error: Callable[[str], ServiceError]

    def refusal(
        self, fault: Fault, name: str, *, kind: str = "", member: str = "", character: str = ""
    ) -> ServiceError:
        """The refusal of the attribute `name`."""
        shown = f"#x{ord(character):X}" if character else ""
        return self.error(self.says[fault].format(name=name, kind=kind, member=member, character=shown))


def checked(name: str, given: Any, words: AttributeWords) -> Mapping[str, str]:
    """One message attribute, with its value and nothing else. Raises ServiceError in the service's words."""
    _check_name(name, words)
    if not isinstance(given, Mapping):
        raise _serialization_error(f"expected a structure as the message attribute {name}")
    kind = _text(given, "DataType")
    if not (match := _DATA_TYPE.fullmatch(kind)):
        raise words.refusal("type", name, kind=kind)
    is_binary = match[1] == "Binary"
    member, other = ("Binary", "String") if is_binary else ("String", "Binary")
    value = _text(given, f"{member}Value")
    if not value:
        fault: Fault = "member" if _text(given, f"{other}Value") else "empty"
        raise words.refusal(fault, name, kind=kind, member=member)
    if is_binary:
        _check_base64(name, value)
    elif found := NOT_ALLOWED.search(value):
        raise words.refusal("text", name, character=found[0])
    if match[1] == "Number" and _number(value) is None:
        raise words.refusal("number", name)
    return {"DataType": kind, f"{member}Value": value}


def _check_name(name: str, words: AttributeWords) -> None:
    if len(name) > _NAME_CHARACTERS_MAX:
        raise words.refusal("long name", name)
    if found := _NOT_IN_NAMES.search(name):
        raise words.refusal("character", name, character=found[0])
    if not name or name.startswith("."):
        raise words.refusal("first dot", name)
    if name.endswith("."):
        raise words.refusal("last dot", name)
    if ".." in name:
        raise words.refusal("two dots", name)
    if _RESERVED.match(name):
        raise words.refusal("reserved", name)


def _check_base64(name: str, value: str) -> None:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _serialization_error(f"the message attribute {name} is no base64 text") from None


def _text(given: Mapping[str, Any], member: str) -> str:
    value = given.get(member) or ""
    if not isinstance(value, str):
        raise _serialization_error(f"{type(value).__name__} can not be converted to an String")
    return value


def _serialization_error(message: str) -> ServiceError:
    return ServiceError("SerializationException", message)


def _number(value: str) -> Decimal | None:
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def plain(given: Attributes) -> dict[str, Any]:
    """Attributes as consumers and filter policies in the engine see them: text, numbers, lists; binary as base64."""
    seen: dict[str, Any] = {}
    for name, each in given.items():
        value = each.get("StringValue", each.get("BinaryValue", ""))
        number = _number(value) if each["DataType"].startswith("Number") else None
        if number is not None:
            seen[name] = int(number) if abs(number.adjusted()) < 18 and number == int(number) else float(number)
        elif each["DataType"] == "String.Array":
            seen[name] = _array(value)
        else:
            seen[name] = value
    return seen


def _array(value: str) -> Any:
    try:
        found = json_text.loads(value)
    except ValueError:
        return value
    return found if isinstance(found, list) else value


def of_message(message: Message) -> Attributes:
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


def selected(given: Attributes, names: Sequence[str]) -> Attributes:
    """The attributes that the names ask for: `All`, `*` or `.*`, those that begin as `prefix.*`, or themselves."""

    def wanted(name: str) -> bool:
        return any(each in ("All", "*", name) or (each.endswith(".*") and name.startswith(each[:-2])) for each in names)

    return {name: value for name, value in given.items() if wanted(name)}


def md5(given: Attributes) -> str:
    """The digest by which clients check attributes: of each, in the order of names, its name, type and value."""
    digest = hashlib.md5(usedforsecurity=False)
    for name in sorted(given):
        is_binary = "BinaryValue" in given[name]
        for part in (name.encode(), given[name]["DataType"].encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        value = _value_bytes(given[name])
        digest.update((b"\x02" if is_binary else b"\x01") + struct.pack(">I", len(value)) + value)
    return digest.hexdigest()


def size_bytes(given: Attributes) -> int:
    """What attributes count for a message's limit: their names, types and values."""
    return sum(
        len(name.encode()) + len(each["DataType"].encode()) + len(_value_bytes(each)) for name, each in given.items()
    )


def _value_bytes(given: Mapping[str, str]) -> bytes:
    if "BinaryValue" in given:
        return base64.b64decode(given["BinaryValue"])
    return given["StringValue"].encode()
