"""DynamoDB Streams on the wire: tables' streams, their shards, their records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.core import shards
from afterwrite.core.shards import Shard
from afterwrite.errors import ServiceError
from afterwrite.server.shard_iterators import ShardIterator
from afterwrite.store import change_log, streams
from afterwrite.store.change_log import position_of, sequence_number
from afterwrite.store.environment import ReadTransaction
from afterwrite.store.prepared import Prepared, Read, unknown_operation
from afterwrite.store.streams import StreamState, shard_id
from afterwrite.store.tables import Catalog
from afterwrite.table import fields, wording
from afterwrite.table.fields import Violations

Body = dict[str, Any]

_LISTED_MAX: Final = 100
_RECORDS_MAX: Final = 1_000
_RECORDS_BYTES_MAX: Final = 1 << 20
_ARN_CHARACTERS: Final = (37, 1024)
_SHARD_ID_CHARACTERS: Final = (28, 65)
_SEQUENCE_NUMBER_CHARACTERS: Final = (21, 40)
_ITERATOR_CHARACTERS: Final = (1, 2048)
# S22
_ITERATOR_LIFETIME_MS: Final = 900_000
_ITERATOR_TYPES: Final = ("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")
_FILTERS: Final = ("CHILD_SHARDS",)
_WITH_SEQUENCE_NUMBER: Final = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
_AT_TIME: Final = "AT_TIMESTAMP"
# A time is not taken for one to come where the client's clock is so little ahead.
_CLOCKS_DIFFER_US: Final = 1_000_000
_STREAM_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:dynamodb:[^:/]*:[^:/]*:table/([a-zA-Z0-9_.-]{3,255})/stream/([!-.0-~]{1,100})"
)


class DynamoDBStreamsService:
    """DynamoDBStreams_20120810. `now_ms` tells the time by which iterators expire."""

    target = "DynamoDBStreams_20120810"
    error_prefix = "com.amazonaws.dynamodb.v20120810#"
    content_type = "application/x-amz-json-1.0"

    def __init__(self, identity: Identity, now_ms: Callable[[], int]) -> None:
        self._region = identity.region
        self._tables_arn = f"arn:aws:dynamodb:{identity.region}:{identity.account_id}:table"
        self._now_ms = now_ms
        self._by_name: Mapping[str, Callable[[Body], Prepared]] = {
            "ListStreams": self._list_streams,
            "DescribeStream": self._describe_stream,
            "GetShardIterator": self._get_shard_iterator,
            "GetRecords": self._get_records,
        }

    def prepare(self, name: str, body: Body) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        operation = self._by_name.get(name)
        if operation is None:
            raise unknown_operation(name)
        return operation(body)

    def _arn(self, table: str, label: str) -> str:
        return f"{self._tables_arn}/{table}/stream/{label}"

    def _list_streams(self, body: Body) -> Read:
        violations = Violations()
        if fields.text(body, "TableName") is not None:
            violations.resource_name(body, "TableName", "tableName")
        _note_limit(violations, body, _LISTED_MAX)
        violations.length(body, "ExclusiveStartStreamArn", *_ARN_CHARACTERS)
        violations.check()
        table = fields.table_name(body) if fields.text(body, "TableName") is not None else None
        limit = fields.integer(body, "Limit") or _LISTED_MAX
        start = None
        if fields.text(body, "ExclusiveStartStreamArn") is not None:
            start = parse_stream_arn(body, "ExclusiveStartStreamArn")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            found = list(islice(streams.listed(transaction, table=table, after=start), limit + 1))
            listed = [
                {"StreamArn": self._arn(name, label), "TableName": name, "StreamLabel": label}
                for name, label in found[:limit]
            ]
            answer: dict[str, Any] = {"Streams": listed}
            if len(found) > limit:
                answer["LastEvaluatedStreamArn"] = listed[-1]["StreamArn"]
            return orjson.dumps(answer)

        return Read(run)

    def _describe_stream(self, body: Body) -> Read:
        violations = Violations()
        violations.length(body, "StreamArn", *_ARN_CHARACTERS, required=True)
        _note_limit(violations, body, _LISTED_MAX)
        violations.length(body, "ExclusiveStartShardId", *_SHARD_ID_CHARACTERS)
        _note_filter(violations, body)
        violations.check()
        place = parse_stream_arn(body, "StreamArn")
        limit = fields.integer(body, "Limit") or _LISTED_MAX
        start = fields.text(body, "ExclusiveStartShardId") or ""
        parent = _child_filter(body)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            state = self._found(transaction, place)
            found = state.lineage
            if parent is not None:
                found = shards.children(found, named_shard(state, parent).number)
            found = tuple(shard for shard in found if shard_id(shard) > start)
            description: dict[str, Any] = {
                "StreamArn": self._arn(*place),
                "StreamLabel": state.stream.label,
                "StreamStatus": "ENABLED" if state.disabled_at_ms is None else "DISABLED",
                "StreamViewType": state.stream.view_type,
                "CreationRequestDateTime": state.created_at_ms / 1000,
                "TableName": state.stream.table,
                "KeySchema": state.key_schema,
                "Shards": [_shard_description(state, shard) for shard in found[:limit]],
            }
            if len(found) > limit:
                description["LastEvaluatedShardId"] = shard_id(found[limit - 1])
            return orjson.dumps({"StreamDescription": description})

        return Read(run)

    def _get_shard_iterator(self, body: Body) -> Read:
        violations = Violations()
        violations.length(body, "StreamArn", *_ARN_CHARACTERS, required=True)
        violations.length(body, "ShardId", *_SHARD_ID_CHARACTERS, required=True)
        violations.choice(body, "ShardIteratorType", _ITERATOR_TYPES, "shardIteratorType")
        violations.length(body, "SequenceNumber", *_SEQUENCE_NUMBER_CHARACTERS)
        violations.check()
        place = parse_stream_arn(body, "StreamArn")
        name, kind = str(body["ShardId"]), str(body["ShardIteratorType"])
        position = _position(body, kind)
        at_us = self._timestamp_us(body, kind)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            state = self._found(transaction, place)
            shard = named_shard(state, name)
            if kind in _WITH_SEQUENCE_NUMBER:
                after, at_horizon = _start(transaction, state, shard, kind, position), False
            else:
                after, at_horizon = _start_at(transaction, state, shard, kind, at_us)
            return orjson.dumps({"ShardIterator": self._iterator(state, shard, after, at_horizon)})

        return Read(run)

    def _timestamp_us(self, body: Body, kind: str) -> int:
        """The time (µs) that the iterator type asks for; 0 where it asks for none."""
        at_us = fields.timestamp_us(body, "Timestamp")
        if kind != _AT_TIME:
            if at_us is not None:
                raise wording.invalid(f"Timestamp cannot be specified for the ShardIteratorType {kind}")
            return 0
        if at_us is None:
            raise wording.invalid(f"Timestamp must be specified for the ShardIteratorType {kind}")
        now_ms = self._now_ms()
        if at_us > now_ms * 1000 + _CLOCKS_DIFFER_US:
            raise wording.invalid(
                f"Invalid Timestamp: {at_us / 1_000_000:.3f} is in the future, the time is {now_ms / 1000:.3f}"
            )
        return at_us

    def _get_records(self, body: Body) -> Read:
        violations = Violations()
        violations.length(body, "ShardIterator", *_ITERATOR_CHARACTERS, required=True)
        _note_limit(violations, body, _RECORDS_MAX)
        violations.check()
        limit = fields.integer(body, "Limit") or _RECORDS_MAX
        iterator = ShardIterator.from_text(str(body["ShardIterator"]))
        if iterator is None:
            raise wording.invalid("Invalid ShardIterator")
        return Read(partial(self._records, iterator, limit))

    def _records(self, iterator: ShardIterator, limit: int, transaction: ReadTransaction, _catalog: Catalog) -> bytes:
        if iterator.expired(self._now_ms(), _ITERATOR_LIFETIME_MS):
            raise ServiceError(
                "ExpiredIteratorException",
                "Iterator expired. The iterator was created at time "
                f"{iterator.created_at_ms} ms, and an iterator lives for 15 minutes",
            )
        state = streams.state_of(transaction, iterator.stream)
        shard = None if state is None else shards.shard_numbered(state.lineage, iterator.shard)
        if state is None or shard is None:
            raise ServiceError("ResourceNotFoundException", "Requested resource not found: Shard does not exist")
        if iterator.after < state.trimmed_through and iterator.after != shard.through and not iterator.at_horizon:
            raise _trimmed()
        page = change_log.read_shard(
            transaction,
            state.stream,
            shard,
            iterator.after,
            region=self._region,
            limit=limit,
            bytes_max=_RECORDS_BYTES_MAX,
        )
        records = b'{"Records":[' + b",".join(page.records) + b"]"
        if page.after is None:
            return records + b"}"
        return records + b',"NextShardIterator":"' + self._iterator(state, shard, page.after).encode() + b'"}'

    def _iterator(self, state: StreamState, shard: Shard, after: int, at_horizon: bool = False) -> str:
        iterator = ShardIterator(state.stream.number, shard.number, after, self._now_ms(), at_horizon)
        return iterator.to_text(self._arn(state.stream.table, state.stream.label) + "|1|")

    def _found(self, transaction: ReadTransaction, place: tuple[str, str]) -> StreamState:
        state = streams.labelled(transaction, *place)
        if state is None:
            raise ServiceError(
                "ResourceNotFoundException", f"Requested resource not found: Stream: {self._arn(*place)} not found"
            )
        return state


def parse_stream_arn(body: Body, field: str) -> tuple[str, str]:
    """The table and the label in a required field that is a stream's ARN. Raises ServiceError."""
    arn = _sized_text(body, field, _ARN_CHARACTERS)
    if arn is None:
        raise fields.missing(field)
    match = _STREAM_ARN.fullmatch(arn)
    if match is None:
        raise wording.invalid(f"Invalid StreamArn: {arn}")
    return match[1], match[2]


def named_shard(state: StreamState, name: str) -> Shard:
    """The stream's shard with the id. Raises ResourceNotFoundException."""
    for shard in state.lineage:
        if shard_id(shard) == name:
            return shard
    raise ServiceError("ResourceNotFoundException", "Requested resource not found: Shard does not exist")


def _shard_description(state: StreamState, shard: Shard) -> Mapping[str, Any]:
    positions = {"StartingSequenceNumber": sequence_number(shard.after + 1)}
    if shard.through is not None:
        positions["EndingSequenceNumber"] = sequence_number(shard.through)
    description: dict[str, Any] = {"ShardId": shard_id(shard), "SequenceNumberRange": positions}
    if shard.parents:
        parent = shards.shard_numbered(state.lineage, shard.parents[0])
        # A parent that is gone is named no more: nobody can wait for it.
        if parent is not None:
            description["ParentShardId"] = shard_id(parent)
    return description


def _start(transaction: ReadTransaction, state: StreamState, shard: Shard, kind: str, position: int) -> int:
    """The position after which an iterator begins to read that begins by a sequence number."""
    newest = _newest(transaction, shard)
    if not shard.after < position <= newest + (1 if shard.is_open else 0):
        raise wording.invalid(
            f"Invalid SequenceNumber: {sequence_number(position)} is not in the range of the shard {shard_id(shard)}"
        )
    after = position - 1 if kind == "AT_SEQUENCE_NUMBER" else position
    if after < state.trimmed_through:
        raise _trimmed()
    return after


def _start_at(
    transaction: ReadTransaction, state: StreamState, shard: Shard, kind: str, at_us: int
) -> tuple[int, bool]:
    """The position after which any other iterator begins, and whether it does at whatever is oldest."""
    newest = _newest(transaction, shard)
    oldest = min(newest, max(shard.after, state.trimmed_through))
    after = oldest
    if kind == "LATEST":
        return newest, False
    if kind == _AT_TIME:
        after = min(newest, max(oldest, change_log.position_before(transaction, state.stream, at_us)))
    return after, after == oldest


def _newest(transaction: ReadTransaction, shard: Shard) -> int:
    return transaction.counter(change_log.COUNTER) if shard.through is None else shard.through


def _trimmed() -> ServiceError:
    return ServiceError(
        "TrimmedDataAccessException",
        "The operation attempted to read past the oldest stream record in a shard: the records are trimmed",
    )


def _position(body: Body, kind: str) -> int:
    """The position of the SequenceNumber that the iterator type asks for; 0 where it asks for none."""
    number = fields.text(body, "SequenceNumber")
    if kind not in _WITH_SEQUENCE_NUMBER:
        if number is not None:
            raise wording.invalid(f"SequenceNumber cannot be specified for the ShardIteratorType {kind}")
        return 0
    if number is None:
        raise wording.invalid(f"SequenceNumber must be specified for the ShardIteratorType {kind}")
    if not number.isdecimal() or not number.isascii():
        raise wording.invalid(f"Invalid SequenceNumber: {number}")
    return position_of(number)


def _child_filter(body: Body) -> str | None:
    """The shard whose children are asked for."""
    asked = fields.structure(body, "ShardFilter", "ShardFilter")
    if asked is None:
        return None
    if asked.get("Type") is None:
        raise fields.missing("Type", "shardFilter.")
    name = fields.text(asked, "ShardId")
    if name is None:
        raise fields.missing("ShardId", "shardFilter.")
    return name


def _note_limit(violations: Violations, body: Body, most: int) -> None:
    limit = fields.integer(body, "Limit")
    if limit is not None and limit < 1:
        violations.add(limit, "limit", "Member must have value greater than or equal to 1")
    if limit is not None and limit > most:
        violations.add(limit, "limit", f"Member must have value less than or equal to {most}")


def _note_filter(violations: Violations, body: Body) -> None:
    asked = fields.structure(body, "ShardFilter", "ShardFilter")
    if asked is not None and asked.get("Type") is not None:
        violations.choice(asked, "Type", _FILTERS, "shardFilter.type")
    if asked is not None:
        violations.length(asked, "ShardId", *_SHARD_ID_CHARACTERS, within="shardFilter.")


def _sized_text(body: Body, field: str, characters: tuple[int, int]) -> str | None:
    value = fields.text(body, field)
    if value is None:
        return None
    fields.check_length(len(value), field, *characters, value)
    return value
