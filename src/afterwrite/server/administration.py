"""What AWS has no operation for: closing and splitting the shards of a table's stream when asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterwrite.core.shards import open_shards
from afterwrite.errors import ServiceError
from afterwrite.server.dynamodb_streams import named_shard, parse_stream_arn
from afterwrite.store import streams
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.operations import Prepared, Write
from afterwrite.store.streams import StreamState, shard_id
from afterwrite.table import fields


class AdministrationService:
    """Afterwrite: RollOverShards and SplitShard, both with a StreamArn and a ShardId (RollOverShards: all without)."""

    target = "Afterwrite"
    error_prefix = ""
    content_type = "application/x-amz-json-1.0"

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        if name not in ("RollOverShards", "SplitShard"):
            raise ServiceError("UnknownOperationException", f"The operation {name} is not offered")
        place = parse_stream_arn(body, "StreamArn")
        wanted = fields.text(body, "ShardId")
        if wanted is None and name == "SplitShard":
            raise fields.missing("ShardId")

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            state = streams.labelled(transaction, *place)
            if state is None or state.disabled_at_ms is not None:
                raise ServiceError("ResourceNotFoundException", "Requested resource not found: no such open stream")
            if name == "SplitShard":
                state = streams.split(transaction, state, _number(state, wanted))
            else:
                number = None if wanted is None else _number(state, wanted)
                state = streams.roll_over(transaction, state, lambda shard: number in (None, shard.number))
            return {"OpenShardIds": [shard_id(shard) for shard in open_shards(state.lineage)]}

        return Write(run)


def _number(state: StreamState, wanted: str | None) -> int:
    return named_shard(state, wanted or "").number
