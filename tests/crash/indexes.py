"""The indexes of the crash tests' table, and whether they agree with it over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

TABLE = "things"
PAGE = 40

Call = Callable[[str, dict[str, Any]], dict[str, Any]]
Item = dict[str, Any]


@dataclass(frozen=True)
class Index:
    """A secondary index: its keys, and the attributes that it projects beside the keys (None: all)."""

    name: str
    partition_key: str
    sort_key: str | None
    projected: tuple[str, ...] | None

    @property
    def is_local(self) -> bool:
        return self.partition_key == "pk" and self.sort_key == "rank"

    def definition(self) -> dict[str, Any]:
        """The index as CreateTable takes it."""
        kinds = {"ALL": self.projected is None, "KEYS_ONLY": self.projected == (), "INCLUDE": bool(self.projected)}
        projection: dict[str, Any] = {"ProjectionType": next(name for name, holds in kinds.items() if holds)}
        if self.projected:
            projection["NonKeyAttributes"] = list(self.projected)
        keys = [{"AttributeName": self.partition_key, "KeyType": "HASH"}]
        if self.sort_key is not None:
            keys.append({"AttributeName": self.sort_key, "KeyType": "RANGE"})
        return {"IndexName": self.name, "KeySchema": keys, "Projection": projection}

    def holds(self, item: Item) -> bool:
        """Whether the item has the index's keys."""
        return self.partition_key in item and (self.sort_key is None or self.sort_key in item)

    def project(self, item: Item) -> Item:
        """What the index shows of an item."""
        if self.projected is None:
            return item
        shown = {"pk", "sk", self.partition_key, self.sort_key, *self.projected}
        return {name: value for name, value in item.items() if name in shown}


INDEXES = (
    Index("versions", "pk", "version", None),
    Index("buckets", "bucket", "version", None),
    Index("flags", "flag", None, ()),
    Index("ranks", "pk", "rank", ("version",)),
)
# Made and deleted while the table is written.
LATE = Index("late", "bucket", "rank", None)


def index_names(call: Call) -> set[str]:
    """The names of the indexes that the table has."""
    description = call("DescribeTable", {"TableName": TABLE})["Table"]
    kinds = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    return {each["IndexName"] for kind in kinds for each in description[kind]}


def index_definitions(indexes: Iterable[Index]) -> dict[str, Any]:
    """The indexes as members of CreateTable."""
    return {
        "GlobalSecondaryIndexes": [index.definition() for index in indexes if not index.is_local],
        "LocalSecondaryIndexes": [index.definition() for index in indexes if index.is_local],
    }


def pages(call: Call, operation: str, **body: Any) -> list[Item]:
    """The items of every page of a query or scan."""
    found: list[Item] = []
    start: dict[str, Any] = {}
    while True:
        page = call(operation, {"TableName": TABLE, "Limit": PAGE, **body, **start})
        found += page["Items"]
        if "LastEvaluatedKey" not in page:
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def check_indexes(call: Call, *, but: str | None = None) -> int:
    """Fail where an index, queried key by key and scanned, does not hold exactly what the table's scan says it must.

    Items of the partition `but`, which may expire meanwhile, do not count. Returns how many entries were compared.
    """
    table = [item for item in pages(call, "Scan") if item["pk"]["S"] != but]
    names = index_names(call)
    assert {index.name for index in INDEXES} <= names
    compared = 0
    for index in [*INDEXES, LATE] if LATE.name in names else INDEXES:
        expected: dict[str, list[Item]] = {}
        for item in table:
            if index.holds(item):
                expected.setdefault(item[index.partition_key]["S"], []).append(index.project(item))
        scanned = [item for item in pages(call, "Scan", IndexName=index.name) if item["pk"]["S"] != but]
        assert _ordered(scanned) == _ordered(item for items in expected.values() for item in items), index.name
        for partition, items in expected.items():
            queried = pages(
                call,
                "Query",
                IndexName=index.name,
                KeyConditionExpression="#p = :p",
                ExpressionAttributeNames={"#p": index.partition_key},
                ExpressionAttributeValues={":p": {"S": partition}},
            )
            found = [item for item in queried if item["pk"]["S"] != but]
            assert _ordered(found) == _ordered(items), f"{index.name}: {partition} is not what the table says"
            if index.sort_key is not None:
                order = [Decimal(item[index.sort_key]["N"]) for item in found]
                assert order == sorted(order), f"{index.name}: {partition} is out of order"
            compared += len(found)
    return compared


def _ordered(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
