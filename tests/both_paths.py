"""An app on each of its two ways to its changes; on the one by Kinesis they arrive as S26 allows: shuffled, and twice.

What DynamoDB does between a write and its Kinesis stream is done here in the open: the table writes to another stream,
and `Disorder` carries its records over into the stream that the app reads.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from afterwrite import App
from afterwrite.app import StreamKind, Table
from afterwrite.config import Settings
from afterwrite.store import kinesis_destinations
from afterwrite.wiring import Engine
from bounds import BOUND_S

_POLL_S = 0.02
_BATCH = 200
_RESHARDINGS_MAX = 4


def by_stream(app: App, stream: StreamKind) -> App:
    """The app, its tables with routes declared with the other word; what is buffered is written soon."""
    changed = copy.copy(app)
    changed.tables = [replace(table, stream=stream) if table.routes else table for table in app.tables]
    changed.delivery_streams = [replace(each, buffer_seconds=0.2) for each in app.delivery_streams]
    return changed


class Disorder:
    """Carries a table's records over: each batch shuffled, some of it twice, some of earlier batches once more."""

    def __init__(self, engine: Engine, table: Table, seed: int) -> None:
        session = engine.boto3_session()
        dynamodb, self._kinesis = session.client("dynamodb"), session.client("kinesis")
        self._stream, first = str(table.kinesis_stream), f"{table.name}-first"
        self._dice = random.Random(seed)
        self._earlier: list[dict[str, Any]] = []
        self.carried = self.repeated = self.moved = 0
        self._kinesis.create_stream(StreamName=first, ShardCount=1)
        arn = self._kinesis.describe_stream_summary(StreamName=first)["StreamDescriptionSummary"]["StreamARN"]
        into = self._kinesis.describe_stream_summary(StreamName=self._stream)["StreamDescriptionSummary"]["StreamARN"]
        # One that is on demand is resharded by nobody but the service.
        self._kinesis.update_stream_mode(StreamARN=into, StreamModeDetails={"StreamMode": "PROVISIONED"})
        # The engine refuses to be cut off from a table's changes: that is done behind its back.
        engine._environment.write(lambda transaction: kinesis_destinations.disable_all(transaction, into))
        dynamodb.enable_kinesis_streaming_destination(TableName=table.name, StreamArn=arn)
        (shard,) = self._kinesis.list_shards(StreamName=first)["Shards"]
        self._iterator = self._kinesis.get_shard_iterator(
            StreamName=first, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]

    def carry(self) -> int:
        """Carry what is there over; how many records that was."""
        page = self._kinesis.get_records(ShardIterator=self._iterator, Limit=_BATCH)
        self._iterator = page["NextShardIterator"]
        fresh = [{"Data": each["Data"], "PartitionKey": each["PartitionKey"]} for each in page["Records"]]
        if fresh:
            again = self._dice.sample(fresh, len(fresh) // 5)
            again += self._dice.sample(self._earlier, min(len(self._earlier), 20))
            arriving = [*fresh, *again]
            self._dice.shuffle(arriving)
            # One request is one commit: what it holds arrives at one time, however long this process is held up.
            failed = self._kinesis.put_records(StreamName=self._stream, Records=arriving)["FailedRecordCount"]
            assert failed == 0
            self.repeated += len(again)
            self.moved += sum(arriving[place] is not each for place, each in enumerate(fresh))
            self._earlier = (self._earlier + fresh)[-500:]
        self.carried += len(fresh)
        return len(fresh)

    def reshard(self) -> None:
        """Split the first open shard of the stream that the app reads, and merge the last two."""
        open_shards = [
            each
            for each in self._kinesis.list_shards(StreamName=self._stream)["Shards"]
            if "EndingSequenceNumber" not in each["SequenceNumberRange"]
        ]
        open_shards.sort(key=lambda each: int(each["HashKeyRange"]["StartingHashKey"]))
        low, high = (int(open_shards[0]["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
        self._kinesis.split_shard(
            StreamName=self._stream, ShardToSplit=open_shards[0]["ShardId"], NewStartingHashKey=str((low + high) // 2)
        )
        first, second = (each["ShardId"] for each in open_shards[-2:])
        self._kinesis.merge_shards(StreamName=self._stream, ShardToMerge=first, AdjacentShardToMerge=second)


@contextmanager
def running(app: App, table: Table, data: Path, stream: StreamKind) -> Iterator[tuple[Engine, Sequence[Disorder]]]:
    """The app with its changes by one of the two streams, and the disorder in between where it is Kinesis."""
    app = by_stream(app, stream)
    with Engine(app, Settings(data, durability="relaxed")) as engine:
        declared = next(each for each in app.tables if each.name == table.name)
        yield engine, [Disorder(engine, declared, seed=1)] if stream == "kinesis" else []


def settle(engine: Engine, disorder: Sequence[Disorder], is_over: Callable[[], bool] = lambda: True) -> None:
    """Wait until all that was written has had all its effects, and `is_over`; streams are resharded meanwhile."""
    deadline_s = time.monotonic() + BOUND_S
    view = engine.reader()
    quiet, reshardings = False, 0
    while True:
        carried = sum(each.carry() for each in disorder)
        if carried and reshardings < _RESHARDINGS_MAX:
            reshardings += 1
            for each in disorder:
                each.reshard()
        is_quiet = carried == 0 and view.idle() and is_over()
        if is_quiet and quiet:
            return
        quiet = is_quiet
        assert time.monotonic() < deadline_s, f"the flows do not come to an end: {view.status()}"
        if not carried:
            time.sleep(_POLL_S)
