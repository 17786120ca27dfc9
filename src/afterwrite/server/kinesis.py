"""Kinesis Data Streams on the wire: records put and read. What concerns streams themselves is in `kinesis_streams`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.core import shards
from afterwrite.core.shards import Shard
from afterwrite.errors import ServiceError
from afterwrite.server import kinesis_requests as requests
from afterwrite.server.kinesis_requests import Body, invalid_argument
from afterwrite.server.kinesis_streams import KinesisStreams, named_shard
from afterwrite.server.shard_iterators import ShardIterator
from afterwrite.store import kinesis
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.kinesis import KinesisRecord, KinesisStream, position_of, sequence_number, shard_id
from afterwrite.store.prepared import Prepared, Read, Write, unknown_operation
from afterwrite.store.tables import Catalog
from afterwrite.table import fields

_RECORDS_MAX: Final = 10_000
# 10 MiB of data, which is kept as base64 text.
_RECORDS_BYTES_MAX: Final = 10 * (1 << 20) * 4 // 3
_PUT_RECORDS_MAX: Final = 500
_PUT_BYTES_MAX: Final = 10 * (1 << 20) * 4 // 3
_ITERATOR_LIFETIME_MS: Final = 300_000
_SEQUENCE_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,128}")
_ITERATOR_TYPES: Final = ("AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")


class KinesisService:
    """Kinesis_20131202. `now_ms` tells the time by which iterators expire."""

    target = "Kinesis_20131202"
    error_prefix = ""
    content_type = "application/x-amz-json-1.1"

    def __init__(self, identity: Identity, now_ms: Callable[[], int]) -> None:
        self._streams = KinesisStreams(identity)
        self._now_ms = now_ms
        self._by_name: Mapping[str, Callable[[Body], Prepared]] = {
            "PutRecord": self._put_record,
            "PutRecords": self._put_records,
            "GetShardIterator": self._get_shard_iterator,
            "GetRecords": self._get_records,
            **self._streams.operations(),
        }

    def prepare(self, name: str, body: Body) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        operation = self._by_name.get(name)
        if operation is None:
            raise unknown_operation(name)
        requests.check_texts(body)
        return operation(body)

    def _put_record(self, body: Body) -> Write:
        name, record = requests.stream_name(body), requests.record(body)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            return _put(transaction, self._streams.found(transaction, name), record)

        return Write(run)

    def _put_records(self, body: Body) -> Write:
        name = requests.stream_name(body)
        given = fields.structures(body, "Records", "PutRecordsRequestEntry")
        if given is None:
            raise fields.missing("Records")
        fields.check_length(len(given), "Records", 1, _PUT_RECORDS_MAX, f"[{len(given)} records]")
        records = [requests.record(each) for each in given]
        if sum(len(data) + len(partition_key) for partition_key, data, _ in records) > _PUT_BYTES_MAX:
            raise invalid_argument("Records size exceeds 10 MB limit")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            stream = self._streams.found(transaction, name)
            return {"FailedRecordCount": 0, "Records": [_put(transaction, stream, record) for record in records]}

        return Write(run)

    def _get_shard_iterator(self, body: Body) -> Read:
        name, shard_name = requests.stream_name(body), requests.required_text(body, "ShardId")
        kind = fields.choice(body, "ShardIteratorType", _ITERATOR_TYPES, "")
        if not kind:
            raise fields.missing("ShardIteratorType")
        number = fields.text(body, "StartingSequenceNumber")
        if kind.endswith("SEQUENCE_NUMBER") and number is None:
            raise invalid_argument(f"Must either specify StartingSequenceNumber or another type than {kind}.")
        at_us = requests.timestamp_us(body, "Timestamp") if kind == "AT_TIMESTAMP" else 0
        if at_us > (self._now_ms() + 1000) * 1000:
            raise invalid_argument("The timestamp parameter cannot be greater than the current timestamp.")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            stream = self._streams.found(transaction, name)
            shard = named_shard(stream, shard_name)
            after = _start(transaction, stream, shard, kind, number, at_us)
            return orjson.dumps({"ShardIterator": self._iterator(stream, shard, after)})

        return Read(run)

    def _get_records(self, body: Body) -> Read:
        text = requests.required_text(body, "ShardIterator")
        limit = requests.bounded(body, "Limit", _RECORDS_MAX, 1, _RECORDS_MAX)
        iterator, name = ShardIterator.from_text(text), text.rpartition("|")[0]
        if iterator is None or not requests.NAME.fullmatch(name):
            raise invalid_argument("Invalid ShardIterator.")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            now_ms = self._now_ms()
            if iterator.expired(now_ms, _ITERATOR_LIFETIME_MS):
                raise ServiceError(
                    "ExpiredIteratorException",
                    f"Iterator expired. The iterator was created at time {iterator.created_at_ms} ms while right now "
                    f"it is {now_ms} ms which is further in the future than the tolerated delay of "
                    f"{_ITERATOR_LIFETIME_MS} milliseconds.",
                )
            stream = self._streams.found(transaction, name)
            if stream.number != iterator.stream:
                raise ServiceError("ResourceNotFoundException", f"The stream {stream.name} of the iterator is deleted.")
            return self._records(transaction, stream, iterator, limit, now_ms)

        return Read(run)

    def _records(
        self, transaction: ReadTransaction, stream: KinesisStream, iterator: ShardIterator, limit: int, now_ms: int
    ) -> bytes:
        shard = shards.shard_numbered(stream.lineage, iterator.shard)
        if shard is None:
            # All of the shard is past its retention: its end is reached.
            return b'{"Records":[],"MillisBehindLatest":0}'
        page = kinesis.read(transaction, stream, shard, iterator.after, limit=limit, bytes_max=_RECORDS_BYTES_MAX)
        behind_ms = max(0, now_ms - page.records[-1].arrived_at_us // 1000) if page.more else 0
        parts = [
            b'{"Records":[',
            b",".join(_record_text(record) for record in page.records),
            b'],"MillisBehindLatest":%d' % behind_ms,
        ]
        if page.after is not None:
            parts.append(b',"NextShardIterator":"%s"}' % self._iterator(stream, shard, page.after).encode())
        else:
            following = [_child(child) for child in shards.children(stream.lineage, shard.number)]
            parts.append(b',"ChildShards":%s}' % orjson.dumps(following))
        return b"".join(parts)

    def _iterator(self, stream: KinesisStream, shard: Shard, after: int) -> str:
        return ShardIterator(stream.number, shard.number, after, self._now_ms()).to_text(f"{stream.name}|")


def _put(transaction: WriteTransaction, stream: KinesisStream, record: tuple[str, bytes, int | None]) -> dict[str, Any]:
    shard, position = kinesis.put(transaction, stream, *record)
    return {"ShardId": shard_id(shard), "SequenceNumber": sequence_number(position)}


def _start(
    transaction: ReadTransaction, stream: KinesisStream, shard: Shard, kind: str, number: str | None, at_us: int
) -> int:
    """The position after which an iterator of the kind begins to read."""
    newest = kinesis.newest_position(transaction) if shard.through is None else shard.through
    if kind == "LATEST":
        return newest
    if kind == "TRIM_HORIZON":
        return shard.after
    if kind == "AT_TIMESTAMP":
        return kinesis.position_before(transaction, stream, shard, at_us)
    position = position_of(number) if number is not None and _SEQUENCE_NUMBER.fullmatch(number) else -1
    if number is not None and not shard.after < position <= newest + (1 if shard.is_open else 0):
        raise invalid_argument(
            f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard_id(shard)} in stream "
            f"{stream.name} is invalid because it did not come from this stream."
        )
    return position - 1 if kind == "AT_SEQUENCE_NUMBER" else position


def _record_text(record: KinesisRecord) -> bytes:
    return b'{"SequenceNumber":"%s","ApproximateArrivalTimestamp":%d.%03d,"Data":"%s","PartitionKey":%s}' % (
        sequence_number(record.position).encode(),
        record.arrived_at_us // 1_000_000,
        record.arrived_at_us // 1000 % 1000,
        record.data,
        orjson.dumps(record.partition_key),
    )


def _child(shard: Shard) -> Mapping[str, Any]:
    return {
        "ShardId": shard_id(shard),
        "ParentShards": [f"shardId-{number:012}" for number in shard.parents],
        "HashKeyRange": {"StartingHashKey": str(shard.low), "EndingHashKey": str(shard.high)},
    }
