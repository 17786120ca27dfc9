"""DynamoDB Streams without a wire: the service on a store, and readers of its shards."""

from __future__ import annotations

from typing import Any

from afterwrite.config import Identity
from afterwrite.server.administration import AdministrationService
from afterwrite.server.aws_json import Service
from afterwrite.server.dynamodb_streams import DynamoDBStreamsService
from afterwrite.store.environment import Environment
from afterwrite.store.prepared import Read
from embedded import Clock


class Streams:
    """A service's operations on a store, by name; the streams' of all tables, and what administers them."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        self.environment = environment
        self._services: dict[str, Service] = {}
        reads = DynamoDBStreamsService(Identity(), lambda: clock.now_ms)
        for name in ("ListStreams", "DescribeStream", "GetShardIterator", "GetRecords"):
            self._services[name] = reads
        for name in ("RollOverShards", "SplitShard"):
            self._services[name] = AdministrationService()

    def __call__(self, operation: str, /, **body: Any) -> dict[str, Any]:
        prepared = self._services[operation].prepare(operation, body)
        if not isinstance(prepared, Read):
            answer = self.environment.write(prepared.run)
            return {} if answer is None else dict(answer)
        with self.environment.read() as transaction:
            return dict(prepared.body(transaction, self.environment.state["catalog"]))

    def arn(self, table: str = "things") -> str:
        """The ARN of the table's newest stream."""
        return str(self("ListStreams", TableName=table)["Streams"][-1]["StreamArn"])

    def describe(self, arn: str, **options: Any) -> dict[str, Any]:
        description: dict[str, Any] = self("DescribeStream", StreamArn=arn, **options)["StreamDescription"]
        return description

    def shards(self, arn: str) -> list[dict[str, Any]]:
        """All shards of the stream, page by page."""
        page = self.describe(arn, Limit=3)
        found: list[dict[str, Any]] = list(page["Shards"])
        while "LastEvaluatedShardId" in page:
            page = self.describe(arn, Limit=3, ExclusiveStartShardId=page["LastEvaluatedShardId"])
            found += page["Shards"]
        return found

    def iterator(
        self, arn: str, shard: str, kind: str = "TRIM_HORIZON", number: str | None = None, *, at_s: float | None = None
    ) -> str:
        start: dict[str, Any] = {} if number is None else {"SequenceNumber": number}
        if at_s is not None:
            start["Timestamp"] = at_s
        answer = self("GetShardIterator", StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **start)
        return str(answer["ShardIterator"])

    def read(self, iterator: str | None, **options: Any) -> list[dict[str, Any]]:
        """Records from the iterator on, until the end or until a page is empty."""
        records: list[dict[str, Any]] = []
        while iterator is not None:
            page = self("GetRecords", ShardIterator=iterator, **options)
            records += page["Records"]
            iterator = page.get("NextShardIterator")
            if not page["Records"]:
                break
        return records

    def drain(self, arn: str) -> list[dict[str, Any]]:
        """Every record of the stream, each shard after its parent (S19)."""
        waiting = {shard["ShardId"]: shard for shard in self.shards(arn)}
        records: list[dict[str, Any]] = []
        while waiting:
            ready = [name for name, shard in waiting.items() if shard.get("ParentShardId") not in waiting]
            assert ready, "the lineage has a cycle"
            for name in ready:
                del waiting[name]
                records += self.read(self.iterator(arn, name))
        return records
