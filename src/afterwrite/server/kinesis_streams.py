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
from afterwrite.server import kinesis_constraints
from afterwrite.server import kinesis_requests as requests
from afterwrite.server.kinesis_requests import Body, invalid_argument, not_found
from afterwrite.store import kinesis, kinesis_destinations, kinesis_intake, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.kinesis import HASH_KEYS, RETENTION_HOURS, KinesisStream, sequence_number, shard_id
from afterwrite.store.prepared import Prepared, Read, Write
from afterwrite.store.tables import Catalog
from afterwrite.table import fields, wording

Change: TypeAlias = Callable[[WriteTransaction, KinesisStream], Mapping[str, Any] | None]

_ON_DEMAND_SHARDS: Final = 4
_SHARDS_MAX: Final = 10_000
_LISTED: Final = 100
_SHARDS_LISTED: Final = 1_000
_TAGS_LISTED: Final = 50
_TAGS_MAX: Final = 50


class KinesisStreams:
    """The operations, by name."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def operations(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations that are offered."""
        return {
            "CreateStream": self._create_stream,
            "DeleteStream": lambda body: self._change(body, self._delete),
            "DescribeStream": self._describe_stream,
            "DescribeStreamSummary": self._describe_stream_summary,
            "ListStreams": self._list_streams,
            "ListShards": self._list_shards,
            "IncreaseStreamRetentionPeriod": lambda body: self._change(body, _increased_retention(body)),
            "DecreaseStreamRetentionPeriod": lambda body: self._change(body, _decreased_retention(body)),
            "SplitShard": lambda body: self._reshard(body, self._split(body)),
            "MergeShards": lambda body: self._reshard(body, self._merged(body)),
            "UpdateShardCount": lambda body: self._reshard(body, self._rescaled(body)),
            "UpdateStreamMode": lambda body: self._change(body, _mode_set(body)),
            "AddTagsToStream": lambda body: self._change(body, self._tagged(body)),
            "RemoveTagsFromStream": lambda body: self._change(body, self._untagged(body)),
            "ListTagsForStream": self._list_tags,
            "TagResource": lambda body: self._change(_of_resource(body), self._tagged(body)),
            "UntagResource": lambda body: self._change(_of_resource(body), self._untagged(body)),
            "ListTagsForResource": lambda body: self._list_tags(_of_resource(body)),
            "DescribeLimits": lambda _: Read(_describe_limits),
        }

    def found(self, transaction: ReadTransaction, name: str) -> KinesisStream:
        """The stream `name`. Raises ResourceNotFoundException."""
        stream = kinesis.find(transaction, name)
        if stream is None:
            raise not_found(f"Stream {self.owned(name)} not found.")
        return stream

    def owned(self, name: str) -> str:
        """How messages name a stream, or something of one."""
        return f"{name} under account {self._identity.account_id}"

    def shard_number(self, body: Body, field: str, stream: str) -> int:
        """The number of the shard of a stream that a field names. Raises ResourceNotFoundException."""
        number = requests.shard_number(body[field])
        if number is None:
            raise not_found(f"Could not find shard {body[field]} in stream {self.owned(stream)}.")
        return number

    def arn(self, name: str) -> str:
        """The stream's ARN."""
        return f"arn:aws:kinesis:{self._identity.region}:{self._identity.account_id}:stream/{name}"

    def _change(self, body: Body, change: Change) -> Write:
        name = requests.stream_name(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any] | None:
            return change(transaction, self.found(transaction, name))

        return Write(run)

    def _reshard(self, body: Body, change: Change) -> Write:
        """A change of shards, which only a stream of the mode PROVISIONED leaves to requests."""

        def checked(transaction: WriteTransaction, stream: KinesisStream) -> Mapping[str, Any] | None:
            if stream.mode == "ON_DEMAND":
                raise wording.invalid(
                    f"Stream {self.owned(stream.name)} is on demand. This API is only supported for data streams with "
                    "the provisioned capacity mode."
                )
            return change(transaction, stream)

        return self._change(body, checked)

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
        limit = fields.integer(body, "Limit") or _LISTED
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
        limit = fields.integer(body, "Limit") or _LISTED
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
        limit = fields.integer(body, "MaxResults") or _SHARDS_LISTED
        token = fields.text(body, "NextToken")
        if token is not None:
            if fields.text(body, "StreamName") is not None:
                raise invalid_argument("NextToken and StreamName cannot be provided together.")
            body = _from_token(token)
            kinesis_constraints.check("ListShards", body)
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

    def _create_stream(self, body: Body) -> Write:
        name, count = requests.stream_name(body), fields.integer(body, "ShardCount") or 0
        mode = _mode(body) or ("PROVISIONED" if count else "ON_DEMAND")
        if mode == "PROVISIONED" and not count:
            raise invalid_argument("ShardCount must be given for a stream of the mode PROVISIONED.")
        if mode == "ON_DEMAND" and count:
            raise invalid_argument("ShardCount is not expected when StreamMode=ON_DEMAND")
        tags = requests.tags(body)

        def run(transaction: WriteTransaction) -> None:
            if kinesis.find(transaction, name) is not None:
                raise ServiceError("ResourceInUseException", f"Stream {self.owned(name)} already exists.")
            if count > _SHARDS_MAX:
                raise wording.limit_exceeded(
                    f"This request would exceed the shard limit for the account {self._identity.account_id} in "
                    f"{self._identity.region}. Limit: {_SHARDS_MAX}. "
                    f"Number of additional shards that would have resulted from this request: {count}."
                )
            requests.check_tags_added(tags, f"Failed to create stream {self.owned(name)}")
            kinesis.create(transaction, name, count or _ON_DEMAND_SHARDS, mode=mode, tags=tags)

        return Write(run)

    def _rescaled(self, body: Body) -> Change:
        count = fields.integer(body, "TargetShardCount") or 0

        def change(transaction: WriteTransaction, stream: KinesisStream) -> Mapping[str, Any]:
            current = len(open_shards(stream.lineage))
            _check_scaling(current, count)
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

    def _split(self, body: Body) -> Change:
        number = self.shard_number(body, "ShardToSplit", requests.stream_name(body))
        start = int(body["NewStartingHashKey"])

        def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
            shard = self._known_shard(stream, number)
            if not shard.low + 1 < start < shard.high:
                raise invalid_argument(
                    f"NewStartingHashKey {start} used in SplitShard() on shard {shard_id(shard)} in stream "
                    f"{self.owned(stream.name)} is not both greater than one plus the shard's StartingHashKey "
                    f"{shard.low} and less than the shard's EndingHashKey {shard.high}."
                )
            self._check_open(stream, shard)
            at = kinesis.next_position(transaction)
            lineage = shards.split(stream.lineage, shard, start, at=at, now_ms=transaction.now_ms)
            kinesis.save(transaction, replace(stream, lineage=lineage))

        return change

    def _merged(self, body: Body) -> Change:
        name = requests.stream_name(body)
        numbers = [self.shard_number(body, field, name) for field in ("ShardToMerge", "AdjacentShardToMerge")]

        def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
            first, second = (self._known_shard(stream, number) for number in numbers)
            for shard in (first, second):
                self._check_open(stream, shard)
            if first.high + 1 != second.low:
                raise invalid_argument(
                    f"Shards {shard_id(first)} and {shard_id(second)} in stream {self.owned(stream.name)} are not an "
                    "adjacent pair of shards eligible for merging"
                )
            at = kinesis.next_position(transaction)
            lineage = shards.merge(stream.lineage, first, second, at=at, now_ms=transaction.now_ms)
            kinesis.save(transaction, replace(stream, lineage=lineage))

        return change

    def _known_shard(self, stream: KinesisStream, number: int) -> Shard:
        shard = shards.shard_numbered(stream.lineage, number)
        if shard is None:
            raise not_found(f"Could not find shard shardId-{number:012} in stream {self.owned(stream.name)}.")
        return shard

    def _check_open(self, stream: KinesisStream, shard: Shard) -> None:
        if not shard.is_open:
            raise invalid_argument(
                f"Shard {shard_id(shard)} in stream {self.owned(stream.name)} has already been merged or split, and "
                "thus is not eligible for merging or splitting."
            )

    def _tagged(self, body: Body) -> Change:
        added = requests.tags(body)

        def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
            failed = f"Failed to add tags to stream {self.owned(stream.name)}"
            requests.check_tags_added(added, failed)
            tags = {**stream.tags, **added}
            if len(tags) > _TAGS_MAX:
                raise invalid_argument(
                    f"{failed} because a given stream cannot have more than {_TAGS_MAX} tags associated with it."
                )
            kinesis.save(transaction, replace(stream, tags=tags))

        return change

    def _untagged(self, body: Body) -> Change:
        removed: list[str] = body["TagKeys"]

        def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
            requests.check_tag_texts(removed, f"Failed to remove tags from stream {self.owned(stream.name)}")
            kept = {key: value for key, value in stream.tags.items() if key not in removed}
            kinesis.save(transaction, replace(stream, tags=kept))

        return change

    def _list_tags(self, body: Body) -> Read:
        name = requests.stream_name(body)
        limit = fields.integer(body, "Limit") or _TAGS_LISTED
        start = fields.text(body, "ExclusiveStartTagKey") or ""

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            tags = self.found(transaction, name).tags
            found = [{"Key": key, "Value": tags[key]} for key in sorted(tags) if key > start]
            return orjson.dumps({"Tags": found[:limit], "HasMoreTags": len(found) > limit})

        return Read(run)


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


def _check_scaling(current: int, count: int) -> None:
    """Refuse to have `count` open shards in place of `current`, unless that is at most double and at least half."""
    if count > _SHARDS_MAX:
        raise wording.limit_exceeded(
            f"Target shard count or number of open shards cannot be greater than {_SHARDS_MAX}. "
            f"Current open shard count: {current}, Target shard count: {count}"
        )
    if count > 2 * current or 2 * count < current:
        bound = "up over double" if count > current else "down below half"
        raise wording.limit_exceeded(
            f"UpdateShardCount cannot scale {bound} your current open shard count. "
            f"Current open shard count: {current}, Target shard count: {count}"
        )


def _mode(body: Body) -> str:
    """The mode that is asked for; empty where none is."""
    return str((body.get("StreamModeDetails") or {}).get("StreamMode", ""))


def _mode_set(body: Body) -> Change:
    mode = _mode(body)

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        kinesis.save(transaction, replace(stream, mode=mode))

    return change


def _asked_hours(body: Body) -> int:
    return fields.integer(body, "RetentionPeriodHours") or 0


def _check_hours(hours: int) -> None:
    least, most = RETENTION_HOURS
    if hours < least:
        raise invalid_argument(
            f"Minimum allowed retention period is {least} hours. "
            f"Requested retention period ({hours} hours) is too short."
        )
    if hours > most:
        raise invalid_argument(
            f"Maximum allowed retention period is {most} hours. Requested retention period ({hours} hours) is too long."
        )


def _increased_retention(body: Body) -> Change:
    hours = _asked_hours(body)

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        _check_hours(hours)
        if hours < stream.retention_hours:
            raise invalid_argument(
                f"Requested retention period ({hours} hours) for stream {stream.name} can not be shorter than existing "
                f"retention period ({stream.retention_hours} hours). Use DecreaseRetentionPeriod API."
            )
        kinesis.keep_for(transaction, stream, hours)

    return change


def _decreased_retention(body: Body) -> Change:
    hours = _asked_hours(body)

    def change(transaction: WriteTransaction, stream: KinesisStream) -> None:
        _check_hours(hours)
        if hours > stream.retention_hours:
            raise invalid_argument(
                f"Requested retention period ({hours} hours) for stream {stream.name} can not be longer than existing "
                f"retention period ({stream.retention_hours} hours). Use IncreaseRetentionPeriod API."
            )
        kinesis.keep_for(transaction, stream, hours)

    return change


def _of_resource(body: Body) -> Body:
    return {**body, "StreamName": requests.stream_name_of_arn(body["ResourceARN"])}


def _shard_filter(body: Body) -> Callable[[Lineage], Lineage]:
    """Which shards ListShards is asked for."""
    asked: Body = body.get("ShardFilter") or {"Type": "FROM_TRIM_HORIZON"}
    kind = asked["Type"]
    if kind == "AFTER_SHARD_ID":
        start = fields.text(asked, "ShardId")
        if start is None:
            raise fields.missing("ShardId", "shardFilter.")
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
    return _oldest if kind == "AT_TRIM_HORIZON" else lambda lineage: lineage


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
