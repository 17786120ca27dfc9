"""What AWS has no operation for: shards closed and split when asked, and what was given up, for operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any, Final

from afterwrite.core import json_text
from afterwrite.core.parked import Portion, Selection
from afterwrite.core.shards import open_shards
from afterwrite.errors import ServiceError
from afterwrite.server.dynamodb_streams import named_shard, parse_stream_arn
from afterwrite.store import parked, streams
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.prepared import Prepared, Read, Write, unknown_operation
from afterwrite.store.streams import StreamState, shard_id
from afterwrite.store.tables import Catalog
from afterwrite.table import fields

LIMIT_MAX: Final = 500
_TEXTS: Final = {"Lane": "lane", "In": "held_in", "By": "raised_by", "Error": "fingerprint"}
_TIMES: Final = {"SinceMs": "since_ms", "UntilMs": "until_ms"}


class AdministrationService:
    """Afterwrite.

    RollOverShards and SplitShard, both with a StreamArn and a ShardId (RollOverShards: all without). ListParked,
    RedriveParked and DropParked, with a Selection (Lane, In, By, Error, SinceMs, UntilMs; all of them where it is
    empty), at most Limit entries After a place; DropParked with WholeLane.
    """

    target = "Afterwrite"
    error_prefix = ""
    content_type = "application/x-amz-json-1.0"

    def __init__(self) -> None:
        self._operations: Mapping[str, Callable[[dict[str, Any]], Prepared]] = {
            "RollOverShards": lambda body: _reshard("RollOverShards", body),
            "SplitShard": lambda body: _reshard("SplitShard", body),
            "ListParked": _list_parked,
            "RedriveParked": _redrive_parked,
            "DropParked": _drop_parked,
        }

    def prepare(self, name: str, body: dict[str, Any]) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        operation = self._operations.get(name)
        if operation is None:
            raise unknown_operation(name)
        return operation(body)


def selection_body(selection: Selection) -> dict[str, Any]:
    """A selection in the form of a request."""
    given = selection.to_fields()
    return {name: given[field] for name, field in {**_TEXTS, **_TIMES}.items() if field in given}


def _list_parked(body: dict[str, Any]) -> Read:
    selection, after, limit = _request(body)

    def run(transaction: ReadTransaction, _catalog: Catalog) -> bytes:
        found = list(islice(parked.entries(transaction, selection, after=after), limit))
        following = found[-1].place if len(found) == limit else None
        return json_text.dumps({"Entries": [asdict(each) for each in found], "Next": following})

    return Read(run)


def _redrive_parked(body: dict[str, Any]) -> Write:
    selection, after, limit = _request(body)
    return Write(lambda transaction: _answer(parked.redrive(transaction, selection, after=after, limit=limit)))


def _drop_parked(body: dict[str, Any]) -> Write:
    selection, after, limit = _request(body)
    whole_lane = fields.flag(body, "WholeLane", default=False)
    return Write(
        lambda transaction: _answer(
            parked.drop(transaction, selection, after=after, limit=limit, whole_lane=whole_lane)
        )
    )


def _answer(portion: Portion) -> Mapping[str, Any]:
    return {"Count": portion.entries, "Next": portion.next}


def _request(body: dict[str, Any]) -> tuple[Selection, str, int]:
    given = fields.structure(body, "Selection", "Selection") or {}
    unknown = sorted(set(given) - {*_TEXTS, *_TIMES})
    if unknown:
        expected = ", ".join((*_TEXTS, *_TIMES))
        raise ServiceError("ValidationException", f"expected a Selection of {expected}, got {unknown[0]!r}")
    criteria: dict[str, Any] = {field: fields.text(given, name) for name, field in _TEXTS.items()}
    criteria.update({field: fields.integer(given, name) for name, field in _TIMES.items()})
    limit = fields.integer(body, "Limit")
    if limit is not None and not 1 <= limit <= LIMIT_MAX:
        raise ServiceError("ValidationException", f"expected a Limit from 1 to {LIMIT_MAX}, got {limit}")
    after = fields.text(body, "After") or ""
    if not parked.is_place(after):
        raise ServiceError("ValidationException", "expected as After what a request before has answered as Next")
    return Selection(**criteria), after, limit or LIMIT_MAX


def _reshard(name: str, body: dict[str, Any]) -> Write:
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
