"""What requests to Kinesis have in common: their fields, checked, and errors in the service's words."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from afterwrite.errors import ServiceError
from afterwrite.store.kinesis import HASH_KEYS
from afterwrite.table import fields

Body = dict[str, Any]

NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_STREAM_ARN: Final = re.compile(r"arn:aws[a-z-]*:kinesis:[^:/]*:[^:/]*:stream/([a-zA-Z0-9_.-]{1,128})")
_HASH_KEY: Final = re.compile(r"0|[1-9][0-9]{0,38}")
_DATA_BYTES_MAX: Final = 1 << 20
_PARTITION_KEY_CHARACTERS_MAX: Final = 256
_TIME_S_MAX: Final = 1 << 40


def invalid_argument(message: str) -> ServiceError:
    """An InvalidArgumentException."""
    return ServiceError("InvalidArgumentException", message)


def required_text(body: Body, field: str) -> str:
    """A required field of type text."""
    value = fields.text(body, field)
    if value is None:
        raise fields.missing(field)
    return value


def stream_name(body: Body) -> str:
    """The name of the stream that `StreamName` or `StreamARN` names."""
    name, arn = fields.text(body, "StreamName"), fields.text(body, "StreamARN")
    if name is None:
        if arn is None:
            raise invalid_argument("Either StreamName or StreamARN must be given.")
        return stream_name_of_arn(arn)
    if not NAME.fullmatch(name):
        raise fields.constraint_error(
            name, "StreamName", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        )
    return name


def stream_name_of_arn(arn: str) -> str:
    """The name of the stream with the ARN."""
    match = _STREAM_ARN.fullmatch(arn)
    if match is None:
        raise fields.constraint_error(
            arn, "StreamARN", "Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+"
        )
    return match[1]


def bounded(body: Body, field: str, default: int, least: int, most: int) -> int:
    """A field of type integer within bounds."""
    value = fields.integer(body, field)
    if value is None:
        return default
    fields.check_value(value, field, least, most)
    return value


def required_integer(body: Body, field: str) -> int:
    """A required field of type integer."""
    value = fields.integer(body, field)
    if value is None:
        raise fields.missing(field)
    return value


def timestamp_us(body: Mapping[str, Any], field: str) -> int:
    """A required field that is a time in seconds, as microseconds."""
    value = body.get(field)
    if value is None:
        raise invalid_argument(f"Must specify {field} when the type asks for a time.")
    if type(value) not in (int, float) or not 0 <= value < _TIME_S_MAX:
        raise ServiceError("SerializationException", f"expected seconds since the epoch as {field}, got {value!r}")
    return round(float(value) * 1_000_000)


def parsed_hash_key(body: Body, field: str) -> int | None:
    """A field that is a hash key in decimal digits."""
    text = fields.text(body, field)
    if text is None:
        return None
    if not _HASH_KEY.fullmatch(text):
        raise fields.constraint_error(text, field, "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})")
    if int(text) >= HASH_KEYS:
        raise invalid_argument(
            f"Invalid {field}. {field} must be in the range: [0, 2^128-1]. Specified value was {text}"
        )
    return int(text)


def record(body: Body) -> tuple[str, bytes, int | None]:
    """A record to put: its partition key, its data as base64 text, and the hash key it asks for."""
    partition_key = required_text(body, "PartitionKey")
    fields.check_length(len(partition_key), "PartitionKey", 1, _PARTITION_KEY_CHARACTERS_MAX, partition_key)
    data = required_text(body, "Data")
    try:
        size = len(binascii.a2b_base64(data, strict_mode=True)) if data else 0
    except (binascii.Error, ValueError):
        raise ServiceError("SerializationException", "Data is no base64 text") from None
    fields.check_length(size, "Data", 0, _DATA_BYTES_MAX, f"a blob of {size} bytes")
    return partition_key, data.encode(), parsed_hash_key(body, "ExplicitHashKey")


def tags(body: Body) -> dict[str, str]:
    """The field `Tags`, a map of text to text; empty where it is absent."""
    given = fields.structure(body, "Tags", "Tags") or {}
    for key in given:
        if not 1 <= len(key) <= 128 or len(required_text(given, key)) > 256:
            raise invalid_argument(f"Some tags contain invalid characters or are too long: {key}")
    return given


def tag_keys(body: Body) -> Sequence[str]:
    """The required field `TagKeys`, a list of text."""
    given = body.get("TagKeys")
    if not isinstance(given, list) or not given or not all(isinstance(key, str) for key in given):
        raise invalid_argument("TagKeys must be a list of tags' keys, at least one.")
    return given
