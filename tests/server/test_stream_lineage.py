"""Whatever becomes of a stream's shards, a reader that drains parents first reads the change log, per item in order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite.store import streams as store_streams
from afterwrite.store import upkeep
from afterwrite.store.change_log import position_of
from afterwrite.store.streams import StreamSettings
from embedded import Clock, Dynamo, open_store
from stream_reading import Streams

HOUR_S = 3_600

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 11)),
        st.tuples(st.just("delete"), st.integers(0, 11)),
        st.tuples(st.just("split"), st.integers(0, 30)),
        st.tuples(st.just("roll over"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(1, 5)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    min_size=5,
    max_size=40,
)


def position(read: tuple[str, int]) -> int:
    return read[1]


class Reader:
    """Follows a stream as S19 and S20 say: parents first, a shard to its end, from where it was before."""

    def __init__(self, streams: Streams, arn: str) -> None:
        self.streams = streams
        self.arn = arn
        self.after: dict[str, str] = {}
        self.ended: set[str] = set()
        self.read: list[tuple[str, int]] = []

    def catch_up(self) -> None:
        shards = {shard["ShardId"]: shard for shard in self.streams.shards(self.arn)}
        for name, shard in shards.items():
            parent = shard.get("ParentShardId")
            if name in self.ended or (parent in shards and parent not in self.ended):
                continue
            number = self.after.get(name)
            kind = "TRIM_HORIZON" if number is None else "AFTER_SEQUENCE_NUMBER"
            iterator: str | None = self.streams.iterator(self.arn, name, kind, number)
            while iterator is not None:
                page = self.streams("GetRecords", ShardIterator=iterator, Limit=3)
                for record in page["Records"]:
                    change = record["dynamodb"]
                    self.after[name] = change["SequenceNumber"]
                    self.read.append((change["Keys"]["pk"]["S"], position_of(change["SequenceNumber"])))
                if "NextShardIterator" not in page:
                    self.ended.add(name)
                iterator = page.get("NextShardIterator") if page["Records"] else None


@settings(max_examples=25)
@given(shards=st.integers(1, 4), history=steps)
def test_every_change_is_read_once_and_in_order_per_item_s18_s19(shards: int, history: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as directory:
        clock, path = Clock(), Path(directory) / "store"
        environment = open_store(path, clock)
        store_streams.configure(environment.state, StreamSettings(shards))
        dynamo, streams = Dynamo(environment), Streams(environment, clock)
        dynamo.create(sort_key=None)
        reader = Reader(streams, streams.arn())
        for step, (what, choice) in enumerate(history):
            clock.advance(ms=1)
            open_now = [
                shard["ShardId"]
                for shard in streams.shards(reader.arn)
                if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
            ]
            if what == "put":
                dynamo.put(pk=f"item-{choice}", n=step)
            elif what == "delete":
                dynamo.delete(pk=f"item-{choice}")
            elif what == "split":
                streams("SplitShard", StreamArn=reader.arn, ShardId=open_now[choice % len(open_now)])
            elif what == "roll over":
                streams("RollOverShards", StreamArn=reader.arn, ShardId=open_now[choice % len(open_now)])
            elif what == "wait":
                clock.advance(s=choice * HOUR_S)
                reader.catch_up()
                upkeep.run(environment, {})
            else:
                environment.close()
                environment = open_store(path, clock)
                store_streams.configure(environment.state, StreamSettings(shards))
                dynamo, streams.environment = Dynamo(environment), environment
        expected = [(str(change.keys["pk"]), position_of(change.sequence_number or "")) for change in dynamo.changes()]
        dynamo("DeleteTable", TableName="things")
        reader.catch_up()
        assert len(set(reader.read)) == len(reader.read)
        kept = expected[0][1] if expected else 1 << 62
        assert [each for each in sorted(reader.read, key=position) if position(each) >= kept] == expected
        for item in {item for item, _ in reader.read}:
            positions = [position for name, position in reader.read if name == item]
            assert positions == sorted(positions)
        environment.close()
