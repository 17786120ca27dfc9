"""Answers in a form that two systems share: without what is each one's own, and in one order where none is promised."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from differential.schemas import INDEXES
from differential.systems import Answer, Side

_SETS: Final = ("SS", "NS", "BS")
_PAGES_MAX: Final = 200
# What the list of differences says that DynamoDB Local does not keep track of.
_LEFT_OUT: Final = ("ConsumedCapacity",)
# A table's stream, read to its end, as if it were one operation.
READ_STREAM: Final = "ReadStream"
# When and where a change was made, which is each system's own.
_OWN_OF_RECORD: Final = ("eventID", "awsRegion")
_OWN_OF_CHANGE: Final = ("ApproximateCreationDateTime", "SequenceNumber")


def ask(side: Side, operation: str, body: Mapping[str, Any]) -> Answer:
    """The answer of a system, ready to be compared. Query and Scan are read to their last page."""
    if operation == READ_STREAM:
        return _records(side, body["TableName"])
    if operation in ("Query", "Scan"):
        return _pages(side, operation, body)
    answer = side(operation, body)
    if operation == "BatchGetItem" and "Responses" in answer:
        answer["Responses"] = {name: _sorted(items) for name, items in answer["Responses"].items()}
    return {name: value for name, value in _with_sorted_sets(answer).items() if name not in _LEFT_OUT}


def _pages(side: Side, operation: str, body: Mapping[str, Any]) -> Answer:
    pages = list(_each_page(side, operation, body))
    whole = pages[0]
    if "error" in whole:
        return whole
    items = [item for page in pages for item in page.get("Items", ())]
    answer: Answer = {
        "Count": sum(page["Count"] for page in pages),
        "ScannedCount": sum(page["ScannedCount"] for page in pages),
    }
    if "Items" in whole:
        answer["Items"] = _with_sorted_sets(_in_promised_order(operation, body, items))
    if operation == "Query" and "IndexName" not in body:
        # Only here all of the order is promised, and with it what each page holds.
        held = [page for page in pages if page["ScannedCount"]]
        answer["Pages"] = [[page["Count"], page["ScannedCount"], page.get("LastEvaluatedKey")] for page in held]
        for last in answer["Pages"][-1:]:
            last[-1] = None
    return answer


def _each_page(side: Side, operation: str, body: Mapping[str, Any]) -> Iterator[Answer]:
    for _ in range(_PAGES_MAX):
        page = side(operation, body)
        yield page
        if "LastEvaluatedKey" not in page:
            return
        body = {**body, "ExclusiveStartKey": page["LastEvaluatedKey"]}
    raise AssertionError(f"{operation} does not come to an end: {json.dumps(body)}")


def _in_promised_order(operation: str, body: Mapping[str, Any], items: list[Any]) -> list[Any]:
    """A table's query is in order, an index's where its sort keys differ, a scan not at all."""
    if operation == "Query" and "IndexName" not in body:
        return items
    sort = list(INDEXES.get(body.get("IndexName", ""), ()))[1:]
    if operation == "Scan" or not sort:
        return _sorted(items)
    runs = itertools.groupby(items, key=lambda item: json.dumps(item.get(sort[0])))
    return [item for _, run in runs for item in _sorted(list(run))]


def _records(side: Side, table: str) -> Answer:
    """The records of a table's stream, by item: order is promised among those of one item."""
    description = side("DescribeTable", {"TableName": table})["Table"]
    arn = description["LatestStreamArn"]
    by_item: dict[str, list[Any]] = {}
    shards = side("DescribeStream", {"StreamArn": arn})["StreamDescription"]["Shards"]
    for shard in shards:
        start = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = side("GetShardIterator", start)["ShardIterator"]
        while iterator is not None:
            page = side("GetRecords", {"ShardIterator": iterator})
            for record in page["Records"]:
                place = json.dumps(record["dynamodb"]["Keys"], sort_keys=True)
                by_item.setdefault(place, []).append(_shared(record))
            iterator = page.get("NextShardIterator") if page["Records"] else None
    return {"Records": by_item}


def _shared(record: Any) -> Any:
    change = {name: value for name, value in record["dynamodb"].items() if name not in _OWN_OF_CHANGE}
    rest = {name: value for name, value in record.items() if name not in _OWN_OF_RECORD}
    return _with_sorted_sets({**rest, "dynamodb": change})


def _sorted(items: list[Any]) -> list[Any]:
    return sorted(items, key=lambda item: json.dumps(_with_sorted_sets(item), sort_keys=True))


def _with_sorted_sets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _members(name, member) for name, member in value.items()}
    return [_with_sorted_sets(member) for member in value] if isinstance(value, list) else value


def _members(name: str, value: Any) -> Any:
    if name in _SETS and isinstance(value, list) and all(isinstance(member, str) for member in value):
        return sorted(value)
    return _with_sorted_sets(value)
