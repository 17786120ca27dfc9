"""What requests to Kinesis have in common: their fields, once `kinesis_constraints` has checked them, and errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from afterwrite.errors import ServiceError
from afterwrite.server import kinesis_constraints
from afterwrite.server.cbor import Members
from afterwrite.store.kinesis import HASH_KEYS
from afterwrite.table import fields, wording

Body = dict[str, Any]

IN_CBOR: Final = Members(
    blobs=frozenset({"Data"}), times=frozenset({"ApproximateArrivalTimestamp", "StreamCreationTimestamp"})
)
NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_STREAM_ARN: Final = re.compile(r"arn:aws[a-z-]*:kinesis:[^:/]*:[^:/]*:stream/([a-zA-Z0-9_.-]{1,128})")
_SHARD_NAME: Final = re.compile(r"(?:.*-)?([0-9]{1,20})")
_SHARDS_NUMBERED_MAX: Final = (1 << 31) - 1
_TAG_SIGNS: Final = frozenset(" _.:/=+-@")
# The service looks twice, and one sign passes the first time only.
_TAG_SIGNS_AT_FIRST: Final = _TAG_SIGNS | {"%"}


def invalid_argument(message: str) -> ServiceError:
    """An InvalidArgumentException."""
    return ServiceError("InvalidArgumentException", message)


def not_found(message: str) -> ServiceError:
    """A ResourceNotFoundException."""
    return ServiceError("ResourceNotFoundException", message)


def stream_name(body: Body) -> str:
    """The name of the stream that `StreamName`, `StreamARN` or both name."""
    name, arn = fields.text(body, "StreamName"), fields.text(body, "StreamARN")
    if name is None:
        if arn is None:
            raise invalid_argument("Either StreamName or StreamARN must be given.")
        return stream_name_of_arn(arn)
    kinesis_constraints.check_stream_name(name)
    if arn is not None and stream_name_of_arn(arn) != name:
        raise invalid_argument(f"StreamName {name} and StreamARN {arn} must name the same stream.")
    return name


def stream_name_of_arn(arn: str) -> str:
    """The name of the stream with the ARN."""
    match = _STREAM_ARN.fullmatch(arn)
    if match is None:
        raise wording.constraint_error(
            arn, "StreamARN", "Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+"
        )
    return match[1]


def shard_number(name: str) -> int | None:
    """The number of the shard that `name` means: what follows its last hyphen. None where that is none."""
    match = _SHARD_NAME.fullmatch(name)
    number = int(match[1]) if match is not None else _SHARDS_NUMBERED_MAX + 1
    return number if number <= _SHARDS_NUMBERED_MAX else None


def timestamp_us(body: Mapping[str, Any], field: str) -> int:
    """A required field that is a time in seconds, as microseconds."""
    at_us = fields.timestamp_us(body, field)
    if at_us is None:
        raise invalid_argument(f"Must specify {field} when the type asks for a time.")
    return at_us


def record(body: Body) -> tuple[str, bytes, int | None]:
    """A record to put: its partition key, its data as base64 text, and the hash key it asks for."""
    hashed = body.get("ExplicitHashKey")
    if hashed is not None and int(hashed) >= HASH_KEYS:
        raise invalid_argument(
            f"Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {hashed}"
        )
    return str(body["PartitionKey"]), str(body["Data"]).encode(), None if hashed is None else int(hashed)


def tags(body: Body) -> dict[str, str]:
    """The field `Tags`, a map of text to text; empty where it is absent."""
    return {key: value or "" for key, value in (body.get("Tags") or {}).items()}


def check_tags_added(added: Mapping[str, str], failed: str) -> None:
    """Refuse tags to add that none may have; `failed` says what has come to nothing."""
    check_tag_texts((*added, *added.values()), failed)
    if any(key.startswith("aws:") for key in added):
        raise invalid_argument(f"{failed} because some keys of tags begin with 'aws:', which is reserved.")


def check_tag_texts(texts: Iterable[str], failed: str) -> None:
    """Refuse keys or values of tags with signs that none may have; `failed` says what has come to nothing."""
    signs = {sign for text in texts for sign in text if not sign.isalnum()}
    if not signs <= _TAG_SIGNS_AT_FIRST:
        raise invalid_argument(
            "Some tags contain invalid characters. Valid characters: "
            "Unicode letters, digits, white space, _ . / = + - % @."
        )
    if not signs <= _TAG_SIGNS:
        raise invalid_argument(
            f"{failed} because some tags contained illegal characters. The allowed characters are "
            "Unicode letters, white-spaces, '_',',','/','=','+','-','@'."
        )
