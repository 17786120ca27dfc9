"""The trees that PartiQL statements are read as. Names and values are placeholders, as in expressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import ServiceError
from afterwrite.table import syntax_tree as tree


@dataclass(frozen=True, slots=True)
class Select:
    """Reads of a table or an index; `paths` None are all attributes, `order` attributes and whether upwards.

    `refused_column` is what is wrong with a column that is no path.
    """

    table_name: str
    index_name: str | None
    paths: tuple[tree.Path, ...] | None
    where: tree.Condition | None
    order: tuple[tuple[str, bool], ...] = ()
    refused_column: ServiceError | None = None


@dataclass(frozen=True, slots=True)
class Insert:
    """An item that must be new."""

    table_name: str
    item: Item


@dataclass(frozen=True, slots=True)
class Update:
    """Changes of one item; `returning` is a value of `ReturnValues`."""

    table_name: str
    actions: tuple[tree.Action, ...]
    where: tree.Condition | None
    returning: str = "NONE"


@dataclass(frozen=True, slots=True)
class Delete:
    """The removal of one item; `returning` is a value of `ReturnValues`."""

    table_name: str
    where: tree.Condition | None
    returning: str = "NONE"


@dataclass(frozen=True, slots=True)
class Exists:
    """A transaction's requirement that a read finds an item."""

    select: Select

    @property
    def table_name(self) -> str:
        """The table that it reads."""
        return self.select.table_name


Action: TypeAlias = Select | Insert | Update | Delete | Exists


@dataclass(frozen=True, slots=True)
class Statement:
    """What a statement asks for, with the names and the values that its placeholders stand for."""

    action: Action
    names: Mapping[str, str]
    values: Mapping[str, AttributeValue]

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return isinstance(self.action, Select)

    @property
    def returns(self) -> bool:
        """Whether it is a write that returns something."""
        return isinstance(self.action, Update | Delete) and self.action.returning != "NONE"
