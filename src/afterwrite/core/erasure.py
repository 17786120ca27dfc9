"""What is to be forgotten: the items of a partition key, and all that followed from them. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import orjson

from afterwrite.core.lanes import Order, table_of
from afterwrite.core.values import to_python


@lru_cache(256)
def spellings(name: str) -> frozenset[bytes]:
    """The ways in which a text stands in JSON: as a value, and as a value in JSON that is itself a text."""
    plain = {orjson.dumps(name), json.dumps(name).encode()}
    nested = {orjson.dumps(each.decode())[1:-1] for each in plain}
    return frozenset(plain | nested)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose content is erased.

    `keys` is the partition key, attribute and value in the wire form, by table, `orders` what stays in order there;
    `names` are texts that stand for the subject wherever they are a whole value; `change_ids` those of its changes.
    """

    keys: Mapping[str, Mapping[str, Mapping[str, str]]]
    orders: Mapping[str, Order] = field(default_factory=dict)
    names: Collection[str] = ()
    change_ids: frozenset[str] = frozenset()

    def with_changes(self, change_ids: Collection[str]) -> Subject:
        """The subject with the ids of its changes."""
        return replace(self, change_ids=frozenset(change_ids))

    def has_lane(self, lane: str) -> bool:
        """Whether a lane is the subject's."""
        table = table_of(lane)
        if table not in self.keys:
            return False
        own = self.lane(table)
        if self.orders.get(table, "partition_key") == "partition_key":
            return lane == own
        return lane == own or lane.startswith(f"{own}/")

    def lane(self, table: str) -> str:
        """The lane of the partition key in a table; what the ids of its items begin with in caches and indexes."""
        return f"{table}/{to_python(self.partition(table))}"

    def has_document_id(self, id: str) -> bool:
        """Whether a cache or a search index knows one of the subject's items by the id.

        Where keys have slashes in them, it may be another's as well: the item `a/b`, `c` is known as `a`, `b/c` is.
        """
        return id in self.names or any(f"{id}/".startswith(f"{self.lane(table)}/") for table in self.keys)

    def partition(self, table: str) -> dict[str, Any]:
        """The partition key's value in the wire form."""
        return dict(next(iter(self.keys[table].values())))

    def has_id(self, effect_id: str) -> bool:
        """Whether an effect followed from one of the subject's changes."""
        return effect_id.partition("/")[0] in self.change_ids

    def has_keys(self, table: str | None, keys: Mapping[str, Any]) -> bool:
        """Whether an item's keys (wire form) are the subject's; None stands for every table."""
        wanted = self.keys.values() if table is None else [self.keys[table]] if table in self.keys else []
        return any(keys.get(name) == value for each in wanted for name, value in each.items())

    def is_named_in(self, text: bytes) -> bool:
        """Whether one of the names is a whole value in a JSON text."""
        return any(spelling in text for name in self.names for spelling in spellings(name))
