"""Parked lanes in a DynamoDB table.

A lane is one partition. Its header (sort key `LANE`) counts the changes that wait; each change is one item or more, as
an item holds 400 KB and a change may have two images of that size. Header and changes are written in one transaction,
so that a lane whose last change is released while another follows is either still parked with it, or not followed.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar, Final

import orjson

from afterwrite.core import json_text
from afterwrite.core.changes import Change
from afterwrite.core.failures import Failure
from afterwrite.core.ports import ParkedChange
from afterwrite.core.uuids import uuid_of
from afterwrite.core.wire import from_streams_record, to_streams_record
from afterwrite.errors import ConditionalCheckFailed, StorageError, TransactionCanceled
from afterwrite.remote.dynamodb_client import Client, StateTable

_HEADER: Final = "LANE"
_PART_BYTES_MAX: Final = 350_000
_PARTS_MAX: Final = 99
# Few changes are longer than one item.
_PARTS_EXPECTED: Final = 2
_BEHIND_DIGITS: Final = ":"
_REASON_CHARACTERS_MAX: Final = 4_000
_TRANSACTION_ITEMS_MAX: Final = 90
_TRANSACTION_BYTES_MAX: Final = 3_000_000
_TRIES_MAX: Final = 5
_FAILED_CHECK: Final = "ConditionalCheckFailed"


class DynamoDBParkedLanes:
    """The ParkedLanes in `table`, with the partition key `pk` and the sort key `sk`, both S."""

    actions: ClassVar[tuple[str, ...]] = (
        "dynamodb:BatchGetItem",
        "dynamodb:DeleteItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:UpdateItem",
    )

    def __init__(self, client: Callable[[], Client], table: str, *, now_ms: Callable[[], int]) -> None:
        self._table = StateTable(client, table)
        self._now_ms = now_ms

    def parked_lanes(self, consumer: str, lanes: Collection[str]) -> frozenset[str]:
        """Which of `lanes` are parked for the consumer."""
        names = {_partition(consumer, lane): lane for lane in lanes}
        keys = [{"pk": {"S": partition}, "sk": {"S": _HEADER}} for partition in names]
        found = self._table.get_all(keys, {"ProjectionExpression": "pk"})
        return frozenset(names[item["pk"]["S"]] for item in found)

    def park(self, consumer: str, changes: Sequence[ParkedChange]) -> None:
        """Park a lane with changes of it, the failed one first."""
        self._add(consumer, changes, follows=False)

    def follow(self, consumer: str, changes: Sequence[ParkedChange]) -> bool:
        """Add changes to a lane if it is parked; False where it is not any more, and nothing was added."""
        return self._add(consumer, changes, follows=True)

    def parked(self, consumer: str, lane: str, *, after: int, limit: int, bytes_max: int) -> Sequence[ParkedChange]:
        """A lane's changes after a position, in order, at most `limit`, of `bytes_max` bytes in all, but one."""
        found: list[ParkedChange] = []
        for position, items in self._grouped(_partition(consumer, lane), after + 1, page=limit * _PARTS_EXPECTED):
            each = _change(consumer, lane, position, items)
            bytes_max -= each.change.size_bytes
            if found and bytes_max < 0:
                break
            found.append(each)
            if len(found) == limit:
                break
        return found

    def note_failure(self, consumer: str, lane: str, position: int, failure: Failure) -> None:
        """Keep why a parked change failed again, in place of why it did before; nothing if it was taken out."""
        try:
            self._table.call(
                "UpdateItem",
                Key={"pk": {"S": _partition(consumer, lane)}, "sk": {"S": _part_key(position, 0)}},
                UpdateExpression="SET failure = :failure ADD attempts :one",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={":failure": _failure_text(failure), ":one": {"N": "1"}},
            )
        except ConditionalCheckFailed:
            return

    def release(self, consumer: str, lane: str, position: int) -> None:
        """Take a change out, because it has run or is given up; a lane without changes is parked no more.

        Of several who take out the same at one time one does, and the others change nothing.
        """
        partition = _partition(consumer, lane)
        items = next((items for _, items in self._grouped(partition, position, position)), None)
        if items is None:
            return
        deletions: list[dict[str, Any]] = [
            {"Delete": {"TableName": self._table.table, "Key": {"pk": item["pk"], "sk": item["sk"]}}} for item in items
        ]
        # The count goes down with the change that is taken out, and with no other.
        deletions[0]["Delete"]["ConditionExpression"] = "attribute_exists(pk)"
        header = {"TableName": self._table.table, "Key": {"pk": {"S": partition}, "sk": {"S": _HEADER}}}
        one = {":one": {"N": "1"}}
        others_wait = {
            "Update": {
                **header,
                "UpdateExpression": "SET waiting = waiting - :one",
                "ConditionExpression": "waiting > :one",
                "ExpressionAttributeValues": one,
            }
        }
        last = {"Delete": {**header, "ConditionExpression": "waiting <= :one", "ExpressionAttributeValues": one}}
        for number in range(_TRIES_MAX):
            try:
                self._table.call("TransactWriteItems", TransactItems=[(others_wait, last)[number % 2], *deletions])
                return
            except TransactionCanceled as canceled:
                if canceled.reasons[1].get("Code") == _FAILED_CHECK:
                    return
                # Else it is the other of the two, or something follows at this moment.
        raise StorageError(f"the parked lane {partition} was written to {_TRIES_MAX} times meanwhile: release it again")

    def lanes(self, consumer: str | None = None) -> Iterator[tuple[str, str, int]]:
        """Every parked lane, of one consumer or of all: consumer, lane, and how many changes wait."""
        fields: dict[str, Any] = {
            "FilterExpression": "sk = :header",
            "ExpressionAttributeValues": {":header": {"S": _HEADER}},
        }
        for item in self._pages("Scan", fields):
            if consumer is None or item["consumer"]["S"] == consumer:
                yield item["consumer"]["S"], item["lane"]["S"], int(item["waiting"]["N"])

    def _add(self, consumer: str, changes: Sequence[ParkedChange], *, follows: bool) -> bool:
        for portion in _portions([(each, self._items(consumer, each)) for each in changes]):
            if not self._add_portion(consumer, portion, follows=follows):
                return False
            follows = True
        return True

    def _add_portion(
        self, consumer: str, portion: Sequence[tuple[ParkedChange, list[dict[str, Any]]]], *, follows: bool
    ) -> bool:
        lane = portion[0][0].lane
        for _ in range(_TRIES_MAX):
            if not portion:
                return True
            puts = [
                {
                    "Put": {
                        "TableName": self._table.table,
                        "Item": item,
                        "ConditionExpression": "attribute_not_exists(pk)",
                    }
                }
                for _, items in portion
                for item in items
            ]
            header = self._header_update(consumer, lane, len(portion), follows=follows)
            try:
                self._table.call("TransactWriteItems", TransactItems=[header, *puts])
                return True
            except TransactionCanceled as canceled:
                codes = [reason.get("Code") for reason in canceled.reasons]
                if codes and codes[0] == _FAILED_CHECK:
                    return False
                if _FAILED_CHECK in codes:
                    # An invocation that did not end has parked some of them.
                    there = {position for position, _ in self._grouped(_partition(consumer, lane), 0)}
                    portion = [pair for pair in portion if pair[0].position not in there]
        raise StorageError(f"{self._table.table} cancelled a transaction {_TRIES_MAX} times: it is tried again later")

    def _header_update(self, consumer: str, lane: str, count: int, *, follows: bool) -> dict[str, Any]:
        update: dict[str, Any] = {
            "TableName": self._table.table,
            "Key": {"pk": {"S": _partition(consumer, lane)}, "sk": {"S": _HEADER}},
            "UpdateExpression": "SET consumer = :consumer, lane = :lane, since_ms = if_not_exists(since_ms, :now) "
            "ADD waiting :count",
            "ExpressionAttributeValues": {
                ":consumer": {"S": consumer},
                ":lane": {"S": lane},
                ":now": {"N": str(self._now_ms())},
                ":count": {"N": str(count)},
            },
        }
        if follows:
            update["ConditionExpression"] = "attribute_exists(pk)"
        return {"Update": update}

    def _items(self, consumer: str, parked: ParkedChange) -> list[dict[str, Any]]:
        payload = zlib.compress(
            json_text.dumps(
                {
                    "record": to_streams_record(parked.change, region=""),
                    "created_at_us": parked.change.created_at_us,
                }
            )
        )
        parts = [payload[start : start + _PART_BYTES_MAX] for start in range(0, len(payload), _PART_BYTES_MAX)]
        items = [
            {
                "pk": {"S": _partition(consumer, parked.lane)},
                "sk": {"S": _part_key(parked.position, number)},
                "payload": {"B": base64.b64encode(part).decode()},
            }
            for number, part in enumerate(parts)
        ]
        items[0]["at_ms"] = {"N": str(self._now_ms())}
        items[0]["attempts"] = {"N": str(parked.attempts)}
        if parked.failure is not None:
            items[0]["failure"] = _failure_text(parked.failure)
        return items

    def _grouped(
        self, partition: str, first: int, last: int | None = None, *, page: int | None = None
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """The items of each change from one position to another, or to the lane's end; `page` items a request."""
        fields: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :high",
            "ExpressionAttributeValues": {
                ":pk": {"S": partition},
                ":low": {"S": _part_key(max(0, first), 0)},
                ":high": {"S": _BEHIND_DIGITS if last is None else _part_key(last, _PARTS_MAX)},
            },
            "ConsistentRead": True,
        }
        if page is not None:
            fields["Limit"] = page
        position, items = -1, list[dict[str, Any]]()
        for item in self._pages("Query", fields):
            at = int(item["sk"]["S"].partition("#")[0])
            if at != position and items:
                yield position, items
                items = []
            position = at
            items.append(item)
        if items:
            yield position, items

    def _pages(self, operation: str, fields: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        body = dict(fields)
        while True:
            answer = self._table.call(operation, **body)
            yield from answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            body["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _partition(consumer: str, lane: str) -> str:
    return f"{consumer}/{uuid_of(lane)}"


def _part_key(position: int, number: int) -> str:
    return f"{position:040d}#{number:02d}"


def _failure_text(failure: Failure) -> dict[str, str]:
    failure = replace(failure, reason=failure.reason[:_REASON_CHARACTERS_MAX])
    return {"S": json_text.dumps(asdict(failure)).decode()}


def _portions(
    changes: Sequence[tuple[ParkedChange, list[dict[str, Any]]]],
) -> Iterator[list[tuple[ParkedChange, list[dict[str, Any]]]]]:
    """As many changes as one transaction holds."""
    portion: list[tuple[ParkedChange, list[dict[str, Any]]]] = []
    count = size_bytes = 0
    for parked, items in changes:
        its_bytes = sum(len(item["payload"]["B"]) for item in items)
        if portion and (count + len(items) > _TRANSACTION_ITEMS_MAX or size_bytes + its_bytes > _TRANSACTION_BYTES_MAX):
            yield portion
            portion, count, size_bytes = [], 0, 0
        portion.append((parked, items))
        count += len(items)
        size_bytes += its_bytes
    if portion:
        yield portion


def _change(consumer: str, lane: str, position: int, items: Sequence[Mapping[str, Any]]) -> ParkedChange:
    payload = orjson.loads(zlib.decompress(b"".join(base64.b64decode(item["payload"]["B"]) for item in items)))
    change: Change = from_streams_record(payload["record"], table=consumer)
    change.created_at_us = payload["created_at_us"]
    first = items[0]
    failure = Failure(**orjson.loads(first["failure"]["S"])) if "failure" in first else None
    return ParkedChange(position, lane, change, failure, int(first["attempts"]["N"]), int(first["at_ms"]["N"]))
