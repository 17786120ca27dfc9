"""The key schemas of tables and of their secondary indexes, and the CreateTable fields that declare a table's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterwrite.core.values import AttributeValue, Item
from afterwrite.table import wording

GLOBAL, LOCAL = "global", "local"
ALL, KEYS_ONLY, INCLUDE = "ALL", "KEYS_ONLY", "INCLUDE"


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """A key attribute: its name, and its type `S`, `N` or `B`."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The names and types (`S`, `N` or `B`) of a table's key attributes; a table may have no sort key."""

    partition_key: str
    partition_type: str
    sort_key: str | None = None
    sort_type: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The key attributes' names, the partition key first."""
        if self.sort_key is None:
            return (self.partition_key,)
        return (self.partition_key, self.sort_key)

    @property
    def partition_attributes(self) -> tuple[KeyAttribute, ...]:
        """The one attribute of the partition key."""
        return (KeyAttribute(self.partition_key, self.partition_type),)

    @property
    def sort_attributes(self) -> tuple[KeyAttribute, ...]:
        """The attribute of the sort key, if there is one."""
        if self.sort_key is None or self.sort_type is None:
            return ()
        return (KeyAttribute(self.sort_key, self.sort_type),)

    def type_of(self, name: str) -> str | None:
        """The type of the key attribute `name`, None where it is no key attribute."""
        if name == self.partition_key:
            return self.partition_type
        if name == self.sort_key:
            return self.sort_type
        return None

    def to_wire(self) -> list[dict[str, str]]:
        """The `KeySchema` of a table description."""
        return _elements(self.partition_attributes, self.sort_attributes)

    @classmethod
    def from_wire(cls, elements: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> KeySchema:
        """Read CreateTable's `KeySchema`; `types` are those of its `AttributeDefinitions`.

        Raises ServiceError (ValidationException) for a schema DynamoDB would refuse.
        """
        _check_defined(elements, types)
        _check_elements(elements)
        names = [str(each["AttributeName"]) for each in elements]
        if len(names) == 1:
            return cls(names[0], types[names[0]])
        return cls(names[0], types[names[0]], names[1], types[names[1]])


class IndexedAttributes(ABC):
    """What an index knows of the attributes that its table has to define."""

    __slots__ = ()

    @property
    @abstractmethod
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """The attributes, the partition key's first."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the attributes, the partition key's first."""
        return tuple(each.name for each in self.attributes)

    def type_of(self, name: str) -> str | None:
        """The type of the attribute `name`, None where it is none of them."""
        return next((each.type for each in self.attributes if each.name == name), None)


@dataclass(frozen=True, slots=True)
class IndexSchema(IndexedAttributes):
    """A secondary index: its keys of one to four attributes each, and what it projects.

    `scope` is GLOBAL or LOCAL, `projection` ALL, KEYS_ONLY or INCLUDE, `included` the further attributes of INCLUDE.
    """

    name: str
    scope: str
    partition_attributes: tuple[KeyAttribute, ...]
    sort_attributes: tuple[KeyAttribute, ...]
    projection: str = ALL
    included: tuple[str, ...] = ()

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """All key attributes, the partition key's first."""
        return self.partition_attributes + self.sort_attributes

    def projected_names(self, table: KeySchema) -> frozenset[str] | None:
        """The attributes that an item of the index has; None where it has all."""
        if self.projection == ALL:
            return None
        return frozenset((*table.names, *self.names, *self.included))

    def project(self, table: KeySchema, item: Mapping[str, AttributeValue]) -> Item:
        """What the index shows of an item of the table."""
        names = self.projected_names(table)
        if names is None:
            return dict(item)
        return {name: value for name, value in item.items() if name in names}

    def to_wire(self) -> list[dict[str, str]]:
        """The `KeySchema` of an index description."""
        return _elements(self.partition_attributes, self.sort_attributes)

    def projection_to_wire(self) -> dict[str, Any]:
        """The `Projection` of an index description."""
        return projection_to_wire(self.projection, self.included)


def projection_to_wire(projection: str, included: Sequence[str]) -> dict[str, Any]:
    """The `Projection` of an index description."""
    if projection != INCLUDE:
        return {"ProjectionType": projection}
    return {"ProjectionType": INCLUDE, "NonKeyAttributes": list(included)}


def definitions_to_wire(table: KeySchema, indexed: Iterable[KeyAttribute]) -> list[dict[str, str]]:
    """The `AttributeDefinitions` of a table description: every attribute of a key or a search schema once."""
    attributes = [*table.partition_attributes, *table.sort_attributes, *indexed]
    types = {each.name: each.type for each in attributes}
    return [{"AttributeName": name, "AttributeType": types[name]} for name in types]


def _elements(
    partition_attributes: Sequence[KeyAttribute], sort_attributes: Sequence[KeyAttribute]
) -> list[dict[str, str]]:
    return [
        *({"AttributeName": each.name, "KeyType": "HASH"} for each in partition_attributes),
        *({"AttributeName": each.name, "KeyType": "RANGE"} for each in sort_attributes),
    ]


def _check_defined(elements: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> None:
    names = [str(each["AttributeName"]) for each in elements]
    if len(names) > len(types):
        raise wording.invalid("Invalid KeySchema: Some index key attribute have no definition")
    if any(name not in types for name in names):
        raise wording.invalid_parameter(
            "Some index key attributes are not defined in "
            f"AttributeDefinitions. Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(types)}]"
        )


def _check_elements(elements: Sequence[Mapping[str, Any]]) -> None:
    if len(elements) > 1 and elements[0]["AttributeName"] == elements[1]["AttributeName"]:
        raise wording.invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
    if elements[0]["KeyType"] != "HASH":
        raise wording.invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(elements) > 1 and elements[1]["KeyType"] != "RANGE":
        raise wording.invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
