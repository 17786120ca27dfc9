"""What Kinesis' service model asks of requests: every constraint that one breaks is reported, in one error.

Members stand in the service's order. What a stream and its shards make of a request is in `kinesis_streams`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from afterwrite.server import constraints
from afterwrite.server.constraints import (
    Blob,
    Body,
    Member,
    Number,
    Records,
    Structure,
    Text,
    note_bounds,
    note_missing,
)
from afterwrite.table import fields
from afterwrite.table.fields import Violations

MODES: Final = ("PROVISIONED", "ON_DEMAND")
ITERATOR_TYPES: Final = ("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")
SHARD_FILTERS: Final = (
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
)
RECORDS_READ_MAX: Final = 10_000
_RECORDS_PUT_MAX: Final = 500
_DATA_BYTES_MAX: Final = 1 << 20
_SHARD_COUNT: Final = (1, 100_000)
_LISTED: Final = (1, 10_000)
_TAGS_MAX: Final = 200
_TAG_KEYS_MAX: Final = 50
_TAGS_LISTED: Final = (1, 50)
_LENGTHS: Final = (
    "[Member must have length less than or equal to {}, Member must have length greater than or equal to {}]"
)
_TAG_KEY_LENGTHS: Final = _LENGTHS.format(128, 1)
_TAG_VALUE_LENGTHS: Final = _LENGTHS.format(256, 0)


@dataclass(frozen=True, slots=True)
class _Tags:
    """Tags: a map of text to text."""

    required: bool = False

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        given = fields.structure(body, field, "Tags")
        if given is None:
            note_missing(violations, self.required, place)
            return
        values = {key: fields.text(given, key) or "" for key in given}
        shown = f"{{{', '.join(f'{key}={value}' for key, value in values.items())}}}"
        note_bounds(violations, "length", len(values), (1, _TAGS_MAX), shown, place)
        if not all(1 <= len(key) <= 128 for key in values):
            violations.add(shown, place, f"Map keys must satisfy constraint: {_TAG_KEY_LENGTHS}")
        if any(len(value) > 256 for value in values.values()):
            violations.add(shown, place, f"Map value must satisfy constraint: {_TAG_VALUE_LENGTHS}")


@dataclass(frozen=True, slots=True)
class _TagKeys:
    """Keys of tags: a list of text."""

    def note(self, violations: Violations, body: Body, field: str, place: str) -> None:
        keys = fields.texts(body, field)
        if keys is None:
            note_missing(violations, True, place)
            return
        given = body[field]
        shown = f"[{', '.join('null' if key is None else key for key in given)}]"
        note_bounds(violations, "length", len(keys), (1, _TAG_KEYS_MAX), shown, place)
        if None in given or not all(1 <= len(key) <= 128 for key in keys):
            violations.add(shown, place, f"Member must satisfy constraint: {_TAG_KEY_LENGTHS}")


def check(operation: str, body: Body) -> None:
    """Refuse a request that breaks the service model's constraints. Raises ServiceError."""
    constraints.check(_MEMBERS.get(operation, {}), body)


def check_stream_name(name: str) -> None:
    """Refuse a stream's name that none may have, also where it stands in what a client was given."""
    constraints.check({"StreamName": _STREAM}, {"StreamName": name})


_NAME: Final = "[a-zA-Z0-9_.-]+"
_STREAM: Final = Text(pattern=_NAME, length=(1, 128))
_ARN_PATTERN: Final = r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+"
# Each part takes what leaves the others most, and is not tried again.
_ARN_MATCHED: Final = r"arn:aws(?>.*?:kinesis:)(?>.*:\d{12}:stream/(?=\S))\S+"
_ARN: Final = Text(pattern=_ARN_PATTERN, matched=_ARN_MATCHED, length=(1, 2048))
_REQUIRED_ARN: Final = Text(required=True, pattern=_ARN_PATTERN, matched=_ARN_MATCHED, length=(1, 2048))
_NAMED: Final[Mapping[str, Member]] = {"StreamName": _STREAM, "StreamARN": _ARN}
_REQUIRED_NAME: Final = Text(required=True, pattern=_NAME, length=(1, 128))
_SEQUENCE_NUMBER: Final = Text(pattern=r"0|([1-9]\d{0,128})")
_HASH_KEY: Final = Text(pattern=r"0|([1-9]\d{0,38})")
_RECORD: Final[Mapping[str, Member]] = {
    "PartitionKey": Text(required=True, length=(1, 256)),
    "ExplicitHashKey": _HASH_KEY,
    "Data": Blob(_DATA_BYTES_MAX),
}
_MODE: Final[Mapping[str, Member]] = {"StreamMode": Text(required=True, allowed=MODES)}
_RETENTION: Final[Mapping[str, Member]] = {
    "RetentionPeriodHours": Number((1, None), required=True),
    **_NAMED,
}
_TAGS_PAGE: Final[Mapping[str, Member]] = {
    "Limit": Number(_TAGS_LISTED),
    "ExclusiveStartTagKey": Text(length=(1, 128)),
}
_MEMBERS: Final[Mapping[str, Mapping[str, Member]]] = {
    "CreateStream": {
        "ShardCount": Number(_SHARD_COUNT),
        "StreamModeDetails": Structure(_MODE),
        "StreamName": _REQUIRED_NAME,
        "Tags": _Tags(),
    },
    "DeleteStream": {**_NAMED},
    "DescribeStream": {
        "Limit": Number(_LISTED),
        "ExclusiveStartShardId": _STREAM,
        **_NAMED,
    },
    "DescribeStreamSummary": {**_NAMED},
    "ListStreams": {"Limit": Number(_LISTED), "ExclusiveStartStreamName": _STREAM},
    "ListShards": {
        "MaxResults": Number(_LISTED),
        "ExclusiveStartShardId": _STREAM,
        **_NAMED,
        "ShardFilter": Structure({"Type": Text(required=True, allowed=SHARD_FILTERS), "ShardId": _STREAM}),
    },
    "IncreaseStreamRetentionPeriod": _RETENTION,
    "DecreaseStreamRetentionPeriod": _RETENTION,
    "SplitShard": {
        "NewStartingHashKey": Text(required=True, pattern=_HASH_KEY.pattern),
        **_NAMED,
        "ShardToSplit": _REQUIRED_NAME,
    },
    "MergeShards": {
        "ShardToMerge": _REQUIRED_NAME,
        "AdjacentShardToMerge": _REQUIRED_NAME,
        **_NAMED,
    },
    "UpdateShardCount": {
        "ScalingType": Text(required=True, allowed=("UNIFORM_SCALING",)),
        **_NAMED,
        "TargetShardCount": Number(_SHARD_COUNT, required=True),
    },
    "UpdateStreamMode": {
        "StreamModeDetails": Structure(_MODE, required=True),
        "StreamARN": _REQUIRED_ARN,
    },
    "AddTagsToStream": {"Tags": _Tags(required=True), **_NAMED},
    "RemoveTagsFromStream": {"TagKeys": _TagKeys(), **_NAMED},
    "ListTagsForStream": {**_TAGS_PAGE, **_NAMED},
    "TagResource": {"Tags": _Tags(required=True), "ResourceARN": Text(required=True)},
    "UntagResource": {"TagKeys": _TagKeys(), "ResourceARN": Text(required=True)},
    "ListTagsForResource": {"ResourceARN": Text(required=True)},
    "PutRecord": {"SequenceNumberForOrdering": _SEQUENCE_NUMBER, **_RECORD, **_NAMED},
    "PutRecords": {"Records": Records("PutRecordsRequestEntry", _RECORD, _RECORDS_PUT_MAX), **_NAMED},
    "GetShardIterator": {
        "ShardId": _REQUIRED_NAME,
        "ShardIteratorType": Text(required=True, allowed=ITERATOR_TYPES),
        "StartingSequenceNumber": _SEQUENCE_NUMBER,
        **_NAMED,
    },
    "GetRecords": {
        "Limit": Number((1, RECORDS_READ_MAX)),
        "ShardIterator": Text(required=True, length=(1, 512)),
        "StreamARN": _ARN,
    },
}
