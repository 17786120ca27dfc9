"""Keys of declared tables, and of their global secondary indexes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from afterwrite.app.checks import attribute_names
from afterwrite.core.names import ShownByName
from afterwrite.errors import DeclarationError

KeyType: TypeAlias = Literal["S", "N", "B"]

# DynamoDB's quotas, the last for all indexes of a table.
GLOBAL_INDEXES_MAX: Final = 20
INCLUDED_OF_INDEX_MAX: Final = 20
INCLUDED_ATTRIBUTES_MAX: Final = 100

_INDEX_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_PROJECTIONS: Final = ("ALL", "KEYS_ONLY")


@dataclass(frozen=True, slots=True)
class Key:
    """A key attribute that is no string: `Key("id", "N")`."""

    name: str
    type: KeyType = "S"

    def __post_init__(self) -> None:
        """Refuse what no key attribute can be."""
        if self.type not in get_args(KeyType):
            raise DeclarationError(
                f"expected the type of the key {self.name} to be one of {', '.join(get_args(KeyType))}, "
                f"got {self.type!r}"
            )


class GlobalIndex(ShownByName):
    """A global secondary index of a table: its keys, and the attributes of an item that it shows.

    `projection` is `"ALL"` of them, `"KEYS_ONLY"`, or a list of those that it shows beside the keys.
    """

    def __init__(
        self,
        name: str,
        *,
        partition_key: str | Key,
        sort_key: str | Key | None = None,
        projection: str | Sequence[str] = "ALL",
    ) -> None:
        if not isinstance(name, str) or not _INDEX_NAME.fullmatch(name):
            raise DeclarationError(
                f"expected an index's name to be 3 to 255 letters, digits, '-', '_' or '.', got {name!r}"
            )
        self.name = name
        self.partition_key, self.sort_key = key(partition_key), key(sort_key)
        check_keys(f"the index {name}", self.partition_key, self.sort_key)
        what = f"the projection of the index {name}"
        if isinstance(projection, str) and projection not in _PROJECTIONS:
            raise DeclarationError(
                f"expected {what} to be {' or '.join(_PROJECTIONS)}, or a list of attributes, got {projection!r}"
            )
        self.projection = projection if isinstance(projection, str) else "INCLUDE"
        self.included = () if isinstance(projection, str) else attribute_names(what, projection)
        if self.projection == "INCLUDE" and not 1 <= len(self.included) <= INCLUDED_OF_INDEX_MAX:
            raise DeclarationError(
                f"expected 1 to {INCLUDED_OF_INDEX_MAX} attributes in {what}, got {len(self.included)}"
            )

    @property
    def keys(self) -> list[Key]:
        """The partition key, and the sort key where it has one."""
        return [self.partition_key] if self.sort_key is None else [self.partition_key, self.sort_key]


def key(given: Any) -> Any:
    """A key that is given as text, which is a string."""
    return Key(given) if isinstance(given, str) else given


def check_keys(what: str, partition_key: Key, sort_key: Key | None) -> None:
    """Raise DeclarationError for keys that a table, or an index, cannot have."""
    for role, given in (("partition_key", partition_key), ("sort_key", sort_key)):
        if not (isinstance(given, Key) or (given is None and role == "sort_key")):
            raise DeclarationError(f"expected {role} of {what} to be an attribute's name or a Key, got {given!r}")
    if sort_key is not None and sort_key.name == partition_key.name:
        raise DeclarationError(f"expected two attributes as the keys of {what}, got {sort_key.name!r} twice")


def check_ttl(table: str, keys: Iterable[Key | None], ttl: str | None) -> None:
    """Raise DeclarationError for a `ttl` attribute that the table cannot have."""
    if ttl is not None and not isinstance(ttl, str):
        raise DeclarationError(
            f"expected ttl of {table} to be the name of the attribute with the epoch seconds, got {ttl!r}"
        )
    for each in keys:
        if each is not None and each.name == ttl and each.type != "N":
            raise DeclarationError(
                f"expected ttl of {table} to be an attribute with epoch seconds, which are numbers, got the key "
                f"{ttl} of the type {each.type}: no item would ever expire"
            )


def check_indexes(table: str, keys: Iterable[Key | None], indexes: Iterable[Any]) -> tuple[GlobalIndex, ...]:
    """The indexes of a table with these keys. Raises DeclarationError for those that it cannot have."""
    found = tuple(indexes)
    types = {each.name: each.type for each in keys if each is not None}
    names: set[str] = set()
    for index in found:
        if not isinstance(index, GlobalIndex):
            raise DeclarationError(
                f"expected a GlobalIndex among the indexes of {table}, got {index!r}: "
                "write GlobalIndex(name, partition_key=…)"
            )
        if index.name in names:
            raise DeclarationError(f"two declarations of the index {index.name!r} of {table}: rename one")
        names.add(index.name)
        _add_types(table, types, index)
    if len(found) > GLOBAL_INDEXES_MAX:
        raise DeclarationError(f"expected at most {GLOBAL_INDEXES_MAX} indexes of {table}, got {len(found)}")
    included = sum(len(index.included) for index in found)
    if included > INCLUDED_ATTRIBUTES_MAX:
        raise DeclarationError(
            f"expected at most {INCLUDED_ATTRIBUTES_MAX} attributes in the projections of all indexes of {table}, "
            f"got {included}: leave some out, or project ALL"
        )
    return found


def _add_types(table: str, types: dict[str, KeyType], index: GlobalIndex) -> None:
    for each in index.keys:
        if types.setdefault(each.name, each.type) != each.type:
            raise DeclarationError(
                f"expected one type of the attribute {each.name} in all keys of {table}, got {types[each.name]} and, "
                f"in the index {index.name}, {each.type}"
            )


def key_types(keys: Iterable[Key | None], indexes: Iterable[GlobalIndex]) -> Mapping[str, KeyType]:
    """The type of each attribute that is a key of a table or of one of its indexes, by name, the table's own first."""
    own = [each for each in keys if each is not None]
    return {each.name: each.type for each in [*own, *(each for index in indexes for each in index.keys)]}
