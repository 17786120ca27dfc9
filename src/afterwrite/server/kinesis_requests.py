"""What requests to Kinesis have in common: their fields, checked, and errors in the service's words."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from afterwrite.errors import ServiceError
from afterwrite.store.kinesis import HASH_KEYS
from afterwrite.table import fields, wording

Body = dict[str, Any]

NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_STREAM_ARN: Final = re.compile(r"arn:aws[a-z-]*:kinesis:[^:/]*:[^:/]*:stream/([a-zA-Z0-9_.-]{1,128})")
_HASH_KEY: Final = re.compile(r"0|[1-9][0-9]{0,38}")
_DATA_BYTES_MAX: Final = 1 << 20
_PARTITION_KEY_CHARACTERS_MAX: Final = 256
_TIME_S_MAX: Final = 1 << 40
_NAME_PATTERN: Final = "[a-zA-Z0-9_.-]+"
_SEQUENCE_NUMBER_PATTERN: Final = r"0|([1-9]\d{0,128})"
# The texts that requests have in common: how long they may be, and what they look like.
_TEXTS: Final[Mapping[str, tuple[int | None, str | None]]] = {
    **dict.fromkeys(
        (
            "StreamName",
            "ExclusiveStartStreamName",
            "ShardId",
            "ExclusiveStartShardId",
            "ShardToSplit",
            "ShardToMerge",
            "AdjacentShardToMerge",
        ),
        (128, _NAME_PATTERN),
    ),
    **dict.fromkeys(("StartingSequenceNumber", "SequenceNumberForOrdering"), (None, _SEQUENCE_NUMBER_PATTERN)),
    "ShardIterator": (512, None),
    "ExclusiveStartTagKey": (128, None),
}
_TAGS_MAX: Final = 200
_TAG_KEYS_MAX: Final = 50
_LENGTHS: Final = (
    "[Member must have length less than or equal to {}, Member must have length greater than or equal to {}]"
)
_TAG_KEY_LENGTHS: Final = _LENGTHS.format(128, 1)
_TAG_VALUE_LENGTHS: Final = _LENGTHS.format(256, 0)


def invalid_argument(message: str) -> ServiceError:
    """An InvalidArgumentException."""
    return ServiceError("InvalidArgumentException", message)


def check_texts(body: Body) -> None:
    """Refuse a request whose texts are too long or do not look as they have to, with all of them in one error."""
    violations = fields.Violations()
    for field in body:
        if field not in _TEXTS or (value := fields.text(body, field)) is None:
            continue
        longest, pattern = _TEXTS[field]
        place = f"{field[0].lower()}{field[1:]}"
        if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
            violations.add(value, place, f"Member must satisfy regular expression pattern: {pattern}")
        if longest is not None and not value:
            violations.add(value, place, "Member must have length greater than or equal to 1")
        if longest is not None and len(value) > longest:
            violations.add(value, place, f"Member must have length less than or equal to {longest}")
    violations.check()


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
    check_texts({"StreamName": name})
    return name


def stream_name_of_arn(arn: str) -> str:
    """The name of the stream with the ARN."""
    match = _STREAM_ARN.fullmatch(arn)
    if match is None:
        raise wording.constraint_error(
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
        raise wording.constraint_error(
            text, field, "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})"
        )
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
    given = fields.structure(body, "Tags", "Tags")
    if given is None:
        return {}
    values = {key: fields.text(given, key) or "" for key in given}
    shown = f"{{{', '.join(f'{key}={value}' for key, value in values.items())}}}"
    fields.check_length(len(values), "Tags", 1, _TAGS_MAX, shown)
    if any(not 1 <= len(key) <= 128 for key in values):
        raise wording.constraint_error(shown, "Tags", f"Map keys must satisfy constraint: {_TAG_KEY_LENGTHS}")
    if any(len(value) > 256 for value in values.values()):
        raise wording.constraint_error(shown, "Tags", f"Map value must satisfy constraint: {_TAG_VALUE_LENGTHS}")
    return values


def required_tags(body: Body) -> dict[str, str]:
    """As `tags`, of a request that has to have some."""
    if body.get("Tags") is None:
        raise fields.missing("Tags")
    return tags(body)


def tag_keys(body: Body) -> Sequence[str]:
    """The required field `TagKeys`, a list of text."""
    keys = fields.texts(body, "TagKeys")
    if keys is None:
        raise fields.missing("TagKeys")
    shown = f"[{', '.join(keys)}]"
    fields.check_length(len(keys), "TagKeys", 1, _TAG_KEYS_MAX, shown)
    if any(not 1 <= len(key) <= 128 for key in keys):
        raise wording.constraint_error(shown, "TagKeys", f"Member must satisfy constraint: {_TAG_KEY_LENGTHS}")
    return keys
