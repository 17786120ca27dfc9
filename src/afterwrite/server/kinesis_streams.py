"""Kinesis' operations on streams themselves: made, described, resharded, tagged, deleted."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final, TypeAlias

import orjson

from afterwrite.config import Identity
from afterwrite.core import shards
from afterwrite.core.shards import Lineage, Shard, open_shards
from afterwrite.errors import ServiceError
from afterwrite.server import kinesis_requests as requests
from afterwrite.server.kinesis_requests import Body, invalid_argument
from afterwrite.store import kinesis, kinesis_destinations, kinesis_intake, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.kinesis import HASH_KEYS, RETENTION_HOURS, KinesisStream, sequence_number, shard_id
from afterwrite.store.prepared import Prepared, Read, Write
from afterwrite.store.tables import Catalog
from afterwrite.table import fields, wording

Change: TypeAlias = Callable[[WriteTransaction, KinesisStream], Mapping[str, Any] | None]

_MODES: Final = ("PROVISIONED", "ON_DEMAND")
_SHARD_FILTERS: Final = (
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
)
_ON_DEMAND_SHARDS: Final = 4
_SHARDS_MAX: Final = 10_000
_LISTED: Final = 100
_SHARDS_LISTED: Final = 1_000
_LISTED_MAX: Final = 10_000


class KinesisStreams:
    """The operations, by name."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def operations(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations that are offered."""
        return {
            "CreateStream": _create_stream,
            "DeleteStream": lambda body: self._change(body, self._delete),
            "DescribeStream": self._describe_stream,
            "DescribeStreamSummary": self._describe_stream_summary,
            "ListStreams": self._list_streams,
            "ListShards": self._list_shards,
            "IncreaseStreamRetentionPeriod": lambda body: self._change(body, _increased_retention(body)),
            "DecreaseStreamRetentionPeriod": lambda body: self._change(body, _decreased_retention(body)),
            "SplitShard": lambda body: self._change(body, _split(body)),
            "MergeShards": lambda body: self._change(body, _merged(body)),
            "UpdateShardCount": lambda body: self._change(body, self._rescaled(body)),
            "UpdateStreamMode": lambda body: self._change(body, _mode_set(body)),
            "AddTagsToStream": lambda body: self._change(body, _tagged(body)),
            "RemoveTagsFromStream": lambda body: self._change(body, _untagged(body)),
            "ListTagsForStream": self._list_tags,
            "TagResource": lambda body: self._change(_of_resource(body), _tagged(body)),
            "UntagResource": lambda body: self._change(_of_resource(body), _untagged(body)),
            "ListTagsForResource": lambda body: self._list_tags(_of_resource(body)),
            "DescribeLimits": lambda _: Read(_describe_limits),
        }

    def found(self, transaction: ReadTransaction, name: str) -> KinesisStream:
        """The stream `name`. Raises ResourceNotFoundException."""
        stream = kinesis.find(transaction, name)
        if stream is None:
            account = self._identity.account_id
            raise ServiceError("ResourceNotFoundException", f"Stream {name} under account {account} not found.")
        return stream

    def arn(self, name: str) -> str:
        """The stream's ARN."""
        return f"arn:aws:kinesis:{self._identity.region}:{self._identity.account_id}:stream/{name}"

    def _change(self, body: Body, change: Change) -> Write:
        name = requests.stream_name(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            return change(transaction, self.found(transaction, name)) or {}

        return Write(run)

    def _delete(self, transaction: WriteTransaction, stream: KinesisStream) -> None:
        fed = kinesis_intake.fed_tables(tables.catalog(transaction)).get(stream.name)
        if fed is not None:
            raise ServiceError(
                "ResourceInUseException",
                f"The routes of the table {fed} get its changes by the stream {stream.name}: declare the table without "
                "stream='kinesis' first",
            )
        kinesis_destinations.disable_all(transaction, self.arn(stream.name))
        kinesis.delete(transaction, stream)

    def _summary(self, stream: KinesisStream) -> dict[str, Any]:
        return {
            "StreamName": stream.name,
            "StreamARN": self.arn(stream.name),
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": stream.mode},
            "StreamCreationTimestamp": stream.created_at_ms / 1000,
        }

    def _description(self, stream: KinesisStream) -> dict[str, Any]:
        return {
            **self._summary(stream),
            "RetentionPeriodHours": stream.retention_hours,
            "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE",
        }

    def _describe_stream(self, body: Body) -> Read:
        name = requests.stream_name(body)
        limit = requests.bounded(body, "Limit", _LISTED, 1, _LISTED_MAX)
        start = fields.text(body, "ExclusiveStartShardId") or ""

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            stream = self.found(transaction, name)
            found = [shard for shard in stream.lineage if shard_id(shard) > start]
            described = [_shard_description(shard) for shard in found[:limit]]
            description = {**self._description(stream), "Shards": described, "HasMoreShards": len(found) > limit}
            return orjson.dumps({"StreamDescription": description})

        return Read(run)

    def _describe_stream_summary(self, body: Body) -> Read:
        name = requests.stream_name(body)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            stream = self.found(transaction, name)
            summary = {
                **self._description(stream),
                "OpenShardCount": len(open_shards(stream.lineage)),
                "ConsumerCount": 0,
            }
            return orjson.dumps({"StreamDescriptionSummary": summary})

        return Read(run)

    def _list_streams(self, body: Body) -> Read:
        limit = requests.bounded(body, "Limit", _LISTED, 1, _LISTED_MAX)
        start = fields.text(body, "ExclusiveStartStreamName") or fields.text(body, "NextToken") or ""

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            found = list(islice(kinesis.names(transaction, start), limit + 1))
            answer: dict[str, Any] = {
                "StreamNames": found[:limit],
                "HasMoreStreams": len(found) > limit,
                "StreamSummaries": [self._summary(self.found(transaction, name)) for name in found[:limit]],
            }
            if len(found) > limit:
                answer["NextToken"] = found[limit - 1]
            return orjson.dumps(answer)

        return Read(run)

    def _list_shards(self, body: Body) -> Read:
        limit = requests.bounded(body, "MaxResults", _SHARDS_LISTED, 1, _LISTED_MAX)
        token = fields.text(body, "NextToken")
        if token is not None:
            if fields.text(body, "StreamName") is not None:
                raise invalid_argument("NextToken and StreamName cannot be provided together.")
            body = _from_token(token)
        name = requests.stream_name(body)
        start = fields.text(body, "ExclusiveStartShardId") or ""
        chosen = _shard_filter(body)

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            stream = self.found(transaction, name)
            found = [shard for shard in chosen(stream.lineage) if shard_id(shard) > start]
            answer: dict[str, Any] = {"Shards": [_shard_description(shard) for shard in found[:limit]]}
            if len(found) > limit:
                following = {"StreamName": name, "ExclusiveStartShardId": shard_id(found[limit - 1])}
                if "ShardFilter" in body:
                    following["ShardFilter"] = body["ShardFilter"]
                answer["NextToken"] = base64.b64encode(orjson.dumps(following)).decode()
            return orjson.dumps(answer)

        return Read(run)

    def _rescaled(self, body: Body) -> Change:
        count = requests.required_integer(body, "TargetShardCount")
        fields.check_value(count, "TargetShardCount", 1, _SHARDS_MAX)
        if not fields.choice(body, "ScalingType", ("UNIFORM_SCALING",), ""):
            raise fields.missing("ScalingType")

        def change(transaction: WriteTransaction, stream: KinesisStream) -> Mapping[str, Any]:
            current = len(open_shards(stream.lineage))
            if not 1 <= count <= min(_SHARDS_MAX, 2 * current) or 2 * count < current:
                raise invalid_argument(
                    f"UpdateShardCount cannot scale from {current} to {count} shards: at most double, at least half."
                )
            lineage = shards.rescale(
                stream.lineage,
                count,
                hash_keys=HASH_KEYS,
                positions=iter(lambda: kinesis.next_position(transaction), None),
                now_ms=transaction.now_ms,
            )
            kinesis.save(transaction, replace(stream, lineage=lineage))
            return {
                "StreamName": stream.name,
                "StreamARN": self.arn(stream.name),
                "CurrentShardCount": current,
                "TargetShardCount": count,
            }

        return change

    def _list_tags(self, body: Body) -> Read:
        name = requests.stream_name(body)
        limit = requests.bounded(body, "Limit", 50, 1, 50)
        start = fields.text(body, "ExclusiveStartTagKey") or ""

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            tags = self.found(transaction, name).tags
            found = [{"Key": key, "Value": tags[key]} for key in sorted(tags) if key > start]
            return orjson.dumps({"Tags": found[:limit], "HasMoreTags": len(found) > limit})

        return Read(run)


def named_shard(stream: KinesisStream, name: str) -> Shard:
    """The stream's shard with the id. Raises ResourceNotFoundException."""
    for shard in stream.lineage:
        if shard_id(shard) == name:
            return shard
    raise ServiceError("ResourceNotFoundException", f"Could not find shard {name} in stream {stream.name}.")


def _shard_description(shard: Shard) -> Mapping[str, Any]:
    positions = {"StartingSequenceNumber": sequence_number(shard.after + 1)}
    if shard.through is not None:
        positions["EndingSequenceNumber"] = sequence_number(shard.through)
    description: dict[str, Any] = {
        "ShardId": shard_id(shard),
        "HashKeyRange": {"StartingHashKey": str(shard.low), "EndingHashKey": str(shard.high)},
        "SequenceNumberRange": positions,
    }
    for field, number in zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False):
        description[field] = f"shardId-{number:012}"
    return description


def _create_stream(body: Body) -> Write:
    name = requests.stream_name({"StreamName": requests.required_text(body, "StreamName")})
    mode = _mode(body) or "PROVISIONED"
    count = requests.bounded(body, "ShardCount", 0, 1, _SHARDS_MAX)
    if mode == "PROVISIONED" and not count:
        raise invalid_argument("ShardCount must be given for a stream of the mode PROVISIONED.")
    tags = requests.tags(body)

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        kinesis.create(transaction, name, count or _ON_DEMAND_SHARDS, mode=mode, tags=tags)
        return {}

    return Write(run)


def _mode(body: Body) -> str:
    details = fields.structure(body, "StreamModeDetails", "StreamModeDetails")
    if details is None:
        return ""
    if details.get("StreamMode") is None:
        raise fields.missing("StreamMode", "streamModeDetails.")
    return fields.choice(details, "StreamMode", _MODES, "", "streamModeDetails.")


def _mode_set(body: Body) -> Change:
    requests.required_text(body, "StreamARN")
    mode = _mode(body)
    if not mode:
        raise fields.missing("StreamModeDetails")

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        kinesis.save(transaction, replace(stream, mode=mode))

    return change


def _increased_retention(body: Body) -> Change:
    hours = requests.required_integer(body, "RetentionPeriodHours")

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        if hours < stream.retention_hours:
            raise invalid_argument(
                f"Requested retention period ({hours} hours) for stream {stream.name} can not be shorter than existing "
                f"retention period ({stream.retention_hours} hours). Use DecreaseRetentionPeriod API."
            )
        if hours > RETENTION_HOURS[1]:
            raise invalid_argument(
                f"Maximum allowed retention period is {RETENTION_HOURS[1]} hours. "
                f"Requested retention period ({hours} hours) is too long."
            )
        kinesis.keep_for(transaction, stream, hours)

    return change


def _decreased_retention(body: Body) -> Change:
    hours = requests.required_integer(body, "RetentionPeriodHours")

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        if hours < RETENTION_HOURS[0]:
            raise invalid_argument(
                f"Minimum allowed retention period is {RETENTION_HOURS[0]} hours. "
                f"Requested retention period ({hours} hours) is too short."
            )
        if hours > stream.retention_hours:
            raise invalid_argument(
                f"Requested retention period ({hours} hours) for stream {stream.name} can not be longer than existing "
                f"retention period ({stream.retention_hours} hours). Use IncreaseRetentionPeriod API."
            )
        kinesis.keep_for(transaction, stream, hours)

    return change


def _split(body: Body) -> Change:
    name, start = requests.required_text(body, "ShardToSplit"), requests.parsed_hash_key(body, "NewStartingHashKey")
    if start is None:
        raise fields.missing("NewStartingHashKey")

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        shard = _open_shard(stream, name)
        if not shard.low + 1 < start < shard.high:
            raise invalid_argument(
                f"NewStartingHashKey {start} used in SplitShard() on shard {name} in stream {stream.name} is not both "
                f"greater than one plus the shard's StartingHashKey {shard.low} and less than the shard's "
                f"EndingHashKey {shard.high}."
            )
        at = kinesis.next_position(transaction)
        lineage = shards.split(stream.lineage, shard, start, at=at, now_ms=transaction.now_ms)
        kinesis.save(transaction, replace(stream, lineage=lineage))

    return change


def _merged(body: Body) -> Change:
    names = requests.required_text(body, "ShardToMerge"), requests.required_text(body, "AdjacentShardToMerge")

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        first, second = (_open_shard(stream, name) for name in names)
        if first.high + 1 != second.low and second.high + 1 != first.low:
            raise invalid_argument(
                f"Shards {names[0]} and {names[1]} in stream {stream.name} are not an adjacent pair of shards eligible "
                "for merging"
            )
        at = kinesis.next_position(transaction)
        lineage = shards.merge(stream.lineage, first, second, at=at, now_ms=transaction.now_ms)
        kinesis.save(transaction, replace(stream, lineage=lineage))

    return change


def _open_shard(stream: KinesisStream, name: str) -> Shard:
    shard = named_shard(stream, name)
    if not shard.is_open:
        raise invalid_argument(f"Shard {name} in stream {stream.name} is closed.")
    return shard


def _of_resource(body: Body) -> Body:
    return {**body, "StreamName": requests.stream_name_of_arn(requests.required_text(body, "ResourceARN"))}


def _tagged(body: Body) -> Change:
    added = requests.required_tags(body)

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        kinesis.save(transaction, replace(stream, tags={**stream.tags, **added}))

    return change


def _untagged(body: Body) -> Change:
    removed = requests.tag_keys(body)

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        kept = {key: value for key, value in stream.tags.items() if key not in removed}
        kinesis.save(transaction, replace(stream, tags=kept))

    return change


def _shard_filter(body: Body) -> Callable[[Lineage], Lineage]:
    """Which shards ListShards is asked for."""
    asked = fields.structure(body, "ShardFilter", "ShardFilter")
    if asked is None:
        return lambda lineage: lineage
    kind = requests.required_text(asked, "Type")
    if kind == "AFTER_SHARD_ID":
        start = requests.required_text(asked, "ShardId")
        return lambda lineage: tuple(shard for shard in lineage if shard_id(shard) > start)
    if kind == "AT_LATEST":
        return open_shards
    if kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP"):
        at_ms = requests.timestamp_us(asked, "Timestamp") // 1000
        if kind == "FROM_TIMESTAMP":
            return lambda lineage: shards.retained(lineage, at_ms)
        return lambda lineage: tuple(
            shard for shard in shards.retained(lineage, at_ms + 1) if shard.opened_at_ms <= at_ms
        )
    if kind == "FROM_TRIM_HORIZON":
        return lambda lineage: lineage
    if kind == "AT_TRIM_HORIZON":
        return _oldest
    raise wording.constraint_error(
        kind, "shardFilter.type", f"Member must satisfy enum value set: [{', '.join(_SHARD_FILTERS)}]"
    )


def _oldest(lineage: Lineage) -> Lineage:
    """The shards whose parents are gone or never were."""
    known = {shard.number for shard in lineage}
    return tuple(shard for shard in lineage if not known.intersection(shard.parents))


def _from_token(token: str) -> Body:
    try:
        body = orjson.loads(base64.b64decode(token, validate=True))
    except ValueError:
        raise invalid_argument("Invalid NextToken.") from None
    if not isinstance(body, dict):
        raise invalid_argument("Invalid NextToken.")
    return body


def _describe_limits(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
    streams = [stream for name in kinesis.names(transaction) if (stream := kinesis.find(transaction, name)) is not None]
    return orjson.dumps(
        {
            "ShardLimit": _SHARDS_MAX,
            "OpenShardCount": sum(len(open_shards(stream.lineage)) for stream in streams),
            "OnDemandStreamCount": sum(stream.mode == "ON_DEMAND" for stream in streams),
            "OnDemandStreamCountLimit": _SHARDS_MAX,
        }
    )
