"""Kinesis Data Streams on the wire: records put and read. What concerns streams themselves is in `kinesis_streams`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from afterwrite.config import Identity
from afterwrite.core import shards
from afterwrite.core.shards import Shard
from afterwrite.errors import ServiceError
from afterwrite.server import kinesis_constraints
from afterwrite.server import kinesis_requests as requests
from afterwrite.server.kinesis_requests import Body, invalid_argument, not_found
from afterwrite.server.kinesis_streams import KinesisStreams
from afterwrite.server.shard_iterators import ShardIterator
from afterwrite.store import kinesis
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.kinesis import KinesisRecord, KinesisStream, position_of, sequence_number, shard_id
from afterwrite.store.prepared import Prepared, Read, Write, unknown_operation
from afterwrite.store.tables import Catalog
from afterwrite.table import fields

# 10 MiB of data, which is kept as base64 text.
_RECORDS_BYTES_MAX: Final = 10 * (1 << 20) * 4 // 3
_PUT_BYTES_MAX: Final = 10 * (1 << 20) * 4 // 3
_ITERATOR_LIFETIME_MS: Final = 300_000
_NO_SEQUENCE_NUMBER: Final = "0"
_AT_SEQUENCE_NUMBERS: Final = ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
_AT_ENDS: Final = ("TRIM_HORIZON", "LATEST")


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
        kinesis_constraints.check(name, body)
        return operation(body)

    def _put_record(self, body: Body) -> Write:
        name, record = requests.stream_name(body), requests.record(body)
        previous = fields.text(body, "SequenceNumberForOrdering") or _NO_SEQUENCE_NUMBER

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            stream = self._streams.found(transaction, name)
            # No record's number says that none came before.
            if previous != _NO_SEQUENCE_NUMBER and not _is_given_out(transaction, previous):
                raise invalid_argument(
                    f"ExclusiveMinimumSequenceNumber {previous} used in PutRecord on stream "
                    f"{self._streams.owned(name)} is invalid."
                )
            return _put(transaction, stream, record)

        return Write(run)

    def _put_records(self, body: Body) -> Write:
        name, records = requests.stream_name(body), [requests.record(each) for each in body["Records"]]
        if sum(len(data) + len(partition_key) for partition_key, data, _ in records) > _PUT_BYTES_MAX:
            raise invalid_argument("Records size exceeds 10 MB limit")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            stream = self._streams.found(transaction, name)
            return {"FailedRecordCount": 0, "Records": [_put(transaction, stream, record) for record in records]}

        return Write(run)

    def _get_shard_iterator(self, body: Body) -> Read:
        name, kind = requests.stream_name(body), body["ShardIteratorType"]
        number = self._streams.shard_number(body, "ShardId", name)
        given = fields.text(body, "StartingSequenceNumber")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            stream = kinesis.find(transaction, name)
            shard = None if stream is None else shards.shard_numbered(stream.lineage, number)
            if stream is None or shard is None:
                raise self._no_such_shard(name, number)
            _check_start(kind, given)
            after = self._start(transaction, stream, shard, body)
            return orjson.dumps({"ShardIterator": self._iterator(stream, shard, after)})

        return Read(run)

    def _start(self, transaction: ReadTransaction, stream: KinesisStream, shard: Shard, body: Body) -> int:
        """The position after which an iterator begins to read."""
        kind, number = body["ShardIteratorType"], fields.text(body, "StartingSequenceNumber")
        newest = kinesis.newest_position(transaction) if shard.through is None else shard.through
        if kind == "LATEST":
            return newest
        if kind == "AT_TIMESTAMP":
            return kinesis.position_before(transaction, stream, shard, self._timestamp_us(body))
        if number is None:
            return shard.after
        position = position_of(number)
        if not shard.after < position <= newest + (1 if shard.is_open else 0):
            raise invalid_argument(
                f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard_id(shard)} in stream "
                f"{self._streams.owned(stream.name)} is invalid because it did not come from this stream."
            )
        return position - 1 if kind == "AT_SEQUENCE_NUMBER" else position

    def _timestamp_us(self, body: Body) -> int:
        if body.get("Timestamp") is None:
            raise invalid_argument(
                "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. "
                "Current request has no timestamp parameter."
            )
        at_us, now_ms = requests.timestamp_us(body, "Timestamp"), self._now_ms()
        # A second, as clocks differ.
        if at_us > (now_ms + 1000) * 1000:
            raise invalid_argument(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. "
                f"timestampInMillis: {at_us // 1000}, currentTimestampInMillis: {now_ms}"
            )
        return at_us

    def _no_such_shard(self, stream: str, number: int) -> ServiceError:
        return not_found(f"Shard shardId-{number:012} in stream {self._streams.owned(stream)} does not exist")

    def _get_records(self, body: Body) -> Read:
        given, limit = body["ShardIterator"], fields.integer(body, "Limit") or kinesis_constraints.RECORDS_READ_MAX
        # The service takes one also as a command line prints it.
        text = given[1:-1] if given[0] == given[-1] == '"' else given
        iterator, name = ShardIterator.from_text(text), text.rpartition("|")[0]
        if iterator is None or not requests.NAME.fullmatch(name):
            raise invalid_argument("Invalid ShardIterator.")

        def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
            now_ms = self._now_ms()
            if iterator.expired(now_ms, _ITERATOR_LIFETIME_MS):
                raise ServiceError(
                    "ExpiredIteratorException",
                    f"Iterator expired. The iterator was created at time {_date(iterator.created_at_ms)} while right "
                    f"now it is {_date(now_ms)} which is further in the future than the tolerated delay of "
                    f"{_ITERATOR_LIFETIME_MS} milliseconds.",
                )
            stream = kinesis.find(transaction, name)
            if stream is None or stream.number != iterator.stream:
                raise self._no_such_shard(name, iterator.shard)
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


def _is_given_out(transaction: ReadTransaction, number: str) -> bool:
    """Whether a record, or the beginning of a shard, has the sequence number."""
    return 0 < position_of(number) <= kinesis.newest_position(transaction) + 1


def _check_start(kind: str, number: str | None) -> None:
    """Refuse an iterator of a kind that needs a sequence number and has none, or the other way around."""
    if kind in _AT_SEQUENCE_NUMBERS and number is None:
        found = f"{kind} and no StartingSequenceNumber"
    elif kind in _AT_ENDS and number is not None:
        found = f"{kind} and also a StartingSequenceNumber"
    else:
        return
    raise invalid_argument(
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or "
        f"(2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {found}."
    )


def _date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%a %b %d %H:%M:%S UTC %Y")


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
